from ._dispatch cimport clstm_gemm

cdef extern from *:
    """
    __attribute__((unused)) static const float clstm_zeros[64] = {0}, clstm_one[1] = {1};
    """
    const float *ZEROS "clstm_zeros"  # where the chains of four groups start
    const float *ONE "clstm_one"  # A of a sum over rows

cdef enum:
    GROUP = 16  # columns of a panel, units of a unit block
    GATES = 64  # reals of one row of a unit block: i f g o
    BARRIER = 32  # reals that a team_barrier takes
    BETWEEN_SIGNALS = 1000000000  # floating-point operations: some milliseconds

cdef struct Share:
    # what one thread works on
    int group, unit_groups, part  # part: which of the unit groups
    Py_ssize_t row, row_end, unit, unit_end


# The rows and unit blocks of one thread of a team of row_groups x unit_groups
cdef Share share_of(int row_groups, const Py_ssize_t *row_bounds, Py_ssize_t B, Py_ssize_t NU,
                    int thread, int size) noexcept nogil

cdef Py_ssize_t up(Py_ssize_t n) noexcept nogil
# a b c reals and on to the next line of the cache; MemoryError if they can't be counted
cdef Py_ssize_t floats(Py_ssize_t a, Py_ssize_t b=*, Py_ssize_t c=*) except -1 nogil
cdef Py_ssize_t panels_size(Py_ssize_t K, Py_ssize_t H, bint transposed) except -1 nogil
# One thread's share of packing a kernel w (K, 4H), with zeros where a unit or a row does not exist:
# to gate panels [NU][4][K][16] or, transposed, to [K / 16][NU][4][16][16]
cdef void pack_share(const float *w, Py_ssize_t K, Py_ssize_t H, bint transposed, float *panels,
                     int thread, int size) noexcept nogil

# C of a product whose B has the groups of columns first .. last - 1, four at a time; b, c and start
# are those of group 0, and C has `columns`
cdef void gemm_groups(const clstm_gemm *whole, Py_ssize_t first, Py_ssize_t last,
                      Py_ssize_t columns) noexcept nogil

# (B, H) to [NU][B][16], and one row back
cdef void to_blocks(const float *rows, float *blocks, Py_ssize_t B, Py_ssize_t H) noexcept nogil
cdef void from_blocks(const float *blocks, Py_ssize_t stride, float *row,
                      Py_ssize_t H) noexcept nogil

# Scratch: `size` floats on a line of the cache (freed by the caller), and parts of them
cdef float *allocate(Py_ssize_t size) except NULL
cdef float *carve(float **room, Py_ssize_t size) noexcept nogil
cdef aligned_array(Py_ssize_t size)
