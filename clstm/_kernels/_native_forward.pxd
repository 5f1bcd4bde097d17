from ._dispatch cimport clstm_cell
from ._norm cimport Norms
from ._parallel cimport team_barrier
from ._projection cimport Projection

cdef struct Weights:
    # B operands: unit block u, gate v, row k of 16 units: at[u * unit + k * row + v * gate]
    const float *at
    Py_ssize_t unit, row, gate


cdef struct Run:
    Py_ssize_t B, I, H, P, NU, N, S, begin, end  # begin .. end: steps of this call
    const Py_ssize_t *counts
    const Py_ssize_t *offsets
    const Py_ssize_t *index
    int row_groups
    const Py_ssize_t *row_bounds  # (row_groups + 1)
    team_barrier *barriers  # (row_groups)
    team_barrier *everybody
    const float *x  # NULL: the gates hold bias + x W
    const float *raw_kernel  # the weights, if the first call is to pack them
    const float *raw_recurrent
    Weights kernel, recurrent
    const float *bias  # a row of `kernel`: unit block u at bias_unit * u
    Py_ssize_t bias_unit, bias_gate
    const float *recurrent_mask  # (B, PP) or NULL
    const clstm_cell *cell  # NULL: the plain one
    float *h_kept  # [NU][B][16], with zoneout_h; (B, PP) with a projection too
    const Norms *norms  # NULL: none
    Projection projection
    float *m  # (N or B, HP): what is projected
    const float *c0  # [NU][B][16]
    float *gates
    float *cells
    float *h
    float *y
    bint keep
    Py_ssize_t gates_rows, cells_rows  # rows of one unit block of them
    bint together  # each step projects its own x; else a stretch of steps is projected first
    Py_ssize_t stretch

cdef void forward_body(void *context, int thread, int size) noexcept nogil

# The weights of a run: in panels, or as they are, which takes an H that is a multiple of 16
cdef void set_panels(Run *r, const float *kernel, Py_ssize_t I, const float *recurrent,
                     Py_ssize_t P, const float *bias) noexcept nogil
cdef void set_raw(Run *r, const float *kernel, const float *recurrent, Py_ssize_t H,
                  const float *bias) noexcept nogil
