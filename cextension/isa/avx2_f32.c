#if defined(__x86_64__)
#define MG_ISA avx2
#define MG_DTYPE f32
#define MG_VBYTES 32
#define MG_TARGET "avx2,fma"
#include "../kernels/all.inc"
#endif
