"""Elementwise functions and random masks on whole arrays, shared out to a team.

Every array is C-contiguous; `out` has the size of the input and may be the input.
"""

from ._dispatch cimport clstm_kernels, kernels, real, uint64_t
from ._parallel cimport run, team

cdef enum:
    BLOCK = 1 << 12  # elements: a thread's share is a multiple of it
    GRAIN = 1 << 15  # elements that make another thread worth waking

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
