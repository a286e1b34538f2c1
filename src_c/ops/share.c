/* share.c: which ops say what their members touch. */
#include "share.h"

#include <stddef.h>

#define REGION(name) int fnn_op_##name##_region(const fnn_args *, const fnn_team *, int, fnn_region *);
REGION(gemm)
REGION(gemm_update)
REGION(unary)
REGION(unary_backward)
REGION(dropout)
REGION(gather)
REGION(gather_labels)
REGION(cross_entropy)
REGION(batch_norm)
REGION(batch_norm_backward)
REGION(sum_rows)
REGION(optimizer)
double fnn_op_gemm_plan(const fnn_args *, int, int, fnn_plan *);

enum { CROSS_ENTROPY_LATE = 1 << 5 | 1 << 7 }; /* loss and weight_sum */

const fnn_share fnn_shares[FNN_OP_COUNT] = {
    [FNN_OP_gemm] = {fnn_op_gemm_region, fnn_op_gemm_plan, 0},
    [FNN_OP_gemm_update] = {fnn_op_gemm_update_region, NULL, 0},
    [FNN_OP_unary] = {fnn_op_unary_region, NULL, 0},
    [FNN_OP_unary_backward] = {fnn_op_unary_backward_region, NULL, 0},
    [FNN_OP_dropout] = {fnn_op_dropout_region, NULL, 0},
    [FNN_OP_gather] = {fnn_op_gather_region, NULL, 0},
    [FNN_OP_gather_labels] = {fnn_op_gather_labels_region, NULL, 0},
    [FNN_OP_cross_entropy] = {fnn_op_cross_entropy_region, NULL, CROSS_ENTROPY_LATE},
    [FNN_OP_batch_norm] = {fnn_op_batch_norm_region, NULL, 0},
    [FNN_OP_batch_norm_backward] = {fnn_op_batch_norm_backward_region, NULL, 0},
    [FNN_OP_sum_rows] = {fnn_op_sum_rows_region, NULL, 0},
    [FNN_OP_optimizer] = {fnn_op_optimizer_region, NULL, 0},
};
