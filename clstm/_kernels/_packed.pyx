"""Packed weights for serving, and a short way for single steps.

A step of a small LSTM takes a few microseconds: here nothing is planned, and the arrays' memory is
reached through the buffer protocol itself.
"""

from cpython.buffer cimport (
    PyBUF_C_CONTIGUOUS,
    PyBUF_FORMAT,
    PyBUF_WRITABLE,
    PyBuffer_Release,
    PyObject_GetBuffer,
)
from libc.stdlib cimport free
from libc.string cimport memcpy, memset

import numpy as np

from ._dispatch cimport clstm_gemm, kernels, native_kernels
from ._native_forward cimport Run, forward_body, set_panels, set_raw
from ._panels cimport (
    BARRIER,
    GATES,
    GROUP,
    aligned_array,
    allocate,
    carve,
    floats,
    from_blocks,
    pack_share,
    panels_size,
    to_blocks,
    up,
)
from ._parallel cimport run, team, team_barrier

cdef enum:
    ROWS = 16  # of the largest batch that goes the short way
    GRAIN = 1 << 16  # multiplications that make another thread worth waking

cdef empty = np.empty
cdef float32 = np.dtype(np.float32)
cdef ndarray = np.ndarray


cdef class PackedWeights:
    """kernel (I, 4H), recurrent_kernel (P, 4H) and bias (4H) or None, as panels; immutable."""

    cdef Py_ssize_t I, H, P
    cdef readonly tuple panels  # kernel, recurrent_kernel, bias
    cdef Run weights  # a run that has its weights and nothing else

    def __init__(self, const float[:, ::1] kernel, const float[:, ::1] recurrent_kernel,
                 const float[::1] bias):
        cdef float[::1] W, U, b
        self.I, self.P, self.H = kernel.shape[0], recurrent_kernel.shape[0], kernel.shape[1] // 4
        self.panels = (aligned_array(panels_size(self.I, self.H, False)),
                       aligned_array(panels_size(self.P, self.H, False)),
                       aligned_array(4 * up(self.H)))
        W, U, b = self.panels
        pack_share(&kernel[0, 0], self.I, self.H, False, &W[0], 0, 1)
        pack_share(&recurrent_kernel[0, 0], self.P, self.H, False, &U[0], 0, 1)
        memset(&b[0], 0, 4 * up(self.H) * sizeof(float))
        if bias is not None:
            pack_share(&bias[0], 1, self.H, False, &b[0], 0, 1)
        memset(&self.weights, 0, sizeof(Run))
        set_panels(&self.weights, &W[0], self.I, &U[0], self.P, &b[0])

    def step(self, x, tuple state):
        """y (B, 1, H), (h, c) after one step from x (B, 1, I) and state (h, c), each (B, H).

        None, and nothing done, unless these are float32 arrays of these shapes in C order and B is
        1 .. 16: the long way then takes them, or says what is wrong.
        """
        if len(state) != 2 or kernels(sizeof(float)).gemm == NULL:
            return None
        return short_way(&self.weights, self.I, self.H, x, None, state[0], state[1])

    def project(self, const float[:, ::1] x):
        """bias + x W of each row of x (N, I): the table of `step_of_rows`."""
        cdef Py_ssize_t N = x.shape[0], width = 4 * up(self.H), u
        cdef float[:, ::1] table
        cdef clstm_gemm g
        if x.shape[1] != self.I:
            raise ValueError(f"x: expected {self.I} columns, got {x.shape[1]}")
        result = aligned_array(floats(N, width))[:N * width].reshape(N, width)
        if N == 0:
            return result
        table = result
        memset(&g, 0, sizeof(g))
        g.groups, g.blocks, g.depth, g.rows = 4, 1, self.I, N
        g.a, g.a_row, g.a_k = &x[0, 0], self.I, 1
        g.b_k, g.b_group = self.weights.kernel.row, self.weights.kernel.gate
        g.c_row, g.c_group, g.width, g.last = width, GROUP, GROUP, GROUP
        g.start_group = self.weights.bias_gate
        with nogil:
            for u in range(up(self.H) // GROUP):
                g.b = self.weights.kernel.at + u * self.weights.kernel.unit
                g.start = self.weights.bias + u * self.weights.bias_unit
                g.c = &table[0, 0] + u * GATES
                native_kernels().gemm(&g)
        return result

    def step_of_rows(self, table, rows, tuple state):
        """As `step`, from rows (B, 1) of what `project` gave, int64, in range; None likewise."""
        if len(state) != 2 or kernels(sizeof(float)).gemm == NULL:
            return None
        return short_way(&self.weights, self.I, self.H, table, rows, state[0], state[1])


cdef bint take(object array, Py_buffer *view, int ndim, bint integers=False) except -1:
    """Hold the memory of a float32 array, or of one of int64, in C order; False, and nothing held,
    for anything else."""
    if not isinstance(array, ndarray):
        return False
    try:
        PyObject_GetBuffer(array, view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT)
    except (BufferError, ValueError):  # not in C order
        return False
    cdef bint fits = view.ndim == ndim and view.format[0] != 0 and view.format[1] == 0
    if integers:
        fits = fits and view.itemsize == 8 and (view.format[0] == c"l" or view.format[0] == c"q")
    else:
        fits = fits and view.format[0] == c"f"
    if not fits:
        PyBuffer_Release(view)
        return False
    return True


def step_raw(x, kernel, recurrent_kernel, bias, tuple state):
    """As `PackedWeights.step`, with weights as they are; None unless the units are whole blocks."""
    cdef Py_buffer W, U, b
    cdef Run weights
    cdef Py_ssize_t I, H
    if len(state) != 2 or kernels(sizeof(float)).gemm == NULL or not take(kernel, &W, 2):
        return None
    try:
        if not take(recurrent_kernel, &U, 2):
            return None
        try:
            I, H = W.shape[0], U.shape[0]
            if (H % GROUP or H == 0 or I == 0 or U.shape[1] != 4 * H or W.shape[1] != 4 * H
                    or not take(bias, &b, 1)):
                return None
            try:
                if b.shape[0] != 4 * H:
                    return None
                memset(&weights, 0, sizeof(Run))
                set_raw(&weights, <float*>W.buf, <float*>U.buf, H, <float*>b.buf)
                return short_way(&weights, I, H, x, None, state[0], state[1])
            finally:
                PyBuffer_Release(&b)
        finally:
            PyBuffer_Release(&U)
    finally:
        PyBuffer_Release(&W)


cdef short_way(const Run *weights, Py_ssize_t I, Py_ssize_t H, x, rows, h, c):
    """rows: None, or those of the table x."""
    cdef Py_buffer views[6]
    cdef Py_buffer of_rows
    cdef int held = 0, k
    cdef bint rows_held = False
    cdef Py_ssize_t B
    cdef const Py_ssize_t *which = NULL
    cdef tuple arrays
    try:
        if rows is None:
            if not take(x, &views[0], 3):
                return None
            held = 1
            B = views[0].shape[0]
            if views[0].shape[1] != 1 or views[0].shape[2] != I:
                return None
        else:
            if not take(x, &views[0], 2):
                return None
            held = 1
            rows_held = take(rows, &of_rows, 2, True)
            if not rows_held:
                return None
            which, B = <const Py_ssize_t*>of_rows.buf, of_rows.shape[0]
            if views[0].shape[1] != 4 * up(H) or of_rows.shape[1] != 1:
                return None
            for k in range(B):
                if which[k] < 0 or which[k] >= views[0].shape[0]:
                    return None
        for array in (h, c):
            if not take(array, &views[held], 2):
                return None
            held += 1
        if B < 1 or B > ROWS:
            return None
        for k in range(1, 3):
            if views[k].shape[0] != B or views[k].shape[1] != H:
                return None
        arrays = (empty((B, 1, H), float32), empty((B, H), float32), empty((B, H), float32))
        for array in arrays:
            PyObject_GetBuffer(array, &views[held], PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE)
            held += 1
        run_step(weights, B, I, H, <const float*>views[0].buf, which, <const float*>views[1].buf,
                 <const float*>views[2].buf, <float*>views[3].buf, <float*>views[4].buf,
                 <float*>views[5].buf)
        return arrays[0], (arrays[1], arrays[2])
    finally:
        if rows_held:
            PyBuffer_Release(&of_rows)
        while held > 0:
            held -= 1
            PyBuffer_Release(&views[held])


cdef int run_step(const Run *weights, Py_ssize_t B, Py_ssize_t I, Py_ssize_t H, const float *x,
                  const Py_ssize_t *rows, const float *h, const float *c, float *y, float *h_out,
                  float *c_out) except -1:
    """x (B, I); or, with rows (B), the table of bias + x W that they are of."""
    cdef Py_ssize_t HP = up(H), row, u
    cdef Py_ssize_t counts[1]
    cdef Py_ssize_t[2] offsets, bounds
    cdef Py_ssize_t index[ROWS]
    cdef Run r = weights[0]
    cdef Py_ssize_t gates = 4 * B * HP if rows != NULL else 0
    cdef float *scratch = allocate(2 * BARRIER + 2 * up(B * HP) + up(B * HP) + gates)
    cdef float *room = scratch
    cdef int size = team(B * 4 * H * ((0 if rows != NULL else I) + H), GRAIN)
    with nogil:
        counts[0], offsets[0], offsets[1], bounds[0], bounds[1] = B, 0, B, 0, B
        for row in range(B):
            index[row] = row
        r.B, r.I, r.P, r.H, r.NU, r.N, r.S, r.end = B, I, H, H, HP // GROUP, B, 1, 1
        r.counts, r.offsets, r.index, r.row_bounds = counts, offsets, index, bounds
        r.row_groups, r.stretch, r.together, r.cells_rows = 1, 1, rows == NULL, B
        r.barriers = <team_barrier*>carve(&room, 2 * BARRIER)
        memset(r.barriers, 0, 2 * sizeof(team_barrier))
        r.everybody = r.barriers + 1
        r.x, r.y = x, y
        r.h = carve(&room, 2 * B * HP)
        r.cells = carve(&room, B * HP)
        r.c0 = r.cells
        if rows != NULL:
            r.x, r.gates, r.gates_rows = NULL, carve(&room, gates), B
            for row in range(B):
                for u in range(r.NU):
                    memcpy(r.gates + (u * B + row) * GATES, x + rows[row] * 4 * HP + u * GATES,
                           GATES * sizeof(float))
        to_blocks(c, r.cells, B, H)
        for row in range(B):
            memcpy(r.h + row * HP, h + row * H, H * sizeof(float))
        run(forward_body, &r, min(size, <int>r.NU))
        memcpy(h_out, y, B * H * sizeof(float))
        for row in range(B):
            from_blocks(r.cells + row * GROUP, B * GROUP, c_out + row * H, H)
        free(scratch)
    return 0
