/* minigrad.h: the whole ABI of the C core.  cffi parses this very file (build_ext.py strips the
 * lines that start with '#'), so it holds plain C declarations only.
 *
 * The core computes on pointers and sizes.  It knows nothing of Python, tensors or gradients.
 *
 * Conventions
 *   dtype     MG_F32 or MG_F64: the element type of every `void *` that is not said to be
 *             something else.  int64 and bool appear only as indices and masks.
 *   result    is written first, is contiguous, and may be exactly an input (in place) or disjoint
 *             from all inputs; nothing in between.
 *   form      what a call needs to know of its operands, in one array: a caller has few different
 *             ones and makes each once, and every argument of a call costs it 8 ns.
 *                 { dtype, n, ndim, shape[ndim], strides of operand 1 [ndim], of operand 2 ... }
 *             ndim 0: all operands are contiguous and have n elements.  Otherwise n is the product
 *             of the shape; strides are in elements, 0 repeats (broadcasting).
 *   return    MG_OK, or one of the statuses below; the result is then unspecified, memory is not
 *             harmed.  The caller turns statuses into sentences.
 *   threads   results are the same, bit for bit, for any number of threads.
 */
#ifndef MINIGRAD_H
#define MINIGRAD_H
#include <stdint.h>
#include <stddef.h>
#endif

enum { MG_F32 = 0, MG_F64 = 1, MG_I64 = 2, MG_BOOL = 3 };
enum { MG_OK = 0, MG_NO_MEMORY = 1, MG_BAD_OP = 2, MG_BAD_INDEX = 3 };

/* ---- elementwise ------------------------------------------------------------------------- */

/* y = op(x) */
int mg_map(int op, const int64_t *form, void *y, const void *x);
/* y = op(a, b) */
int mg_zip(int op, const int64_t *form, void *y, const void *a, const void *b);
/* y = op(a, b), one byte 0/1 per element */
int mg_compare(int op, const int64_t *form, void *y, const void *a, const void *b);
/* y = op(a, b, c); `where` reads a as bytes 0/1 */
int mg_select(int op, const int64_t *form, void *y, const void *a, const void *b, const void *c);
/* y[...] = x[...], any strides on both sides, any pair of the four dtypes (to bool: x != 0, to
 * int64: toward zero).  Operand 1 of the form is y, of the form's dtype; operand 2 is x; y must not
 * overlap itself. */
int mg_copy(int x_dtype, const int64_t *form, void *y, const void *x);

/* ---- along an axis ----------------------------------------------------------------------- */

/* x [outer, length, inner] -> y [outer, inner].  argmax and argmin write int64.
 * `parameter` is the correction of var (PyTorch's default is 1), unused otherwise. */
int mg_reduce(int op, int dtype, int64_t outer, int64_t length, int64_t inner, void *y,
              const void *x, double parameter);
/* each row of x [rows, n] -> the same row of y [rows, n]; b is a second input [rows, n] where the
 * op has one; aux [rows] is what the op keeps per row (see kernels.def); parameter: eps of
 * normalize. */
int mg_rows(int op, int dtype, int64_t rows, int64_t n, void *y, const void *x, const void *b,
            void *aux, double parameter);
/* lse[r] = logsumexp(x[r]); loss[r] = lse[r] - x[r][target[r]], 0 where target[r] == ignore.
 * total = { sum of the losses, in double; number of rows that are not ignored }
 * A target outside [0, n) that is not `ignore`: MG_BAD_INDEX, its row in *bad. */
int mg_cross_entropy(int dtype, int64_t rows, int64_t n, void *loss, void *lse, const void *x,
                     const int64_t *target, int64_t ignore, double *total, int64_t *bad);
/* dx[r] = scale g[r] (exp(x[r] - lse[r]) - onehot(target[r])), 0 where target[r] == ignore.
 * g_step 1: g has a number for each row; 0: one for all. */
int mg_cross_entropy_grad(int dtype, int64_t rows, int64_t n, void *dx, const void *g,
                          int64_t g_step, double scale, const void *x, const void *lse,
                          const int64_t *target, int64_t ignore);

/* ---- indexing ----------------------------------------------------------------------------- */

/* y[i] = table[index[i]]: rows of `width` numbers, table [size, width]; negative indices count
 * from the end.  Out of range: MG_BAD_INDEX, its position in *bad. */
int mg_gather(int dtype, int64_t n, int64_t width, int64_t size, void *y, const void *table,
              const int64_t *index, int64_t *bad);
/* table[index[i]] += x[i]; repeated indices add up, in the order of i */
int mg_scatter_add(int dtype, int64_t n, int64_t width, int64_t size, void *table, const void *x,
                   const int64_t *index, int64_t *bad);

/* ---- matrices ----------------------------------------------------------------------------- */

/* C [m, n] (+)= A [m, k] B [k, n].  C is contiguous.
 *     form = { dtype, m, n, k, A's strides of m and k, B's strides of k and n, batch ndim,
 *              batch shape [ndim], A's strides [ndim], B's strides [ndim] }
 * Strides are in elements and may have any values: transposed operands are swapped strides. */
int mg_gemm(const int64_t *form, void *C, const void *A, const void *B, int accumulate);

/* ---- whole sequences ----------------------------------------------------------------------- */

/* A recurrent layer, one direction, all time steps: forward, and back-propagation through time.
 *     form = { dtype, cell (enum mg_seq_op), T, N, I, H, P, reverse }
 * P is the width of h: that of the projection where there is one, else H.  reverse: the last step
 * comes first (with counts: not).  G gates; U has V of their blocks, S blocks are saved per row:
 *                  G  V  S                      G  V  S
 *     rnn_*        1  1  0        gru           3  2  3   (r, u, n)
 *     lstm         4  4  4        gru_after     3  2  4   (r, u, n, h Un + c)
 *     lstm_coupled_input  3  3  3   (f, g, o; i = 1 - f)
 *     lstm_coupled_forget 3  3  3   (i, g, o; f = 1 - i)
 * gru_keep, gru_after_keep: the same, where u is the share of the old state instead of the candidate's.
 *     clockwork_*  1  -  0
 * Of a clockwork RNN the form goes on: { ..., clock, g, sizes[g], periods[g] }.  At step s, in the
 * order of time, the groups compute whose period divides clock + s; U has those weights that are:
 * of group j [size of j, sizes of the groups up to j], one group after another, in place of [P, V H].
 * counts [T]: the rows that take part in each step, never increasing and at most N; those of one
 * step lie behind those of the step before, R in all.  NULL: N in every step, R = T N.
 * arrays: NULL where there is none (no bias; zero initial state; nothing saved; zero gradient; a
 * gradient that is not wanted).  The forward call reads those up to CELLS, and writes Y, HN, CN and,
 * for the backward call, GATES and CELLS.  The backward call writes from DX on.
 * W NULL: x is x W already, and I is G H.  options: NULL, or those of enum mg_sequence_option. */
enum mg_sequence_array {
    MG_ARG_X,    /* [R, I] */
    MG_ARG_W,    /* [I, G H] */
    MG_ARG_U,    /* [P, V H] */
    MG_ARG_UN,   /* [H, H] of a GRU */
    MG_ARG_PROJ, /* [H, P] of an LSTM with a projection */
    MG_ARG_B,    /* [G H] */
    MG_ARG_C,    /* [H] of gru_after */
    MG_ARG_PI,   /* [H] each: what an LSTM's gates i, f and o see of c, where they do */
    MG_ARG_PF,
    MG_ARG_PO,
    MG_ARG_H0,    /* [N, P] */
    MG_ARG_C0,    /* [N, H] of an LSTM, as all that has to do with c */
    MG_ARG_Y,     /* [R, P]: h of every step */
    MG_ARG_HN,    /* [N, P]: after the last step of each row; NULL: not wanted */
    MG_ARG_CN,    /* [N, H] */
    MG_ARG_GATES, /* [R, S H]; for an rnn, none */
    MG_ARG_CELLS, /* [R, H]: c of every step */
    MG_ARG_DY,
    MG_ARG_DHN,
    MG_ARG_DCN,
    MG_ARG_DX,
    MG_ARG_DW,
    MG_ARG_DU,
    MG_ARG_DUN,
    MG_ARG_DPROJ,
    MG_ARG_DB,
    MG_ARG_DC,
    MG_ARG_DPI,
    MG_ARG_DPF,
    MG_ARG_DPO,
    MG_ARG_DH0,
    MG_ARG_DC0
};
/* What kernels/regularize.inc adds; NULL where there is none.  With gains, W is NULL.  The forward call
 * writes, for the backward call, what it needs from TILDE to RSTD; that writes from DGU on. */
enum mg_sequence_option {
    MG_OPT_GU,     /* [V H]: gain of the normalised product with U */
    MG_OPT_GUN,    /* [H]: with Un */
    MG_OPT_GC,     /* [H]: of an LSTM's normalised c */
    MG_OPT_BC,     /* [H]: and its bias */
    MG_OPT_MASK,   /* [N, P]: of h in products with U and Un */
    MG_OPT_KEEP_H, /* the share of the old h, [R, P]; with the bit 2 of `reverse`, [P] for all rows */
    MG_OPT_KEEP_C, /* that of c, [R, H] or [H] */
    MG_OPT_TILDE,  /* [R, H]: an rnn's h before KEEP_H, an LSTM's c before KEEP_C */
    MG_OPT_NORM,   /* [R, V H]: the product with U, normalised */
    MG_OPT_NORM2,  /* [R, H]: that with Un, or an LSTM's c */
    MG_OPT_RSTD,   /* [R, 2]: what NORM and NORM2 were multiplied by */
    MG_OPT_DGU,
    MG_OPT_DGUN,
    MG_OPT_DGC,
    MG_OPT_DBC
};
int mg_sequence_forward(const int64_t *form, void *const *arrays, void *const *options,
                        const int64_t *counts);
/* One step, forward only: arrays up to PO; x, h, c and the new h, c. */
int mg_sequence_step(const int64_t *form, void *const *arrays, const void *x, const void *h,
                     const void *c, void *h_new, void *c_new);
int mg_sequence_backward(const int64_t *form, void *const *arrays, void *const *options,
                         const int64_t *counts);

/* ---- the derivatives of one step ------------------------------------------------------------- */

/* Of a cell without a projection, from what a forward call of one step has left.  The state s is h,
 * of an LSTM (h, c): n = H or 2 H numbers.  Z columns: those of the gates, and of gru_after's h Un.
 *     form = { dtype, cell, N, I, H, P, masked, where W, U, b, Un, c begin among P parameters or -1 }
 * of which mg_step_jacobian, which writes J, E and R, reads the first five numbers, and mg_rtrl,
 * which writes S_NEW, all: they fill P.  S' = J S + the immediate derivatives, see kernels/rtrl.inc. */
enum mg_jacobian_array {
    MG_JAC_X,     /* [N, I] */
    MG_JAC_U,     /* [H, V H] */
    MG_JAC_UN,    /* [H, H] of a GRU */
    MG_JAC_H,     /* [N, H]: before the step, as c */
    MG_JAC_C,     /* [N, H] of an LSTM */
    MG_JAC_H_NEW, /* [N, H]: after it */
    MG_JAC_C_NEW,
    MG_JAC_GATES, /* [N, S H]; for an rnn, none */
    MG_JAC_J,  /* [N, n, n]: the derivative of number j of the new state by number i of the old */
    MG_JAC_E,  /* [N, n / H, Z]: the derivative of unit k's states by column k of each gate */
    MG_JAC_R,  /* [N, H, H] of gru: that of unit i by column k of the reset gate */
    MG_JAC_RH, /* [N, H] of gru: r h */
    MG_JAC_S,  /* [N, n, P], masked [N, n / H, P]; NULL: zeros */
    MG_JAC_S_NEW
};
int mg_step_jacobian(const int64_t *form, void *const *arrays);
int mg_rtrl(const int64_t *form, void *const *arrays);

/* ---- sparse matrices ------------------------------------------------------------------------ */

/* A [rows, columns] in compressed rows: row i has value[k] in column index[k], k from first[i] on,
 * below first[i + 1].  The caller has made sure that the indices are below `columns`. */

/* y [n, rows] = x [n, columns] A' */
int mg_spmm(int dtype, int64_t n, int64_t rows, int64_t columns, void *y, const void *x,
            const int64_t *first, const int32_t *index, const void *value);

/* The reservoir of an echo state network, all time steps:
 *     h' = (1 - leak) h + leak f(x W + b + noise + h U)
 *     form = { dtype, f (of enum mg_map_op: tanh, sigmoid, relu; -1: none), T, N, I, H, reverse }
 * U [H, H] is the transpose of a sparse matrix, whose values are among the arrays; reverse, counts
 * and NULL: as in whole sequences. */
enum mg_reservoir_array {
    MG_RES_X,     /* [R, I] */
    MG_RES_W,     /* [I, H] */
    MG_RES_U,     /* [first[H]] */
    MG_RES_B,     /* [H] */
    MG_RES_NOISE, /* [R, H] */
    MG_RES_H0,    /* [N, H] */
    MG_RES_Y,     /* [R, H]: h of every step */
    MG_RES_HN     /* [N, H] */
};
int mg_reservoir(const int64_t *form, void *const *arrays, const int64_t *first,
                 const int32_t *index, double leak, const int64_t *counts);

/* ---- sequences of labels -------------------------------------------------------------------- */

/* Connectionist temporal classification: loss[n] = -log of the probability of all paths through
 * x [T, N, C], log-probabilities, that read labels[n].
 *     form = { dtype, T, N, C, S, blank }
 * labels [N, S], of which lengths[n] count; steps[n]: the steps of x that do.  Out of range:
 * MG_BAD_INDEX, the sequence in *bad.  alpha, for the backward call: [N, T + 1, A (1 + 2 w)], where
 * w = S / A + 1 and A = MG_CTC_ALIGN; NULL: not wanted.
 * dx[t, n, c] = -g[n] times the probability of c in step t among those paths; zeros where g[n] is
 * zero; NaN where there is no path. */
enum { MG_CTC_ALIGN = 16 };
int mg_ctc_forward(const int64_t *form, void *loss, void *alpha, const void *x,
                   const int64_t *labels, const int64_t *steps, const int64_t *lengths,
                   int64_t *bad);
int mg_ctc_backward(const int64_t *form, void *dx, const void *g, const void *alpha, const void *x,
                    const int64_t *labels, const int64_t *steps, const int64_t *lengths);

/* Linear-chain conditional random field: log_z[n] = log of the sum of e^score over all sequences of
 * tags, where x [T, N, C] scores tags, A [C, C] transitions from row to column, start and end [C] the
 * first and the last tag.  steps[n]: how many steps count, 0 ... T (else MG_BAD_INDEX); none: 0.
 *     form = { dtype, T, N, C }
 * alpha [T, N, C], for the backward call; NULL: not wanted.  The backward call gives the gradients
 * of x and A for g [N]; that of start is the first row of dx, that of end the last that counts. */
int mg_crf_forward(const int64_t *form, void *log_z, void *alpha, const void *x, const void *A,
                   const void *start, const void *end, const int64_t *steps);
int mg_crf_backward(const int64_t *form, void *dx, void *dA, const void *g, const void *alpha,
                    const void *A, const void *end, const int64_t *steps);

/* ---- training ------------------------------------------------------------------------------ */

/* These take a list of `count` contiguous arrays, the i-th with sizes[i] numbers. */

/* One optimiser step in place; arrays[4 i] and on are the parameter p, its gradient g, and s1 and
 * s2, the optimiser's own state.  hyper: its numbers, see kernels/update.inc */
int mg_update(int op, int dtype, int64_t count, const int64_t *sizes, void *const *arrays,
              const double *hyper);
/* the sum of all x^2, accumulated in double */
double mg_sum_squares(int dtype, int64_t count, const int64_t *sizes, void *const *arrays);
/* x *= factor */
int mg_scale(int dtype, int64_t count, const int64_t *sizes, void *const *arrays, double factor);
/* Of a Kalman filter, for each of `count` groups of weights with a symmetric P [n, n], n = sizes[g],
 * one behind the other: first P = P - Vᵀ V + q[g] I, then PH = H P.  V [v, sum of sizes], and H and PH
 * [h, sum of sizes]; v or h may be 0.  least[g]: the smallest number on the diagonal of P. */
int mg_covariance(int dtype, int64_t count, const int64_t *sizes, void *P, int64_t v, const void *V,
                  const double *q, int64_t h, const void *H, void *PH, double *least);

/* ---- machine ------------------------------------------------------------------------------- */

/* 64-byte aligned memory; blocks are kept for reuse, see scratch.c.  NULL: out of memory. */
void *mg_alloc(size_t bytes);
void mg_free(void *block);
/* bytes handed out and not yet returned; bytes kept for reuse */
void mg_memory(size_t *used, size_t *kept);
void mg_trim(void);

/* instruction sets compiled in, worst first; NULL past the end.  mg_isa_use gives MG_BAD_OP for
 * one that this machine does not have. */
const char *mg_isa_name(int isa);
int mg_isa_supported(int isa);
int mg_isa_use(int isa);
int mg_isa(void);

int mg_set_threads(int n);
int mg_threads(void);
