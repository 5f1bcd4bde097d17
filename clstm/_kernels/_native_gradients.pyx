"""The native LSTM's gradients of weights and inputs, made of the dz of a chunk of steps."""

from libc.string cimport memset

from ._dispatch cimport clstm_gemm, native_kernels
from ._native_backward cimport Back, cells_before
from ._panels cimport GATES, GROUP, ONE, ZEROS, gemm_groups, up


cdef void gather(const Back *b, bint recurrent, Py_ssize_t tile, Py_ssize_t p, Py_ssize_t end,
                 Py_ssize_t step, float *rows) noexcept nogil:
    """Columns 6 tile .. 6 tile + 5 of x, or of h_{t-1}, for packed rows p .. end - 1, side by side.

    step: the one that p belongs to.
    """
    cdef Py_ssize_t first = tile * TILE, width = b.P if recurrent else b.I, r
    cdef Py_ssize_t n = min(<Py_ssize_t>TILE, width - first), k, PP = up(b.P)
    cdef const float *source
    while p < end:
        while p >= b.offsets[step + 1]:
            step += 1
        r = p - b.offsets[step]
        if not recurrent:
            source = b.x + b.index[p] * b.I
        elif step == 0:
            source = b.h0 + r * b.P
        else:
            source = b.y + b.index[b.offsets[step - 1] + r] * b.P
        for k in range(n):
            rows[k] = source[first + k]
        if recurrent and b.recurrent_mask != NULL:
            for k in range(n):
                rows[k] *= b.recurrent_mask[r * PP + first + k]
        rows += TILE
        p += 1


cdef void weights_gradient(const Back *b, Py_ssize_t step, Py_ssize_t end_step, int thread,
                           int size) noexcept nogil:
    """Each thread has rows of the gradients of its own, in tiles of 6."""
    cdef Py_ssize_t x_tiles = (b.I + TILE - 1) // TILE, h_tiles = (b.P + TILE - 1) // TILE
    cdef Py_ssize_t tiles = x_tiles + h_tiles + (1 if b.d_bias != NULL else 0)
    cdef Py_ssize_t first = tiles * thread // size, last = tiles * (thread + 1) // size
    cdef Py_ssize_t p = b.offsets[step], end = b.offsets[end_step], u, t, tile = b.most * TILE
    cdef Py_ssize_t x_last = min(last, x_tiles), h_last = min(last, x_tiles + h_tiles) - x_tiles
    cdef Py_ssize_t h_first = max(<Py_ssize_t>0, first - x_tiles)
    cdef clstm_gemm g
    memset(&g, 0, sizeof(g))
    g.groups, g.blocks, g.depth = 4, 1, end - p
    g.b_k, g.b_group = GATES, GROUP
    g.c_row, g.c_group = 4 * b.H, b.H
    for t in range(first, x_last):
        gather(b, False, t, p, end, step, b.scratch + t * tile)
    for t in range(h_first, h_last):
        gather(b, True, t, p, end, step, b.scratch + (x_tiles + t) * tile)
    for u in range(b.NU):
        g.width = g.last = min(<Py_ssize_t>GROUP, b.H - u * GROUP)
        g.a_index, g.a_row, g.a_k = b.in_tiles, 1, TILE
        g.b = b.gates + (u * b.N + p) * GATES
        if first < x_last:
            g.a, g.rows = b.scratch + first * tile, min(x_last * TILE, b.I) - first * TILE
            g.c = b.d_kernel + first * TILE * 4 * b.H + u * GROUP
            native_kernels().gemm(&g)
        g.b = b.recurrent_gates + (u * b.N + p) * GATES
        if h_first < h_last:
            g.a = b.scratch + (x_tiles + h_first) * tile
            g.rows = min(h_last * TILE, b.P) - h_first * TILE
            g.c = b.d_recurrent + h_first * TILE * 4 * b.H + u * GROUP
            native_kernels().gemm(&g)
        if last > x_tiles + h_tiles:
            g.a, g.a_index, g.a_k, g.rows = ONE, NULL, 0, 1
            g.c = b.d_bias + u * GROUP
            native_kernels().gemm(&g)


cdef void peephole_gradient(const Back *b, Py_ssize_t begin, Py_ssize_t end, int thread,
                            int size) noexcept nogil:
    """Shared out by unit blocks."""
    cdef Py_ssize_t u, s, p
    for u in range(b.NU * thread // size, b.NU * (thread + 1) // size):
        for s in range(begin, end):
            p = u * b.N + b.offsets[s]
            native_kernels().peephole_gradient(
                b.counts[s], b.gates + p * GATES, cells_before(b, u, s), b.cells + p * GROUP,
                b.d_peephole + u * GROUP, b.NU * GROUP)


cdef void inputs_gradient(const float *gates, Py_ssize_t NU, Py_ssize_t N, Py_ssize_t width,
                          const float *kernel, const Py_ssize_t *index, Py_ssize_t begin,
                          Py_ssize_t end, float *dx, Py_ssize_t I, int thread,
                          int size) noexcept nogil:
    """Shared out by rows."""
    cdef Py_ssize_t p = begin + (end - begin) * thread // size
    cdef clstm_gemm g
    memset(&g, 0, sizeof(g))
    g.rows = begin + (end - begin) * (thread + 1) // size - p
    g.blocks, g.depth = NU, width
    g.a, g.a_row, g.a_block, g.a_k = gates + p * width, width, N * width, 1
    g.b, g.b_block, g.b_k, g.b_group = kernel, width * GROUP, GROUP, NU * width * GROUP
    g.c, g.c_index, g.c_row, g.c_group, g.width = dx, index + p, I, GROUP, GROUP
    g.start = ZEROS
    gemm_groups(&g, 0, up(I) // GROUP, I)
