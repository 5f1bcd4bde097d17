"""Optimizer steps: one pass over the flat parameter buffer, shared among threads.

All arrays are flat, of one size and one dtype; the slots and the parameters are changed in place.
The rules stand in csrc/kernels/optim.inc.
"""

from cython.parallel cimport prange

from ._dispatch cimport clstm_kernels, kernels, real
from ._parallel cimport team

cdef enum:
    BLOCK = 8192  # parameters: a thread's share is a multiple of it


cdef real *at(real[::1] slot, Py_ssize_t k) noexcept nogil:
    """Where element k of a slot is; NULL for a slot that is None."""
    return NULL if slot is None else &slot[k]


def sgd(real[::1] params, const real[::1] grads, double lr):
    cdef Py_ssize_t k, n = params.shape[0]
    cdef const clstm_kernels *table = kernels(sizeof(real))
    for k in prange(0, n, BLOCK, num_threads=team(n, 4 * BLOCK), schedule="static", nogil=True):
        table.sgd(min(<Py_ssize_t>BLOCK, n - k), &params[k], &grads[k], lr)


def momentum(real[::1] params, const real[::1] grads, real[::1] velocity, double lr,
             double momentum, bint nesterov):
    cdef Py_ssize_t k, n = params.shape[0]
    cdef const clstm_kernels *table = kernels(sizeof(real))
    for k in prange(0, n, BLOCK, num_threads=team(n, 4 * BLOCK), schedule="static", nogil=True):
        table.momentum(min(<Py_ssize_t>BLOCK, n - k), &params[k], &grads[k], &velocity[k], lr,
                       momentum, nesterov)


def rmsprop(real[::1] params, const real[::1] grads, real[::1] square, real[::1] mean,
            real[::1] velocity, double lr, double rho, double momentum, double epsilon):
    cdef Py_ssize_t k, n = params.shape[0]
    cdef const clstm_kernels *table = kernels(sizeof(real))
    for k in prange(0, n, BLOCK, num_threads=team(n, 4 * BLOCK), schedule="static", nogil=True):
        table.rmsprop(min(<Py_ssize_t>BLOCK, n - k), &params[k], &grads[k], &square[k],
                      at(mean, k), at(velocity, k), lr, rho, momentum, epsilon)


def adam(real[::1] params, const real[::1] grads, real[::1] m, real[::1] v, real[::1] largest,
         double alpha, double beta1, double beta2, double epsilon):
    cdef Py_ssize_t k, n = params.shape[0]
    cdef const clstm_kernels *table = kernels(sizeof(real))
    for k in prange(0, n, BLOCK, num_threads=team(n, 4 * BLOCK), schedule="static", nogil=True):
        table.adam(min(<Py_ssize_t>BLOCK, n - k), &params[k], &grads[k], &m[k], &v[k],
                   at(largest, k), alpha, beta1, beta2, epsilon)


def adagrad(real[::1] params, const real[::1] grads, real[::1] total, double lr, double epsilon):
    cdef Py_ssize_t k, n = params.shape[0]
    cdef const clstm_kernels *table = kernels(sizeof(real))
    for k in prange(0, n, BLOCK, num_threads=team(n, 4 * BLOCK), schedule="static", nogil=True):
        table.adagrad(min(<Py_ssize_t>BLOCK, n - k), &params[k], &grads[k], &total[k], lr, epsilon)


def scale(real[::1] params, double factor):
    cdef Py_ssize_t k, n = params.shape[0]
    cdef const clstm_kernels *table = kernels(sizeof(real))
    for k in prange(0, n, BLOCK, num_threads=team(n, 4 * BLOCK), schedule="static", nogil=True):
        table.scale(min(<Py_ssize_t>BLOCK, n - k), &params[k], factor)
