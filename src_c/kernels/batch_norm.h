/* batch_norm.h: batch norm over the rows of some columns (Ioffe & Szegedy 2015, algorithm 1).
 *
 * Statistics of a block of rows are taken in one visit, every column by itself. Eight rows are held in registers: their
 * rounded mean m, then sum e and sum e^2 of e = x - m in reals (no cancellation is left: |e| is the spread of the
 * eight), so that their mean is m + sum e / 8. These are added up in double, of data shifted by a given value per
 * column, its first row; rows that are left over go one by one. A constant column then has exactly variance 0, and
 * |mean| / std = 1e4 loses nothing. If the first row is an outlier by k standard deviations, sum d^2 - (sum d)^2 / n
 * loses 2 log2(k) bits of 53, but k^2 is at most the number of rows, because the outlier is part of the variance. Where
 * squares leave the range of a real, the block's column is taken again in double. Blocks are merged in order (Chan,
 * Golub & LeVeque 1983, eq. 2.1).
 *
 * Gradient sums: a block's rows in reals, four at a time, and blocks in double; the rows in double as well where
 * products leave the range. The loops over columns of doubles are plain C, which compilers turn into vectors; without
 * reassociation a column's bits do not depend on their width.
 *
 * The constants of a column are rounded at the end: weight / sqrt(var + eps) is infinite beyond the range, which takes
 * deviations below 3e-39 in float32 and an eps as small.
 */
#include "part.h"

enum { BATCH_NORM_GROUP = 8, BATCH_NORM_FEW = 4, BATCH_NORM_PAIR = 2, BATCH_NORM_TILE = FNN_BATCH_NORM_COLS };

/* (x0 + x1 + x2 + x3) + (x4 + ...), pairs first */
FNN_INLINE vec batch_norm_sum8(const vec *x) {
    return v_add(v_add(v_add(x[0], x[1]), v_add(x[2], x[3])), v_add(v_add(x[4], x[5]), v_add(x[6], x[7])));
}

/* Of eight rows of a vector of columns: their mean, rounded; rest = sum of x - mean; the sum of squares around mean +
 * rest / 8. */
FNN_INLINE void batch_norm_group_part(const real *x, int64_t x_row, int count, real *mean, real *rest, real *square) {
    const vec eighth = v_set1(REAL(0.125));
    vec e[BATCH_NORM_GROUP];
#pragma GCC unroll 8
    for (int r = 0; r < BATCH_NORM_GROUP; r++)
        e[r] = part_load(x + r * x_row, count);
    const vec m = v_mul(batch_norm_sum8(e), eighth);
#pragma GCC unroll 8
    for (int r = 0; r < BATCH_NORM_GROUP; r++)
        e[r] = v_sub(e[r], m);
    const vec s = batch_norm_sum8(e);
    vec even = v_mul(e[0], e[0]), odd = v_mul(e[1], e[1]);
#pragma GCC unroll 3
    for (int r = 2; r < BATCH_NORM_GROUP; r += 2) {
        even = v_fma(e[r], e[r], even);
        odd = v_fma(e[r + 1], e[r + 1], odd);
    }
    v_store(mean, m);
    v_store(rest, s);
    v_store(square, v_fnma(v_mul(s, eighth), s, v_add(even, odd)));
}

/* The sums of eight rows join those of the block: sums += 8 d and squares += square + 8 d^2, where d = mean + rest / 8
 * - shift. */
FNN_INLINE void batch_norm_join(int64_t cols, const real *restrict mean, const real *restrict rest,
                                const real *restrict square, const real *restrict shift, double *restrict sums,
                                double *restrict squares) {
    for (int64_t j = 0; j < cols; j++) {
        const double d = ((double)mean[j] - (double)shift[j]) + (double)rest[j] * 0.125, all = 8 * d;
        sums[j] += all;
        squares[j] += (double)square[j] + all * d;
    }
}

/* What a column is shifted by: its first row, if that is finite. */
FNN_INLINE double batch_norm_shift(real first) {
    const double shift = (double)first;
    return shift - shift == 0 ? shift : 0;
}

/* Rows [begin, end) one by one. */
FNN_INLINE void batch_norm_rows(int64_t begin, int64_t end, int64_t cols, const real *restrict x, int64_t x_row,
                                const real *restrict shift, double *restrict sums, double *restrict squares) {
    for (int64_t row = begin; row < end; row++)
        for (int64_t j = 0; j < cols; j++) {
            const double d = (double)x[row * x_row + j] - batch_norm_shift(shift[j]);
            sums[j] += d;
            squares[j] += d * d;
        }
}

/* Whether no term of a sum of this size can have left the range of a real. */
FNN_INLINE int batch_norm_in_range(double sum) {
    const double size = sum < 0 ? -sum : sum;
    return (size == 0) | ((size > 1e8 * (double)REAL_MIN_NORMAL) & (size < __builtin_inf()));
}

/* Runs the statement over those of `cols` columns that are not `fine`, an expression of column j: over columns
 * [j, j + width), side by side. Each column is judged by itself, so that its bits do not depend on its neighbours,
 * which differ with the member's share and the address. */
#define BATCH_NORM_AGAIN(cols, fine, ...)                                                                              \
    do {                                                                                                               \
        int all = 1;                                                                                                   \
        for (int64_t j = 0; j < (cols); j++)                                                                           \
            all &= (fine);                                                                                             \
        for (int64_t end = all ? (cols) : 0; end < (cols);) {                                                          \
            int64_t j = end;                                                                                           \
            while (j < (cols) && (fine))                                                                               \
                j++;                                                                                                   \
            const int64_t first = j;                                                                                   \
            while (j < (cols) && !(fine))                                                                              \
                j++;                                                                                                   \
            end = j, j = first;                                                                                        \
            const int64_t width = end - first;                                                                         \
            if (width > 0)                                                                                             \
                __VA_ARGS__                                                                                            \
        }                                                                                                              \
    } while (0)

static void batch_norm_clear(int64_t cols, double *p, double *q) {
    memset(p, 0, (size_t)cols * sizeof *p);
    memset(q, 0, (size_t)cols * sizeof *q);
}

/* mean[cols] = mean of x - first; square[cols] = sum of (x - first - mean)^2. */
static void batch_norm_statistics(const fnn_batch_norm *b, const void *first, double *restrict mean,
                                  double *restrict square) {
    const real *x = b->x, *shift = first;
    const int64_t rows = b->rows, grouped = rows - rows % BATCH_NORM_GROUP, x_row = b->x_row;
    const int64_t head = part_head(x, x_row, b->cols);
    _Alignas(64) real m[BATCH_NORM_TILE], rest[BATCH_NORM_TILE], squares[BATCH_NORM_TILE];
    batch_norm_clear(b->cols, mean, square);
    for (int64_t row = 0; row < grouped; row += BATCH_NORM_GROUP)
        FOR_TILES(head, b->cols, BATCH_NORM_TILE, {
            FOR_PARTS(width,
                      batch_norm_group_part(x + row * x_row + j + i, x_row, count, m + i, rest + i, squares + i));
            batch_norm_join(width, m, rest, squares, shift + j, mean + j, square + j);
        });
    batch_norm_rows(grouped, rows, b->cols, x, x_row, shift, mean, square);
    BATCH_NORM_AGAIN(b->cols, (square[j] >= 0) & batch_norm_in_range(square[j]), {
        batch_norm_clear(width, mean + j, square + j);
        batch_norm_rows(0, rows, width, x + j, x_row, shift + j, mean + j, square + j);
    });
    for (int64_t j = 0; j < b->cols; j++) {
        const double average = mean[j] / (double)rows, s = square[j] - mean[j] * average;
        mean[j] = average;
        square[j] = s < 0 ? 0 : s; /* a rounding below 0; NaN stays NaN */
    }
}

/* Of blocks of FNN_BATCH_NORM_ROWS rows, mean[blocks, cols] and square[blocks, cols] (rows block_row apart): the first
 * row becomes that of all `rows` rows. */
static void batch_norm_merge(int64_t rows, int64_t cols, int64_t block_row, double *mean, double *square) {
    for (int64_t row = FNN_BATCH_NORM_ROWS; row < rows; row += FNN_BATCH_NORM_ROWS) {
        const double *restrict block_mean = mean + row / FNN_BATCH_NORM_ROWS * block_row;
        const double *restrict block_square = square + row / FNN_BATCH_NORM_ROWS * block_row;
        const double more = (double)(rows - row < FNN_BATCH_NORM_ROWS ? rows - row : FNN_BATCH_NORM_ROWS);
        const double share = more / ((double)row + more), both = (double)row * share;
        double *restrict m = mean, *restrict s = square;
        for (int64_t j = 0; j < cols; j++) {
            const double delta = block_mean[j] - m[j], next = m[j] + delta * share;
            m[j] = next == next ? next : m[j] + block_mean[j]; /* an infinite mean stays infinite */
            s[j] += block_square[j] + delta * delta * both;
        }
    }
}

/* The same for gradient sums, which are only added. */
static void batch_norm_add(int64_t blocks, int64_t cols, int64_t block_row, double *grad_sum, double *product_sum) {
    for (int64_t block = 1; block < blocks; block++) {
        const double *restrict grad = grad_sum + block * block_row, *restrict product = product_sum + block * block_row;
        double *restrict p = grad_sum, *restrict q = product_sum;
        for (int64_t j = 0; j < cols; j++) {
            p[j] += grad[j];
            q[j] += product[j];
        }
    }
}

/* The arrays of the columns' constants. */
typedef struct batch_norm_constants {
    real *mean, *factor, *offset, *slope;
} batch_norm_constants;

FNN_INLINE batch_norm_constants batch_norm_reals(const fnn_batch_norm_columns *c) {
    return (batch_norm_constants){c->mean, c->factor, c->offset, c->slope};
}

/* Sums of grad and of grad * (x - mean) over `rows` rows (a constant) of a vector of columns join those of the block.
 */
FNN_INLINE void batch_norm_gradient_part(const real *x, int64_t x_row, const real *grad, int64_t grad_row,
                                         const int rows, int count, const real *mean, real *sums, real *products) {
    const vec m = part_load(mean, count);
    vec g[BATCH_NORM_FEW], p[BATCH_NORM_FEW];
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++) {
        g[r] = part_load(grad + r * grad_row, count);
        p[r] = v_sub(part_load(x + r * x_row, count), m);
    }
    const int four = rows == BATCH_NORM_FEW;
    const vec sum = four ? v_add(v_add(g[0], g[1]), v_add(g[2], g[3])) : g[0];
    const vec product =
        four ? v_add(v_fma(p[1], g[1], v_mul(p[0], g[0])), v_fma(p[3], g[3], v_mul(p[2], g[2]))) : v_mul(p[0], g[0]);
    part_store(sums, v_add(part_load(sums, count), sum), count);
    part_store(products, v_add(part_load(products, count), product), count);
}

/* The same of `cols` columns in double, all rows. */
FNN_INLINE void batch_norm_gradient_rows(const fnn_batch_norm *b, int64_t j, int64_t cols, const double *restrict mean,
                                         double *restrict grad_sum, double *restrict product_sum) {
    batch_norm_clear(cols, grad_sum, product_sum);
    for (int64_t row = 0; row < b->rows; row++) {
        const real *restrict x = (const real *)b->x + row * b->x_row + j;
        const real *restrict grad = (const real *)b->grad + row * b->grad_row + j;
        for (int64_t i = 0; i < cols; i++) {
            grad_sum[i] += (double)grad[i];
            product_sum[i] += (double)grad[i] * ((double)x[i] - mean[i]);
        }
    }
}

/* grad_sum[cols] = sum of grad; product_sum[cols] = sum of grad * (x - mean). What rounding the mean loses is taken
 * from the product's sum as a whole. */
static void batch_norm_gradient_sums(const fnn_batch_norm *b, const double *restrict mean, double *restrict grad_sum,
                                     double *restrict product_sum) {
    const int64_t few = b->rows - b->rows % BATCH_NORM_FEW;
    const real *x = b->x, *grad = b->grad;
    _Alignas(64) real high[FNN_BATCH_NORM_SPAN], sums[FNN_BATCH_NORM_SPAN], products[FNN_BATCH_NORM_SPAN];
    for (int64_t j = 0; j < b->cols; j++) {
        high[j] = (real)mean[j];
        sums[j] = products[j] = 0;
    }
    for (int64_t row = 0; row < few; row += BATCH_NORM_FEW)
        FOR_PARTS(b->cols,
                  batch_norm_gradient_part(x + row * b->x_row + i, b->x_row, grad + row * b->grad_row + i, b->grad_row,
                                           BATCH_NORM_FEW, count, high + i, sums + i, products + i));
    for (int64_t row = few; row < b->rows; row++)
        FOR_PARTS(b->cols, batch_norm_gradient_part(x + row * b->x_row + i, 0, grad + row * b->grad_row + i, 0, 1,
                                                    count, high + i, sums + i, products + i));
    for (int64_t j = 0; j < b->cols; j++) {
        grad_sum[j] = (double)sums[j];
        product_sum[j] = (double)products[j] - grad_sum[j] * (mean[j] - (double)high[j]);
    }
    BATCH_NORM_AGAIN(b->cols, (grad_sum[j] - grad_sum[j] == 0) & batch_norm_in_range(product_sum[j]),
                     { batch_norm_gradient_rows(b, j, width, mean + j, grad_sum + j, product_sum + j); });
}

/* weight / sqrt(var + eps), and the identity's weight and bias where they are missing */
static void batch_norm_factors(int64_t cols, const double *restrict var, double eps, const real *restrict weight,
                               double *restrict factor) {
    for (int64_t j = 0; j < cols; j++)
        factor[j] = var[j] + eps == 0 ? 0 : 1 / __builtin_sqrt(var[j] + eps); /* a constant column, eps = 0 */
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

/* What rounding the mean loses, times the factor of x - mean; an infinite factor's place is there, not here. */
FNN_INLINE double batch_norm_rest(double low, double factor) {
    const double rest = low * factor;
    return rest - rest == 0 ? rest : 0;
}

/* running = (1 - momentum) * running + momentum * scale * batch */
static void batch_norm_running(int64_t cols, double momentum, double scale, const double *restrict batch,
                               real *restrict running) {
    for (int64_t j = 0; j < cols; j++)
        running[j] = (real)((1 - momentum) * (double)running[j] + momentum * (scale * batch[j]));
}

static void batch_norm_finish(const fnn_batch_norm_finish *f, const fnn_batch_norm_columns *columns) {
    const batch_norm_constants k = batch_norm_reals(columns);
    const real *restrict first = f->first;
    const double *restrict deviation = f->deviation, *restrict square = f->square;
    const double rows = (double)f->rows, unbiased = f->unbiased && f->rows > 1 ? rows / (rows - 1) : 1;
    const int64_t cols = f->cols;
    double mean[FNN_BATCH_NORM_COLS], low[FNN_BATCH_NORM_COLS], var[FNN_BATCH_NORM_COLS], factor[FNN_BATCH_NORM_COLS];
    const real *restrict bias = f->bias;
    for (int64_t j = 0; j < cols; j++) {
        const double shift = batch_norm_shift(first[j]), sum = shift + deviation[j], part = sum - shift;
        mean[j] = sum; /* shift + deviation = sum + this, exactly: */
        low[j] = (shift - (sum - part)) + (deviation[j] - part) + (sum - (double)(real)sum);
        var[j] = square[j] / rows;
    }
    batch_norm_factors(cols, var, f->eps, f->weight, factor);
    batch_norm_round(cols, mean, k.mean);
    batch_norm_round(cols, factor, k.factor);
    for (int64_t j = 0; j < cols; j++)
        k.offset[j] = (real)((bias ? (double)bias[j] : 0) - batch_norm_rest(low[j], factor[j]));
    if (f->running_mean)
        batch_norm_running(cols, f->momentum, 1, mean, f->running_mean);
    if (f->running_var)
        batch_norm_running(cols, f->momentum, unbiased, var, f->running_var);
    memcpy(f->mean, mean, (size_t)cols * sizeof *mean);
    memcpy(f->var, var, (size_t)cols * sizeof *var);
}

static void batch_norm_finish_inference(int64_t cols, const void *mean, const void *var, const void *weight,
                                        const void *bias, double eps, const fnn_batch_norm_columns *columns) {
    const batch_norm_constants k = batch_norm_reals(columns);
    double wide_var[FNN_BATCH_NORM_COLS], factor[FNN_BATCH_NORM_COLS];
    for (int64_t j = 0; j < cols; j++)
        wide_var[j] = (double)((const real *)var)[j];
    batch_norm_factors(cols, wide_var, eps, weight, factor);
    batch_norm_round(cols, factor, k.factor);
    batch_norm_offsets(cols, bias, k.offset);
    batch_norm_offsets(cols, mean, k.mean);
}

/* dx = weight * istd * (grad - mean(grad) - xhat * mean(grad * xhat)), xhat = (x - mean) * istd */
static void batch_norm_finish_gradient(const fnn_batch_norm_finish_gradient *f, const fnn_batch_norm_columns *columns) {
    const batch_norm_constants k = batch_norm_reals(columns);
    const double *restrict grad_sum = f->grad_sum, *restrict product_sum = f->product_sum, *restrict mean = f->mean;
    const double rows = (double)f->rows;
    const int64_t cols = f->cols;
    double istd[FNN_BATCH_NORM_COLS], factor[FNN_BATCH_NORM_COLS];
    double offset[FNN_BATCH_NORM_COLS], slope[FNN_BATCH_NORM_COLS], dweight[FNN_BATCH_NORM_COLS];
    batch_norm_factors(cols, f->var, f->eps, NULL, istd);
    for (int64_t j = 0; j < cols; j++) {
        factor[j] = f->weight ? istd[j] * (double)((const real *)f->weight)[j] : istd[j];
        dweight[j] = product_sum[j] * istd[j];
        slope[j] = istd[j] * istd[j] * (product_sum[j] / rows);
        offset[j] = grad_sum[j] / rows - batch_norm_rest(mean[j] - (double)(real)mean[j], slope[j]);
    }
    batch_norm_round(cols, mean, k.mean);
    batch_norm_round(cols, factor, k.factor);
    batch_norm_round(cols, offset, k.offset);
    batch_norm_round(cols, slope, k.slope);
    if (f->dweight)
        batch_norm_round(cols, dweight, f->dweight);
    if (f->dbias)
        batch_norm_round(cols, grad_sum, f->dbias);
}

/* Rows that are written at once, so that the columns' constants are loaded once for all: two, if rows lie so far apart
 * that all of them fall into one set of L1, which three arrays of four rows would overflow. */
static int64_t batch_norm_visit(const fnn_batch_norm *b) {
    const int64_t bytes = b->y_row * (int64_t)sizeof(real);
    return bytes % 2048 == 0 ? BATCH_NORM_PAIR : BATCH_NORM_FEW;
}

/* Runs part(b, &k, row, rows, i, count) over all rows, some at a time, and all columns. */
#define BATCH_NORM_VISIT(part)                                                                                         \
    do {                                                                                                               \
        int64_t row = 0;                                                                                               \
        if (batch_norm_visit(b) == BATCH_NORM_FEW)                                                                     \
            for (; row + BATCH_NORM_FEW <= b->rows; row += BATCH_NORM_FEW)                                             \
                FOR_PARTS(b->cols, part(b, &k, row, BATCH_NORM_FEW, i, count));                                        \
        for (; row + BATCH_NORM_PAIR <= b->rows; row += BATCH_NORM_PAIR)                                               \
            FOR_PARTS(b->cols, part(b, &k, row, BATCH_NORM_PAIR, i, count));                                           \
        if (row < b->rows)                                                                                             \
            FOR_PARTS(b->cols, part(b, &k, row, 1, i, count));                                                         \
    } while (0)

/* y = (x - mean) * factor + offset for `rows` rows (a constant) */
FNN_INLINE void batch_norm_apply_part(const fnn_batch_norm *b, const batch_norm_constants *k, int64_t row,
                                      const int rows, int64_t j, int count) {
    const real *x = (const real *)b->x + row * b->x_row + j;
    real *y = (real *)b->y + row * b->y_row + j;
    const vec mean = part_load(k->mean + j, count), factor = part_load(k->factor + j, count);
    const vec offset = part_load(k->offset + j, count);
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++) {
        const vec centred = v_sub(part_load(x + r * b->x_row, count), mean);
        part_store(y + r * b->y_row, v_fma(centred, factor, offset), count);
    }
}

static void batch_norm_apply(const fnn_batch_norm *b, const fnn_batch_norm_columns *columns) {
    const batch_norm_constants k = batch_norm_reals(columns);
    BATCH_NORM_VISIT(batch_norm_apply_part);
}

/* dx = factor * (grad - offset - (x - mean) * slope) */
FNN_INLINE void batch_norm_input_part(const fnn_batch_norm *b, const batch_norm_constants *k, int64_t row,
                                      const int rows, int64_t j, int count) {
    const real *x = (const real *)b->x + row * b->x_row + j, *grad = (const real *)b->grad + row * b->grad_row + j;
    real *dx = (real *)b->y + row * b->y_row + j;
    const vec mean = part_load(k->mean + j, count), factor = part_load(k->factor + j, count);
    const vec offset = part_load(k->offset + j, count), slope = part_load(k->slope + j, count);
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++) {
        const vec centred = v_sub(part_load(x + r * b->x_row, count), mean);
        const vec shifted = v_sub(part_load(grad + r * b->grad_row, count), offset);
        part_store(dx + r * b->y_row, v_mul(factor, v_fnma(centred, slope, shifted)), count);
    }
}

static void batch_norm_input_gradient(const fnn_batch_norm *b, const fnn_batch_norm_columns *columns) {
    const batch_norm_constants k = batch_norm_reals(columns);
    BATCH_NORM_VISIT(batch_norm_input_part);
}
#undef BATCH_NORM_VISIT
