/* neon.c: the kernels in AArch64 Advanced SIMD. */
#define FNN_ISA_NEON 1
#define FNN_TABLE_SYMBOL(dtype) fnn_table_neon_##dtype
#include "fill_table.h"
