"""Rows of a batch, each the work of one thread, with scratch and a look for signals in between."""

from cpython.exc cimport PyErr_CheckSignals
from libc.stdlib cimport free

from ._panels cimport allocate, floats
from ._parallel cimport run, team

cdef enum:
    GRAIN = 1 << 12  # work that makes another thread worth waking
    BETWEEN_SIGNALS = 1 << 20  # work of some milliseconds


cdef void run_rows(team_body body, Rows *rows, Py_ssize_t B, Py_ssize_t work,
                   Py_ssize_t room) except *:
    work = max(<Py_ssize_t>1, work)
    cdef int size = <int>min(<Py_ssize_t>team(B * work, GRAIN), B)
    cdef Py_ssize_t together = max(<Py_ssize_t>size, BETWEEN_SIGNALS // work)
    cdef float *scratch = allocate(floats(room, size, 2))
    rows.room, rows.scratch, rows.begin = room, <double*>scratch, 0
    try:
        with nogil:
            while rows.begin < B:
                rows.end = min(B, rows.begin + together)
                run(body, rows, size)
                rows.begin = rows.end
                if rows.begin < B:
                    with gil:
                        PyErr_CheckSignals()
    finally:
        free(scratch)
