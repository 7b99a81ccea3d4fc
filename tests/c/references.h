/* references.h: what each kernel should give, as plain formulas in double, for kernels.c.  A truth
 * is the value and how far a result may be from it, in units of the element type's epsilon (2^-23,
 * 2^-52): 0 for what is rounded once, 6 times the value for polynomials (ulp_sweep.c measures those
 * sharply), and for sums a multiple of the sum of the magnitudes, which is what rounding errors
 * grow with.  INFINITY: nothing is promised there, except that NaN stays NaN. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    double value, slack;
} truth;

/* ---- elementwise: of the inputs a, b, c -------------------------------------------------- */

#define FORMULA(kind, name, formula, error)                                                        \
    static truth kind##_##name(double a, double b, double c) {                                     \
        (void)a, (void)b, (void)c;                                                                 \
        const double y = formula;                                                                  \
        return (truth){y, error};                                                                  \
    }
#define EXACT(kind, name, formula) FORMULA(kind, name, formula, 0)
#define NEAR(kind, name, formula) FORMULA(kind, name, formula, 6 * fabs(y))

static double largest(double a, double b) { return isnan(a) || a > b ? a : b; }
static double smallest(double a, double b) { return isnan(a) || a < b ? a : b; }

/* a Phi(a).  erfc multiplies the rounding error of its argument u by up to 2 u^2, so that error is
 * taken into account to first order; 1/sqrt(2) = high + low.  The limit at -infinity is 0. */
static double gelu_of(double a) {
    const double high = 0.70710678118654757, low = -4.8336466567264567e-17;
    const double u = -a * high, error = fma(-a, high, -u) - a * low;
    if (a < -40) return -0.0;
    if (a > 40) return a;
    return 0.5 * a * (erfc(u) - 1.1283791670955126 * exp(-u * u) * error);
}

EXACT(map, neg, -a)
EXACT(map, abs, fabs(a))
EXACT(map, sign, (a > 0) - (a < 0))
EXACT(map, square, a *a)
EXACT(map, sqrt, sqrt(a))
EXACT(map, reciprocal, 1 / a)
EXACT(map, relu, a < 0 ? 0 : a)
NEAR(map, exp, exp(a))
NEAR(map, expm1, expm1(a))
NEAR(map, log, log(a))
NEAR(map, log1p, log1p(a))
NEAR(map, sin, sin(a))
NEAR(map, cos, cos(a))
NEAR(map, erf, erf(a))
NEAR(map, sigmoid, a < 0 ? exp(a) / (1 + exp(a)) : 1 / (1 + exp(-a)))
NEAR(map, tanh, tanh(a))
/* (where erfc is subnormal, that is multiplied by up to 19) */
FORMULA(map, gelu, gelu_of(a), 6 * fabs(y) + (a < -37 ? 0x1p-1017 : 0))
NEAR(map, softplus, fmax(a, 0) + log1p(exp(-fabs(a))))
NEAR(map, logsigmoid, fmin(a, 0) - log1p(exp(-fabs(a))))

EXACT(zip, add, a + b)
EXACT(zip, sub, a - b)
EXACT(zip, mul, a *b)
EXACT(zip, div, a / b)
EXACT(zip, maximum, isnan(b) ? b : largest(a, b))
EXACT(zip, minimum, isnan(b) ? b : smallest(a, b))
EXACT(zip, leaky_relu, a > 0 ? a : b * a)
EXACT(zip, relu_grad, b <= 0 ? 0 : a)
FORMULA(zip, tanh_grad, a * (1 - b * b), fabs(b) > 1 ? INFINITY : 4 * fabs(a))
FORMULA(zip, sigmoid_grad, a * b * (1 - b), b < 0 || b > 1 ? INFINITY : 4 * fabs(a * b))
NEAR(zip, pow, pow(a, b))
NEAR(zip, elu, a > 0 ? a : b * expm1(a))

EXACT(compare, eq, a == b)
EXACT(compare, ne, a != b)
EXACT(compare, lt, a < b)
EXACT(compare, le, a <= b)
EXACT(compare, gt, a > b)
EXACT(compare, ge, a >= b)

EXACT(select, where, a != 0 ? b : c)
EXACT(select, clip, isnan(c) ? c : smallest(isnan(b) ? b : largest(a, b), c))
FORMULA(select, muladd, a + b * c, 4 * (fabs(a) + fabs(b * c)))

/* ---- reductions of x [n] ----------------------------------------------------------------- */

static double sum_of(int64_t n, const double *x) {
    long double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += x[i];
    return (double)sum;
}
static double dot_of(int64_t n, const double *x, const double *y) {
    long double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (long double)x[i] * y[i];
    return (double)sum;
}
/* the same of the magnitudes; y NULL: ones */
static double size_of_sum(int64_t n, const double *x, const double *y) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += fabs(x[i] * (y ? y[i] : 1));
    return sum;
}

static truth reduce_sum(int64_t n, const double *x, double p) {
    (void)p;
    return (truth){sum_of(n, x), 16 * size_of_sum(n, x, NULL)};
}
static truth reduce_mean(int64_t n, const double *x, double p) {
    const truth sum = reduce_sum(n, x, p);
    return (truth){sum.value / (double)n, sum.slack / (double)n};
}
static truth reduce_prod(int64_t n, const double *x, double p) {
    long double y = 1;
    (void)p;
    for (int64_t i = 0; i < n; i++) y *= x[i];
    return (truth){(double)y, (double)(n + 6) * fabs((double)y)};
}
static truth reduce_argmax(int64_t n, const double *x, double p) {
    int64_t at = 0;
    (void)p;
    for (int64_t i = 1; i < n && !isnan(x[at]); i++)
        if (isnan(x[i]) || x[i] > x[at]) at = i;
    return (truth){(double)at, 0};
}
static truth reduce_argmin(int64_t n, const double *x, double p) {
    int64_t at = 0;
    (void)p;
    for (int64_t i = 1; i < n && !isnan(x[at]); i++)
        if (isnan(x[i]) || x[i] < x[at]) at = i;
    return (truth){(double)at, 0};
}
static truth reduce_max(int64_t n, const double *x, double p) {
    return (truth){x[(int64_t)reduce_argmax(n, x, p).value], 0};
}
static truth reduce_min(int64_t n, const double *x, double p) {
    return (truth){x[(int64_t)reduce_argmin(n, x, p).value], 0};
}
static truth reduce_logsumexp(int64_t n, const double *x, double p) {
    const double max = reduce_max(n, x, p).value;
    long double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += exp(x[i] - max);
    if (isinf(max)) return (truth){max, 0};
    return (truth){max + (double)logl(sum), 16 * (1 + fabs(max))};
}
static truth reduce_var(int64_t n, const double *x, double correction) {
    const double mean = sum_of(n, x) / (double)n;
    long double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (long double)(x[i] - mean) * (x[i] - mean);
    const double var = (double)sum / fmax(0, (double)n - correction);
    return (truth){var, 16 * var};
}

/* ---- rows: y [n] from x [n], b [n]; aux is what the op keeps per row --------------------- */

static void rows_log_softmax(int64_t n, truth *y, const double *x, const double *b, truth *aux,
                             double p) {
    const double lse = reduce_logsumexp(n, x, p).value, max = reduce_max(n, x, p).value;
    (void)b, (void)aux;
    for (int64_t i = 0; i < n; i++) /* (infinity - infinity is NaN for the whole row) */
        y[i] = (truth){max > 0 && isinf(max) ? NAN : x[i] - lse, 16 * (1 + fabs(x[i]) + fabs(lse))};
}
static void rows_softmax(int64_t n, truth *y, const double *x, const double *b, truth *aux,
                         double p) {
    rows_log_softmax(n, y, x, b, aux, p);
    for (int64_t i = 0; i < n; i++) {
        const double e = exp(y[i].value);
        y[i] = (truth){e, e > 0 ? e * y[i].slack : 0};
    }
}
static void rows_softmax_grad(int64_t n, truth *dx, const double *g, const double *y, truth *aux,
                              double p) {
    const double dot = dot_of(n, g, y), size = size_of_sum(n, g, y);
    (void)aux, (void)p;
    for (int64_t i = 0; i < n; i++)
        dx[i] = (truth){y[i] * (g[i] - dot), 16 * fabs(y[i]) * (fabs(g[i]) + size)};
}
static void rows_log_softmax_grad(int64_t n, truth *dx, const double *g, const double *y,
                                  truth *aux, double p) {
    const double sum = sum_of(n, g), size = size_of_sum(n, g, NULL);
    (void)aux, (void)p;
    for (int64_t i = 0; i < n; i++)
        dx[i] = (truth){g[i] - exp(y[i]) * sum, 16 * (fabs(g[i]) + exp(y[i]) * size)};
}
static void rows_normalize(int64_t n, truth *y, const double *x, const double *b, truth *aux,
                           double eps) {
    const double mean = sum_of(n, x) / (double)n, size = size_of_sum(n, x, NULL) / (double)n;
    const double rstd = 1 / sqrt(reduce_var(n, x, 0).value + eps);
    (void)b;
    *aux = (truth){rstd, 32 * rstd};
    for (int64_t i = 0; i < n; i++)
        y[i] = (truth){(x[i] - mean) * rstd, 32 * (1 + (fabs(x[i]) + size) * rstd)};
}
static void rows_normalize_grad(int64_t n, truth *dx, const double *g, const double *y, truth *aux,
                                double p) {
    const double mean = sum_of(n, g) / (double)n, dot = dot_of(n, g, y) / (double)n;
    const double size = size_of_sum(n, g, NULL) / (double)n,
                 dots = size_of_sum(n, g, y) / (double)n;
    const double rstd = aux->value;
    (void)p;
    for (int64_t i = 0; i < n; i++)
        dx[i] = (truth){rstd * (g[i] - mean - y[i] * dot),
                        32 * fabs(rstd) * (fabs(g[i]) + size + fabs(y[i]) * dots)};
}

/* ---- optimisers: one step of one number; torch.optim's formulas, hyper as in update.inc ---- */

enum { P, S1, S2, S3 }; /* what v holds; S3: the second half of s2, where it is [2, n] */

/* g, or -g to ascend, plus the gradient of decay/2 p^2; slack: the size of what was added */
static truth gradient(double g, double p, double maximize, double decay) {
    return (truth){(maximize != 0 ? -g : g) + decay * p, fabs(g) + fabs(decay * p)};
}

/* h: lr, momentum, dampening, weight_decay, nesterov, first, maximize */
static void update_sgd(const double *h, truth *v, double g_) {
    const truth g = gradient(g_, v[P].value, h[6], h[3]);
    const double m = h[5] != 0 ? g.value : h[1] * v[S1].value + (1 - h[2]) * g.value;
    const double step = h[4] != 0 ? g.value + h[1] * m : m;
    v[S1] = (truth){m, 16 * (g.slack + fabs(v[S1].value))};
    v[P] = (truth){v[P].value - h[0] * step, 16 * fabs(v[P].value) + 2 * v[S1].slack};
}
/* h: lr, beta1, beta2, eps, weight_decay, 1 - beta1^t, 1 - beta2^t, maximize */
static void adam_step(const double *h, truth *v, truth g) {
    const double m = v[S1].value + (1 - h[1]) * (g.value - v[S1].value);
    const double s = h[2] * v[S2].value + (1 - h[2]) * g.value * g.value;
    const double root = sqrt(s / h[6]) + h[3], rate = h[0] / h[5] / root;
    v[S1] = (truth){m, 8 * (g.slack + fabs(v[S1].value))};
    v[S2] = (truth){s, 8 * (h[2] * v[S2].value + g.slack * g.slack)};
    v[P] = (truth){v[P].value - rate * m, 16 * fabs(v[P].value) + 4 * rate * v[S1].slack};
}
static void update_adam(const double *h, truth *v, double g) {
    adam_step(h, v, gradient(g, v[P].value, h[7], h[4]));
}
static void update_adamw(const double *h, truth *v, double g) {
    v[P].value *= 1 - h[0] * h[4];
    adam_step(h, v, gradient(g, 0, h[7], 0));
}
/* h: lr, alpha, eps, weight_decay, momentum, centered, maximize */
static void update_rmsprop(const double *h, truth *v, double g_) {
    const truth g = gradient(g_, v[P].value, h[6], h[3]);
    const double s = h[1] * v[S1].value + (1 - h[1]) * g.value * g.value;
    const double mean = v[S3].value + (1 - h[1]) * (g.value - v[S3].value);
    const double left = h[5] != 0 ? s - mean * mean : s, root = sqrt(left) + h[2];
    const double m = g.value / root + h[4] * v[S2].value;
    const double size = (s / left) * g.slack / root + fabs(h[4] * v[S2].value);
    v[S1] = (truth){s, 8 * (s + g.slack * g.slack)};
    if (h[5] != 0) v[S3] = (truth){mean, 8 * (g.slack + fabs(v[S3].value))};
    if (h[4] != 0) v[S2] = (truth){m, 16 * size};
    v[P] = (truth){v[P].value - h[0] * m, 16 * (fabs(v[P].value) + h[0] * size)};
}
