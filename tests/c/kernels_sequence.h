/* Part of kernels.c: whole sequences.  Forward against plain loops in double; backward against finite
 * differences of these loops; one, two and three threads against each other. */

typedef struct {
    int cell;
    int64_t T, N, I, H, P;
    int sees[3];                 /* peepholes of i, f, o */
    double *a[MG_ARG_CELLS + 1]; /* operands, and what the loops give for Y, HN, CN */
} layer;

static const int64_t gates_of[] = {1, 1, 4, 3, 3, 3, 3, 3, 3, 1, 1},
                     blocks_of_u[] = {1, 1, 4, 3, 3, 2, 2, 2, 2, 1, 1},
                     saved_of[] = {0, 0, 4, 3, 3, 3, 3, 4, 4, 0, 0};

/* The groups of a clockwork RNN: three with H - 3, 1 and 2 units; one of all, if these are few. */
enum { CLOCK = 4 }; /* at the first step */
static const int64_t periods_of[] = {1, 2, 3};
static int is_clockwork(int cell) {
    return cell == MG_SEQ_clockwork_tanh || cell == MG_SEQ_clockwork_relu;
}
static int64_t groups_of(int64_t H) { return H > 3 ? 3 : 1; }
static int64_t group_of(int64_t H, int64_t unit) {
    return H > 3 ? (unit >= H - 3) + (unit >= H - 2) : 0;
}
static int64_t group_end(int64_t H, int64_t group) {
    return H > 3 ? H - (group == 0 ? 3 : group == 1 ? 2 : 0) : H;
}
/* where the weight from unit i to unit j is; -1: nowhere */
static int64_t clock_weight(int64_t H, int64_t i, int64_t j) {
    int64_t at = 0;
    for (int64_t k = 0; k < i; k++) at += group_end(H, group_of(H, k));
    return j < group_end(H, group_of(H, i)) ? at + j : -1;
}

static int is_lstm(int cell) { return cell >= MG_SEQ_lstm && cell < MG_SEQ_gru; }
static int resets_after(const layer *l) {
    return l->cell == MG_SEQ_gru_after || l->cell == MG_SEQ_gru_after_keep;
}

/* how many numbers array i of a layer has; 0: it has none */
static int64_t numbers(const layer *l, int i) {
    const int64_t G = gates_of[l->cell], V = blocks_of_u[l->cell], S = saved_of[l->cell];
    const int gru = l->cell >= MG_SEQ_gru && l->cell <= MG_SEQ_gru_after_keep;
    const int lstm = is_lstm(l->cell), proj = l->P != l->H;
    const int64_t R = l->T * l->N, H = l->H, P = l->P;
    switch (i) {
    case MG_ARG_X:
    case MG_ARG_DX: return R * l->I;
    case MG_ARG_W:
    case MG_ARG_DW: return l->I * G * H;
    case MG_ARG_U:
    case MG_ARG_DU: return is_clockwork(l->cell) ? 1 + clock_weight(H, H - 1, H - 1) : P * V * H;
    case MG_ARG_UN:
    case MG_ARG_DUN: return gru ? H * H : 0;
    case MG_ARG_PROJ:
    case MG_ARG_DPROJ: return proj ? H * P : 0;
    case MG_ARG_B:
    case MG_ARG_DB: return G * H;
    case MG_ARG_C:
    case MG_ARG_DC: return resets_after(l) ? H : 0;
    case MG_ARG_PI:
    case MG_ARG_PF:
    case MG_ARG_PO: return l->sees[i - MG_ARG_PI] ? H : 0;
    case MG_ARG_DPI:
    case MG_ARG_DPF:
    case MG_ARG_DPO: return l->sees[i - MG_ARG_DPI] ? H : 0;
    case MG_ARG_Y:
    case MG_ARG_DY: return R * P;
    case MG_ARG_H0:
    case MG_ARG_HN:
    case MG_ARG_DHN:
    case MG_ARG_DH0: return l->N * P;
    case MG_ARG_GATES: return R * S * H;
    case MG_ARG_CELLS: return lstm ? R * H : 0;
    default: return lstm ? l->N * H : 0; /* C0, CN, DCN, DC0 */
    }
}

static double logistic(double x) { return 1 / (1 + exp(-x)); }

/* z = x W + b + h U for gate g, unit j; h NULL: without the last */
static double gate(const layer *l, const double *x, const double *h, int64_t g, int64_t j) {
    const int64_t H = l->H, G = gates_of[l->cell], V = blocks_of_u[l->cell], k = g * H + j;
    double z = l->a[MG_ARG_B][k];
    for (int64_t i = 0; i < l->I; i++) z += x[i] * l->a[MG_ARG_W][i * G * H + k];
    for (int64_t i = 0; h && i < l->P; i++) z += h[i] * l->a[MG_ARG_U][i * V * H + k];
    return z;
}

/* p c of gate i, f or o (0, 1, 2), if it sees c */
static double seen(const layer *l, int which, int64_t j, double c) {
    return l->sees[which] ? l->a[MG_ARG_PI + which][j] * c : 0;
}
/* c' and h' of unit j of an LSTM */
static double remember(const layer *l, const double *x, const double *h, int64_t j, double *c) {
    const int cell = l->cell, g = cell == MG_SEQ_lstm ? 2 : 1;
    const double first = gate(l, x, h, 0, j);
    double i = logistic(first + seen(l, 0, j, *c)), f = 1 - i;
    if (cell == MG_SEQ_lstm) f = logistic(gate(l, x, h, 1, j) + seen(l, 1, j, *c));
    if (cell == MG_SEQ_lstm_coupled_input) {
        f = logistic(first + seen(l, 1, j, *c));
        i = 1 - f;
    }
    *c = f * *c + i * tanh(gate(l, x, h, g, j));
    return logistic(gate(l, x, h, g + 1, j) + seen(l, 2, j, *c)) * tanh(*c);
}

/* h' of unit j at step s */
static double clock_unit(const layer *l, const double *x, const double *h, int64_t s, int64_t j) {
    if ((CLOCK + s) % periods_of[group_of(l->H, j)]) return h[j];
    double z = gate(l, x, NULL, 0, j);
    for (int64_t i = 0; i < l->H; i++) {
        const int64_t at = clock_weight(l->H, i, j);
        z += at < 0 ? 0 : h[i] * l->a[MG_ARG_U][at];
    }
    return tanh(z);
}

/* The equations, a row at a time. */
static void plain(layer *l, int reverse) {
    const int64_t H = l->H, P = l->P;
    for (int64_t r = 0; r < l->N; r++) {
        double h[64], c[64] = {0}, new[64];
        for (int64_t j = 0; j < P; j++) h[j] = l->a[MG_ARG_H0][r * P + j];
        for (int64_t j = 0; l->a[MG_ARG_C0] && j < H; j++) c[j] = l->a[MG_ARG_C0][r * H + j];
        for (int64_t s = 0; s < l->T; s++) {
            const int64_t row = (reverse ? l->T - 1 - s : s) * l->N + r;
            const double *x = l->a[MG_ARG_X] + row * l->I, *un = l->a[MG_ARG_UN];
            double reset[64];
            for (int64_t j = 0; j < H && un; j++) reset[j] = logistic(gate(l, x, h, 0, j));
            for (int64_t j = 0; j < H; j++) {
                if (l->cell == MG_SEQ_clockwork_tanh) {
                    new[j] = clock_unit(l, x, h, s, j);
                } else if (l->cell == MG_SEQ_rnn_tanh) {
                    new[j] = tanh(gate(l, x, h, 0, j));
                } else if (l->cell == MG_SEQ_rnn_relu) {
                    new[j] = fmax(gate(l, x, h, 0, j), 0);
                } else if (is_lstm(l->cell)) {
                    new[j] = remember(l, x, h, j, c + j);
                } else {
                    const int after = resets_after(l), cell = l->cell;
                    double past = after ? l->a[MG_ARG_C][j] : 0;
                    for (int64_t i = 0; i < H; i++)
                        past += (after ? 1 : reset[i]) * h[i] * un[i * H + j];
                    if (after) past *= reset[j];
                    const double u = logistic(gate(l, x, h, 1, j));
                    const double candidate = tanh(gate(l, x, NULL, 2, j) + past);
                    new[j] = cell == MG_SEQ_gru_keep || cell == MG_SEQ_gru_after_keep
                                 ? u *h[j] + (1 - u) * candidate
                                 : (1 - u) * h[j] + u *candidate;
                }
            }
            for (int64_t j = 0; j < P; j++) {
                h[j] = new[j];
                if (P == H) continue;
                h[j] = 0;
                for (int64_t i = 0; i < H; i++) h[j] += new[i] * l->a[MG_ARG_PROJ][i * P + j];
            }
            memcpy(l->a[MG_ARG_Y] + row * P, h, sizeof *h * (size_t)P);
        }
        memcpy(l->a[MG_ARG_HN] + r * P, h, sizeof *h * (size_t)P);
        if (l->a[MG_ARG_CN]) memcpy(l->a[MG_ARG_CN] + r * H, c, sizeof *c * (size_t)H);
    }
}

/* Σ dy y + Σ dhn hn + Σ dcn cn */
static double weighted_sum(layer *l, int reverse, double *const weights[3]) {
    static const int results[] = {MG_ARG_Y, MG_ARG_HN, MG_ARG_CN};
    double sum = 0;
    plain(l, reverse);
    for (int k = 0; k < 3; k++)
        for (int64_t i = 0; i < numbers(l, results[k]); i++)
            sum += weights[k][i] * l->a[results[k]][i];
    return sum;
}

static double number(int dtype, const void *at, int64_t i) {
    return dtype == MG_F32 ? (double)((const float *)at)[i] : ((const double *)at)[i];
}

static void near_to(int64_t i, int dtype, double got, double want, const char *what) {
    checks++;
    if (!(fabs(got - want) <= (dtype == MG_F32 ? 2e-3 : 2e-7) * (1 + fabs(want))))
        fail(what, i, got, want);
}

static void test_one_sequence(layer *l, int dtype, int reverse) {
    enum { ALL = MG_ARG_DC0 + 1 };
    const size_t size = dtype == MG_F32 ? sizeof(float) : sizeof(double);
    const int64_t H = l->H, groups = groups_of(H);
    int64_t form[16] = {dtype, l->cell, l->T, l->N, l->I, H, l->P, reverse, CLOCK, groups};
    for (int64_t j = 0; j < groups; j++) {
        form[10 + j] = group_end(H, j) - (j ? group_end(H, j - 1) : 0);
        form[10 + groups + j] = periods_of[j];
    }
    void *real[ALL] = {NULL};
    double *weights[3] = {NULL};
    for (int i = 0; i < ALL; i++) {
        const int64_t n = numbers(l, i);
        if (!n) continue;
        real[i] = malloc(size * (size_t)n); /* a heap block each: the sanitizers see an overrun */
        const int given = i <= MG_ARG_C0 || (i >= MG_ARG_DY && i <= MG_ARG_DCN);
        double *exact = malloc(sizeof(double) * (size_t)n);
        for (int64_t k = 0; k < n; k++) {
            exact[k] = given ? (double)((k * 37 + i * 11) % 23 - 11) / 16 : NAN;
            if (dtype == MG_F32)
                ((float *)real[i])[k] = (float)exact[k];
            else
                ((double *)real[i])[k] = exact[k];
        }
        if (i <= MG_ARG_CELLS)
            l->a[i] = exact;
        else if (i <= MG_ARG_DCN)
            weights[i - MG_ARG_DY] = exact;
        else
            free(exact);
    }
    for (int threads = 1; threads <= 3; threads++) {
        mg_set_threads(threads);
        status(mg_sequence_forward(form, real, NULL, NULL), MG_OK);
        status(mg_sequence_backward(form, real, NULL, NULL), MG_OK);
        plain(l, reverse);
        for (int i = MG_ARG_Y; i <= MG_ARG_CN; i++)
            for (int64_t k = 0; k < numbers(l, i); k++)
                near_to(k, dtype, number(dtype, real[i], k), l->a[i][k], "result");
    }
    static const int of[] = {MG_ARG_X, MG_ARG_W,  MG_ARG_U,  MG_ARG_UN, MG_ARG_PROJ, MG_ARG_B,
                             MG_ARG_C, MG_ARG_PI, MG_ARG_PF, MG_ARG_PO, MG_ARG_H0,   MG_ARG_C0};
    for (int i = 0; i < (int)(sizeof of / sizeof *of);
         i++) { /* gradients follow in the order of the operands */
        for (int64_t k = 0; k < numbers(l, of[i]); k++) {
            double *at = l->a[of[i]] + k, x = *at, step = 1e-5;
            *at = x + step;
            const double above = weighted_sum(l, reverse, weights);
            *at = x - step;
            const double below = weighted_sum(l, reverse, weights);
            *at = x;
            near_to(k, dtype, number(dtype, real[MG_ARG_DX + i], k), (above - below) / (2 * step),
                    "gradient");
        }
    }
    for (int i = 0; i < ALL; i++) free(real[i]);
    for (int i = 0; i <= MG_ARG_CELLS; i++) free(l->a[i]), l->a[i] = NULL;
    for (int i = 0; i < 3; i++) free(weights[i]);
}

static void test_sequences(int dtype) {
    static const int64_t sizes[][4] = {{1, 1, 1, 1}, {5, 3, 2, 5}, {4, 1, 3, 9}, {3, 9, 4, 17}};
    for (int cell = 0; cell < MG_SEQS; cell++) {
        if (cell == MG_SEQ_rnn_relu || cell == MG_SEQ_clockwork_relu)
            continue; /* differences stumble over its kink: test_fused.py */
        for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
            for (int how = 0; how < (is_lstm(cell) && sizes[k][3] > 1 ? 4 : 2); how++) {
                layer l = {.cell = cell, .T = sizes[k][0], .N = sizes[k][1], .I = sizes[k][2]};
                l.H = l.P = sizes[k][3];
                if (how > 1) l.P = l.H / 2 + 1;
                for (int i = 0; i < 3 && is_lstm(cell); i++)
                    l.sees[i] = (2 * (int)k + how) >> i & 1;
                if (cell == MG_SEQ_lstm_coupled_input) l.sees[0] = 0;
                if (cell == MG_SEQ_lstm_coupled_forget) l.sees[1] = 0;
                subject("sequence", how & 1 ? "reversed" : "", dtype, cell, l.T, l.N, l.H);
                test_one_sequence(&l, dtype, how & 1);
            }
        }
    }
}
