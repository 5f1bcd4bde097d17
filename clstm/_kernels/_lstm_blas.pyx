"""The LSTM of the `blas` backend: one OpenMP team per call, each thread with rows of its own.

A thread runs all steps of its group of rows (clstm/_steps.py) by itself: a GEMM of BLAS and the
gates' kernel for each step, no barrier. Packed rows p of group g are starts[g] .. starts[g+1] - 1;
index[p] is the place of packed row p in x and y. N packed rows, S steps, G groups, B batch rows.
"""

from cython.parallel cimport prange
from libc.string cimport memcpy

import numpy as np

from ._blas cimport gemm
from ._dispatch cimport clstm_kernels, kernels, real

from ._blas import check_sizes, exclusive, groups

cdef enum:
    STRETCH = 1 << 16  # gates that inference projects at a time: they stay in the core's cache


cdef void _multiply(real *a, const real *b, Py_ssize_t n) noexcept nogil:
    """a *= b; b may be NULL, for ones"""
    cdef Py_ssize_t k
    if b != NULL:
        for k in range(n):
            a[k] *= b[k]


cdef void _forward_group(
    Py_ssize_t I, Py_ssize_t H, Py_ssize_t S, const Py_ssize_t *counts, const Py_ssize_t *index,
    const real *x, const real *kernel, const real *recurrent_kernel, const real *bias,
    const real *recurrent_mask, real *h, real *c, real *y, Py_ssize_t room, bint in_place,
    bint keep, real *xs, real *hs, real *cs, real *gates,
) noexcept nogil:
    """All steps of one group; the pointers are at the group's first row, packed row or index.

    room: packed rows that gates (room, 4H) holds; with `keep` that is all of them.
    """
    cdef const clstm_kernels *table = kernels(sizeof(real))
    cdef const real *cell_before = c
    cdef real *cell = cs
    cdef real *hidden = hs
    cdef real *gate
    cdef Py_ssize_t s = 0, end, n, rows, begin = 0, ahead, r
    if S == 0 or counts[0] == 0:
        return
    memcpy(hidden, h, counts[0] * H * sizeof(real))
    _multiply(hidden, recurrent_mask, counts[0] * H)
    while s < S and counts[s] > 0:
        # a stretch of steps s .. end whose gates have room: their projection is one GEMM
        end, rows = s, 0
        while end < S and rows + counts[end] <= room:
            rows += counts[end]
            end += 1
        if in_place:
            xs = <real*>x + begin * I
        else:
            for r in range(rows):
                memcpy(xs + r * I, x + index[begin + r] * I, I * sizeof(real))
        gemm(False, False, rows, 4 * H, I, xs, I, kernel, 4 * H, <real>0, gates, 4 * H)
        gate = gates
        while s < end:
            n = counts[s]
            gemm(False, False, n, 4 * H, H, hidden, H, recurrent_kernel, 4 * H, <real>1, gate,
                 4 * H)
            for r in range(n):
                table.cell_forward(H, gate + r * 4 * H, bias, cell_before + r * H, cell + r * H,
                                   h + r * H)
                memcpy(y + index[begin + r] * H, h + r * H, H * sizeof(real))
            s += 1
            begin += n
            gate += n * 4 * H
            # rows from `ahead` on end here: h and c hold their final state
            ahead = counts[s] if s < S else 0
            memcpy(c + ahead * H, cell + ahead * H, (n - ahead) * H * sizeof(real))
            cell_before = cell
            if keep:
                hidden += n * H
                cell += n * H
            memcpy(hidden, h, ahead * H * sizeof(real))
            _multiply(hidden, recurrent_mask, ahead * H)


cdef void _backward_group(
    Py_ssize_t I, Py_ssize_t H, Py_ssize_t S, const Py_ssize_t *counts, const Py_ssize_t *index,
    Py_ssize_t N, const real *kernel, const real *recurrent_kernel, const real *recurrent_mask,
    const real *cs, const real *c0, real *gates, const real *dy, real *dh, real *dc, real *dxs,
) noexcept nogil:
    """gates (N, 4H) to dz and dh, dc to the initial state's, from the last step to the first.

    dxs (N, I) or NULL: gradient of the packed inputs.
    """
    cdef const clstm_kernels *table = kernels(sizeof(real))
    cdef const real *before
    cdef const real *output
    cdef Py_ssize_t s, n, r, p = N
    for s in range(S - 1, -1, -1):
        n = counts[s]
        p -= n
        before = cs + (p - counts[s - 1]) * H if s > 0 else c0
        output = NULL
        for r in range(n):
            if dy != NULL:
                output = dy + index[p + r] * H
            table.cell_backward(H, gates + (p + r) * 4 * H, before + r * H, cs + (p + r) * H,
                                dh + r * H, output, dc + r * H)
        gemm(False, True, n, H, 4 * H, gates + p * 4 * H, 4 * H, recurrent_kernel, 4 * H,
             <real>0, dh, H)
        _multiply(dh, recurrent_mask, n * H)
    if dxs != NULL:
        gemm(False, True, N, I, 4 * H, gates, 4 * H, kernel, 4 * H, <real>0, dxs, I)


def forward(const real[:, ::1] x, const real[:, ::1] kernel, const real[:, ::1] recurrent_kernel,
            const real[::1] bias, real[:, ::1] h, real[:, ::1] c, const real[:, ::1] recurrent_mask,
            real[:, ::1] y, const Py_ssize_t[::1] rows, const Py_ssize_t[::1] starts,
            const Py_ssize_t[:, ::1] counts, const Py_ssize_t[::1] index, bint in_place, bint keep):
    """Run all steps.

    x (positions, I); kernel (I, 4H); recurrent_kernel (H, 4H); bias (4H) or None; h, c (B, H) in
    packed order: the initial state in, the final state out; recurrent_mask (B, H) or None: factors
    of h on its way into the next step; y (positions, H): the valid positions are written.
    rows .. in_place: the fields of `Steps`.
    Returns, if `keep`, what `backward` needs: xs (N, I) and hs (N, H) that each step read, its
    cells cs (N, H) and activations gates (N, 4H).
    """
    cdef Py_ssize_t I = x.shape[1], H = recurrent_kernel.shape[0], B = h.shape[0]
    cdef Py_ssize_t N = index.shape[0], S = counts.shape[1], G = counts.shape[0], g
    check_sizes(N, 4 * H, I)
    dtype = np.float32 if real is float else np.float64
    # packed rows of a group whose gates are held at a time, and the place of group g's
    cdef Py_ssize_t room = N if keep else max(B, STRETCH // (4 * H))
    gates_array = np.empty((N if keep else G * room, 4 * H), dtype)
    xs_array = np.asarray(x) if in_place else np.empty((gates_array.shape[0], I), dtype)
    hs_array = np.empty((N if keep else B, H), dtype)
    cs_array = np.empty((N if keep else B, H), dtype)
    if N == 0:
        return xs_array, hs_array, cs_array, gates_array
    cdef real[:, ::1] gates = gates_array, hs = hs_array, cs = cs_array
    cdef const real[:, ::1] xs = xs_array
    cdef const real *bias_pointer = NULL
    cdef const real *mask_pointer = NULL
    cdef Py_ssize_t place, state
    if bias is not None:
        bias_pointer = &bias[0]
    with exclusive, nogil:
        for g in prange(G, num_threads=<int>G, schedule="static"):
            place = starts[g] if keep else g * room
            state = starts[g] if keep else rows[g]
            _forward_group(
                I, H, S, &counts[g, 0], &index[0] + starts[g],
                &x[0, 0] + starts[g] * I if in_place else &x[0, 0], &kernel[0, 0],
                &recurrent_kernel[0, 0], bias_pointer,
                mask_pointer if recurrent_mask is None else &recurrent_mask[0, 0] + rows[g] * H,
                &h[0, 0] + rows[g] * H, &c[0, 0] + rows[g] * H, &y[0, 0], room, in_place, keep,
                <real*>&xs[0, 0] + place * I, &hs[0, 0] + state * H, &cs[0, 0] + state * H,
                &gates[0, 0] + place * 4 * H)
    return xs_array, hs_array, cs_array, gates_array


def backward(const real[:, ::1] xs, const real[:, ::1] hs, const real[:, ::1] cs,
             real[:, ::1] gates, const real[:, ::1] c0, const real[:, ::1] kernel,
             const real[:, ::1] recurrent_kernel, const real[:, ::1] recurrent_mask,
             const real[:, ::1] dy, real[:, ::1] dh, real[:, ::1] dc, const Py_ssize_t[::1] rows,
             const Py_ssize_t[::1] starts, const Py_ssize_t[:, ::1] counts,
             const Py_ssize_t[::1] index, bint in_place,
             real[:, ::1] d_kernel, real[:, ::1] d_recurrent_kernel, real[::1] d_bias,
             real[:, ::1] dx):
    """Gradients of all steps from what `forward` kept; gates are overwritten.

    c0 (B, H) the initial cells in packed order; dy (positions, H) or None; dh, dc (B, H) in packed
    order: gradients of the final state in, of the initial state out; d_kernel (I, 4H),
    d_recurrent_kernel (H, 4H) and d_bias (4H) or None are added to; dx (positions, I) or None: the
    valid positions are written.
    """
    cdef Py_ssize_t I = kernel.shape[0], H = recurrent_kernel.shape[0]
    cdef Py_ssize_t N = index.shape[0], S = counts.shape[1], G = counts.shape[0], g, p, a, width
    if N == 0:
        return
    cdef const clstm_kernels *table = kernels(sizeof(real))
    cdef int size = <int>min(G, <Py_ssize_t>groups(N * 8 * H * (I + H)))  # one in a forked child
    cdef const real *null = NULL
    cdef const real *dy_pointer = NULL
    cdef real *dxs = NULL
    cdef real[:, ::1] packed
    if dy is not None:
        dy_pointer = &dy[0, 0]
    if dx is not None:
        packed = dx if in_place else np.empty((N, I), np.float32 if real is float else np.float64)
        dxs = &packed[0, 0]

    with exclusive, nogil:
        for g in prange(G, num_threads=size, schedule="static"):
            _backward_group(
                I, H, S, &counts[g, 0], &index[0] + starts[g], starts[g + 1] - starts[g],
                &kernel[0, 0], &recurrent_kernel[0, 0],
                null if recurrent_mask is None else &recurrent_mask[0, 0] + rows[g] * H,
                &cs[0, 0] + starts[g] * H, &c0[0, 0] + rows[g] * H,
                &gates[0, 0] + starts[g] * 4 * H, dy_pointer, &dh[0, 0] + rows[g] * H,
                &dc[0, 0] + rows[g] * H, NULL if dxs == NULL else dxs + starts[g] * I)
        # the weights' gradients: each thread has columns of its own
        for g in prange(G, num_threads=size, schedule="static"):
            a = 4 * H * g // G
            width = 4 * H * (g + 1) // G - a
            gemm(True, False, I, width, N, &xs[0, 0], I, &gates[0, 0] + a, 4 * H,
                 <real>1, &d_kernel[0, 0] + a, 4 * H)
            gemm(True, False, H, width, N, &hs[0, 0], H, &gates[0, 0] + a, 4 * H,
                 <real>1, &d_recurrent_kernel[0, 0] + a, 4 * H)
            if d_bias is not None and width > 0:
                table.column_sums(N, width, &gates[0, 0] + a, 4 * H, &d_bias[0] + a)
        if dxs != NULL and not in_place:
            for p in prange(N, num_threads=size, schedule="static"):
                memcpy(&dx[0, 0] + index[p] * I, dxs + p * I, I * sizeof(real))
