"""The projection of the native LSTM's output: h_t = clip(m P + b), zoneout, and their gradients.

A thread has its own groups of 16 columns of h, in all steps.
"""

from libc.math cimport INFINITY
from libc.string cimport memset

from ._cell cimport CellOptions
from ._dispatch cimport clstm_gemm, native_kernels
from ._panels cimport GROUP, ONE, ZEROS, Share, aligned_array, floats, gemm_groups, up

import numpy as np

cdef class OutputProjection:
    """projection (H, P), bias (P) or None, clip: infinity is none."""

    def __init__(self, const float[:, ::1] projection, const float[::1] bias, float clip):
        cdef Projection *p = &self.parts
        p.H, p.P, p.clip = projection.shape[0], projection.shape[1], clip
        p.groups = up(p.P) // GROUP
        self.projection = projection
        cdef float[::1] panels = aligned_array(floats(p.groups, p.H, GROUP))
        cdef float[::1] wide = np.zeros(up(p.P), np.float32)
        native_kernels().pack(p.H, p.P, &projection[0, 0], p.P, 1, &panels[0], GROUP,
                              p.H * GROUP, 0, p.groups)
        if bias is not None:
            wide[:p.P] = bias
        self.arrays = (panels, wide)
        p.panels, p.bias = &panels[0], &wide[0]

    cdef int transpose(self) except -1:
        """Make what a backward run needs, once."""
        cdef Projection *p = &self.parts
        if p.transposed != NULL:
            return 0
        cdef const float[:, ::1] projection = self.projection
        cdef float[::1] panels = aligned_array(floats(up(p.H), p.P))
        native_kernels().pack(p.P, p.H, &projection[0, 0], 1, p.P, &panels[0], GROUP,
                              p.P * GROUP, 0, up(p.H) // GROUP)
        self.arrays += (panels,)
        p.transposed = &panels[0]
        return 0


cdef void set_projection(Projection *p, OutputProjection projection, CellOptions cell) noexcept:
    p[0] = projection.parts
    if cell is not None:
        p.zoneout, p.zoneout_row = cell.options.zoneout_h, cell.options.zoneout_h_row


cdef void project_outputs(const Projection *p, const Share *own, const float *m, Py_ssize_t row,
                          Py_ssize_t row_end, const Py_ssize_t *index, float *y, float *h_next,
                          const float *mask, float *h_kept) noexcept nogil:
    cdef Py_ssize_t first = p.groups * own.part // own.unit_groups, PP = p.groups * GROUP
    cdef Py_ssize_t last = p.groups * (own.part + 1) // own.unit_groups, n, j
    cdef float *place
    cdef float share
    cdef clstm_gemm g
    memset(&g, 0, sizeof(g))
    g.rows, g.blocks, g.depth = row_end - row, 1, p.H
    g.a, g.a_row, g.a_k = m, up(p.H), 1
    g.b, g.b_k, g.b_group = p.panels, GROUP, p.H * GROUP
    g.c, g.c_index, g.c_row, g.c_group, g.width = y, index, p.P, GROUP, GROUP
    g.start, g.start_group = p.bias, GROUP
    gemm_groups(&g, first, last, p.P)
    for n in range(row, row_end):
        place = y + index[n - row] * p.P
        if p.clip < INFINITY:
            for j in range(first * GROUP, min(p.P, last * GROUP)):
                if place[j] > p.clip:  # NaN stays
                    place[j] = p.clip
                elif place[j] < -p.clip:
                    place[j] = -p.clip
        if p.zoneout != NULL:
            for j in range(first * GROUP, min(p.P, last * GROUP)):
                share = p.zoneout[index[n - row] * p.zoneout_row + j]
                place[j] = share * h_kept[n * PP + j] + (1 - share) * place[j]
                h_kept[n * PP + j] = place[j]
        for j in range(first * GROUP, min(p.P, last * GROUP)):
            h_next[n * PP + j] = place[j] if mask == NULL else place[j] * mask[n * PP + j]


cdef void outputs_back(const Projection *p, const Share *own, const float *dh, float *dh_kept,
                       const float *dy, const float *y, const Py_ssize_t *index, Py_ssize_t row,
                       Py_ssize_t row_end, float *d) noexcept nogil:
    cdef Py_ssize_t first = p.groups * own.part // own.unit_groups, PP = p.groups * GROUP
    cdef Py_ssize_t last = p.groups * (own.part + 1) // own.unit_groups, n, j, place
    cdef float share, total
    for n in range(row, row_end):
        place = index[n - row]
        for j in range(first * GROUP, min(p.P, last * GROUP)):
            total = dh[n * PP + j]
            if p.zoneout != NULL:
                total += dh_kept[n * PP + j]
            if dy != NULL:
                total += dy[place * p.P + j]
            if p.zoneout != NULL:
                share = p.zoneout[place * p.zoneout_row + j]
                dh_kept[n * PP + j] = share * total
                total = (1 - share) * total
            elif p.clip < INFINITY and not -p.clip < y[place * p.P + j] < p.clip:  # it was cut
                total = 0
            d[(n - row) * PP + j] = total


cdef void cells_back(const Projection *p, const Share *own, const float *d, Py_ssize_t row,
                     Py_ssize_t row_end, float *dm) noexcept nogil:
    cdef clstm_gemm g
    memset(&g, 0, sizeof(g))
    g.rows, g.blocks, g.depth = row_end - row, 1, p.P
    g.a, g.a_row, g.a_k = d, p.groups * GROUP, 1
    g.b, g.b_k, g.b_group = p.transposed, GROUP, p.P * GROUP
    g.c_row, g.c_group, g.width, g.start = up(p.H), GROUP, GROUP, ZEROS
    g.c = dm + row * g.c_row
    gemm_groups(&g, own.unit, own.unit_end, g.c_row)


cdef void projection_gradient(const Projection *p, const float *m, const float *d, Py_ssize_t n,
                              float *d_projection, float *d_bias, int thread,
                              int size) noexcept nogil:
    cdef Py_ssize_t first = p.groups * thread // size, last = p.groups * (thread + 1) // size
    cdef clstm_gemm g
    memset(&g, 0, sizeof(g))
    g.blocks, g.depth = 1, n
    g.b, g.b_k, g.b_group = d, p.groups * GROUP, GROUP
    g.c_row, g.c_group, g.width = p.P, GROUP, GROUP
    g.rows, g.a, g.a_row, g.a_k, g.c = p.H, m, 1, up(p.H), d_projection
    gemm_groups(&g, first, last, p.P)
    if d_bias != NULL:
        g.rows, g.a, g.a_k, g.c = 1, ONE, 0, d_bias
        gemm_groups(&g, first, last, p.P)
