from ._dispatch cimport clstm_cell
from ._norm cimport Norms
from ._panels cimport GROUP
from ._parallel cimport team_barrier
from ._projection cimport Projection

cdef struct Back:
    Py_ssize_t B, I, H, P, NU, N, S
    const Py_ssize_t *chunks  # the steps at which chunks begin, and S
    Py_ssize_t begin, end  # chunks of this call
    Py_ssize_t most  # packed rows of the largest chunk
    const Py_ssize_t *counts
    const Py_ssize_t *offsets
    const Py_ssize_t *index
    int row_groups
    const Py_ssize_t *row_bounds
    team_barrier *barriers
    team_barrier *everybody
    const float *raw_kernel  # (I, 4H), or NULL if dx is not needed
    const float *raw_recurrent  # (P, 4H)
    const float *recurrent  # [PP / 16][NU][4][16][16]: U transposed
    const float *recurrent_mask
    const clstm_cell *cell
    float *d_peephole  # (3, HP) or NULL
    const float *cells
    const float *c0
    float *gates
    const float *recurrent_gates  # what the gradients of h U are in: gates, if not normalised apart
    const Norms *norms  # NULL: none
    const float *dy
    float *dh  # (B, PP)
    float *dc  # [NU][B][16]
    float *dh_kept  # the same, with zoneout_h; (B, PP) with a projection too
    bint projected
    Projection projection
    const float *m  # (N, HP): what was projected
    float *dm  # (B, HP)
    float *dp  # (most, PP): gradients of m P + b of a chunk
    float *d_projection
    float *d_projection_bias
    # for the weights' gradients and dx
    const float *x
    const float *y
    const float *h0
    const float *kernel  # W transposed
    float *d_kernel
    float *d_recurrent
    float *d_bias
    float *dx
    float *scratch  # (tiles, most, TILE): x and h_{t-1} of a chunk, in tiles
    const Py_ssize_t *in_tiles  # column k of x or h_{t-1} is at in_tiles[k]


cdef inline const float *cells_before(const Back *b, Py_ssize_t u, Py_ssize_t s) noexcept nogil:
    """c_{t-1} of step s, unit block u: (rows, 16)"""
    if s == 0:
        return b.c0 + u * b.B * GROUP
    return b.cells + (u * b.N + b.offsets[s - 1]) * GROUP
