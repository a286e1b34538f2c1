/* sse2.c: the kernels in SSE2, which every x86-64 has. */
#define FNN_ISA_SSE2 1
#define FNN_TABLE_SYMBOL(dtype) fnn_table_sse2_##dtype
#include "fill_table.h"
