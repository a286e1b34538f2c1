/* fill_table.h: all kernels for one ISA and one dtype, and the table of their addresses, its only external symbol.
 *
 * An isa/<isa>.c defines FNN_ISA_<ISA> and FNN_TABLE_SYMBOL(bits) and includes this file. It is compiled once for each
 * FNN_REAL, with the flags of its ISA; no other file is. A new file of kernels is one more line here.
 */
#include "../simd/vec.h"
#include "../simd/vec_math.h"
#include "../simd/vec_units.h"

#include "table.h"

#include "../kernels/augment.h"
#include "../kernels/batch_norm.h"
#include "../kernels/cross_entropy.h"
#include "../kernels/dropout.h"
#include "../kernels/elementwise.h"
#include "../kernels/gather.h"
#include "../kernels/gemm.h"
#include "../kernels/gemm_dot.h"
#include "../kernels/gemm_narrow.h"
#include "../kernels/layer_norm.h"
#include "../kernels/move.h"
#include "../kernels/noise.h"
#include "../kernels/optimizers.h"
#include "../kernels/pointwise_loss.h"
#include "../kernels/probe.h"
#include "../kernels/reduce.h"
#include "../kernels/smooth.h"
#include "../kernels/softmax.h"

#if FNN_REAL == 32
const fnn_table FNN_TABLE_SYMBOL(f32) = {
#else
const fnn_table FNN_TABLE_SYMBOL(f64) = {
#endif
    .isa = FNN_ISA_NAME,
    .item_size = sizeof(real),
    .lanes = VLEN,
    .gemm_rows = GEMM_ROWS,
    .gemm_cols = GEMM_COLS,
    .narrow_cols = NARROW_COLS,
#define FNN_KERNEL(name, result, arguments) .name = name,
#include "../kernels/kernels.def"
#undef FNN_KERNEL
    .unary =
        {
#define FNN_ACTIVATION(name, cls, nparams, names, defaults, forward, derivative, doc, citation) unary_##name,
#include "../kernels/activations.def"
#undef FNN_ACTIVATION
#define FNN_ELEMENTWISE(name, formula, doc) unary_##name,
#include "../kernels/elementwise.def"
#undef FNN_ELEMENTWISE
        },
    .unary_backward =
        {
#define FNN_ACTIVATION(name, cls, nparams, names, defaults, forward, derivative, doc, citation) unary_backward_##name,
#include "../kernels/activations.def"
#undef FNN_ACTIVATION
        },
    .unary_backward_output =
        {
#define FNN_ACTIVATION(name, cls, nparams, names, defaults, forward, derivative, doc, citation)
#define FNN_ACTIVATION_OUTPUT(name, cls, nparams, names, defaults, forward, derivative, from_output, doc, citation)    \
    [FNN_UNARY_##name] = unary_backward_output_##name,
#include "../kernels/activations.def"
#undef FNN_ACTIVATION
        },
    .binary =
        {
#define FNN_BINARY(name, formula, doc) binary_##name,
#include "../kernels/binary.def"
#undef FNN_BINARY
        },
    .unary_past =
        {
#define UNARY_PAST(name) [FNN_UNARY_##name] = unary_past_##name,
            FNN_LIGHT_UNARY(UNARY_PAST)
#undef UNARY_PAST
        },
    .binary_past =
        {
#define FNN_BINARY(name, formula, doc) binary_past_##name,
#include "../kernels/binary.def"
#undef FNN_BINARY
        },
    .loss =
        {
#define FNN_LOSS(name, function, cls, target, link, names, defaults, limits, operations, value, derivative, doc,       \
                 citation)                                                                                             \
    loss_##name,
#include "../kernels/losses.def"
#undef FNN_LOSS
        },
    .optimizer =
        {
#define FNN_OPTIMIZER(name, norms, states, scalars, doc, citation) optimizer_##name,
#include "../kernels/optimizers.def"
#undef FNN_OPTIMIZER
        },
#define norms_none NULL
#define ratio_none NULL
    .optimizer_norms =
        {
#define FNN_OPTIMIZER(name, norms, states, scalars, doc, citation) norms_##norms,
#include "../kernels/optimizers.def"
#undef FNN_OPTIMIZER
        },
    .optimizer_ratio =
        {
#define FNN_OPTIMIZER(name, norms, states, scalars, doc, citation) ratio_##norms,
#include "../kernels/optimizers.def"
#undef FNN_OPTIMIZER
        },
};
