"""The LSTM of the `blas` backend: GEMMs by BLAS, gates by OpenMP loops over rows.

Everything is laid out in packed steps (clstm/_steps.py): step s has counts[s] rows, which stand at
offset[s] = counts[0] + .. + counts[s-1] onwards; index[p] is the place of packed row p in x and y.
N is the sum of counts, S their number, B = batch; row r of a step is batch row order[r].
"""

from cython.parallel cimport prange
from libc.string cimport memcpy

import numpy as np

from ._blas cimport gemm
from ._dispatch cimport clstm_kernels, kernels, real
from ._parallel cimport team

from ._blas import check_sizes, exclusive

cdef enum:
    GRAIN = 1 << 15  # reals that make a second thread worth waking
    STRETCH = 1 << 18  # gates that inference projects at a time: they stay in L2


cdef void _gather(const real *source, const Py_ssize_t *index, real *rows, Py_ssize_t n,
                  Py_ssize_t width) noexcept nogil:
    """rows[p] = source[index[p]]"""
    cdef Py_ssize_t p
    for p in prange(n, num_threads=team(n * width, 4 * GRAIN), schedule="static"):
        memcpy(rows + p * width, source + index[p] * width, width * sizeof(real))


cdef void _scatter(const real *rows, const Py_ssize_t *index, real *target, Py_ssize_t n,
                   Py_ssize_t width) noexcept nogil:
    """target[index[p]] = rows[p]"""
    cdef Py_ssize_t p
    for p in prange(n, num_threads=team(n * width, 4 * GRAIN), schedule="static"):
        memcpy(target + index[p] * width, rows + p * width, width * sizeof(real))


cdef void _multiply(real *a, const real *b, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t k
    for k in range(n):
        a[k] *= b[k]


cdef void _cells_forward(Py_ssize_t n, Py_ssize_t H, real *gates, const real *bias,
                         const real *c_prev, real *c, real *h, real *y,
                         const Py_ssize_t *index) noexcept nogil:
    """One step of n rows: gates (n, 4H) to activations, c (n, H), h (n, H) and y[index]."""
    cdef const clstm_kernels *table = kernels(sizeof(real))
    cdef Py_ssize_t r
    for r in prange(n, num_threads=team(n * H, GRAIN), schedule="static"):
        table.cell_forward(H, gates + r * 4 * H, bias, c_prev + r * H, c + r * H, h + r * H)
        memcpy(y + index[r] * H, h + r * H, H * sizeof(real))


cdef void _cells_backward(Py_ssize_t n, Py_ssize_t H, real *gates, const real *c_prev,
                          const real *c, const real *dh, const real *dy,
                          const Py_ssize_t *index, real *dc) noexcept nogil:
    """One step of n rows: gates (n, 4H) from activations to dz; dc (n, H) to the step before."""
    cdef const clstm_kernels *table = kernels(sizeof(real))
    cdef Py_ssize_t r
    for r in prange(n, num_threads=team(n * H, GRAIN), schedule="static"):
        if dy == NULL:
            table.cell_backward(H, gates + r * 4 * H, c_prev + r * H, c + r * H, dh + r * H,
                                NULL, dc + r * H)
        else:
            table.cell_backward(H, gates + r * 4 * H, c_prev + r * H, c + r * H, dh + r * H,
                                dy + index[r] * H, dc + r * H)


def forward(const real[:, ::1] x, const real[:, ::1] kernel, const real[:, ::1] recurrent_kernel,
            const real[::1] bias, real[:, ::1] h, real[:, ::1] c, const real[:, ::1] recurrent_mask,
            real[:, ::1] y, const Py_ssize_t[::1] counts, const Py_ssize_t[::1] index,
            bint in_place, bint keep):
    """Run all steps.

    x (positions, I); kernel (I, 4H); recurrent_kernel (H, 4H); bias (4H) or None; h, c (B, H) in
    packed order: the initial state in, the final state out; recurrent_mask (B, H) or None: factors
    of h on its way into the next step; y (positions, H): the valid positions are written.
    in_place: index is 0, 1, 2, ..., so x is read where it lies.
    Returns (xs, hs, cs, gates) of all steps for `backward` if `keep`: xs (N, I) and hs (N, H) what
    each step read, cs (N, H) its cells, gates (N, 4H) its activations.
    """
    cdef Py_ssize_t I = x.shape[1], H = recurrent_kernel.shape[0], B = h.shape[0]
    cdef Py_ssize_t N = index.shape[0], S = counts.shape[0]
    check_sizes(N, 4 * H, I)
    dtype = np.float32 if real is float else np.float64
    # rows that are projected at a time: all of them if they are kept
    cdef Py_ssize_t room = N if keep else min(N, max(B, STRETCH // (4 * H)))
    gates_array = np.empty((room, 4 * H), dtype)
    xs_array = np.asarray(x) if in_place else np.empty((room, I), dtype)
    hs_array = np.empty((N if keep else B, H), dtype)
    cs_array = np.empty((N if keep else B, H), dtype)
    if N == 0:
        return xs_array, hs_array, cs_array, gates_array
    cdef real[:, ::1] gates = gates_array, hs = hs_array, cs = cs_array
    cdef const real[:, ::1] xs = xs_array
    cdef real *hidden
    cdef const real *cell_before = &c[0, 0]
    cdef real *cell
    cdef const real *bias_pointer = NULL
    cdef Py_ssize_t s = 0, end, n, rows, begin = 0, p, ahead
    cdef const Py_ssize_t *places = &index[0]
    if bias is not None:
        bias_pointer = &bias[0]

    with exclusive, nogil:
        hidden = &hs[0, 0]
        memcpy(hidden, &h[0, 0], counts[0] * H * sizeof(real))
        if recurrent_mask is not None:
            _multiply(hidden, &recurrent_mask[0, 0], counts[0] * H)
        while s < S:
            # a stretch of steps s .. end whose gates fit: their input projection is one GEMM
            end, rows = s, 0
            while end < S and rows + counts[end] <= room:
                rows += counts[end]
                end += 1
            if in_place:
                gemm(False, False, rows, 4 * H, I, &xs[begin, 0], I, &kernel[0, 0], 4 * H,
                     <real>0, &gates[0, 0], 4 * H)
            else:
                _gather(&x[0, 0], places + begin, <real*>&xs[0, 0], rows, I)
                gemm(False, False, rows, 4 * H, I, &xs[0, 0], I, &kernel[0, 0], 4 * H,
                     <real>0, &gates[0, 0], 4 * H)
            p = 0
            while s < end:
                n = counts[s]
                gemm(False, False, n, 4 * H, H, hidden, H, &recurrent_kernel[0, 0], 4 * H,
                     <real>1, &gates[p, 0], 4 * H)
                cell = &cs[begin + p, 0] if keep else &cs[0, 0]
                # h is both this step's output and the final state of the rows that end here
                _cells_forward(n, H, &gates[p, 0], bias_pointer, cell_before, cell, &h[0, 0],
                               &y[0, 0], places + begin + p)
                cell_before = cell
                p += n
                s += 1
                ahead = counts[s] * H if s < S else 0  # the reals of the rows that go on
                memcpy(&c[0, 0] + ahead, cell + ahead, (n * H - ahead) * sizeof(real))
                if ahead > 0:
                    hidden = &hs[begin + p, 0] if keep else &hs[0, 0]
                    memcpy(hidden, &h[0, 0], ahead * sizeof(real))
                    if recurrent_mask is not None:
                        _multiply(hidden, &recurrent_mask[0, 0], ahead)
            begin += rows
    return xs_array, hs_array, cs_array, gates_array


def backward(const real[:, ::1] xs, const real[:, ::1] hs, const real[:, ::1] cs,
             real[:, ::1] gates, const real[:, ::1] c0, const real[:, ::1] kernel,
             const real[:, ::1] recurrent_kernel, const real[:, ::1] recurrent_mask,
             const real[:, ::1] dy, real[:, ::1] dh, real[:, ::1] dc,
             const Py_ssize_t[::1] counts, const Py_ssize_t[::1] index, bint in_place,
             real[:, ::1] d_kernel, real[:, ::1] d_recurrent_kernel, real[::1] d_bias,
             real[:, ::1] dx):
    """Gradients of all steps from what `forward` kept; gates are overwritten.

    c0 (B, H) the initial cells in packed order; dy (positions, H) or None; dh, dc (B, H) in packed
    order: gradients of the final state in, of the initial state out; d_kernel (I, 4H),
    d_recurrent_kernel (H, 4H) and d_bias (4H) or None are added to; dx (positions, I) or None: the
    valid positions are written.
    """
    cdef Py_ssize_t I = kernel.shape[0], H = recurrent_kernel.shape[0]
    cdef Py_ssize_t N = index.shape[0], S = counts.shape[0]
    if N == 0:
        return
    cdef const clstm_kernels *table = kernels(sizeof(real))
    cdef const Py_ssize_t *places = &index[0]
    cdef const real *dy_pointer = NULL
    cdef const real *before
    cdef Py_ssize_t s, n, p = N
    if dy is not None:
        dy_pointer = &dy[0, 0]
    cdef real[:, ::1] packed
    if dx is not None and not in_place:
        packed = np.empty((N, I), np.float32 if real is float else np.float64)
    elif dx is not None:
        packed = dx

    with exclusive, nogil:
        for s in range(S - 1, -1, -1):
            n = counts[s]
            p -= n
            before = &cs[p - counts[s - 1], 0] if s > 0 else &c0[0, 0]
            _cells_backward(n, H, &gates[p, 0], before, &cs[p, 0], &dh[0, 0], dy_pointer,
                            places + p, &dc[0, 0])
            gemm(False, True, n, H, 4 * H, &gates[p, 0], 4 * H, &recurrent_kernel[0, 0], 4 * H,
                 <real>0, &dh[0, 0], H)
            if recurrent_mask is not None:
                _multiply(&dh[0, 0], &recurrent_mask[0, 0], n * H)
        gemm(True, False, I, 4 * H, N, &xs[0, 0], I, &gates[0, 0], 4 * H,
             <real>1, &d_kernel[0, 0], 4 * H)
        gemm(True, False, H, 4 * H, N, &hs[0, 0], H, &gates[0, 0], 4 * H,
             <real>1, &d_recurrent_kernel[0, 0], 4 * H)
        if d_bias is not None:
            table.column_sums(N, 4 * H, &gates[0, 0], 4 * H, &d_bias[0])
        if dx is not None:
            gemm(False, True, N, I, 4 * H, &gates[0, 0], 4 * H, &kernel[0, 0], 4 * H,
                 <real>0, &packed[0, 0], I)
            if not in_place:
                _scatter(&packed[0, 0], places, &dx[0, 0], N, I)
