/* Part of kernels.c: the derivatives of one step against finite differences of the plain loops in
 * kernels_sequence.h; RTRL against J S + ∂⁺s/∂θ, multiplied out; a filter's covariance; one, two and
 * three threads. */

static void *narrowed(int dtype, const double *from, int64_t n) {
    void *to = malloc((size_t)n * (dtype == MG_F32 ? sizeof(float) : sizeof(double)));
    for (int64_t i = 0; i < n; i++) {
        if (dtype == MG_F32)
            ((float *)to)[i] = (float)from[i];
        else
            ((double *)to)[i] = from[i];
    }
    return to;
}
static double *made(int64_t n, int64_t seed) {
    double *x = malloc(sizeof *x * (size_t)n);
    for (int64_t i = 0; i < n; i++) x[i] = (double)((i * 37 + seed * 11) % 23 - 11) / 16;
    return x;
}

/* number i of the state of row r after the step */
static double state_after(const layer *l, int64_t r, int64_t i) {
    return i < l->H ? l->a[MG_ARG_HN][r * l->H + i] : l->a[MG_ARG_CN][r * l->H + i - l->H];
}
/* by = ∂(state of row r) / ∂(number k of array `of`), n numbers */
static void difference(layer *l, int of, int64_t k, int64_t r, int64_t n, double *by) {
    const double step = 1e-5, x = l->a[of][k];
    l->a[of][k] = x + step, plain(l, 0);
    for (int64_t i = 0; i < n; i++) by[i] = state_after(l, r, i);
    l->a[of][k] = x - step, plain(l, 0);
    for (int64_t i = 0; i < n; i++) by[i] = (by[i] - state_after(l, r, i)) / (2 * step);
    l->a[of][k] = x;
}

static void test_one_step(layer *l, int dtype) {
    static const int learnt[] = {MG_ARG_W, MG_ARG_U, MG_ARG_B, MG_ARG_UN, MG_ARG_C};
    const int64_t columns = l->cell == MG_SEQ_gru_after ? 4 : gates_of[l->cell];
    const int64_t N = l->N, H = l->H, states = l->cell == MG_SEQ_lstm ? 2 : 1, n = states * H;
    int64_t form[12] = {dtype, l->cell, N, l->I, H, 0, 0}, size = 0;
    void *real[MG_ARG_CELLS + 1] = {NULL};
    for (int i = 0; i <= MG_ARG_CELLS; i++) {
        if (!numbers(l, i)) continue;
        l->a[i] = made(numbers(l, i), i);
        real[i] = narrowed(dtype, l->a[i], numbers(l, i));
    }
    for (int i = 0; i < 5; i++) {
        form[7 + i] = numbers(l, learnt[i]) ? size : -1;
        size += numbers(l, learnt[i]);
    }
    form[5] = size;
    const int64_t step[] = {dtype, l->cell, 1, N, l->I, H, H, 0};
    status(mg_sequence_forward(step, real, NULL, NULL), MG_OK);
    double *rh = made(N * H, 0), *S = made(N * n * size, 3),
           *want = malloc(sizeof *want * (size_t)n);
    for (int64_t i = 0; i < N * H && l->cell == MG_SEQ_gru; i++)
        rh[i] = number(dtype, real[MG_ARG_GATES], i / H * 3 * H + i % H) * l->a[MG_ARG_H0][i];
    void *a[MG_JAC_S_NEW + 1] = {
        real[MG_ARG_X],  real[MG_ARG_U],  real[MG_ARG_UN], real[MG_ARG_H0],
        real[MG_ARG_C0], real[MG_ARG_HN], real[MG_ARG_CN], real[MG_ARG_GATES],
    };
    a[MG_JAC_J] = narrowed(dtype, S, N * n * n);
    a[MG_JAC_E] = narrowed(dtype, S, N * states * columns * H);
    a[MG_JAC_R] =
        narrowed(dtype, S, N * H * H); /* written first: what S holds there is no matter */
    a[MG_JAC_RH] = narrowed(dtype, rh, N * H);
    a[MG_JAC_S] = narrowed(dtype, S, N * n * size);
    a[MG_JAC_S_NEW] = narrowed(dtype, S, N * n * size);
    for (int threads = 1; threads <= 3; threads++) {
        mg_set_threads(threads);
        status(mg_step_jacobian(form, a), MG_OK);
        status(mg_rtrl(form, a), MG_OK);
        for (int64_t r = 0; r < N; r++) {
            for (int64_t k = 0; k < n; k++) {
                const int of = k < H ? MG_ARG_H0 : MG_ARG_C0;
                difference(l, of, r * H + k % H, r, n, want);
                for (int64_t i = 0; i < n; i++)
                    near_to(i, dtype, number(dtype, a[MG_JAC_J], (r * n + k) * n + i), want[i],
                            "J");
            }
            for (int m = 0; m < 5; m++) {
                for (int64_t k = 0; k < numbers(l, learnt[m]); k++) {
                    difference(l, learnt[m], k, r, n, want);
                    for (int64_t i = 0; i < n; i++) {
                        const int64_t at = form[7 + m] + k;
                        for (int64_t j = 0; j < n; j++)
                            want[i] += number(dtype, a[MG_JAC_J], (r * n + j) * n + i) *
                                       S[(r * n + j) * size + at];
                        near_to(i, dtype, number(dtype, a[MG_JAC_S_NEW], (r * n + i) * size + at),
                                want[i], "S");
                    }
                }
            }
        }
    }
    form[6] = 1; /* masked: reads and writes less, see tests/test_jacobians.py for what */
    status(mg_rtrl(form, a), l->cell == MG_SEQ_gru ? MG_BAD_OP : MG_OK);
    for (int i = MG_JAC_J; i <= MG_JAC_S_NEW; i++) free(a[i]);
    for (int i = 0; i <= MG_ARG_CELLS; i++) free(real[i]), free(l->a[i]), l->a[i] = NULL;
    free(rh), free(S), free(want);
}

static void test_steps(int dtype) {
    static const int64_t sizes[][3] = {{1, 1, 1}, {3, 2, 5}, {2, 3, 17}};
    for (int cell = MG_SEQ_rnn_tanh; cell <= MG_SEQ_gru_after; cell++) {
        if (cell == MG_SEQ_rnn_relu) continue;              /* its kink, as above */
        if ((is_lstm(cell) && cell != MG_SEQ_lstm) || cell == MG_SEQ_gru_keep)
            continue; /* their derivatives are not in C */
        for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
            layer l = {cell, 1, sizes[k][0], sizes[k][1], sizes[k][2], sizes[k][2], {0}, {NULL}};
            subject("step", "", dtype, cell, l.N, l.I, l.H);
            test_one_step(&l, dtype);
        }
    }
    const int64_t form[12] = {dtype, MG_SEQS, 1, 1, 1, 1, 0};
    status(mg_step_jacobian(form, NULL), MG_BAD_OP);
    status(mg_rtrl(form, NULL), MG_BAD_OP);
}

static void test_covariance(int dtype) {
    static const int64_t sizes[] = {1, 17, 70, 5};
    const int64_t count = 4, total = 93, all = 1 + 17 * 17 + 70 * 70 + 25;
    const double q[] = {0.5, 0, 0.25, 1};
    for (int64_t v = 0; v < 7; v += 2) {
        const int64_t h = 6 - v;
        subject("covariance", "", dtype, 0, v, h, total);
        double *P = made(all, 1), *V = made(v * total + 1, 2), *H = made(h * total + 1, 3),
               least[4];
        for (int64_t g = 0, at = 0; g < count; at += sizes[g] * sizes[g], g++)
            for (int64_t i = 0; i < sizes[g]; i++)
                for (int64_t j = 0; j < i; j++) P[at + i * sizes[g] + j] = P[at + j * sizes[g] + i];
        for (int threads = 1; threads <= 3; threads++) {
            void *p = narrowed(dtype, P, all), *x = narrowed(dtype, V, v * total + 1);
            void *y = narrowed(dtype, H, h * total + 1), *ph = narrowed(dtype, H, h * total + 1);
            mg_set_threads(threads);
            status(mg_covariance(dtype, count, sizes, p, v, x, q, h, y, ph, least), MG_OK);
            for (int64_t g = 0, at = 0, o = 0; g < count; o += sizes[g], g++) {
                const int64_t n = sizes[g];
                double lowest = INFINITY;
                for (int64_t i = 0; i < n; i++) {
                    double dots[7] = {0};
                    for (int64_t j = 0; j < n; j++) {
                        double want = P[at + i * n + j] + (i == j ? q[g] : 0);
                        for (int64_t c = 0; c < v; c++)
                            want -= V[c * total + o + i] * V[c * total + o + j];
                        near_to(j, dtype, number(dtype, p, at + i * n + j), want, "P");
                        for (int64_t c = 0; c < h; c++) dots[c] += want * H[c * total + o + j];
                        if (i == j && number(dtype, p, at + i * n + i) < lowest)
                            lowest = number(dtype, p, at + i * n + i);
                    }
                    for (int64_t c = 0; c < h; c++)
                        near_to(c, dtype, number(dtype, ph, c * total + o + i), dots[c], "PH");
                }
                status(least[g] == lowest, 1);
                at += n * n;
            }
            free(p), free(x), free(y), free(ph);
        }
        free(P), free(V), free(H);
    }
    status(mg_covariance(MG_I64, 0, NULL, NULL, 0, NULL, NULL, 0, NULL, NULL, NULL), MG_BAD_OP);
}
