/* batch_norm.c: batch norm over rows: statistics by blocks, then the columns' constants, then y or dx.
 *
 * Statistics and gradient sums are taken over fixed blocks of 64 rows and merged in the order of the blocks, column by
 * column, so that the bits do not depend on who computed which block. There are two ways through the data. By columns,
 * while it fits L2: a member does everything for its columns, without waiting. By blocks, if there are too few columns
 * for the team, or so much data that walking down columns would miss in the TLB at each row: members meet twice.
 */
#include "op.h"

#include <stddef.h>

#include "../base/cpu.h"
#include "../base/memory.h"

enum { BLOCK = FNN_BATCH_NORM_ROWS, STRIP = FNN_BATCH_NORM_COLS };
enum { COLUMN_UNIT = 16 }; /* columns of one share: whole cache lines of the outputs */

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

static void *item(const fnn_args *args, void *base, int64_t index) {
    return base == NULL ? NULL : (char *)base + index * args->table->item_size;
}

/* A smaller team goes by blocks only where a larger one does too: scratch for the planned team suffices for any. */
static int by_blocks(const fnn_args *args, int64_t rows, int64_t cols, int team_size) {
    if (rows <= BLOCK)
        return 0;
    return (team_size > 1 && ceil_div(cols, COLUMN_UNIT) < 2 * team_size) ||
           rows * cols * args->table->item_size > fnn_cache_size(2);
}

/* Going by blocks: two doubles per block and column, and the constants of each strip. */
typedef struct shared {
    double *sums[2];
    fnn_batch_norm_columns *strips;
} shared;

static shared lay_out(void *scratch, int64_t rows, int64_t cols, size_t *bytes) {
    fnn_arena arena = {scratch, 0};
    shared s;
    for (int i = 0; i < 2; i++)
        s.sums[i] = fnn_arena_take(&arena, (size_t)(ceil_div(rows, BLOCK) * cols), sizeof(double));
    s.strips = fnn_arena_take(&arena, (size_t)ceil_div(cols, STRIP), sizeof(fnn_batch_norm_columns));
    if (bytes)
        *bytes = arena.used;
    return s;
}

static int64_t scratch_bytes(const fnn_args *args, int64_t rows, int64_t cols, int team_size) {
    size_t bytes = 0;
    if (by_blocks(args, rows, cols, team_size))
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
    int64_t row = block * BLOCK;
    fnn_batch_norm piece = {.rows = smaller(BLOCK, args->dim[ROWS] - row),
                            .cols = cols,
                            .x = item(args, args->pointer[X], row * args->dim[X_ROW] + col),
                            .x_row = args->dim[X_ROW]};
    args->table->batch_norm_statistics(&piece, item(args, args->pointer[X], col), mean, square);
}

static void finish_forward(const fnn_args *args, const statistics *s, int64_t col, int64_t cols,
                           fnn_batch_norm_columns *columns) {
    void *const *p = args->pointer;
    fnn_batch_norm_finish finish = {.rows = s->rows,
                                    .cols = cols,
                                    .first = item(args, p[X], col),
                                    .deviation = s->mean,
                                    .square = s->square,
                                    .weight = item(args, p[WEIGHT], col),
                                    .bias = item(args, p[BIAS], col),
                                    .eps = args->scalar[EPS],
                                    .momentum = args->scalar[MOMENTUM],
                                    .unbiased = args->dim[UNBIASED] != 0,
                                    .mean = (double *)p[MEAN] + col,
                                    .var = (double *)p[VAR] + col,
                                    .running_mean = item(args, p[RUNNING_MEAN], col),
                                    .running_var = item(args, p[RUNNING_VAR], col)};
    args->table->batch_norm_finish(&finish, columns);
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

/* y of rows [begin, end) of a strip */
static void forward_strip(const fnn_args *args, int64_t col, int64_t cols, int64_t begin, int64_t end,
                          const fnn_batch_norm_columns *columns) {
    fnn_batch_norm piece = {.cols = cols,
                            .x = item(args, args->pointer[X], col),
                            .y = item(args, args->pointer[Y], col),
                            .x_row = args->dim[X_ROW],
                            .y_row = args->dim[Y_ROW]};
    apply(args, piece, begin, end, args->dim[ACTIVATION], &args->scalar[P0], columns);
}

static void forward_by_columns(const fnn_args *args, const fnn_team *team) {
    const int64_t rows = args->dim[ROWS], blocks = ceil_div(rows, BLOCK);
    int64_t begin, end;
    double mean[STRIP], square[STRIP];
    fnn_batch_norm_columns columns;
    fnn_team_range(team, args->dim[COLS], COLUMN_UNIT, &begin, &end);
    for (int64_t col = begin; col < end; col += STRIP) {
        const int64_t cols = smaller(STRIP, end - col);
        statistics s = {0};
        for (int64_t block = 0; block < blocks; block++) {
            block_statistics(args, block, col, cols, mean, square);
            merge(&s, cols, smaller(BLOCK, rows - block * BLOCK), mean, square);
        }
        finish_forward(args, &s, col, cols, &columns);
        forward_strip(args, col, cols, 0, rows, &columns);
    }
}

static void forward_by_blocks(const fnn_args *args, const fnn_team *team) {
    const int64_t rows = args->dim[ROWS], cols = args->dim[COLS], blocks = ceil_div(rows, BLOCK);
    const shared shared = lay_out(args->scratch, rows, cols, NULL);
    int64_t first, last, begin, end;
    fnn_team_range(team, blocks, 1, &first, &last);
    for (int64_t block = first; block < last; block++)
        for (int64_t col = 0; col < cols; col += STRIP)
            block_statistics(args, block, col, smaller(STRIP, cols - col), shared.sums[0] + block * cols + col,
                             shared.sums[1] + block * cols + col);
    fnn_team_barrier(team);
    fnn_team_range(team, cols, STRIP, &begin, &end);
    for (int64_t col = begin; col < end; col += STRIP) {
        const int64_t width = smaller(STRIP, end - col);
        statistics s = {0};
        for (int64_t block = 0; block < blocks; block++)
            merge(&s, width, smaller(BLOCK, rows - block * BLOCK), shared.sums[0] + block * cols + col,
                  shared.sums[1] + block * cols + col);
        finish_forward(args, &s, col, width, &shared.strips[col / STRIP]);
    }
    fnn_team_barrier(team);
    for (int64_t block = first; block < last; block++)
        for (int64_t col = 0; col < cols; col += STRIP)
            forward_strip(args, col, smaller(STRIP, cols - col), block * BLOCK, smaller((block + 1) * BLOCK, rows),
                          &shared.strips[col / STRIP]);
}

void fnn_op_batch_norm_run(const fnn_args *args, const fnn_team *team) {
    if (args->dim[ROWS] <= 0 || args->dim[COLS] <= 0)
        return;
    if (by_blocks(args, args->dim[ROWS], args->dim[COLS], team->size))
        forward_by_blocks(args, team);
    else
        forward_by_columns(args, team);
}

fnn_work fnn_op_batch_norm_work(const fnn_args *args) {
    double n = (double)args->dim[ROWS] * (double)args->dim[COLS];
    double doubles = args->table->lanes * args->table->item_size / 8.0; /* lanes of the statistics */
    return fnn_work_of(9 * n, 2 * n * args->table->item_size,
                       n * (0.05 * args->table->item_size + 1.0 / doubles) + 5 * (double)args->dim[COLS]);
}

int64_t fnn_op_batch_norm_scratch(const fnn_args *args, int team_size) {
    return scratch_bytes(args, args->dim[ROWS], args->dim[COLS], team_size);
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
        fnn_batch_norm_columns columns;
        fnn_batch_norm piece = {.cols = smaller(STRIP, col_end - col),
                                .x = item(args, p[I_X], col),
                                .y = item(args, p[I_Y], col),
                                .x_row = d[I_X_ROW],
                                .y_row = d[I_Y_ROW]};
        args->table->batch_norm_finish_inference(piece.cols, item(args, p[I_MEAN], col), item(args, p[I_VAR], col),
                                                 item(args, p[I_WEIGHT], col), item(args, p[I_BIAS], col),
                                                 args->scalar[I_EPS], &columns);
        apply(args, piece, row_begin, row_end, d[I_ACTIVATION], &args->scalar[I_P0], &columns);
    }
}

fnn_work fnn_op_batch_norm_inference_work(const fnn_args *args) {
    double n = (double)args->dim[I_ROWS] * (double)args->dim[I_COLS], bytes = 2 * n * args->table->item_size;
    return fnn_work_of(3 * n, bytes, bytes / 60 + 0.3 * n / args->table->lanes + 3 * (double)args->dim[I_COLS]);
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
                            .y_row = d[B_DX_ROW]};
}

static void block_sums(const fnn_args *args, int64_t block, int64_t col, int64_t cols, double *grad, double *product) {
    const int64_t row = block * BLOCK;
    const fnn_batch_norm piece = backward_piece(args, row, smaller(BLOCK, args->dim[B_ROWS] - row), col, cols);
    args->table->batch_norm_gradient_sums(&piece, (const double *)args->pointer[B_MEAN] + col, grad, product);
}

static void add(double *to, const double *from, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        to[i] += from[i];
}

static void finish_backward(const fnn_args *args, int64_t col, int64_t cols, const double *grad, const double *product,
                            fnn_batch_norm_columns *columns) {
    void *const *p = args->pointer;
    fnn_batch_norm_finish_gradient finish = {.rows = args->dim[B_ROWS],
                                             .cols = cols,
                                             .grad_sum = grad,
                                             .product_sum = product,
                                             .mean = (const double *)p[B_MEAN] + col,
                                             .var = (const double *)p[B_VAR] + col,
                                             .weight = item(args, p[B_WEIGHT], col),
                                             .eps = args->scalar[B_EPS],
                                             .dweight = item(args, p[B_DWEIGHT], col),
                                             .dbias = item(args, p[B_DBIAS], col)};
    args->table->batch_norm_finish_gradient(&finish, columns);
}

static void backward_strip(const fnn_args *args, int64_t col, int64_t cols, int64_t begin, int64_t end,
                           const fnn_batch_norm_columns *columns) {
    const fnn_batch_norm piece = backward_piece(args, begin, end - begin, col, cols);
    if (args->pointer[B_DX] != NULL)
        args->table->batch_norm_input_gradient(&piece, columns);
}

static void backward_by_columns(const fnn_args *args, const fnn_team *team) {
    const int64_t rows = args->dim[B_ROWS], blocks = ceil_div(rows, BLOCK);
    int64_t begin, end;
    double block_grad[STRIP], block_product[STRIP];
    fnn_batch_norm_columns columns;
    fnn_team_range(team, args->dim[B_COLS], COLUMN_UNIT, &begin, &end);
    for (int64_t col = begin; col < end; col += STRIP) {
        const int64_t cols = smaller(STRIP, end - col);
        double grad[STRIP] = {0}, product[STRIP] = {0};
        for (int64_t block = 0; block < blocks; block++) {
            block_sums(args, block, col, cols, block_grad, block_product);
            add(grad, block_grad, cols);
            add(product, block_product, cols);
        }
        finish_backward(args, col, cols, grad, product, &columns);
        backward_strip(args, col, cols, 0, rows, &columns);
    }
}

static void backward_by_blocks(const fnn_args *args, const fnn_team *team) {
    const int64_t rows = args->dim[B_ROWS], cols = args->dim[B_COLS], blocks = ceil_div(rows, BLOCK);
    const shared shared = lay_out(args->scratch, rows, cols, NULL);
    int64_t first, last, begin, end;
    fnn_team_range(team, blocks, 1, &first, &last);
    for (int64_t block = first; block < last; block++)
        for (int64_t col = 0; col < cols; col += STRIP)
            block_sums(args, block, col, smaller(STRIP, cols - col), shared.sums[0] + block * cols + col,
                       shared.sums[1] + block * cols + col);
    fnn_team_barrier(team);
    fnn_team_range(team, cols, STRIP, &begin, &end);
    for (int64_t col = begin; col < end; col += STRIP) {
        const int64_t width = smaller(STRIP, end - col);
        double grad[STRIP] = {0}, product[STRIP] = {0};
        for (int64_t block = 0; block < blocks; block++) {
            add(grad, shared.sums[0] + block * cols + col, width);
            add(product, shared.sums[1] + block * cols + col, width);
        }
        finish_backward(args, col, width, grad, product, &shared.strips[col / STRIP]);
    }
    fnn_team_barrier(team);
    for (int64_t block = first; block < last; block++)
        for (int64_t col = 0; col < cols; col += STRIP)
            backward_strip(args, col, smaller(STRIP, cols - col), block * BLOCK, smaller((block + 1) * BLOCK, rows),
                           &shared.strips[col / STRIP]);
}

void fnn_op_batch_norm_backward_run(const fnn_args *args, const fnn_team *team) {
    if (args->dim[B_ROWS] <= 0 || args->dim[B_COLS] <= 0)
        return;
    if (by_blocks(args, args->dim[B_ROWS], args->dim[B_COLS], team->size))
        backward_by_blocks(args, team);
    else
        backward_by_columns(args, team);
}

fnn_work fnn_op_batch_norm_backward_work(const fnn_args *args) {
    double n = (double)args->dim[B_ROWS] * (double)args->dim[B_COLS];
    double doubles = args->table->lanes * args->table->item_size / 8.0;
    return fnn_work_of(9 * n, 3 * n * args->table->item_size,
                       n * (0.06 * args->table->item_size + 1.1 / doubles) + 5 * (double)args->dim[B_COLS]);
}

int64_t fnn_op_batch_norm_backward_scratch(const fnn_args *args, int team_size) {
    return scratch_bytes(args, args->dim[B_ROWS], args->dim[B_COLS], team_size);
}
