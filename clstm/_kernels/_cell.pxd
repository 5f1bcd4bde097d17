from ._dispatch cimport clstm_cell


cdef class CellOptions:
    cdef clstm_cell options
    cdef const float[:, ::1] peephole  # (3, HP) or None
    cdef const float *peepholes  # its memory, or NULL
