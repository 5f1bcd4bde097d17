"""Packed weights for serving, with a short way for single steps.

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

from ._native_forward cimport Run, forward_body
from ._panels cimport (
    GATES,
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
cdef float32 = np.float32


cdef class PackedWeights:
    """kernel (I, 4H), recurrent_kernel (H, 4H) and bias (4H) or None, as panels; immutable."""

    cdef Py_ssize_t I, H
    cdef readonly tuple panels  # kernel, recurrent_kernel, bias
    cdef const float *kernel
    cdef const float *recurrent
    cdef const float *bias

    def __init__(self, const float[:, ::1] kernel, const float[:, ::1] recurrent_kernel,
                 const float[::1] bias):
        cdef float[::1] W, U, b
        self.I, self.H = kernel.shape[0], recurrent_kernel.shape[0]
        self.panels = (aligned_array(panels_size(self.I, self.H, False)),
                       aligned_array(panels_size(self.H, self.H, False)),
                       aligned_array(4 * up(self.H)))
        W, U, b = self.panels
        pack_share(&kernel[0, 0], self.I, self.H, False, &W[0], 0, 1)
        pack_share(&recurrent_kernel[0, 0], self.H, self.H, False, &U[0], 0, 1)
        memset(&b[0], 0, 4 * up(self.H) * sizeof(float))
        if bias is not None:
            pack_share(&bias[0], 1, self.H, False, &b[0], 0, 1)
        self.kernel, self.recurrent, self.bias = &W[0], &U[0], &b[0]

    def step(self, x, h, c):
        """y (B, 1, H), h (B, H), c (B, H) after one step from x (B, 1, I), h and c.

        None, and nothing done, unless x, h and c are float32 arrays of these shapes in C order and
        B is 1 .. 16: the long way then takes them, or says what is wrong.
        """
        cdef Py_buffer views[6]
        cdef int held = 0
        cdef Py_ssize_t B = 0
        cdef object result = None
        try:
            for array in (x, h, c):
                if not isinstance(array, np.ndarray):
                    return None
                PyObject_GetBuffer(array, &views[held], PyBUF_C_CONTIGUOUS | PyBUF_FORMAT)
                held += 1
                if views[held - 1].format[0] != c"f" or views[held - 1].format[1] != 0:
                    return None
            if views[0].ndim != 3 or views[1].ndim != 2 or views[2].ndim != 2:
                return None
            B = views[0].shape[0]
            if (B < 1 or B > ROWS or views[0].shape[1] != 1 or views[0].shape[2] != self.I
                    or views[1].shape[0] != B or views[1].shape[1] != self.H
                    or views[2].shape[0] != B or views[2].shape[1] != self.H):
                return None
            result = (empty((B, 1, self.H), float32), empty((B, self.H), float32),
                      empty((B, self.H), float32))
            for array in result:
                PyObject_GetBuffer(array, &views[held], PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE)
                held += 1
            self.run_step(B, <const float*>views[0].buf, <const float*>views[1].buf,
                          <const float*>views[2].buf, <float*>views[3].buf, <float*>views[4].buf,
                          <float*>views[5].buf)
            return result
        except (BufferError, ValueError):  # not in C order
            return None
        finally:
            while held > 0:
                held -= 1
                PyBuffer_Release(&views[held])

    cdef int run_step(self, Py_ssize_t B, const float *x, const float *h, const float *c,
                      float *y, float *h_out, float *c_out) except -1:
        cdef Py_ssize_t HP = up(self.H), row
        cdef Py_ssize_t counts[1]
        cdef Py_ssize_t[2] offsets, bounds
        cdef Py_ssize_t index[ROWS]
        cdef Run r
        cdef float *scratch = allocate(32 + 2 * up(B * HP) + up(B * HP) + up(4 * B * HP))
        cdef float *room = scratch
        cdef int size = team(B * 4 * self.H * (self.I + self.H), GRAIN)
        with nogil:
            memset(&r, 0, sizeof(r))
            counts[0], offsets[0], offsets[1], bounds[0], bounds[1] = B, 0, B, 0, B
            for row in range(B):
                index[row] = row
            r.B, r.I, r.H, r.NU, r.N, r.S, r.end = B, self.I, self.H, HP // GROUP, B, 1, 1
            r.counts, r.offsets, r.index, r.row_bounds = counts, offsets, index, bounds
            r.row_groups, r.stretch, r.gates_rows, r.cells_rows = 1, 1, B, B
            r.barriers = <team_barrier*>carve(&room, 32)
            memset(r.barriers, 0, sizeof(team_barrier))
            r.x, r.y, r.bias, r.bias_unit = x, y, self.bias, GATES
            r.kernel.at, r.kernel.unit = self.kernel, self.I * GATES
            r.recurrent.at, r.recurrent.unit = self.recurrent, self.H * GATES
            r.kernel.row = r.recurrent.row = GATES
            r.kernel.gate = r.recurrent.gate = GROUP
            r.h = carve(&room, 2 * B * HP)
            r.cells = carve(&room, B * HP)
            r.c0 = r.cells
            r.gates = carve(&room, 4 * B * HP)
            to_blocks(c, r.cells, B, self.H)
            for row in range(B):
                memcpy(r.h + row * HP, h + row * self.H, self.H * sizeof(float))
            run(forward_body, &r, min(size, <int>r.NU))
            memcpy(h_out, y, B * self.H * sizeof(float))
            for row in range(B):
                from_blocks(r.cells + row * GROUP, B * GROUP, c_out + row * self.H, self.H)
            free(scratch)
        return 0
