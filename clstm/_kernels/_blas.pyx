"""The one door to BLAS: SciPy's, through cython_blas.

Threaded GEMMs that run at the same time gave wrong numbers before OpenBLAS 0.3.33 (its issue
5836), so all work here is done inside `with exclusive:`, one call at a time in a process.
"""

import ctypes
import os
import threading

from scipy.linalg import cython_blas
from scipy.linalg.cython_blas cimport dgemm, sgemm

from ._parallel import get_threads

cdef enum:
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


def matmul(const real[:, ::1] a, const real[:, ::1] b, real[:, ::1] out,
           bint transpose_a=False, bint transpose_b=False, bint accumulate=False):
    """out = op(a) op(b), or out += with `accumulate`; op transposes where asked."""
    cdef Py_ssize_t M = out.shape[0], N = out.shape[1]
    cdef Py_ssize_t K = a.shape[0] if transpose_a else a.shape[1]
    check_sizes(a.shape[0], a.shape[1], b.shape[0], b.shape[1])
    if M == 0 or N == 0:
        return
    if K == 0:
        if not accumulate:
            out[:, :] = 0
        return
    with exclusive, nogil:
        gemm(transpose_a, transpose_b, M, N, K, &a[0, 0], a.shape[1], &b[0, 0], b.shape[1],
             <real>(1 if accumulate else 0), &out[0, 0], N)


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


class _Exclusive:
    """One BLAS user at a time, with no more BLAS threads than clstm may use."""

    def __init__(self):
        self._lock = threading.Lock()
        self._restore = 0

    def __enter__(self):
        self._lock.acquire()
        if _set_num_threads and _get_num_threads() > get_threads():
            self._restore = _get_num_threads()
            _set_num_threads(get_threads())

    def __exit__(self, *error):
        if self._restore:
            _set_num_threads(self._restore)
            self._restore = 0
        self._lock.release()

    def after_fork(self):
        self._lock = threading.Lock()  # a thread that held it does not exist in the child


exclusive = _Exclusive()
os.register_at_fork(after_in_child=exclusive.after_fork)
