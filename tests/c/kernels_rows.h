/* kernels_rows.h: part of kernels.c: what works along an axis, indexing, optimisers. */

static const double planted[] = {0, NAN, INFINITY, -INFINITY}; /* 0: nothing */

/* ---- reductions: [outer, length, inner] -------------------------------------------------- */

static void one_reduction(int op, int dtype, int64_t outer, int64_t length, int64_t inner,
                          double plant) {
    const int is_arg = op == MG_RED_argmax || op == MG_RED_argmin;
    const int64_t n = outer * inner;
    const double correction = op == MG_RED_var ? (double)(length % 3) : 0;
    array y[3], x = drawn(dtype, n * length, 1);
    double *column = malloc((size_t)length * sizeof *column);
    subject("reduce", reductions[op].name, dtype, outer, length, inner, (int64_t)plant != 0);
    if (op == MG_RED_prod) /* about as many factors above 1 as below: the product stays in range */
        for (int64_t i = 0; i < x.n; i++)
            put(&x, i, (below(2) ? -1 : 1) * exp2(get(&x, i) / sqrt((double)length)));
    else
        for (int64_t i = 0; i < x.n; i += 1 + below(7)) put(&x, i, round(get(&x, i))); /* ties */
    if (plant != 0) put(&x, below(x.n), plant);
    for (int t = 0; t < 3; t++) {
        mg_set_threads(t + 1);
        y[t] = result(is_arg ? MG_I64 : dtype, n);
        status(mg_reduce(op, dtype, outer, length, inner, y[t].at, x.at, correction), MG_OK);
    }
    same(y);
    for (int64_t i = 0; i < n; i++) {
        for (int64_t k = 0; k < length; k++)
            column[k] = get(&x, (i / inner * length + k) * inner + i % inner);
        expect(i, y[0].dtype, get(&y[0], i), reductions[op].of(length, column, correction), 0);
    }
    release(&y[0]);
    release(&x);
    free(column);
}

static void test_reductions(int dtype) {
    static const int64_t sizes[][3] = {{1, 1, 1},     {3, 7, 1},     {70, 5, 1},    {2, 100, 1},
                                       {200, 33, 1},  {1, 70001, 1}, {3, 9001, 1},  {2, 3, 5},
                                       {3, 130, 7},   {2, 300, 16},  {1, 17, 2100}, {5, 64, 33},
                                       {1, 700, 130}, {90, 9, 40},   {40, 4, 1000}, {2, 2500, 3}};
    for (int op = 0; op < MG_REDS; op++) {
        for (int64_t length = 1; length <= 70; length++) one_reduction(op, dtype, 3, length, 1, 0);
        for (int64_t inner = 2; inner <= 35; inner++) one_reduction(op, dtype, 2, 11, inner, 0);
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
            for (int p = 0; p < 4; p++)
                one_reduction(op, dtype, sizes[s][0], sizes[s][1], sizes[s][2], planted[p]);
    }
}

/* ---- rows -------------------------------------------------------------------------------- */

static void one_rows(int op, int dtype, int64_t rows, int64_t n, double plant) {
    const int is_grad =
        op == MG_ROW_softmax_grad || op == MG_ROW_log_softmax_grad || op == MG_ROW_normalize_grad;
    const double eps = 1e-5;
    array y[3], aux[3], x = drawn(dtype, rows * n, 1), b = drawn(dtype, is_grad ? rows * n : 0, 1);
    array rstd = drawn(dtype, rows, 1);
    double *in = malloc((size_t)n * 2 * sizeof *in);
    truth *want = malloc((size_t)n * sizeof *want);
    subject("rows", row_ops[op].name, dtype, rows, n, is_grad, plant != 0);
    if (plant != 0) put(&x, below(x.n), plant);
    for (int t = 0; t < 3; t++) {
        mg_set_threads(t + 1);
        y[t] = result(dtype, rows * n);
        aux[t] = result(dtype, rows);
        memcpy(aux[t].at, rstd.at, (size_t)(rows * size_of(dtype)));
        memcpy(y[t].at, x.at, (size_t)(x.n * size_of(dtype)));
        status(mg_rows(op, dtype, rows, n, y[t].at, t == 2 ? y[t].at : x.at, is_grad ? b.at : NULL,
                       aux[t].at, eps),
               MG_OK);
    }
    same(y);
    same(aux);
    for (int64_t r = 0; r < rows; r++) {
        truth kept = {get(&rstd, r), 0};
        get_all(&x, r * n, n, in);
        if (is_grad) get_all(&b, r * n, n, in + n);
        row_ops[op].of(n, want, in, in + n, &kept, dtype == MG_F32 ? (double)(float)eps : eps);
        for (int64_t i = 0; i < n; i++) expect(r * n + i, dtype, get(&y[0], r * n + i), want[i], 0);
        expect(r, dtype, get(&aux[0], r), kept, 0);
    }
    release(&y[0]);
    release(&aux[0]);
    release(&x);
    release(&b);
    release(&rstd);
    free(in);
    free(want);
}

static void test_rows(int dtype) {
    for (int op = 0; op < MG_ROWS; op++) {
        for (int64_t n = 1; n <= 70; n++) one_rows(op, dtype, 3, n, 0);
        for (int p = 0; p < 4; p++) {
            one_rows(op, dtype, 1, 1, planted[p]);
            one_rows(op, dtype, 5, 19, planted[p]);
            one_rows(op, dtype, 50, 1001, planted[p]); /* several tasks */
        }
    }
}

/* ---- cross-entropy ----------------------------------------------------------------------- */

static void one_cross_entropy(int dtype, int64_t rows, int64_t n, int64_t step) {
    const int64_t ignore = -100;
    array loss[3], lse[3], dx[3], x = drawn(dtype, rows * n, 1), g = drawn(dtype, rows, 1);
    array target = input(MG_I64, rows);
    int64_t bad, *to = (int64_t *)(void *)target.at;
    double total[2], sum = 0, used = 0, *in = malloc((size_t)n * sizeof *in);
    subject("cross_entropy", "", dtype, rows, n, 0, 0);
    for (int64_t r = 0; r < rows; r++) to[r] = below(5) ? below(n) : ignore;
    for (int t = 0; t < 3; t++) {
        mg_set_threads(t + 1);
        loss[t] = result(dtype, rows), lse[t] = result(dtype, rows),
        dx[t] = result(dtype, rows * n);
        status(
            mg_cross_entropy(dtype, rows, n, loss[t].at, lse[t].at, x.at, to, ignore, total, &bad),
            MG_OK);
        status(mg_cross_entropy_grad(dtype, rows, n, dx[t].at, g.at, step, 0.25, x.at, lse[t].at,
                                     to, ignore),
               MG_OK);
    }
    same(loss);
    same(lse);
    same(dx);
    for (int64_t r = 0; r < rows; r++) {
        get_all(&x, r * n, n, in);
        const truth l = reduce_logsumexp(n, in, 0);
        const int on = to[r] != ignore;
        const double x_t = on ? in[to[r]] : 0, g_r = get(&g, r * step) / 4;
        sum += get(&loss[0], r), used += on;
        expect(r, dtype, get(&lse[0], r), l, 0);
        expect(r, dtype, get(&loss[0], r), (truth){on ? l.value - x_t : 0, on ? l.slack + 64 : 0},
               0);
        for (int64_t i = 0; i < n; i++) {
            const double p = exp(in[i] - l.value) - (i == to[r]);
            expect(r * n + i, dtype, get(&dx[0], r * n + i),
                   (truth){on ? g_r * p : 0, on ? 64 * fabs(g_r) : 0}, 0);
        }
    }
    status(total[0] == sum && total[1] == used, 1); /* in the order of the rows */
    const int64_t wrong = below(rows);
    to[wrong] = n;
    status(mg_cross_entropy(dtype, rows, n, loss[0].at, lse[0].at, x.at, to, ignore, total, &bad),
           MG_BAD_INDEX);
    status((int)bad, (int)wrong);
    status(
        mg_cross_entropy_grad(dtype, rows, n, dx[0].at, g.at, step, 1, x.at, lse[0].at, to, ignore),
        MG_BAD_INDEX);
    release(&loss[0]), release(&lse[0]), release(&dx[0]);
    release(&x), release(&g), release(&target);
    free(in);
}

static void test_cross_entropy(int dtype) {
    for (int64_t n = 1; n <= 70; n++) one_cross_entropy(dtype, 5, n, n % 2);
    one_cross_entropy(dtype, 100, 97, 1);
    one_cross_entropy(dtype, 3, 9001, 1);
    one_cross_entropy(dtype, 3001, 20, 0); /* several tasks */
}

/* ---- gather, scatter_add ----------------------------------------------------------------- */

static void one_indexing(int dtype, int64_t n, int64_t width, int64_t size) {
    array y[3], sum[3], table = drawn(dtype, size * width, 0), x = drawn(dtype, n * width, 0);
    array index = input(MG_I64, n), want = input(dtype, size * width);
    int64_t bad, *at = (int64_t *)(void *)index.at;
    const size_t bytes = (size_t)(table.n * size_of(dtype));
    subject("gather, scatter_add", "", dtype, n, width, size, 0);
    for (int64_t i = 0; i < n; i++) at[i] = below(2 * size) - size;
    for (int t = 0; t < 3; t++) {
        mg_set_threads(t + 1);
        y[t] = result(dtype, n * width), sum[t] = result(dtype, size * width);
        status(mg_gather(dtype, n, width, size, y[t].at, table.at, at, &bad), MG_OK);
        memcpy(sum[t].at, table.at, bytes);
        status(mg_scatter_add(dtype, n, width, size, sum[t].at, x.at, at, &bad), MG_OK);
    }
    same(y);
    same(sum);
    memcpy(want.at, table.at, bytes);
    for (int64_t i = 0; i < n * width; i++) { /* in this order, so equal to the last bit */
        const int64_t row = (at[i / width] + size) % size, k = row * width + i % width;
        expect(i, dtype, get(&y[0], i), (truth){get(&table, k), 0}, 1);
        put(&want, k, get(&want, k) + get(&x, i));
    }
    for (int64_t k = 0; k < want.n; k++)
        expect(k, dtype, get(&sum[0], k), (truth){get(&want, k), 0}, 0);
    const int64_t wrong = below(n);
    at[wrong] = below(2) ? size : -size - 1;
    status(mg_gather(dtype, n, width, size, y[0].at, table.at, at, &bad), MG_BAD_INDEX);
    status((int)bad, (int)wrong);
    status(mg_scatter_add(dtype, n, width, size, sum[0].at, x.at, at, &bad), MG_BAD_INDEX);
    status((int)bad, (int)wrong);
    release(&y[0]), release(&sum[0]);
    release(&table), release(&x), release(&index), release(&want);
}

static void test_indexing(int dtype) {
    for (int64_t width = 1; width <= 40; width++) one_indexing(dtype, 9, width, 4);
    one_indexing(dtype, 70001, 1, 11);
    one_indexing(dtype, 500, 700, 7); /* several tasks */
}

/* ---- optimisers, sum of squares ---------------------------------------------------------- */

static void one_update(int op, int dtype, int64_t n, const double *hyper) {
    array p[3], s1[3], s2[3], g = drawn(dtype, n, 1);
    array old[3] = {drawn(dtype, n, 1), drawn(dtype, n, 1), drawn(dtype, 2 * n, 1)};
    /* a mean of squares is positive, and (s2 of rmsprop) no smaller than the mean's square */
    const int square = op == MG_UPD_rmsprop ? 1 : 2;
    subject("update", updates[op].name, dtype, n, 0, 0, 0);
    for (int64_t i = 0; op != MG_UPD_sgd && i < n; i++)
        put(&old[square], i, 20 + fabs(get(&old[square], i)));
    for (int t = 0; t < 3; t++) {
        mg_set_threads(t + 1);
        p[t] = result(dtype, n), s1[t] = result(dtype, n), s2[t] = result(dtype, 2 * n);
        memcpy(p[t].at, old[0].at, (size_t)(n * size_of(dtype)));
        memcpy(s1[t].at, old[1].at, (size_t)(n * size_of(dtype)));
        memcpy(s2[t].at, old[2].at, (size_t)(2 * n * size_of(dtype)));
        void *const arrays[] = {p[t].at, g.at, s1[t].at, s2[t].at};
        status(mg_update(op, dtype, 1, &n, arrays, hyper), MG_OK);
    }
    same(p);
    same(s1);
    same(s2);
    for (int64_t i = 0; i < n; i++) {
        truth v[4] = {{get(&old[0], i), 0}, {get(&old[1], i), 0}};
        v[S2].value = get(&old[2], i), v[S3].value = get(&old[2], n + i);
        updates[op].of(hyper, v, get(&g, i));
        expect(i, dtype, get(&p[0], i), v[P], 0);
        expect(i, dtype, get(&s1[0], i), v[S1], 0);
        expect(i, dtype, get(&s2[0], i), v[S2], 0);
        expect(n + i, dtype, get(&s2[0], n + i), v[S3], 0);
    }
    release(&p[0]), release(&s1[0]), release(&s2[0]), release(&g);
    for (int k = 0; k < 3; k++) release(&old[k]);
}

/* One call for arrays of many sizes, cut in the middle of some: what a call for each gives. */
static void test_lists(int dtype) {
    static const int64_t sizes[] = {1, 0, 64, 65, 40000, 7, 100000, 3};
    enum { COUNT = sizeof sizes / sizeof *sizes };
    static const double hyper[] = {0.1, 0, 0, 0.01, 0, 0, 0}; /* sgd_hyper */
    array p[COUNT][3], g[COUNT];
    double want = 0, sum[3];
    subject("lists", "", dtype, 0, 0, 0, 0);
    for (int k = 0; k < COUNT; k++) g[k] = drawn(dtype, sizes[k], 1);
    for (int t = 0; t < 3; t++) { /* t = 0: a call for each */
        void *arrays[4 * COUNT], *ps[COUNT], *gs[COUNT];
        mg_set_threads(t + 1);
        for (int k = 0; k < COUNT; k++) {
            p[k][t] = result(dtype, sizes[k]);
            for (int64_t i = 0; i < sizes[k]; i++) put(&p[k][t], i, get(&g[k], sizes[k] - 1 - i));
            void *const one[] = {p[k][t].at, g[k].at, NULL, NULL};
            memcpy(arrays + 4 * k, one, sizeof one);
            ps[k] = p[k][t].at, gs[k] = g[k].at;
            if (t > 0) continue;
            status(mg_update(MG_UPD_sgd, dtype, 1, sizes + k, one, hyper), MG_OK);
            status(mg_scale(dtype, 1, sizes + k, ps + k, 0.7), MG_OK);
            want += mg_sum_squares(dtype, 1, sizes + k, gs + k);
        }
        if (t > 0) {
            status(mg_update(MG_UPD_sgd, dtype, COUNT, sizes, arrays, hyper), MG_OK);
            status(mg_scale(dtype, COUNT, sizes, ps, 0.7), MG_OK);
        }
        sum[t] = mg_sum_squares(dtype, COUNT, sizes, gs);
    }
    status(sum[0] == sum[1] && sum[1] == sum[2], 1);
    status(fabs(sum[0] / want - 1) < 1e-13, 1);
    for (int k = 0; k < COUNT; k++) {
        same(p[k]);
        release(&p[k][0]), release(&g[k]);
    }
}

static void test_updates(int dtype) {
    static const double hyper[MG_UPDS][3][8] = {
        [MG_UPD_sgd] = {{0.1, 0.9, 0, 0, 0, 1, 0},
                        {0.1, 0.9, 0.2, 0.01, 0, 0, 1},
                        {0.1, 0.9, 0, 0.01, 1, 0, 0}},
        [MG_UPD_adam] = {{0.01, 0.9, 0.999, 1e-8, 0, 0.1, 0.001, 0},
                         {0.01, 0.9, 0.999, 1e-8, 0.1, 0.271, 0.002997001, 1},
                         {0.01, 0.5, 0.5, 1e-3, 0.1, 0.75, 0.75, 0}},
        [MG_UPD_adamw] = {{0.01, 0.9, 0.999, 1e-8, 0, 0.1, 0.001, 0},
                          {0.01, 0.9, 0.999, 1e-8, 0.1, 0.271, 0.002997001, 1},
                          {0.01, 0.5, 0.5, 1e-3, 0.1, 0.75, 0.75, 0}},
        [MG_UPD_rmsprop] = {{0.01, 0.99, 1e-8, 0, 0, 0, 0},
                            {0.01, 0.99, 1e-8, 0.1, 0.9, 0, 1},
                            {0.01, 0.9, 1e-3, 0.1, 0.9, 1, 0}},
    };
    for (int op = 0; op < MG_UPDS; op++)
        for (int h = 0; h < 3; h++) {
            for (int64_t n = 1; n <= 40; n++) one_update(op, dtype, n, hyper[op][h]);
            one_update(op, dtype, 70001, hyper[op][h]); /* several tasks */
        }
    for (int64_t n = 0; n < 80000; n += 1 + n * (n > 70)) {
        array x = drawn(dtype, n, 1);
        double one = 0, *in = malloc((size_t)n * sizeof *in + 1);
        subject("sum_squares", "", dtype, n, 0, 0, 0);
        get_all(&x, 0, n, in);
        for (int t = 1; t <= 3; t++) {
            mg_set_threads(t);
            const double sum = mg_sum_squares(dtype, 1, &n, (void *[]){x.at});
            if (t == 1) one = sum;
            if (sum != one) fail("threads differ", t, sum, one);
        }
        expect(0, MG_F64, one, (truth){dot_of(n, in, in), 64 * dot_of(n, in, in)}, 0);
        release(&x);
        free(in);
    }
}
