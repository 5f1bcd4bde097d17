from ._cell cimport CellOptions
from ._panels cimport Share


cdef struct Projection:
    Py_ssize_t H, P, groups  # of 16 columns
    const float *panels  # [groups][H][16]
    const float *transposed  # [NU][P][16], for a backward run
    const float *bias  # (PP)
    float clip
    const float *zoneout  # shares of h_{t-1}, a row for each place of y, or NULL
    Py_ssize_t zoneout_row


cdef class OutputProjection:
    cdef Projection parts
    cdef readonly object projection
    cdef tuple arrays  # whose memory it points to
    cdef int transpose(self) except -1

cdef void set_projection(Projection *p, OutputProjection projection, CellOptions cell) noexcept

# y and h_next (B, PP) of rows row .. row_end - 1, from m (rows, HP); index: their places in y;
# mask, h_kept: (B, PP) or NULL
cdef void project_outputs(const Projection *p, const Share *own, const float *m, Py_ssize_t row,
                          Py_ssize_t row_end, const Py_ssize_t *index, float *y, float *h_next,
                          const float *mask, float *h_kept) noexcept nogil

# The gradient d (rows, PP) of m P + b, from dh, dh_kept (B, PP) and dy, y at the places `index`
cdef void outputs_back(const Projection *p, const Share *own, const float *dh, float *dh_kept,
                       const float *dy, const float *y, const Py_ssize_t *index, Py_ssize_t row,
                       Py_ssize_t row_end, float *d) noexcept nogil

# dm (B, HP) = d P', of the own units
cdef void cells_back(const Projection *p, const Share *own, const float *d, Py_ssize_t row,
                     Py_ssize_t row_end, float *dm) noexcept nogil

# d_projection (H, P) += m' d, d_bias (P) += 1' d, of n packed rows: m (n, HP), d (n, PP)
cdef void projection_gradient(const Projection *p, const float *m, const float *d, Py_ssize_t n,
                              float *d_projection, float *d_bias, int thread,
                              int size) noexcept nogil
