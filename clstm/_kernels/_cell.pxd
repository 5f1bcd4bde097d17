from ._dispatch cimport clstm_cell


cdef class CellOptions:
    cdef clstm_cell options
    cdef tuple arrays  # whose memory it points to
