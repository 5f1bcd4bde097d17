"""Elementwise functions, sums and random masks on whole arrays.

Every array is C-contiguous; `out` has the size of the input and may be the input.
"""

from cython.parallel cimport prange

from ._dispatch cimport clstm_kernels, kernels, real, uint64_t
from ._parallel cimport team

cdef enum:
    BLOCK = 4096  # elements: a thread's share is a multiple of it

ctypedef void (*elementwise)(Py_ssize_t n, const void *x, void *y) noexcept nogil


cdef void _map(elementwise function, const real *x, real *y, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t k
    for k in prange(0, n, BLOCK, num_threads=team(n, 4 * BLOCK), schedule="static"):
        function(min(<Py_ssize_t>BLOCK, n - k), x + k, y + k)


def exp(const real[::1] x, real[::1] out):
    """out = e^x"""
    with nogil:
        _map(kernels(sizeof(real)).exp, &x[0], &out[0], x.shape[0])


def tanh(const real[::1] x, real[::1] out):
    """out = tanh(x)"""
    with nogil:
        _map(kernels(sizeof(real)).tanh, &x[0], &out[0], x.shape[0])


def sigmoid(const real[::1] x, real[::1] out):
    """out = 1 / (1 + e^-x)"""
    with nogil:
        _map(kernels(sizeof(real)).sigmoid, &x[0], &out[0], x.shape[0])


def dropout_mask(real[::1] out, double rate, uint64_t key):
    """out = 0 with probability `rate`, else 1 / (1 - rate): the first elements of stream `key`."""
    cdef Py_ssize_t k, n = out.shape[0]
    cdef const clstm_kernels *table = kernels(sizeof(real))
    for k in prange(0, n, BLOCK, num_threads=team(n, 4 * BLOCK), schedule="static", nogil=True):
        table.dropout_mask(min(<Py_ssize_t>BLOCK, n - k), &out[k], rate, key, <uint64_t>k)
