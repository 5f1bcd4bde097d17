"""The native RNN and sLSTM, forward and backward: one team per call with the time loop inside.

Packed rows are those of _native_forward. Each of `heads` heads has D units in `blocks` unit blocks
of 16, of which the last one may have fewer: NU unit blocks in all, HP = 16 NU. G is 1 gate or 4.

    gates   [NU][N][16 G]   z, then what the step leaves there, then dz
    kept    [NU][N][48]     of the sLSTM: c, n and the slope of log f
    state   [NU][B][48]     c n m of the current step
    h       [2][B][HP]      h_{t-1} and h_t, by turns

A step is the recurrent product of a unit block, over the D units of its head, then its cell. Work
is shared out as in _native_forward, with one barrier per step; backwards as in _native_backward,
with chunks of steps as the chains of the weights' gradients.
"""

from cpython.exc cimport PyErr_CheckSignals
from libc.stdlib cimport free
from libc.string cimport memset

from ._cell import KINDS

from ._dispatch cimport (
    clstm_activation,
    clstm_gemm,
    clstm_kernels,
    clstm_recurrent_step,
    clstm_recurrent_step_back,
    native_kernels,
)
from ._panels cimport (
    BARRIER,
    BETWEEN_SIGNALS,
    GROUP,
    Share,
    aligned_array,
    allocate,
    carve,
    floats,
    share_of,
    up,
)
from ._parallel cimport barrier_wait, flush_subnormals, restore_mode, run, team_barrier

cdef enum:
    STATE = 48  # reals of one row of an sLSTM's unit block
    STRETCH = 1 << 18  # bytes of gates that a thread projects at a time: they stay in its L2
    TILE = 6  # rows of a weights' gradient that are packed together
    SQUARE = 256  # GROUP x GROUP

cdef float[64] ZEROS
memset(ZEROS, 0, sizeof(ZEROS))
cdef float[1] ONE
ONE[0] = 1


cdef struct Weights:
    # 16 columns of gate v, unit block j of head k, row n: at[k head + j block + n row + v gate]
    const float *at
    Py_ssize_t head, block, row, gate


cdef struct Shape:
    Py_ssize_t B, I, H, D, G, heads, blocks, NU, HP, N, S
    const Py_ssize_t *counts
    const Py_ssize_t *offsets
    const Py_ssize_t *index
    int row_groups
    const Py_ssize_t *row_bounds
    team_barrier *barriers  # (row_groups)
    team_barrier *everybody
    clstm_activation activation  # of the RNN
    bint exponential  # of the sLSTM
    const float *recurrent_mask  # (B, HP) or NULL
    Weights raw_kernel, raw_recurrent


cdef struct Forward:
    Shape shape
    Py_ssize_t begin, end  # steps of this call
    bint pack  # the first call is to pack the weights
    Weights kernel, recurrent
    const float *bias  # [NU][16 G]
    const float *x
    bint keep
    float *gates
    Py_ssize_t gates_rows  # of one unit block: N, or if not kept as many as a stretch has
    float *kept  # of the sLSTM, or NULL
    float *state
    float *h
    float *y
    Py_ssize_t stretch


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


cdef const float *block_of(const Shape *s, const Weights *w, Py_ssize_t u) noexcept nogil:
    return w.at + u // s.blocks * w.head + u % s.blocks * w.block


cdef Py_ssize_t side_by_side(const Shape *s, Py_ssize_t u, Py_ssize_t end) noexcept nogil:
    """Unit blocks that one call of gemm takes, which has 4 groups of columns."""
    return 1 if s.G == 4 else min(<Py_ssize_t>4, end - u)


cdef Py_ssize_t group_of(const Shape *s, Py_ssize_t gate, Py_ssize_t block) noexcept nogil:
    """What lies between two groups of a call of gemm: gates, or unit blocks."""
    return gate if s.G == 4 else block


cdef Py_ssize_t units_of(const Shape *s, Py_ssize_t u) noexcept nogil:
    """Units of block u that exist."""
    return min(<Py_ssize_t>GROUP, s.D - u % s.blocks * GROUP)


cdef Weights panels_of(const Shape *s, float *at, Py_ssize_t K) noexcept nogil:
    """Panels [NU][K][G][16]"""
    cdef Weights w
    w.at, w.row, w.gate = at, s.G * GROUP, GROUP
    w.block = K * w.row
    w.head = s.blocks * w.block
    return w


cdef Weights raw_weights(const Shape *s, const float *at, bint recurrent) noexcept nogil:
    """kernel (I, G H), or recurrent_kernel (heads, D, G D), or arrays of their gradients"""
    cdef Weights w
    w.at, w.block = at, GROUP
    w.gate = s.D if recurrent else s.H
    w.row = s.G * w.gate
    w.head = s.D * w.row if recurrent else s.D
    return w


cdef void pack_blocks(const Shape *s, const Weights *w, Py_ssize_t K, const Weights *panels,
                      int thread, int size) noexcept nogil:
    """K rows of w to panels: the unit blocks of one thread."""
    cdef Py_ssize_t u, k, j, v
    for u in range(s.NU * thread // size, s.NU * (thread + 1) // size):
        k, j = u // s.blocks, u % s.blocks
        for v in range(s.G):
            native_kernels().pack(
                K, s.D, w.at + k * w.head + v * w.gate, w.row, 1,
                <float*>panels.at + k * panels.head + v * panels.gate, panels.row, panels.block,
                j, j + 1)


cdef void pack_transposed(const Shape *s, const Weights *w, Py_ssize_t K, Py_ssize_t u,
                          Py_ssize_t sources, float *panels, int thread, int size) noexcept nogil:
    """K rows of w to [K / 16][sources][G][16][16], of the unit blocks u .. u + sources - 1.

    Zeros where a unit or a row does not exist; one thread's groups of rows.
    """
    cdef Py_ssize_t groups = up(K) // GROUP, panel = sources * s.G * SQUARE, n, k, j, v
    cdef Py_ssize_t first = groups * thread // size, last = groups * (thread + 1) // size
    memset(panels + first * panel, 0, (last - first) * panel * sizeof(float))
    for n in range(sources):
        k, j = (u + n) // s.blocks, (u + n) % s.blocks
        for v in range(s.G):
            native_kernels().pack(
                units_of(s, j), K, w.at + k * w.head + v * w.gate + j * GROUP, 1, w.row,
                panels + (n * s.G + v) * SQUARE, GROUP, panel, first, last)


cdef void project(const Forward *r, const Share *own, Py_ssize_t first,
                  Py_ssize_t end) noexcept nogil:
    """gates = bias + x W for steps first .. end - 1 of a stretch."""
    cdef const Shape *o = &r.shape
    cdef Py_ssize_t base = 0 if r.keep else o.offsets[first], s = first, row, p, u
    cdef clstm_gemm g
    memset(&g, 0, sizeof(g))
    g.blocks, g.depth, g.a, g.a_row, g.a_k = 1, o.I, r.x, o.I, 1
    g.b_k, g.b_group = r.kernel.row, group_of(o, r.kernel.gate, r.kernel.block)
    g.c_row, g.c_group = o.G * GROUP, group_of(o, GROUP, r.gates_rows * o.G * GROUP)
    g.width = g.last = g.start_group = GROUP
    while s < end:
        row = min(own.row, o.counts[s])
        p = o.offsets[s] + row
        g.rows = min(own.row_end, o.counts[s]) - row
        if o.row_groups == 1:
            g.rows = o.offsets[end] - p
        g.a_index = o.index + p
        u = own.unit
        while u < own.unit_end and g.rows > 0:
            g.groups = max(o.G, side_by_side(o, u, own.unit_end))
            g.b = block_of(o, &r.kernel, u)
            g.start = r.bias + u * g.c_row
            g.c = r.gates + (u * r.gates_rows + p - base) * g.c_row
            native_kernels().gemm(&g)
            u += side_by_side(o, u, own.unit_end)
        if o.row_groups == 1:
            break
        s += 1


cdef void steps_forward(const Forward *r, int thread, int size) noexcept nogil:
    cdef const Shape *o = &r.shape
    cdef const clstm_kernels *table = native_kernels()
    cdef Share own = share_of(o.row_groups, o.row_bounds, o.B, o.NU, thread, size)
    cdef Py_ssize_t s = r.begin, base, end, u, last, row, p
    cdef clstm_recurrent_step step
    cdef clstm_gemm g
    memset(&step, 0, sizeof(step))
    memset(&g, 0, sizeof(g))
    step.h_row, step.y_row = o.HP, o.H
    step.activation, step.exponential = &o.activation, o.exponential
    g.blocks, g.depth, g.a_row, g.a_k = 1, o.D, o.HP, 1
    g.b_k, g.b_group = r.recurrent.row, group_of(o, r.recurrent.gate, r.recurrent.block)
    g.c_row, g.c_group = o.G * GROUP, group_of(o, GROUP, r.gates_rows * o.G * GROUP)
    g.width = g.last = GROUP
    while s < r.end:
        end = min(s + r.stretch, r.end)
        base = 0 if r.keep else o.offsets[s]
        project(r, &own, s, end)
        while s < end:
            row = min(own.row, o.counts[s])
            p = o.offsets[s] + row
            step.rows = g.rows = min(own.row_end, o.counts[s]) - row
            step.y_index = o.index + p
            u = own.unit
            while u < own.unit_end and g.rows > 0:
                last = u + side_by_side(o, u, own.unit_end)
                g.groups = max(o.G, last - u)
                g.a = r.h + ((s & 1) * o.B + row) * o.HP + u // o.blocks * o.blocks * GROUP
                g.b = block_of(o, &r.recurrent, u)
                g.c = r.gates + (u * r.gates_rows + p - base) * g.c_row
                table.gemm(&g)
                while u < last:
                    step.units = units_of(o, u)
                    step.gates = r.gates + (u * r.gates_rows + p - base) * g.c_row
                    step.h_next = r.h + ((~s & 1) * o.B + row) * o.HP + u * GROUP
                    step.y = r.y + u // o.blocks * o.D + u % o.blocks * GROUP
                    if o.recurrent_mask != NULL:
                        step.mask = o.recurrent_mask + row * o.HP + u * GROUP
                    if o.G == 1:
                        table.rnn_step(&step)
                    else:
                        step.state = r.state + (u * o.B + row) * STATE
                        if r.keep:
                            step.kept = r.kept + (u * o.N + p) * STATE
                        table.slstm_step(&step)
                    u += 1
            s += 1
            if s < r.end:  # after the last step the team's end is the barrier
                barrier_wait(&o.barriers[own.group], own.unit_groups)


cdef void forward_body(void *context, int thread, int size) noexcept nogil:
    cdef const Forward *r = <const Forward*>context
    cdef const Shape *o = &r.shape
    cdef unsigned long mode = flush_subnormals()
    if r.pack and r.begin == 0:
        pack_blocks(o, &o.raw_kernel, o.I, &r.kernel, thread, size)
        pack_blocks(o, &o.raw_recurrent, o.D, &r.recurrent, thread, size)
        barrier_wait(o.everybody, size)
    steps_forward(r, thread, size)
    restore_mode(mode)


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
    g.c_row, g.c_group, g.width, g.last = o.HP, GROUP, GROUP, GROUP
    g.start = &ZEROS[0]
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
        u = own.unit
        while u < own.unit_end and g.rows > 0:
            k = u // o.blocks * o.blocks  # where u's head begins
            g.groups = min(<Py_ssize_t>4, min(own.unit_end, k + o.blocks) - u)
            g.a = b.gates + (k * o.N + p) * g.depth
            g.b = b.recurrent + u * g.b_group
            g.c = b.dh + row * o.HP + u * GROUP
            table.gemm(&g)
            u += g.groups
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
            g.a, g.a_k, g.rows = &ONE[0], 0, 1
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


cdef void inputs_gradient(const Back *b, Py_ssize_t begin, Py_ssize_t end, int thread,
                          int size) noexcept nogil:
    """dx = dz W' of one chunk of steps, shared out by rows."""
    cdef const Shape *o = &b.shape
    cdef Py_ssize_t groups = up(o.I) // GROUP, u = 0
    cdef Py_ssize_t first = o.offsets[begin], rows = o.offsets[end] - first
    cdef Py_ssize_t p = first + rows * thread // size
    cdef clstm_gemm g
    memset(&g, 0, sizeof(g))
    g.rows = first + rows * (thread + 1) // size - p
    g.blocks, g.depth = o.NU, o.G * GROUP
    g.a, g.a_row, g.a_block, g.a_k = b.gates + p * g.depth, g.depth, o.N * g.depth, 1
    g.b_block, g.b_k, g.b_group = o.G * SQUARE, GROUP, o.NU * o.G * SQUARE
    g.c_index, g.c_row, g.c_group, g.width = o.index + p, o.I, GROUP, GROUP
    g.start = &ZEROS[0]
    while u < groups and g.rows > 0:
        g.groups = min(<Py_ssize_t>4, groups - u)
        g.last = min(<Py_ssize_t>GROUP, o.I - (u + g.groups - 1) * GROUP)
        g.b = b.kernel + u * g.b_group
        g.c = b.dx + u * GROUP
        native_kernels().gemm(&g)
        u += g.groups


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
            inputs_gradient(b, begin, end, thread, size)
    restore_mode(mode)


cdef int set_shape(Shape *s, const float[:, ::1] x, const float[:, ::1] kernel,
                   const float[:, :, ::1] recurrent_kernel, const float[:, ::1] recurrent_mask,
                   tuple activation, bint exponential, const Py_ssize_t[::1] counts,
                   const Py_ssize_t[::1] offsets, const Py_ssize_t[::1] index,
                   const Py_ssize_t[::1] row_bounds, Py_ssize_t B) except -1:
    """All but the barriers."""
    memset(s, 0, sizeof(Shape))
    s.B, s.I, s.N, s.S = B, x.shape[1], index.shape[0], counts.shape[0]
    s.heads, s.D = recurrent_kernel.shape[0], recurrent_kernel.shape[1]
    s.H, s.G, s.blocks = s.heads * s.D, recurrent_kernel.shape[2] // s.D, up(s.D) // GROUP
    s.NU = s.heads * s.blocks
    s.HP = s.NU * GROUP
    s.counts, s.offsets, s.index = &counts[0], &offsets[0], &index[0]
    s.row_groups, s.row_bounds = <int>(row_bounds.shape[0] - 1), &row_bounds[0]
    s.exponential = exponential
    if activation is not None:
        kind, s.activation.alpha, s.activation.beta, s.activation.least, s.activation.most = (
            activation)
        s.activation.kind = KINDS[kind]
    if recurrent_mask is not None:
        s.recurrent_mask = &recurrent_mask[0, 0]
    s.raw_kernel = raw_weights(s, &kernel[0, 0], False)
    s.raw_recurrent = raw_weights(s, &recurrent_kernel[0, 0, 0], True)
    return 0


cdef void set_barriers(Shape *s, float **room) noexcept nogil:
    s.barriers = <team_barrier*>carve(room, (s.row_groups + 1) * BARRIER)
    memset(s.barriers, 0, (s.row_groups + 1) * sizeof(team_barrier))
    s.everybody = s.barriers + s.row_groups


def forward(const float[:, ::1] x, const float[:, ::1] kernel,
            const float[:, :, ::1] recurrent_kernel, const float[::1] bias,
            const float[:, ::1] recurrent_mask, tuple activation, bint exponential,
            float[:, :, ::1] h, float[:, :, ::1] state, float[:, ::1] y,
            const Py_ssize_t[::1] counts, const Py_ssize_t[::1] offsets,
            const Py_ssize_t[::1] index, const Py_ssize_t[::1] row_bounds, int threads, bint pack,
            bint keep):
    """Run all N > 0 packed rows.

    x (positions, I); kernel (I, G H), recurrent_kernel (heads, D, G D), bias (G H) or None;
    recurrent_mask (B, HP) or None; activation: of the RNN, as `CellOptions` takes it, or None;
    h (2, B, HP): h[0] the initial h, masked; state (NU, B, 48), or None of the RNN: changed to the
    final one; y (positions, H): the valid positions are written; pack: False reads the weights as
    they are, which takes a D that is a multiple of 16. Returns gates and kept if `keep`.
    """
    cdef Forward r
    memset(&r, 0, sizeof(r))
    cdef Shape *o = &r.shape
    set_shape(o, x, kernel, recurrent_kernel, recurrent_mask, activation, exponential, counts,
              offsets, index, row_bounds, h.shape[1])
    r.x, r.y, r.h, r.keep, r.pack = &x[0, 0], &y[0, 0], &h[0, 0, 0], keep, pack
    cdef Py_ssize_t width = o.G * GROUP, size
    cdef Py_ssize_t units = (o.NU * o.row_groups + threads - 1) // threads  # of one thread
    r.stretch = max(<Py_ssize_t>1,
                    min(o.S, STRETCH // (o.B * units * width * <Py_ssize_t>sizeof(float))))
    r.gates_rows = o.N if keep else r.stretch * o.B
    kept = None
    cdef float[::1] kept_floats
    cdef float *room
    if state is not None:
        r.state = &state[0, 0, 0]
    if keep:
        size = floats(o.NU, o.N, width)
        kept = aligned_array(size + (0 if state is None else floats(o.NU, o.N, STATE)))
        kept_floats = kept
        room = &kept_floats[0]
        r.gates, r.kept = carve(&room, o.NU * o.N * width), room
    size = floats(o.row_groups + 1, BARRIER) + floats(o.NU, width)
    if not keep:
        size += floats(o.NU, r.gates_rows, width)
    if pack:
        size += floats(o.NU, o.I, width) + floats(o.NU, o.D, width)
    cdef double per_step = 2.0 * o.G * o.H * (o.I + o.D) * o.N / o.S
    cdef Py_ssize_t together = max(<Py_ssize_t>1, <Py_ssize_t>(BETWEEN_SIGNALS / per_step))
    cdef Weights panels
    cdef float *scratch = allocate(size)
    try:
        room = scratch
        set_barriers(o, &room)
        panels = panels_of(o, carve(&room, o.NU * width), 1)
        r.bias = panels.at
        memset(<float*>r.bias, 0, o.NU * width * sizeof(float))
        if bias is not None:
            r.kernel = o.raw_kernel
            r.kernel.at = &bias[0]
            pack_blocks(o, &r.kernel, 1, &panels, 0, 1)
        if not keep:
            r.gates = carve(&room, o.NU * r.gates_rows * width)
        r.kernel, r.recurrent = o.raw_kernel, o.raw_recurrent
        if pack:
            r.kernel = panels_of(o, carve(&room, o.NU * o.I * width), o.I)
            r.recurrent = panels_of(o, carve(&room, o.NU * o.D * width), o.D)
        with nogil:
            while r.begin < o.S:
                r.end = min(o.S, r.begin + together)
                run(forward_body, &r, threads)
                r.begin = r.end
                if r.begin < o.S:
                    with gil:
                        PyErr_CheckSignals()
    finally:
        free(scratch)
    return kept


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
