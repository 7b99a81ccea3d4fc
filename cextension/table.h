/* table.h: one table of kernels per (instruction set, dtype); door.c picks, isa/ fills.
 * Kernels see contiguous blocks only: strides, broadcasting and threads are the door's business. */
#ifndef MG_TABLE_H
#define MG_TABLE_H
#include "minigrad.h"

#define MAP(name) MG_MAP_##name,
enum mg_map_op {
#include "kernels.def"
    MG_MAPS
};
#define ZIP(name) MG_ZIP_##name,
enum mg_zip_op {
#include "kernels.def"
    MG_ZIPS
};
#define CMP(name) MG_CMP_##name,
enum mg_cmp_op {
#include "kernels.def"
    MG_CMPS
};
#define SEL(name) MG_SEL_##name,
enum mg_sel_op {
#include "kernels.def"
    MG_SELS
};
#define RED(name) MG_RED_##name,
enum mg_red_op {
#include "kernels.def"
    MG_REDS
};
#define ROW(name) MG_ROW_##name,
enum mg_row_op {
#include "kernels.def"
    MG_ROWS
};
#define UPD(name) MG_UPD_##name,
enum mg_upd_op {
#include "kernels.def"
    MG_UPDS
};
#define SEQ(name) MG_SEQ_##name,
enum mg_seq_op {
#include "kernels.def"
    MG_SEQS
};

/* An input of an elementwise kernel: n elements (step 1), or one that is repeated (step 0): then
 * MG_REPEAT copies of it lie at `at`, enough for the longest step of any kernel. */
typedef struct {
    const void *at;
    int64_t step;
} mg_source;
enum { MG_REPEAT = 64 };

/* y[i] = op(x[0][i], ...).  stream: y is large and not read again soon, so write past the caches.
 */
typedef void mg_kernel(int64_t n, void *y, const mg_source *x, int stream);

typedef struct {
    mg_kernel *map[MG_MAPS], *zip[MG_ZIPS];
    mg_kernel *compare[MG_CMPS]; /* y: bytes */
    mg_kernel *select[MG_SELS];
    /* One task's share of a reduction, see reduce.inc */
    int (*reduce)(int op, int64_t outer, int64_t length, int64_t inner, void *y, const void *x,
                  double parameter);
    int (*rows)(int op, int64_t rows, int64_t n, void *y, const void *x, const void *b, void *aux,
                double parameter);
    int (*cross_entropy)(int64_t rows, int64_t n, void *loss, void *lse, const void *x,
                         const int64_t *target, int64_t ignore, double *total, int64_t *bad);
    int (*cross_entropy_grad)(int64_t rows, int64_t n, void *dx, const void *g, int64_t g_step,
                              double scale, const void *x, const void *lse, const int64_t *target,
                              int64_t ignore);
    int (*gather)(int64_t n, int64_t width, int64_t size, void *y, const void *table,
                  const int64_t *index, int64_t *bad);
    int (*scatter_add)(int64_t n, int64_t width, int64_t size, void *table, const void *x,
                       const int64_t *index, int64_t *bad);
    int (*gemm)(int64_t m, int64_t n, int64_t k, void *C, const void *A, int64_t a_row,
                int64_t a_col, const void *B, int64_t b_row, int64_t b_col, int accumulate,
                const int64_t *batch);
    int (*sequence_forward)(const int64_t *form, void *const *arrays, void *const *options,
                            const int64_t *counts);
    int (*sequence_backward)(const int64_t *form, void *const *arrays, void *const *options,
                             const int64_t *counts);
    int (*clockwork_forward)(const int64_t *form, void *const *arrays, const int64_t *counts);
    int (*clockwork_backward)(const int64_t *form, void *const *arrays, const int64_t *counts);
    int (*step_jacobian)(const int64_t *form, void *const *arrays);
    int (*rtrl)(const int64_t *form, void *const *arrays);
    int (*spmm)(int64_t n, int64_t rows, int64_t columns, void *y, const void *x,
                const int64_t *first, const int32_t *index, const void *value);
    int (*reservoir)(const int64_t *form, void *const *arrays, const int64_t *first,
                     const int32_t *index, double leak, const int64_t *counts);
    int (*ctc_forward)(const int64_t *form, void *loss, void *alpha, const void *x,
                       const int64_t *labels, const int64_t *steps, const int64_t *lengths,
                       int64_t *bad);
    int (*ctc_backward)(const int64_t *form, void *dx, const void *g, const void *alpha,
                        const void *x, const int64_t *labels, const int64_t *steps,
                        const int64_t *lengths);
    int (*crf_forward)(const int64_t *form, void *log_z, void *alpha, const void *x, const void *A,
                       const void *start, const void *end, const int64_t *steps);
    int (*crf_backward)(const int64_t *form, void *dx, void *dA, const void *g, const void *alpha,
                        const void *A, const void *end, const int64_t *steps);
    int (*update)(int op, int64_t count, const int64_t *sizes, void *const *arrays,
                  const double *hyper);
    double (*sum_squares)(int64_t count, const int64_t *sizes, void *const *arrays);
    void (*scale)(int64_t count, const int64_t *sizes, void *const *arrays, double factor);
    int (*covariance)(int64_t count, const int64_t *sizes, void *P, int64_t v, const void *V,
                      const double *q, int64_t h, const void *H, void *PH, double *least);
} mg_table;

/* The kernels in use for MG_F32 or MG_F64 (cpu.c); NULL for any other dtype. */
const mg_table *mg_kernels(int dtype);

/* ---- shared services (parallel.c, scratch.c) --------------------------------------------- */

/* Call body(context, begin, end) for consecutive chunks that cover [0, n), each `grain` long (the
 * last one shorter).  The cut depends on n and grain alone, never on the number of threads, so a
 * body whose chunks write to different places gives the same bits whoever runs them. */
typedef void (*mg_body)(void *context, int64_t begin, int64_t end);
void mg_parallel_for(int64_t n, int64_t grain, mg_body body, void *context);

/* This thread's workspace: 64-byte aligned, at least `bytes`, valid until this thread asks again.
 * NULL: out of memory. */
void *mg_scratch(size_t bytes);

#endif
