/* table.h: the pointers that one ISA exports for one dtype. kernels/kernels.def lists them; isa/<isa>.c fills them. */
#ifndef FNN_TABLE_H
#define FNN_TABLE_H

#include <stdint.h>

#include "../kernels/kernel_types.h"

typedef struct fnn_table {
    const char *isa;          /* "avx512", ... */
    int item_size;            /* 4 or 8 bytes per real */
    int lanes;                /* reals per vector */
    int gemm_rows, gemm_cols; /* the register tile */
    int narrow_cols;          /* gemm_narrow takes as many */
#define FNN_KERNEL(name, result, arguments) result(*name) arguments;
#include "../kernels/kernels.def"
#undef FNN_KERNEL
    fnn_unary_fn unary[FNN_UNARY_COUNT];                   /* y = f(x) */
    fnn_unary_backward_fn unary_backward[FNN_UNARY_COUNT]; /* NULL where the list has no derivative */
    fnn_unary_backward_fn
        unary_backward_output[FNN_UNARY_COUNT]; /* from the output; NULL where a row has no such formula */
    fnn_binary_fn binary[FNN_BINARY_COUNT];
    fnn_unary_fn unary_past[FNN_UNARY_COUNT]; /* past the caches; NULL where arithmetic is the limit */
    fnn_binary_fn binary_past[FNN_BINARY_COUNT];
    fnn_loss_fn loss[FNN_LOSS_COUNT]; /* pointwise losses */
    fnn_optimizer_fn optimizer[FNN_OPTIMIZER_COUNT];
    fnn_norms_fn optimizer_norms[FNN_OPTIMIZER_COUNT]; /* NULL where no rate per layer is needed, and the ratio too */
    fnn_ratio_fn optimizer_ratio[FNN_OPTIMIZER_COUNT];
} fnn_table;

/* The table in use for a dtype (0 float32, 1 float64): the best one that CPU and OS support, or the one that was
 * forced. */
const fnn_table *fnn_table_for(int dtype);

#endif
