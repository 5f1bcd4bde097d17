"""The native LSTM's backward run; the layouts are those of _native_forward.

One barrier per step: a thread's columns of dh belong to its own units, so only dz is exchanged;
with a projection they are columns of its own, and one barrier more exchanges their gradient.
Chunks of some steps are taken from the last to the first: their dz is still in the cache when the
weights' gradients and dx are made of it. A chunk is one chain in each sum, so chunks alone, and not
how many runs they are dealt out to, decide the bits.
"""

from cpython.exc cimport PyErr_CheckSignals
from libc.stdlib cimport free
from libc.string cimport memcpy, memset

from ._cell cimport CellOptions
from ._dispatch cimport clstm_cell, clstm_gemm, clstm_kernels, clstm_step_back, native_kernels
from ._panels cimport (
    BARRIER,
    BETWEEN_SIGNALS,
    GATES,
    GROUP,
    ZEROS,
    Share,
    allocate,
    carve,
    floats,
    from_blocks,
    gemm_groups,
    pack_share,
    panels_size,
    share_of,
    to_blocks,
    up,
)
from ._native_gradients cimport TILE, inputs_gradient, peephole_gradient, weights_gradient
from ._norm cimport (
    SUMS,
    LayerNorms,
    Norms,
    norm_again,
    norm_apply_back,
    norm_sums_back,
)
from ._parallel cimport barrier_wait, flush_subnormals, restore_mode, run, team_barrier
from ._projection cimport (
    OutputProjection,
    cells_back,
    outputs_back,
    projection_gradient,
    set_projection,
)

cdef void place_step(const Back *b, clstm_step_back *step, Py_ssize_t s, Py_ssize_t u,
                     Py_ssize_t row) noexcept nogil:
    """Unit block u of step s."""
    cdef Py_ssize_t HP = b.NU * GROUP, p = b.offsets[s] + row
    step.unit, step.units = u * GROUP, min(<Py_ssize_t>GROUP, b.H - u * GROUP)
    step.gates = b.gates + (u * b.N + p) * GATES
    step.c_prev = cells_before(b, u, s) + row * GROUP
    step.c = b.cells + (u * b.N + p) * GROUP
    step.dc = b.dc + (u * b.B + row) * GROUP
    if b.projected:
        step.dh = b.dm + row * HP + u * GROUP
    else:
        step.dh = b.dh + row * HP + u * GROUP
        if b.dy != NULL:
            step.dy = b.dy + u * GROUP
        if b.dh_kept != NULL:
            step.dh_kept = b.dh_kept + (u * b.B + row) * GROUP


cdef void output_back(const Back *b, const Share *own, clstm_step_back *step, Py_ssize_t s,
                      Py_ssize_t row, int thread) noexcept nogil:
    """Through the output of a normalised c: dz of o, and its share of dc."""
    cdef const Norms *n = b.norms
    cdef Py_ssize_t p = b.offsets[s] + row, block = b.B * GROUP, u, k
    cdef const float *c_out
    cdef float *d_out
    if not n.carried:
        norm_again(n, &n.cell, own, step.rows, p, <float*>b.cells + p * GROUP, b.N * GROUP,
                   n.c_out + row * GROUP, block, n.cell.statistics + p * SUMS)
    for u in range(own.unit, own.unit_end):
        place_step(b, step, s, u, row)
        c_out = step.c if n.carried else n.c_out + u * block + row * GROUP
        d_out = n.d_out + u * block + row * GROUP
        native_kernels().lstm_output_backward(step, c_out, d_out)
        if n.carried:
            for k in range(step.rows * GROUP):
                d_out[k] += step.dc[k]
    norm_sums_back(n, &n.cell, own, step.rows, p, n.d_out + row * GROUP, block)
    barrier_wait(&b.barriers[own.group], own.unit_groups)
    norm_apply_back(n, &n.cell, own, step.rows, p, n.d_out + row * GROUP, block,
                    b.dc + row * GROUP, block, not n.carried, thread)


cdef void gates_back(const Back *b, const Share *own, Py_ssize_t rows, Py_ssize_t p,
                     int thread) noexcept nogil:
    """dz to the gradients of what was normalised: x W in gates, h U there too or in h.values."""
    cdef const Norms *n = b.norms
    cdef float *dz = b.gates + p * GATES
    cdef Py_ssize_t block = b.N * GATES
    cdef bint joint = n.x.parts > 0
    norm_sums_back(n, &n.h, own, rows, p, dz, block)
    if joint:
        norm_sums_back(n, &n.x, own, rows, p, dz, block)
    barrier_wait(&b.barriers[own.group], own.unit_groups)
    if not joint:
        norm_apply_back(n, &n.h, own, rows, p, dz, block, dz, block, False, thread)
    else:
        norm_apply_back(n, &n.h, own, rows, p, dz, block, n.h.values + p * GATES, block, False,
                        thread)
        norm_apply_back(n, &n.x, own, rows, p, dz, block, dz, block, False, thread)


cdef void steps_back(const Back *b, Py_ssize_t begin, Py_ssize_t end, int thread,
                     int size) noexcept nogil:
    """gates to dz, dh and dc to the step before, for steps end - 1 .. begin."""
    cdef const clstm_kernels *table = native_kernels()
    cdef Share own = share_of(b.row_groups, b.row_bounds, b.B, b.NU, thread, size)
    cdef Py_ssize_t HP = b.NU * GROUP, PP = up(b.P), s, u, row, row_end, p, n, k
    cdef Py_ssize_t first = PP // GROUP * own.part // own.unit_groups  # groups of columns of h
    cdef Py_ssize_t last = PP // GROUP * (own.part + 1) // own.unit_groups
    cdef float *dp
    cdef clstm_step_back step
    memset(&step, 0, sizeof(step))
    step.dh_row, step.dy_row, step.cell = HP, b.P, b.cell
    cdef clstm_gemm g
    memset(&g, 0, sizeof(g))
    g.blocks, g.depth = b.NU, GATES
    g.a_row, g.a_block, g.a_k = GATES, b.N * GATES, 1
    g.b, g.b_block, g.b_k = b.recurrent, GATES * GROUP, GROUP
    g.b_group = b.NU * GATES * GROUP
    g.c_row, g.c_group, g.width = PP, GROUP, GROUP
    g.start = ZEROS
    for s in range(end - 1, begin - 1, -1):
        row = min(own.row, b.counts[s])
        row_end = min(own.row_end, b.counts[s])
        p = b.offsets[s] + row
        step.rows, step.index = row_end - row, b.index + p
        if b.projected:
            dp = b.dp + (p - b.offsets[begin]) * PP
            outputs_back(&b.projection, &own, b.dh, b.dh_kept, b.dy, b.y, b.index + p, row, row_end,
                         dp)
            barrier_wait(&b.barriers[own.group], own.unit_groups)
            cells_back(&b.projection, &own, dp, row, row_end, b.dm)
        if b.norms != NULL and b.norms.cell.parts:
            output_back(b, &own, &step, s, row, thread)
        for u in range(own.unit, own.unit_end):
            place_step(b, &step, s, u, row)
            table.lstm_step_backward(&step)
            if b.norms != NULL and b.d_peephole != NULL:  # while the gates hold dz
                table.peephole_gradient(step.rows, step.gates, step.c_prev, step.c,
                                        b.d_peephole + u * GROUP, HP)
        if b.norms != NULL:
            gates_back(b, &own, step.rows, p, thread)
        barrier_wait(&b.barriers[own.group], own.unit_groups)
        g.rows = step.rows
        g.a = b.recurrent_gates + p * GATES
        g.c = b.dh + row * PP
        gemm_groups(&g, first, last, PP)
        if b.recurrent_mask != NULL:
            for n in range(row, row_end):
                for k in range(first * GROUP, last * GROUP):
                    b.dh[n * PP + k] *= b.recurrent_mask[n * PP + k]


cdef void backward_body(void *context, int thread, int size) noexcept nogil:
    cdef const Back *b = <const Back*>context
    cdef unsigned long mode = flush_subnormals()
    cdef Py_ssize_t k, begin, end
    if b.chunks[b.end] == b.S:
        pack_share(b.raw_recurrent, b.P, b.H, True, <float*>b.recurrent, thread, size)
        if b.dx != NULL:
            pack_share(b.raw_kernel, b.I, b.H, True, <float*>b.kernel, thread, size)
        barrier_wait(b.everybody, size)
    for k in range(b.end - 1, b.begin - 1, -1):
        begin, end = b.chunks[k], b.chunks[k + 1]
        steps_back(b, begin, end, thread, size)
        barrier_wait(b.everybody, size)
        weights_gradient(b, begin, end, thread, size)
        if b.dx != NULL:
            inputs_gradient(b.gates, b.NU, b.N, GATES, b.kernel, b.index, b.offsets[begin],
                            b.offsets[end], b.dx, b.I, thread, size)
        if b.d_peephole != NULL and b.norms == NULL:
            peephole_gradient(b, begin, end, thread, size)
        if b.projected:
            projection_gradient(&b.projection, b.m + b.offsets[begin] * b.NU * GROUP, b.dp,
                                b.offsets[end] - b.offsets[begin], b.d_projection,
                                b.d_projection_bias, thread, size)
            barrier_wait(b.everybody, size)  # before dp is that of the next chunk
    restore_mode(mode)


def backward(float[::1] kept, const float[:, ::1] x, const float[:, ::1] y, const float[:, ::1] h0,
             const float[:, ::1] kernel, const float[:, ::1] recurrent_kernel,
             const float[:, ::1] recurrent_mask, CellOptions cell, LayerNorms norms,
             OutputProjection projection, const float[:, ::1] dy,
             float[:, ::1] dh, float[:, ::1] dc, const Py_ssize_t[::1] counts,
             const Py_ssize_t[::1] offsets, const Py_ssize_t[::1] index,
             const Py_ssize_t[::1] chunks, const Py_ssize_t[::1] row_bounds, int threads,
             float[:, ::1] d_kernel, float[:, ::1] d_recurrent, float[::1] d_bias,
             float[:, ::1] dx, float[:, ::1] d_peephole, float[:, ::1] d_projection,
             float[::1] d_projection_bias):
    """Gradients of all steps from what `forward` kept; its gates are overwritten.

    dy (positions, P) or None; dh (B, P), dc (B, H) in packed order: gradients of the final state
    in, of the initial state out; chunks: the steps at which chunks begin, and S. d_kernel (I, 4H),
    d_recurrent (P, 4H), d_bias (4H), d_peephole (3, HP), d_projection (H, P) and d_projection_bias
    (P), or None, are added to; dx (positions, I) or None: the valid positions are written.
    """
    cdef Back b
    memset(&b, 0, sizeof(b))
    cdef Py_ssize_t HP, PP, row, k, last = chunks.shape[0] - 1
    cdef clstm_cell inner
    cdef float *room
    if kept is None:  # no position is valid
        return
    b.B, b.P, b.H, b.I = h0.shape[0], h0.shape[1], dc.shape[1], x.shape[1]
    b.N, b.S = index.shape[0], counts.shape[0]
    HP, PP = up(b.H), up(b.P)
    b.NU = HP // GROUP
    b.counts, b.offsets, b.index, b.chunks = &counts[0], &offsets[0], &index[0], &chunks[0]
    for k in range(last):
        b.most = max(b.most, offsets[chunks[k + 1]] - offsets[chunks[k]])
    b.row_groups, b.row_bounds = <int>(row_bounds.shape[0] - 1), &row_bounds[0]
    b.raw_kernel, b.raw_recurrent = &kernel[0, 0], &recurrent_kernel[0, 0]
    if recurrent_mask is not None:
        b.recurrent_mask = &recurrent_mask[0, 0]
    if cell is not None:
        b.cell = &cell.options
    cdef bint zoneout = cell is not None and cell.options.zoneout_h != NULL
    if d_peephole is not None:
        b.d_peephole = &d_peephole[0, 0]
    if dy is not None:
        b.dy = &dy[0, 0]
    if d_bias is not None:
        b.d_bias = &d_bias[0]
    if dx is not None:
        b.dx = &dx[0, 0]
    room = &kept[0]
    b.gates, b.cells = carve(&room, b.NU * b.N * GATES), carve(&room, b.NU * b.N * GROUP)
    b.recurrent_gates = b.gates
    if norms is not None:
        b.norms = &norms.norms
        if norms.norms.x.parts:
            b.recurrent_gates = norms.norms.h.values
    b.c0 = carve(&room, b.B * HP)
    if projection is not None:
        projection.transpose()
        b.projected, b.m = True, room
        set_projection(&b.projection, projection, cell)
        b.d_projection = &d_projection[0, 0]
        if d_projection_bias is not None:
            b.d_projection_bias = &d_projection_bias[0]
        if cell is not None:  # zoneout is that of the projected h
            inner = cell.options
            inner.zoneout_h = NULL
            b.cell = &inner
    b.x, b.y, b.h0 = &x[0, 0], &y[0, 0], &h0[0, 0]
    b.d_kernel, b.d_recurrent = &d_kernel[0, 0], &d_recurrent[0, 0]
    cdef Py_ssize_t tiles = (b.I + TILE - 1) // TILE + (b.P + TILE - 1) // TILE + 1
    cdef Py_ssize_t columns = max(b.I, b.P)
    cdef Py_ssize_t *in_tiles
    cdef double per_chunk = 16.0 * b.H * (b.I + b.P) * b.most
    cdef Py_ssize_t together = max(<Py_ssize_t>1, <Py_ssize_t>(BETWEEN_SIGNALS / per_chunk))
    cdef float *scratch = allocate(
        floats(row_bounds.shape[0], BARRIER) + floats(tiles, b.most, TILE)
        + floats(b.B, HP) + floats(b.B, PP)
        + (floats(b.B, HP) + floats(b.most, PP) if b.projected else 0)
        + (floats(b.B, PP) if zoneout else 0) + panels_size(b.P, b.H, True)
        + (panels_size(b.I, b.H, True) if b.dx else 0) + floats(2 * columns))
    try:
        with nogil:
            room = scratch
            b.barriers = <team_barrier*>carve(&room, row_bounds.shape[0] * BARRIER)
            memset(b.barriers, 0, row_bounds.shape[0] * sizeof(team_barrier))
            b.everybody = b.barriers + b.row_groups
            b.scratch = carve(&room, tiles * b.most * TILE)
            in_tiles = <Py_ssize_t*>carve(&room, 2 * columns)
            for k in range(columns):
                in_tiles[k] = k // TILE * b.most * TILE + k % TILE
            b.in_tiles = in_tiles
            b.dc, b.dh = carve(&room, b.B * HP), carve(&room, b.B * PP)
            if b.projected:
                b.dm, b.dp = carve(&room, b.B * HP), carve(&room, b.most * PP)
                memset(b.dp, 0, b.most * PP * sizeof(float))
            if zoneout:
                b.dh_kept = carve(&room, b.B * PP)
                memset(b.dh_kept, 0, b.B * PP * sizeof(float))
            b.recurrent = carve(&room, panels_size(b.P, b.H, True))
            if b.dx != NULL:
                b.kernel = carve(&room, panels_size(b.I, b.H, True))
            to_blocks(&dc[0, 0], b.dc, b.B, b.H)
            memset(b.dh, 0, b.B * PP * sizeof(float))
            for row in range(b.B):
                memcpy(b.dh + row * PP, &dh[row, 0], b.P * sizeof(float))
            b.end = last
            while b.end > 0:
                b.begin = max(<Py_ssize_t>0, b.end - together)
                run(backward_body, &b, threads)
                b.end = b.begin
                if b.end > 0:
                    with gil:
                        PyErr_CheckSignals()
            for row in range(b.B):
                if zoneout:
                    for k in range(b.P):
                        b.dh[row * PP + k] += b.dh_kept[
                            row * PP + k if b.projected
                            else (k // GROUP * b.B + row) * GROUP + k % GROUP]
                memcpy(&dh[row, 0], b.dh + row * PP, b.P * sizeof(float))
                from_blocks(b.dc + row * GROUP, b.B * GROUP, &dc[row, 0], b.H)
    finally:
        free(scratch)
