"""The native LSTM's forward run: one team per call with the time loop inside.

Packed rows are those of clstm/_steps.py with one group: step s has counts[s] rows, packed rows
offsets[s] .. offsets[s+1] - 1; index[p] is the place of packed row p in x and y. Unit blocks,
NU, HP: see _panels.

    gates   [NU][N][64]     i f g o of 16 units each; dz after the backward run
    cells   [NU][N][16]     c_t of all steps, or [NU][B][16] of the current one
    h       [2][B][PP]      h_{t-1} and h_t, by turns; PP is HP without a projection
    m       [N][HP]         what is projected, or [B][HP]

A team is row_groups x unit_groups threads: a thread works on the rows of its row group and on the
unit blocks of its unit group. Threads of one row group wait for each other once per step, and once
more before a projection.
"""

from cpython.exc cimport PyErr_CheckSignals
from libc.stdlib cimport free
from libc.string cimport memcpy, memset

from ._cell cimport CellOptions
from ._dispatch cimport clstm_cell, clstm_gemm, clstm_kernels, clstm_step, native_kernels
from ._panels cimport (
    BARRIER,
    BETWEEN_SIGNALS,
    GATES,
    GROUP,
    ZEROS,
    Share,
    aligned_array,
    allocate,
    carve,
    floats,
    from_blocks,
    pack_share,
    panels_size,
    share_of,
    to_blocks,
    up,
)
from ._norm cimport LayerNorms, Norms, norm_apply, norm_sums
from ._parallel cimport barrier_wait, flush_subnormals, restore_mode, run, team_barrier
from ._projection cimport OutputProjection, project_outputs, set_projection

cdef enum:
    STRETCH = 1 << 18  # bytes of gates that a thread projects at a time: they stay in its L2
    TOGETHER = 3 << 18  # bytes of all weights of a thread that stay in its L2 from step to step
    TOGETHER_ROWS = 3  # fewer rows make slow tiles: then several steps are projected at a time


cdef void project(const Run *r, const Share *own, Py_ssize_t s, Py_ssize_t end) noexcept nogil:
    """gates = bias + x W for steps s .. end - 1 of a stretch."""
    cdef const clstm_kernels *table = native_kernels()
    cdef clstm_gemm g
    cdef Py_ssize_t first = s, t, u, row, row_end, p
    cdef bint together = r.row_groups == 1 and (r.keep or r.counts[end - 1] == r.B)
    memset(&g, 0, sizeof(g))
    g.groups, g.blocks, g.depth = 4, 1, r.I
    g.a, g.a_row, g.a_k = r.x, r.I, 1
    g.b_k, g.b_group = r.kernel.row, r.kernel.gate
    g.c_row, g.c_group, g.width, g.last = GATES, GROUP, GROUP, GROUP
    g.start_group = r.bias_gate
    while s < end:
        row = min(own.row, r.counts[s])
        row_end = min(own.row_end, r.counts[s])
        p = r.offsets[s] + row
        g.a_index = r.index + p
        g.rows = r.offsets[end] - p if together else row_end - row
        t = p if r.keep else (s - first) * r.B + row
        if g.rows > 0:
            for u in range(own.unit, own.unit_end):
                g.b = r.kernel.at + u * r.kernel.unit
                g.start = r.bias + u * r.bias_unit
                g.c = r.gates + (u * r.gates_rows + t) * GATES
                table.gemm(&g)
        if together:
            break
        s += 1


cdef void forward_body(void *context, int thread, int size) noexcept nogil:
    cdef unsigned long mode = flush_subnormals()
    steps_forward(<const Run*>context, thread, size)
    restore_mode(mode)


cdef void place_step(const Run *r, clstm_step *step, Py_ssize_t s, Py_ssize_t first, Py_ssize_t u,
                     Py_ssize_t row) noexcept nogil:
    """Unit block u of step s; `first` is that of the stretch."""
    cdef Py_ssize_t HP = r.NU * GROUP, p = r.offsets[s] + row
    step.panel = r.recurrent.at + u * r.recurrent.unit
    if r.together:
        step.x, step.x_index = r.x, r.index + p
        step.x_panel = r.kernel.at + u * r.kernel.unit
        step.bias = r.bias + u * r.bias_unit
    step.unit, step.units = u * GROUP, min(<Py_ssize_t>GROUP, r.H - u * GROUP)
    if r.m != NULL:
        step.h_next = r.m + (p if r.keep else row) * HP + u * GROUP
    else:
        step.h_next = r.h + ((~s & 1) * r.B + row) * HP + u * GROUP
        step.y = r.y + u * GROUP
        if r.h_kept != NULL:
            step.h_kept = r.h_kept + (u * r.B + row) * GROUP
        if r.recurrent_mask != NULL:
            step.mask = r.recurrent_mask + row * HP + u * GROUP
    if r.keep:
        step.gates = r.gates + (u * r.gates_rows + p) * GATES
        step.c = r.cells + (u * r.cells_rows + p) * GROUP
        if s == 0:
            step.c_prev = r.c0 + (u * r.B + row) * GROUP
        else:
            step.c_prev = r.cells + (u * r.cells_rows + r.offsets[s - 1] + row) * GROUP
    else:
        if not r.together:
            step.gates = r.gates + (u * r.gates_rows + (s - first) * r.B + row) * GATES
        step.c = r.cells + (u * r.cells_rows + row) * GROUP
        step.c_prev = step.c


cdef void normed_gates(const Run *r, const Share *own, const clstm_step *step, float *gates,
                       Py_ssize_t p, int thread) noexcept nogil:
    """gates, x W so far, to what enters the activations; p: of `norms`' rows."""
    cdef const Norms *n = r.norms
    cdef Py_ssize_t u, block = r.gates_rows * GATES
    cdef bint joint = n.x.parts > 0
    cdef float *a = n.h.values + p * GATES if joint else gates  # h U alone, or added to x W
    cdef Py_ssize_t a_block = n.rows * GATES if joint else block
    cdef clstm_gemm g
    memset(&g, 0, sizeof(g))
    g.rows, g.groups, g.blocks, g.depth = step.rows, 4, 1, r.P
    g.a, g.a_row, g.a_k = step.h, step.h_row, 1
    g.b_k, g.b_group = step.b_k, step.b_group
    g.c_row, g.c_group, g.width, g.last = GATES, GROUP, GROUP, GROUP
    g.start = ZEROS if joint else NULL
    for u in range(own.unit, own.unit_end):
        g.b, g.c = r.recurrent.at + u * r.recurrent.unit, a + u * a_block
        native_kernels().gemm(&g)
    norm_sums(n, &n.h, own, step.rows, a, a_block)
    if joint:
        norm_sums(n, &n.x, own, step.rows, gates, block)
    barrier_wait(&r.barriers[own.group], own.unit_groups)
    if joint:
        norm_apply(n, &n.x, own, step.rows, p, gates, block, gates, block, thread)
    norm_apply(n, &n.h, own, step.rows, p, a, a_block, gates, block, thread)


cdef void steps_forward(const Run *r, int thread, int size) noexcept nogil:
    cdef const clstm_kernels *table = native_kernels()
    cdef Share own = share_of(r.row_groups, r.row_bounds, r.B, r.NU, thread, size)
    cdef Py_ssize_t HP = r.NU * GROUP, PP = up(r.P), s = r.begin, first, end, u, k, row, row_end, p
    cdef Py_ssize_t q  # the first row's place among those of this step, or those kept
    cdef Py_ssize_t block
    cdef float *c_out
    cdef clstm_step step
    if r.raw_kernel != NULL and s == 0:
        pack_share(r.raw_kernel, r.I, r.H, False, <float*>r.kernel.at, thread, size)
        pack_share(r.raw_recurrent, r.P, r.H, False, <float*>r.recurrent.at, thread, size)
        barrier_wait(r.everybody, size)
    memset(&step, 0, sizeof(step))
    step.depth, step.h_row, step.next_row = r.P, PP, HP
    step.b_k, step.b_group = r.recurrent.row, r.recurrent.gate
    step.x_group, step.bias_group = r.kernel.gate, r.bias_gate
    step.y_row = r.P
    step.x_row, step.x_depth = r.I, r.I
    step.cell = r.cell
    while s < r.end:
        first = s
        end = min(s + r.stretch, r.end)
        if not r.together and r.x != NULL:
            project(r, &own, s, end)
        while s < end:
            row = min(own.row, r.counts[s])
            row_end = min(own.row_end, r.counts[s])
            p = r.offsets[s] + row
            q = p if r.keep else row
            step.rows = row_end - row
            step.y_index = r.index + p
            step.h = r.h + ((s & 1) * r.B + row) * PP
            if r.norms != NULL:
                normed_gates(r, &own, &step,
                             r.gates + (p if r.keep else (s - first) * r.B + row) * GATES, q,
                             thread)
                step.depth = 0  # the gates are there
            for k in range(own.unit_end - own.unit if step.rows > 0 else 0):
                # every second step goes backwards: the last panels are still in the cache
                u = own.unit_end - 1 - k if s & 1 else own.unit + k
                place_step(r, &step, s, first, u, row)
                table.lstm_step(&step)
            if r.norms != NULL and r.norms.cell.parts:
                u = r.cells_rows * GROUP
                norm_sums(r.norms, &r.norms.cell, &own, step.rows, r.cells + q * GROUP, u)
                barrier_wait(&r.barriers[own.group], own.unit_groups)
                if r.norms.carried:
                    c_out, block = r.cells + q * GROUP, u
                else:
                    c_out, block = r.norms.c_out + row * GROUP, r.B * GROUP
                norm_apply(r.norms, &r.norms.cell, &own, step.rows, q, r.cells + q * GROUP, u,
                           c_out, block, thread)
                for u in range(own.unit, own.unit_end):
                    place_step(r, &step, s, first, u, row)
                    table.lstm_output(&step, c_out + u * block)
            if r.m != NULL:
                barrier_wait(&r.barriers[own.group], own.unit_groups)
                project_outputs(&r.projection, &own, r.m + q * HP, row, row_end, r.index + p, r.y,
                                r.h + (~s & 1) * r.B * PP, r.recurrent_mask, r.h_kept)
            s += 1
            if s < r.end:  # after the last step the team's end is the barrier
                barrier_wait(&r.barriers[own.group], own.unit_groups)


cdef void set_panels(Run *r, const float *kernel, Py_ssize_t I, const float *recurrent,
                     Py_ssize_t P, const float *bias) noexcept nogil:
    """The weights of a run, packed."""
    r.kernel.at, r.kernel.unit = kernel, I * GATES
    r.recurrent.at, r.recurrent.unit = recurrent, P * GATES
    r.kernel.gate, r.recurrent.gate = I * GROUP, P * GROUP
    r.kernel.row = r.recurrent.row = GROUP
    r.bias, r.bias_unit, r.bias_gate = bias, GATES, GROUP


cdef void set_raw(Run *r, const float *kernel, const float *recurrent, Py_ssize_t H,
                  const float *bias) noexcept nogil:
    """The weights of a run as they are; H is a multiple of 16."""
    r.kernel.at, r.recurrent.at, r.bias = kernel, recurrent, bias
    r.kernel.unit = r.recurrent.unit = r.bias_unit = GROUP
    r.kernel.row = r.recurrent.row = 4 * H
    r.kernel.gate = r.recurrent.gate = r.bias_gate = H


def forward(const float[:, ::1] x, const float[:, ::1] kernel,
            const float[:, ::1] recurrent_kernel, const float[::1] bias, panels,
            float[:, ::1] h, float[:, ::1] c, const float[:, ::1] recurrent_mask,
            CellOptions cell, LayerNorms norms, OutputProjection projection, float[:, ::1] y,
            const Py_ssize_t[::1] counts, const Py_ssize_t[::1] offsets,
            const Py_ssize_t[::1] index, const Py_ssize_t[::1] row_bounds, int threads, bint keep):
    """Run all steps.

    x (positions, I); kernel (I, 4H), recurrent_kernel (P, 4H), bias (4H) or None; panels: those of
    a `PackedWeights`, or True to pack them here, or False to read them as they are, which takes an
    H that is a multiple of 16; h (B, P), c (B, H) in packed order: the initial state in, the final
    state out; recurrent_mask (B, PP) or None; cell: None for the plain one; norms: None without
    layer norm, with which there is one row group, and the bias is theirs; projection: None if P is
    H; y (positions, P): the valid positions are written. counts (S), offsets (S + 1), index (N);
    row_bounds: where the row groups begin.
    Returns gates, cells, c0 and m as above, one after the other, for `backward` if `keep`.
    """
    cdef Run r
    memset(&r, 0, sizeof(r))
    cdef Py_ssize_t HP, PP, s, row, last, chunk, n
    cdef clstm_cell inner
    cdef const float[::1] W, U, b
    cdef float *W_room
    cdef float *room
    cdef float *panel
    cdef float[::1] kept_floats
    r.B, r.I, r.P, r.H = h.shape[0], x.shape[1], h.shape[1], c.shape[1]
    r.N, r.S = index.shape[0], counts.shape[0]
    if r.N == 0:
        return None
    r.keep = keep
    HP, PP = up(r.H), up(r.P)
    r.NU = HP // GROUP
    r.counts, r.offsets, r.index = &counts[0], &offsets[0], &index[0]
    r.row_bounds, r.row_groups = &row_bounds[0], <int>(row_bounds.shape[0] - 1)
    r.x, r.y = &x[0, 0], &y[0, 0]
    if recurrent_mask is not None:
        r.recurrent_mask = &recurrent_mask[0, 0]
    if cell is not None:
        r.cell = &cell.options
    if norms is not None:
        r.norms = &norms.norms
    cdef bint zoneout = cell is not None and cell.options.zoneout_h != NULL
    cdef Py_ssize_t state = floats(r.B, HP), outputs = floats(r.B, PP), m = 0
    if projection is not None:
        m = floats(r.N if keep else r.B, HP)
        if cell is not None:  # zoneout is that of the projected h
            inner = cell.options
            inner.zoneout_h = NULL
            r.cell = &inner
    cdef Py_ssize_t units = (r.NU * r.row_groups + threads - 1) // threads  # of one thread
    r.together = (r.norms == NULL and r.B >= TOGETHER_ROWS * r.row_groups
                  and units * GATES * <Py_ssize_t>sizeof(float) * (r.I + r.P) <= TOGETHER)
    r.stretch = max(<Py_ssize_t>1, min(r.S, STRETCH // (r.B * units * 256)))
    r.gates_rows = r.N if keep else 0 if r.together else r.stretch * r.B
    r.cells_rows = r.N if keep else r.B
    kept = None
    if keep:
        kept = aligned_array(floats(r.NU, r.N, GATES) + floats(r.NU, r.N, GROUP) + state + m)
        kept_floats = kept
        room = &kept_floats[0]
        r.gates, r.cells = carve(&room, r.NU * r.N * GATES), carve(&room, r.NU * r.N * GROUP)
        r.c0 = carve(&room, r.B * HP)
        if m:
            r.m = room
    cdef bint here = panels is True
    cdef Py_ssize_t size = 2 * outputs + floats(row_bounds.shape[0], BARRIER) + floats(4, HP)
    if zoneout:
        size += outputs
    if not keep:
        size += state + floats(r.NU, r.gates_rows, GATES) + m
    if here:
        size += panels_size(r.I, r.H, False) + panels_size(r.P, r.H, False)
    cdef double per_step = 8.0 * r.H * (r.I + r.P) * r.N / r.S
    chunk = max(<Py_ssize_t>1, <Py_ssize_t>(BETWEEN_SIGNALS / per_step))
    cdef float *scratch = allocate(size)
    try:
        room = scratch
        r.barriers = <team_barrier*>carve(&room, row_bounds.shape[0] * BARRIER)
        memset(r.barriers, 0, row_bounds.shape[0] * sizeof(team_barrier))
        r.everybody = r.barriers + r.row_groups
        r.h = carve(&room, 2 * r.B * PP)
        if zoneout:
            r.h_kept = carve(&room, r.B * PP)
        if not keep:
            r.cells = carve(&room, r.B * HP)
            r.c0 = r.cells
            r.gates = carve(&room, r.NU * r.gates_rows * GATES)
            if m:
                r.m = carve(&room, r.B * HP)
        if m:
            set_projection(&r.projection, projection, cell)
        panel = carve(&room, 4 * HP)  # of the bias
        if bias is None:
            memset(panel, 0, 4 * HP * sizeof(float))
        if isinstance(panels, tuple):
            W, U, b = panels
            set_panels(&r, &W[0], r.I, &U[0], r.P, &b[0])
        elif here:
            r.raw_kernel, r.raw_recurrent = &kernel[0, 0], &recurrent_kernel[0, 0]
            if bias is not None:
                pack_share(&bias[0], 1, r.H, False, panel, 0, 1)
            W_room = carve(&room, panels_size(r.I, r.H, False))
            set_panels(&r, W_room, r.I, carve(&room, panels_size(r.P, r.H, False)), r.P, panel)
        else:
            set_raw(&r, &kernel[0, 0], &recurrent_kernel[0, 0], r.H,
                    panel if bias is None else <float*>&bias[0])
        with nogil:
            to_blocks(&c[0, 0], <float*>r.c0, r.B, r.H)
            memset(r.h, 0, 2 * r.B * PP * sizeof(float))
            for row in range(counts[0]):
                memcpy(r.h + row * PP, &h[row, 0], r.P * sizeof(float))
            if zoneout and m:
                memcpy(r.h_kept, r.h, r.B * PP * sizeof(float))
            elif zoneout:
                to_blocks(&h[0, 0], r.h_kept, r.B, r.H)
            if r.recurrent_mask != NULL:
                for n in range(counts[0] * PP):
                    r.h[n] *= r.recurrent_mask[n]
            while r.begin < r.S:
                r.end = min(r.S, r.begin + chunk)
                run(forward_body, &r, threads)
                r.begin = r.end
                if r.begin < r.S:
                    with gil:
                        PyErr_CheckSignals()
            # the final state of each row
            s = r.S
            for row in range(counts[0]):
                while counts[s - 1] <= row:
                    s -= 1
                last = offsets[s - 1] + row
                memcpy(&h[row, 0], &y[index[last], 0], r.P * sizeof(float))
                from_blocks(r.cells + (last if keep else row) * GROUP, r.cells_rows * GROUP,
                            &c[row, 0], r.H)
    finally:
        free(scratch)
    return kept
