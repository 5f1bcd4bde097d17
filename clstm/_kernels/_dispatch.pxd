from libc.stdint cimport uint64_t

cdef extern from "clstm.h" nogil:
    ctypedef struct clstm_gemm:
        Py_ssize_t rows, groups, blocks, depth
        const float *a
        const Py_ssize_t *a_index
        Py_ssize_t a_row, a_block, a_k
        const float *b
        Py_ssize_t b_block, b_k, b_group
        float *c
        const Py_ssize_t *c_index
        Py_ssize_t c_row, c_group, width, last
        const float *start
        Py_ssize_t start_group

    enum:
        CLSTM_TANH
        CLSTM_SIGMOID
        CLSTM_SOFTSIGN
        CLSTM_CLAMPED

    ctypedef struct clstm_activation:
        int kind
        float alpha, beta, least, most

    ctypedef struct clstm_cell:
        clstm_activation activation, recurrent_activation, cell_activation
        bint coupled, output_apart
        float cell_clip, preactivation_clip, gradient_clip
        const float *peephole
        Py_ssize_t peephole_gate
        const float *candidate_mask
        const float *zoneout_h
        const float *zoneout_c
        Py_ssize_t candidate_row, zoneout_h_row, zoneout_c_row

    ctypedef struct clstm_step:
        Py_ssize_t rows, depth
        const float *h
        Py_ssize_t h_row
        const float *panel
        Py_ssize_t b_k, b_group
        const float *x
        const Py_ssize_t *x_index
        Py_ssize_t x_row, x_depth
        const float *x_panel
        const float *bias
        Py_ssize_t x_group, bias_group
        float *gates
        const float *c_prev
        float *c
        float *h_kept
        const float *mask
        float *h_next
        Py_ssize_t next_row
        float *y
        const Py_ssize_t *y_index
        Py_ssize_t y_row, units
        const clstm_cell *cell
        Py_ssize_t unit

    ctypedef struct clstm_step_back:
        Py_ssize_t rows
        float *gates
        const float *c_prev
        const float *c
        const float *dh
        Py_ssize_t dh_row
        const float *dy
        Py_ssize_t dy_row
        float *dc
        float *dh_kept
        const Py_ssize_t *index
        Py_ssize_t units
        const clstm_cell *cell
        Py_ssize_t unit

    ctypedef struct clstm_norm:
        Py_ssize_t rows, units
        int parts, joined
        float *a
        float *values
        float *z
        const float *gain
        const float *shift
        float *sums
        const float *statistics
        float *d_gain
        float *d_shift

    ctypedef struct clstm_recurrent_step:
        Py_ssize_t rows, units
        float *gates
        float *state
        float *kept
        const float *mask
        float *h_next
        Py_ssize_t h_row
        float *y
        const Py_ssize_t *y_index
        Py_ssize_t y_row
        const clstm_activation *activation
        bint exponential

    ctypedef struct clstm_recurrent_step_back:
        Py_ssize_t rows, units
        float *gates
        const float *before
        const float *kept
        float *d_state
        const float *dh
        Py_ssize_t dh_row
        const float *dy
        const Py_ssize_t *dy_index
        Py_ssize_t dy_row
        const clstm_activation *activation

    ctypedef struct clstm_kernels:
        const char *isa
        int lanes
        void (*exp)(Py_ssize_t n, const void *x, void *y) noexcept nogil
        void (*tanh)(Py_ssize_t n, const void *x, void *y) noexcept nogil
        void (*sigmoid)(Py_ssize_t n, const void *x, void *y) noexcept nogil
        bint (*binary_crossentropy)(Py_ssize_t n, const void *t, const void *p, void *values,
                                    void *d, double smoothing, double epsilon) noexcept nogil
        void (*cell_forward)(Py_ssize_t H, void *gates, const void *bias, const void *c_prev,
                             void *c, void *h) noexcept nogil
        void (*cell_backward)(Py_ssize_t H, void *gates, const void *c_prev, const void *c,
                              const void *dh, const void *dy, void *dc) noexcept nogil
        void (*gemm)(const clstm_gemm *g) noexcept nogil
        void (*lstm_step)(const clstm_step *s) noexcept nogil
        void (*lstm_step_backward)(const clstm_step_back *s) noexcept nogil
        void (*lstm_output)(const clstm_step *s, const float *c) noexcept nogil
        void (*lstm_output_backward)(const clstm_step_back *s, const float *c,
                                     float *dc) noexcept nogil
        void (*norm_sums)(const clstm_norm *n) noexcept nogil
        void (*norm_statistics)(const clstm_norm *n, Py_ssize_t H, Py_ssize_t sums_block,
                                float epsilon, float *statistics) noexcept nogil
        void (*norm_apply)(const clstm_norm *n) noexcept nogil
        void (*norm_sums_back)(const clstm_norm *n) noexcept nogil
        void (*norm_means_back)(const clstm_norm *n, Py_ssize_t H, Py_ssize_t sums_block,
                                float *means) noexcept nogil
        void (*norm_apply_back)(const clstm_norm *n, const float *means, int add) noexcept nogil
        void (*rnn_step)(const clstm_recurrent_step *s) noexcept nogil
        void (*rnn_step_backward)(const clstm_recurrent_step_back *s) noexcept nogil
        void (*slstm_step)(const clstm_recurrent_step *s) noexcept nogil
        void (*slstm_step_backward)(const clstm_recurrent_step_back *s) noexcept nogil
        void (*peephole_gradient)(Py_ssize_t rows, const float *dz, const float *c_prev,
                                  const float *c, float *sums,
                                  Py_ssize_t sums_row) noexcept nogil
        void (*pack)(Py_ssize_t K, Py_ssize_t N, const float *b, Py_ssize_t b_k, Py_ssize_t b_n,
                     float *panels, Py_ssize_t p_k, Py_ssize_t p_group, Py_ssize_t first,
                     Py_ssize_t last) noexcept nogil
        void (*minlstm_step)(Py_ssize_t units, Py_ssize_t gate, const float *z, const float *bias,
                             const float *h_prev, float *h) noexcept nogil
        void (*minlstm_step_backward)(Py_ssize_t units, Py_ssize_t gate, const float *z,
                                      const float *bias, const float *h_prev, const float *dy,
                                      float *dh, float *dz) noexcept nogil
        double (*ctc)(Py_ssize_t T, Py_ssize_t K, Py_ssize_t L, const void *logits,
                      const Py_ssize_t *labels, Py_ssize_t blank, void *d_logits,
                      double *room) noexcept nogil
        Py_ssize_t (*ctc_greedy)(Py_ssize_t T, Py_ssize_t K, const void *logits, Py_ssize_t blank,
                                 Py_ssize_t *labels, double *score, double *room) noexcept nogil
        Py_ssize_t (*ctc_beam)(Py_ssize_t T, Py_ssize_t K, const void *logits, Py_ssize_t blank,
                               Py_ssize_t width, Py_ssize_t paths, Py_ssize_t most,
                               Py_ssize_t *labels, double *scores,
                               double *room) noexcept nogil
        double (*crf)(Py_ssize_t T, Py_ssize_t K, const void *potentials, const Py_ssize_t *tags,
                      void *d_potentials, double *room) noexcept nogil
        double (*crf_viterbi)(Py_ssize_t T, Py_ssize_t K, const void *potentials, Py_ssize_t *tags,
                              Py_ssize_t *came_from, double *room) noexcept nogil
        void (*softmax)(Py_ssize_t rows, Py_ssize_t columns, Py_ssize_t a_row,
                        const Py_ssize_t *limits, float scale, float *a) noexcept nogil
        void (*softmax_backward)(Py_ssize_t rows, Py_ssize_t columns, Py_ssize_t row,
                                 const Py_ssize_t *limits, float scale, const float *p,
                                 float *d) noexcept nogil
        void (*column_sums)(Py_ssize_t rows, Py_ssize_t columns, const void *a, Py_ssize_t stride,
                            void *sums) noexcept nogil
        void (*sgd)(Py_ssize_t n, void *p, const void *g, double lr) noexcept nogil
        void (*momentum)(Py_ssize_t n, void *p, const void *g, void *velocity, double lr,
                         double momentum, int nesterov) noexcept nogil
        void (*rmsprop)(Py_ssize_t n, void *p, const void *g, void *square, void *mean,
                        void *velocity, double lr, double rho, double momentum,
                        double epsilon) noexcept nogil
        void (*adam)(Py_ssize_t n, void *p, const void *g, void *m, void *v, void *largest,
                     double alpha, double gamma, double beta1, double beta2,
                     double epsilon) noexcept nogil
        void (*adamax)(Py_ssize_t n, void *p, const void *g, void *m, void *u, double alpha,
                       double beta1, double beta2, double epsilon) noexcept nogil
        void (*adadelta)(Py_ssize_t n, void *p, const void *g, void *square, void *delta,
                         double lr, double rho, double epsilon) noexcept nogil
        void (*lion)(Py_ssize_t n, void *p, const void *g, void *m, double lr, double beta1,
                     double beta2) noexcept nogil
        void (*adagrad)(Py_ssize_t n, void *p, const void *g, void *sum, double lr,
                        double epsilon) noexcept nogil
        void (*average)(Py_ssize_t n, void *a, const void *p, double share) noexcept nogil
        void (*scale)(Py_ssize_t n, void *p, double factor) noexcept nogil
        void (*dropout_mask)(Py_ssize_t n, void *mask, double rate, uint64_t key,
                             uint64_t first) noexcept nogil

ctypedef fused real:
    float
    double

# the table in use for reals of this size: 4 float32, 8 float64
cdef const clstm_kernels *kernels(size_t itemsize) noexcept nogil

# the table in use for float32, or, if that has no native kernels, the best that has them: a tape
# of the native backend is run backwards whatever has been selected since
cdef const clstm_kernels *native_kernels() noexcept nogil
