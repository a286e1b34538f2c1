/* avx512.c: the kernels in AVX-512 F, BW, DQ and VL. */
#define FNN_ISA_AVX512 1
#define FNN_TABLE_SYMBOL(dtype) fnn_table_avx512_##dtype
#include "fill_table.h"
