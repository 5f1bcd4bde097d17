from ._dispatch cimport clstm_cell
from ._panels cimport Share


cdef enum:
    SUMS = 8  # reals of a row of sums or statistics


cdef struct Norm:
    # one normalisation: of what enters the gates, or of c
    int parts, joined  # 0 parts: there is none
    float *values  # [NU][rows][parts][16], mean 0 and variance 1
    float *statistics  # [rows][8]
    float *sums  # [NU][B][8]
    const float *gain  # [NU][parts][16]
    const float *shift  # the same, or NULL
    float *d_gain
    float *d_shift


cdef struct Norms:
    Py_ssize_t B, H, NU, rows  # rows: packed rows if they are kept, else B
    float epsilon
    Norm x, h, cell  # x W (joint only); h U, or the sums of the gates; c
    bint carried  # c itself becomes what it is normalised to
    float *c_out  # [NU][B][16]: normalised c with gain and shift
    float *d_out  # its gradient
    float *scratch  # [threads][B][8]


cdef class LayerNorms:
    cdef Norms norms
    cdef tuple arrays  # whose memory it points to
    cdef float *room(self, Py_ssize_t size) except NULL
    cdef int make(self, Norm *m, int parts, bint joined) except -1

# Sums of the own blocks of a (blocks a_block apart) for `rows` rows; after a barrier: z from a; p:
# the first row's place among those kept
cdef void norm_sums(const Norms *n, const Norm *m, const Share *own, Py_ssize_t rows, float *a,
                    Py_ssize_t a_block) noexcept nogil
cdef void norm_apply(const Norms *n, const Norm *m, const Share *own, Py_ssize_t rows,
                     Py_ssize_t p, float *a, Py_ssize_t a_block, float *z, Py_ssize_t z_block,
                     int thread) noexcept nogil

# z again, from the statistics (rows, 8) of a
cdef void norm_again(const Norms *n, const Norm *m, const Share *own, Py_ssize_t rows,
                     Py_ssize_t p, float *a, Py_ssize_t a_block, float *z, Py_ssize_t z_block,
                     const float *statistics) noexcept nogil

# Backwards: sums, and the gradients of gain and shift, from that of z; after a barrier: that of a,
# which is written or added to
cdef void norm_sums_back(const Norms *n, const Norm *m, const Share *own, Py_ssize_t rows,
                         Py_ssize_t p, float *dz, Py_ssize_t dz_block) noexcept nogil
cdef void norm_apply_back(const Norms *n, const Norm *m, const Share *own, Py_ssize_t rows,
                          Py_ssize_t p, float *dz, Py_ssize_t dz_block, float *da,
                          Py_ssize_t da_block, bint add, int thread) noexcept nogil
