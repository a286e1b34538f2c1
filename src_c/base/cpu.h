/* cpu.h: what this processor and this process may use. All but the cores is detected once, at the first call.
 *
 * An instruction set counts only if the CPU has it AND the operating system saves its registers (CPUID and XGETBV).
 */
#ifndef FNN_CPU_H
#define FNN_CPU_H

#include <stdint.h>

typedef struct fnn_cpu {
    int sse2;                              /* x86-64 baseline */
    int avx2;                              /* AVX2 and FMA, ymm state */
    int avx512;                            /* F, BW, DQ, VL and FMA, zmm and mask state */
    int neon;                              /* AArch64 baseline */
    int64_t l1d_bytes, l2_bytes, l3_bytes; /* of one core; 32 KB, 512 KB, 8 MB where unknown */
} fnn_cpu;

const fnn_cpu *fnn_cpu_get(void);

/* Cores that this process may use: min(affinity, cgroup quota rounded up), at least 1; a tenth of a second old at most.
 */
int fnn_usable_cores(void);

/* Bytes of the data cache of level 1, 2 or 3. */
static inline int64_t fnn_cache_size(int level) {
    const fnn_cpu *cpu = fnn_cpu_get();
    return level == 1 ? cpu->l1d_bytes : level == 2 ? cpu->l2_bytes : cpu->l3_bytes;
}

#endif
