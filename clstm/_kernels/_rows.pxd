from ._parallel cimport team_body

# Rows begin .. end - 1 of a batch, and `room` doubles of scratch for each thread: the first field
# of what a body for `run_rows` is given. Thread t of n works on rows begin + t, begin + t + n ...
cdef struct Rows:
    Py_ssize_t begin, end, room
    double *scratch


# body on all B rows, some milliseconds of them at a time; work: additions of logarithms in a row
cdef void run_rows(team_body body, Rows *rows, Py_ssize_t B, Py_ssize_t work,
                   Py_ssize_t room) except *
