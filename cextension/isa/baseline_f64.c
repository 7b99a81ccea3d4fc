/* What every machine of the architecture has: SSE2 on x86-64, NEON on aarch64. */
#define MG_ISA baseline
#define MG_DTYPE f64
#define MG_VBYTES 16
#include "../kernels/all.inc"
