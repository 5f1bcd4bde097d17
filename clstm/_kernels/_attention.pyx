"""Scaled dot products of queries and keys, their softmax, and what it draws from the values.

The valid positions of a batch are packed: row b has the queries q_starts[b] .. q_starts[b + 1] - 1,
each of its N heads of D features one after the other, and the keys k_starts[b] .. k_starts[b + 1]
- 1; query i sees the first limits[i] of its row's keys. A task is one head of one row; each thread
has every size-th. Weights, (n queries, m keys) of each head of each row, stand one after the other,
those of row b from N weight_starts[b].
"""

from cpython.exc cimport PyErr_CheckSignals
from libc.stdlib cimport free
from libc.string cimport memcpy, memset

import numpy as np

from ._dispatch cimport clstm_gemm, native_kernels
from ._panels cimport (
    BETWEEN_SIGNALS,
    GROUP,
    ZEROS,
    aligned_array,
    allocate,
    carve,
    floats,
    gemm_groups,
    up,
)
from ._parallel cimport flush_subnormals, restore_mode, run, team

cdef enum:
    STRIPE = 64  # most queries that are worked on together
    GRAIN = 1 << 17  # multiplications that make another thread worth waking

cdef struct Heads:
    Py_ssize_t N, D, V, longest  # heads, features of a query and of a value, most keys of a row
    Py_ssize_t first, last  # tasks
    const Py_ssize_t *q_starts
    const Py_ssize_t *k_starts
    const Py_ssize_t *weight_starts
    const Py_ssize_t *limits
    float scale
    const float *q  # [queries][N][D]
    const float *k  # [keys][N][D]
    const float *v  # [keys][N][V]
    const float *factors  # of the weights: dropout; or NULL
    const float *panels  # of the keys and values of each task, `task_room` apart; or NULL
    Py_ssize_t task_room
    float *weights  # out, without the factors, or NULL
    float *y  # [queries][N][V]
    const float *dy
    const float *d_weights  # or NULL
    float *dq  # as q
    float *dk  # zeros, as k
    float *dv  # zeros, as v
    float *room  # `thread_room` floats for each thread
    Py_ssize_t thread_room


cdef void panels_of(Py_ssize_t K, Py_ssize_t N, const float *b, Py_ssize_t b_k, Py_ssize_t b_n,
                    float *panels) noexcept nogil:
    """B (K, N) to [N / 16][K][16]"""
    native_kernels().pack(K, N, b, b_k, b_n, panels, GROUP, K * GROUP, 0, (N + GROUP - 1) // GROUP)


cdef void product(Py_ssize_t M, Py_ssize_t N, Py_ssize_t K, const float *a, Py_ssize_t a_row,
                  Py_ssize_t a_k, const float *panels, Py_ssize_t b_group, float *c,
                  Py_ssize_t c_row, bint add) noexcept nogil:
    """C (M, N) = A (M, K) B, or C += A B; panels: B's, b_group floats apart"""
    cdef clstm_gemm g
    memset(&g, 0, sizeof(g))
    g.rows, g.blocks, g.depth = M, 1, K
    g.a, g.a_row, g.a_k = a, a_row, a_k
    g.b, g.b_k, g.b_group = panels, GROUP, b_group
    g.c, g.c_row, g.c_group, g.width = c, c_row, GROUP, GROUP
    if not add:
        g.start = ZEROS
    gemm_groups(&g, 0, (N + GROUP - 1) // GROUP, N)


cdef void multiply(Py_ssize_t rows, Py_ssize_t columns, Py_ssize_t row, float *a,
                   const float *factors, Py_ssize_t factors_row) noexcept nogil:
    cdef Py_ssize_t r, j
    for r in range(rows):
        for j in range(columns):
            a[r * row + j] *= factors[r * factors_row + j]


cdef Py_ssize_t stripe(Py_ssize_t left) noexcept nogil:
    """How many of the queries that are left come next: all stripes are about as long."""
    cdef Py_ssize_t stripes = (left + STRIPE - 1) // STRIPE
    return (left + stripes - 1) // stripes


cdef Py_ssize_t most(const Py_ssize_t *limits, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t r, result = 0
    for r in range(n):
        result = max(result, limits[r])
    return result


cdef float *values_after(float *panels, const Heads *h, Py_ssize_t width) noexcept nogil:
    """Where the panels of a task's values begin, after those of its keys."""
    return panels + width * h.D


cdef void pack_task(const Heads *h, Py_ssize_t task, float *panels) noexcept nogil:
    """The keys, transposed, and the values of one head of one row"""
    cdef Py_ssize_t b = task // h.N, head = task % h.N
    cdef Py_ssize_t keys = h.k_starts[b + 1] - h.k_starts[b]
    cdef Py_ssize_t q_row = h.N * h.D, v_row = h.N * h.V
    panels_of(h.D, keys, h.k + h.k_starts[b] * q_row + head * h.D, 1, q_row, panels)
    panels_of(keys, h.V, h.v + h.k_starts[b] * v_row + head * h.V, v_row, 1,
              values_after(panels, h, up(keys)))


cdef void forward_task(const Heads *h, Py_ssize_t task, float *room) noexcept nogil:
    """y = softmax(scale q k') v of one head of one row"""
    cdef Py_ssize_t b = task // h.N, head = task % h.N
    cdef Py_ssize_t keys = h.k_starts[b + 1] - h.k_starts[b]
    cdef Py_ssize_t end = h.q_starts[b + 1], at = h.q_starts[b], rows, seen, r
    cdef Py_ssize_t q_row = h.N * h.D, v_row = h.N * h.V, width = up(keys)
    # of the weights of this task and of the queries from `at`
    cdef Py_ssize_t w = h.N * h.weight_starts[b] + head * (end - at) * keys
    cdef float *p = carve(&room, STRIPE * width)
    cdef const float *k_panels = h.panels + task * h.task_room
    if h.panels == NULL:
        k_panels = room
        pack_task(h, task, room)
    cdef const float *v_panels = values_after(<float*>k_panels, h, width)
    while at < end:
        rows = stripe(end - at)
        seen = most(h.limits + at, rows)
        product(rows, seen, h.D, h.q + at * q_row + head * h.D, q_row, 1, k_panels,
                h.D * GROUP, p, width, False)
        native_kernels().softmax(rows, seen, width, h.limits + at, h.scale, p)
        if h.weights != NULL:
            for r in range(rows):
                memcpy(h.weights + w + r * keys, p + r * width, seen * sizeof(float))
        if h.factors != NULL:
            multiply(rows, seen, width, p, h.factors + w, keys)
        product(rows, h.V, seen, p, width, 1, v_panels, keys * GROUP,
                h.y + at * v_row + head * h.V, v_row, False)
        w += rows * keys
        at += rows


cdef void backward_task(const Heads *h, Py_ssize_t task, float *room) noexcept nogil:
    """The weights once more; with dp = dy v' factors + d_weights, and the softmax's gradient ds,

        dv = (p factors)' dy   dq = ds k   dk = ds' q
    """
    cdef Py_ssize_t b = task // h.N, head = task % h.N, key = h.k_starts[b]
    cdef Py_ssize_t keys = h.k_starts[b + 1] - key, r, j
    cdef Py_ssize_t end = h.q_starts[b + 1], at = h.q_starts[b], rows, seen
    cdef Py_ssize_t q_row = h.N * h.D, v_row = h.N * h.V, width = up(keys)
    cdef Py_ssize_t w = h.N * h.weight_starts[b] + head * (end - at) * keys
    cdef float *to_keys = carve(&room, width * h.D)
    cdef float *to_values = carve(&room, width * h.V)
    cdef float *of_keys = carve(&room, keys * up(h.D))
    cdef float *p = carve(&room, STRIPE * width)
    cdef float *d = carve(&room, STRIPE * width)
    cdef float *queries = carve(&room, STRIPE * up(max(h.D, h.V)))
    cdef const float *q
    cdef const float *dy
    cdef const float *k = h.k + key * q_row + head * h.D
    panels_of(h.D, keys, k, 1, q_row, to_keys)
    panels_of(keys, h.D, k, q_row, 1, of_keys)
    panels_of(h.V, keys, h.v + key * v_row + head * h.V, 1, v_row, to_values)
    while at < end:
        rows = stripe(end - at)
        seen = most(h.limits + at, rows)
        q, dy = h.q + at * q_row + head * h.D, h.dy + at * v_row + head * h.V
        product(rows, seen, h.D, q, q_row, 1, to_keys, h.D * GROUP, p, width, False)
        native_kernels().softmax(rows, seen, width, h.limits + at, h.scale, p)
        product(rows, seen, h.V, dy, v_row, 1, to_values, h.V * GROUP, d, width, False)
        if h.factors != NULL:
            multiply(rows, seen, width, d, h.factors + w, keys)
        if h.d_weights != NULL:
            for r in range(rows):
                for j in range(seen):
                    d[r * width + j] += h.d_weights[w + r * keys + j]
        native_kernels().softmax_backward(rows, seen, width, h.limits + at, h.scale, p, d)
        if h.factors != NULL:
            multiply(rows, seen, width, p, h.factors + w, keys)
        product(rows, h.D, seen, d, width, 1, of_keys, keys * GROUP,
                h.dq + at * q_row + head * h.D, q_row, False)
        panels_of(rows, h.V, dy, v_row, 1, queries)
        product(seen, h.V, rows, p, 1, width, queries, rows * GROUP,
                h.dv + key * v_row + head * h.V, v_row, True)
        panels_of(rows, h.D, q, q_row, 1, queries)
        product(seen, h.D, rows, d, 1, width, queries, rows * GROUP,
                h.dk + key * q_row + head * h.D, q_row, True)
        w += rows * keys
        at += rows


cdef void body(void *context, int thread, int size) noexcept nogil:
    cdef const Heads *h = <const Heads*>context
    cdef unsigned long mode = flush_subnormals()
    cdef float *room = h.room + thread * h.thread_room
    cdef Py_ssize_t task = h.first + thread
    while task < h.last:
        if h.dy == NULL:
            forward_task(h, task, room)
        else:
            backward_task(h, task, room)
        task += size
    restore_mode(mode)


cdef void share(Heads *h, Py_ssize_t B, Py_ssize_t per_weight):
    """Every task, on a team; per_weight: multiplications for each query, key and head."""
    cdef Py_ssize_t tasks = B * h.N, b, together
    cdef double work = <double>h.N * h.weight_starts[B] * per_weight
    cdef int size = <int>min(team(<Py_ssize_t>min(work, <double>(1 << 30) * GRAIN), GRAIN), tasks)
    h.longest = 0
    for b in range(B):
        h.longest = max(h.longest, h.k_starts[b + 1] - h.k_starts[b])
    h.thread_room = (floats(h.longest + GROUP, up(max(h.D, h.V)), 3)
                     + floats(2 * STRIPE, h.longest + GROUP) + floats(STRIPE, up(max(h.D, h.V))))
    # tasks between two looks for a signal
    together = max(<Py_ssize_t>size, <Py_ssize_t>(BETWEEN_SIGNALS * (tasks / max(2 * work, 1.0))))
    h.room = allocate(floats(h.thread_room, size))
    try:
        h.first = 0
        while h.first < tasks:
            h.last = min(h.first + together, tasks)
            with nogil:
                run(body, h, size)
            h.first = h.last
            if h.first < tasks:
                PyErr_CheckSignals()
    finally:
        free(h.room)


cdef const float *begin(const float[:, ::1] a) noexcept:
    return &a[0, 0] if a is not None and a.shape[0] else NULL


cdef void plan(Heads *h, Py_ssize_t heads, float scale, const float[:, ::1] q,
               const float[:, ::1] k, const float[:, ::1] v, const float[::1] factors,
               const Py_ssize_t[::1] q_starts, const Py_ssize_t[::1] k_starts,
               const Py_ssize_t[::1] weight_starts, const Py_ssize_t[::1] limits):
    memset(h, 0, sizeof(Heads))
    h.N, h.D, h.V, h.scale = heads, q.shape[1] // heads, v.shape[1] // heads, scale
    h.q, h.k, h.v = begin(q), begin(k), begin(v)
    h.q_starts, h.k_starts, h.weight_starts = &q_starts[0], &k_starts[0], &weight_starts[0]
    h.limits = &limits[0] if limits.shape[0] else NULL
    if factors is not None and factors.shape[0]:
        h.factors = &factors[0]


def forward(const float[:, ::1] q, const float[:, ::1] k, const float[:, ::1] v,
            Py_ssize_t heads, float scale, const Py_ssize_t[::1] q_starts,
            const Py_ssize_t[::1] k_starts, const Py_ssize_t[::1] weight_starts,
            const Py_ssize_t[::1] limits, const float[::1] factors, float[::1] weights,
            float[:, ::1] y) -> None:
    """y (queries, N V) of q (queries, N D), k (keys, N D), v (keys, N V), N heads.

    q_starts, k_starts, weight_starts (B + 1), limits (queries); factors of the weights, or None;
    weights: zeros that become the weights, or None.
    """
    cdef Heads h
    if y.shape[0] == 0 or y.shape[1] == 0:
        return
    plan(&h, heads, scale, q, k, v, factors, q_starts, k_starts, weight_starts, limits)
    h.y = &y[0, 0]
    if weights is not None and weights.shape[0]:
        h.weights = &weights[0]
    share(&h, q_starts.shape[0] - 1, h.D + h.V)


def backward(const float[:, ::1] q, const float[:, ::1] k, const float[:, ::1] v,
             Py_ssize_t heads, float scale, const Py_ssize_t[::1] q_starts,
             const Py_ssize_t[::1] k_starts, const Py_ssize_t[::1] weight_starts,
             const Py_ssize_t[::1] limits, const float[::1] factors, const float[:, ::1] dy,
             const float[::1] d_weights, float[:, ::1] dq, float[:, ::1] dk,
             float[:, ::1] dv) -> None:
    """dq, and dk and dv, which are zeros before; d_weights as `weights` of forward, or None."""
    cdef Heads h
    if dy.shape[0] == 0 or k.shape[0] == 0:
        dq[:, :] = 0
        return
    plan(&h, heads, scale, q, k, v, factors, q_starts, k_starts, weight_starts, limits)
    h.dy, h.dq, h.dk, h.dv = &dy[0, 0], &dq[0, 0], &dk[0, 0], &dv[0, 0]
    if d_weights is not None and d_weights.shape[0]:
        h.d_weights = &d_weights[0]
    share(&h, q_starts.shape[0] - 1, 3 * h.D + 2 * h.V)


cdef class Memory:
    """Keys and values of a batch, laid out for one query of each row at a time; immutable."""

    cdef Heads heads
    cdef Py_ssize_t B
    cdef tuple kept

    def __init__(self, const float[:, ::1] k, const float[:, ::1] v, Py_ssize_t heads, float scale,
                 const Py_ssize_t[::1] q_starts, const Py_ssize_t[::1] k_starts,
                 const Py_ssize_t[::1] weight_starts, const Py_ssize_t[::1] limits):
        cdef Heads *h = &self.heads
        cdef Py_ssize_t task, b, longest = 0
        cdef float[::1] panels
        plan(h, heads, scale, k, k, v, None, q_starts, k_starts, weight_starts, limits)
        self.B = q_starts.shape[0] - 1
        for b in range(self.B):
            longest = max(longest, k_starts[b + 1] - k_starts[b])
        h.task_room = floats(up(longest), h.D) + floats(longest, up(h.V))
        panels = aligned_array(floats(h.task_room, self.B * h.N))
        self.kept = k, v, panels, q_starts, k_starts, weight_starts, limits
        if panels.shape[0]:
            h.panels = &panels[0]
            for task in range(self.B * h.N):
                pack_task(h, task, &panels[task * h.task_room])

    def recall(self, const float[:, ::1] q):
        """y (B, N V) of q (B, N D), as `forward` gives it."""
        cdef Heads h = self.heads
        cdef float[:, ::1] y
        if q.shape[0] != self.B or q.shape[1] != h.N * h.D:
            raise ValueError(f"q: expected shape ({self.B}, {h.N * h.D}), got "
                             f"({q.shape[0]}, {q.shape[1]})")
        result = np.empty((self.B, h.N * h.V), np.float32)
        y = result
        if y.shape[0] and y.shape[1]:
            h.q, h.y = &q[0, 0], &y[0, 0]
            share(&h, self.B, h.D + h.V)
        return result
