/* scalar.c: the kernels in plain C, for every machine. */
#define FNN_ISA_SCALAR 1
#define FNN_TABLE_SYMBOL(dtype) fnn_table_scalar_##dtype
#include "fill_table.h"
