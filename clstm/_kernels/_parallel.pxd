cdef extern from "barrier.h" nogil:
    ctypedef struct team_barrier:
        pass

cdef extern from "fpmode.h" nogil:
    unsigned long flush_subnormals()
    void restore_mode(unsigned long mode)

# Wait until all `size` threads of a team have come here.
cdef void barrier_wait(team_barrier *barrier, int size) noexcept nogil

ctypedef void (*team_body)(void *context, int thread, int size) noexcept nogil

# How many threads should share `work` elements when one thread's share is worth `grain` of them?
cdef int team(Py_ssize_t work, Py_ssize_t grain) noexcept nogil

# body(context, thread, size) on `size` threads, or fewer if they are not to be had
cdef void run(team_body body, void *context, int size) noexcept nogil
