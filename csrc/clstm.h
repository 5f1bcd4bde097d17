/* The table of kernels: everything that C computes for clstm.

   A kernel works for one core: no threads, no allocation, no Python, no errors.
   Whoever calls it (Cython) has checked every size and shares the work out.

   `real` below is the table's own element type: float in the float32 tables, double in the
   float64 table; pointers are void so that callers are written once for both.
   H is the number of units; the gates of one (row, step) are 4H reals in the order i f g o.
   Unless a kernel says otherwise, its arrays do not overlap. */
#ifndef CLSTM_H
#define CLSTM_H

#include <stddef.h>
#include <stdint.h>

typedef struct clstm_kernels {
    const char *isa; /* "avx512", "avx2" or "scalar" */
    int lanes;       /* reals per vector register */

    /* --- elementwise functions: y[k] = f(x[k]), k < n; y may be x ------------------------- */
    void (*exp)(ptrdiff_t n, const void *x, void *y);
    void (*tanh)(ptrdiff_t n, const void *x, void *y);
    void (*sigmoid)(ptrdiff_t n, const void *x, void *y);

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
    /* largest (n) or NULL: AMSGrad.  alpha = lr sqrt(1 - beta2^t) / (1 - beta1^t) */
    void (*adam)(ptrdiff_t n, void *p, const void *g, void *m, void *v, void *largest, double alpha,
                 double beta1, double beta2, double epsilon);
    void (*adagrad)(ptrdiff_t n, void *p, const void *g, void *sum, double lr, double epsilon);
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
#endif

/* The instruction sets of this build that this CPU can run, best first, ending with NULL. */
const clstm_kernels *const *clstm_available(void);

#endif
