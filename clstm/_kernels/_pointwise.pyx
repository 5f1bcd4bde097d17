"""Elementwise functions, losses and random masks on whole arrays, shared out to a team.

Every array is C-contiguous; `out` has the size of the input and may be the input.
"""

from ._dispatch cimport clstm_kernels, kernels, native_kernels, real, uint64_t
from ._parallel cimport run, team

cdef enum:
    BLOCK = 1 << 12  # elements: a thread's share is a multiple of it
    GRAIN = 1 << 15  # elements that make another thread worth waking
    LOSS_GRAIN = 1 << 13  # and where each takes two logarithms

cdef enum Function:
    EXP
    TANH
    SIGMOID
    DROPOUT


cdef struct Map:
    Function function
    Py_ssize_t n
    size_t itemsize
    const char *x
    char *out
    double rate
    uint64_t key


cdef void map_body(void *context, int thread, int size) noexcept nogil:
    cdef const Map *m = <const Map*>context
    cdef const clstm_kernels *table = kernels(m.itemsize)
    cdef Py_ssize_t blocks = (m.n + BLOCK - 1) // BLOCK
    cdef Py_ssize_t first = blocks * thread // size * BLOCK
    cdef Py_ssize_t n = min(blocks * (thread + 1) // size * BLOCK, m.n) - first
    cdef const char *x = m.x + first * <Py_ssize_t>m.itemsize
    cdef char *out = m.out + first * <Py_ssize_t>m.itemsize
    if n <= 0:
        return
    if m.function == EXP:
        table.exp(n, x, out)
    elif m.function == TANH:
        table.tanh(n, x, out)
    elif m.function == SIGMOID:
        table.sigmoid(n, x, out)
    else:
        table.dropout_mask(n, out, m.rate, m.key, <uint64_t>first)


cdef void map(Function function, const real[::1] x, real[::1] out, double rate=0,
              uint64_t key=0):
    cdef Map m
    if out.shape[0] == 0:
        return
    m.function, m.n, m.itemsize, m.rate, m.key = function, out.shape[0], sizeof(real), rate, key
    m.out = <char*>&out[0]
    m.x = m.out
    if x is not None:
        m.x = <const char*>&x[0]
    with nogil:
        run(map_body, &m, team(m.n, GRAIN))


def exp(const real[::1] x, real[::1] out):
    """out = e^x"""
    map[real](EXP, x, out)


def tanh(const real[::1] x, real[::1] out):
    """out = tanh(x)"""
    map[real](TANH, x, out)


def sigmoid(const real[::1] x, real[::1] out):
    """out = 1 / (1 + e^-x)"""
    map[real](SIGMOID, x, out)


def dropout_mask(real[::1] out, double rate, uint64_t key):
    """out = 0 with probability `rate`, else 1 / (1 - rate): the first elements of stream `key`."""
    map[real](DROPOUT, None, out, rate, key)


cdef struct Crossentropy:
    Py_ssize_t n
    size_t itemsize
    const char *t
    const char *p
    char *values
    char *d
    double smoothing, epsilon
    int wrong


cdef void crossentropy_body(void *context, int thread, int size) noexcept nogil:
    cdef Crossentropy *c = <Crossentropy*>context
    cdef Py_ssize_t first = c.n * thread // size
    cdef Py_ssize_t n = c.n * (thread + 1) // size - first
    cdef Py_ssize_t byte = first * <Py_ssize_t>c.itemsize
    if not kernels(c.itemsize).binary_crossentropy(n, c.t + byte, c.p + byte, c.values + byte,
                                                   c.d + byte, c.smoothing, c.epsilon):
        c.wrong = True  # all threads write the same


def binary_crossentropy(const real[::1] t, const real[::1] p, real[::1] values, real[::1] d,
                        double smoothing, double epsilon):
    """values, d = the losses of labels t and probabilities p, and d sum(values) / dp.

    Returns whether all labels are in 0 .. 1; with others, values and d mean nothing.
    """
    cdef Crossentropy c
    if p.shape[0] == 0:
        return True
    c.n, c.itemsize, c.smoothing, c.epsilon = p.shape[0], sizeof(real), smoothing, epsilon
    c.t, c.p, c.values, c.d = <char*>&t[0], <char*>&p[0], <char*>&values[0], <char*>&d[0]
    c.wrong = False
    with nogil:
        run(crossentropy_body, &c, team(c.n, LOSS_GRAIN))
    return not c.wrong


cdef struct Rows:
    Py_ssize_t rows, columns
    float *a


cdef void softmax_body(void *context, int thread, int size) noexcept nogil:
    cdef const Rows *q = <const Rows*>context
    cdef Py_ssize_t row
    for row in range(q.rows * thread // size, q.rows * (thread + 1) // size):
        native_kernels().softmax(1, q.columns, q.columns, &q.columns, 1, q.a + row * q.columns)


def softmax(float[:, ::1] a):
    """a = softmax of each of its rows; of the native backend."""
    cdef Rows q
    q.rows, q.columns = a.shape[0], a.shape[1]
    if q.rows and q.columns:
        q.a = &a[0, 0]
        with nogil:
            run(softmax_body, &q, team(q.rows * q.columns, GRAIN))


def add_column_sums(const real[:, ::1] a, real[::1] sums):
    """sums (columns,) += the sums of a (rows, columns) over its rows"""
    cdef Py_ssize_t rows = a.shape[0], columns = a.shape[1]
    if rows and columns:
        with nogil:
            kernels(sizeof(real)).column_sums(rows, columns, &a[0, 0], columns, &sums[0])
