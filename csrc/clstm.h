/* The table of kernels: everything that C computes for clstm.

   A kernel works for one core: no threads, no allocation, no Python, no errors.
   Whoever calls it (Cython) has checked every size and shares the work out.

   `real` below is the table's own element type: float in the float32 tables, double in the
   float64 table; pointers are void so that callers are written once for both.
   H is the number of units; the gates of one (row, step) are 4H reals in the order i f g o.
   Unless a kernel says otherwise, its arrays do not overlap. */
#ifndef CLSTM_H
#define CLSTM_H

#include <float.h> /* FLT_MAX */
#include <math.h>  /* INFINITY */
#include <stddef.h>
#include <stdint.h>
#include <string.h> /* memcpy */

/* Panels: matrices laid out for the tile below in groups of 16 columns, zeros past the last: a line
   of the cache for each k. The gates of one row have those of the same 16 units side by side. */
enum { CLSTM_GROUP = 16, CLSTM_GATES = 64 };

/* C (rows, columns) = start + A (rows, blocks * depth) B, for up to 4 groups of columns.
   Every element is one chain of FMAs over k in increasing order, whatever the other sizes are. */
typedef struct clstm_gemm {
    ptrdiff_t rows, groups; /* groups: 1 .. 4 */
    ptrdiff_t blocks, depth; /* k runs over `depth` reals in each of `blocks` blocks */
    /* A[r][block][k] = a[(a_index ? a_index[r] : r) * a_row + block * a_block + k * a_k] */
    const float *a;
    const ptrdiff_t *a_index;
    ptrdiff_t a_row, a_block, a_k;
    /* B[block][k][group] = 16 reals at b[block * b_block + k * b_k + group * b_group] */
    const float *b;
    ptrdiff_t b_block, b_k, b_group;
    /* C[r][group] = 16 reals at c[(c_index ? c_index[r] : r) * c_row + group * c_group],
       `last` of them in the last group and `width` in the others */
    float *c;
    const ptrdiff_t *c_index;
    ptrdiff_t c_row, c_group, width, last;
    /* where the chains start: NULL: at C itself; else 16 reals at start[group * start_group],
       the same for all rows */
    const float *start;
    ptrdiff_t start_group;
} clstm_gemm;

/* An activation function whose slope can be told from its value: tanh, sigmoid, x / (1 + |x|), or
   alpha x + beta within least .. most, alpha >= 0. */
enum { CLSTM_TANH, CLSTM_SIGMOID, CLSTM_SOFTSIGN, CLSTM_CLAMPED };
typedef struct clstm_activation {
    int kind;
    float alpha, beta, least, most; /* of CLAMPED */
} clstm_activation;

/* The options of an LSTM cell; the equations are those of clstm/_cell.py.  Of unit u, at the place
   k of y: peephole of i at peephole[u], of f and o peephole_gate and 2 peephole_gate further;
   noise at candidate_mask[k * candidate_row + u] and so on.  NULL: none. */
typedef struct clstm_cell {
    clstm_activation activation, recurrent_activation, cell_activation;
    int coupled; /* i = 1 - f */
    int output_apart; /* h is not made by lstm_step, but by lstm_output, of another c */
    float cell_clip, preactivation_clip, gradient_clip; /* INFINITY: none */
    const float *peephole; /* zeros up to a whole unit block */
    ptrdiff_t peephole_gate;
    const float *candidate_mask, *zoneout_h, *zoneout_c;
    ptrdiff_t candidate_row, zoneout_h_row, zoneout_c_row; /* 0: the same at all places */
} clstm_cell;

/* One step of one unit block (16 units) of an LSTM, for some rows. */
typedef struct clstm_step {
    ptrdiff_t rows, depth; /* depth: the length of h */
    const float *h;        /* (rows, h_row): h_{t-1} */
    ptrdiff_t h_row;
    const float *panel; /* (depth, 16) for each gate: b_k reals a row, gates b_group apart */
    ptrdiff_t b_k, b_group;
    /* x_t W + bias is in `gates` already if x is NULL. Else: x_t at x[x_index[r] * x_row],
       x_depth reals; the kernel's panel, also b_k reals a row, gates x_group apart; the bias of
       gate v at bias[v * bias_group] */
    const float *x;
    const ptrdiff_t *x_index;
    ptrdiff_t x_row, x_depth;
    const float *x_panel, *bias;
    ptrdiff_t x_group, bias_group;
    float *gates;        /* (rows, 64) out: the activations i f g o; NULL beside x: not kept */
    const float *c_prev; /* (rows, 16) */
    float *c;            /* (rows, 16) out; may be c_prev */
    float *h_kept;       /* (rows, 16) in: h_{t-1}, not masked; out: h_t; with zoneout_h only */
    const float *mask;   /* (rows, next_row) factors of h on its way to the next step, or NULL */
    float *h_next;       /* (rows, next_row) out: h_t, masked */
    ptrdiff_t next_row;
    float *y;            /* out: h_t, at y[y_index[r] * y_row]; or NULL */
    const ptrdiff_t *y_index;
    ptrdiff_t y_row;
    ptrdiff_t units;        /* 1 .. 16 units that exist */
    const clstm_cell *cell; /* NULL: the plain cell */
    ptrdiff_t unit;         /* the first unit of the block */
} clstm_step;

/* The same, backwards. */
typedef struct clstm_step_back {
    ptrdiff_t rows;
    float *gates;        /* (rows, 64) in: the activations i f g o; out: dz */
    const float *c_prev, *c; /* (rows, 16) */
    const float *dh;     /* (rows, dh_row): from the next step */
    ptrdiff_t dh_row;
    const float *dy;     /* from the output, at dy[index[r] * dy_row]; or NULL */
    ptrdiff_t dy_row;
    float *dc;           /* (rows, 16) in: of c_t; out: of c_{t-1} */
    float *dh_kept;      /* (rows, 16) what zoneout_h adds to dh; in: of h_t; out: of h_{t-1} */
    const ptrdiff_t *index; /* the places of the rows in y */
    ptrdiff_t units;
    const clstm_cell *cell;
    ptrdiff_t unit;
} clstm_step_back;

/* Layer norm of one unit block, for some rows of `parts` times 16 reals. */
typedef struct clstm_norm {
    ptrdiff_t rows, units;   /* units: 1 .. 16 that exist */
    int parts, joined;       /* joined: one mean and variance for all parts */
    float *a;                /* what is normalised; backwards: its gradient, out */
    float *values;           /* a with mean 0 and variance 1 */
    float *z;                /* values gain + shift; backwards: its gradient, in */
    const float *gain, *shift; /* (parts, 16); shift NULL: z is added to */
    float *sums;             /* (rows, 8) of this block: two for each part, or the first two */
    const float *statistics; /* (rows, 8): mean, 1 / sqrt(variance + epsilon) */
    float *d_gain, *d_shift; /* (parts, 16) */
} clstm_norm;

/* One step of one unit block of a simple RNN or an sLSTM, whose products are in `gates`; the
   equations are those of clstm/_reference_recurrent.py. */
enum { CLSTM_STATE = 48 }; /* reals of one row of an sLSTM's block: c n m, or c n d log f / dz_f */
typedef struct clstm_recurrent_step {
    ptrdiff_t rows, units; /* 1 .. 16 units that exist */
    float *gates;      /* RNN (rows, 16) in: z; out: h.  sLSTM (rows, 64) in: z; out: i' f' g o */
    float *state;      /* sLSTM (rows, 48) in and out: c n m */
    float *kept;       /* sLSTM (rows, 48) out: c n and d log f / dz_f; or NULL */
    const float *mask; /* (rows, h_row) factors of h on its way to the next step, or NULL */
    float *h_next;     /* (rows, h_row) out: h_t, masked */
    ptrdiff_t h_row;
    float *y;          /* out: h_t, at y[y_index[r] * y_row] */
    const ptrdiff_t *y_index;
    ptrdiff_t y_row;
    const clstm_activation *activation; /* of the RNN */
    int exponential;                    /* the sLSTM's f is e^z_f, not sigmoid(z_f) */
} clstm_recurrent_step;

/* The same, backwards. */
typedef struct clstm_recurrent_step_back {
    ptrdiff_t rows, units;
    float *gates;        /* in: what the step left there; out: dz, 0 for units that do not exist */
    const float *before; /* sLSTM (rows, 48): c n of step t - 1 */
    const float *kept;   /* sLSTM (rows, 48): what the step kept */
    float *d_state;      /* sLSTM (rows, 32) in: dc dn of step t; out: of t - 1 */
    const float *dh;     /* (rows, dh_row): from the next step */
    ptrdiff_t dh_row;
    const float *dy;     /* from the output, at dy[dy_index[r] * dy_row]; or NULL */
    const ptrdiff_t *dy_index;
    ptrdiff_t dy_row;
    const clstm_activation *activation;
} clstm_recurrent_step_back;

typedef struct clstm_kernels {
    const char *isa; /* "avx512", "avx2", "neon", "scalar" or "double" */
    int lanes;       /* reals per vector register */

    /* --- elementwise functions: y[k] = f(x[k]), k < n; y may be x ------------------------- */
    void (*exp)(ptrdiff_t n, const void *x, void *y);
    void (*tanh)(ptrdiff_t n, const void *x, void *y);
    void (*sigmoid)(ptrdiff_t n, const void *x, void *y);

    /* --- losses: labels t, probabilities p, values and d = d sum(values) / dp, n each ---------
       p is clipped to epsilon .. 1 - epsilon, d is 0 where it was; labels are drawn to the middle
       by `smoothing`; the logarithms are the C library's. Returns whether all t are in 0 .. 1;
       NaN is let through. */
    int (*binary_crossentropy)(ptrdiff_t n, const void *t, const void *p, void *values, void *d,
                               double smoothing, double epsilon);

    /* --- the LSTM cell, one row of one step ------------------------------------------------
       gates (4H)  in: x W + h_prev U, without the bias; out: the activations i f g o
       bias  (4H)  or NULL
       c_prev (H), c (H) out; c may be c_prev.   h (H) out */
    void (*cell_forward)(ptrdiff_t H, void *gates, const void *bias, const void *c_prev, void *c,
                         void *h);

    /* gates (4H)  in: the activations; out: dz, the gradient of the gates' pre-activations
       c_prev (H), c (H)
       dh (H)      gradient that reaches h from the next step
       dy (H)      or NULL: gradient that reaches h from the output
       dc (H)      in: gradient that reaches c from the next step; out: the same for c_prev */
    void (*cell_backward)(ptrdiff_t H, void *gates, const void *c_prev, const void *c,
                          const void *dh, const void *dy, void *dc);

    /* --- the native LSTM, RNN, sLSTM; NULL where this instruction set is not fast at them ----- */
    void (*gemm)(const clstm_gemm *g);
    void (*lstm_step)(const clstm_step *s);
    void (*lstm_step_backward)(const clstm_step_back *s);
    /* With output_apart, h_next and y of lstm_step, of the c given; and backwards, dc (rows, 16) of
       that c, out, and dz of o in `gates`, before lstm_step_backward. */
    void (*lstm_output)(const clstm_step *s, const float *c);
    void (*lstm_output_backward)(const clstm_step_back *s, const float *c, float *dc);
    /* layer norm: see norm.inc; H units in all, whose blocks' sums are sums_block apart */
    void (*norm_sums)(const clstm_norm *n);
    void (*norm_statistics)(const clstm_norm *n, ptrdiff_t H, ptrdiff_t sums_block, float epsilon,
                            float *statistics);
    void (*norm_apply)(const clstm_norm *n);
    void (*norm_sums_back)(const clstm_norm *n);
    void (*norm_means_back)(const clstm_norm *n, ptrdiff_t H, ptrdiff_t sums_block, float *means);
    void (*norm_apply_back)(const clstm_norm *n, const float *means, int add);
    void (*rnn_step)(const clstm_recurrent_step *s);
    void (*rnn_step_backward)(const clstm_recurrent_step_back *s);
    void (*slstm_step)(const clstm_recurrent_step *s);
    void (*slstm_step_backward)(const clstm_recurrent_step_back *s);
    /* sums (3, 16) += the gradients of the peepholes of one unit block, from dz (rows, 64) and
       c_prev, c (rows, 16): one chain over the rows; sums_row reals from gate to gate */
    void (*peephole_gradient)(ptrdiff_t rows, const float *dz, const float *c_prev, const float *c,
                              float *sums, ptrdiff_t sums_row);
    /* B (K, N), element (k, n) at b[k * b_k + n * b_n], b_k or b_n 1, into panels: 16 columns of row k at
       panels[(n / 16) * p_group + k * p_k]; for the groups first .. last - 1 */
    void (*pack)(ptrdiff_t K, ptrdiff_t N, const float *b, ptrdiff_t b_k, ptrdiff_t b_n,
                 float *panels, ptrdiff_t p_k, ptrdiff_t p_group, ptrdiff_t first, ptrdiff_t last);

    /* --- minLSTM, one row of one step; NULL as those above --------------------------------------
       z, dz (3 gates): the gates i f g, `units` each, `gate` reals apart; z without the bias
       bias     as z, or NULL
       h_prev (units), h (units) out */
    void (*minlstm_step)(ptrdiff_t units, ptrdiff_t gate, const float *z, const float *bias,
                         const float *h_prev, float *h);
    /* dy (units)  or NULL: gradient that reaches h from the output
       dh (units)  in: gradient that reaches h from the next step; out: the same for h_prev
       dz          out: the gradient of z */
    void (*minlstm_step_backward)(ptrdiff_t units, ptrdiff_t gate, const float *z,
                                  const float *bias, const float *h_prev, const float *dy,
                                  float *dh, float *dz);

    /* --- connectionist temporal classification, one row, in float64 inside ----------------------
       Returns the loss of labels (L), none of them `blank` and all below K, under logits (T, K);
       NaN where they have a step without a softmax, infinity if no alignment is possible, and
       d_logits (T, K) is then anything.
       room: (T + 4) (2L + 3) + 2K doubles */
    double (*ctc)(ptrdiff_t T, ptrdiff_t K, ptrdiff_t L, const void *logits,
                  const ptrdiff_t *labels, ptrdiff_t blank, void *d_logits, double *room);
    /* labels (T) out, up to the number that is returned: those of the best alignment, whose log
       probability is *score; -1 is returned where a step has no softmax.  room: 2K doubles */
    ptrdiff_t (*ctc_greedy)(ptrdiff_t T, ptrdiff_t K, const void *logits, ptrdiff_t blank,
                            ptrdiff_t *labels, double *score, double *room);
    /* labels (paths, most), most >= T, and scores (paths), out: the most probable label sequences
       that a beam of `width` prefixes finds, best first, without their ends (-1, as the caller
       put it there), and their log probabilities.  paths <= width, T width < 2^31.  Returns how
       many there are, or -1 as above.  room: 3K + 14 width + 3 T width + 8 doubles */
    ptrdiff_t (*ctc_beam)(ptrdiff_t T, ptrdiff_t K, const void *logits, ptrdiff_t blank,
                          ptrdiff_t width, ptrdiff_t paths, ptrdiff_t most, ptrdiff_t *labels,
                          double *scores, double *room);
    /* --- linear-chain conditional random field, one row, in float64 inside ----------------------
       potentials (T, K, K); tags (T) below K.  Returns the loss, or log Z if tags is NULL; NaN if
       NaN or infinity is among the potentials, infinity if the tags, or all paths, are impossible,
       and d_potentials (T, K, K) is then anything; else the gradient of what is returned.
       room: T K + K K + 3K doubles */
    double (*crf)(ptrdiff_t T, ptrdiff_t K, const void *potentials, const ptrdiff_t *tags,
                  void *d_potentials, double *room);
    /* tags (T) out: the best path, whose score is returned; NaN as above, -infinity if there is
       none.  from (T, K): scratch; room: K K + 2K doubles */
    double (*crf_viterbi)(ptrdiff_t T, ptrdiff_t K, const void *potentials, ptrdiff_t *tags,
                          ptrdiff_t *from, double *room);
    /* --- attention; NULL as those above ----------------------------------------------------------
       a = softmax(scale a) of the first limits[r] of each row's `columns`, 0 in the others; the
       rows are a_row apart */
    void (*softmax)(ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t a_row, const ptrdiff_t *limits,
                    float scale, float *a);
    /* p  the softmax;  d  in: the gradient of p; out: that of a before `softmax` */
    void (*softmax_backward)(ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t row,
                             const ptrdiff_t *limits, float scale, const float *p, float *d);

    /* --- sums ------------------------------------------------------------------------------
       sums (columns) += the column sums of a (rows, columns) with `stride` reals between rows;
       chunks of 64 rows in a fixed order, so that the result depends on nothing but a */
    void (*column_sums)(ptrdiff_t rows, ptrdiff_t columns, const void *a, ptrdiff_t stride,
                        void *sums);

    /* --- optimizers: one pass over parameters p (n), gradients g (n) and slots (n each) -----
       The rules are Keras 3's; step sizes and corrections are worked out by the caller. */
    void (*sgd)(ptrdiff_t n, void *p, const void *g, double lr);
    void (*momentum)(ptrdiff_t n, void *p, const void *g, void *velocity, double lr,
                     double momentum, int nesterov);
    /* mean and velocity may be NULL: not centered, no momentum */
    void (*rmsprop)(ptrdiff_t n, void *p, const void *g, void *square, void *mean, void *velocity,
                    double lr, double rho, double momentum, double epsilon);
    /* largest (n) or NULL: AMSGrad.  alpha = lr sqrt(1 - beta2^t) / (1 - beta1^t), gamma = 0 make
       Adam; Nadam, RAdam, LAMB are others */
    void (*adam)(ptrdiff_t n, void *p, const void *g, void *m, void *v, void *largest, double alpha,
                 double gamma, double beta1, double beta2, double epsilon);
    /* alpha = lr / (1 - beta1^t) */
    void (*adamax)(ptrdiff_t n, void *p, const void *g, void *m, void *u, double alpha,
                   double beta1, double beta2, double epsilon);
    void (*adadelta)(ptrdiff_t n, void *p, const void *g, void *square, void *delta, double lr,
                     double rho, double epsilon);
    void (*lion)(ptrdiff_t n, void *p, const void *g, void *m, double lr, double beta1,
                 double beta2);
    void (*adagrad)(ptrdiff_t n, void *p, const void *g, void *sum, double lr, double epsilon);
    /* a (n) = (1 - share) a + share p: averages of parameters */
    void (*average)(ptrdiff_t n, void *a, const void *p, double share);
    /* p *= factor: decoupled weight decay, clipping by norm */
    void (*scale)(ptrdiff_t n, void *p, double factor);

    /* --- random numbers --------------------------------------------------------------------
       mask[k] = 0 with probability `rate`, else 1 / (1 - rate), for elements first .. first+n-1
       of the stream `key`; first is a multiple of 4 */
    void (*dropout_mask)(ptrdiff_t n, void *mask, double rate, uint64_t key, uint64_t first);
} clstm_kernels;

extern const clstm_kernels clstm_scalar, clstm_double;
#if defined(__x86_64__)
extern const clstm_kernels clstm_avx2, clstm_avx512;
#elif defined(__aarch64__)
extern const clstm_kernels clstm_neon;
#endif

/* The instruction sets of this build that this CPU can run, best first, ending with NULL. */
const clstm_kernels *const *clstm_available(void);

#endif
