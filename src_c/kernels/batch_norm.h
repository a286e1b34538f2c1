/* batch_norm.h: batch norm over the rows of a strip of columns (Ioffe & Szegedy 2015, algorithm 1).
 *
 * Statistics of a block of rows are two-pass and in double, of data shifted by a given value per column, so that a
 * constant column has exactly variance 0 and |mean| / std = 1e4 loses nothing. ops/batch_norm.c merges the blocks
 * (Chan, Golub & LeVeque 1983, eq. 2.1). Each column is summed by itself: four rows at a time as
 * (d0 + d1) + (d2 + d3), then the rows that are left. The order depends on the number of rows only.
 *
 * The loops over columns are plain C on doubles, which compilers turn into vectors; without reassociation a column's
 * bits do not depend on the width of the vectors.
 */
#include "part.h"

/* sums[cols] = sum over rows of f(row, column), four rows at a time; f is an expression of R (the row) and j. */
#define SUM_ROWS(b, sums, f)                                                                                           \
    do {                                                                                                               \
        int64_t r = 0;                                                                                                 \
        for (int64_t j = 0; j < cols; j++)                                                                             \
            (sums)[j] = 0;                                                                                             \
        for (; r + 4 <= (b)->rows; r += 4)                                                                             \
            for (int64_t j = 0; j < cols; j++)                                                                         \
                (sums)[j] += (f(r, j) + f(r + 1, j)) + (f(r + 2, j) + f(r + 3, j));                                    \
        for (; r < (b)->rows; r++)                                                                                     \
            for (int64_t j = 0; j < cols; j++)                                                                         \
                (sums)[j] += f(r, j);                                                                                  \
    } while (0)

FNN_INLINE double batch_norm_squared(double x) { return x * x; }

/* mean[cols] = mean of x - shift; square[cols] = sum of (x - shift - mean)^2. */
static void batch_norm_statistics(const fnn_batch_norm *b, double *mean, double *square) {
    const real *restrict x = b->x;
    const double *restrict shift = b->shift;
    const int64_t cols = b->cols, x_row = b->x_row;
    double m[FNN_BATCH_NORM_COLS], s[FNN_BATCH_NORM_COLS];
#define DEVIATION(r, j) ((double)x[(r)*x_row + (j)] - shift[j])
#define SQUARE(r, j) batch_norm_squared(DEVIATION(r, j) - m[j])
    SUM_ROWS(b, m, DEVIATION);
    for (int64_t j = 0; j < cols; j++)
        m[j] /= (double)b->rows;
    SUM_ROWS(b, s, SQUARE);
    memcpy(mean, m, (size_t)cols * sizeof *m);
    memcpy(square, s, (size_t)cols * sizeof *s);
#undef DEVIATION
#undef SQUARE
}

/* grad_sum[cols] = sum of grad; product_sum[cols] = sum of grad * (x - shift). */
static void batch_norm_gradient_sums(const fnn_batch_norm *b, double *grad_sum, double *product_sum) {
    const real *restrict x = b->x, *restrict grad = b->grad;
    const double *restrict shift = b->shift;
    const int64_t cols = b->cols, x_row = b->x_row, grad_row = b->grad_row;
    double s[FNN_BATCH_NORM_COLS], p[FNN_BATCH_NORM_COLS];
#define GRAD(r, j) ((double)grad[(r)*grad_row + (j)])
#define PRODUCT(r, j) (GRAD(r, j) * ((double)x[(r)*x_row + (j)] - shift[j]))
    SUM_ROWS(b, s, GRAD);
    SUM_ROWS(b, p, PRODUCT);
    memcpy(grad_sum, s, (size_t)cols * sizeof *s);
    memcpy(product_sum, p, (size_t)cols * sizeof *p);
#undef GRAD
#undef PRODUCT
}
#undef SUM_ROWS

/* The columns' constants in the kernel's dtype. */
typedef struct batch_norm_constants {
    real mean[FNN_BATCH_NORM_COLS], mean_low[FNN_BATCH_NORM_COLS];
    real factor[FNN_BATCH_NORM_COLS], offset[FNN_BATCH_NORM_COLS], slope[FNN_BATCH_NORM_COLS];
} batch_norm_constants;

static void batch_norm_round(const fnn_batch_norm_columns *c, int64_t cols, batch_norm_constants *k) {
    for (int64_t j = 0; j < cols; j++) {
        k->mean[j] = (real)c->mean[j];
        k->mean_low[j] = (real)((c->mean[j] - (double)k->mean[j]) + c->mean_low[j]);
        k->factor[j] = (real)c->factor[j];
        k->offset[j] = (real)c->offset[j];
        k->slope[j] = (real)c->slope[j];
    }
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
    batch_norm_constants k = {0};
    int64_t row = 0;
    batch_norm_round(columns, b->cols, &k);
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
    batch_norm_constants k = {0};
    int64_t row = 0;
    batch_norm_round(columns, b->cols, &k);
    for (; row + 4 <= b->rows; row += 4)
        FOR_PARTS(b->cols, batch_norm_gradient_part(b, &k, row, 4, i, count));
    for (; row < b->rows; row++)
        FOR_PARTS(b->cols, batch_norm_gradient_part(b, &k, row, 1, i, count));
}
