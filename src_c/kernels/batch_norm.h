/* batch_norm.h: batch norm over the rows of a strip of columns (Ioffe & Szegedy 2015, algorithm 1).
 *
 * Statistics of a block of rows are taken in one visit and in double, of data shifted by a given value per column, its
 * first row: sum d and sum d^2 of d = x - shift. A constant column then has exactly variance 0, and |mean| / std = 1e4
 * loses nothing. If the first row is an outlier by k standard deviations, sum d^2 - (sum d)^2 / n loses 2 log2(k) bits
 * of 53, but k^2 is at most the number of rows, because the outlier is part of the variance.
 * ops/batch_norm.c merges the blocks (Chan, Golub & LeVeque 1983, eq. 2.1).
 *
 * Each column is summed by itself, four rows at a time as (d0 + d1) + (d2 + d3), then the rows that are left: the order
 * depends on the number of rows only. The loops over columns are plain C on doubles, which compilers turn into vectors;
 * without reassociation a column's bits do not depend on their width.
 */
#include "part.h"

/* p[cols] and q[cols] = sums over rows of two values, which `load` (a row, a column) puts into v and w. */
#define SUM_ROWS(rows, cols, p, q, load)                                                                               \
    do {                                                                                                               \
        int64_t row = 0;                                                                                               \
        for (int64_t j = 0; j < (cols); j++)                                                                           \
            (p)[j] = (q)[j] = 0;                                                                                       \
        for (; row + 4 <= (rows); row += 4)                                                                            \
            for (int64_t j = 0; j < (cols); j++) {                                                                     \
                double v[4], w[4];                                                                                     \
                load(row, j, 0);                                                                                       \
                load(row, j, 1);                                                                                       \
                load(row, j, 2);                                                                                       \
                load(row, j, 3);                                                                                       \
                (p)[j] += (v[0] + v[1]) + (v[2] + v[3]);                                                               \
                (q)[j] += (w[0] + w[1]) + (w[2] + w[3]);                                                               \
            }                                                                                                          \
        for (; row < (rows); row++)                                                                                    \
            for (int64_t j = 0; j < (cols); j++) {                                                                     \
                double v[1], w[1];                                                                                     \
                load(row, j, 0);                                                                                       \
                (p)[j] += v[0];                                                                                        \
                (q)[j] += w[0];                                                                                        \
            }                                                                                                          \
    } while (0)

/* mean[cols] = mean of x - first; square[cols] = sum of (x - first - mean)^2. */
static void batch_norm_statistics(const fnn_batch_norm *b, const void *first, double *mean, double *square) {
    const real *restrict x = b->x;
    const int64_t rows = b->rows, cols = b->cols, x_row = b->x_row;
    double shift[FNN_BATCH_NORM_COLS], sums[FNN_BATCH_NORM_COLS], squares[FNN_BATCH_NORM_COLS];
    for (int64_t j = 0; j < cols; j++)
        shift[j] = (double)((const real *)first)[j];
#define LOAD(r, j, i)                                                                                                  \
    v[i] = (double)x[((r) + (i)) * x_row + (j)] - shift[j];                                                            \
    w[i] = v[i] * v[i]
    SUM_ROWS(rows, cols, sums, squares, LOAD);
#undef LOAD
    for (int64_t j = 0; j < cols; j++) {
        const double m = sums[j] / (double)rows, s = squares[j] - sums[j] * m;
        mean[j] = m;
        square[j] = s < 0 ? 0 : s; /* a rounding below 0; NaN stays NaN */
    }
}

/* grad_sum[cols] = sum of grad; product_sum[cols] = sum of grad * (x - mean). */
static void batch_norm_gradient_sums(const fnn_batch_norm *b, const double *restrict mean, double *grad_sum,
                                     double *product_sum) {
    const real *restrict x = b->x, *restrict grad = b->grad;
    const int64_t rows = b->rows, cols = b->cols, x_row = b->x_row, grad_row = b->grad_row;
    double sums[FNN_BATCH_NORM_COLS], products[FNN_BATCH_NORM_COLS];
#define LOAD(r, j, i)                                                                                                  \
    v[i] = (double)grad[((r) + (i)) * grad_row + (j)];                                                                 \
    w[i] = v[i] * ((double)x[((r) + (i)) * x_row + (j)] - mean[j])
    SUM_ROWS(rows, cols, sums, products, LOAD);
#undef LOAD
    memcpy(grad_sum, sums, (size_t)cols * sizeof *sums);
    memcpy(product_sum, products, (size_t)cols * sizeof *products);
}
#undef SUM_ROWS

/* The arrays of a strip's constants as reals. */
typedef struct batch_norm_constants {
    real *mean, *mean_low, *factor, *offset, *slope;
} batch_norm_constants;

FNN_INLINE batch_norm_constants batch_norm_reals(const fnn_batch_norm_columns *c) {
    return (batch_norm_constants){(real *)c->mean, (real *)c->mean_low, (real *)c->factor, (real *)c->offset,
                                  (real *)c->slope};
}

/* weight / sqrt(var + eps), and the identity's weight and bias where they are missing */
static void batch_norm_factors(int64_t cols, const double *restrict var, double eps, const real *restrict weight,
                               double *restrict factor) {
    for (int64_t j = 0; j < cols; j++)
        factor[j] = 1 / __builtin_sqrt(var[j] + eps);
    for (int64_t j = 0; weight && j < cols; j++)
        factor[j] *= (double)weight[j];
}

static void batch_norm_round(int64_t cols, const double *restrict from, real *restrict to) {
    for (int64_t j = 0; j < cols; j++)
        to[j] = (real)from[j];
}

static void batch_norm_fill(int64_t cols, real value, real *restrict to) {
    for (int64_t j = 0; j < cols; j++)
        to[j] = value;
}

static void batch_norm_offsets(int64_t cols, const real *bias, real *offset) {
    if (bias)
        memcpy(offset, bias, (size_t)cols * sizeof *bias);
    else
        batch_norm_fill(cols, 0, offset);
}

/* running = (1 - momentum) * running + momentum * scale * batch */
static void batch_norm_running(int64_t cols, double momentum, double scale, const double *restrict batch,
                               real *restrict running) {
    for (int64_t j = 0; j < cols; j++)
        running[j] = (real)((1 - momentum) * (double)running[j] + momentum * (scale * batch[j]));
}

static void batch_norm_finish(const fnn_batch_norm_finish *f, fnn_batch_norm_columns *columns) {
    const batch_norm_constants k = batch_norm_reals(columns);
    const real *restrict first = f->first;
    const double *restrict deviation = f->deviation, *restrict square = f->square;
    const double rows = (double)f->rows, unbiased = f->unbiased && f->rows > 1 ? rows / (rows - 1) : 1;
    const int64_t cols = f->cols;
    double mean[FNN_BATCH_NORM_COLS], low[FNN_BATCH_NORM_COLS], var[FNN_BATCH_NORM_COLS], factor[FNN_BATCH_NORM_COLS];
    for (int64_t j = 0; j < cols; j++) {
        const double shift = (double)first[j], sum = shift + deviation[j], part = sum - shift;
        mean[j] = sum; /* shift + deviation = sum + this, exactly: */
        low[j] = (shift - (sum - part)) + (deviation[j] - part) + (sum - (double)(real)sum);
        var[j] = square[j] / rows;
    }
    batch_norm_factors(cols, var, f->eps, f->weight, factor);
    batch_norm_round(cols, mean, k.mean);
    batch_norm_round(cols, low, k.mean_low);
    batch_norm_round(cols, factor, k.factor);
    batch_norm_offsets(cols, f->bias, k.offset);
    if (f->running_mean)
        batch_norm_running(cols, f->momentum, 1, mean, f->running_mean);
    if (f->running_var)
        batch_norm_running(cols, f->momentum, unbiased, var, f->running_var);
    memcpy(f->mean, mean, (size_t)cols * sizeof *mean);
    memcpy(f->var, var, (size_t)cols * sizeof *var);
}

static void batch_norm_finish_inference(int64_t cols, const void *mean, const void *var, const void *weight,
                                        const void *bias, double eps, fnn_batch_norm_columns *columns) {
    const batch_norm_constants k = batch_norm_reals(columns);
    double wide_var[FNN_BATCH_NORM_COLS], factor[FNN_BATCH_NORM_COLS];
    for (int64_t j = 0; j < cols; j++)
        wide_var[j] = (double)((const real *)var)[j];
    batch_norm_factors(cols, wide_var, eps, weight, factor);
    batch_norm_round(cols, factor, k.factor);
    batch_norm_offsets(cols, bias, k.offset);
    batch_norm_offsets(cols, mean, k.mean);
    batch_norm_fill(cols, 0, k.mean_low);
}

/* dx = weight * istd * (grad - mean(grad) - xhat * mean(grad * xhat)), xhat = (x - mean) * istd */
static void batch_norm_finish_gradient(const fnn_batch_norm_finish_gradient *f, fnn_batch_norm_columns *columns) {
    const batch_norm_constants k = batch_norm_reals(columns);
    const double *restrict grad_sum = f->grad_sum, *restrict product_sum = f->product_sum, *restrict mean = f->mean;
    const double rows = (double)f->rows;
    const int64_t cols = f->cols;
    double low[FNN_BATCH_NORM_COLS], istd[FNN_BATCH_NORM_COLS], factor[FNN_BATCH_NORM_COLS];
    double offset[FNN_BATCH_NORM_COLS], slope[FNN_BATCH_NORM_COLS], dweight[FNN_BATCH_NORM_COLS];
    batch_norm_factors(cols, f->var, f->eps, NULL, istd);
    batch_norm_factors(cols, f->var, f->eps, f->weight, factor);
    for (int64_t j = 0; j < cols; j++) {
        low[j] = mean[j] - (double)(real)mean[j];
        offset[j] = grad_sum[j] / rows;
        dweight[j] = product_sum[j] * istd[j];
        slope[j] = istd[j] * istd[j] * (product_sum[j] / rows);
    }
    batch_norm_round(cols, mean, k.mean);
    batch_norm_round(cols, low, k.mean_low);
    batch_norm_round(cols, factor, k.factor);
    batch_norm_round(cols, offset, k.offset);
    batch_norm_round(cols, slope, k.slope);
    if (f->dweight)
        batch_norm_round(cols, dweight, f->dweight);
    if (f->dbias)
        batch_norm_round(cols, grad_sum, f->dbias);
}

/* y = (x - mean) * factor + offset for `rows` rows (a constant: the columns' constants are loaded once for all) */
FNN_INLINE void batch_norm_apply_part(const fnn_batch_norm *b, const batch_norm_constants *k, int64_t row,
                                      const int rows, int64_t j, int count) {
    const real *x = (const real *)b->x + row * b->x_row + j;
    real *y = (real *)b->y + row * b->y_row + j;
    const vec mean = v_load(k->mean + j), low = v_load(k->mean_low + j);
    const vec factor = v_load(k->factor + j), offset = v_load(k->offset + j);
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++) {
        const vec centred = v_sub(v_sub(part_load(x + r * b->x_row, count), mean), low);
        part_store(y + r * b->y_row, v_fma(centred, factor, offset), count);
    }
}

static void batch_norm_apply(const fnn_batch_norm *b, const fnn_batch_norm_columns *columns) {
    const batch_norm_constants k = batch_norm_reals(columns);
    int64_t row = 0;
    for (; row + 4 <= b->rows; row += 4)
        FOR_PARTS(b->cols, batch_norm_apply_part(b, &k, row, 4, i, count));
    for (; row < b->rows; row++)
        FOR_PARTS(b->cols, batch_norm_apply_part(b, &k, row, 1, i, count));
}

/* dx = factor * (grad - offset - (x - mean) * slope) */
FNN_INLINE void batch_norm_gradient_part(const fnn_batch_norm *b, const batch_norm_constants *k, int64_t row,
                                         const int rows, int64_t j, int count) {
    const real *x = (const real *)b->x + row * b->x_row + j, *grad = (const real *)b->grad + row * b->grad_row + j;
    real *dx = (real *)b->y + row * b->y_row + j;
    const vec mean = v_load(k->mean + j), low = v_load(k->mean_low + j);
    const vec factor = v_load(k->factor + j), offset = v_load(k->offset + j), slope = v_load(k->slope + j);
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++) {
        const vec centred = v_sub(v_sub(part_load(x + r * b->x_row, count), mean), low);
        const vec shifted = v_sub(part_load(grad + r * b->grad_row, count), offset);
        part_store(dx + r * b->y_row, v_mul(factor, v_fnma(centred, slope, shifted)), count);
    }
}

static void batch_norm_input_gradient(const fnn_batch_norm *b, const fnn_batch_norm_columns *columns) {
    const batch_norm_constants k = batch_norm_reals(columns);
    int64_t row = 0;
    for (; row + 4 <= b->rows; row += 4)
        FOR_PARTS(b->cols, batch_norm_gradient_part(b, &k, row, 4, i, count));
    for (; row < b->rows; row++)
        FOR_PARTS(b->cols, batch_norm_gradient_part(b, &k, row, 1, i, count));
}
