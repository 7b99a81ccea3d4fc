/* Part of kernels.c: sequences of labels.  CTC and CRF against plain recursions in double, their
 * gradients against finite differences of these; one, two and three threads. */

static double add_logs(double a, double b) {
    const double m = fmax(a, b);
    return m == -INFINITY ? m : m + log(exp(a - m) + exp(b - m));
}

/* Operands: exact numbers, and the same as the kernels get them. */
typedef struct {
    double *exact;
    void *real;
    int64_t n;
} operand;

static double pattern(int64_t i, int64_t k) { return (double)((i * 37 + k * 11) % 23 - 11) / 8; }

static operand make(int dtype, int64_t n, int64_t k) {
    operand o = {malloc(sizeof(double) * (size_t)(n + 1)), NULL, n};
    o.real = malloc((dtype == MG_F32 ? sizeof(float) : sizeof(double)) * (size_t)(n + !n));
    for (int64_t i = 0; i < n; i++) {
        o.exact[i] = pattern(i, k);
        if (dtype == MG_F32)
            ((float *)o.real)[i] = (float)o.exact[i];
        else
            ((double *)o.real)[i] = o.exact[i];
    }
    return o;
}

static void drop(operand o) { free(o.exact), free(o.real); }

/* d(sum g loss)/d(each number of o) by central differences against `got` */
typedef double weighed(void *context);
static void check_gradient(int dtype, operand o, const void *got, weighed *sum, void *context) {
    for (int64_t i = 0; i < o.n; i++) {
        const double x = o.exact[i], step = 1e-5;
        o.exact[i] = x + step;
        const double above = sum(context);
        o.exact[i] = x - step;
        const double below = sum(context);
        o.exact[i] = x;
        near_to(i, dtype, number(dtype, got, i), (above - below) / (2 * step), "gradient");
    }
}

/* ---- CTC ---- */

typedef struct {
    int64_t T, N, C, S, blank;
    const int64_t *labels, *steps, *lengths;
    const double *x, *g;
} ctc_case;

static double plain_ctc(const ctc_case *c, int64_t n) {
    const int64_t states = 2 * c->lengths[n] + 1;
    double a[64], next[64];
    for (int64_t s = 0; s < states; s++) a[s] = s ? -INFINITY : 0;
    for (int64_t t = 0; t < c->steps[n]; t++) {
        for (int64_t s = 0; s < states; s++) {
            const int64_t *label = c->labels + n * c->S + s / 2;
            next[s] = s ? add_logs(a[s], a[s - 1]) : a[s];
            if (s > 2 && s % 2 && label[0] != label[-1]) next[s] = add_logs(next[s], a[s - 2]);
            next[s] += c->x[(t * c->N + n) * c->C + (s % 2 ? *label : c->blank)];
        }
        memcpy(a, next, sizeof a);
    }
    return -(states > 1 ? add_logs(a[states - 1], a[states - 2]) : a[0]);
}

static double weighed_ctc(void *context) {
    const ctc_case *c = context;
    double sum = 0;
    for (int64_t n = 0; n < c->N; n++) sum += c->g[n] * plain_ctc(c, n);
    return sum;
}

static void test_one_ctc(int dtype, int64_t T, int64_t N, int64_t C, int64_t S) {
    int64_t labels[256], steps[16], lengths[16], bad;
    for (int64_t i = 0; i < N * S; i++) labels[i] = 1 + i * i % (C - 1);
    for (int64_t n = 0; n < N; n++) steps[n] = T - n % 3, lengths[n] = n % 2 ? S / 2 : S;
    operand x = make(dtype, T * N * C, 1), g = make(dtype, N, 2), loss = make(dtype, N, 3);
    operand dx = make(dtype, T * N * C, 4);
    operand alpha = make(dtype, N * (T + 1) * MG_CTC_ALIGN * (1 + 2 * (S / MG_CTC_ALIGN + 1)), 5);
    ctc_case c = {T, N, C, S, 0, labels, steps, lengths, x.exact, g.exact};
    const int64_t form[] = {dtype, T, N, C, S, 0};
    subject("ctc", "", dtype, 0, T, N, S);
    for (int threads = 1; threads <= 3; threads++) {
        mg_set_threads(threads);
        for (int save = 0; save < 2; save++) {
            status(mg_ctc_forward(form, loss.real, save ? alpha.real : NULL, x.real, labels, steps,
                                  lengths, &bad),
                   MG_OK);
            for (int64_t n = 0; n < N; n++)
                near_to(n, dtype, number(dtype, loss.real, n), plain_ctc(&c, n), "loss");
        }
        status(mg_ctc_backward(form, dx.real, g.real, alpha.real, x.real, labels, steps, lengths),
               MG_OK);
        check_gradient(dtype, x, dx.real, weighed_ctc, &c);
    }
    lengths[N - 1] = S + 1;
    status(mg_ctc_forward(form, loss.real, NULL, x.real, labels, steps, lengths, &bad),
           MG_BAD_INDEX);
    status((int)bad, (int)(N - 1));
    drop(x), drop(g), drop(loss), drop(dx), drop(alpha);
}

/* ---- CRF ---- */

typedef struct {
    int64_t T, N, C;
    const int64_t *steps;
    const double *x, *A, *start, *end, *g;
} crf_case;

static double plain_crf(const crf_case *c, int64_t n) {
    double a[64], next[64], sum = -INFINITY;
    for (int64_t t = 0; t < c->steps[n]; t++) {
        for (int64_t j = 0; j < c->C; j++) {
            next[j] = t ? -INFINITY : c->start[j];
            for (int64_t i = 0; t && i < c->C; i++)
                next[j] = add_logs(next[j], a[i] + c->A[i * c->C + j]);
            next[j] += c->x[(t * c->N + n) * c->C + j];
        }
        memcpy(a, next, sizeof a);
    }
    for (int64_t j = 0; j < c->C; j++) sum = add_logs(sum, a[j] + c->end[j]);
    return c->steps[n] ? sum : 0;
}

static double weighed_crf(void *context) {
    const crf_case *c = context;
    double sum = 0;
    for (int64_t n = 0; n < c->N; n++) sum += c->g[n] * plain_crf(c, n);
    return sum;
}

/* `cost`: of the transition to the last tag, and what its score gives back: the sums in between are
 * too small for a table of exponentials. */
static void test_one_crf(int dtype, int64_t T, int64_t N, int64_t C, double cost) {
    int64_t steps[64];
    for (int64_t n = 0; n < N; n++) steps[n] = T - n % (T + 1);
    operand x = make(dtype, T * N * C, 1), A = make(dtype, C * C, 2), start = make(dtype, C, 3);
    operand end = make(dtype, C, 4), g = make(dtype, N, 5), alpha = make(dtype, T * N * C, 6);
    operand log_z = make(dtype, N, 7), dx = make(dtype, T * N * C, 8), dA = make(dtype, C * C, 9);
    for (int64_t i = 0; i < C; i++) { /* from the first tag at a cost; others are as unlikely */
        const int64_t at = i * C + C - 1;
        if (i == 0) A.exact[at] -= cost;
        if (i) start.exact[i] -= cost;
        if (dtype == MG_F32)
            ((float *)A.real)[at] = (float)A.exact[at],
                    ((float *)start.real)[i] = (float)start.exact[i];
        else
            ((double *)A.real)[at] = A.exact[at], ((double *)start.real)[i] = start.exact[i];
    }
    crf_case c = {T, N, C, steps, x.exact, A.exact, start.exact, end.exact, g.exact};
    const int64_t form[] = {dtype, T, N, C};
    subject("crf", cost > 0 ? "unlikely" : "", dtype, 0, T, N, C);
    for (int threads = 1; threads <= 3; threads++) {
        mg_set_threads(threads);
        for (int save = 0; save < 2; save++) {
            status(mg_crf_forward(form, log_z.real, save ? alpha.real : NULL, x.real, A.real,
                                  start.real, end.real, steps),
                   MG_OK);
            for (int64_t n = 0; n < N; n++)
                near_to(n, dtype, number(dtype, log_z.real, n), plain_crf(&c, n), "log Z");
        }
        status(mg_crf_backward(form, dx.real, dA.real, g.real, alpha.real, A.real, end.real, steps),
               MG_OK);
        check_gradient(dtype, x, dx.real, weighed_crf, &c);
        check_gradient(dtype, A, dA.real, weighed_crf, &c);
    }
    steps[0] = T + 1;
    status(mg_crf_forward(form, log_z.real, NULL, x.real, A.real, start.real, end.real, steps),
           MG_BAD_INDEX);
    drop(x), drop(A), drop(start), drop(end), drop(g), drop(alpha), drop(log_z), drop(dx), drop(dA);
}

static void test_labels(int dtype) {
    static const int64_t ctc[][4] = {{3, 1, 2, 1}, {7, 3, 4, 2}, {12, 2, 5, 5}, {40, 2, 3, 17}};
    static const int64_t crf[][3] = {{1, 1, 1}, {3, 2, 5}, {3, 18, 3}, {6, 2, 9}, {4, 1, 17}};
    for (size_t k = 0; k < sizeof ctc / sizeof *ctc; k++)
        test_one_ctc(dtype, ctc[k][0], ctc[k][1], ctc[k][2], ctc[k][3]);
    for (size_t k = 0; k < sizeof crf / sizeof *crf; k++) {
        test_one_crf(dtype, crf[k][0], crf[k][1], crf[k][2], 0);
        test_one_crf(dtype, crf[k][0], crf[k][1], crf[k][2], dtype == MG_F32 ? 60 : 600);
    }
}
