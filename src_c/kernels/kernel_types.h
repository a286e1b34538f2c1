/* kernel_types.h: what callers outside isa/ need to know of the kernels: list enumerations and function types.
 * Data pointers are void because one struct type serves float32 and float64; inside a kernel they are real *. */
#ifndef FNN_KERNEL_TYPES_H
#define FNN_KERNEL_TYPES_H

#include <stdint.h>

enum {
#define FNN_ACTIVATION(name, cls, nparams, names, defaults, forward, derivative, doc, citation) FNN_UNARY_##name,
#include "activations.def"
#undef FNN_ACTIVATION
#define FNN_ELEMENTWISE(name, formula, doc) FNN_UNARY_##name,
#include "elementwise.def"
#undef FNN_ELEMENTWISE
    FNN_UNARY_COUNT
};
enum {
#define FNN_BINARY(name, formula, doc) FNN_BINARY_##name,
#include "binary.def"
#undef FNN_BINARY
    FNN_BINARY_COUNT
};
enum {
#define FNN_LOSS(name, nparams, names, value, derivative, doc, citation) FNN_LOSS_##name,
#include "losses.def"
#undef FNN_LOSS
    FNN_LOSS_COUNT
};
enum {
#define FNN_OPTIMIZER(name, states, scalars, doc, citation) FNN_OPTIMIZER_##name,
#include "optimizers.def"
#undef FNN_OPTIMIZER
    FNN_OPTIMIZER_COUNT
};

typedef void (*fnn_unary_fn)(int64_t n, const void *x, void *y, double p0, double p1);
typedef void (*fnn_unary_backward_fn)(int64_t n, const void *grad, const void *x, void *dx, double p0, double p1);
/* a_step, b_step: 1 or 0 (one value for the whole run) */
typedef void (*fnn_binary_fn)(int64_t n, const void *a, int a_step, const void *b, int b_step, void *y);
/* sum of the losses of n elements times weight (returned), dx[n] (or NULL) = weight * scale * d loss / dx */
typedef double (*fnn_loss_fn)(int64_t n, const void *x, const void *target, void *dx, double weight, double scale, double p0, double p1);
/* scalars: the values that the row of optimizers.def names, in order */
typedef void (*fnn_optimizer_fn)(int64_t n, void *param, const void *grad, void *s0, void *s1, void *s2, const double *scalars);

/* One serial piece of a product (kernels/gemm.h): strides in elements, rows of b contiguous. */
typedef struct fnn_gemm {
    int64_t rows, cols, depth;
    const void *a; /* [rows, depth], any strides */
    int64_t a_row, a_depth;
    const void *b; /* [depth, cols] */
    int64_t b_depth;
    void *c; /* [rows, cols] */
    int64_t c_row;
    const void *bias; /* [cols] or NULL */
    int add, relu;    /* c is added to the product; relu in registers */
    fnn_unary_fn activation; /* NULL, or applied to each stored row while it is in L1 */
    double p0, p1;
} fnn_gemm;

#endif
