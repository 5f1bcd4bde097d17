"""The options of a cell, as the native kernels read them."""

from libc.string cimport memset

from ._dispatch cimport (
    CLSTM_CLAMPED,
    CLSTM_SIGMOID,
    CLSTM_SOFTSIGN,
    CLSTM_TANH,
    clstm_activation,
)

KINDS = {"tanh": CLSTM_TANH, "sigmoid": CLSTM_SIGMOID, "softsign": CLSTM_SOFTSIGN,
         "clamped": CLSTM_CLAMPED}


cdef class CellOptions:
    """activation, recurrent_activation, cell_activation: (kind, alpha, beta, least, most), the
    numbers of a "clamped" one; the clips: infinity is none; peephole (3, HP) or None;
    candidate_mask, zoneout_h, zoneout_c: (positions, H), (1, H) or None.
    """

    def __init__(self, tuple activation, tuple recurrent_activation, tuple cell_activation,
                 bint coupled, bint output_apart, float cell_clip, float preactivation_clip,
                 float gradient_clip, const float[:, ::1] peephole,
                 const float[:, ::1] candidate_mask, const float[:, ::1] zoneout_h,
                 const float[:, ::1] zoneout_c):
        cdef clstm_cell *o = &self.options
        memset(o, 0, sizeof(clstm_cell))
        o.activation = read(activation)
        o.recurrent_activation = read(recurrent_activation)
        o.cell_activation = read(cell_activation)
        o.coupled, o.output_apart, o.gradient_clip = coupled, output_apart, gradient_clip
        o.cell_clip, o.preactivation_clip = cell_clip, preactivation_clip
        self.arrays = (peephole, candidate_mask, zoneout_h, zoneout_c)
        if peephole is not None:
            o.peephole, o.peephole_gate = &peephole[0, 0], peephole.shape[1]
        if candidate_mask is not None and candidate_mask.shape[0]:
            o.candidate_mask, o.candidate_row = &candidate_mask[0, 0], row_of(candidate_mask)
        if zoneout_h is not None and zoneout_h.shape[0]:
            o.zoneout_h, o.zoneout_h_row = &zoneout_h[0, 0], row_of(zoneout_h)
        if zoneout_c is not None and zoneout_c.shape[0]:
            o.zoneout_c, o.zoneout_c_row = &zoneout_c[0, 0], row_of(zoneout_c)


cdef Py_ssize_t row_of(const float[:, ::1] a) noexcept:
    """One row serves all positions."""
    return 0 if a.shape[0] == 1 else a.shape[1]


cdef clstm_activation read(tuple activation) except *:
    cdef clstm_activation a
    kind, a.alpha, a.beta, a.least, a.most = activation
    a.kind = KINDS[kind]
    return a
