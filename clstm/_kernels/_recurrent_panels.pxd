from ._dispatch cimport clstm_activation
from ._panels cimport GROUP
from ._parallel cimport team_barrier

cdef enum:
    STATE = 48  # reals of one row of an sLSTM's unit block
    SQUARE = 256  # GROUP x GROUP


cdef struct Weights:
    # 16 columns of gate v, unit block j of head k, row n: at[k head + j block + n row + v gate]
    const float *at
    Py_ssize_t head, block, row, gate


cdef struct Shape:
    Py_ssize_t B, I, H, D, G, heads, blocks, NU, HP, N, S
    const Py_ssize_t *counts
    const Py_ssize_t *offsets
    const Py_ssize_t *index
    int row_groups
    const Py_ssize_t *row_bounds
    team_barrier *barriers  # (row_groups)
    team_barrier *everybody
    clstm_activation activation  # of the RNN
    bint exponential  # of the sLSTM
    const float *recurrent_mask  # (B, HP) or NULL
    Weights raw_kernel, raw_recurrent


cdef inline const float *block_of(const Shape *s, const Weights *w, Py_ssize_t u) noexcept nogil:
    return w.at + u // s.blocks * w.head + u % s.blocks * w.block


cdef inline Py_ssize_t side_by_side(const Shape *s, Py_ssize_t u, Py_ssize_t end) noexcept nogil:
    """Unit blocks that one call of gemm takes, which has 4 groups of columns."""
    return 1 if s.G == 4 else min(<Py_ssize_t>4, end - u)


cdef inline Py_ssize_t group_of(const Shape *s, Py_ssize_t gate, Py_ssize_t block) noexcept nogil:
    """What lies between two groups of a call of gemm: gates, or unit blocks."""
    return gate if s.G == 4 else block


cdef inline Py_ssize_t units_of(const Shape *s, Py_ssize_t u) noexcept nogil:
    """Units of block u that exist."""
    return min(<Py_ssize_t>GROUP, s.D - u % s.blocks * GROUP)


# The weights of a run, or arrays of their gradients, and panels [NU][K][G][16] in a room
cdef Weights raw_weights(const Shape *s, const float *at, bint recurrent) noexcept nogil
cdef Weights panels_of(const Shape *s, float *at, Py_ssize_t K) noexcept nogil

# One thread's share of packing K rows of w: to panels, or transposed
cdef void pack_blocks(const Shape *s, const Weights *w, Py_ssize_t K, const Weights *panels,
                      int thread, int size) noexcept nogil
cdef void pack_transposed(const Shape *s, const Weights *w, Py_ssize_t K, Py_ssize_t u,
                          Py_ssize_t sources, float *panels, int thread, int size) noexcept nogil

# All of a Shape; its barriers take (row_groups + 1) BARRIER reals of a room
cdef int set_shape(Shape *s, const float[:, ::1] x, const float[:, ::1] kernel,
                   const float[:, :, ::1] recurrent_kernel, const float[:, ::1] recurrent_mask,
                   tuple activation, bint exponential, const Py_ssize_t[::1] counts,
                   const Py_ssize_t[::1] offsets, const Py_ssize_t[::1] index,
                   const Py_ssize_t[::1] row_bounds, Py_ssize_t B) except -1
cdef void set_barriers(Shape *s, float **room) noexcept nogil
