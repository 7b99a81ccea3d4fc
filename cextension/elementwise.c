/* elementwise.c: the exported elementwise functions: check, describe the job, run it. */
#include "strided.h"
#include <string.h>

/* Elements per task: some 2-4 us of work in cache, so that waking a thread can pay. */
enum { CHEAP = 32768, COSTLY = 8192 };

static int64_t size_of(int dtype) {
    static const int64_t bytes[] = {[MG_F32] = 4, [MG_F64] = 8, [MG_I64] = 8, [MG_BOOL] = 1};
    return bytes[dtype];
}

/* From this size on results are written past the caches, which saves reading their lines first:
 * 10^7 floats, add: 3.4 ms instead of 4.5.  Smaller ones are left in the third level for who reads
 * them. */
enum { STREAM = 16 << 20 };

static mg_operand operand(const void *base, int64_t size) {
    return (mg_operand){(char *)(uintptr_t)base, size, NULL};
}

/* Reads the form; y is contiguous. */
static int run(mg_job *job, const int64_t *form) {
    int64_t n = form[1];
    const int64_t *geometry = form + 2;
    if (n == 0) return MG_OK;
    job->stream = n * job->y.size >= STREAM;
    for (int i = 0; i < job->inputs; i++) /* in place, the lines are in the cache already */
        if (job->x[i].base == job->y.base) job->stream = 0;
    if (geometry[0] == 0) {
        mg_run_contiguous(job, n);
        return MG_OK;
    }
    if (geometry[0] < 0 || geometry[0] > MG_MAX_DIMS) return MG_BAD_OP;
    job->ndim = (int)geometry[0];
    job->shape = geometry + 1;
    int64_t y_stride[MG_MAX_DIMS], product = 1;
    for (int d = job->ndim - 1; d >= 0; d--) y_stride[d] = product, product *= job->shape[d];
    job->y.stride = y_stride;
    int flat = job->ndim == 1; /* each operand is contiguous, or one number */
    for (int i = 0; i < job->inputs; i++) {
        job->x[i].stride = geometry + 1 + job->ndim * (i + 1);
        flat = flat && (uint64_t)job->x[i].stride[0] <= 1;
    }
    if (flat)
        mg_run_contiguous(job, n);
    else
        mg_run_strided(job);
    return MG_OK;
}

static const unsigned char map_is_costly[MG_MAPS] = {
#define MAP_COSTLY(name) [MG_MAP_##name] = 1,
#include "kernels.def"
};
static const unsigned char zip_is_costly[MG_ZIPS] = {
#define ZIP_COSTLY(name) [MG_ZIP_##name] = 1,
#include "kernels.def"
};

/* Small and contiguous: the call itself counts, so no job is written. */
static int is_small(const int64_t *form) { return form[2] == 0 && form[1] <= 1024; }

int mg_map(int op, const int64_t *form, void *y, const void *x) {
    int dtype = (int)form[0];
    const mg_table *table = mg_kernels(dtype);
    if (!table || op < 0 || op >= MG_MAPS) return MG_BAD_OP;
    if (is_small(form)) {
        table->map[op](form[1], y, &(mg_source){x, 1}, 0);
        return MG_OK;
    }
    int64_t size = size_of(dtype);
    mg_job job = {.kernel = table->map[op],
                  .inputs = 1,
                  .y = operand(y, size),
                  .x = {operand(x, size)},
                  .grain = map_is_costly[op] ? COSTLY : CHEAP};
    return run(&job, form);
}

int mg_zip(int op, const int64_t *form, void *y, const void *a, const void *b) {
    int dtype = (int)form[0];
    const mg_table *table = mg_kernels(dtype);
    if (!table || op < 0 || op >= MG_ZIPS) return MG_BAD_OP;
    if (is_small(form)) {
        table->zip[op](form[1], y, (mg_source[]){{a, 1}, {b, 1}}, 0);
        return MG_OK;
    }
    int64_t size = size_of(dtype);
    mg_job job = {.kernel = table->zip[op],
                  .inputs = 2,
                  .y = operand(y, size),
                  .x = {operand(a, size), operand(b, size)},
                  .grain = zip_is_costly[op] ? COSTLY : CHEAP};
    return run(&job, form);
}

int mg_compare(int op, const int64_t *form, void *y, const void *a, const void *b) {
    int dtype = (int)form[0];
    const mg_table *table = mg_kernels(dtype);
    if (!table || op < 0 || op >= MG_CMPS) return MG_BAD_OP;
    if (is_small(form)) {
        table->compare[op](form[1], y, (mg_source[]){{a, 1}, {b, 1}}, 0);
        return MG_OK;
    }
    int64_t size = size_of(dtype);
    mg_job job = {.kernel = table->compare[op],
                  .inputs = 2,
                  .y = operand(y, 1),
                  .x = {operand(a, size), operand(b, size)},
                  .grain = CHEAP};
    return run(&job, form);
}

int mg_select(int op, const int64_t *form, void *y, const void *a, const void *b, const void *c) {
    int dtype = (int)form[0];
    const mg_table *table = mg_kernels(dtype);
    if (!table || op < 0 || op >= MG_SELS) return MG_BAD_OP;
    if (is_small(form)) {
        table->select[op](form[1], y, (mg_source[]){{a, 1}, {b, 1}, {c, 1}}, 0);
        return MG_OK;
    }
    int64_t size = size_of(dtype);
    mg_job job = {
        .kernel = table->select[op],
        .inputs = 3,
        .y = operand(y, size),
        .x = {operand(a, op == MG_SEL_where ? 1 : size), operand(b, size), operand(c, size)},
        .grain = CHEAP};
    return run(&job, form);
}

/* ---- copy -------------------------------------------------------------------------------- */

typedef float f32;
typedef double f64;
typedef int64_t i64;
typedef uint8_t b8;

/* Outside int64's range, and for NaN, C leaves the result open: INT64_MIN, as on x86. */
static inline i64 real_to_i64(f64 x) { return x >= -0x1p63 && x < 0x1p63 ? (i64)x : INT64_MIN; }
static inline i64 i64_to_i64(i64 x) { return x; }
#define VALUE_f32(x) ((f32)(x))
#define VALUE_f64(x) ((f64)(x))
#define VALUE_i64(x) _Generic((x), f32: real_to_i64, f64: real_to_i64, default: i64_to_i64)(x)
#define VALUE_b8(x) ((x) != 0)

#define CONVERT(to, from)                                                                          \
    static void from##_to_##to(int64_t n, void *y_, const mg_source *in, int stream) {             \
        to *y = y_;                                                                                \
        const from *x = in->at;                                                                    \
        (void)stream;                                                                              \
        if (in->step)                                                                              \
            for (int64_t i = 0; i < n; i++) y[i] = VALUE_##to(x[i]);                               \
        else                                                                                       \
            for (int64_t i = 0; i < n; i++) y[i] = VALUE_##to(x[0]);                               \
    }
/* clang-format off */
CONVERT(f32, f64) CONVERT(f32, i64) CONVERT(f32, b8)
CONVERT(f64, f32) CONVERT(f64, i64) CONVERT(f64, b8)
CONVERT(i64, f32) CONVERT(i64, f64) CONVERT(i64, b8)
CONVERT(b8, f32) CONVERT(b8, f64) CONVERT(b8, i64)
    /* clang-format on */

    static mg_kernel *const converters[4][4] = {
        /* [to][from]; the same type is no conversion */
        [MG_F32] = {NULL, f64_to_f32, i64_to_f32, b8_to_f32},
        [MG_F64] = {f32_to_f64, NULL, i64_to_f64, b8_to_f64},
        [MG_I64] = {f32_to_i64, f64_to_i64, NULL, b8_to_i64},
        [MG_BOOL] = {f32_to_b8, f64_to_b8, i64_to_b8, NULL},
};

static int64_t magnitude(int64_t x) { return x < 0 ? -x : x; }

/* The order of a copy is free: dimensions sorted by y's stride, longest first, those of one element
 * left out, and neighbours that are one piece in both operands merged.  Returns how many remain. */
static int simplify(const int64_t *geometry, int64_t *shape, int64_t *ys, int64_t *xs) {
    int ndim = (int)geometry[0], kept = 0;
    const int64_t *in = geometry + 1;
    for (int d = 0; d < ndim; d++) {
        int64_t extent = in[d], y = in[ndim + d], x = in[2 * ndim + d];
        if (extent == 1) continue;
        int at = kept++;
        for (; at > 0 && magnitude(ys[at - 1]) < magnitude(y); at--)
            shape[at] = shape[at - 1], ys[at] = ys[at - 1], xs[at] = xs[at - 1];
        shape[at] = extent, ys[at] = y, xs[at] = x;
    }
    int last = 0;
    for (int d = 1; d < kept; d++) {
        if (ys[last] == ys[d] * shape[d] && xs[last] == xs[d] * shape[d])
            shape[last] *= shape[d];
        else
            shape[++last] = shape[d];
        ys[last] = ys[d], xs[last] = xs[d];
    }
    return kept ? last + 1 : 0;
}

int mg_copy(int x_dtype, const int64_t *form, void *y, const void *x) {
    int y_dtype = (int)form[0];
    int64_t n = form[1];
    const int64_t *geometry = form + 2;
    if (y_dtype < 0 || y_dtype > MG_BOOL || x_dtype < 0 || x_dtype > MG_BOOL) return MG_BAD_OP;
    if (geometry[0] < 0 || geometry[0] > MG_MAX_DIMS) return MG_BAD_OP;
    if (n == 0) return MG_OK;
    mg_job job = {.kernel = converters[y_dtype][x_dtype],
                  .inputs = 1,
                  .y = operand(y, size_of(y_dtype)),
                  .x = {operand(x, size_of(x_dtype))},
                  .grain = CHEAP};
    int64_t shape[MG_MAX_DIMS], ys[MG_MAX_DIMS], xs[MG_MAX_DIMS];
    job.ndim = geometry[0] ? simplify(geometry, shape, ys, xs) : 0;
    if (job.ndim == 0 || (job.ndim == 1 && ys[0] == 1 && xs[0] == 1)) {
        mg_run_contiguous(&job, n);
        return MG_OK;
    }
    job.shape = shape;
    job.y.stride = ys;
    job.x[0].stride = xs;
    mg_run_strided(&job);
    return MG_OK;
}
