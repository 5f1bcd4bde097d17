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

from ._dispatch cimport kernels
from ._native_forward cimport Run, forward_body, set_panels, set_raw
from ._panels cimport (
    BARRIER,
    GROUP,
    aligned_array,
    allocate,
    carve,
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
        return short_way(&self.weights, self.I, self.H, x, state[0], state[1])


cdef bint take(object array, Py_buffer *view, int ndim) except -1:
    """Hold the memory of a float32 array in C order; False, and nothing held, for anything else."""
    if not isinstance(array, ndarray):
        return False
    try:
        PyObject_GetBuffer(array, view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT)
    except (BufferError, ValueError):  # not in C order
        return False
    if view.ndim != ndim or view.format[0] != c"f" or view.format[1] != 0:
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
                return short_way(&weights, I, H, x, state[0], state[1])
            finally:
                PyBuffer_Release(&b)
        finally:
            PyBuffer_Release(&U)
    finally:
        PyBuffer_Release(&W)


cdef short_way(const Run *weights, Py_ssize_t I, Py_ssize_t H, x, h, c):
    cdef Py_buffer views[6]
    cdef int held = 0, k
    cdef Py_ssize_t B
    cdef tuple arrays
    try:
        for array in (x, h, c):
            if not take(array, &views[held], 2 if held else 3):
                return None
            held += 1
        B = views[0].shape[0]
        if B < 1 or B > ROWS or views[0].shape[1] != 1 or views[0].shape[2] != I:
            return None
        for k in range(1, 3):
            if views[k].shape[0] != B or views[k].shape[1] != H:
                return None
        arrays = (empty((B, 1, H), float32), empty((B, H), float32), empty((B, H), float32))
        for array in arrays:
            PyObject_GetBuffer(array, &views[held], PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE)
            held += 1
        run_step(weights, B, I, H, <const float*>views[0].buf, <const float*>views[1].buf,
                 <const float*>views[2].buf, <float*>views[3].buf, <float*>views[4].buf,
                 <float*>views[5].buf)
        return arrays[0], (arrays[1], arrays[2])
    finally:
        while held > 0:
            held -= 1
            PyBuffer_Release(&views[held])


cdef int run_step(const Run *weights, Py_ssize_t B, Py_ssize_t I, Py_ssize_t H, const float *x,
                  const float *h, const float *c, float *y, float *h_out,
                  float *c_out) except -1:
    cdef Py_ssize_t HP = up(H), row
    cdef Py_ssize_t counts[1]
    cdef Py_ssize_t[2] offsets, bounds
    cdef Py_ssize_t index[ROWS]
    cdef Run r = weights[0]
    cdef float *scratch = allocate(2 * BARRIER + 2 * up(B * HP) + up(B * HP))
    cdef float *room = scratch
    cdef int size = team(B * 4 * H * (I + H), GRAIN)
    with nogil:
        counts[0], offsets[0], offsets[1], bounds[0], bounds[1] = B, 0, B, 0, B
        for row in range(B):
            index[row] = row
        r.B, r.I, r.P, r.H, r.NU, r.N, r.S, r.end = B, I, H, H, HP // GROUP, B, 1, 1
        r.counts, r.offsets, r.index, r.row_bounds = counts, offsets, index, bounds
        r.row_groups, r.stretch, r.together, r.cells_rows = 1, 1, True, B
        r.barriers = <team_barrier*>carve(&room, 2 * BARRIER)
        memset(r.barriers, 0, 2 * sizeof(team_barrier))
        r.everybody = r.barriers + 1
        r.x, r.y = x, y
        r.h = carve(&room, 2 * B * HP)
        r.cells = carve(&room, B * HP)
        r.c0 = r.cells
        to_blocks(c, r.cells, B, H)
        for row in range(B):
            memcpy(r.h + row * HP, h + row * H, H * sizeof(float))
        run(forward_body, &r, min(size, <int>r.NU))
        memcpy(h_out, y, B * H * sizeof(float))
        for row in range(B):
            from_blocks(r.cells + row * GROUP, B * GROUP, c_out + row * H, H)
        free(scratch)
    return 0
