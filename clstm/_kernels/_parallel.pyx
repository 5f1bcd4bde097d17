"""Teams of threads: how many, and how they start."""

cdef extern from "team.h" nogil:
    int team_prepare()
    void team_run(team_body body, void *context, int size)

cdef extern from * nogil:
    """
    #ifdef _OPENMP
    #include <omp.h>
    #define OPENMP_VERSION _OPENMP
    #else
    #define OPENMP_VERSION 0
    #define omp_get_max_threads() 1
    #endif
    """
    int OPENMP_VERSION
    int omp_get_max_threads()

if team_prepare() != 0:
    raise MemoryError("no room to prepare for forks")

cdef int _threads = 1
cdef int _openmp_at_import = omp_get_max_threads()


cdef int team(Py_ssize_t work, Py_ssize_t grain) noexcept nogil:
    cdef Py_ssize_t size = min(<Py_ssize_t>_threads, work // grain)
    cdef int limit = omp_get_max_threads()
    if limit < _openmp_at_import:  # somebody (threadpoolctl) has lowered OpenMP's limit since
        size = min(size, <Py_ssize_t>limit)
    return <int>max(size, 1)


cdef void run(team_body body, void *context, int size) noexcept nogil:
    team_run(body, context, size)


def size(work: int, grain: int) -> int:
    """Threads that should share `work`: one for each `grain` of it, as many as there may be."""
    return team(work, grain)


def openmp() -> int:
    """The OpenMP version's date (201511 is 4.5), 0 if this build has none."""
    return OPENMP_VERSION


def get_threads() -> int:
    return _threads


def set_threads(int threads) -> None:
    global _threads
    _threads = threads
