from ._native_backward cimport Back

cdef enum:
    TILE = 6  # rows of a weights' gradient that are packed together

# Of one chunk of steps begin .. end - 1, whose gates hold dz; shared out among a team:
# d_kernel += x' dz, d_recurrent += h' dz, d_bias += 1' dz
cdef void weights_gradient(const Back *b, Py_ssize_t begin, Py_ssize_t end, int thread,
                           int size) noexcept nogil
# d_peephole += c dz
cdef void peephole_gradient(const Back *b, Py_ssize_t begin, Py_ssize_t end, int thread,
                            int size) noexcept nogil
# dx = dz W'
cdef void inputs_gradient(const Back *b, Py_ssize_t begin, Py_ssize_t end, int thread,
                          int size) noexcept nogil
