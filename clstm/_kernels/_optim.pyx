"""Optimizer steps: one pass over the flat parameter buffer, shared out to a team.

All arrays are flat, of one size and one dtype; the slots and the parameters are changed in place.
The rules stand in csrc/kernels/optim.inc.
"""

from libc.string cimport memset

from ._dispatch cimport clstm_kernels, kernels, real
from ._parallel cimport run, team

cdef enum:
    BLOCK = 1 << 12  # parameters: a thread's share is a multiple of it
    GRAIN = 1 << 16  # parameters that make another thread worth waking

cdef enum Rule:
    SGD
    MOMENTUM
    RMSPROP
    ADAM
    ADAGRAD
    ADAMAX
    ADADELTA
    LION
    AVERAGE
    SCALE


cdef struct Step:
    Rule rule
    Py_ssize_t n
    size_t itemsize
    char *params
    char *grads
    char *slots[3]  # NULL for one that is not there
    double numbers[5]


cdef char *at(char *array, Py_ssize_t byte) noexcept nogil:
    return NULL if array == NULL else array + byte


cdef void step_body(void *context, int thread, int size) noexcept nogil:
    cdef Step *s = <Step*>context
    cdef const clstm_kernels *table = kernels(s.itemsize)
    cdef Py_ssize_t blocks = (s.n + BLOCK - 1) // BLOCK
    cdef Py_ssize_t first = blocks * thread // size * BLOCK
    cdef Py_ssize_t n = min(blocks * (thread + 1) // size * BLOCK, s.n) - first
    cdef Py_ssize_t byte = first * <Py_ssize_t>s.itemsize
    cdef char *p = s.params + byte
    cdef char *g = at(s.grads, byte)
    cdef char *a = at(s.slots[0], byte)
    cdef char *b = at(s.slots[1], byte)
    cdef char *c = at(s.slots[2], byte)
    cdef double *x = s.numbers
    if n <= 0:
        return
    if s.rule == SGD:
        table.sgd(n, p, g, x[0])
    elif s.rule == MOMENTUM:
        table.momentum(n, p, g, a, x[0], x[1], x[2] != 0)
    elif s.rule == RMSPROP:
        table.rmsprop(n, p, g, a, b, c, x[0], x[1], x[2], x[3])
    elif s.rule == ADAM:
        table.adam(n, p, g, a, b, c, x[0], x[1], x[2], x[3], x[4])
    elif s.rule == ADAGRAD:
        table.adagrad(n, p, g, a, x[0], x[1])
    elif s.rule == ADAMAX:
        table.adamax(n, p, g, a, b, x[0], x[1], x[2], x[3])
    elif s.rule == ADADELTA:
        table.adadelta(n, p, g, a, b, x[0], x[1], x[2])
    elif s.rule == LION:
        table.lion(n, p, g, a, x[0], x[1], x[2])
    elif s.rule == AVERAGE:
        table.average(n, p, g, x[0])
    else:
        table.scale(n, p, x[0])


cdef char *pointer(const real[::1] array) noexcept:
    return NULL if array is None else <char*>&array[0]


cdef void take(Rule rule, real[::1] params, const real[::1] grads, real[::1] a, real[::1] b,
               real[::1] c, double x0, double x1=0, double x2=0, double x3=0, double x4=0):
    """Run the step on the whole of the arrays."""
    cdef Step s
    if params.shape[0] == 0:
        return
    memset(&s, 0, sizeof(s))
    s.rule, s.n, s.itemsize = rule, params.shape[0], sizeof(real)
    s.params, s.grads = pointer[real](params), pointer[real](grads)
    s.slots[0], s.slots[1], s.slots[2] = pointer[real](a), pointer[real](b), pointer[real](c)
    s.numbers[0], s.numbers[1], s.numbers[2], s.numbers[3], s.numbers[4] = x0, x1, x2, x3, x4
    with nogil:
        run(step_body, &s, team(s.n, GRAIN))


def sgd(real[::1] params, const real[::1] grads, double lr):
    take[real](SGD, params, grads, None, None, None, lr)


def momentum(real[::1] params, const real[::1] grads, real[::1] velocity, double lr,
             double momentum, bint nesterov):
    take[real](MOMENTUM, params, grads, velocity, None, None, lr, momentum, nesterov)


def rmsprop(real[::1] params, const real[::1] grads, real[::1] square, real[::1] mean,
            real[::1] velocity, double lr, double rho, double momentum, double epsilon):
    take[real](RMSPROP, params, grads, square, mean, velocity, lr, rho, momentum, epsilon)


def adam(real[::1] params, const real[::1] grads, real[::1] m, real[::1] v, real[::1] largest,
         double alpha, double gamma, double beta1, double beta2, double epsilon):
    take[real](ADAM, params, grads, m, v, largest, alpha, gamma, beta1, beta2, epsilon)


def adagrad(real[::1] params, const real[::1] grads, real[::1] total, double lr, double epsilon):
    take[real](ADAGRAD, params, grads, total, None, None, lr, epsilon)


def adamax(real[::1] params, const real[::1] grads, real[::1] m, real[::1] u, double alpha,
           double beta1, double beta2, double epsilon):
    take[real](ADAMAX, params, grads, m, u, None, alpha, beta1, beta2, epsilon)


def adadelta(real[::1] params, const real[::1] grads, real[::1] square, real[::1] delta,
             double lr, double rho, double epsilon):
    take[real](ADADELTA, params, grads, square, delta, None, lr, rho, epsilon)


def lion(real[::1] params, const real[::1] grads, real[::1] m, double lr, double beta1,
         double beta2):
    take[real](LION, params, grads, m, None, None, lr, beta1, beta2)


def average(real[::1] mean, const real[::1] params, double share):
    take[real](AVERAGE, mean, params, None, None, None, share)


def scale(real[::1] params, double factor):
    take[real](SCALE, params, None, None, None, None, factor)
