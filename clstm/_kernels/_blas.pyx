"""The one door to BLAS: SciPy's, through cython_blas.

OpenBLAS's own threads beside a team of ours cost up to ten times the work, and threaded GEMMs that
run at the same time gave wrong numbers before OpenBLAS 0.3.33 (its issue 5836). So BLAS works here
on one thread, called by each thread of our team for a share of its own, inside `with exclusive:`;
where BLAS is not OpenBLAS it keeps its threads and our team is one thread.
"""

import ctypes
import os
import threading

from scipy.linalg import cython_blas
from scipy.linalg.cython_blas cimport dgemm, sgemm

from ._parallel cimport run, team

cdef enum:
    GRAIN = 1 << 20  # multiplications that make a second thread worth waking
    LARGEST = 2147483647  # cython_blas counts in 32-bit ints


cdef void gemm(bint transpose_a, bint transpose_b, Py_ssize_t M, Py_ssize_t N, Py_ssize_t K,
               const real *A, Py_ssize_t lda, const real *B, Py_ssize_t ldb,
               real beta, real *C, Py_ssize_t ldc) noexcept nogil:
    # BLAS is column-major: it sees the transposes, so C' = op(B)' op(A)'
    cdef char ta = b"T" if transpose_a else b"N", tb = b"T" if transpose_b else b"N"
    cdef int m = <int>M, n = <int>N, k = <int>K
    cdef int la = <int>max(lda, 1), lb = <int>max(ldb, 1), lc = <int>max(ldc, 1)
    cdef real one = 1
    if M == 0 or N == 0:
        return
    if real is float:
        sgemm(&tb, &ta, &n, &m, &k, &one, <float*>B, &lb, <float*>A, &la, &beta, C, &lc)
    else:
        dgemm(&tb, &ta, &n, &m, &k, &one, <double*>B, &lb, <double*>A, &la, &beta, C, &lc)


def check_sizes(*sizes: int) -> None:
    """Raise ValueError if a dimension is too large for BLAS's 32-bit integers."""
    if max(sizes) > LARGEST:
        raise ValueError(f"the blas backend takes dimensions up to {LARGEST}, got {max(sizes)}")


cdef struct Product:
    size_t itemsize
    bint transpose_a, transpose_b
    Py_ssize_t M, N, K, lda, ldb
    double beta
    const void *a
    const void *b
    void *out
    int shares


cdef void multiply_share(const Product *p, Py_ssize_t share, const real *a) noexcept nogil:
    """Rows or columns of the product, whichever there are more of: share `share` of p.shares."""
    cdef const real *b = <const real*>p.b
    cdef real *out = <real*>p.out
    cdef real beta = <real>p.beta
    cdef Py_ssize_t longest = max(p.M, p.N)
    cdef Py_ssize_t k = longest * share // p.shares, n = longest * (share + 1) // p.shares - k
    if p.M >= p.N:
        gemm(p.transpose_a, p.transpose_b, n, p.N, p.K, a + (k if p.transpose_a else k * p.lda),
             p.lda, b, p.ldb, beta, out + k * p.N, p.N)
    else:
        gemm(p.transpose_a, p.transpose_b, p.M, n, p.K, a, p.lda,
             b + (k * p.ldb if p.transpose_b else k), p.ldb, beta, out + k, p.N)


cdef void multiply_body(void *context, int thread, int size) noexcept nogil:
    cdef const Product *p = <const Product*>context
    cdef Py_ssize_t share
    # all shares even where the team is smaller: the shape of a GEMM decides its last bits
    for share in range(p.shares * thread // size, p.shares * (thread + 1) // size):
        if p.itemsize == sizeof(float):
            multiply_share(p, share, <const float*>p.a)
        else:
            multiply_share(p, share, <const double*>p.a)


def matmul(const real[:, ::1] a, const real[:, ::1] b, real[:, ::1] out,
           bint transpose_a=False, bint transpose_b=False, bint accumulate=False):
    """out = op(a) op(b), or out += with `accumulate`; op transposes where asked."""
    cdef Product p
    p.itemsize, p.transpose_a, p.transpose_b = sizeof(real), transpose_a, transpose_b
    p.M, p.N, p.K = out.shape[0], out.shape[1], a.shape[0] if transpose_a else a.shape[1]
    p.lda, p.ldb, p.beta = a.shape[1], b.shape[1], 1 if accumulate else 0
    check_sizes(p.M, p.N, p.K)
    if p.M == 0 or p.N == 0 or p.K == 0:
        if not accumulate:
            out[:, :] = 0
        return
    p.a, p.b, p.out = &a[0, 0], &b[0, 0], &out[0, 0]
    p.shares = threads(p.M * p.N * p.K)
    with exclusive, nogil:
        run(multiply_body, &p, p.shares)


def _symbol(name, restype, *argtypes):
    """A function of the OpenBLAS behind SciPy, None if SciPy is built on another BLAS."""
    library = ctypes.CDLL(cython_blas.__file__)
    for prefix in ("scipy_openblas_", "openblas_"):
        function = getattr(library, prefix + name, None)
        if function is not None:
            function.restype, function.argtypes = restype, argtypes
            return function
    return None


_get_config = _symbol("get_config", ctypes.c_char_p)
_get_num_threads = _symbol("get_num_threads", ctypes.c_int)
_set_num_threads = _symbol("set_num_threads", None, ctypes.c_int)


def description() -> str:
    """Which BLAS this is."""
    return _get_config().decode().strip() if _get_config else "BLAS of SciPy (not OpenBLAS)"


cdef bint _single = _set_num_threads is not None


cdef int threads(Py_ssize_t work) noexcept nogil:
    return team(work, GRAIN) if _single else 1


def groups(work: int) -> int:
    """Threads that should share a job of `work` multiplications."""
    return threads(work)


class _Exclusive:
    """One clstm call at a time in BLAS, and BLAS on one thread meanwhile."""

    def __init__(self):
        self._lock = threading.Lock()
        self._restore = 0

    def __enter__(self):
        self._lock.acquire()
        if _set_num_threads and _get_num_threads() > 1:
            self._restore = _get_num_threads()
            _set_num_threads(1)

    def __exit__(self, *error):
        if self._restore:
            _set_num_threads(self._restore)
            self._restore = 0
        self._lock.release()

    def after_fork(self):
        self._lock = threading.Lock()  # a thread that held it does not exist in the child


exclusive = _Exclusive()
os.register_at_fork(after_in_child=exclusive.after_fork)
