#if defined(__x86_64__)
#define MG_ISA avx512
#define MG_DTYPE f32
#define MG_VBYTES 64
#define MG_TARGET "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma"
#include "../kernels/all.inc"
#endif
