/* What every machine of the architecture has: SSE2 on x86-64, NEON on aarch64. */
#if defined(__x86_64__) && !defined(__clang__)
#pragma GCC optimize("Os") /* hardly a machine is left that has no AVX2: small, not fast */
#endif
#define MG_ISA baseline
#define MG_DTYPE f32
#define MG_VBYTES 16
#include "../kernels/all.inc"
