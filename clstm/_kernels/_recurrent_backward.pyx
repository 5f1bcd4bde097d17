"""The native RNN's and sLSTM's backward run; the layouts are those of _recurrent_forward.

One barrier per step and chunks of steps, each one chain in the sums, as in _native_backward.
"""

from cpython.exc cimport PyErr_CheckSignals
from libc.stdlib cimport free
from libc.string cimport memset

from ._dispatch cimport clstm_gemm, clstm_kernels, clstm_recurrent_step_back, native_kernels
from ._native_gradients cimport TILE, inputs_gradient
from ._panels cimport (
    BARRIER,
    BETWEEN_SIGNALS,
    GROUP,
    ONE,
    ZEROS,
    Share,
    allocate,
    carve,
    floats,
    gemm_groups,
    share_of,
    up,
)
from ._parallel cimport barrier_wait, flush_subnormals, restore_mode, run
from ._recurrent_panels cimport (
    SQUARE,
    STATE,
    Shape,
    Weights,
    block_of,
    group_of,
    pack_transposed,
    raw_weights,
    set_barriers,
    set_shape,
    side_by_side,
    units_of,
)

cdef struct Back:
    Shape shape
    const Py_ssize_t *chunks  # the steps at which chunks begin, and S
    Py_ssize_t begin, end  # chunks of this call
    Py_ssize_t most  # packed rows of the largest chunk
    float *recurrent  # [heads][blocks][blocks][G][16][16]: U transposed
    float *kernel  # [I / 16][NU][G][16][16]: W transposed
    float *gates
    const float *kept
    const float *state0  # [NU][B][48]
    const float *x
    const float *y
    const float *h0  # (B, HP)
    const float *dy
    float *dh  # (B, HP)
    float *d_state  # [NU][B][32]
    Weights d_kernel, d_recurrent
    float *d_bias
    float *dx
    float *scratch  # (tiles, most, TILE): x and h_{t-1} of a chunk, in tiles


cdef void steps_back(const Back *b, Py_ssize_t begin, Py_ssize_t end, int thread,
                     int size) noexcept nogil:
    """gates to dz, dh and d_state to the step before, for steps end - 1 .. begin."""
    cdef const Shape *o = &b.shape
    cdef const clstm_kernels *table = native_kernels()
    cdef Share own = share_of(o.row_groups, o.row_bounds, o.B, o.NU, thread, size)
    cdef Py_ssize_t s, u, row, p, k, n
    cdef clstm_recurrent_step_back step
    cdef clstm_gemm g
    memset(&step, 0, sizeof(step))
    memset(&g, 0, sizeof(g))
    step.dh_row, step.dy_row, step.activation = o.HP, o.H, &o.activation
    g.blocks, g.depth = o.blocks, o.G * GROUP
    g.a_row, g.a_block, g.a_k = g.depth, o.N * g.depth, 1
    g.b_block, g.b_k, g.b_group = o.G * SQUARE, GROUP, o.blocks * o.G * SQUARE
    g.b, g.c_row, g.c_group, g.width = b.recurrent, o.HP, GROUP, GROUP
    g.start = ZEROS
    for s in range(end - 1, begin - 1, -1):
        row = min(own.row, o.counts[s])
        p = o.offsets[s] + row
        step.rows = g.rows = min(own.row_end, o.counts[s]) - row
        for u in range(own.unit, own.unit_end):
            step.units = units_of(o, u)
            step.gates = b.gates + (u * o.N + p) * g.depth
            step.dh = b.dh + row * o.HP + u * GROUP
            if b.dy != NULL:
                step.dy = b.dy + u // o.blocks * o.D + u % o.blocks * GROUP
                step.dy_index = o.index + p
            if o.G == 1:
                table.rnn_step_backward(&step)
                continue
            step.kept = b.kept + (u * o.N + p) * STATE
            if s == 0:
                step.before = b.state0 + (u * o.B + row) * STATE
            else:
                step.before = b.kept + (u * o.N + o.offsets[s - 1] + row) * STATE
            step.d_state = b.d_state + (u * o.B + row) * 2 * GROUP
            table.slstm_step_backward(&step)
        barrier_wait(&o.barriers[own.group], own.unit_groups)
        g.c = b.dh + row * o.HP
        u = own.unit
        while u < own.unit_end and g.rows > 0:
            k = u // o.blocks * o.blocks  # where u's head begins
            n = min(own.unit_end, k + o.blocks)
            g.a = b.gates + (k * o.N + p) * g.depth
            gemm_groups(&g, u, n, o.HP)
            u = n
        if o.recurrent_mask != NULL:
            for n in range(row, row + g.rows):
                for k in range(own.unit * GROUP, own.unit_end * GROUP):
                    b.dh[n * o.HP + k] *= o.recurrent_mask[n * o.HP + k]


cdef void gather(const Back *b, Py_ssize_t head, Py_ssize_t first, Py_ssize_t step,
                 Py_ssize_t end_step, float *rows) noexcept nogil:
    """Columns first .. first + 5 of x, or of h_{t-1} of a head, for the packed rows of some steps.

    head: -1 for x.
    """
    cdef const Shape *o = &b.shape
    cdef Py_ssize_t n = min(<Py_ssize_t>TILE, (o.I if head < 0 else o.D) - first), s, r, k
    cdef Py_ssize_t wide = head * o.blocks * GROUP + first
    cdef const float *source
    for s in range(step, end_step):
        for r in range(o.counts[s]):
            if head < 0:
                source = b.x + o.index[o.offsets[s] + r] * o.I + first
            elif s == 0:
                source = b.h0 + r * o.HP + wide
            else:
                source = b.y + o.index[o.offsets[s - 1] + r] * o.H + head * o.D + first
            for k in range(n):
                rows[k] = source[k]
            if head >= 0 and o.recurrent_mask != NULL:
                for k in range(n):
                    rows[k] *= o.recurrent_mask[r * o.HP + wide + k]
            rows += TILE


cdef void weights_gradient(const Back *b, Py_ssize_t step, Py_ssize_t end_step, int thread,
                           int size) noexcept nogil:
    """d_kernel += x' dz, d_recurrent += h' dz, d_bias += 1' dz, of one chunk of steps.

    Each thread has rows of the gradients of its own, in tiles of 6.
    """
    cdef const Shape *o = &b.shape
    cdef const clstm_kernels *table = native_kernels()
    cdef Py_ssize_t x_tiles = (o.I + TILE - 1) // TILE, of_head = (o.D + TILE - 1) // TILE
    cdef Py_ssize_t h_tiles = o.heads * of_head, tile = b.most * TILE, p = o.offsets[step], u = 0
    cdef Py_ssize_t x_first = x_tiles * thread // size, x_last = x_tiles * (thread + 1) // size
    cdef Py_ssize_t h_first = h_tiles * thread // size, h_last = h_tiles * (thread + 1) // size
    cdef Py_ssize_t t, head, last
    cdef float *h_rows = b.scratch + x_tiles * tile
    cdef clstm_gemm g
    memset(&g, 0, sizeof(g))
    g.blocks, g.depth = 1, o.offsets[end_step] - p
    g.b_k, g.b_group = o.G * GROUP, group_of(o, GROUP, o.N * o.G * GROUP)
    for t in range(x_first, x_last):
        gather(b, -1, t * TILE, step, end_step, b.scratch + t * tile)
    for t in range(h_first, h_last):
        gather(b, t // of_head, t % of_head * TILE, step, end_step, h_rows + t * tile)
    while u < o.NU:
        last = u + side_by_side(o, u, o.NU)
        head = u // o.blocks
        g.groups = max(o.G, last - u)
        g.b = b.gates + (u * o.N + p) * g.b_k
        g.last = units_of(o, last - 1)
        g.width = g.last if o.G == 4 else GROUP
        g.a_row, g.a_k = 1, TILE
        g.c_row, g.c_group = b.d_kernel.row, group_of(o, b.d_kernel.gate, GROUP)
        for t in range(x_first, x_last):
            g.a = b.scratch + t * tile
            g.rows = min(<Py_ssize_t>TILE, o.I - t * TILE)
            g.c = <float*>block_of(o, &b.d_kernel, u) + t * TILE * g.c_row
            table.gemm(&g)
        if b.d_bias != NULL and thread == size - 1:
            g.a, g.a_k, g.rows = ONE, 0, 1
            g.c = b.d_bias + head * o.D + u % o.blocks * GROUP
            table.gemm(&g)
            g.a_k = TILE
        g.c_row, g.c_group = b.d_recurrent.row, group_of(o, b.d_recurrent.gate, GROUP)
        for t in range(max(h_first, head * of_head), min(h_last, (head + 1) * of_head)):
            g.a = h_rows + t * tile
            g.rows = min(<Py_ssize_t>TILE, o.D - t % of_head * TILE)
            g.c = <float*>block_of(o, &b.d_recurrent, u) + t % of_head * TILE * g.c_row
            table.gemm(&g)
        u = last


cdef void backward_body(void *context, int thread, int size) noexcept nogil:
    cdef const Back *b = <const Back*>context
    cdef const Shape *o = &b.shape
    cdef unsigned long mode = flush_subnormals()
    cdef Py_ssize_t k, begin, end
    if b.chunks[b.end] == o.S:
        for k in range(o.heads):
            begin = k * o.blocks
            pack_transposed(o, &o.raw_recurrent, o.D, begin, o.blocks,
                            b.recurrent + begin * o.blocks * o.G * SQUARE, thread, size)
        if b.dx != NULL:
            pack_transposed(o, &o.raw_kernel, o.I, 0, o.NU, b.kernel, thread, size)
        barrier_wait(o.everybody, size)
    for k in range(b.end - 1, b.begin - 1, -1):
        begin, end = b.chunks[k], b.chunks[k + 1]
        steps_back(b, begin, end, thread, size)
        barrier_wait(o.everybody, size)
        weights_gradient(b, begin, end, thread, size)
        if b.dx != NULL:
            inputs_gradient(b.gates, o.NU, o.N, o.G * GROUP, b.kernel, o.index, o.offsets[begin],
                            o.offsets[end], b.dx, o.I, thread, size)
    restore_mode(mode)


def backward(float[::1] kept, const float[:, :, ::1] state0, const float[:, ::1] x,
             const float[:, ::1] y, const float[:, ::1] h0, const float[:, ::1] kernel,
             const float[:, :, ::1] recurrent_kernel, const float[:, ::1] recurrent_mask,
             tuple activation, const float[:, ::1] dy, float[:, ::1] dh,
             float[:, :, ::1] d_state, const Py_ssize_t[::1] counts,
             const Py_ssize_t[::1] offsets, const Py_ssize_t[::1] index,
             const Py_ssize_t[::1] chunks, const Py_ssize_t[::1] row_bounds, int threads,
             float[:, ::1] d_kernel, float[:, :, ::1] d_recurrent, float[::1] d_bias,
             float[:, ::1] dx):
    """Gradients of all steps from what `forward` kept; its gates are overwritten.

    state0 (NU, B, 48): what `forward` took, or None of the RNN; h0 (B, HP): the initial h, not
    masked; dy (positions, H) or None; dh (B, HP) and d_state (NU, B, 32), or None: gradients of the
    final state in, of the initial state out; chunks: the steps at which chunks begin, and S.
    d_kernel, d_recurrent, d_bias (G H) or None: added to; dx (positions, I) or None: the valid
    positions are written.
    """
    cdef Back b
    memset(&b, 0, sizeof(b))
    cdef Shape *o = &b.shape
    cdef Py_ssize_t k, tiles, last = chunks.shape[0] - 1
    cdef float *room
    set_shape(o, x, kernel, recurrent_kernel, recurrent_mask, activation, False, counts, offsets,
              index, row_bounds, dh.shape[0])
    b.chunks = &chunks[0]
    for k in range(last):
        b.most = max(b.most, offsets[chunks[k + 1]] - offsets[chunks[k]])
    room = &kept[0]
    b.gates, b.kept = carve(&room, o.NU * o.N * o.G * GROUP), room
    b.x, b.y, b.h0, b.dh = &x[0, 0], &y[0, 0], &h0[0, 0], &dh[0, 0]
    if state0 is not None:
        b.state0, b.d_state = &state0[0, 0, 0], &d_state[0, 0, 0]
    if dy is not None:
        b.dy = &dy[0, 0]
    if d_bias is not None:
        b.d_bias = &d_bias[0]
    if dx is not None:
        b.dx = &dx[0, 0]
    b.d_kernel = raw_weights(o, &d_kernel[0, 0], False)
    b.d_recurrent = raw_weights(o, &d_recurrent[0, 0, 0], True)
    tiles = (o.I + TILE - 1) // TILE + o.heads * ((o.D + TILE - 1) // TILE)
    cdef double per_chunk = 4.0 * o.G * o.H * (o.I + o.D) * b.most
    cdef Py_ssize_t together = max(<Py_ssize_t>1, <Py_ssize_t>(BETWEEN_SIGNALS / per_chunk))
    cdef Py_ssize_t square = floats(o.blocks * o.G, SQUARE)
    cdef float *scratch = allocate(
        floats(o.row_groups + 1, BARRIER) + floats(tiles, b.most, TILE) + floats(o.NU, square)
        + (floats(up(o.I) // GROUP, o.heads, square) if b.dx else 0))
    try:
        with nogil:
            room = scratch
            set_barriers(o, &room)
            b.scratch = carve(&room, tiles * b.most * TILE)
            b.recurrent = carve(&room, o.NU * square)
            b.kernel = room
            b.end = last
            while b.end > 0:
                b.begin = max(<Py_ssize_t>0, b.end - together)
                run(backward_body, &b, threads)
                b.end = b.begin
                if b.end > 0:
                    with gil:
                        PyErr_CheckSignals()
    finally:
        free(scratch)
