cdef enum:
    GROUP = 16  # columns of a panel, units of a unit block
    GATES = 64  # reals of one row of a unit block: i f g o

cdef struct Share:
    # what one thread works on
    int group, unit_groups
    Py_ssize_t row, row_end, unit, unit_end

cdef Share share_of(int row_groups, const Py_ssize_t *row_bounds, Py_ssize_t B, Py_ssize_t NU,
                    int thread, int size) noexcept nogil
cdef Py_ssize_t up(Py_ssize_t n) noexcept nogil
cdef Py_ssize_t panels_size(Py_ssize_t K, Py_ssize_t H, bint transposed) noexcept nogil
cdef void pack_into(const float *w, Py_ssize_t K, Py_ssize_t H, bint transposed,
                    float *panels) noexcept nogil
cdef void to_blocks(const float *rows, float *blocks, Py_ssize_t B, Py_ssize_t H) noexcept nogil
cdef void from_blocks(const float *blocks, Py_ssize_t stride, float *row,
                      Py_ssize_t H) noexcept nogil
cdef float *allocate(Py_ssize_t size) except NULL
cdef float *carve(float **room, Py_ssize_t size) noexcept nogil
cdef aligned_array(Py_ssize_t size)
