/* kernels_matrix.h: part of kernels.c: C [m, n] (+)= A [m, k] B [k, n]. */

/* Numbers between the rows of A and of B (columns, if transposed) that belong to neither */
enum { GAP = 3 };

typedef struct {
    int64_t m, n, k;
    int a_turned, b_turned, accumulate; /* turned: the strides of a transposed matrix */
    int batch; /* 0: none; 1: [3], one B for all; 2: [2, 3], A and B repeated along one axis each */
    double plant; /* put into A and into B, unless 0 */
} product;

static void one_gemm(int dtype, const product *q) {
    const int64_t m = q->m, n = q->n, k = q->k;
    const int64_t a_line = (q->a_turned ? m : k) + GAP, b_line = (q->b_turned ? k : n) + GAP;
    const int64_t a_size = a_line * (q->a_turned ? k : m), b_size = b_line * (q->b_turned ? n : k);
    const int64_t as[2] = {q->a_turned ? 1 : a_line, q->a_turned ? a_line : 1};
    const int64_t bs[2] = {q->b_turned ? 1 : b_line, q->b_turned ? b_line : 1};
    const int64_t batches = q->batch == 0 ? 1 : q->batch == 1 ? 3 : 6;
    int64_t form[15] = {dtype, m, n, k, as[0], as[1], bs[0], bs[1], q->batch};
    if (q->batch == 1) memcpy(form + 9, (int64_t[]){3, a_size, 0}, 3 * sizeof *form);
    if (q->batch == 2) memcpy(form + 9, (int64_t[]){2, 3, a_size, 0, 0, b_size}, 6 * sizeof *form);
    const int a_mats = q->batch == 0 ? 1 : q->batch == 1 ? 3 : 2, b_mats = q->batch == 2 ? 3 : 1;
    array C[3], A = drawn(dtype, a_mats * a_size, 1), B = drawn(dtype, b_mats * b_size, 1);
    array old = drawn(dtype, batches * m * n, 1);
    subject("gemm", q->accumulate ? "accumulate" : "", dtype, m, n, k,
            100 * q->a_turned + 10 * q->b_turned + q->batch);
    for (int64_t i = 0; i < A.n; i++) /* what is in the gaps must not get in */
        if (i % a_line >= a_line - GAP) put(&A, i, NAN);
    for (int64_t i = 0; i < B.n; i++)
        if (i % b_line >= b_line - GAP) put(&B, i, NAN);
    if (q->plant != 0 && m * n * k > 0) {
        put(&A, below(m) * as[0] + below(k) * as[1], q->plant);
        put(&B, below(k) * bs[0] + below(n) * bs[1], q->plant);
    }
    for (int t = 0; t < 3; t++) {
        mg_set_threads(t + 1);
        C[t] = result(dtype, batches * m * n);
        if (q->accumulate) memcpy(C[t].at, old.at, (size_t)(old.n * size_of(dtype)));
        status(mg_gemm(form, C[t].at, A.at, B.at, q->accumulate), MG_OK);
    }
    same(C);
    for (int64_t i = 0; i < C[0].n; i++) {
        const int64_t batch = i / (m * n), row = i / n % m, column = i % n;
        const int64_t a = row * as[0] + (q->batch == 1 ? batch : batch / 3) * a_size;
        const int64_t b = column * bs[1] + (q->batch == 2 ? batch % 3 : 0) * b_size;
        double sum = q->accumulate ? get(&old, i) : 0, size = fabs(sum);
        for (int64_t p = 0; p < k; p++) {
            const double term = get(&A, a + p * as[1]) * get(&B, b + p * bs[0]);
            sum += term, size += fabs(term);
        }
        expect(i, dtype, get(&C[0], i), (truth){sum, 2 * (4 + sqrt((double)k)) * size}, 0);
    }
    release(&C[0]), release(&A), release(&B), release(&old);
}

static void test_gemm(int dtype) {
    static const int64_t sizes[][3] = {
        {0, 3, 2},    {3, 0, 2},    {3, 4, 0},   {1, 1, 1},    {1, 5, 3},      {3, 1, 7},
        {2, 3, 4},    {5, 17, 9},   {8, 16, 32}, {13, 33, 65}, {31, 67, 300},  {64, 64, 64},
        {1, 300, 70}, {4, 256, 64}, {600, 5, 3}, {7, 530, 20}, {130, 70, 270}, {9, 48, 600}};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (int turned = 0; turned < 8; turned++) {
            product q = {sizes[s][0],     sizes[s][1], sizes[s][2], turned & 1,
                         turned >> 1 & 1, turned >> 2, 0,           0};
            one_gemm(dtype, &q);
            if (q.m * q.n * q.k > 100000) continue;
            for (q.batch = 1; q.batch <= 2; q.batch++) one_gemm(dtype, &q);
            q.batch = 0;
            q.plant = NAN, one_gemm(dtype, &q);
            q.plant = INFINITY, one_gemm(dtype, &q);
        }
    for (int64_t m = 1; m <= 20; m++) /* around the tiles */
        for (int64_t n = 1; n <= 70; n += 1 + n / 20)
            one_gemm(dtype, &(product){m, n, 1 + (m + n) % 5, m & 1, n & 1, 0, 0, 0});
    one_gemm(dtype, &(product){200, 310, 64, 0, 0, 0, 0, 0}); /* several tasks */
    one_gemm(dtype, &(product){200, 310, 64, 1, 1, 1, 0, 0});
}
