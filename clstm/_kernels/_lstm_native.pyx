"""The LSTM of the `native` backend: one team per call with the time loop inside.

A unit block is 16 units, of which the last one may have fewer; NU of them make H units, HP = 16 NU.
Packed rows are those of clstm/_steps.py with one group: step s has counts[s] rows, packed rows
offsets[s] .. offsets[s+1] - 1; index[p] is the place of packed row p in x and y.

    gates   [NU][N][64]     i f g o of 16 units each; dz after the backward run
    cells   [NU][N][16]     c_t of all steps, or [NU][B][16] of the current one
    h       [2][B][HP]      h_{t-1} and h_t, by turns

A team is row_groups x unit_groups threads: a thread works on the rows of its row group and on the
unit blocks of its unit group. Threads of one row group wait for each other once per step.
"""

from libc.stdlib cimport free
from libc.string cimport memcpy, memset

import numpy as np

from ._dispatch cimport clstm_gemm, clstm_kernels, clstm_step, kernels
from ._parallel cimport barrier_wait, run, team, team_barrier

cdef enum:
    GROUP = 16
    GATES = 64
    STRETCH = 1 << 18  # bytes of gates that a thread projects at a time: they stay in its L2
    CHUNK = 256  # packed rows that the weights' gradients take at a time
    TILE = 6  # rows of a weights' gradient that are packed together

cdef extern from "Python.h":
    int PyErr_CheckSignals() except -1

cdef extern from "stdlib.h":
    void *aligned_alloc(size_t alignment, size_t size)

cdef double BETWEEN_SIGNALS = 1e9  # floating-point operations: some milliseconds


cdef struct Weights:
    # B operands: unit block u, gate v, row k of 16 units: at[u * unit + k * row + v * gate]
    const float *at
    Py_ssize_t unit, row, gate


cdef struct Run:
    Py_ssize_t B, I, H, NU, N, S, begin, end  # begin .. end: steps of this call
    const Py_ssize_t *counts
    const Py_ssize_t *offsets
    const Py_ssize_t *index
    int row_groups
    const Py_ssize_t *row_bounds  # (row_groups + 1)
    team_barrier *barriers  # (row_groups)
    const float *x
    Weights kernel, recurrent
    const float *bias  # a row of `kernel`: unit block u at bias_unit * u
    Py_ssize_t bias_unit
    const float *recurrent_mask  # (B, HP) or NULL
    const float *c0  # [NU][B][16]
    float *gates
    float *cells
    float *h
    float *y
    bint keep
    Py_ssize_t gates_rows, cells_rows  # rows of one unit block of them
    Py_ssize_t stretch  # steps that are projected together


cdef struct Share:
    # what one thread works on
    int group, unit_groups
    Py_ssize_t row, row_end, unit, unit_end


cdef Share share_of(int row_groups, const Py_ssize_t *row_bounds, Py_ssize_t B, Py_ssize_t NU,
                    int thread, int size) noexcept nogil:
    cdef Share share
    cdef int part
    if size % row_groups != 0:  # the system gave fewer threads than were asked for
        row_groups = 1
    share.unit_groups = size // row_groups
    share.group = thread // share.unit_groups
    part = thread % share.unit_groups
    share.unit = NU * part // share.unit_groups
    share.unit_end = NU * (part + 1) // share.unit_groups
    share.row = row_bounds[share.group] if row_groups > 1 else 0
    share.row_end = row_bounds[share.group + 1] if row_groups > 1 else B
    return share


cdef void project(const Run *r, const Share *own, Py_ssize_t s, Py_ssize_t end) noexcept nogil:
    """gates = bias + x W for steps s .. end - 1 of a stretch."""
    cdef const clstm_kernels *table = kernels(sizeof(float))
    cdef clstm_gemm g
    cdef Py_ssize_t first = s, t, u, row, row_end, p
    cdef bint together = r.row_groups == 1 and (r.keep or r.counts[end - 1] == r.B)
    memset(&g, 0, sizeof(g))
    g.groups, g.blocks, g.depth = 4, 1, r.I
    g.a, g.a_row, g.a_k = r.x, r.I, 1
    g.b_k, g.b_group = r.kernel.row, r.kernel.gate
    g.c_row, g.c_group, g.width, g.last = GATES, GROUP, GROUP, GROUP
    g.start_group = r.kernel.gate
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
    cdef const Run *r = <const Run*>context
    cdef const clstm_kernels *table = kernels(sizeof(float))
    cdef Share own = share_of(r.row_groups, r.row_bounds, r.B, r.NU, thread, size)
    cdef Py_ssize_t HP = r.NU * GROUP, s = r.begin, first, end, u, k, row, row_end, p
    cdef clstm_step step
    memset(&step, 0, sizeof(step))
    step.depth, step.h_row = r.H, HP
    step.b_k, step.b_group = r.recurrent.row, r.recurrent.gate
    step.y_row = r.H
    while s < r.end:
        first = s
        end = min(s + r.stretch, r.end)
        project(r, &own, s, end)
        while s < end:
            row = min(own.row, r.counts[s])
            row_end = min(own.row_end, r.counts[s])
            p = r.offsets[s] + row
            step.rows = row_end - row
            step.y_index = r.index + p
            step.h = r.h + ((s & 1) * r.B + row) * HP
            for k in range(own.unit_end - own.unit if step.rows > 0 else 0):
                # every second step goes backwards: the last panels are still in the cache
                u = own.unit_end - 1 - k if s & 1 else own.unit + k
                step.panel = r.recurrent.at + u * r.recurrent.unit
                step.units = min(<Py_ssize_t>GROUP, r.H - u * GROUP)
                step.h_next = r.h + ((~s & 1) * r.B + row) * HP + u * GROUP
                step.y = r.y + u * GROUP
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
                    step.gates = r.gates + (u * r.gates_rows + (s - first) * r.B + row) * GATES
                    step.c = r.cells + (u * r.cells_rows + row) * GROUP
                    step.c_prev = step.c
                table.lstm_step(&step)
            barrier_wait(&r.barriers[own.group], own.unit_groups)
            s += 1


cdef struct Packing:
    Py_ssize_t K, H, NU
    const float *w  # (K, 4H)
    float *panels
    bint transposed


cdef void pack_body(void *context, int thread, int size) noexcept nogil:
    """w (K, 4H) to gate panels [NU][K][4][16] or, transposed, [K / 16][NU][4][16][16]."""
    cdef const Packing *q = <const Packing*>context
    cdef const clstm_kernels *table = kernels(sizeof(float))
    cdef Py_ssize_t blocks = (q.K + GROUP - 1) // GROUP if q.transposed else q.NU
    cdef Py_ssize_t first = blocks * thread // size, last = blocks * (thread + 1) // size, u, v
    for v in range(4):
        if not q.transposed:
            table.pack(q.K, q.H, q.w + v * q.H, 4 * q.H, 1, q.panels + v * GROUP, GATES,
                       q.K * GATES, first, last)
            continue
        for u in range(q.NU):
            table.pack(min(<Py_ssize_t>GROUP, q.H - u * GROUP), q.K, q.w + v * q.H + u * GROUP,
                       1, 4 * q.H, q.panels + (u * 4 + v) * GROUP * GROUP, GROUP,
                       q.NU * GATES * GROUP, first, last)


cdef Py_ssize_t panels_size(Py_ssize_t K, Py_ssize_t H, bint transposed) noexcept nogil:
    return (up(K) if transposed else K) * up(H) * 4


cdef void pack_into(const float *w, Py_ssize_t K, Py_ssize_t H, bint transposed,
                    float *panels) noexcept nogil:
    """A kernel (K, 4H) as panels, with zeros where a unit or a row does not exist."""
    cdef Packing q
    q.K, q.H, q.NU, q.w, q.panels, q.transposed = K, H, up(H) // GROUP, w, panels, transposed
    if transposed and H % GROUP:
        memset(panels, 0, panels_size(K, H, True) * sizeof(float))
    run(pack_body, &q, team(K * H * 4, 1 << 16))


def pack(const float[:, ::1] w):
    """A kernel (K, 4H) as panels (K * 4 HP,)."""
    panels = aligned_array(panels_size(w.shape[0], w.shape[1] // 4, False))
    cdef float[::1] out = panels
    with nogil:
        pack_into(&w[0, 0], w.shape[0], w.shape[1] // 4, False, &out[0])
    return panels


cdef Py_ssize_t up(Py_ssize_t n) noexcept nogil:
    """n rounded up to whole groups"""
    return (n + GROUP - 1) // GROUP * GROUP


cdef aligned_array(Py_ssize_t size):
    """`size` float32 that begin on a line of the cache."""
    raw = np.empty(size + GROUP, np.float32)
    cdef float[::1] view = raw
    cdef Py_ssize_t offset = (64 - <size_t>&view[0] % 64) % 64 // 4
    return raw[offset:offset + size]


cdef float *allocate(Py_ssize_t size) except NULL:
    """Room for `size` floats on a line of the cache; the caller frees it."""
    cdef void *p = aligned_alloc(64, up(size + 1) * sizeof(float))
    if p == NULL:
        raise MemoryError(f"no room for {size} floats")
    return <float*>p


cdef float *carve(float **room, Py_ssize_t size) noexcept nogil:
    """The next `size` floats of a room, and on to the next line of the cache."""
    cdef float *part = room[0]
    room[0] += up(size)
    return part


cdef void to_blocks(const float *rows, float *blocks, Py_ssize_t B, Py_ssize_t H) noexcept nogil:
    """(B, H) to [NU][B][16], with zeros where a unit does not exist"""
    cdef Py_ssize_t u, r, n
    for u in range(up(H) // GROUP):
        n = min(<Py_ssize_t>GROUP, H - u * GROUP)
        for r in range(B):
            memcpy(blocks, rows + r * H + u * GROUP, n * sizeof(float))
            memset(blocks + n, 0, (GROUP - n) * sizeof(float))
            blocks += GROUP


def forward(const float[:, ::1] x, const float[:, ::1] kernel,
            const float[:, ::1] recurrent_kernel, const float[::1] bias, panels,
            float[:, ::1] h, float[:, ::1] c, const float[:, ::1] recurrent_mask, float[:, ::1] y,
            const Py_ssize_t[::1] counts, const Py_ssize_t[::1] offsets,
            const Py_ssize_t[::1] index, const Py_ssize_t[::1] row_bounds, int threads, bint keep):
    """Run all steps.

    x (positions, I); kernel (I, 4H), recurrent_kernel (H, 4H), bias (4H) or None; panels: what
    `pack` gave for each of the three, or True to pack them here, or False to read them as they are,
    which takes an H that is a multiple of 16; h, c (B, H) in packed order: the initial state in,
    the final state out; recurrent_mask (B, HP) or None; y (positions, H): the valid positions are
    written. counts (S), offsets (S + 1), index (N); row_bounds: where the row groups begin.
    Returns (gates, cells, c0 in blocks) for `backward` if `keep`.
    """
    cdef Run r
    cdef Py_ssize_t HP, s, row, last, chunk, u, n
    cdef const float[::1] given
    cdef float *room
    cdef float *panel
    cdef float[::1] gates, cells, start
    r.B, r.I, r.H = h.shape[0], x.shape[1], h.shape[1]
    r.N, r.S = index.shape[0], counts.shape[0]
    if r.N == 0:
        return None
    r.keep = keep
    HP = up(r.H)
    r.NU = HP // GROUP
    r.counts, r.offsets, r.index = &counts[0], &offsets[0], &index[0]
    r.row_bounds, r.row_groups = &row_bounds[0], <int>(row_bounds.shape[0] - 1)
    r.x, r.y, r.recurrent_mask = &x[0, 0], &y[0, 0], NULL
    if recurrent_mask is not None:
        r.recurrent_mask = &recurrent_mask[0, 0]
    cdef Py_ssize_t units = (r.NU * r.row_groups + threads - 1) // threads  # of one thread
    r.stretch = max(<Py_ssize_t>1, min(r.S, STRETCH // (r.B * units * 256)))
    r.gates_rows = r.N if keep else r.stretch * r.B
    r.cells_rows = r.N if keep else r.B
    kept = None
    if keep:
        kept = (aligned_array(r.NU * r.N * GATES), aligned_array(r.NU * r.N * GROUP),
                aligned_array(r.NU * r.B * GROUP))
        gates, cells, start = kept
        r.gates, r.cells, r.c0 = &gates[0], &cells[0], &start[0]
    cdef bint here = panels is True
    cdef Py_ssize_t size = 2 * up(r.B * HP) + row_bounds.shape[0] * 32 + up(4 * HP)
    if not keep:
        size += up(r.B * HP) + up(r.NU * r.gates_rows * GATES)
    if here:
        size += up(panels_size(r.I, r.H, False)) + up(panels_size(r.H, r.H, False))
    cdef double per_step = 8.0 * r.H * (r.I + r.H) * r.N / r.S
    chunk = max(<Py_ssize_t>1, <Py_ssize_t>(BETWEEN_SIGNALS / per_step))
    cdef float *scratch = allocate(size)
    try:
        room = scratch
        r.barriers = <team_barrier*>carve(&room, row_bounds.shape[0] * 32)
        memset(r.barriers, 0, row_bounds.shape[0] * sizeof(team_barrier))
        r.h = carve(&room, 2 * r.B * HP)
        if not keep:
            r.cells = carve(&room, r.B * HP)
            r.c0 = r.cells
            r.gates = carve(&room, r.NU * r.gates_rows * GATES)
        panel = carve(&room, 4 * HP)  # of the bias
        r.bias, r.bias_unit = panel, GATES
        if here:
            with nogil:
                r.kernel.at = carve(&room, panels_size(r.I, r.H, False))
                pack_into(&kernel[0, 0], r.I, r.H, False, <float*>r.kernel.at)
                r.recurrent.at = carve(&room, panels_size(r.H, r.H, False))
                pack_into(&recurrent_kernel[0, 0], r.H, r.H, False, <float*>r.recurrent.at)
        elif panels is False:
            r.kernel.at, r.recurrent.at = &kernel[0, 0], &recurrent_kernel[0, 0]
            r.bias_unit = GROUP
        else:
            given = panels[0]
            r.kernel.at = &given[0]
            given = panels[1]
            r.recurrent.at = &given[0]
        if bias is None:
            memset(panel, 0, 4 * HP * sizeof(float))
        elif panels is False:
            r.bias = &bias[0]
        else:
            pack_into(&bias[0], 1, r.H, False, panel)
        if panels is False:
            r.kernel.unit = r.recurrent.unit = GROUP
            r.kernel.row = r.recurrent.row = 4 * r.H
            r.kernel.gate = r.recurrent.gate = r.H
        else:
            r.kernel.unit, r.recurrent.unit = r.I * GATES, r.H * GATES
            r.kernel.row = r.recurrent.row = GATES
            r.kernel.gate = r.recurrent.gate = GROUP
        with nogil:
            to_blocks(&c[0, 0], <float*>r.c0, r.B, r.H)
            memset(r.h, 0, 2 * r.B * HP * sizeof(float))
            for row in range(counts[0]):
                memcpy(r.h + row * HP, &h[row, 0], r.H * sizeof(float))
            if r.recurrent_mask != NULL:
                for n in range(counts[0] * HP):
                    r.h[n] *= r.recurrent_mask[n]
            r.begin = 0
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
                memcpy(&h[row, 0], &y[index[last], 0], r.H * sizeof(float))
                for u in range(r.NU):
                    memcpy(&c[row, u * GROUP],
                           r.cells + (u * r.cells_rows + (last if keep else row)) * GROUP,
                           min(<Py_ssize_t>GROUP, r.H - u * GROUP) * sizeof(float))
    finally:
        free(scratch)
    return kept


cdef struct Back:
    Py_ssize_t B, I, H, NU, N, S, begin, end
    const Py_ssize_t *counts
    const Py_ssize_t *offsets
    const Py_ssize_t *index
    int row_groups
    const Py_ssize_t *row_bounds
    team_barrier *barriers
    const float *recurrent  # [NU][NU][4][16][16]: U transposed
    const float *recurrent_mask
    const float *cells
    const float *c0
    float *gates
    const float *dy
    float *dh  # (B, HP)
    float *dc  # [NU][B][16]
    # for the weights' gradients and dx
    const float *x
    const float *y
    const float *h0
    const float *kernel  # W transposed
    float *d_kernel
    float *d_recurrent
    float *d_bias
    float *dx
    float *scratch  # (threads, scratch_size)
    Py_ssize_t scratch_size


cdef float[64] ZEROS
memset(ZEROS, 0, sizeof(ZEROS))
cdef float[1] ONE
ONE[0] = 1


cdef void backward_body(void *context, int thread, int size) noexcept nogil:
    """gates to dz, dh and dc to the step before, for steps end - 1 .. begin."""
    cdef const Back *b = <const Back*>context
    cdef const clstm_kernels *table = kernels(sizeof(float))
    cdef Share own = share_of(b.row_groups, b.row_bounds, b.B, b.NU, thread, size)
    cdef Py_ssize_t HP = b.NU * GROUP, s, u, row, row_end, rows, p, n, k
    cdef const float *c_prev
    cdef const float *dy
    cdef clstm_gemm g
    memset(&g, 0, sizeof(g))
    g.blocks, g.depth = b.NU, GATES
    g.a_row, g.a_block, g.a_k = GATES, b.N * GATES, 1
    g.b_block, g.b_k, g.b_group = GATES * GROUP, GROUP, b.NU * GATES * GROUP
    g.c_row, g.c_group, g.width, g.last = HP, GROUP, GROUP, GROUP
    g.start = &ZEROS[0]
    for s in range(b.end - 1, b.begin - 1, -1):
        row = min(own.row, b.counts[s])
        row_end = min(own.row_end, b.counts[s])
        rows = row_end - row
        p = b.offsets[s] + row
        for u in range(own.unit, own.unit_end):
            if s == 0:
                c_prev = b.c0 + (u * b.B + row) * GROUP
            else:
                c_prev = b.cells + (u * b.N + b.offsets[s - 1] + row) * GROUP
            dy = NULL
            if b.dy != NULL:
                dy = b.dy + u * GROUP
            table.lstm_step_backward(
                rows, b.gates + (u * b.N + p) * GATES, c_prev,
                b.cells + (u * b.N + p) * GROUP, b.dh + row * HP + u * GROUP, HP, dy,
                b.index + p, b.H, b.dc + (u * b.B + row) * GROUP,
                min(<Py_ssize_t>GROUP, b.H - u * GROUP))
        barrier_wait(&b.barriers[own.group], own.unit_groups)
        g.rows = rows
        g.a = b.gates + p * GATES
        u = own.unit
        while u < own.unit_end and rows > 0:
            g.groups = min(<Py_ssize_t>4, own.unit_end - u)
            g.b = b.recurrent + u * g.b_group
            g.c = b.dh + row * HP + u * GROUP
            table.gemm(&g)
            u += g.groups
        if b.recurrent_mask != NULL:
            for n in range(row, row_end):
                for k in range(own.unit * GROUP, own.unit_end * GROUP):
                    b.dh[n * HP + k] *= b.recurrent_mask[n * HP + k]


cdef void gather(const Back *b, bint recurrent, Py_ssize_t tile, Py_ssize_t p, Py_ssize_t end,
                 Py_ssize_t step, float *rows) noexcept nogil:
    """Columns 6 tile .. 6 tile + 5 of x, or of h_{t-1}, for packed rows p .. end - 1, side by side.

    step: the one that p belongs to.
    """
    cdef Py_ssize_t first = tile * TILE, width = b.H if recurrent else b.I, r
    cdef Py_ssize_t n = min(<Py_ssize_t>TILE, width - first), k, HP = b.NU * GROUP
    cdef const float *source
    while p < end:
        while p >= b.offsets[step + 1]:
            step += 1
        r = p - b.offsets[step]
        if not recurrent:
            source = b.x + b.index[p] * b.I
        elif step == 0:
            source = b.h0 + r * b.H
        else:
            source = b.y + b.index[b.offsets[step - 1] + r] * b.H
        for k in range(n):
            rows[k] = source[first + k]
        if recurrent and b.recurrent_mask != NULL:
            for k in range(n):
                rows[k] *= b.recurrent_mask[r * HP + first + k]
        rows += TILE
        p += 1


cdef void gradient_body(void *context, int thread, int size) noexcept nogil:
    """d_kernel += x' dz, d_recurrent += h' dz, d_bias += 1' dz, in chunks of packed rows.

    Each thread has rows of the gradients of its own, in tiles of 6.
    """
    cdef const Back *b = <const Back*>context
    cdef const clstm_kernels *table = kernels(sizeof(float))
    cdef Py_ssize_t x_tiles = (b.I + TILE - 1) // TILE, h_tiles = (b.H + TILE - 1) // TILE
    cdef Py_ssize_t tiles = x_tiles + h_tiles + (1 if b.d_bias != NULL else 0)
    cdef Py_ssize_t first = tiles * thread // size, last = tiles * (thread + 1) // size
    cdef Py_ssize_t p, end, u, t, step = 0
    cdef float *rows = b.scratch + thread * b.scratch_size
    cdef clstm_gemm g
    memset(&g, 0, sizeof(g))
    g.groups, g.blocks = 4, 1
    g.b_k, g.b_group = GATES, GROUP
    g.c_row, g.c_group = 4 * b.H, b.H
    p = b.begin
    while p < b.end:
        end = min(b.end, p + CHUNK)
        while p >= b.offsets[step + 1]:
            step += 1
        for t in range(first, min(last, x_tiles + h_tiles)):
            gather(b, t >= x_tiles, t - x_tiles if t >= x_tiles else t, p, end, step,
                   rows + (t - first) * CHUNK * TILE)
        g.depth = end - p
        for u in range(b.NU):
            g.b = b.gates + (u * b.N + p) * GATES
            g.width = g.last = min(<Py_ssize_t>GROUP, b.H - u * GROUP)
            for t in range(first, last):
                g.a, g.a_row, g.a_k = rows + (t - first) * CHUNK * TILE, 1, TILE
                if t < x_tiles:
                    g.rows = min(<Py_ssize_t>TILE, b.I - t * TILE)
                    g.c = b.d_kernel + t * TILE * 4 * b.H + u * GROUP
                elif t < x_tiles + h_tiles:
                    g.rows = min(<Py_ssize_t>TILE, b.H - (t - x_tiles) * TILE)
                    g.c = b.d_recurrent + (t - x_tiles) * TILE * 4 * b.H + u * GROUP
                else:
                    g.a, g.a_k, g.rows = &ONE[0], 0, 1
                    g.c = b.d_bias + u * GROUP
                table.gemm(&g)
        p = end


cdef void dx_body(void *context, int thread, int size) noexcept nogil:
    """dx = dz W' for the packed rows begin .. end - 1, shared out by rows."""
    cdef const Back *b = <const Back*>context
    cdef const clstm_kernels *table = kernels(sizeof(float))
    cdef Py_ssize_t blocks = (b.I + GROUP - 1) // GROUP, u = 0
    cdef Py_ssize_t p = b.begin + (b.end - b.begin) * thread // size
    cdef clstm_gemm g
    memset(&g, 0, sizeof(g))
    g.rows = b.begin + (b.end - b.begin) * (thread + 1) // size - p
    g.blocks, g.depth = b.NU, GATES
    g.a, g.a_row, g.a_block, g.a_k = b.gates + p * GATES, GATES, b.N * GATES, 1
    g.b_block, g.b_k, g.b_group = GATES * GROUP, GROUP, b.NU * GATES * GROUP
    g.c_index, g.c_row, g.c_group, g.width = b.index + p, b.I, GROUP, GROUP
    g.start = &ZEROS[0]
    while u < blocks and g.rows > 0:
        g.groups = min(<Py_ssize_t>4, blocks - u)
        g.last = min(<Py_ssize_t>GROUP, b.I - (u + g.groups - 1) * GROUP)
        g.b = b.kernel + u * g.b_group
        g.c = b.dx + u * GROUP
        table.gemm(&g)
        u += g.groups


def backward(kept, const float[:, ::1] x, const float[:, ::1] y, const float[:, ::1] h0,
             const float[:, ::1] kernel, const float[:, ::1] recurrent_kernel,
             const float[:, ::1] recurrent_mask, const float[:, ::1] dy, float[:, ::1] dh,
             float[:, ::1] dc, const Py_ssize_t[::1] counts, const Py_ssize_t[::1] offsets,
             const Py_ssize_t[::1] index, const Py_ssize_t[::1] row_bounds, int threads,
             float[:, ::1] d_kernel, float[:, ::1] d_recurrent, float[::1] d_bias,
             float[:, ::1] dx):
    """Gradients of all steps from what `forward` kept; its gates are overwritten.

    dy (positions, H) or None; dh, dc (B, H) in packed order: gradients of the final state in, of
    the initial state out; d_kernel (I, 4H), d_recurrent (H, 4H) and d_bias (4H) or None are added
    to; dx (positions, I) or None: the valid positions are written.
    """
    cdef Back b
    cdef Py_ssize_t HP, row, u, chunk
    cdef float *room
    cdef float[::1] gates, cells, c0
    if kept is None:  # no position is valid
        return
    gates, cells, c0 = kept
    b.B, b.H, b.I = h0.shape[0], h0.shape[1], x.shape[1]
    b.N, b.S = index.shape[0], counts.shape[0]
    HP = up(b.H)
    b.NU = HP // GROUP
    b.counts, b.offsets, b.index = &counts[0], &offsets[0], &index[0]
    b.row_groups, b.row_bounds = <int>(row_bounds.shape[0] - 1), &row_bounds[0]
    b.recurrent_mask = b.dy = b.kernel = NULL
    b.d_bias = b.dx = NULL
    if recurrent_mask is not None:
        b.recurrent_mask = &recurrent_mask[0, 0]
    if dy is not None:
        b.dy = &dy[0, 0]
    if d_bias is not None:
        b.d_bias = &d_bias[0]
    if dx is not None:
        b.dx = &dx[0, 0]
    b.gates, b.cells, b.c0 = &gates[0], &cells[0], &c0[0]
    b.x, b.y, b.h0 = &x[0, 0], &y[0, 0], &h0[0, 0]
    b.d_kernel, b.d_recurrent = &d_kernel[0, 0], &d_recurrent[0, 0]
    cdef Py_ssize_t tiles = (b.I + TILE - 1) // TILE + (b.H + TILE - 1) // TILE + 1
    b.scratch_size = (tiles + threads - 1) // threads * CHUNK * TILE
    cdef double per_row = 8.0 * b.H * (b.I + b.H)
    cdef float *scratch = allocate(
        row_bounds.shape[0] * 32 + up(threads * b.scratch_size) + 2 * up(b.B * HP)
        + up(panels_size(b.H, b.H, True)) + (up(panels_size(b.I, b.H, True)) if b.dx else 0))
    try:
        with nogil:
            room = scratch
            b.barriers = <team_barrier*>carve(&room, row_bounds.shape[0] * 32)
            memset(b.barriers, 0, row_bounds.shape[0] * sizeof(team_barrier))
            b.scratch = carve(&room, threads * b.scratch_size)
            b.dc, b.dh = carve(&room, b.B * HP), carve(&room, b.B * HP)
            b.recurrent = carve(&room, panels_size(b.H, b.H, True))
            pack_into(&recurrent_kernel[0, 0], b.H, b.H, True, <float*>b.recurrent)
            if b.dx != NULL:
                b.kernel = carve(&room, panels_size(b.I, b.H, True))
                pack_into(&kernel[0, 0], b.I, b.H, True, <float*>b.kernel)
            to_blocks(&dc[0, 0], b.dc, b.B, b.H)
            memset(b.dh, 0, b.B * HP * sizeof(float))
            for row in range(b.B):
                memcpy(b.dh + row * HP, &dh[row, 0], b.H * sizeof(float))
            chunk = max(<Py_ssize_t>1, <Py_ssize_t>(BETWEEN_SIGNALS / (per_row * b.N / b.S)))
            b.end = b.S
            while b.end > 0:
                b.begin = max(<Py_ssize_t>0, b.end - chunk)
                run(backward_body, &b, threads)
                b.end = b.begin
                if b.end > 0:
                    with gil:
                        PyErr_CheckSignals()
            for row in range(b.B):
                memcpy(&dh[row, 0], b.dh + row * HP, b.H * sizeof(float))
                for u in range(b.NU):
                    memcpy(&dc[row, u * GROUP], b.dc + (u * b.B + row) * GROUP,
                           min(<Py_ssize_t>GROUP, b.H - u * GROUP) * sizeof(float))
            chunk = max(<Py_ssize_t>1, <Py_ssize_t>(BETWEEN_SIGNALS / per_row) // CHUNK) * CHUNK
            b.begin = 0
            while b.begin < b.N:
                b.end = min(b.N, b.begin + chunk)
                run(gradient_body, &b, threads)
                if b.dx != NULL:
                    run(dx_body, &b, threads)
                b.begin = b.end
                if b.begin < b.N:
                    with gil:
                        PyErr_CheckSignals()
    finally:
        free(scratch)
