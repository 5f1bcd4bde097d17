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
# dx = dz W' for packed rows begin .. end - 1; gates [NU][N][width], W' [I / 16][NU][width][16]
cdef void inputs_gradient(const float *gates, Py_ssize_t NU, Py_ssize_t N, Py_ssize_t width,
                          const float *kernel, const Py_ssize_t *index, Py_ssize_t begin,
                          Py_ssize_t end, float *dx, Py_ssize_t I, int thread,
                          int size) noexcept nogil
