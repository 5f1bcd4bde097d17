"""Linear-chain conditional random fields: rows shared out to a team, each to one thread.

potentials (B, T, K, K), of which each row has lengths[row] steps; nothing past them is looked at.
"""

from libc.string cimport memset

from ._dispatch cimport clstm_kernels, kernels, real
from ._panels cimport floats
from ._rows cimport Rows, run_rows


cdef struct Batch:
    Rows rows
    Py_ssize_t T, K
    size_t itemsize
    const char *potentials
    const Py_ssize_t *lengths
    const Py_ssize_t *tags  # NULL: log Z
    char *d  # NULL: the best paths
    Py_ssize_t *found
    double *values


cdef void batch_body(void *context, int thread, int size) noexcept nogil:
    cdef const Batch *b = <const Batch*>context
    cdef const clstm_kernels *table = kernels(b.itemsize)
    cdef double *room = b.rows.scratch + thread * b.rows.room
    cdef Py_ssize_t row = b.rows.begin + thread, place
    cdef const Py_ssize_t *tags = b.tags
    while row < b.rows.end:
        place = row * b.T * b.K * b.K * <Py_ssize_t>b.itemsize
        if b.d == NULL:
            b.values[row] = table.crf_viterbi(
                b.lengths[row], b.K, b.potentials + place, b.found + row * b.T,
                <Py_ssize_t*>room, room + b.T * b.K)
        else:
            if b.tags != NULL:
                tags = b.tags + row * b.T
            b.values[row] = table.crf(b.lengths[row], b.K, b.potentials + place, tags,
                                      b.d + place, room)
        row += size


cdef void go(Batch *b, const real[:, :, :, ::1] potentials, const Py_ssize_t[::1] lengths,
             double[::1] values) except *:
    cdef Py_ssize_t B = potentials.shape[0], work
    b.T, b.K, b.itemsize = potentials.shape[1], potentials.shape[2], sizeof(real)
    work = b.T * b.K * b.K
    b.potentials, b.lengths = <const char*>&potentials[0, 0, 0, 0], &lengths[0]
    b.values = &values[0]
    run_rows(batch_body, &b.rows, B, work, floats(b.T + 3, b.K) + floats(b.K, b.K))


def loss(const real[:, :, :, ::1] potentials, const Py_ssize_t[:, ::1] tags,
         const Py_ssize_t[::1] lengths, double[::1] losses, real[:, :, :, ::1] d) -> None:
    """losses (B) of tags (B, T), or log Z if tags is None, and d losses / d potentials.

    A loss is infinite where the tags are impossible, NaN where a potential is NaN or infinity; d
    then has anything in that row. It is not written past the rows' lengths.
    """
    cdef Batch b
    memset(&b, 0, sizeof(b))
    if tags is not None:
        b.tags = &tags[0, 0]
    b.d = <char*>&d[0, 0, 0, 0]
    go(&b, potentials, lengths, losses)


def viterbi(const real[:, :, :, ::1] potentials, const Py_ssize_t[::1] lengths,
            Py_ssize_t[:, ::1] tags, double[::1] scores) -> None:
    """tags (B, T) of the best paths, not written past the rows' lengths, and their scores (B)."""
    cdef Batch b
    memset(&b, 0, sizeof(b))
    b.found = &tags[0, 0]
    go(&b, potentials, lengths, scores)
