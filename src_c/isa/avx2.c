/* avx2.c: the kernels in AVX2 and FMA. */
#define FNN_ISA_AVX2 1
#define FNN_TABLE_SYMBOL(dtype) fnn_table_avx2_##dtype
#include "fill_table.h"
