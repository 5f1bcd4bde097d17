"""The options of a cell, as the native kernels read them."""

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
    numbers of a "clamped" one; the clips: infinity is none; peephole (3, HP) or None.
    """

    def __init__(self, tuple activation, tuple recurrent_activation, tuple cell_activation,
                 bint coupled, float cell_clip, float preactivation_clip,
                 const float[:, ::1] peephole):
        self.options.activation = read(activation)
        self.options.recurrent_activation = read(recurrent_activation)
        self.options.cell_activation = read(cell_activation)
        self.options.coupled = coupled
        self.options.cell_clip = cell_clip
        self.options.preactivation_clip = preactivation_clip
        self.peephole = peephole
        if peephole is not None:
            self.peepholes = &peephole[0, 0]


cdef clstm_activation read(tuple activation) except *:
    cdef clstm_activation a
    kind, a.alpha, a.beta, a.least, a.most = activation
    a.kind = KINDS[kind]
    return a
