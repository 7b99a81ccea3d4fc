/* kernels.c: every kernel of kernels.def through the functions of minigrad.h, in C alone, against
 * the plain formulas of references.h: each instruction set of the machine, both element types,
 * sizes around every vector's width, special values, strides, in place; and one, two and three
 * threads, which must give the same bits.  Results lie between guard bytes, and not on a vector's
 * boundary.
 *
 *   cc -O2 -std=gnu11 -ffp-contract=fast -Wno-psabi -pthread -Icextension tests/c/kernels.c \
 *      $(find cextension -name '*.c') -lm -o kernels && ./kernels
 *
 * With -fsanitize=address,undefined it is the sanitizers' test as well; neon.sh runs it on 64-bit
 * ARM.  Prints "ok", or what is wrong, and then ends with status 1. */
#include "references.h"
#include "table.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *name;
    truth (*of)(double, double, double);
} formula;
/* a line of kernels.def without a formula does not compile */
static const formula maps[] = {
#define MAP(name) {#name, map_##name},
#include "kernels.def"
};
static const formula zips[] = {
#define ZIP(name) {#name, zip_##name},
#include "kernels.def"
};
static const formula compares[] = {
#define CMP(name) {#name, compare_##name},
#include "kernels.def"
};
static const formula selects[] = {
#define SEL(name) {#name, select_##name},
#include "kernels.def"
};
static const struct {
    const char *name;
    truth (*of)(int64_t, const double *, double);
} reductions[] = {
#define RED(name) {#name, reduce_##name},
#include "kernels.def"
};
static const struct {
    const char *name;
    void (*of)(int64_t, truth *, const double *, const double *, truth *, double);
} row_ops[] = {
#define ROW(name) {#name, rows_##name},
#include "kernels.def"
};
static const struct {
    const char *name;
    void (*of)(const double *, truth *, double);
} updates[] = {
#define UPD(name) {#name, update_##name},
#include "kernels.def"
};

/* ---- what is being tested, and what is wrong with it ------------------------------------- */

static struct {
    const char *what, *op;
    int dtype;
    int64_t size[4];
} now;
static int64_t failures, checks;

static void fail(const char *why, int64_t i, double got, double want) {
    printf("%s: %s %s, dtype %d, sizes %lld %lld %lld %lld: %s at %lld: %.17g, not %.17g\n",
           mg_isa_name(mg_isa()), now.what, now.op, now.dtype, (long long)now.size[0],
           (long long)now.size[1], (long long)now.size[2], (long long)now.size[3], why,
           (long long)i, got, want);
    if (++failures == 20) exit(1);
}

static void subject(const char *what, const char *op, int dtype, int64_t s0, int64_t s1, int64_t s2,
                    int64_t s3) {
    now.what = what, now.op = op, now.dtype = dtype;
    now.size[0] = s0, now.size[1] = s1, now.size[2] = s2, now.size[3] = s3;
}

static void status(int got, int want) {
    checks++;
    if (got != want) fail("status", 0, got, want);
}

/* got as near to the truth as it says; where zero_sign, zeros must have the same sign */
static void expect(int64_t i, int dtype, double got, truth t, int zero_sign) {
    const double want = dtype == MG_F32 ? (double)(float)t.value : t.value;
    const double eps = dtype == MG_F32 ? 0x1p-23 : 0x1p-52;
    const double least = dtype == MG_F32 ? 0x1p-149 : 0x1p-1074; /* below, numbers are not denser */
    checks++;
    if (isnan(want) ? isnan(got) : got == want) {
        if (zero_sign && want == 0 && signbit(got) != signbit(want)) fail("sign", i, got, want);
        return;
    }
    const int overflows = t.slack > (dtype == MG_F32 ? 0x1p127 : 0x1p1023);
    if (!isnan(want) &&
        (overflows || fabs(got - want) <= eps * t.slack + (t.slack > 0) * 4 * least))
        return;
    fail("value", i, got, want);
}

/* ---- arrays ------------------------------------------------------------------------------ */

typedef struct {
    int dtype;
    int64_t n;
    unsigned char *block, *at;
    int64_t bytes; /* of the block */
} array;

enum { GUARD = 64, FILL = 0xA5 };

static int64_t size_of(int dtype) { return dtype == MG_BOOL ? 1 : dtype == MG_F32 ? 4 : 8; }

static array allocate(int dtype, int64_t n, int64_t before, int64_t after) {
    array x = {dtype, n, NULL, NULL, before + n * size_of(dtype) + after};
    x.block = mg_alloc((size_t)x.bytes);
    if (!x.block) fail("no memory", n, 0, 0), exit(1);
    memset(x.block, FILL, (size_t)x.bytes);
    x.at = x.block + before;
    return x;
}
/* exactly as long as it is said to be, for the address sanitizer */
static array input(int dtype, int64_t n) { return allocate(dtype, n, 0, 0); }
static array result(int dtype, int64_t n) {
    return allocate(dtype, n, GUARD + size_of(dtype), GUARD);
}
static void release(array *x) {
    const int64_t before = x->at - x->block, end = before + x->n * size_of(x->dtype);
    for (int64_t i = 0; i < x->bytes; i++)
        if ((i < before || i >= end) && x->block[i] != FILL) fail("guard", i - before, 0, 0);
    mg_free(x->block);
}

static double get(const array *x, int64_t i) {
    switch (x->dtype) {
    case MG_F32: return (double)((float *)(void *)x->at)[i];
    case MG_F64: return ((double *)(void *)x->at)[i];
    case MG_I64: return (double)((int64_t *)(void *)x->at)[i];
    default: return x->at[i];
    }
}
static void put(array *x, int64_t i, double v) {
    switch (x->dtype) {
    case MG_F32: ((float *)(void *)x->at)[i] = (float)v; break;
    case MG_F64: ((double *)(void *)x->at)[i] = v; break;
    case MG_I64: ((int64_t *)(void *)x->at)[i] = (int64_t)v; break;
    default: x->at[i] = v != 0;
    }
}
static void get_all(const array *x, int64_t begin, int64_t n, double *to) {
    for (int64_t i = 0; i < n; i++) to[i] = get(x, begin + i);
}

static uint64_t seed = 88172645463325252u;
static int64_t below(int64_t n) { /* a random number in [0, n): xorshift */
    seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
    return (int64_t)((seed >> 11) % (uint64_t)n);
}
static double uniform(void) { return (double)below((int64_t)1 << 52) * 0x1p-52; }

static const double special[] = {
    NAN,  INFINITY,       -INFINITY,       0.0,      -0.0,      1,     -1,     0.5,  2,
    3,    0x1.fffffep127, -0x1.fffffep127, 0x1p-126, -0x1p-126, 1e-40, -1e-40, 88.8, -103.5,
    -150, 709.9,          -745.2,          1e10};
enum { SPECIALS = sizeof special / sizeof *special };

/* tame: in [-4, 4).  Otherwise of any sign and size in reach of exp, one in six a special value. */
static void draw(array *x, int tame) {
    for (int64_t i = 0; i < x->n; i++) {
        double v = tame ? 8 * uniform() - 4 : (1 + uniform()) * exp2((double)below(16) - 9);
        if (!tame && below(2)) v = -v;
        if (!tame && below(6) == 0) v = special[below(SPECIALS)];
        if (x->dtype == MG_I64) v = (double)(below((int64_t)1 << 40) - ((int64_t)1 << 39));
        if (x->dtype > MG_F64 && below(3) == 0) v = 0;
        put(x, i, v);
    }
}
static array drawn(int dtype, int64_t n, int tame) {
    array x = input(dtype, n);
    draw(&x, tame);
    return x;
}

/* The results of one, two and three threads are one result.  Gives them all back but the first. */
static void same(array y[3]) {
    for (int t = 1; t < 3; t++) {
        if (memcmp(y[0].at, y[t].at, (size_t)(y[0].n * size_of(y[0].dtype))))
            fail("threads or in place differ", t, 0, 0);
        release(&y[t]);
    }
}

#include "kernels_elementwise.h"
#include "kernels_matrix.h"
#include "kernels_rows.h"
#include "kernels_sequence.h"
#include "kernels_learning.h"
#include "kernels_labels.h"

/* ---- memory and machine ------------------------------------------------------------------ */

static void test_memory(void) {
    size_t used, before, kept;
    void *block[200];
    subject("memory", "", 0, 0, 0, 0, 0);
    mg_memory(&before, &kept);
    for (int i = 0; i < 200; i++) {
        const size_t bytes = (size_t)(i < 190 ? i * 37 : i * 40000);
        block[i] = mg_alloc(bytes);
        if (!block[i] || (uintptr_t)block[i] % 64) fail("block", i, 0, 0), exit(1);
        memset(block[i], i, bytes);
    }
    for (int i = 0; i < 200; i++) {
        const unsigned char *b = block[i];
        const int64_t last = (i < 190 ? i * 37 : i * 40000) - 1;
        if (last >= 0 && (b[0] != i || b[last] != i)) fail("overlap", i, b[0], b[last]);
        mg_free(block[i]);
    }
    mg_memory(&used, &kept);
    status(used == before, 1);
    mg_trim();
    mg_memory(&used, &kept);
    status(kept == 0, 1);
    status(mg_alloc(SIZE_MAX - 100) == NULL, 1);
    mg_free(NULL);
}

static void test_refusals(void) {
    const int64_t form[] = {MG_I64, 1, 0}, real[] = {MG_F32, 1, 0}, deep[] = {MG_F32, 1, 65};
    float y = 0, x = 1;
    int64_t bad = 0;
    subject("refusal", "", 0, 0, 0, 0, 0);
    status(mg_map(0, form, &y, &x), MG_BAD_OP);
    status(mg_map(MG_MAPS, real, &y, &x), MG_BAD_OP);
    status(mg_map(0, deep, &y, &x), MG_BAD_OP);
    status(mg_zip(-1, real, &y, &x, &x), MG_BAD_OP);
    status(mg_compare(MG_CMPS, real, &y, &x, &x), MG_BAD_OP);
    status(mg_select(MG_SELS, real, &y, &x, &x, &x), MG_BAD_OP);
    status(mg_copy(4, real, &y, &x), MG_BAD_OP);
    status(mg_reduce(MG_REDS, MG_F32, 1, 1, 1, &y, &x, 0), MG_BAD_OP);
    status(mg_rows(0, MG_BOOL, 1, 1, &y, &x, NULL, NULL, 0), MG_BAD_OP);
    status(mg_gather(MG_I64, 1, 1, 1, &y, &x, &bad, &bad), MG_BAD_OP);
    const int64_t size = 1;
    void *const arrays[] = {&y, &x, NULL, NULL};
    status(mg_update(MG_UPDS, MG_F32, 1, &size, arrays, NULL), MG_BAD_OP);
    status(isnan(mg_sum_squares(MG_I64, 1, &size, arrays)), 1);
    status(mg_scale(MG_BOOL, 1, &size, arrays, 2), MG_BAD_OP);
    status(mg_isa_use(-1), MG_BAD_OP);
    status(mg_isa_name(99) == NULL, 1);
    status(mg_set_threads(0), MG_BAD_OP);
    status(mg_set_threads(3), MG_OK);
    status(mg_threads(), 3);
}

int main(void) {
#if defined(__aarch64__)
    status(strcmp(mg_isa_name(0), "neon"), 0);
#else
    status(strcmp(mg_isa_name(0), "baseline"), 0);
#endif
    status(mg_isa_name(mg_isa() + 1) && mg_isa_supported(mg_isa() + 1), 0); /* the best is in use */
    for (int isa = 0; mg_isa_name(isa); isa++) {
        if (!mg_isa_supported(isa)) {
            status(mg_isa_use(isa), MG_BAD_OP);
            printf("%s: not on this machine\n", mg_isa_name(isa));
            continue;
        }
        status(mg_isa_use(isa), MG_OK);
        status(mg_isa(), isa);
        const int64_t before = checks;
        for (int dtype = MG_F32; dtype <= MG_F64; dtype++) {
            test_elementwise(dtype);
            test_reductions(dtype);
            test_rows(dtype);
            test_cross_entropy(dtype);
            test_indexing(dtype);
            test_gemm(dtype);
            test_updates(dtype);
            test_lists(dtype);
            test_sequences(dtype);
            test_steps(dtype);
            test_covariance(dtype);
            test_labels(dtype);
        }
        test_copy();
        test_memory();
        test_refusals();
        printf("%s: %lld results checked\n", mg_isa_name(isa), (long long)(checks - before));
    }
    puts(failures ? "FAILED" : "ok");
    return failures != 0;
}
