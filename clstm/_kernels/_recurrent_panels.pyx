"""How the native RNN's and sLSTM's weights are laid out, and what both directions know of a run.

Each of `heads` heads has D units in `blocks` unit blocks of 16, of which the last one may have
fewer: NU unit blocks in all, HP = 16 NU. G is 1 gate or 4.
"""

from libc.string cimport memset

from ._cell import KINDS

from ._dispatch cimport native_kernels
from ._panels cimport BARRIER, GROUP, carve, up
from ._parallel cimport team_barrier


cdef Weights panels_of(const Shape *s, float *at, Py_ssize_t K) noexcept nogil:
    """Panels [NU][K][G][16]"""
    cdef Weights w
    w.at, w.row, w.gate = at, s.G * GROUP, GROUP
    w.block = K * w.row
    w.head = s.blocks * w.block
    return w


cdef Weights raw_weights(const Shape *s, const float *at, bint recurrent) noexcept nogil:
    """kernel (I, G H), or recurrent_kernel (heads, D, G D), or arrays of their gradients"""
    cdef Weights w
    w.at, w.block = at, GROUP
    w.gate = s.D if recurrent else s.H
    w.row = s.G * w.gate
    w.head = s.D * w.row if recurrent else s.D
    return w


cdef void pack_blocks(const Shape *s, const Weights *w, Py_ssize_t K, const Weights *panels,
                      int thread, int size) noexcept nogil:
    """K rows of w to panels: the unit blocks of one thread."""
    cdef Py_ssize_t u, k, j, v
    for u in range(s.NU * thread // size, s.NU * (thread + 1) // size):
        k, j = u // s.blocks, u % s.blocks
        for v in range(s.G):
            native_kernels().pack(
                K, s.D, w.at + k * w.head + v * w.gate, w.row, 1,
                <float*>panels.at + k * panels.head + v * panels.gate, panels.row, panels.block,
                j, j + 1)


cdef void pack_transposed(const Shape *s, const Weights *w, Py_ssize_t K, Py_ssize_t u,
                          Py_ssize_t sources, float *panels, int thread, int size) noexcept nogil:
    """K rows of w to [K / 16][sources][G][16][16], of the unit blocks u .. u + sources - 1.

    Zeros where a unit or a row does not exist; one thread's groups of rows.
    """
    cdef Py_ssize_t groups = up(K) // GROUP, panel = sources * s.G * SQUARE, n, k, j, v
    cdef Py_ssize_t first = groups * thread // size, last = groups * (thread + 1) // size
    memset(panels + first * panel, 0, (last - first) * panel * sizeof(float))
    for n in range(sources):
        k, j = (u + n) // s.blocks, (u + n) % s.blocks
        for v in range(s.G):
            native_kernels().pack(
                units_of(s, j), K, w.at + k * w.head + v * w.gate + j * GROUP, 1, w.row,
                panels + (n * s.G + v) * SQUARE, GROUP, panel, first, last)


cdef int set_shape(Shape *s, const float[:, ::1] x, const float[:, ::1] kernel,
                   const float[:, :, ::1] recurrent_kernel, const float[:, ::1] recurrent_mask,
                   tuple activation, bint exponential, const Py_ssize_t[::1] counts,
                   const Py_ssize_t[::1] offsets, const Py_ssize_t[::1] index,
                   const Py_ssize_t[::1] row_bounds, Py_ssize_t B) except -1:
    """All but the barriers."""
    memset(s, 0, sizeof(Shape))
    s.B, s.I, s.N, s.S = B, x.shape[1], index.shape[0], counts.shape[0]
    s.heads, s.D = recurrent_kernel.shape[0], recurrent_kernel.shape[1]
    s.H, s.G, s.blocks = s.heads * s.D, recurrent_kernel.shape[2] // s.D, up(s.D) // GROUP
    s.NU = s.heads * s.blocks
    s.HP = s.NU * GROUP
    s.counts, s.offsets, s.index = &counts[0], &offsets[0], &index[0]
    s.row_groups, s.row_bounds = <int>(row_bounds.shape[0] - 1), &row_bounds[0]
    s.exponential = exponential
    if activation is not None:
        kind, s.activation.alpha, s.activation.beta, s.activation.least, s.activation.most = (
            activation)
        s.activation.kind = KINDS[kind]
    if recurrent_mask is not None:
        s.recurrent_mask = &recurrent_mask[0, 0]
    s.raw_kernel = raw_weights(s, &kernel[0, 0], False)
    s.raw_recurrent = raw_weights(s, &recurrent_kernel[0, 0, 0], True)
    return 0


cdef void set_barriers(Shape *s, float **room) noexcept nogil:
    s.barriers = <team_barrier*>carve(room, (s.row_groups + 1) * BARRIER)
    memset(s.barriers, 0, (s.row_groups + 1) * sizeof(team_barrier))
    s.everybody = s.barriers + s.row_groups
