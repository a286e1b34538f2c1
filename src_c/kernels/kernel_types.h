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
/* Per element: value = weights * loss (values may be NULL), dx = weights * scale * d loss / dx (dx may be NULL, or x).
 * weights NULL: all 1. Returns the sum of the values. All arrays [n], contiguous; n <= FNN_LOSS_CHUNK. */
typedef double (*fnn_loss_fn)(int64_t n, const void *x, const void *target, const void *weights, void *values, void *dx,
                              double scale, double p0, double p1);
#define FNN_LOSS_CHUNK 1024
/* scalars: the values that the row of optimizers.def names, in order */
typedef void (*fnn_optimizer_fn)(int64_t n, void *param, const void *grad, void *s0, void *s1, void *s2,
                                 const double *scalars);

/* One serial piece of a product (kernels/gemm.h): strides in elements, rows of b contiguous. */
typedef struct fnn_gemm {
    int64_t rows, cols, depth;
    const void *a; /* [rows, depth], any strides */
    int64_t a_row, a_depth;
    const void *b; /* [depth, cols] */
    int64_t b_depth;
    void *c; /* [rows, cols] */
    int64_t c_row;
    const void *bias;        /* [cols] or NULL */
    int add, relu;           /* c is added to the product; relu in registers */
    fnn_unary_fn activation; /* NULL, or applied to each stored row while it is in L1 */
    double p0, p1;
} fnn_gemm;

/* Rows of softmax cross-entropy (kernels/cross_entropy.h); at most FNN_CROSS_ENTROPY_ROWS. Strides in elements. */
typedef struct fnn_cross_entropy {
    int64_t rows, cols;
    const void *logits; /* [rows, cols] */
    int64_t logits_row;
    const int64_t *labels; /* [rows], or NULL: target is given */
    const void *target;    /* [rows, cols] probabilities, or NULL */
    int64_t target_row;
    const void *class_weight;  /* [cols] or NULL */
    const void *sample_weight; /* [rows] or NULL */
    void *dlogits;             /* [rows, cols] or NULL; may be logits */
    int64_t dlogits_row;
    void *row_loss; /* [rows] or NULL */
    int64_t ignore_index;
    double smoothing, scale; /* scale multiplies the gradient */
} fnn_cross_entropy;
#define FNN_CROSS_ENTROPY_ROWS 64

/* Some rows of a strip of columns of batch norm (kernels/batch_norm.h). Strides in elements. */
#define FNN_BATCH_NORM_ROWS 64
#define FNN_BATCH_NORM_COLS 64
typedef struct fnn_batch_norm {
    int64_t rows, cols; /* at most FNN_BATCH_NORM_COLS columns; statistics: at most FNN_BATCH_NORM_ROWS rows */
    const void *x;      /* [rows, cols] */
    const void *grad;   /* [rows, cols], backward only */
    void *y;            /* [rows, cols], or dx; may be x or grad */
    int64_t x_row, grad_row, y_row;
} fnn_batch_norm;

/* A strip's constants, arrays of reals that only the kernels look into:
 * forward y = (x - mean - mean_low) * factor + offset, backward dx = factor * (grad - offset - (x - mean - mean_low) *
 * slope). The low part keeps what rounding the mean loses. */
typedef struct fnn_batch_norm_columns {
    _Alignas(64) double mean[FNN_BATCH_NORM_COLS];
    double mean_low[FNN_BATCH_NORM_COLS], factor[FNN_BATCH_NORM_COLS], offset[FNN_BATCH_NORM_COLS],
        slope[FNN_BATCH_NORM_COLS];
} fnn_batch_norm_columns;

/* From the statistics of all rows to the outputs and the constants of a strip. */
typedef struct fnn_batch_norm_finish {
    int64_t rows, cols;
    const void *first;                /* [cols] the first row of x */
    const double *deviation, *square; /* [cols] mean - first, sum of (x - mean)^2 */
    const void *weight, *bias;        /* [cols] or NULL */
    double eps, momentum;
    int unbiased;                     /* of the running variance */
    double *mean, *var;               /* [cols], written */
    void *running_mean, *running_var; /* [cols] or NULL, updated */
} fnn_batch_norm_finish;

/* The same for the gradient. */
typedef struct fnn_batch_norm_finish_gradient {
    int64_t rows, cols;
    const double *grad_sum, *product_sum; /* [cols] sums of grad and of grad * (x - mean) */
    const double *mean, *var;             /* [cols] */
    const void *weight;                   /* [cols] or NULL */
    double eps;
    void *dweight, *dbias; /* [cols] or NULL, written */
} fnn_batch_norm_finish_gradient;

#endif
