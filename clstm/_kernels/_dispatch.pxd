from libc.stdint cimport uint64_t

cdef extern from "clstm.h" nogil:
    ctypedef struct clstm_kernels:
        const char *isa
        int lanes
        void (*exp)(Py_ssize_t n, const void *x, void *y) noexcept nogil
        void (*tanh)(Py_ssize_t n, const void *x, void *y) noexcept nogil
        void (*sigmoid)(Py_ssize_t n, const void *x, void *y) noexcept nogil
        void (*cell_forward)(Py_ssize_t H, void *gates, const void *bias, const void *c_prev,
                             void *c, void *h) noexcept nogil
        void (*cell_backward)(Py_ssize_t H, void *gates, const void *c_prev, const void *c,
                              const void *dh, const void *dy, void *dc) noexcept nogil
        void (*column_sums)(Py_ssize_t rows, Py_ssize_t columns, const void *a, Py_ssize_t stride,
                            void *sums) noexcept nogil
        void (*sgd)(Py_ssize_t n, void *p, const void *g, double lr) noexcept nogil
        void (*momentum)(Py_ssize_t n, void *p, const void *g, void *velocity, double lr,
                         double momentum, int nesterov) noexcept nogil
        void (*rmsprop)(Py_ssize_t n, void *p, const void *g, void *square, void *mean,
                        void *velocity, double lr, double rho, double momentum,
                        double epsilon) noexcept nogil
        void (*adam)(Py_ssize_t n, void *p, const void *g, void *m, void *v, void *largest,
                     double alpha, double beta1, double beta2, double epsilon) noexcept nogil
        void (*adagrad)(Py_ssize_t n, void *p, const void *g, void *sum, double lr,
                        double epsilon) noexcept nogil
        void (*scale)(Py_ssize_t n, void *p, double factor) noexcept nogil
        void (*dropout_mask)(Py_ssize_t n, void *mask, double rate, uint64_t key,
                             uint64_t first) noexcept nogil

ctypedef fused real:
    float
    double

# the table in use for reals of this size: 4 float32, 8 float64
cdef const clstm_kernels *kernels(size_t itemsize) noexcept nogil
