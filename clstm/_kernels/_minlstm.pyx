"""The scans of minLSTM over some steps, shared out by rows or by units; no thread waits for one.

Packed rows are those of clstm/_steps.py with one group; z has those of this call's steps, so that
its first row is packed row offsets[begin].
"""

from ._dispatch cimport clstm_kernels, native_kernels
from ._parallel cimport flush_subnormals, restore_mode, run, team

cdef enum:
    GROUP = 16  # units: a thread's share of them is a multiple of it
    GRAIN = 1 << 12  # units of all rows and steps that make another thread worth waking


cdef struct Scan:
    Py_ssize_t R, H, begin, end
    const Py_ssize_t *counts
    const Py_ssize_t *offsets
    const Py_ssize_t *index
    const float *z
    const float *bias
    const float *h0
    float *y
    const float *dy
    float *dh  # NULL: forwards
    float *dz


cdef const float *h_before(const Scan *q, Py_ssize_t s, Py_ssize_t r) noexcept nogil:
    """h_{t-1} of row r at step s"""
    if s == 0:
        return q.h0 + r * q.H
    return q.y + q.index[q.offsets[s - 1] + r] * q.H


cdef void scan_body(void *context, int thread, int size) noexcept nogil:
    """Each thread has rows, every size-th of them, or units of its own."""
    cdef const Scan *q = <const Scan*>context
    cdef const clstm_kernels *table = native_kernels()
    cdef unsigned long mode = flush_subnormals()
    cdef Py_ssize_t blocks = (q.H + GROUP - 1) // GROUP, first = thread, stride = size
    cdef Py_ssize_t u = 0, units = q.H, k, s, r, p
    cdef const float *bias = NULL
    cdef const float *dy = NULL
    if q.R < blocks:
        first, stride = 0, 1
        u = blocks * thread // size * GROUP
        units = min(blocks * (thread + 1) // size * GROUP, q.H) - u
    if q.bias != NULL:
        bias = q.bias + u
    for k in range(q.end - q.begin):
        s = q.begin + k if q.dh == NULL else q.end - 1 - k
        r = first
        while r < q.counts[s]:
            p = q.offsets[s] - q.offsets[q.begin] + r
            if q.dh == NULL:
                table.minlstm_step(units, q.H, q.z + p * 3 * q.H + u, bias, h_before(q, s, r) + u,
                                   q.y + q.index[q.offsets[s] + r] * q.H + u)
            else:
                if q.dy != NULL:
                    dy = q.dy + q.index[q.offsets[s] + r] * q.H + u
                table.minlstm_step_backward(
                    units, q.H, q.z + p * 3 * q.H + u, bias, h_before(q, s, r) + u, dy,
                    q.dh + r * q.H + u, q.dz + p * 3 * q.H + u)
            r += stride
    restore_mode(mode)


cdef void scan(Scan *q, const float[:, ::1] z, const float[::1] bias, const float[:, ::1] h0,
               const float[:, ::1] y, const Py_ssize_t[::1] counts, const Py_ssize_t[::1] offsets,
               const Py_ssize_t[::1] index, Py_ssize_t begin, Py_ssize_t end):
    cdef Py_ssize_t size = team(z.shape[0] * h0.shape[1], GRAIN)
    q.R, q.H, q.begin, q.end = counts[begin], h0.shape[1], begin, end
    q.counts, q.offsets, q.index = &counts[0], &offsets[0], &index[0]
    q.z, q.h0, q.y, q.bias = &z[0, 0], &h0[0, 0], <float*>&y[0, 0], NULL
    if bias is not None:
        q.bias = &bias[0]
    with nogil:
        run(scan_body, q, <int>min(size, max(q.R, (q.H + GROUP - 1) // GROUP)))


def forward(const float[:, ::1] z, const float[::1] bias, const float[:, ::1] h0, float[:, ::1] y,
            const Py_ssize_t[::1] counts, const Py_ssize_t[::1] offsets,
            const Py_ssize_t[::1] index, Py_ssize_t begin, Py_ssize_t end) -> None:
    """y of steps begin .. end - 1, from y of the step before, or from h0.

    z (rows of these steps, 3H): x W; bias (3H) or None; h0 (B, H) in packed order; y (positions,
    H); counts (S), offsets (S + 1), index (N). There is a row in each step.
    """
    cdef Scan q
    q.dy, q.dh, q.dz = NULL, NULL, NULL
    scan(&q, z, bias, h0, y, counts, offsets, index, begin, end)


def backward(const float[:, ::1] z, const float[::1] bias, const float[:, ::1] h0,
             const float[:, ::1] y, const float[:, ::1] dy, float[:, ::1] dh, float[:, ::1] dz,
             const Py_ssize_t[::1] counts, const Py_ssize_t[::1] offsets,
             const Py_ssize_t[::1] index, Py_ssize_t begin, Py_ssize_t end) -> None:
    """dz of steps begin .. end - 1; dh (B, H) of the last of them becomes that before the first.

    dy (positions, H) or None; dz as z; the rest as in `forward`.
    """
    cdef Scan q
    q.dy, q.dh, q.dz = NULL, &dh[0, 0], &dz[0, 0]
    if dy is not None:
        q.dy = &dy[0, 0]
    scan(&q, z, bias, h0, y, counts, offsets, index, begin, end)
