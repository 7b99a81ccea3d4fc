/* simd_math.h: what vmath.inc says beyond simd.h: exponents, rounding, exact products.
 *
 * Some instructions of AVX-512 are worth their own lines: scalef (exp: 1 instruction for 7), getexp
 * with getmant (log: 4 for 15) and permutexvar, a table of 16 floats. */

#if MG_IS_F32
#define MANTISSA 23 /* bits of a real behind the point; exponents are stored plus BIAS */
#define BIAS 127
#define REAL_TINY 0x1p-126f /* smallest normal */
#define REAL_MAX 0x1.fffffep127f
#define WHOLE 0x1p23f /* from here on numbers have no fraction: their low bits count in ones */
#define ROUNDER                                                                                    \
    0x1.8p23f /* the same for either sign: x + ROUNDER rounds |x| < 2^22 to an integer */
#else
#define MANTISSA 52
#define BIAS 1023
#define REAL_TINY 0x1p-1022
#define REAL_MAX 0x1.fffffffffffffp1023
#define WHOLE 0x1p52
#define ROUNDER 0x1.8p52
#endif

/* a b + c, rounded once on every ISA: a b - p with p = a * b is then the rounding error of p. */
#if MG_VBYTES == 64 && MG_IS_F32
INLINE vec vfma1(vec a, vec b, vec c) {
    return (vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}
#elif MG_VBYTES == 64
INLINE vec vfma1(vec a, vec b, vec c) {
    return (vec)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
}
#elif MG_VBYTES == 32 && MG_IS_F32
INLINE vec vfma1(vec a, vec b, vec c) {
    return (vec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
#elif MG_VBYTES == 32
INLINE vec vfma1(vec a, vec b, vec c) {
    return (vec)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
}
#elif defined(__ARM_NEON) && MG_IS_F32
INLINE vec vfma1(vec a, vec b, vec c) {
    return (vec)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}
#elif defined(__ARM_NEON)
INLINE vec vfma1(vec a, vec b, vec c) {
    return (vec)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
}
#elif MG_IS_F32
INLINE vec vfma1(vec a, vec b, vec c) { /* a product of floats is exact in double */
    for (int i = 0; i < LANES; i++) a[i] = (float)((double)a[i] * (double)b[i] + (double)c[i]);
    return a;
}
#else
/* No FMA: a and b cut into halves whose products are exact (Veltkamp, Dekker), then added to c with
 * the error of the sum (Knuth).  The last sum rounds a second time: 0.5 becomes 0.50000001 ULP. */
INLINE vec vfma1(vec a, vec b, vec c) {
    vec ta = a * 0x1.000002p27, tb = b * 0x1.000002p27;
    vec ah = ta - (ta - a), al = a - ah, bh = tb - (tb - b), bl = b - bh;
    vec p = a * b, e = ((ah * bh - p) + ah * bl + al * bh) + al * bl;
    vec s = p + c, d = s - p;
    return s + (((p - (s - d)) + (c - d)) + e);
}
#endif

/* a b, rounded: no later sum may take it into an FMA.  (The empty statement hides where it came
 * from.)  Only where vfma1 will ask for its rounding error. */
INLINE vec vtimes(vec a, vec b) {
    vec p = a * b;
#if defined(__x86_64__) && MG_VBYTES == 64
    __asm__("" : "+v"(p));
#elif defined(__x86_64__)
    __asm__("" : "+x"(p));
#elif defined(__aarch64__)
    __asm__("" : "+w"(p));
#else
    __asm__("" : "+m"(p));
#endif
    return p;
}

/* the nearest integer, ties to even, sign kept; any x */
#if MG_VBYTES == 64 && MG_IS_F32
INLINE vec vrint(vec x) { return (vec)_mm512_roundscale_ps((__m512)x, _MM_FROUND_TO_NEAREST_INT); }
#elif MG_VBYTES == 64
INLINE vec vrint(vec x) { return (vec)_mm512_roundscale_pd((__m512d)x, _MM_FROUND_TO_NEAREST_INT); }
#elif MG_VBYTES == 32 && MG_IS_F32
INLINE vec vrint(vec x) {
    return (vec)_mm256_round_ps((__m256)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
#elif MG_VBYTES == 32
INLINE vec vrint(vec x) {
    return (vec)_mm256_round_pd((__m256d)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
#else
INLINE vec vrint(vec x) {
    vec big = vset(WHOLE), a = vabs(x);
    return vsel(a < big, vsign_of((a + big) - big, x), x);
}
#endif

/* x, but at most `limit` away from 0; NaN becomes any of these */
#if MG_VBYTES == 64 && MG_IS_F32
INLINE vec vbound(vec x, real limit) {
    return (vec)_mm512_range_ps((__m512)x, _mm512_set1_ps(limit), 2);
}
#elif MG_VBYTES == 64
INLINE vec vbound(vec x, real limit) {
    return (vec)_mm512_range_pd((__m512d)x, _mm512_set1_pd(limit), 2);
}
#else
INLINE vec vbound(vec x, real limit) { return vmax(vmin(x, vset(limit)), vset(-limit)); }
#endif

/* 2^(n + more) for an integer-valued n; normal results only */
INLINE vec vpow2(vec n, int more) {
    return vfrombits((ivec)((uvec)vbits(n + (ROUNDER + BIAS + (real)more)) << MANTISSA));
}

/* table[i % 16] per lane, from a table of 16 */
#if MG_VBYTES == 64 && MG_IS_F32
#define HAS_LOOKUP 1
#define ROUNDER_16                                                                                 \
    0x1.8p19f /* x + ROUNDER_16 rounds to a multiple of 1/16: bits % 16 are its 16ths */
INLINE vec vlookup(const real *table, ivec i) {
    return (vec)_mm512_permutexvar_ps((__m512i)i, _mm512_loadu_ps(table));
}
#else
#define HAS_LOOKUP 0
#endif

/* x 2^n for an integer-valued n, |n| <= 2 BIAS; rounded once, to subnormal numbers too, if x is not
 * extreme itself */
#if MG_VBYTES == 64 && MG_IS_F32
INLINE vec vldexp(vec x, vec n) { return (vec)_mm512_scalef_ps((__m512)x, (__m512)n); }
#elif MG_VBYTES == 64
INLINE vec vldexp(vec x, vec n) { return (vec)_mm512_scalef_pd((__m512d)x, (__m512d)n); }
#else
INLINE vec vldexp(vec x, vec n) { /* by two powers of two, n being too large for one */
    uvec both = (uvec)vbits(n + (ROUNDER + 2 * BIAS))
                << (MANTISSA - 1); /* exponents' sum, halved */
    uvec first = both & (uvec)iset((ireal)((ureal)-1 << MANTISSA));
    return x * vfrombits((ivec)first) * vfrombits((ivec)((both << 1) - first));
}
#endif

/* |x| = m 2^k with m in [3/4, 3/2), subnormal numbers too.  k is -inf at 0, inf at infinity and NaN
 * at NaN; m is then some number in the range. */
#if MG_VBYTES == 64 && MG_IS_F32
INLINE vec vsplit(vec x, vec *k) {
    __m512 m = _mm512_getmant_ps((__m512)x, _MM_MANT_NORM_p75_1p5, _MM_MANT_SIGN_zero);
    __m512 e = _mm512_getexp_ps((__m512)x), one = _mm512_set1_ps(1);
    *k = (vec)_mm512_mask_add_ps(e, _mm512_cmp_ps_mask(m, one, _CMP_LT_OQ), e, one);
    return (vec)m;
}
#elif MG_VBYTES == 64
INLINE vec vsplit(vec x, vec *k) {
    __m512d m = _mm512_getmant_pd((__m512d)x, _MM_MANT_NORM_p75_1p5, _MM_MANT_SIGN_zero);
    __m512d e = _mm512_getexp_pd((__m512d)x), one = _mm512_set1_pd(1);
    *k = (vec)_mm512_mask_add_pd(e, _mm512_cmp_pd_mask(m, one, _CMP_LT_OQ), e, one);
    return (vec)m;
}
#else
INLINE vec vsplit(vec x, vec *k) {
    vec a = vabs(x), base = vset(WHOLE);
    ivec small = a < REAL_TINY;
    uvec b =
        (uvec)vbits(vsel(small, a * (2 / REAL_TINY), a)) + (uvec)iset((ireal)1 << (MANTISSA - 1));
    vec e = vfrombits((ivec)(b >> MANTISSA) | vbits(base));
    e -= vsel(small, base + 2 * BIAS, base + BIAS);
    e = vsel(a < (real)INFINITY, e, a);
    *k = vsel(a == 0, vset(-(real)INFINITY), e);
    uvec fraction = b & (uvec)iset(((ireal)1 << MANTISSA) - 1);
    return vfrombits((ivec)(fraction + (uvec)vbits(vset((real)0.75))));
}
#endif
