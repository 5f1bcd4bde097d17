"""Teams of threads: how many, and how they start."""

import os

cdef extern from "team.h" nogil:
    int openmp_version()
    int omp_get_max_threads()
    void team_run(team_body body, void *context, int size, int forked)

cdef int _threads = 1
cdef int _openmp_at_import = omp_get_max_threads()
cdef bint _forked = False


cdef int team(Py_ssize_t work, Py_ssize_t grain) noexcept nogil:
    cdef Py_ssize_t size = min(<Py_ssize_t>_threads, work // grain)
    cdef int limit = omp_get_max_threads()
    if limit < _openmp_at_import:  # somebody (threadpoolctl) has lowered OpenMP's limit since
        size = min(size, <Py_ssize_t>limit)
    return <int>max(size, 1)


cdef void run(team_body body, void *context, int size) noexcept nogil:
    team_run(body, context, size, _forked)


def size(work: int, grain: int) -> int:
    """Threads that should share `work`: one for each `grain` of it, as many as there may be."""
    return team(work, grain)


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
