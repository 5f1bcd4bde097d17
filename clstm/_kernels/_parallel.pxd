# How many threads should share `work` elements when one thread's share is worth `grain` of them?
cdef int team(Py_ssize_t work, Py_ssize_t grain) noexcept nogil
