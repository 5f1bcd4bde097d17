"""Connectionist temporal classification: rows shared out to a team, each to one thread.

logits (B, T, K), of which each row has lengths[row] steps; nothing past them is looked at.
"""

from ._dispatch cimport clstm_kernels, kernels, real
from ._panels cimport floats
from ._rows cimport Rows, run_rows


cdef struct Batch:
    Rows rows
    Py_ssize_t T, K, L, blank
    size_t itemsize
    const char *logits
    const Py_ssize_t *lengths
    const Py_ssize_t *labels  # NULL: decoding
    const Py_ssize_t *label_lengths
    double *losses
    char *d
    Py_ssize_t width, paths  # width 0: greedy
    Py_ssize_t *found
    Py_ssize_t *counts
    double *scores


cdef void batch_body(void *context, int thread, int size) noexcept nogil:
    cdef const Batch *b = <const Batch*>context
    cdef const clstm_kernels *table = kernels(b.itemsize)
    cdef double *room = b.rows.scratch + thread * b.rows.room
    cdef Py_ssize_t row = b.rows.begin + thread
    cdef Py_ssize_t place
    while row < b.rows.end:
        place = row * b.T * b.K * <Py_ssize_t>b.itemsize
        if b.labels != NULL:
            b.losses[row] = table.ctc(b.lengths[row], b.K, b.label_lengths[row], b.logits + place,
                                      b.labels + row * b.L, b.blank, b.d + place, room)
        elif b.width == 0:
            b.counts[row] = table.ctc_greedy(b.lengths[row], b.K, b.logits + place, b.blank,
                                             b.found + row * b.T, b.scores + row, room)
        else:
            b.counts[row] = table.ctc_beam(
                b.lengths[row], b.K, b.logits + place, b.blank, b.width, b.paths, b.T,
                b.found + row * b.paths * b.T, b.scores + row * b.paths, room)
        row += size


cdef void set_batch(Batch *b, const real[:, :, ::1] logits, const Py_ssize_t[::1] lengths,
                    Py_ssize_t blank):
    b.T, b.K, b.blank, b.itemsize = logits.shape[1], logits.shape[2], blank, sizeof(real)
    b.logits, b.lengths, b.labels = <const char*>&logits[0, 0, 0], &lengths[0], NULL


def loss(const real[:, :, ::1] logits, const Py_ssize_t[:, ::1] labels,
         const Py_ssize_t[::1] lengths, const Py_ssize_t[::1] label_lengths, Py_ssize_t blank,
         double[::1] losses, real[:, :, ::1] d_logits) -> None:
    """losses (B) and d losses / d logits of the labels (B, L), L >= 1, with label_lengths (B).

    A loss is infinite where no alignment is possible, NaN where a step has no softmax; d_logits
    then has anything in that row. It is not written past the rows' lengths.
    """
    cdef Batch b
    set_batch(&b, logits, lengths, blank)
    b.L, b.labels, b.label_lengths = labels.shape[1], &labels[0, 0], &label_lengths[0]
    b.losses, b.d = &losses[0], <char*>&d_logits[0, 0, 0]
    run_rows(batch_body, &b.rows, logits.shape[0], b.T * (2 * b.L + 1 + b.K // 8),
             floats(b.T + 4, 2 * b.L + 3) + floats(b.K, 2))


def decode(const real[:, :, ::1] logits, const Py_ssize_t[::1] lengths, Py_ssize_t blank,
           Py_ssize_t width, Py_ssize_t[:, :, ::1] labels, Py_ssize_t[::1] counts,
           double[:, ::1] scores) -> None:
    """labels (B, paths, T) and their log probabilities, by a beam of `width`, or 0: greedily.

    counts (B): how many paths were found; greedily: how many labels; -1 where a step has no
    softmax. labels and scores are not written past them, nor past the end of each path.
    """
    cdef Batch b
    set_batch(&b, logits, lengths, blank)
    b.width, b.paths, b.found = width, labels.shape[1], &labels[0, 0, 0]
    b.counts, b.scores = &counts[0], &scores[0, 0]
    run_rows(batch_body, &b.rows, logits.shape[0],
             b.T * max(<Py_ssize_t>1, width) * (b.K // 8 + 1),
             floats(b.T, width, 3) + floats(width + 1, 14) + floats(b.K, 3))
