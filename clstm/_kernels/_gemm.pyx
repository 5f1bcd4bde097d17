"""Matrix products of the `native` backend, by the same tile as its LSTM."""

from cpython.exc cimport PyErr_CheckSignals
from libc.stdlib cimport free
from libc.string cimport memset

import numpy as np

from ._dispatch cimport clstm_gemm, native_kernels
from ._panels cimport (
    BETWEEN_SIGNALS,
    GROUP,
    ZEROS,
    aligned_array,
    allocate,
    floats,
    gemm_groups,
    up,
)
from ._parallel cimport flush_subnormals, restore_mode, run, team

cdef enum:
    GRAIN = 1 << 18  # multiplications that make another thread worth waking
    STRIPE = 1 << 21  # floats of B that are packed at a time, or a few columns
    RAW_ROWS = 6  # so few rows, one tile, do not pay for packing B
    PACKED_GRAIN = 1 << 16  # as GRAIN, where B is packed and threads are likely to be awake

cdef struct Product:
    clstm_gemm whole
    Py_ssize_t N, K, b_k, b_n
    const float *b
    float *panels  # [N / 16][K][16]
    bint by_rows


cdef void pack_body(void *context, int thread, int size) noexcept nogil:
    cdef const Product *q = <const Product*>context
    cdef Py_ssize_t blocks = (q.N + GROUP - 1) // GROUP
    native_kernels().pack(q.K, q.N, q.b, q.b_k, q.b_n, q.panels, GROUP, q.K * GROUP,
                          blocks * thread // size, blocks * (thread + 1) // size)


cdef void product_body(void *context, int thread, int size) noexcept nogil:
    """Each thread has rows, or groups of columns, of its own."""
    cdef const Product *q = <const Product*>context
    cdef clstm_gemm g = q.whole
    cdef Py_ssize_t u = 0, end = (q.N + GROUP - 1) // GROUP, row = 0
    if q.by_rows:
        row = g.rows * thread // size
        g.rows = g.rows * (thread + 1) // size - row
    else:
        u, end = end * thread // size, end * (thread + 1) // size
    g.a += row * g.a_row
    g.c += row * g.c_row
    gemm_groups(&g, u, end, q.N)


cdef int raw_product(Product *q, Py_ssize_t M, int size) except -1:
    """Whole groups of B's columns are read as they are, the rest is packed."""
    cdef Py_ssize_t N = q.N, rest = q.N % GROUP, group = q.N // GROUP
    cdef float[::1] panel = np.empty(floats(q.K, GROUP) if rest else 0, np.float32)
    q.whole.b, q.whole.b_k, q.whole.b_group, q.whole.rows = q.b, N, GROUP, M
    q.N, q.by_rows = group * GROUP, False
    with nogil:
        run(product_body, q, size)
        if rest:
            native_kernels().pack(q.K, N, q.b, N, 1, &panel[0], GROUP, 0, group, group + 1)
            q.whole.b, q.whole.b_k, q.whole.c = &panel[0], GROUP, q.whole.c + q.N
            gemm_groups(&q.whole, 0, 1, rest)
    return 0


def matmul(const float[:, ::1] a, const float[:, ::1] b, float[:, ::1] out,
           bint transpose_a=False, bint transpose_b=False, bint accumulate=False):
    """out = op(a) op(b), or out += with `accumulate`; op transposes where asked."""
    cdef Product q
    cdef Py_ssize_t M = out.shape[0], N = out.shape[1]
    cdef Py_ssize_t K = a.shape[0] if transpose_a else a.shape[1]
    cdef double per_row = 2.0 * N * K
    cdef int size = team(<Py_ssize_t>min(0.5 * M * per_row, <double>(1 << 30) * GRAIN), GRAIN)
    if M == 0 or N == 0:
        return
    if K == 0:
        if not accumulate:
            out[:, :] = 0
        return
    cdef float[:, :, ::1] panels
    # stripes of `rows`: tiles for every thread, some milliseconds
    cdef Py_ssize_t row, column = 0
    cdef Py_ssize_t rows = max(<Py_ssize_t>(6 * size), <Py_ssize_t>(BETWEEN_SIGNALS / per_row))
    q.N, q.K, q.b = N, K, &b[0, 0]
    q.b_k, q.b_n = b.shape[1], 1
    if transpose_b:
        q.b_k, q.b_n = 1, b.shape[1]
    q.by_rows = min(M, rows) >= 6 * size
    memset(&q.whole, 0, sizeof(q.whole))
    q.whole.blocks, q.whole.depth = 1, K
    q.whole.a_row, q.whole.a_k = a.shape[1], 1
    if transpose_a:
        q.whole.a_row, q.whole.a_k = 1, a.shape[1]
    q.whole.c_row = N
    q.whole.c_group = q.whole.width = GROUP
    if not accumulate:
        q.whole.start = ZEROS
    if M <= RAW_ROWS and not transpose_b:
        q.whole.a, q.whole.c = &a[0, 0], &out[0, 0]
        raw_product(&q, M, min(size, <int>max(<Py_ssize_t>1, N // GROUP)))
        return
    # stripes of columns, which are packed together
    cdef Py_ssize_t width = max(STRIPE // floats(K, GROUP), 4) * GROUP
    width = min(width, (N + GROUP - 1) // GROUP * GROUP)
    panels = np.empty((width // GROUP, K, GROUP), np.float32)
    q.panels = &panels[0, 0, 0]
    q.whole.b, q.whole.b_k, q.whole.b_group = q.panels, GROUP, K * GROUP
    with nogil:
        while column < N:
            q.N, q.b = min(width, N - column), &b[0, 0] + column * q.b_n
            run(pack_body, &q, team(q.N * K, GRAIN))
            row = 0
            while row < M:
                q.whole.rows = min(rows, M - row)
                q.whole.a, q.whole.c = &a[0, 0] + row * q.whole.a_row, &out[row, column]
                run(product_body, &q, size)
                row += rows
                if row < M:
                    with gil:
                        PyErr_CheckSignals()
            column += width


cdef class PackedMatrix:
    """op(b) in panels, for products of a few rows at a time with it; immutable."""

    cdef Product product
    cdef object panels

    def __init__(self, const float[:, ::1] b, bint transpose_b=False):
        cdef Product *q = &self.product
        cdef float[::1] panels
        memset(q, 0, sizeof(Product))
        q.K, q.N = b.shape[0], b.shape[1]
        q.b_k, q.b_n = b.shape[1], 1
        if transpose_b:
            q.K, q.N, q.b_k, q.b_n = q.N, q.K, 1, b.shape[1]
        self.panels = aligned_array(floats(q.K, up(q.N)))
        if q.K == 0 or q.N == 0:
            return
        panels = self.panels
        q.b, q.panels = &b[0, 0], &panels[0]
        pack_body(q, 0, 1)
        q.whole.blocks, q.whole.depth, q.whole.start = 1, q.K, ZEROS
        q.whole.a_row, q.whole.a_k = q.K, 1
        q.whole.b, q.whole.b_k, q.whole.b_group = q.panels, GROUP, q.K * GROUP
        q.whole.c_row, q.whole.c_group, q.whole.width = q.N, GROUP, GROUP

    def times(self, const float[:, ::1] a):
        """a op(b), a new array."""
        cdef Product q = self.product
        cdef float[:, ::1] out
        result = np.empty((a.shape[0], q.N), np.float32)
        if a.shape[1] != q.K:
            raise ValueError(f"a: expected {q.K} columns, got {a.shape[1]}")
        if a.shape[0] == 0 or q.N == 0:
            return result
        out = result
        if q.K == 0:
            out[:, :] = 0
            return result
        q.whole.a, q.whole.c, q.whole.rows = &a[0, 0], &out[0, 0], a.shape[0]
        with nogil:
            run(product_body, &q, team(a.shape[0] * q.K * q.N, PACKED_GRAIN))
        return result


cdef struct Batch:
    Py_ssize_t B, groups, M, N, K, room  # tasks are groups of rows; floats of a thread's room
    const float *a
    Py_ssize_t[4] a_strides
    const float *b
    Py_ssize_t[4] b_strides
    float *c
    float *rooms


cdef void batch_body(void *context, int thread, int size) noexcept nogil:
    """Each thread has every size-th product."""
    cdef const Batch *q = <const Batch*>context
    cdef unsigned long mode = flush_subnormals()
    cdef Py_ssize_t task = thread, row, group
    cdef float *panels = q.rooms + thread * q.room
    cdef clstm_gemm g
    memset(&g, 0, sizeof(g))
    g.rows, g.blocks, g.depth, g.start = q.M, 1, q.K, ZEROS
    g.a_row, g.a_k = q.a_strides[2], q.a_strides[3]
    g.b, g.b_k, g.b_group = panels, GROUP, q.K * GROUP
    g.c_row, g.c_group, g.width = q.N, GROUP, GROUP
    while task < q.B * q.groups:
        row, group = task // q.groups, task % q.groups
        native_kernels().pack(q.K, q.N, q.b + row * q.b_strides[0] + group * q.b_strides[1],
                              q.b_strides[2], q.b_strides[3], panels, GROUP, q.K * GROUP, 0,
                              (q.N + GROUP - 1) // GROUP)
        g.a = q.a + row * q.a_strides[0] + group * q.a_strides[1]
        g.c = q.c + task * q.M * q.N
        gemm_groups(&g, 0, (q.N + GROUP - 1) // GROUP, q.N)
        task += size
    restore_mode(mode)


def batched(const float[:, :, :, :] a, const float[:, :, :, :] b, float[:, :, :, ::1] out):
    """out (B, G, M, N) = a (B, G, M, K) b (B, G, K, N), of any strides, each product by itself."""
    cdef Batch q
    cdef int k, size
    q.B, q.groups, q.M, q.N, q.K = (out.shape[0], out.shape[1], out.shape[2], out.shape[3],
                                    a.shape[3])
    for k in range(4):
        if k < 2 and not (a.shape[k] == b.shape[k] == out.shape[k]):
            raise ValueError("a, b: expected as many products as out has")
        q.a_strides[k] = a.strides[k] // <Py_ssize_t>sizeof(float)
        q.b_strides[k] = b.strides[k] // <Py_ssize_t>sizeof(float)
    if a.shape[2] != q.M or b.shape[2] != q.K or b.shape[3] != q.N:
        raise ValueError(f"a, b: expected ({q.M}, K) and (K, {q.N}), got "
                         f"({a.shape[2]}, {a.shape[3]}) and ({b.shape[2]}, {b.shape[3]})")
    if q.B * q.groups == 0 or q.M == 0 or q.N == 0:
        return
    if q.K == 0:
        out[:, :, :, :] = 0
        return
    q.a, q.b, q.c = &a[0, 0, 0, 0], &b[0, 0, 0, 0], &out[0, 0, 0, 0]
    cdef double work = <double>(q.B * q.groups) * q.M * q.N * q.K
    size = <int>min(q.B * q.groups,
                    team(<Py_ssize_t>min(work, <double>(1 << 30) * GRAIN), GRAIN))
    q.room = floats(q.K, up(q.N))
    q.rooms = allocate(floats(q.room, size))
    with nogil:
        run(batch_body, &q, size)
        free(q.rooms)
    PyErr_CheckSignals()
