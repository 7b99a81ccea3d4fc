/* ulp_sweep.c: how far are the vector functions of cextension/kernels/vmath.inc from the truth?
 *
 * The instruction set and the element type are chosen at compile time, as isa/ does it:
 *     cc -O3 -std=gnu11 -ffp-contract=fast -Wno-psabi -Icextension -DMG_DTYPE=f32 \
 *        -DMG_VBYTES=32 -DMG_TARGET='"avx2,fma"' tests/c/ulp_sweep.c -lm -o sweep
 * (the baseline: MG_VBYTES=16 and no MG_TARGET).  Then
 *     ./sweep              a dense sample of every function, a few seconds each
 *     ./sweep exp          of one
 *     ./sweep exp all      every float (float32 only), some minutes
 * Each line is the largest error in units in the last place (ULP) and where it is; the exit status
 * is 1 if one is above its bound.  Float32 is compared with the C library's double, float64 with
 * its long double. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "simd.h"

#include "kernels/vmath.inc"

/* Name, bound in ULP for float32 and for float64: a little above what is measured; in float64 with
 * room for C libraries whose long double functions are double ones (musl's on 64-bit ARM). */
#define FUNCTIONS                                                                                  \
    ONE(exp, 1.2, 4)                                                                               \
    ONE(log, 1.2, 4)                                                                               \
    ONE(tanh, 2.3, 4)                                                                              \
    ONE(sigmoid, 2.2, 4)                                                                           \
    ONE(expm1, 2.2, 4)                                                                             \
    ONE(log1p, 1.5, 4)                                                                             \
    ONE(softplus, 2, 4)                                                                            \
    ONE(logsigmoid, 2, 4)                                                                          \
    ONE(sin, 2.7, 4)                                                                               \
    ONE(cos, 2.7, 4)                                                                               \
    ONE(erf, 2.5, 4)                                                                               \
    ONE(gelu, 3.6, 5)                                                                              \
    TWO(pow, 2, 4)

#define ONE(name, f32, f64)                                                                        \
    static void run_##name(real *y, const real *x, const real *b) {                                \
        (void)b;                                                                                   \
        vstore(y, v##name(vload(x)));                                                              \
    }
#define TWO(name, f32, f64)                                                                        \
    static void run_##name(real *y, const real *x, const real *b) {                                \
        vstore(y, v##name(vload(x), vload(b)));                                                    \
    }
FUNCTIONS
#undef ONE
#undef TWO
MG_END_TARGET

#if MG_IS_F32
typedef double wide;
#define WIDE(f) f
enum { DIGITS = 24, LOWEST = -149, TOP = 128 }; /* bits of a significand, first and last exponent */
#else
typedef long double wide;
#define WIDE(f) f##l
enum { DIGITS = 53, LOWEST = -1074, TOP = 1024 };
#endif

static wide ref_exp(wide x, wide b) { return (void)b, WIDE(exp)(x); }
static wide ref_log(wide x, wide b) { return (void)b, WIDE(log)(x); }
static wide ref_tanh(wide x, wide b) { return (void)b, WIDE(tanh)(x); }
static wide ref_sigmoid(wide x, wide b) { return (void)b, 1 / (1 + WIDE(exp)(-x)); }
static wide ref_expm1(wide x, wide b) { return (void)b, WIDE(expm1)(x); }
static wide ref_log1p(wide x, wide b) { return (void)b, WIDE(log1p)(x); }
static wide ref_softplus(wide x, wide b) {
    wide rest = WIDE(log1p)(WIDE(exp)(-WIDE(fabs)(x)));
    return (void)b, x > 0 ? x + rest : rest;
}
static wide ref_logsigmoid(wide x, wide b) { return 0 - ref_softplus(-x, b); }
static wide ref_sin(wide x, wide b) { return (void)b, WIDE(sin)(x); }
static wide ref_cos(wide x, wide b) { return (void)b, WIDE(cos)(x); }
static wide ref_erf(wide x, wide b) { return (void)b, WIDE(erf)(x); }
/* x erfc(u) / 2, u = -x / sqrt(2): far out, an error of u is multiplied by 2 u^2, so what the
 * rounding of u lost is put back */
static wide ref_gelu(wide x, wide b) {
    const wide high = (wide)0x1.6a09e667f3bcc908p-1L, low = (wide)0x1.65f626cdd52afa7cp-66L;
    wide u = -x * high, lost = WIDE(fma)(-x, high, -u) - x * low;
    if (x < -39 || x == (wide)INFINITY) return (void)b, x < 0 ? 0 : x;
    return x / 2 * (WIDE(erfc)(u) - lost * WIDE(exp)(-u * u) * (wide)1.1283791670955126L);
}
static wide ref_pow(wide x, wide b) { return WIDE(pow)(x, b); }

/* |y - ref| in units in the last place of ref; infinity counts as 2^TOP, where it begins */
static double ulps(real y, wide ref) {
    const wide end = WIDE(ldexp)(1, TOP);
    if (isnan(ref) || isnan(y)) return isnan(ref) && isnan(y) ? 0 : INFINITY;
    if (WIDE(fabs)(ref) > end * 1.0001 && !isinf(y)) return INFINITY;
    wide value = WIDE(fmax)(-end, WIDE(fmin)(end, (wide)y));
    ref = WIDE(fmax)(-end, WIDE(fmin)(end, ref));
    if (value == ref) return 0;
    int e;
    WIDE(frexp)(ref, &e);
    e = e - DIGITS < LOWEST ? LOWEST : e - DIGITS;
    return (double)WIDE(fabs)(WIDE(ldexp)(value - ref, -e));
}

typedef struct {
    const char *name;
    void (*run)(real *y, const real *x, const real *b);
    wide (*ref)(wide x, wide b);
    double bound;
    int arguments;
} function;

static const function functions[] = {
#define ONE(name, f32, f64) {#name, run_##name, ref_##name, MG_IS_F32 ? f32 : f64, 1},
#define TWO(name, f32, f64) {#name, run_##name, ref_##name, MG_IS_F32 ? f32 : f64, 2},
    FUNCTIONS};

typedef struct {
    double ulp;
    real x, b, y;
    wide ref;
} worst;

static void compare(const function *f, const real *x, const real *b, worst *w) {
    const wide digit = WIDE(ldexp)(1, -DIGITS);
    real y[LANES];
    f->run(y, x, b);
    for (int i = 0; i < LANES; i++) {
        wide ref = f->ref(x[i], b[i]);
        int signed_zero = ref == 0 && (x[i] == 0 || f->arguments == 2);
        /* an ULP is at least |ref| / 2^DIGITS, so this cannot be the worst */
        if (WIDE(fabs)((wide)y[i] - ref) <= (wide)w->ulp * WIDE(fabs)(ref) * digit && !signed_zero)
            continue;
        double u = ulps(y[i], ref);
        if (signed_zero && y[i] == 0 && !signbit(y[i]) != !signbit(ref)) u = INFINITY;
        if (u > w->ulp) *w = (worst){u, x[i], b[i], y[i], ref};
    }
}

static uint64_t random_bits(void) { /* splitmix64 */
    static uint64_t state = 1;
    uint64_t z = state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}
static real from_bits(ureal bits) {
    real x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
static real any_real(void) { return from_bits((ureal)random_bits()); }
static real within(double limit) { /* uniform in [-limit, limit] */
    return (real)(((double)(random_bits() >> 11) * 0x1p-52 - 1) * limit);
}

static real next(real x, int direction) {
    double end = direction > 0 ? INFINITY : -INFINITY;
    return (real)(MG_IS_F32 ? (double)nextafterf((float)x, (float)end) : nextafter((double)x, end));
}

/* numbers with something special about them, and their neighbours */
static const double special[] = {0,    1,    2,        3,     0.5,    0.25,  0.75,
                                 1.5,  16,   87.33655, 89,    103.9,  104.1, 88.7,
                                 17.4, 9.02, 709.8,    745.2, 708.39, 1e30,  INFINITY};

static void sample(const function *f, worst *w) {
    enum { N = 1 << 20 };
    real x[LANES], b[LANES];
    for (int64_t i = 0; i < N; i += LANES) { /* every sign, exponent and upper mantissa in turn */
        for (int j = 0; j < LANES; j++) {
            ureal top = (ureal)(i + j) << (8 * sizeof(real) - 20);
            x[j] = from_bits(top | (ureal)(random_bits() & 0xfff) |
                             (MG_IS_F32 ? 0 : (ureal)(random_bits() >> 20)));
            b[j] = (i & 64) ? any_real() : within(200);
        }
        compare(f, x, b, w);
    }
    static const double limits[] = {1e-3, 1, 3, 20, 110, 800, 1e5};
    for (size_t k = 0; k < sizeof limits / sizeof *limits; k++)
        for (int i = 0; i < N / 8; i += (int)LANES) {
            for (int j = 0; j < LANES; j++) {
                x[j] = within(limits[k]);
                b[j] = (real)((double)within(710) / log(fabs((double)x[j]))); /* x^b within range */
                if (i & 64) x[j] = 1 + x[j] / (real)limits[k] / 2;
            }
            compare(f, x, b, w);
        }
    const int specials = (int)(sizeof special / sizeof *special);
    for (int p = 0; p < specials * 6; p++)
        for (int q = 0; q < specials * 6; q += (int)LANES) {
            for (int j = 0; j < LANES; j++) {
                real u = (real)special[p / 6], v = (real)special[(q + j) / 6 % specials];
                int du = p % 3 - 1, dv = (q + j) % 3 - 1;
                x[j] = du ? next(u, du) : u;
                b[j] = dv ? next(v, dv) : v;
                if (p % 6 > 2) x[j] = -x[j];
                if ((q + j) % 6 > 2) b[j] = -b[j];
            }
            compare(f, x, b, w);
            if (q == 0) x[0] = (real)NAN, compare(f, x, b, w), compare(f, b, x, w);
        }
}

static void exhaust(const function *f, worst *w) {
    real x[LANES], b[LANES] = {0};
    for (uint64_t i = 0; i < (uint64_t)1 << 32; i += (uint64_t)LANES) {
        for (int j = 0; j < LANES; j++) x[j] = from_bits((ureal)(i + (uint64_t)j));
        compare(f, x, b, w);
    }
}

int main(int argc, char **argv) {
    const char *name = argc > 1 ? argv[1] : "";
    int all = argc > 2 && strcmp(argv[2], "all") == 0, bad = 0, found = 0;
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        const function *f = &functions[i];
        if (*name && strcmp(name, f->name) != 0) continue;
        if (all && (!MG_IS_F32 || f->arguments > 1)) {
            fprintf(stderr, "only float32 functions of one argument can be swept\n");
            return 2;
        }
        worst w = {0};
        (all ? exhaust : sample)(f, &w);
        printf("%-10s %-4s %2d bytes: %8.3f ULP (bound %.1f) at x = %.17g (%a)", f->name,
               MG_IS_F32 ? "f32" : "f64", MG_VBYTES, w.ulp, f->bound, (double)w.x, (double)w.x);
        if (f->arguments > 1) printf(", b = %.17g", (double)w.b);
        printf(": %.17g for %.17g%s\n", (double)w.y, (double)w.ref,
               w.ulp > f->bound ? " <-- BAD" : "");
        bad |= w.ulp > f->bound;
        found = 1;
    }
    if (!found) fprintf(stderr, "no function %s\n", name);
    return found ? bad : 2;
}
