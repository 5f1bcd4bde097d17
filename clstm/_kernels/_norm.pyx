"""Layer norm in the native LSTM: all rows of a step, shared out by unit blocks.

A row's statistics need all unit blocks: each thread leaves the sums of its own, waits, and makes
the statistics of all rows for itself, in the order of the blocks.
"""

from libc.string cimport memcpy, memset

from ._dispatch cimport clstm_norm, native_kernels
from ._panels cimport GROUP, Share, aligned_array, floats, up


cdef class LayerNorms:
    """The normalisations of one run, and what a backward run needs of them.

    kind: "gate" or "joint"; gains ([2,] NU, 4, 16): of the gates, or of x W and h U; bias (NU, 4,
    16); cell_norm (2, NU, 1, 16) or None: gain and shift; carried: c itself becomes what it is
    normalised to; B; units H; rows: packed rows that are kept, or B; threads; epsilon.
    """

    def __init__(self, str kind, const float[:, :, :, ::1] gains, const float[:, :, ::1] bias,
                 const float[:, :, :, ::1] cell_norm, bint carried, Py_ssize_t B, Py_ssize_t H,
                 Py_ssize_t rows, int threads, float epsilon):
        cdef Norms *n = &self.norms
        cdef bint joint = kind == "joint", of_cell = cell_norm is not None
        memset(n, 0, sizeof(Norms))
        n.B, n.H, n.NU, n.rows, n.epsilon = B, H, up(H) // GROUP, rows, epsilon
        n.carried = carried
        self.arrays = (gains, bias, cell_norm)
        n.h.gain = &gains[joint, 0, 0, 0]
        if joint:
            n.x.gain, n.x.shift = &gains[0, 0, 0, 0], &bias[0, 0, 0]
            self.make(&n.x, 4, True)
        else:
            n.h.shift = &bias[0, 0, 0]
        self.make(&n.h, 4, joint)
        if of_cell:
            n.cell.gain, n.cell.shift = &cell_norm[0, 0, 0, 0], &cell_norm[1, 0, 0, 0]
            self.make(&n.cell, 1, False)
            n.c_out = self.room(2 * floats(n.NU, B, GROUP))
            n.d_out = n.c_out + floats(n.NU, B, GROUP)
        n.scratch = self.room(floats(threads, B, SUMS))

    cdef float *room(self, Py_ssize_t size) except NULL:
        cdef float[::1] array = aligned_array(size)
        self.arrays += (array,)
        return &array[0]

    cdef int make(self, Norm *m, int parts, bint joined) except -1:
        cdef Py_ssize_t NU = self.norms.NU
        m.parts, m.joined = parts, joined
        m.values = self.room(floats(NU, self.norms.rows, parts * GROUP))
        m.statistics = self.room(floats(self.norms.rows, SUMS))
        m.sums = self.room(floats(NU, self.norms.B, SUMS))
        return 0

    def begin_backward(self, int threads, float[:, :, :, ::1] gains, float[:, :, ::1] bias,
                       float[:, :, :, ::1] cell_norm):
        """Where a backward run adds to: gradients in the layouts of what they belong to."""
        cdef Norms *n = &self.norms
        cdef bint joint = n.x.parts > 0
        self.arrays += (gains, bias, cell_norm)
        n.scratch = self.room(floats(threads, n.B, SUMS))
        n.h.d_gain = &gains[joint, 0, 0, 0]
        if joint:
            n.x.d_gain, n.x.d_shift = &gains[0, 0, 0, 0], &bias[0, 0, 0]
        else:
            n.h.d_shift = &bias[0, 0, 0]
        if cell_norm is not None:
            n.cell.d_gain, n.cell.d_shift = &cell_norm[0, 0, 0, 0], &cell_norm[1, 0, 0, 0]


cdef clstm_norm block(const Norms *n, const Norm *m, Py_ssize_t u, Py_ssize_t rows,
                      Py_ssize_t p) noexcept nogil:
    """Unit block u of some rows."""
    cdef clstm_norm b
    cdef Py_ssize_t width = m.parts * GROUP
    memset(&b, 0, sizeof(b))
    b.rows, b.units = rows, min(<Py_ssize_t>GROUP, n.H - u * GROUP)
    b.parts, b.joined = m.parts, m.joined
    b.values = m.values + (u * n.rows + p) * width
    b.gain, b.sums = m.gain + u * width, m.sums + u * n.B * SUMS
    if m.shift != NULL:
        b.shift = m.shift + u * width
    if m.d_gain != NULL:
        b.d_gain = m.d_gain + u * width
    if m.d_shift != NULL:
        b.d_shift = m.d_shift + u * width
    return b


cdef void norm_sums(const Norms *n, const Norm *m, const Share *own, Py_ssize_t rows, float *a,
                    Py_ssize_t a_block) noexcept nogil:
    cdef Py_ssize_t u
    cdef clstm_norm b
    for u in range(own.unit, own.unit_end):
        b = block(n, m, u, rows, 0)
        b.a = a + u * a_block
        native_kernels().norm_sums(&b)


cdef void norm_apply(const Norms *n, const Norm *m, const Share *own, Py_ssize_t rows,
                     Py_ssize_t p, float *a, Py_ssize_t a_block, float *z, Py_ssize_t z_block,
                     int thread) noexcept nogil:
    cdef float *statistics = n.scratch + thread * n.B * SUMS
    cdef clstm_norm b = block(n, m, 0, rows, p)
    native_kernels().norm_statistics(&b, n.H, n.B * SUMS, n.epsilon, statistics)
    if own.part == 0:
        memcpy(m.statistics + p * SUMS, statistics, rows * SUMS * sizeof(float))
    norm_again(n, m, own, rows, p, a, a_block, z, z_block, statistics)


cdef void norm_again(const Norms *n, const Norm *m, const Share *own, Py_ssize_t rows,
                     Py_ssize_t p, float *a, Py_ssize_t a_block, float *z, Py_ssize_t z_block,
                     const float *statistics) noexcept nogil:
    cdef Py_ssize_t u
    cdef clstm_norm b
    for u in range(own.unit, own.unit_end):
        b = block(n, m, u, rows, p)
        b.a, b.z, b.statistics = a + u * a_block, z + u * z_block, statistics
        native_kernels().norm_apply(&b)


cdef void norm_sums_back(const Norms *n, const Norm *m, const Share *own, Py_ssize_t rows,
                         Py_ssize_t p, float *dz, Py_ssize_t dz_block) noexcept nogil:
    cdef Py_ssize_t u
    cdef clstm_norm b
    for u in range(own.unit, own.unit_end):
        b = block(n, m, u, rows, p)
        b.z = dz + u * dz_block
        native_kernels().norm_sums_back(&b)


cdef void norm_apply_back(const Norms *n, const Norm *m, const Share *own, Py_ssize_t rows,
                          Py_ssize_t p, float *dz, Py_ssize_t dz_block, float *da,
                          Py_ssize_t da_block, bint add, int thread) noexcept nogil:
    cdef float *means = n.scratch + thread * n.B * SUMS
    cdef clstm_norm b = block(n, m, 0, rows, p)
    cdef Py_ssize_t u
    native_kernels().norm_means_back(&b, n.H, n.B * SUMS, means)
    for u in range(own.unit, own.unit_end):
        b = block(n, m, u, rows, p)
        b.z, b.a, b.statistics = dz + u * dz_block, da + u * da_block, m.statistics + p * SUMS
        native_kernels().norm_apply_back(&b, means, add)
