"""The native RNN's and sLSTM's forward run: one team per call with the time loop inside.

Packed rows are those of _native_forward; heads, unit blocks, NU, HP, G: see _recurrent_panels.

    gates   [NU][N][16 G]   z, then what the step leaves there; dz after the backward run
    kept    [NU][N][48]     of the sLSTM: c, n and the slope of log f
    state   [NU][B][48]     c n m of the current step
    h       [2][B][HP]      h_{t-1} and h_t, by turns

A step is the recurrent product of a unit block, over the D units of its head, then its cell. Work
is shared out as in _native_forward, with one barrier per step.
"""

from cpython.exc cimport PyErr_CheckSignals
from libc.stdlib cimport free
from libc.string cimport memset

from ._dispatch cimport clstm_gemm, clstm_kernels, clstm_recurrent_step, native_kernels
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
)
from ._parallel cimport barrier_wait, flush_subnormals, restore_mode, run
from ._recurrent_panels cimport (
    STATE,
    Shape,
    Weights,
    block_of,
    group_of,
    pack_blocks,
    panels_of,
    set_barriers,
    set_shape,
    side_by_side,
    units_of,
)

cdef enum:
    STRETCH = 1 << 18  # bytes of gates that a thread projects at a time: they stay in its L2


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


cdef Py_ssize_t place(const Forward *r, Py_ssize_t s, Py_ssize_t first,
                      Py_ssize_t row) noexcept nogil:
    """Of a row's gates in step s; `first`: of the stretch. A row group keeps to its own rows."""
    return r.shape.offsets[s] + row if r.keep else (s - first) * r.shape.B + row


cdef void project(const Forward *r, const Share *own, Py_ssize_t first,
                  Py_ssize_t end) noexcept nogil:
    """gates = bias + x W for steps first .. end - 1 of a stretch."""
    cdef const Shape *o = &r.shape
    cdef Py_ssize_t s = first, row, p, q, u
    cdef bint together = o.row_groups == 1 and (r.keep or o.counts[end - 1] == o.B)
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
        q = place(r, s, first, row)
        if together:
            g.rows = o.offsets[end] - p
        g.a_index = o.index + p
        u = own.unit
        while u < own.unit_end and g.rows > 0:
            g.groups = max(o.G, side_by_side(o, u, own.unit_end))
            g.b = block_of(o, &r.kernel, u)
            g.start = r.bias + u * g.c_row
            g.c = r.gates + (u * r.gates_rows + q) * g.c_row
            native_kernels().gemm(&g)
            u += side_by_side(o, u, own.unit_end)
        if together:
            break
        s += 1


cdef void steps_forward(const Forward *r, int thread, int size) noexcept nogil:
    cdef const Shape *o = &r.shape
    cdef const clstm_kernels *table = native_kernels()
    cdef Share own = share_of(o.row_groups, o.row_bounds, o.B, o.NU, thread, size)
    cdef Py_ssize_t s = r.begin, first, end, u, last, row, p, q
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
        first = s
        project(r, &own, s, end)
        while s < end:
            row = min(own.row, o.counts[s])
            p, q = o.offsets[s] + row, place(r, s, first, row)
            step.rows = g.rows = min(own.row_end, o.counts[s]) - row
            step.y_index = o.index + p
            u = own.unit
            while u < own.unit_end and g.rows > 0:
                last = u + side_by_side(o, u, own.unit_end)
                g.groups = max(o.G, last - u)
                g.a = r.h + ((s & 1) * o.B + row) * o.HP + u // o.blocks * o.blocks * GROUP
                g.b = block_of(o, &r.recurrent, u)
                g.c = r.gates + (u * r.gates_rows + q) * g.c_row
                table.gemm(&g)
                while u < last:
                    step.units = units_of(o, u)
                    step.gates = r.gates + (u * r.gates_rows + q) * g.c_row
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
