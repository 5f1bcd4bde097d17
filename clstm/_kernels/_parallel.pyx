"""How many threads a kernel's team has."""

import os

cdef extern from *:
    """
    #ifdef _OPENMP
    #include <omp.h>
    static int openmp_version(void) { return _OPENMP; }
    #else
    static int openmp_version(void) { return 0; }
    static int omp_get_max_threads(void) { return 1; }
    #endif
    """
    int openmp_version() noexcept nogil
    int omp_get_max_threads() noexcept nogil

cdef int _threads = 1
cdef int _openmp_at_import = omp_get_max_threads()
cdef bint _forked = False


cdef int team(Py_ssize_t work, Py_ssize_t grain) noexcept nogil:
    cdef Py_ssize_t size = min(<Py_ssize_t>_threads, work // grain)
    cdef int limit = omp_get_max_threads()
    if limit < _openmp_at_import:  # somebody (threadpoolctl) has lowered OpenMP's limit since
        size = min(size, <Py_ssize_t>limit)
    if _forked:  # the parent's OpenMP threads do not exist here, and libgomp would wait for them
        size = 1
    return <int>max(size, 1)


def openmp() -> int:
    """The OpenMP version's date (201511 is 4.5), 0 if this build has none."""
    return openmp_version()


def get_threads() -> int:
    return _threads


def set_threads(int threads) -> None:
    global _threads
    _threads = threads


def _after_fork() -> None:
    global _forked
    _forked = True


os.register_at_fork(after_in_child=_after_fork)
