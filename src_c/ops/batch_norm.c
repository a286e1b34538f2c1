/* batch_norm.c: batch norm over rows: statistics by blocks, then the columns' constants, then y or dx.
 *
 * Statistics and gradient sums are taken over fixed blocks of 64 rows and merged in the order of the blocks, column by
 * column, so that the bits do not depend on who computed which block. A team cuts the columns where there are enough of
 * them: a member then does everything for its columns without waiting, while they are in its cache. Otherwise it cuts
 * the blocks, and members meet twice.
 */
#include "op.h"

#include <math.h>

#include "../base/memory.h"

enum { BLOCK = FNN_BATCH_NORM_ROWS, STRIP = FNN_BATCH_NORM_COLS };
enum { COLUMN_UNIT = 16 }; /* columns of one share: whole cache lines of the outputs */

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

static double real_at(const fnn_args *args, const void *base, int64_t index, double otherwise) {
    if (base == NULL)
        return otherwise;
    return args->table->item_size == 4 ? (double)((const float *)base)[index] : ((const double *)base)[index];
}

static void set_real(const fnn_args *args, void *base, int64_t index, double value) {
    if (base == NULL)
        return;
    if (args->table->item_size == 4)
        ((float *)base)[index] = (float)value;
    else
        ((double *)base)[index] = value;
}

static void *item(const fnn_args *args, void *base, int64_t index) {
    return base == NULL ? NULL : (char *)base + index * args->table->item_size;
}

/* Too few columns for everybody, and several blocks of rows. Smaller teams cut blocks only where larger ones do too,
 * so scratch for the planned team suffices for any smaller one. */
static int cuts_blocks(int64_t rows, int64_t cols, int team_size) {
    return team_size > 1 && rows > BLOCK && ceil_div(cols, COLUMN_UNIT) < 2 * team_size;
}

/* Two doubles per block and column, and two per column. */
typedef struct partials {
    double *block[2], *total[2];
} partials;

static partials lay_out(void *scratch, int64_t rows, int64_t cols, size_t *bytes) {
    fnn_arena arena = {scratch, 0};
    partials p;
    for (int i = 0; i < 2; i++)
        p.block[i] = fnn_arena_take(&arena, (size_t)(ceil_div(rows, BLOCK) * cols), sizeof(double));
    for (int i = 0; i < 2; i++)
        p.total[i] = fnn_arena_take(&arena, (size_t)cols, sizeof(double));
    if (bytes)
        *bytes = arena.used;
    return p;
}

static int64_t scratch_bytes(int64_t rows, int64_t cols, int team_size) {
    size_t bytes = 0;
    if (cuts_blocks(rows, cols, team_size))
        lay_out(NULL, rows, cols, &bytes);
    return (int64_t)bytes;
}

/* ---- forward ---- */

enum { X, WEIGHT, BIAS, Y, MEAN, VAR, RUNNING_MEAN, RUNNING_VAR };
enum { ROWS, COLS, X_ROW, Y_ROW, UNBIASED, ACTIVATION };
enum { EPS, MOMENTUM, P0, P1 };

/* What the rows so far say of the columns of a strip: their number, mean - shift, and sum of (x - mean)^2. */
typedef struct statistics {
    int64_t rows;
    double mean[STRIP], square[STRIP];
} statistics;

/* Chan, Golub & LeVeque: the statistics of two sets of rows from those of each. */
static void merge(statistics *s, int64_t cols, int64_t rows, const double *mean, const double *square) {
    double total = (double)(s->rows + rows), share = (double)rows / total, both = (double)s->rows * share;
    for (int64_t j = 0; j < cols; j++) {
        double delta = mean[j] - s->mean[j];
        s->mean[j] = s->rows == 0 ? mean[j] : s->mean[j] + delta * share;
        s->square[j] = s->rows == 0 ? square[j] : s->square[j] + (square[j] + delta * delta * both);
    }
    s->rows += rows;
}

static void block_statistics(const fnn_args *args, int64_t block, int64_t col, int64_t cols, double *mean,
                             double *square) {
    double shift[STRIP];
    int64_t row = block * BLOCK;
    for (int64_t j = 0; j < cols; j++)
        shift[j] = real_at(args, args->pointer[X], col + j, 0);
    fnn_batch_norm piece = {.rows = smaller(BLOCK, args->dim[ROWS] - row),
                            .cols = cols,
                            .x = item(args, args->pointer[X], row * args->dim[X_ROW] + col),
                            .x_row = args->dim[X_ROW],
                            .shift = shift};
    args->table->batch_norm_statistics(&piece, mean, square);
}

/* The outputs mean and var, what rounding the mean lost, and the running statistics. */
static void finish_statistics(const fnn_args *args, const statistics *s, int64_t col, int64_t cols, double *low) {
    double *mean = args->pointer[MEAN], *var = args->pointer[VAR], momentum = args->scalar[MOMENTUM];
    double rows = (double)s->rows, correction = args->dim[UNBIASED] && s->rows > 1 ? rows / (rows - 1) : 1;
    void *running_mean = args->pointer[RUNNING_MEAN], *running_var = args->pointer[RUNNING_VAR];
    for (int64_t j = 0; j < cols; j++) {
        int64_t k = col + j;
        double shift = real_at(args, args->pointer[X], k, 0), sum = shift + s->mean[j], part = sum - shift;
        mean[k] = sum;
        low[j] = (shift - (sum - part)) + (s->mean[j] - part); /* shift + s->mean[j] = sum + low exactly */
        var[k] = s->square[j] / rows;
        set_real(args, running_mean, k, (1 - momentum) * real_at(args, running_mean, k, 0) + momentum * sum);
        set_real(args, running_var, k,
                 (1 - momentum) * real_at(args, running_var, k, 0) + momentum * correction * var[k]);
    }
}

static void forward_constants(const fnn_args *args, int64_t col, int64_t cols, const double *low,
                              fnn_batch_norm_columns *c) {
    const double *mean = args->pointer[MEAN], *var = args->pointer[VAR];
    for (int64_t j = 0; j < cols; j++) {
        c->mean[j] = mean[col + j];
        c->mean_low[j] = low[j];
        c->factor[j] = real_at(args, args->pointer[WEIGHT], col + j, 1) / sqrt(var[col + j] + args->scalar[EPS]);
        c->offset[j] = real_at(args, args->pointer[BIAS], col + j, 0);
        c->slope[j] = 0;
    }
}

/* y of rows [begin, end) of a strip; the activation follows each block of rows while that is in L1. */
static void apply(const fnn_args *args, fnn_batch_norm piece, int64_t begin, int64_t end, int64_t activation,
                  const double *p, const fnn_batch_norm_columns *columns) {
    const int size = args->table->item_size;
    const fnn_unary_fn function = activation > 1 ? args->table->unary[activation - 1] : NULL; /* 1 is the identity */
    const char *x = piece.x;
    char *y = piece.y;
    for (int64_t row = begin; row < end; row += BLOCK) {
        piece.rows = smaller(BLOCK, end - row);
        piece.x = x + row * piece.x_row * size;
        piece.y = y + row * piece.y_row * size;
        args->table->batch_norm_apply(&piece, columns);
        for (int64_t r = row; function && r < row + piece.rows; r++)
            function(piece.cols, y + r * piece.y_row * size, y + r * piece.y_row * size, p[0], p[1]);
    }
}

static void apply_strip(const fnn_args *args, int64_t col, int64_t cols, int64_t begin, int64_t end,
                        const double *low) {
    fnn_batch_norm_columns columns;
    fnn_batch_norm piece = {.cols = cols,
                            .x = item(args, args->pointer[X], col),
                            .y = item(args, args->pointer[Y], col),
                            .x_row = args->dim[X_ROW],
                            .y_row = args->dim[Y_ROW]};
    forward_constants(args, col, cols, low, &columns);
    apply(args, piece, begin, end, args->dim[ACTIVATION], &args->scalar[P0], &columns);
}

static void forward_by_columns(const fnn_args *args, const fnn_team *team) {
    const int64_t rows = args->dim[ROWS], blocks = ceil_div(rows, BLOCK);
    int64_t begin, end;
    double mean[STRIP], square[STRIP], low[STRIP];
    fnn_team_range(team, args->dim[COLS], COLUMN_UNIT, &begin, &end);
    for (int64_t col = begin; col < end; col += STRIP) {
        const int64_t cols = smaller(STRIP, end - col);
        statistics s = {0};
        for (int64_t block = 0; block < blocks; block++) {
            block_statistics(args, block, col, cols, mean, square);
            merge(&s, cols, smaller(BLOCK, rows - block * BLOCK), mean, square);
        }
        finish_statistics(args, &s, col, cols, low);
        apply_strip(args, col, cols, 0, rows, low);
    }
}

static void forward_by_blocks(const fnn_args *args, const fnn_team *team) {
    const int64_t rows = args->dim[ROWS], cols = args->dim[COLS], blocks = ceil_div(rows, BLOCK);
    const partials p = lay_out(args->scratch, rows, cols, NULL);
    double *low = p.total[0];
    int64_t first, last, begin, end;
    fnn_team_range(team, blocks, 1, &first, &last);
    for (int64_t block = first; block < last; block++)
        for (int64_t col = 0; col < cols; col += STRIP)
            block_statistics(args, block, col, smaller(STRIP, cols - col), p.block[0] + block * cols + col,
                             p.block[1] + block * cols + col);
    fnn_team_barrier(team);
    fnn_team_range(team, cols, COLUMN_UNIT, &begin, &end);
    for (int64_t col = begin; col < end; col += STRIP) {
        const int64_t width = smaller(STRIP, end - col);
        statistics s = {0};
        for (int64_t block = 0; block < blocks; block++)
            merge(&s, width, smaller(BLOCK, rows - block * BLOCK), p.block[0] + block * cols + col,
                  p.block[1] + block * cols + col);
        finish_statistics(args, &s, col, width, low + col);
    }
    fnn_team_barrier(team);
    for (int64_t col = 0; col < cols; col += STRIP)
        apply_strip(args, col, smaller(STRIP, cols - col), first * BLOCK, smaller(last * BLOCK, rows), low + col);
}

void fnn_op_batch_norm_run(const fnn_args *args, const fnn_team *team) {
    if (args->dim[ROWS] <= 0 || args->dim[COLS] <= 0)
        return;
    if (cuts_blocks(args->dim[ROWS], args->dim[COLS], team->size))
        forward_by_blocks(args, team);
    else
        forward_by_columns(args, team);
}

fnn_work fnn_op_batch_norm_work(const fnn_args *args) {
    double n = (double)args->dim[ROWS] * (double)args->dim[COLS];
    double doubles = args->table->lanes * args->table->item_size / 8.0; /* lanes of the statistics */
    return fnn_work_of(9 * n, 2 * n * args->table->item_size,
                       n * (0.05 + 2.0 / doubles) + 15 * (double)args->dim[COLS]);
}

int64_t fnn_op_batch_norm_scratch(const fnn_args *args, int team_size) {
    return scratch_bytes(args->dim[ROWS], args->dim[COLS], team_size);
}

/* ---- inference ---- */

enum { I_X, I_MEAN, I_VAR, I_WEIGHT, I_BIAS, I_Y };
enum { I_ROWS, I_COLS, I_X_ROW, I_Y_ROW, I_ACTIVATION };
enum { I_EPS, I_P0, I_P1 };

void fnn_op_batch_norm_inference_run(const fnn_args *args, const fnn_team *team) {
    const int64_t *d = args->dim;
    void *const *p = args->pointer;
    int64_t row_begin = 0, row_end = d[I_ROWS], col_begin = 0, col_end = d[I_COLS];
    if (d[I_ROWS] >= 4 * team->size)
        fnn_team_range(team, d[I_ROWS], 1, &row_begin, &row_end);
    else
        fnn_team_range(team, d[I_COLS], COLUMN_UNIT, &col_begin, &col_end);
    for (int64_t col = col_begin; col < col_end; col += STRIP) {
        fnn_batch_norm_columns c;
        fnn_batch_norm piece = {.cols = smaller(STRIP, col_end - col),
                                .x = item(args, p[I_X], col),
                                .y = item(args, p[I_Y], col),
                                .x_row = d[I_X_ROW],
                                .y_row = d[I_Y_ROW]};
        for (int64_t j = 0; j < piece.cols; j++) {
            c.mean[j] = real_at(args, p[I_MEAN], col + j, 0);
            c.mean_low[j] = c.slope[j] = 0;
            c.factor[j] = real_at(args, p[I_WEIGHT], col + j, 1) /
                          sqrt(real_at(args, p[I_VAR], col + j, 1) + args->scalar[I_EPS]);
            c.offset[j] = real_at(args, p[I_BIAS], col + j, 0);
        }
        apply(args, piece, row_begin, row_end, d[I_ACTIVATION], &args->scalar[I_P0], &c);
    }
}

fnn_work fnn_op_batch_norm_inference_work(const fnn_args *args) {
    double n = (double)args->dim[I_ROWS] * (double)args->dim[I_COLS], bytes = 2 * n * args->table->item_size;
    return fnn_work_of(3 * n, bytes, bytes / 30 + n / args->table->lanes + 10 * (double)args->dim[I_COLS]);
}

int64_t fnn_op_batch_norm_inference_scratch(const fnn_args *args, int team_size) {
    (void)args;
    (void)team_size;
    return 0;
}

/* ---- backward ---- */

enum { B_GRAD, B_X, B_MEAN, B_VAR, B_WEIGHT, B_DX, B_DWEIGHT, B_DBIAS };
enum { B_ROWS, B_COLS, B_GRAD_ROW, B_X_ROW, B_DX_ROW };
enum { B_EPS };

/* Rows and columns of the operands; dx may be grad or x, it is written only when the strip has been read. */
static fnn_batch_norm backward_piece(const fnn_args *args, int64_t row, int64_t rows, int64_t col, int64_t cols) {
    const int64_t *d = args->dim;
    return (fnn_batch_norm){.rows = rows,
                            .cols = cols,
                            .x = item(args, args->pointer[B_X], row * d[B_X_ROW] + col),
                            .grad = item(args, args->pointer[B_GRAD], row * d[B_GRAD_ROW] + col),
                            .y = item(args, args->pointer[B_DX], row * d[B_DX_ROW] + col),
                            .x_row = d[B_X_ROW],
                            .grad_row = d[B_GRAD_ROW],
                            .y_row = d[B_DX_ROW],
                            .shift = (const double *)args->pointer[B_MEAN] + col};
}

static void block_sums(const fnn_args *args, int64_t block, int64_t col, int64_t cols, double *grad, double *product) {
    const int64_t row = block * BLOCK;
    const fnn_batch_norm piece = backward_piece(args, row, smaller(BLOCK, args->dim[B_ROWS] - row), col, cols);
    args->table->batch_norm_gradient_sums(&piece, grad, product);
}

static void add(double *to, const double *from, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        to[i] += from[i];
}

static double inverse_std(const fnn_args *args, int64_t col) {
    return 1 / sqrt(((const double *)args->pointer[B_VAR])[col] + args->scalar[B_EPS]);
}

static void finish_sums(const fnn_args *args, int64_t col, int64_t cols, const double *grad, const double *product) {
    for (int64_t j = 0; j < cols; j++) {
        set_real(args, args->pointer[B_DBIAS], col + j, grad[j]);
        set_real(args, args->pointer[B_DWEIGHT], col + j, product[j] * inverse_std(args, col + j));
    }
}

/* dx = weight * istd * (grad - mean(grad) - xhat * mean(grad * xhat)), xhat = (x - mean) * istd */
static void input_gradient_strip(const fnn_args *args, int64_t col, int64_t cols, int64_t begin, int64_t end,
                                 const double *grad, const double *product) {
    fnn_batch_norm_columns c;
    const double rows = (double)args->dim[B_ROWS];
    if (args->pointer[B_DX] == NULL || begin >= end)
        return;
    for (int64_t j = 0; j < cols; j++) {
        const double istd = inverse_std(args, col + j);
        c.mean[j] = ((const double *)args->pointer[B_MEAN])[col + j];
        c.mean_low[j] = 0;
        c.factor[j] = real_at(args, args->pointer[B_WEIGHT], col + j, 1) * istd;
        c.offset[j] = grad[j] / rows;
        c.slope[j] = istd * istd * (product[j] / rows);
    }
    const fnn_batch_norm piece = backward_piece(args, begin, end - begin, col, cols);
    args->table->batch_norm_input_gradient(&piece, &c);
}

static void backward_by_columns(const fnn_args *args, const fnn_team *team) {
    const int64_t rows = args->dim[B_ROWS], blocks = ceil_div(rows, BLOCK);
    int64_t begin, end;
    double block_grad[STRIP], block_product[STRIP];
    fnn_team_range(team, args->dim[B_COLS], COLUMN_UNIT, &begin, &end);
    for (int64_t col = begin; col < end; col += STRIP) {
        const int64_t cols = smaller(STRIP, end - col);
        double grad[STRIP] = {0}, product[STRIP] = {0};
        for (int64_t block = 0; block < blocks; block++) {
            block_sums(args, block, col, cols, block_grad, block_product);
            add(grad, block_grad, cols);
            add(product, block_product, cols);
        }
        finish_sums(args, col, cols, grad, product);
        input_gradient_strip(args, col, cols, 0, rows, grad, product);
    }
}

static void backward_by_blocks(const fnn_args *args, const fnn_team *team) {
    const int64_t rows = args->dim[B_ROWS], cols = args->dim[B_COLS], blocks = ceil_div(rows, BLOCK);
    const partials p = lay_out(args->scratch, rows, cols, NULL);
    int64_t first, last, begin, end;
    fnn_team_range(team, blocks, 1, &first, &last);
    for (int64_t block = first; block < last; block++)
        for (int64_t col = 0; col < cols; col += STRIP)
            block_sums(args, block, col, smaller(STRIP, cols - col), p.block[0] + block * cols + col,
                       p.block[1] + block * cols + col);
    fnn_team_barrier(team);
    fnn_team_range(team, cols, COLUMN_UNIT, &begin, &end);
    for (int sum = 0; sum < 2; sum++)
        for (int64_t j = begin; j < end; j++) {
            double total = 0;
            for (int64_t block = 0; block < blocks; block++)
                total += p.block[sum][block * cols + j];
            p.total[sum][j] = total;
        }
    if (begin < end)
        finish_sums(args, begin, end - begin, p.total[0] + begin, p.total[1] + begin);
    fnn_team_barrier(team);
    for (int64_t col = 0; col < cols; col += STRIP)
        input_gradient_strip(args, col, smaller(STRIP, cols - col), first * BLOCK, smaller(last * BLOCK, rows),
                             p.total[0] + col, p.total[1] + col);
}

void fnn_op_batch_norm_backward_run(const fnn_args *args, const fnn_team *team) {
    if (args->dim[B_ROWS] <= 0 || args->dim[B_COLS] <= 0)
        return;
    if (cuts_blocks(args->dim[B_ROWS], args->dim[B_COLS], team->size))
        backward_by_blocks(args, team);
    else
        backward_by_columns(args, team);
}

fnn_work fnn_op_batch_norm_backward_work(const fnn_args *args) {
    double n = (double)args->dim[B_ROWS] * (double)args->dim[B_COLS];
    double doubles = args->table->lanes * args->table->item_size / 8.0;
    return fnn_work_of(9 * n, 3 * n * args->table->item_size,
                       n * (0.08 + 2.0 / doubles) + 15 * (double)args->dim[B_COLS]);
}

int64_t fnn_op_batch_norm_backward_scratch(const fnn_args *args, int team_size) {
    return scratch_bytes(args->dim[B_ROWS], args->dim[B_COLS], team_size);
}
