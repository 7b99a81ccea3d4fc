/* door.c: the exported functions that are not elementwise (those: elementwise.c).  Each checks what
 * would harm memory, picks the table of kernels, cuts the work into chunks for the threads, and
 * returns a status.  What a chunk computes depends on the sizes alone, never on the threads. */
#include "table.h"
#include <math.h>
#include <stdatomic.h>

/* A region with a sleeping worker costs some 10-40 us, so a chunk should be worth a few: about this
 * many elements of memory traffic. */
enum { CHUNK = 32768 };

static int64_t at_least_one(int64_t x) { return x > 1 ? x : 1; }

static int64_t size_of(int dtype) { return dtype == MG_F32 ? 4 : 8; }

/* An array at element i.  NULL stays NULL. */
static void *at(const void *base, int64_t i, int64_t bytes) {
    return base ? (char *)(uintptr_t)base + i * bytes : NULL;
}

static void split(int64_t n, int64_t grain, mg_body body, void *context) {
    if (n <= grain)
        body(context, 0, n);
    else
        mg_parallel_for(n, grain, body, context);
}

/* What the chunks of one call report: the first status that is not MG_OK, the lowest bad index. */
typedef struct {
    atomic_int status;
    _Atomic int64_t bad;
} verdict;

static void report(verdict *v, int status, int64_t bad) {
    if (status == MG_OK) return;
    atomic_store(&v->status, status);
    int64_t lowest = atomic_load(&v->bad);
    while ((lowest < 0 || bad < lowest) && !atomic_compare_exchange_weak(&v->bad, &lowest, bad)) {
    }
}

/* ---- along an axis ----------------------------------------------------------------------- */

typedef struct {
    const mg_table *table;
    int op, dtype;
    int64_t length, inner, n;
    void *y;
    const void *x, *b;
    void *aux;
    double parameter;
    verdict verdict;
} axis_job;

static void reduce_chunk(void *context, int64_t begin, int64_t end) {
    axis_job *j = context;
    int64_t size = size_of(j->dtype), y_size = size;
    if (j->op == MG_RED_argmax || j->op == MG_RED_argmin) y_size = sizeof(int64_t);
    int status = j->table->reduce(j->op, end - begin, j->length, j->inner,
                                  at(j->y, begin * j->inner, y_size),
                                  at(j->x, begin * j->length * j->inner, size), j->parameter);
    report(&j->verdict, status, begin);
}

int mg_reduce(int op, int dtype, int64_t outer, int64_t length, int64_t inner, void *y,
              const void *x, double parameter) {
    axis_job j = {mg_kernels(dtype), op,         dtype, length, inner, 0, y, x, NULL, NULL,
                  parameter,         {MG_OK, -1}};
    if (!j.table || op < 0 || op >= MG_REDS) return MG_BAD_OP;
    if (outer == 0 || inner == 0) return MG_OK;
    split(outer, at_least_one(CHUNK / at_least_one(length * inner)), reduce_chunk, &j);
    return j.verdict.status;
}

static void rows_chunk(void *context, int64_t begin, int64_t end) {
    axis_job *j = context;
    int64_t size = size_of(j->dtype), first = begin * j->n;
    int status =
        j->table->rows(j->op, end - begin, j->n, at(j->y, first, size), at(j->x, first, size),
                       at(j->b, first, size), at(j->aux, begin, size), j->parameter);
    report(&j->verdict, status, begin);
}

int mg_rows(int op, int dtype, int64_t rows, int64_t n, void *y, const void *x, const void *b,
            void *aux, double parameter) {
    axis_job j = {mg_kernels(dtype), op, dtype, 0, 0, n, y, x, b, aux, parameter, {MG_OK, -1}};
    if (!j.table || op < 0 || op >= MG_ROWS) return MG_BAD_OP;
    if (rows == 0 || n == 0) return MG_OK;
    split(rows, at_least_one(CHUNK / 4 / n), rows_chunk, &j);
    return j.verdict.status;
}

/* ---- cross-entropy ----------------------------------------------------------------------- */

typedef struct {
    const mg_table *table;
    int dtype;
    int64_t n, ignore;
    void *y, *lse;
    const void *g, *x;
    const int64_t *target;
    verdict verdict;
} entropy_job;

static void entropy_chunk(void *context, int64_t begin, int64_t end) {
    entropy_job *j = context;
    int64_t size = size_of(j->dtype), bad = 0;
    int status =
        j->table->cross_entropy(end - begin, j->n, at(j->y, begin, size), at(j->lse, begin, size),
                                at(j->x, begin * j->n, size), j->target + begin, j->ignore, &bad);
    report(&j->verdict, status, begin + bad);
}

int mg_cross_entropy(int dtype, int64_t rows, int64_t n, void *loss, void *lse, const void *x,
                     const int64_t *target, int64_t ignore, int64_t *bad) {
    entropy_job j = {mg_kernels(dtype), dtype, n, ignore, loss, lse, NULL, x, target, {MG_OK, -1}};
    if (!j.table) return MG_BAD_OP;
    if (rows) split(rows, at_least_one(CHUNK / 4 / at_least_one(n)), entropy_chunk, &j);
    *bad = j.verdict.bad;
    return j.verdict.status;
}

static void entropy_grad_chunk(void *context, int64_t begin, int64_t end) {
    entropy_job *j = context;
    int64_t size = size_of(j->dtype);
    int status = j->table->cross_entropy_grad(
        end - begin, j->n, at(j->y, begin * j->n, size), at(j->g, begin, size),
        at(j->x, begin * j->n, size), at(j->lse, begin, size), j->target + begin, j->ignore);
    report(&j->verdict, status, begin);
}

int mg_cross_entropy_grad(int dtype, int64_t rows, int64_t n, void *dx, const void *g,
                          const void *x, const void *lse, const int64_t *target, int64_t ignore) {
    entropy_job j = {mg_kernels(dtype),      dtype, n, ignore, dx,
                     (void *)(uintptr_t)lse, g,     x, target, {MG_OK, -1}};
    if (!j.table) return MG_BAD_OP;
    if (rows) split(rows, at_least_one(CHUNK / 4 / at_least_one(n)), entropy_grad_chunk, &j);
    return j.verdict.status;
}

/* ---- indexing ---------------------------------------------------------------------------- */

typedef struct {
    const mg_table *table;
    int dtype;
    int64_t width, size;
    void *y;
    const void *rows;
    const int64_t *index;
    verdict verdict;
} gather_job;

static void gather_chunk(void *context, int64_t begin, int64_t end) {
    gather_job *j = context;
    int64_t bad = 0;
    int status = j->table->gather(end - begin, j->width, j->size,
                                  at(j->y, begin * j->width, size_of(j->dtype)), j->rows,
                                  j->index + begin, &bad);
    report(&j->verdict, status, begin + bad);
}

int mg_gather(int dtype, int64_t n, int64_t width, int64_t size, void *y, const void *table,
              const int64_t *index, int64_t *bad) {
    gather_job j = {mg_kernels(dtype), dtype, width, size, y, table, index, {MG_OK, -1}};
    if (!j.table) return MG_BAD_OP;
    if (n) split(n, at_least_one(CHUNK / at_least_one(width)), gather_chunk, &j);
    *bad = j.verdict.bad;
    return j.verdict.status;
}

int mg_scatter_add(int dtype, int64_t n, int64_t width, int64_t size, void *table, const void *x,
                   const int64_t *index, int64_t *bad) {
    const mg_table *kernels = mg_kernels(dtype);
    *bad = -1;
    if (!kernels) return MG_BAD_OP;
    return kernels->scatter_add(n, width, size, table, x, index, bad);
}

/* ---- matrices (gemm.inc cuts for the threads itself) ------------------------------------- */

int mg_gemm(const int64_t *form, void *C, const void *A, const void *B, int accumulate) {
    const mg_table *table = mg_kernels((int)form[0]);
    if (!table) return MG_BAD_OP;
    return table->gemm(form[1], form[2], form[3], C, A, form[4], form[5], B, form[6], form[7],
                       accumulate, form[8] ? form + 8 : NULL);
}

/* ---- training ---------------------------------------------------------------------------- */

typedef struct {
    const mg_table *table;
    int op, dtype;
    void *p;
    const void *g;
    void *s1, *s2;
    const double *hyper;
    verdict verdict;
} update_job;

static void update_chunk(void *context, int64_t begin, int64_t end) {
    update_job *j = context;
    int64_t size = size_of(j->dtype);
    int status = j->table->update(j->op, end - begin, at(j->p, begin, size), at(j->g, begin, size),
                                  at(j->s1, begin, size), at(j->s2, begin, size), j->hyper);
    report(&j->verdict, status, begin);
}

int mg_update(int op, int dtype, int64_t n, void *p, const void *g, void *s1, void *s2,
              const double *hyper) {
    update_job j = {mg_kernels(dtype), op, dtype, p, g, s1, s2, hyper, {MG_OK, -1}};
    if (!j.table || op < 0 || op >= MG_UPDS) return MG_BAD_OP;
    if (n) split(n, CHUNK, update_chunk, &j);
    return j.verdict.status;
}

enum { PARTS = 256 };

typedef struct {
    const mg_table *table;
    int dtype;
    int64_t grain;
    const void *x;
    double sums[PARTS];
} squares_job;

static void squares_chunk(void *context, int64_t begin, int64_t end) {
    squares_job *j = context;
    j->sums[begin / j->grain] =
        j->table->sum_squares(end - begin, at(j->x, begin, size_of(j->dtype)));
}

double mg_sum_squares(int dtype, int64_t n, const void *x) {
    squares_job j = {.table = mg_kernels(dtype), .dtype = dtype, .grain = CHUNK, .x = x};
    if (!j.table) return NAN;
    if (n > (int64_t)CHUNK * PARTS) j.grain = (n + PARTS - 1) / PARTS;
    split(n, j.grain, squares_chunk, &j);
    double sum = 0;
    for (int64_t part = 0; part * j.grain < n; part++) sum += j.sums[part];
    return sum;
}
