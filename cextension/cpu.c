/* cpu.c: what this machine can do, and which table of kernels is in use. */
#include "table.h"
#include <stdatomic.h>

extern const mg_table mg_table_baseline_f32, mg_table_baseline_f64;
#if defined(__x86_64__)
extern const mg_table mg_table_avx2_f32, mg_table_avx2_f64;
extern const mg_table mg_table_avx512_f32, mg_table_avx512_f64;

/* __builtin_cpu_supports also asks the operating system whether it saves the wide registers. */
static int has_avx2(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static int has_avx512(void) {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}

/* On Zen 4 two 256-bit loads bring data from the second and third level 4 % faster than one of 512
 * bits (add of 10^6 floats: 149 against 157 us), and nothing is lost in the first.  So the cheap
 * ops of this table are avx2's. */
static mg_table avx512[2];

static void take_cheap(mg_table *to, const mg_table *from) {
#define MAP(name) to->map[MG_MAP_##name] = from->map[MG_MAP_##name];
#define MAP_COSTLY(name)
#define ZIP(name) to->zip[MG_ZIP_##name] = from->zip[MG_ZIP_##name];
#define ZIP_COSTLY(name)
#include "kernels.def"
}
#endif

static int always(void) { return 1; }

static const struct {
    const char *name;
    int (*supported)(void);
    const mg_table *table[2]; /* MG_F32, MG_F64 */
} isas[] = {
#if defined(__aarch64__)
    {"neon", always, {&mg_table_baseline_f32, &mg_table_baseline_f64}},
#else
    {"baseline", always, {&mg_table_baseline_f32, &mg_table_baseline_f64}},
#endif
#if defined(__x86_64__)
    {"avx2", has_avx2, {&mg_table_avx2_f32, &mg_table_avx2_f64}},
    {"avx512", has_avx512, {&avx512[MG_F32], &avx512[MG_F64]}},
#endif
};
enum { ISAS = sizeof isas / sizeof *isas };

static atomic_int current = 0;

__attribute__((constructor)) static void use_the_best(void) {
#if defined(__x86_64__)
    __builtin_cpu_init(); /* a constructor may run before libgcc's own */
    avx512[MG_F32] = mg_table_avx512_f32;
    avx512[MG_F64] = mg_table_avx512_f64;
    take_cheap(&avx512[MG_F32], &mg_table_avx2_f32);
    take_cheap(&avx512[MG_F64], &mg_table_avx2_f64);
#endif
    for (int isa = 0; isa < ISAS; isa++) mg_isa_use(isa);
}

const mg_table *mg_kernels(int dtype) {
    if (dtype != MG_F32 && dtype != MG_F64) return NULL;
    return isas[atomic_load_explicit(&current, memory_order_relaxed)].table[dtype];
}

const char *mg_isa_name(int isa) { return isa >= 0 && isa < ISAS ? isas[isa].name : NULL; }

int mg_isa_supported(int isa) { return isa >= 0 && isa < ISAS && isas[isa].supported(); }

int mg_isa_use(int isa) {
    if (!mg_isa_supported(isa)) return MG_BAD_OP;
    atomic_store_explicit(&current, isa, memory_order_relaxed);
    return MG_OK;
}

int mg_isa(void) { return atomic_load_explicit(&current, memory_order_relaxed); }
