"""The LSTM of the `blas` backend: one team per call, each thread with rows of its own.

A thread runs all steps of its group of rows (clstm/_steps.py) by itself: a GEMM of BLAS and the
gates' kernel for each step, no barrier. Packed rows p of group g are starts[g] .. starts[g+1] - 1;
index[p] is the place of packed row p in x and y. N packed rows, S steps, G groups, B batch rows.
The groups alone decide the bits: a smaller team works them off one after the other.
"""

from libc.string cimport memcpy, memset

import numpy as np

from ._blas cimport gemm
from ._dispatch cimport clstm_kernels, kernels, real
from ._parallel cimport run

from ._blas import check_sizes, exclusive, groups

cdef enum:
    STRETCH = 1 << 16  # gates that inference projects at a time: they stay in the core's cache


cdef struct Run:  # arrays as `forward` and `backward` say
    size_t itemsize
    Py_ssize_t I, H, N, S, G
    const Py_ssize_t *rows
    const Py_ssize_t *starts
    const Py_ssize_t *counts
    const Py_ssize_t *index
    bint in_place, keep
    Py_ssize_t room  # packed rows of a group whose gates are held at a time
    const void *x
    const void *kernel
    const void *recurrent_kernel
    const void *bias
    const void *recurrent_mask
    void *h
    void *c
    void *y
    void *xs
    void *hs
    void *cs
    void *gates
    const void *c0
    const void *dy
    void *dh
    void *dc
    void *dxs  # (N, I): gradient of the packed inputs, or NULL
    void *dx
    void *d_kernel
    void *d_recurrent_kernel
    void *d_bias


cdef void _multiply(real *a, const real *b, Py_ssize_t n) noexcept nogil:
    """a *= b; b may be NULL, for ones"""
    cdef Py_ssize_t k
    if b != NULL:
        for k in range(n):
            a[k] *= b[k]


cdef void _forward_group(const Run *r, Py_ssize_t g, const real *x) noexcept nogil:
    """All steps of group g."""
    cdef const clstm_kernels *table = kernels(sizeof(real))
    cdef Py_ssize_t I = r.I, H = r.H, S = r.S, row = r.rows[g]
    cdef Py_ssize_t place = r.starts[g] if r.keep else g * r.room
    cdef Py_ssize_t state = r.starts[g] if r.keep else row
    cdef const Py_ssize_t *counts = r.counts + g * S
    cdef const Py_ssize_t *index = r.index + r.starts[g]
    cdef const real *kernel = <const real*>r.kernel
    cdef const real *recurrent_kernel = <const real*>r.recurrent_kernel
    cdef const real *recurrent_mask = NULL
    cdef real *h = <real*>r.h + row * H
    cdef real *c = <real*>r.c + row * H
    cdef real *y = <real*>r.y
    cdef real *xs
    cdef real *gates = <real*>r.gates + place * 4 * H
    cdef const real *cell_before = c
    cdef real *cell = <real*>r.cs + state * H
    cdef real *hidden = <real*>r.hs + state * H
    cdef real *gate
    cdef Py_ssize_t s = 0, end, n, rows, begin = 0, ahead, k
    if r.recurrent_mask != NULL:
        recurrent_mask = <const real*>r.recurrent_mask + row * H
    if S == 0 or counts[0] == 0:
        return
    memcpy(hidden, h, counts[0] * H * sizeof(real))
    _multiply(hidden, recurrent_mask, counts[0] * H)
    while s < S and counts[s] > 0:
        # a stretch of steps s .. end whose gates have room: their projection is one GEMM
        end, rows = s, 0
        while end < S and rows + counts[end] <= r.room:
            rows += counts[end]
            end += 1
        if r.in_place:
            xs = <real*>x + (r.starts[g] + begin) * I
        else:
            xs = <real*>r.xs + place * I
            for k in range(rows):
                memcpy(xs + k * I, x + index[begin + k] * I, I * sizeof(real))
        gemm(False, False, rows, 4 * H, I, xs, I, kernel, 4 * H, <real>0, gates, 4 * H)
        gate = gates
        while s < end:
            n = counts[s]
            gemm(False, False, n, 4 * H, H, hidden, H, recurrent_kernel, 4 * H, <real>1, gate,
                 4 * H)
            for k in range(n):
                table.cell_forward(H, gate + k * 4 * H, r.bias, cell_before + k * H, cell + k * H,
                                   h + k * H)
                memcpy(y + index[begin + k] * H, h + k * H, H * sizeof(real))
            s += 1
            begin += n
            gate += n * 4 * H
            # rows from `ahead` on end here: h and c hold their final state
            ahead = counts[s] if s < S else 0
            memcpy(c + ahead * H, cell + ahead * H, (n - ahead) * H * sizeof(real))
            cell_before = cell
            if r.keep:
                hidden += n * H
                cell += n * H
            memcpy(hidden, h, ahead * H * sizeof(real))
            _multiply(hidden, recurrent_mask, ahead * H)


cdef void forward_body(void *context, int thread, int size) noexcept nogil:
    cdef const Run *r = <const Run*>context
    cdef Py_ssize_t g
    for g in range(r.G * thread // size, r.G * (thread + 1) // size):
        if r.itemsize == sizeof(float):
            _forward_group(r, g, <const float*>r.x)
        else:
            _forward_group(r, g, <const double*>r.x)


cdef void _backward_group(const Run *r, Py_ssize_t g, const real *c0) noexcept nogil:
    """gates of group g to dz and dh, dc to the initial state's, from the last step to the first."""
    cdef const clstm_kernels *table = kernels(sizeof(real))
    cdef Py_ssize_t I = r.I, H = r.H, row = r.rows[g], start = r.starts[g]
    cdef Py_ssize_t N = r.starts[g + 1] - start
    cdef const Py_ssize_t *counts = r.counts + g * r.S
    cdef const Py_ssize_t *index = r.index + start
    cdef const real *recurrent_mask = NULL
    cdef const real *cs = <const real*>r.cs + start * H
    cdef real *gates = <real*>r.gates + start * 4 * H
    cdef real *dh = <real*>r.dh + row * H
    cdef real *dc = <real*>r.dc + row * H
    cdef real *dxs
    cdef const real *before
    cdef const real *output
    cdef Py_ssize_t s, n, k, p = N
    if r.recurrent_mask != NULL:
        recurrent_mask = <const real*>r.recurrent_mask + row * H
    for s in range(r.S - 1, -1, -1):
        n = counts[s]
        p -= n
        before = cs + (p - counts[s - 1]) * H if s > 0 else c0 + row * H
        output = NULL
        for k in range(n):
            if r.dy != NULL:
                output = <const real*>r.dy + index[p + k] * H
            table.cell_backward(H, gates + (p + k) * 4 * H, before + k * H, cs + (p + k) * H,
                                dh + k * H, output, dc + k * H)
        gemm(False, True, n, H, 4 * H, gates + p * 4 * H, 4 * H, <const real*>r.recurrent_kernel,
             4 * H, <real>0, dh, H)
        _multiply(dh, recurrent_mask, n * H)
    if r.dxs != NULL:
        dxs = <real*>r.dxs + start * I
        gemm(False, True, N, I, 4 * H, gates, 4 * H, <const real*>r.kernel, 4 * H, <real>0, dxs, I)
        for k in range(0 if r.in_place else N):
            memcpy(<real*>r.dx + index[k] * I, dxs + k * I, I * sizeof(real))


cdef void backward_body(void *context, int thread, int size) noexcept nogil:
    cdef const Run *r = <const Run*>context
    cdef Py_ssize_t g
    for g in range(r.G * thread // size, r.G * (thread + 1) // size):
        if r.itemsize == sizeof(float):
            _backward_group(r, g, <const float*>r.c0)
        else:
            _backward_group(r, g, <const double*>r.c0)


cdef void _weights_share(const Run *r, Py_ssize_t g, const real *gates) noexcept nogil:
    """The weights' gradients from all rows: columns g of G."""
    cdef Py_ssize_t I = r.I, H = r.H, a = 4 * H * g // r.G, width = 4 * H * (g + 1) // r.G - a
    gemm(True, False, I, width, r.N, <const real*>r.xs, I, gates + a, 4 * H,
         <real>1, <real*>r.d_kernel + a, 4 * H)
    gemm(True, False, H, width, r.N, <const real*>r.hs, H, gates + a, 4 * H,
         <real>1, <real*>r.d_recurrent_kernel + a, 4 * H)
    if r.d_bias != NULL and width > 0:
        kernels(sizeof(real)).column_sums(r.N, width, gates + a, 4 * H, <real*>r.d_bias + a)


cdef void weights_body(void *context, int thread, int size) noexcept nogil:
    cdef const Run *r = <const Run*>context
    cdef Py_ssize_t g
    for g in range(r.G * thread // size, r.G * (thread + 1) // size):
        if r.itemsize == sizeof(float):
            _weights_share(r, g, <const float*>r.gates)
        else:
            _weights_share(r, g, <const double*>r.gates)


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
    cdef Run r
    memset(&r, 0, sizeof(r))
    cdef Py_ssize_t B = h.shape[0]
    r.itemsize, r.in_place, r.keep = sizeof(real), in_place, keep
    r.I, r.H, r.N = x.shape[1], recurrent_kernel.shape[0], index.shape[0]
    r.G, r.S = counts.shape[0], counts.shape[1]
    check_sizes(r.N, 4 * r.H, r.I)
    r.room = r.N if keep else max(B, STRETCH // (4 * r.H))
    dtype = np.float32 if real is float else np.float64
    gates_array = np.empty((r.N if keep else r.G * r.room, 4 * r.H), dtype)
    xs_array = np.asarray(x) if in_place else np.empty((gates_array.shape[0], r.I), dtype)
    hs_array = np.empty((r.N if keep else B, r.H), dtype)
    cs_array = np.empty((r.N if keep else B, r.H), dtype)
    if r.N == 0:
        return xs_array, hs_array, cs_array, gates_array
    cdef real[:, ::1] gates = gates_array, hs = hs_array, cs = cs_array
    cdef const real[:, ::1] xs = xs_array
    r.rows, r.starts, r.counts, r.index = &rows[0], &starts[0], &counts[0, 0], &index[0]
    r.x, r.kernel, r.recurrent_kernel = &x[0, 0], &kernel[0, 0], &recurrent_kernel[0, 0]
    if bias is not None:
        r.bias = &bias[0]
    if recurrent_mask is not None:
        r.recurrent_mask = &recurrent_mask[0, 0]
    r.h, r.c, r.y = &h[0, 0], &c[0, 0], &y[0, 0]
    r.xs, r.hs, r.cs, r.gates = <void*>&xs[0, 0], &hs[0, 0], &cs[0, 0], &gates[0, 0]
    with exclusive, nogil:
        run(forward_body, &r, <int>r.G)
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
    cdef Run r
    memset(&r, 0, sizeof(r))
    r.itemsize, r.in_place = sizeof(real), in_place
    r.I, r.H, r.N = kernel.shape[0], recurrent_kernel.shape[0], index.shape[0]
    r.G, r.S = counts.shape[0], counts.shape[1]
    if r.N == 0:
        return
    cdef int size = <int>min(r.G, <Py_ssize_t>groups(r.N * 8 * r.H * (r.I + r.H)))
    cdef real[:, ::1] packed
    r.rows, r.starts, r.counts, r.index = &rows[0], &starts[0], &counts[0, 0], &index[0]
    r.kernel, r.recurrent_kernel = &kernel[0, 0], &recurrent_kernel[0, 0]
    if recurrent_mask is not None:
        r.recurrent_mask = &recurrent_mask[0, 0]
    r.xs, r.hs, r.cs = <void*>&xs[0, 0], <void*>&hs[0, 0], <void*>&cs[0, 0]
    r.gates, r.c0, r.dh, r.dc = &gates[0, 0], &c0[0, 0], &dh[0, 0], &dc[0, 0]
    if dy is not None:
        r.dy = &dy[0, 0]
    if dx is not None:
        packed = dx if in_place else np.empty((r.N, r.I), np.asarray(dx).dtype)
        r.dxs, r.dx = &packed[0, 0], &dx[0, 0]
    r.d_kernel, r.d_recurrent_kernel = &d_kernel[0, 0], &d_recurrent_kernel[0, 0]
    if d_bias is not None:
        r.d_bias = &d_bias[0]
    with exclusive, nogil:
        run(backward_body, &r, size)
        run(weights_body, &r, size)
