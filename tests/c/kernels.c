/* Runs every kernel of every table that this CPU has on the same made-up numbers, and prints a hash
   of each result: "<isa> <kernel> <hash>".  tests/test_kernels_c.py builds it for this machine and,
   with a cross-compiler and qemu, for others, and compares: the same bits everywhere. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clstm.h"

static uint32_t state;
static float number(float scale) /* -scale .. scale */
{
    state = state * 1664525u + 1013904223u;
    return ((float)(state >> 8) / 8388608.0f - 1.0f) * scale;
}
static float *numbers(size_t n, float scale)
{
    float *p = malloc(n * sizeof *p);
    for (size_t k = 0; k < n; k++) p[k] = number(scale);
    return p;
}
static void print(const char *isa, const char *kernel, const float *p, size_t n)
{
    uint64_t hash = 14695981039346656037u;
    for (size_t k = 0; k < n; k++) {
        uint32_t bits;
        memcpy(&bits, p + k, 4);
        hash = (hash ^ bits) * 1099511628211u;
    }
    printf("%s %s %016llx\n", isa, kernel, (unsigned long long)hash);
}

enum { N = 1003, ROWS = 17, DEPTH = 37, H = 29, UNITS = 13 };

static void products(const clstm_kernels *t)
{
    float *b = numbers(DEPTH * 61, 1), *panels = calloc(4 * DEPTH * 16, sizeof *panels);
    float *a = numbers(ROWS * DEPTH, 1), *c = numbers(ROWS * 61, 1), start[64];
    ptrdiff_t index[ROWS];
    t->pack(DEPTH, 61, b, 61, 1, panels, 16, DEPTH * 16, 0, 4);
    print(t->isa, "pack", panels, 4 * DEPTH * 16);
    t->pack(DEPTH, 61, b, 1, DEPTH, panels, 16, DEPTH * 16, 0, 4); /* of the transposed matrix */
    print(t->isa, "pack:transposed", panels, 4 * DEPTH * 16);
    t->pack(DEPTH, 61, b, 61, 1, panels, 16, DEPTH * 16, 0, 4);
    for (int r = 0; r < ROWS; r++) index[r] = (r * 5) % ROWS;
    for (int k = 0; k < 64; k++) start[k] = number(1);
    for (int groups = 1; groups <= 4; groups++) {
        clstm_gemm g = {.rows = ROWS, .groups = groups, .blocks = 1, .depth = DEPTH, .a = a,
                        .a_index = index, .a_row = DEPTH, .a_k = 1, .b = panels, .b_k = 16,
                        .b_group = DEPTH * 16, .c = c, .c_row = 61, .c_group = 16, .width = 16,
                        .last = groups == 4 ? 13 : 16, .start = groups % 2 ? start : NULL,
                        .start_group = 16};
        t->gemm(&g);
    }
    print(t->isa, "gemm", c, ROWS * 61);
}

static void lstm(const clstm_kernels *t)
{
    float *h = numbers(ROWS * H, 1), *panel = numbers(H * 64, 1), *gates = numbers(ROWS * 64, 3);
    float *c = numbers(ROWS * 16, 2), *mask = numbers(ROWS * H, 2), *next = numbers(ROWS * H, 1);
    float *y = numbers(ROWS * UNITS, 1), *dh = numbers(ROWS * 16, 1), *dc = numbers(ROWS * 16, 1);
    float *before = numbers(ROWS * 16, 2);
    ptrdiff_t index[ROWS];
    for (int r = 0; r < ROWS; r++) index[r] = (r * 3) % ROWS;
    clstm_step s = {.rows = ROWS, .depth = H, .h = h, .h_row = H, .panel = panel, .b_k = 16,
                    .b_group = H * 16, .gates = gates, .c_prev = before, .c = c, .mask = mask,
                    .h_next = next, .next_row = H, .y = y, .y_index = index, .y_row = UNITS, .units = UNITS};
    t->lstm_step(&s);
    print(t->isa, "lstm_step:y", y, ROWS * UNITS);
    print(t->isa, "lstm_step:h", next, UNITS);
    clstm_step own = s; /* that projects x itself, and keeps no gates */
    own.x = numbers(ROWS * H, 1), own.x_index = index, own.x_row = H, own.x_depth = H - 2;
    own.x_panel = panel + 32, own.x_group = H * 16, own.bias = panel, own.bias_group = 16;
    own.gates = NULL;
    own.y = numbers(ROWS * UNITS, 1), own.c = numbers(ROWS * 16, 1);
    t->lstm_step(&own);
    print(t->isa, "lstm_step:own", own.y, ROWS * UNITS);
    for (int r = 0; r < ROWS; r++)
        for (int v = 0; v < 4; v++)
            print(t->isa, "lstm_step:gates", gates + r * 64 + v * 16, UNITS);
    clstm_step_back back = {.rows = ROWS, .gates = gates, .c_prev = before, .c = c, .dh = dh,
                            .dh_row = 16, .dy = y, .index = index, .dy_row = UNITS, .dc = dc,
                            .units = UNITS};
    t->lstm_step_backward(&back);
    for (int r = 0; r < ROWS; r++) {
        print(t->isa, "lstm_step_backward:dz", gates + r * 64, UNITS);
        print(t->isa, "lstm_step_backward:dc", dc + r * 16, UNITS);
    }
    clstm_cell cell = {.activation = {.kind = CLSTM_SOFTSIGN},
                       .recurrent_activation = {.kind = CLSTM_CLAMPED, .alpha = 0.3f, .beta = 0.4f,
                                                .least = 0, .most = 1},
                       .cell_activation = {.kind = CLSTM_TANH}, .coupled = 1, .cell_clip = 0.7f,
                       .preactivation_clip = 1.5f, .gradient_clip = 0.5f, .peephole = panel,
                       .peephole_gate = 16, .candidate_mask = mask, .candidate_row = UNITS,
                       .zoneout_h = numbers(16, 1), .zoneout_c = mask, .zoneout_c_row = UNITS};
    own.cell = back.cell = &cell, own.gates = gates;
    own.h_kept = numbers(ROWS * 16, 1), back.dh_kept = numbers(ROWS * 16, 1);
    t->lstm_step(&own);
    print(t->isa, "lstm_step:options", own.y, ROWS * UNITS);
    back.c = own.c;
    t->lstm_step_backward(&back);
    float *sums = calloc(48, sizeof *sums);
    t->peephole_gradient(ROWS, gates, before, own.c, sums, 16);
    for (int r = 0; r < ROWS; r++) {
        print(t->isa, "options:dz", gates + r * 64, UNITS);
        print(t->isa, "options:dh_kept", back.dh_kept + r * 16, UNITS);
    }
    for (int v = 0; v < 3; v++) print(t->isa, "peephole_gradient", sums + v * 16, UNITS);
}

static void attention(const clstm_kernels *t)
{
    float *a = numbers(ROWS * 61, 9), *d = numbers(ROWS * 61, 1);
    ptrdiff_t limits[ROWS];
    for (int r = 0; r < ROWS; r++) limits[r] = r * 4 % 62;
    t->softmax(ROWS, 61, 61, limits, 0.7f, a);
    print(t->isa, "softmax", a, ROWS * 61);
    t->softmax_backward(ROWS, 61, 61, limits, 0.7f, a, d);
    print(t->isa, "softmax_backward", d, ROWS * 61);
}

static void norm(const clstm_kernels *t)
{
    float *a = numbers(2 * ROWS * 64, 2), *z = numbers(2 * ROWS * 64, 1), *sums = numbers(ROWS * 16, 1);
    float *values = numbers(2 * ROWS * 64, 1), *gain = numbers(64, 1), *shift = numbers(64, 1);
    float statistics[ROWS * 8], means[ROWS * 8];
    clstm_norm n = {.rows = ROWS, .parts = 4, .gain = gain, .d_gain = numbers(64, 1),
                    .d_shift = numbers(64, 1)};
    for (n.joined = 0; n.joined < 2; n.joined++) {
        for (int back = 0; back < 2; back++)
            for (int block = 0; block < 2; block++) { /* of 16 + UNITS units */
                n.units = block ? UNITS : 16, n.shift = n.joined ? NULL : shift;
                n.a = a + block * ROWS * 64, n.z = z + block * ROWS * 64;
                n.values = values + block * ROWS * 64, n.sums = sums + block * ROWS * 8;
                if (back) n.statistics = statistics, t->norm_apply(&n), t->norm_sums_back(&n);
                else t->norm_sums(&n);
                if (block) n.sums = sums;
                if (block && back) t->norm_means_back(&n, 16 + UNITS, ROWS * 8, means);
                else if (block) t->norm_statistics(&n, 16 + UNITS, ROWS * 8, 1e-3f, statistics);
            }
        t->norm_apply_back(&n, means, n.joined);
        for (int r = 0; r < 4 * ROWS; r++) {
            print(t->isa, "norm_apply", n.z + r * 16, UNITS);
            print(t->isa, "norm_apply_back", n.a + r * 16, UNITS);
        }
        print(t->isa, "norm:d_gain", n.d_gain, UNITS);
    }
}

static void scan(const clstm_kernels *t)
{
    float *z = numbers(3 * N, 4), *bias = numbers(3 * N, 1), *h0 = numbers(N, 1);
    float *h = numbers(N, 1), *dy = numbers(N, 1), *dz = numbers(3 * N, 1);
    for (int k = 0; k < N; k += 7) z[k] *= 50, z[N + k] *= 50; /* both gates far out */
    t->minlstm_step(N, N, z, bias, h0, h), print(t->isa, "minlstm_step", h, N);
    t->minlstm_step_backward(N, N, z, bias, h0, dy, h, dz);
    print(t->isa, "minlstm_step_backward:dz", dz, 3 * N);
    print(t->isa, "minlstm_step_backward:dh", h, N);
}

static void recurrent(const clstm_kernels *t)
{
    float *z = numbers(ROWS * 64, 4), *state = numbers(ROWS * 48, 2), *kept = numbers(ROWS * 48, 1);
    float *mask = numbers(ROWS * 16, 2), *next = numbers(ROWS * 16, 1);
    float *before = numbers(ROWS * 48, 2);
    float *y = numbers(ROWS * UNITS, 1), *dh = numbers(ROWS * 16, 1), *d = numbers(ROWS * 32, 1);
    clstm_activation softsign = {.kind = CLSTM_SOFTSIGN};
    ptrdiff_t index[ROWS];
    for (int r = 0; r < ROWS; r++) index[r] = (r * 3) % ROWS;
    for (int k = 16; k < 32; k++) state[k] = 0; /* n of the first row: it starts here */
    clstm_recurrent_step s = {.rows = ROWS, .units = UNITS, .gates = z, .state = state,
                              .kept = kept, .mask = mask, .h_next = next, .h_row = 16, .y = y,
                              .y_index = index, .y_row = UNITS, .activation = &softsign};
    clstm_recurrent_step_back back = {.rows = ROWS, .units = UNITS, .gates = z, .before = before,
                                      .kept = kept, .d_state = d, .dh = dh, .dh_row = 16, .dy = y,
                                      .dy_index = index, .dy_row = UNITS, .activation = &softsign};
    for (s.exponential = 0; s.exponential < 2; s.exponential++) {
        t->slstm_step(&s);
        print(t->isa, "slstm_step:y", y, ROWS * UNITS);
        for (int r = 0; r < ROWS; r++)
            for (int v = 0; v < 3; v++) {
                print(t->isa, "slstm_step:state", state + r * 48 + v * 16, UNITS);
                print(t->isa, "slstm_step:kept", kept + r * 48 + v * 16, UNITS);
                print(t->isa, "slstm_step:h", next + r * 16, UNITS);
            }
        t->slstm_step_backward(&back);
        print(t->isa, "slstm_step_backward:dz", z, ROWS * 64);
        for (int r = 0; r < 2 * ROWS; r++)
            print(t->isa, "slstm_step_backward:d", d + r * 16, UNITS);
    }
    t->rnn_step(&s), print(t->isa, "rnn_step", y, ROWS * UNITS);
    t->rnn_step_backward(&back), print(t->isa, "rnn_step_backward", z, ROWS * 16);
}

static void elementwise(const clstm_kernels *t)
{
    float *x = numbers(N, 1), *y = numbers(N, 1);
    for (int k = 0; k < N; k++) x[k] = x[k] * expf((float)(k % 12) - 6.0f);
    t->exp(N, x, y), print(t->isa, "exp", y, N);
    t->tanh(N, x, y), print(t->isa, "tanh", y, N);
    t->sigmoid(N, x, y), print(t->isa, "sigmoid", y, N);
    float *labels = numbers(N, 1), *values = numbers(N, 1), *slopes = numbers(N, 1);
    for (int k = 0; k < N; k++) labels[k] = fabsf(labels[k]);
    t->binary_crossentropy(N, labels, y, values, slopes, 0.1, 1e-7);
    print(t->isa, "binary_crossentropy", slopes, N); /* values: by the C library's logf */
    float *gates = numbers(4 * N, 3), *bias = numbers(4 * N, 1), *c0 = numbers(N, 1);
    float *c = numbers(N, 1), *h = numbers(N, 1), *d = numbers(N, 1);
    t->cell_forward(N, gates, bias, c0, c, h), print(t->isa, "cell_forward", h, N);
    t->cell_backward(N, gates, c0, c, h, x, d), print(t->isa, "cell_backward", gates, 4 * N);
    memset(bias, 0, 4 * N * sizeof *bias);
    t->column_sums(40, 97, gates, 100, bias), print(t->isa, "column_sums", bias, 97);
}

static void optimizers(const clstm_kernels *t)
{
    float *p = numbers(N, 1), *g = numbers(N, 1), *slot[3];
    for (int k = 0; k < 3; k++) slot[k] = numbers(N, 1);
    for (int k = 0; k < N; k++)
        for (int j = 0; j < 3; j++) slot[j][k] = fabsf(slot[j][k]) + 1.0f;
    t->sgd(N, p, g, 0.01), print(t->isa, "sgd", p, N);
    t->momentum(N, p, g, slot[0], 0.01, 0.9, 1), print(t->isa, "momentum", p, N);
    t->rmsprop(N, p, g, slot[0], NULL, slot[2], 0.001, 0.9, 0.5, 1e-7);
    print(t->isa, "rmsprop", p, N);
    t->adam(N, p, g, slot[0], slot[1], slot[2], 0.001, 0.002, 0.9, 0.999, 1e-7);
    print(t->isa, "adam", p, N);
    t->adagrad(N, p, g, slot[0], 0.001, 1e-7), print(t->isa, "adagrad", p, N);
    t->adamax(N, p, g, slot[0], slot[1], 0.001, 0.9, 0.999, 1e-7), print(t->isa, "adamax", p, N);
    t->adadelta(N, p, g, slot[0], slot[1], 0.1, 0.9, 1e-7), print(t->isa, "adadelta", p, N);
    t->lion(N, p, g, slot[2], 0.001, 0.9, 0.99), print(t->isa, "lion", p, N);
    t->average(N, slot[2], p, 0.3), print(t->isa, "average", slot[2], N);
    t->scale(N, p, 0.3), print(t->isa, "scale", p, N);
    t->dropout_mask(N, p, 0.3, 42, 8), print(t->isa, "dropout_mask", p, N);
}

static void chains(const clstm_kernels *t)
{
    enum { T = 12, K = 7, L = 4, BEAM = 5 };
    ptrdiff_t tags[T], from[T * K], labels[L] = {3, 1, 1, 6}, found[T];
    float *a = numbers(T * K * K, 3), *d = numbers(T * K * K, 1), value[6];
    double room[1024], score;
    for (int k = 0; k < T; k++) tags[k] = k * 3 % K;
    value[0] = (float)t->crf(T, K, a, tags, d, room), print(t->isa, "crf:d", d, T * K * K);
    value[1] = (float)t->crf_viterbi(T, K, a, tags, from, room);
    value[2] = (float)t->ctc(T, K, L, a, labels, 0, d, room), print(t->isa, "ctc:d", d, T * K);
    t->ctc_greedy(T, K, a, 0, found, &score, room), value[3] = (float)score;
    t->ctc_beam(T, K, a, 0, BEAM, 1, T, found, &score, room), value[4] = (float)score;
    value[5] = (float)(tags[5] * K + found[0]);
    print(t->isa, "chains", value, 6);
}

int main(void)
{
    for (const clstm_kernels *const *t = clstm_available(); *t; t++) {
        if (!(*t)->gemm) continue; /* scalar: its last bits may differ */
        state = 1;
        elementwise(*t);
        products(*t);
        lstm(*t);
        norm(*t);
        attention(*t);
        scan(*t);
        recurrent(*t);
        optimizers(*t);
        chains(*t);
    }
    return 0;
}
