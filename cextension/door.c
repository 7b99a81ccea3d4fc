/* door.c: the exported functions that are not elementwise (those: elementwise.c): each picks the
 * table of kernels.  The kernels check what would harm memory and cut their work for the threads.
 */
#include "table.h"
#include <math.h>

/* ---- along an axis ----------------------------------------------------------------------- */

int mg_reduce(int op, int dtype, int64_t outer, int64_t length, int64_t inner, void *y,
              const void *x, double parameter) {
    const mg_table *table = mg_kernels(dtype);
    return table ? table->reduce(op, outer, length, inner, y, x, parameter) : MG_BAD_OP;
}

int mg_rows(int op, int dtype, int64_t rows, int64_t n, void *y, const void *x, const void *b,
            void *aux, double parameter) {
    const mg_table *table = mg_kernels(dtype);
    return table ? table->rows(op, rows, n, y, x, b, aux, parameter) : MG_BAD_OP;
}

int mg_cross_entropy(int dtype, int64_t rows, int64_t n, void *loss, void *lse, const void *x,
                     const int64_t *target, int64_t ignore, double *total, int64_t *bad) {
    const mg_table *table = mg_kernels(dtype);
    *bad = -1;
    return table ? table->cross_entropy(rows, n, loss, lse, x, target, ignore, total, bad)
                 : MG_BAD_OP;
}

int mg_cross_entropy_grad(int dtype, int64_t rows, int64_t n, void *dx, const void *g,
                          int64_t g_step, double scale, const void *x, const void *lse,
                          const int64_t *target, int64_t ignore) {
    const mg_table *table = mg_kernels(dtype);
    return table ? table->cross_entropy_grad(rows, n, dx, g, g_step, scale, x, lse, target, ignore)
                 : MG_BAD_OP;
}

/* ---- indexing ---------------------------------------------------------------------------- */

int mg_gather(int dtype, int64_t n, int64_t width, int64_t size, void *y, const void *table,
              const int64_t *index, int64_t *bad) {
    const mg_table *kernels = mg_kernels(dtype);
    *bad = -1;
    return kernels ? kernels->gather(n, width, size, y, table, index, bad) : MG_BAD_OP;
}

int mg_scatter_add(int dtype, int64_t n, int64_t width, int64_t size, void *table, const void *x,
                   const int64_t *index, int64_t *bad) {
    const mg_table *kernels = mg_kernels(dtype);
    *bad = -1;
    return kernels ? kernels->scatter_add(n, width, size, table, x, index, bad) : MG_BAD_OP;
}

/* ---- matrices ---------------------------------------------------------------------------- */

int mg_gemm(const int64_t *form, void *C, const void *A, const void *B, int accumulate) {
    const mg_table *table = mg_kernels((int)form[0]);
    if (!table) return MG_BAD_OP;
    return table->gemm(form[1], form[2], form[3], C, A, form[4], form[5], B, form[6], form[7],
                       accumulate, form[8] ? form + 8 : NULL);
}

/* ---- whole sequences --------------------------------------------------------------------- */

/* Whether the form names groups of the units, and a clock. */
static int has_groups(const int64_t *form) {
    int64_t units = 0, groups = form[9];
    if (form[8] < 0 || groups < 1 || groups > form[5]) return 0;
    for (const int64_t *size = form + 10, *period = size + groups; groups > 0; groups--) {
        if (*size < 1 || *period < 1) return 0;
        units += *size++, period++;
    }
    return units == form[5];
}

static int is_clockwork(const int64_t *form) {
    return form[1] == MG_SEQ_clockwork_tanh || form[1] == MG_SEQ_clockwork_relu;
}

/* Whether there is such a layer: its cell and sizes, peepholes into gates that it has, and a projection
 * where y is narrower than H. */
static int is_sequence(const int64_t *form, void *const *arrays) {
    if (form[1] < 0 || form[1] >= MG_SEQS) return 0;
    for (int i = 2; i < 7; i++)
        if (form[i] < (i < 4 ? 0 : 1)) return 0;
    if (is_clockwork(form) && !has_groups(form)) return 0;
    const int lstm = form[1] >= MG_SEQ_lstm && form[1] < MG_SEQ_gru;
    if (arrays[MG_ARG_PI] && (!lstm || form[1] == MG_SEQ_lstm_coupled_input)) return 0;
    if (arrays[MG_ARG_PF] && (!lstm || form[1] == MG_SEQ_lstm_coupled_forget)) return 0;
    if (arrays[MG_ARG_PO] && !lstm) return 0;
    return arrays[MG_ARG_PROJ] ? lstm : form[6] == form[5];
}

int mg_sequence_forward(const int64_t *form, void *const *arrays, void *const *options,
                        const int64_t *counts) {
    const mg_table *table = mg_kernels((int)form[0]);
    if (!table || !is_sequence(form, arrays)) return MG_BAD_OP;
    if (is_clockwork(form))
        return options ? MG_BAD_OP : table->clockwork_forward(form, arrays, counts);
    return table->sequence_forward(form, arrays, options, counts);
}

int mg_sequence_step(const int64_t *form, void *const *arrays, const void *x, const void *h,
                     const void *c, void *h_new, void *c_new) {
    void *all[MG_ARG_CELLS + 1] = {NULL};
    for (int i = MG_ARG_W; i <= MG_ARG_PO; i++) all[i] = arrays[i];
    all[MG_ARG_X] = (void *)(uintptr_t)x, all[MG_ARG_H0] = (void *)(uintptr_t)h;
    all[MG_ARG_C0] = (void *)(uintptr_t)c, all[MG_ARG_Y] = h_new, all[MG_ARG_CN] = c_new;
    return form[2] == 1 ? mg_sequence_forward(form, all, NULL, NULL) : MG_BAD_OP;
}

int mg_sequence_backward(const int64_t *form, void *const *arrays, void *const *options,
                         const int64_t *counts) {
    const mg_table *table = mg_kernels((int)form[0]);
    if (!table || !is_sequence(form, arrays)) return MG_BAD_OP;
    if (is_clockwork(form))
        return options ? MG_BAD_OP : table->clockwork_backward(form, arrays, counts);
    return table->sequence_backward(form, arrays, options, counts);
}

/* ---- the derivatives of one step ---------------------------------------------------------- */

int mg_step_jacobian(const int64_t *form, void *const *arrays) {
    const mg_table *table = mg_kernels((int)form[0]);
    return table ? table->step_jacobian(form, arrays) : MG_BAD_OP;
}

int mg_rtrl(const int64_t *form, void *const *arrays) {
    const mg_table *table = mg_kernels((int)form[0]);
    return table ? table->rtrl(form, arrays) : MG_BAD_OP;
}

/* ---- sparse matrices --------------------------------------------------------------------- */

int mg_spmm(int dtype, int64_t n, int64_t rows, int64_t columns, void *y, const void *x,
            const int64_t *first, const int32_t *index, const void *value) {
    const mg_table *table = mg_kernels(dtype);
    return table ? table->spmm(n, rows, columns, y, x, first, index, value) : MG_BAD_OP;
}

int mg_reservoir(const int64_t *form, void *const *arrays, const int64_t *first,
                 const int32_t *index, double leak, const int64_t *counts) {
    const mg_table *table = mg_kernels((int)form[0]);
    const int64_t f = form[1];
    if (!table || (f != -1 && f != MG_MAP_tanh && f != MG_MAP_sigmoid && f != MG_MAP_relu)) {
        return MG_BAD_OP;
    }
    for (int i = 2; i < 6; i++)
        if (form[i] < 1) return MG_BAD_OP;
    return table->reservoir(form, arrays, first, index, leak, counts);
}

/* ---- sequences of labels ----------------------------------------------------------------- */

int mg_ctc_forward(const int64_t *form, void *loss, void *alpha, const void *x,
                   const int64_t *labels, const int64_t *steps, const int64_t *lengths,
                   int64_t *bad) {
    const mg_table *table = mg_kernels((int)form[0]);
    *bad = -1;
    return table ? table->ctc_forward(form, loss, alpha, x, labels, steps, lengths, bad)
                 : MG_BAD_OP;
}

int mg_ctc_backward(const int64_t *form, void *dx, const void *g, const void *alpha, const void *x,
                    const int64_t *labels, const int64_t *steps, const int64_t *lengths) {
    const mg_table *table = mg_kernels((int)form[0]);
    return table ? table->ctc_backward(form, dx, g, alpha, x, labels, steps, lengths) : MG_BAD_OP;
}

int mg_crf_forward(const int64_t *form, void *log_z, void *alpha, const void *x, const void *A,
                   const void *start, const void *end, const int64_t *steps) {
    const mg_table *table = mg_kernels((int)form[0]);
    return table ? table->crf_forward(form, log_z, alpha, x, A, start, end, steps) : MG_BAD_OP;
}

int mg_crf_backward(const int64_t *form, void *dx, void *dA, const void *g, const void *alpha,
                    const void *A, const void *end, const int64_t *steps) {
    const mg_table *table = mg_kernels((int)form[0]);
    return table ? table->crf_backward(form, dx, dA, g, alpha, A, end, steps) : MG_BAD_OP;
}

/* ---- training ---------------------------------------------------------------------------- */

int mg_update(int op, int dtype, int64_t count, const int64_t *sizes, void *const *arrays,
              const double *hyper) {
    const mg_table *table = mg_kernels(dtype);
    return table ? table->update(op, count, sizes, arrays, hyper) : MG_BAD_OP;
}

double mg_sum_squares(int dtype, int64_t count, const int64_t *sizes, void *const *arrays) {
    const mg_table *table = mg_kernels(dtype);
    return table ? table->sum_squares(count, sizes, arrays) : NAN;
}

int mg_scale(int dtype, int64_t count, const int64_t *sizes, void *const *arrays, double factor) {
    const mg_table *table = mg_kernels(dtype);
    if (!table) return MG_BAD_OP;
    table->scale(count, sizes, arrays, factor);
    return MG_OK;
}

int mg_covariance(int dtype, int64_t count, const int64_t *sizes, void *P, int64_t v, const void *V,
                  const double *q, int64_t h, const void *H, void *PH, double *least) {
    const mg_table *table = mg_kernels(dtype);
    return table ? table->covariance(count, sizes, P, v, V, q, h, H, PH, least) : MG_BAD_OP;
}
