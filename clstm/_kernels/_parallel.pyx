"""Teams of threads: how many, and how they start.

The teams are our own (team.h). OpenMP is linked here, where the compiler has it, for one number
alone: threadpoolctl finds libraries by their file names and sets the limits of those it knows, so a
`threadpool_limits` can only reach us through a runtime of its list.
"""

cdef extern from "Python.h":
    const Py_ssize_t PY_SSIZE_T_MAX

cdef extern from "team.h" nogil:
    int team_prepare()
    int team_cpus()
    void team_wait(team_barrier *barrier, int size)
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
cdef bint _chosen = False  # by the user; else this thread's affinity is a limit too
cdef int _openmp_at_import = omp_get_max_threads()


cdef int allowed() noexcept nogil:
    """Threads that a call from this thread may use."""
    cdef int size = _threads, limit = omp_get_max_threads()
    if limit != _openmp_at_import:  # somebody (threadpoolctl) has set OpenMP's limit since
        size = min(size, limit)
    if size > 1 and not _chosen:
        size = min(size, team_cpus())
    return max(size, 1)


cdef int team(Py_ssize_t work, Py_ssize_t grain) noexcept nogil:
    cdef Py_ssize_t size = work // grain
    return <int>min(size, <Py_ssize_t>allowed()) if size > 1 else 1


cdef void barrier_wait(team_barrier *barrier, int size) noexcept nogil:
    team_wait(barrier, size)


cdef void run(team_body body, void *context, int size) noexcept nogil:
    team_run(body, context, size)


def size(work: int, Py_ssize_t grain) -> int:
    """Threads that should share `work`: one for each `grain` of it, as many as there may be."""
    return team(min(work, PY_SSIZE_T_MAX), grain)


def openmp() -> int:
    """The OpenMP version's date (201511 is 4.5), 0 if this build has none."""
    return OPENMP_VERSION


def get_threads() -> int:
    return allowed()


def set_threads(int threads, bint chosen) -> None:
    global _threads, _chosen
    _threads, _chosen = threads, chosen
