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
#define FNN_LOSS(name, function, cls, target, link, names, defaults, limits, operations, value, derivative, doc,       \
                 citation)                                                                                             \
    FNN_LOSS_##name,
#include "losses.def"
#undef FNN_LOSS
    FNN_LOSS_COUNT
};
enum {
#define FNN_OPTIMIZER(name, norms, states, scalars, doc, citation) FNN_OPTIMIZER_##name,
#include "optimizers.def"
#undef FNN_OPTIMIZER
    FNN_OPTIMIZER_COUNT
};

typedef void (*fnn_unary_fn)(int64_t n, const void *x, void *y, double p0, double p1);
typedef void (*fnn_unary_backward_fn)(int64_t n, const void *grad, const void *x, void *dx, double p0, double p1);
/* a_step, b_step: 1 or 0 (one value for the whole run) */
typedef void (*fnn_binary_fn)(int64_t n, const void *a, int a_step, const void *b, int b_step, void *y);
/* A piece of a pointwise loss, at most FNN_LOSS_CHUNK elements; all arrays [n], contiguous. Per element: value = weight
 * * loss, dx = weight * scale * d loss / dx. The kernel returns the sum of the values. */
#define FNN_LOSS_CHUNK 1024
#define FNN_LOSS_PARAMETERS 3
typedef struct fnn_pointwise_loss {
    int64_t n;
    const void *x, *target;
    const void *weights;   /* NULL: all 1 */
    const void *parameter; /* the first parameter element by element; NULL: p[0] for all */
    void *values, *dx;     /* NULL: not wanted; dx may be x */
    double scale, p[FNN_LOSS_PARAMETERS];
} fnn_pointwise_loss;
typedef double (*fnn_loss_fn)(const fnn_pointwise_loss *piece);

/* A step of an optimizer over some elements (kernels/optimizers.h). */
typedef struct fnn_update {
    void *param;            /* [n] */
    const void *grad;       /* [n] */
    void *s0, *s1, *s2;     /* [n] states in the order of the row, NULL where there is none */
    void *average;          /* [n] running mean of the weights, or NULL */
    const double *h;        /* the scalars that the row of optimizers.def names, in order */
    double scale, clip, l1; /* g = clipped(scale * grad) + l1 * sign(param) */
    double weight_decay;
    int decoupled; /* the decay shrinks param, instead of entering g */
    double share;  /* average += share * (param - average) */
    double ratio;  /* of this parameter, from its norms */
} fnn_update;
typedef void (*fnn_optimizer_fn)(int64_t n, const fnn_update *update);
/* What a rate per layer is made of: two sums over a block of at most FNN_NORM_BLOCK elements, and the ratio from the
 * sums over all blocks. NULL for most rows. */
typedef void (*fnn_norms_fn)(int64_t n, const fnn_update *update, double *sums);
typedef double (*fnn_ratio_fn)(const fnn_update *update, const double *sums);
#define FNN_NORM_BLOCK 4096
#define FNN_MAX_NORM_COLS 64
enum { FNN_SGD_TORCH, FNN_SGD_CLASSICAL, FNN_SGD_AVERAGING };

/* One serial piece of a product (kernels/gemm.h, dot.h): strides in elements. gemm wants b_col == 1, dot a_depth == 1
 * and b_depth == 1. */
#define FNN_GEMM_NEAR (24 << 10) /* bytes of b that stay in L1 beside the rows of a and c */
typedef struct fnn_gemm {
    int64_t rows, cols, depth;
    const void *a; /* [rows, depth] */
    int64_t a_row, a_depth;
    const void *b; /* [depth, cols] */
    int64_t b_depth, b_col;
    const void *next; /* memory worth asking for, as gemm.h's gemm_ahead; any address will do */
    int64_t next_row, next_step;
    void *c; /* [rows, cols] */
    int64_t c_row;
    const void *bias; /* [cols] or NULL */
    int add, relu;    /* c is added to the product; relu in registers */
    /* what is applied to each stored row while it is in L1, or NULL: c = f(c), then c = c * g'(saved) */
    fnn_unary_fn activation;
    fnn_unary_backward_fn derivative;
    const void *saved; /* [rows, cols] */
    int64_t saved_row;
    double p0, p1; /* parameters of f and g */
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
#define FNN_CROSS_ENTROPY_ROWS 16 /* FNN_ROW_UNIT of ops/op.h: the members' rows are those of the products */

/* Some rows and columns of batch norm (kernels/batch_norm.h). Strides in elements. */
#define FNN_BATCH_NORM_ROWS 64   /* of a block: the most that statistics and gradient sums take at once */
#define FNN_BATCH_NORM_SPAN 1024 /* the most columns of those: their sums and eight rows stay in L1 */
#define FNN_BATCH_NORM_COLS 64   /* the most columns that are finished at once */
typedef struct fnn_batch_norm {
    int64_t rows, cols;
    const void *x;    /* [rows, cols] */
    const void *grad; /* [rows, cols], backward only */
    void *y;          /* [rows, cols], or dx; may be x or grad */
    int64_t x_row, grad_row, y_row;
} fnn_batch_norm;

/* Constants of the columns, reals[cols] each: forward y = (x - mean) * factor + offset, backward dx = factor * (grad -
 * offset - (x - mean) * slope). What rounding the mean loses is part of the offset. */
typedef struct fnn_batch_norm_columns {
    void *mean, *factor, *offset, *slope;
} fnn_batch_norm_columns;

/* From the statistics of all rows to the outputs and the constants of at most FNN_BATCH_NORM_COLS columns. */
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

/* One image to resample (kernels/augment.h). */
typedef struct fnn_remap {
    int64_t height, width, channels;
    const void *x;                /* pixel (0, 0) of channel 0; the others so many elements apart: */
    int64_t row, column, channel; /* with a border, column is 1 */
    int border;                   /* one pixel of `fill` around each channel, and FNN_REMAP_SLACK elements after all */
    const double *matrix;         /* [6] */
    const void *field;            /* displacement of pixel i: rows at i * field_step, columns field_columns further; */
    int64_t field_step, field_columns; /* or NULL */
    int field_turned;                  /* displaced before the matrix, not after it */
    void *y;                           /* [height, width, channels], contiguous */
    int nearest;
    double fill;
} fnn_remap;

enum { FNN_REMAP_SLACK = 32, FNN_SMOOTH_ROWS = 8, FNN_SMOOTH_PAD = 16 }; /* the pad: zeros beside a window's weights */

#endif
