/* table.c: ops.def as a table. */
#include "op.h"

const fnn_op fnn_ops[FNN_OP_COUNT] = {
#define FNN_OP(name, pointers, dims, scalars, mode)                                                                    \
    {#name, pointers, dims, scalars, mode, fnn_op_##name##_run, fnn_op_##name##_work, fnn_op_##name##_scratch},
#include "ops.def"
#undef FNN_OP
};
