/* simd.h: the vector vocabulary, one text for every width and element type.
 *
 * A translation unit under isa/ defines
 *     MG_ISA      name, e.g. avx2           MG_DTYPE   f32 or f64
 *     MG_VBYTES   bytes per vector: 16, 32, 64
 *     MG_TARGET   what to ask of the compiler, e.g. "avx2,fma" (nothing for the baseline)
 * and includes kernels/all.inc, which includes this file.  The kernels are ordinary C on `real`
 * (one number) and `vec` (LANES numbers): + - * / and comparisons are the operators of GCC's and
 * clang's vector extensions; what those lack is spelled here.  All `#if` about machines live in
 * this file.  */
#include <math.h>
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif
#if defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#define MG_CAT3_(a, b, c) a##_##b##_##c
#define MG_CAT3(a, b, c) MG_CAT3_(a, b, c)
#define MG_f32 1
#define MG_f64 2
#define MG_WIDTH_OF_(d) MG_##d
#define MG_WIDTH_OF(d) MG_WIDTH_OF_(d)
#define MG_IS_F32 (MG_WIDTH_OF(MG_DTYPE) == 1)

/* From here to the end of the translation unit every function may use MG_TARGET's instructions. */
#ifdef MG_TARGET
#define MG_PRAGMA(x) _Pragma(#x)
#if defined(__clang__)
#define MG_BEGIN_TARGET(t)                                                                         \
    MG_PRAGMA(clang attribute push(__attribute__((target(t))), apply_to = function))
#define MG_END_TARGET MG_PRAGMA(clang attribute pop)
#else
#define MG_BEGIN_TARGET(t) MG_PRAGMA(GCC push_options) MG_PRAGMA(GCC target(t))
#define MG_END_TARGET MG_PRAGMA(GCC pop_options)
#endif
MG_BEGIN_TARGET(MG_TARGET)
#else
#define MG_END_TARGET
#endif

/* before a loop with a small constant count: without it arrays of vec stay in memory */
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

#define INLINE static inline __attribute__((always_inline, unused))

#if MG_IS_F32
typedef float real;
typedef int32_t ireal; /* the integer as wide as a real */
typedef uint32_t ureal;
#else
typedef double real;
typedef int64_t ireal;
typedef uint64_t ureal;
#endif

/* vector registers: AVX-512 and 64-bit ARM have 32, the others 16 */
#if MG_VBYTES == 64 || defined(__aarch64__)
#define VREGS 32
#else
#define VREGS 16
#endif

#define LANES ((int64_t)(MG_VBYTES / sizeof(real)))

typedef real vec __attribute__((vector_size(MG_VBYTES)));
typedef ireal ivec __attribute__((vector_size(MG_VBYTES))); /* masks too: 0 or -1 per lane */
typedef ureal uvec __attribute__((vector_size(MG_VBYTES)));
/* the same, at any address a real may have */
typedef real vec_at_any __attribute__((vector_size(MG_VBYTES), aligned(sizeof(real)), may_alias));

INLINE vec vload(const real *p) { return *(const vec_at_any *)p; }
INLINE void vstore(real *p, vec x) { *(vec_at_any *)p = x; }
INLINE vec vset(real x) { return x - (vec){0}; } /* x in every lane; -0 and NaN survive */
INLINE ivec iset(ireal x) { return x - (ivec){0}; }
INLINE ivec vbits(vec x) { return (ivec)x; }
INLINE vec vfrombits(ivec x) { return (vec)x; }
INLINE vec vsel(ivec mask, vec a, vec b) { return (vec)((mask & (ivec)a) | (~mask & (ivec)b)); }
INLINE vec vfma(vec a, vec b, vec c) { return a * b + c; } /* contracted where the ISA can */
INLINE vec vabs(vec x) { return (vec)((ivec)x & ~(ivec)vset(-(real)0)); }
INLINE vec vsign_of(vec magnitude, vec sign) { /* copysign */
    ivec s = (ivec)vset(-(real)0);
    return (vec)(((ivec)magnitude & ~s) | ((ivec)sign & s));
}
INLINE vec vtoreal(ivec x) { return __builtin_convertvector(x, vec); }
INLINE ivec vtoint(vec x) { return __builtin_convertvector(x, ivec); } /* toward zero */

INLINE ivec viota(void) { /* 0, 1, 2 ...: a constant once compiled */
    ivec x = {0};
    for (int i = 0; i < LANES; i++) x[i] = i;
    return x;
}
INLINE ivec vfirst(int64_t n) { return viota() < iset((ireal)n); } /* the first n lanes */
INLINE vec vturn(vec x, int by) { /* lane i is x[(i + by) % LANES] */
#if defined(__clang__)
    vec y = x;
    for (int i = 0; i < LANES; i++) y[i] = x[(i + by) % (int)LANES];
    return y;
#else
    return __builtin_shuffle(x, viota() + iset(by));
#endif
}
/* Is any lane of the mask set?  Only its sign bit counts. */
#if MG_VBYTES == 64 && MG_IS_F32
INLINE int vany(ivec m) { return _mm512_movepi32_mask((__m512i)m) != 0; }
#elif MG_VBYTES == 64
INLINE int vany(ivec m) { return _mm512_movepi64_mask((__m512i)m) != 0; }
#elif MG_VBYTES == 32 && MG_IS_F32
INLINE int vany(ivec m) { return _mm256_movemask_ps((__m256)m) != 0; }
#elif MG_VBYTES == 32
INLINE int vany(ivec m) { return _mm256_movemask_pd((__m256d)m) != 0; }
#elif defined(__SSE2__) && MG_IS_F32
INLINE int vany(ivec m) { return _mm_movemask_ps((__m128)m) != 0; }
#elif defined(__SSE2__)
INLINE int vany(ivec m) { return _mm_movemask_pd((__m128d)m) != 0; }
#else
INLINE int vany(ivec m) {
    int64_t half[2];
    m &= vbits(vset(-(real)0));
    memcpy(half, &m, sizeof half);
    return (half[0] | half[1]) != 0;
}
#endif

/* a < b ? a : b.  If either is NaN the result is b: write vmin(constant, x) to let NaN through. */
#if MG_VBYTES == 64
#if MG_IS_F32
INLINE vec vmin(vec a, vec b) { return (vec)_mm512_min_ps((__m512)a, (__m512)b); }
INLINE vec vmax(vec a, vec b) { return (vec)_mm512_max_ps((__m512)a, (__m512)b); }
INLINE vec vsqrt(vec x) { return (vec)_mm512_sqrt_ps((__m512)x); }
#else
INLINE vec vmin(vec a, vec b) { return (vec)_mm512_min_pd((__m512d)a, (__m512d)b); }
INLINE vec vmax(vec a, vec b) { return (vec)_mm512_max_pd((__m512d)a, (__m512d)b); }
INLINE vec vsqrt(vec x) { return (vec)_mm512_sqrt_pd((__m512d)x); }
#endif
#elif MG_VBYTES == 32
#if MG_IS_F32
INLINE vec vmin(vec a, vec b) { return (vec)_mm256_min_ps((__m256)a, (__m256)b); }
INLINE vec vmax(vec a, vec b) { return (vec)_mm256_max_ps((__m256)a, (__m256)b); }
INLINE vec vsqrt(vec x) { return (vec)_mm256_sqrt_ps((__m256)x); }
#else
INLINE vec vmin(vec a, vec b) { return (vec)_mm256_min_pd((__m256d)a, (__m256d)b); }
INLINE vec vmax(vec a, vec b) { return (vec)_mm256_max_pd((__m256d)a, (__m256d)b); }
INLINE vec vsqrt(vec x) { return (vec)_mm256_sqrt_pd((__m256d)x); }
#endif
#elif defined(__SSE2__) && MG_IS_F32
INLINE vec vmin(vec a, vec b) { return (vec)_mm_min_ps((__m128)a, (__m128)b); }
INLINE vec vmax(vec a, vec b) { return (vec)_mm_max_ps((__m128)a, (__m128)b); }
INLINE vec vsqrt(vec x) { return (vec)_mm_sqrt_ps((__m128)x); }
#elif defined(__SSE2__)
INLINE vec vmin(vec a, vec b) { return (vec)_mm_min_pd((__m128d)a, (__m128d)b); }
INLINE vec vmax(vec a, vec b) { return (vec)_mm_max_pd((__m128d)a, (__m128d)b); }
INLINE vec vsqrt(vec x) { return (vec)_mm_sqrt_pd((__m128d)x); }
#else
INLINE vec vmin(vec a, vec b) { return vsel(a < b, a, b); }
INLINE vec vmax(vec a, vec b) { return vsel(a > b, a, b); }
INLINE vec vsqrt(vec x) {
    for (int i = 0; i < LANES; i++)
        x[i] = MG_IS_F32 ? (real)sqrtf((float)x[i]) : (real)sqrt((double)x[i]);
    return x;
}
#endif

/* Store past the caches to an aligned address; vstream_end before anyone else reads it. */
#if MG_VBYTES == 64
INLINE void vstream(real *p, vec x) { _mm512_stream_si512((__m512i *)(void *)p, (__m512i)x); }
#elif MG_VBYTES == 32
INLINE void vstream(real *p, vec x) { _mm256_stream_si256((__m256i *)(void *)p, (__m256i)x); }
#elif defined(__SSE2__)
INLINE void vstream(real *p, vec x) { _mm_stream_si128((__m128i *)(void *)p, (__m128i)x); }
#else
INLINE void vstream(real *p, vec x) { vstore(p, x); }
#endif
#if defined(__SSE2__)
INLINE void vstream_end(void) { _mm_sfence(); }
#else
INLINE void vstream_end(void) {}
#endif

/* The first n < LANES numbers at p, zero in the other lanes; nothing past p + n is touched. */
#if MG_VBYTES == 64 && MG_IS_F32
INLINE vec vload_n(const real *p, int64_t n) {
    return (vec)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
}
INLINE void vstore_n(real *p, vec x, int64_t n) {
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)x);
}
#elif MG_VBYTES == 64
INLINE vec vload_n(const real *p, int64_t n) {
    return (vec)_mm512_maskz_loadu_pd((__mmask8)((1u << n) - 1), p);
}
INLINE void vstore_n(real *p, vec x, int64_t n) {
    _mm512_mask_storeu_pd(p, (__mmask8)((1u << n) - 1), (__m512d)x);
}
#elif MG_VBYTES == 32 && MG_IS_F32
INLINE vec vload_n(const real *p, int64_t n) {
    return (vec)_mm256_maskload_ps(p, (__m256i)vfirst(n));
}
INLINE void vstore_n(real *p, vec x, int64_t n) {
    _mm256_maskstore_ps(p, (__m256i)vfirst(n), (__m256)x);
}
#elif MG_VBYTES == 32
INLINE vec vload_n(const real *p, int64_t n) {
    return (vec)_mm256_maskload_pd(p, (__m256i)vfirst(n));
}
INLINE void vstore_n(real *p, vec x, int64_t n) {
    _mm256_maskstore_pd(p, (__m256i)vfirst(n), (__m256d)x);
}
#else
INLINE vec vload_n(const real *p, int64_t n) {
    vec x = {0};
    for (int i = 0; i < n; i++) x[i] = p[i];
    return x;
}
INLINE void vstore_n(real *p, vec x, int64_t n) {
    for (int i = 0; i < n; i++) p[i] = x[i];
}
#endif

/* the same for n <= LANES: free of branches once inlined where n is LANES */
INLINE vec vget(const real *p, int64_t n) { return n == LANES ? vload(p) : vload_n(p, n); }
INLINE void vput(real *p, vec x, int64_t n) {
    if (n == LANES) {
        vstore(p, x);
    } else {
        vstore_n(p, x, n);
    }
}

/* The first n < LANES numbers at p, `pad` in the other lanes. */
INLINE vec vload_pad(const real *p, int64_t n, vec pad) {
    return vsel(vfirst(n), vload_n(p, n), pad);
}

/* Fold the lanes into one number, always in the same order: halves onto halves. */
INLINE real vsum(vec x) {
    if (LANES > 8) x += vturn(x, 8);
    if (LANES > 4) x += vturn(x, 4);
    if (LANES > 2) x += vturn(x, 2);
    x += vturn(x, 1);
    return x[0];
}

/* x[at[0]], x[at[1]], ... by single loads: faster than the instructions for it, see sparse.inc */
#define MG_AT_2(i) x[at[i]], x[at[(i) + 1]]
#define MG_AT_4(i) MG_AT_2(i), MG_AT_2((i) + 2)
#define MG_AT_8(i) MG_AT_4(i), MG_AT_4((i) + 4)
/* ... and with indices of 16 bits, four by one load.  (The empty statement keeps the compiler from
 * loading them one by one, or as a vector that goes through memory.) */
INLINE uint64_t mg_four(const uint16_t *at) {
    uint64_t four;
    memcpy(&four, at, sizeof four);
    __asm__("" : "+r"(four));
    return four;
}
#define MG_OF(four) x[(uint16_t)(four)], x[(uint16_t)((four) >> 16)], MG_OF_UPPER((four) >> 32)
#define MG_OF_UPPER(two) x[(uint16_t)(two)], x[(two) >> 16]
#if MG_VBYTES == 64 && MG_IS_F32
INLINE vec vgather(const real *x, const uint32_t *at) { return (vec){MG_AT_8(0), MG_AT_8(8)}; }
INLINE vec vgather_16(const real *x, const uint16_t *at) { /* too many registers for fours */
    return (vec){MG_AT_8(0), MG_AT_8(8)};
}
#elif MG_VBYTES == 64 || (MG_VBYTES == 32 && MG_IS_F32)
INLINE vec vgather(const real *x, const uint32_t *at) { return (vec){MG_AT_8(0)}; }
INLINE vec vgather_16(const real *x, const uint16_t *at) {
    uint64_t a = mg_four(at), b = mg_four(at + 4);
    return (vec){MG_OF(a), MG_OF(b)};
}
#elif MG_VBYTES == 32 || MG_IS_F32
INLINE vec vgather(const real *x, const uint32_t *at) { return (vec){MG_AT_4(0)}; }
INLINE vec vgather_16(const real *x, const uint16_t *at) {
    uint64_t a = mg_four(at);
    return (vec){MG_OF(a)};
}
#else
INLINE vec vgather(const real *x, const uint32_t *at) { return (vec){MG_AT_2(0)}; }
INLINE vec vgather_16(const real *x, const uint16_t *at) { return (vec){MG_AT_2(0)}; }
#endif

/* a0 b0 a1 b1 ... from the lower, from the upper halves of a and b */
#if defined(__clang__)
#define MG_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define MG_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (ivec){__VA_ARGS__})
#endif
#if MG_VBYTES == 64 && MG_IS_F32
#define MG_LOW 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define MG_HIGH 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#elif MG_VBYTES == 64 || (MG_VBYTES == 32 && MG_IS_F32)
#define MG_LOW 0, 8, 1, 9, 2, 10, 3, 11
#define MG_HIGH 4, 12, 5, 13, 6, 14, 7, 15
#elif MG_VBYTES == 32 || MG_IS_F32
#define MG_LOW 0, 4, 1, 5
#define MG_HIGH 2, 6, 3, 7
#else
#define MG_LOW 0, 2
#define MG_HIGH 1, 3
#endif
INLINE vec vzip_low(vec a, vec b) { return MG_SHUFFLE(a, b, MG_LOW); }
INLINE vec vzip_high(vec a, vec b) { return MG_SHUFFLE(a, b, MG_HIGH); }
/* lane j of t[i] <-> lane i of t[j], LANES of each: zipping the halves moves one bit of the place
 * from the lanes to the vectors */
INLINE void vtranspose(vec *t) {
    UNROLL for (int bits = 1; bits < LANES; bits *= 2) {
        vec u[LANES];
        UNROLL for (int i = 0; i < LANES / 2; i++) {
            u[2 * i] = vzip_low(t[i], t[i + LANES / 2]);
            u[2 * i + 1] = vzip_high(t[i], t[i + LANES / 2]);
        }
        UNROLL for (int i = 0; i < LANES; i++) t[i] = u[i];
    }
}
