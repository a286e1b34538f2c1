/* batch_norm.c: batch norm over rows, in training and in inference. */
#include "batch_norm.h"

#include <stddef.h>
#include <string.h>

#include "grid.h"

enum { X, WEIGHT, BIAS, Y, MEAN, VAR, RUNNING_MEAN, RUNNING_VAR };
enum { ROWS, COLS, X_ROW, Y_ROW, UNBIASED, ACTIVATION };
enum { EPS, MOMENTUM, P0, P1 };

static void *item(const fnn_args *args, void *base, int64_t index) { return fnn_batch_norm_item(args, base, index); }

/* y of a piece; the activation follows some rows while those are in L1. */
static void apply(const fnn_args *args, fnn_batch_norm piece, int64_t activation, const double *p,
                  const fnn_batch_norm_columns *columns) {
    const int size = args->table->item_size;
    const fnn_unary_fn function = activation > 1 ? args->table->unary[activation - 1] : NULL; /* 1 is the identity */
    if (!function) {
        args->table->batch_norm_apply(&piece, columns);
        return;
    }
    const int64_t rows = piece.rows, step = 4 * (1 + FNN_PIECE / 8 / piece.cols);
    for (int64_t row = 0; row < rows; row += step) {
        piece.rows = fnn_smaller(step, rows - row);
        args->table->batch_norm_apply(&piece, columns);
        for (int64_t r = 0; r < piece.rows; r++) {
            void *y = (char *)piece.y + r * piece.y_row * size;
            function(piece.cols, y, y, p[0], p[1]);
        }
        piece.x = (const char *)piece.x + step * piece.x_row * size;
        piece.y = (char *)piece.y + step * piece.y_row * size;
    }
}

static fnn_batch_norm piece_of(const fnn_args *args, int64_t row, int64_t rows, int64_t col, int64_t cols) {
    const int64_t *d = args->dim;
    return (fnn_batch_norm){.rows = rows,
                            .cols = cols,
                            .x = item(args, args->pointer[X], row * d[X_ROW] + col),
                            .y = item(args, args->pointer[Y], row * d[Y_ROW] + col),
                            .x_row = d[X_ROW],
                            .y_row = d[Y_ROW]};
}

static void forward_sums(const fnn_args *args, int64_t row, int64_t rows, int64_t col, int64_t cols, double *mean,
                         double *square) {
    const fnn_batch_norm piece = piece_of(args, row, rows, col, cols);
    args->table->batch_norm_statistics(&piece, item(args, args->pointer[X], col), mean, square);
}

static void forward_finish(const fnn_args *args, int64_t col, int64_t cols, double *mean, double *square,
                           const fnn_batch_norm_columns *columns) {
    void *const *p = args->pointer;
    args->table->batch_norm_merge(args->dim[ROWS], cols, args->dim[COLS], mean, square);
    const fnn_batch_norm_finish finish = {.rows = args->dim[ROWS],
                                          .cols = cols,
                                          .first = item(args, p[X], col),
                                          .deviation = mean,
                                          .square = square,
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

static void forward_apply(const fnn_args *args, int64_t row, int64_t rows, int64_t col, int64_t cols,
                          const fnn_batch_norm_columns *columns) {
    apply(args, piece_of(args, row, rows, col, cols), args->dim[ACTIVATION], &args->scalar[P0], columns);
}

void fnn_op_batch_norm_run(const fnn_args *args, const fnn_team *team) {
    static const fnn_batch_norm_way way = {ROWS, COLS, forward_sums, forward_finish, forward_apply};
    fnn_batch_norm_go(&way, args, team);
}

int fnn_op_batch_norm_region(const fnn_args *args, const fnn_team *team, int slot, fnn_region *region) {
    const int64_t pitch = slot == X ? args->dim[X_ROW] : slot == Y ? args->dim[Y_ROW] : 0;
    const int64_t item = slot == MEAN || slot == VAR ? (int64_t)sizeof(double) : args->table->item_size;
    return fnn_batch_norm_region(args, team, slot, pitch, item, slot == X, region);
}

fnn_work fnn_op_batch_norm_work(const fnn_args *args) {
    const double n = (double)args->dim[ROWS] * (double)args->dim[COLS], size = args->table->item_size;
    return fnn_work_of(9 * n, 2 * n * size, n * (0.03 * size + 2.0 / args->table->lanes) + 3 * (double)args->dim[COLS]);
}

int64_t fnn_op_batch_norm_scratch(const fnn_args *args, int team_size) {
    (void)team_size;
    return fnn_batch_norm_scratch_bytes(args, args->dim[ROWS], args->dim[COLS]);
}

/* ---- inference ---- */

enum { I_X, I_MEAN, I_VAR, I_WEIGHT, I_BIAS, I_Y, I_MEMO };
enum { I_ROWS, I_COLS, I_X_ROW, I_Y_ROW, I_ACTIVATION };
enum { I_EPS, I_P0, I_P1 };

static fnn_batch_norm_columns columns_of(const fnn_args *args, double constants[4][FNN_BATCH_NORM_SPAN], int64_t j) {
    return (fnn_batch_norm_columns){item(args, constants[0], j), item(args, constants[1], j),
                                    item(args, constants[2], j), item(args, constants[3], j)};
}

/* A small batch waits longer for its columns' factors, each a root and a quotient in double, than for all else. So a
 * program's op keeps those of its last run beside the variances and weights that they follow from: real[1 + 3 cols],
 * the first one 1 if they are there. Whether they still hold is seen by comparing, so no write can be missed. eps is
 * the same in every run of a program's op. Members of a team would have to meet: only a member alone keeps them. */
typedef struct memo {
    char *valid, *var, *weight, *factor;
} memo;

static int is_set(const fnn_args *args, const memo *m) {
    static const char zeros[sizeof(double)];
    return memcmp(m->valid, zeros, (size_t)args->table->item_size) != 0;
}

static void remember(const fnn_args *args, const memo *m) {
    const int64_t *d = args->dim, bytes = d[I_COLS] * args->table->item_size;
    void *const *p = args->pointer;
    double constants[4][FNN_BATCH_NORM_COLS];
    for (int64_t col = 0; col < d[I_COLS]; col += FNN_BATCH_NORM_COLS) {
        const fnn_batch_norm_columns columns = {constants[0], item(args, m->factor, col), constants[2], constants[3]};
        args->table->batch_norm_finish_inference(
            fnn_smaller(FNN_BATCH_NORM_COLS, d[I_COLS] - col), item(args, p[I_MEAN], col), item(args, p[I_VAR], col),
            item(args, p[I_WEIGHT], col), item(args, p[I_BIAS], col), args->scalar[I_EPS], &columns);
    }
    memcpy(m->var, p[I_VAR], (size_t)bytes);
    if (p[I_WEIGHT])
        memcpy(m->weight, p[I_WEIGHT], (size_t)bytes);
    memset(m->valid, 1, (size_t)args->table->item_size);
}

/* The factors of all columns, from the memo if that holds. */
static const char *factors(const fnn_args *args) {
    const int64_t item_size = args->table->item_size, bytes = args->dim[I_COLS] * item_size;
    void *const *p = args->pointer;
    char *base = p[I_MEMO];
    const memo m = {base, base + item_size, base + item_size + bytes, base + item_size + 2 * bytes};
    if (!is_set(args, &m) || memcmp(m.var, p[I_VAR], (size_t)bytes) != 0 ||
        (p[I_WEIGHT] && memcmp(m.weight, p[I_WEIGHT], (size_t)bytes) != 0))
        remember(args, &m);
    return m.factor;
}

/* The whole op by one member, the factors being known. */
static void apply_factors(const fnn_args *args, const char *factor) {
    static const double zeros[FNN_BATCH_NORM_SPAN];
    const int64_t *d = args->dim;
    void *const *p = args->pointer;
    for (int64_t col = 0; col < d[I_COLS]; col += FNN_BATCH_NORM_SPAN) {
        /* only read */
        void *offset = p[I_BIAS] ? item(args, p[I_BIAS], col) : (void *)zeros;
        const fnn_batch_norm_columns columns = {item(args, p[I_MEAN], col), item(args, (void *)factor, col), offset,
                                                NULL};
        const fnn_batch_norm piece = {.rows = d[I_ROWS],
                                      .cols = fnn_smaller(FNN_BATCH_NORM_SPAN, d[I_COLS] - col),
                                      .x = item(args, p[I_X], col),
                                      .y = item(args, p[I_Y], col),
                                      .x_row = d[I_X_ROW],
                                      .y_row = d[I_Y_ROW]};
        apply(args, piece, d[I_ACTIVATION], &args->scalar[I_P0], &columns);
    }
}

void fnn_op_batch_norm_inference_run(const fnn_args *args, const fnn_team *team) {
    const int64_t *d = args->dim;
    void *const *p = args->pointer;
    int64_t row_begin = 0, row_end = d[I_ROWS], col_begin = 0, col_end = d[I_COLS];
    if (team->size == 1 && p[I_MEMO]) {
        apply_factors(args, factors(args));
        return;
    }
    if (d[I_ROWS] >= 4 * team->size)
        fnn_team_range(team, d[I_ROWS], 1, &row_begin, &row_end);
    else
        fnn_team_range(team, d[I_COLS], FNN_BATCH_NORM_UNIT, &col_begin, &col_end);
    for (int64_t col = col_begin; col < col_end; col += FNN_BATCH_NORM_SPAN) {
        _Alignas(64) double constants[4][FNN_BATCH_NORM_SPAN];
        const int64_t cols = fnn_smaller(FNN_BATCH_NORM_SPAN, col_end - col);
        for (int64_t j = 0; j < cols; j += FNN_BATCH_NORM_COLS) {
            const fnn_batch_norm_columns columns = columns_of(args, constants, j);
            args->table->batch_norm_finish_inference(fnn_smaller(FNN_BATCH_NORM_COLS, cols - j),
                                                     item(args, p[I_MEAN], col + j), item(args, p[I_VAR], col + j),
                                                     item(args, p[I_WEIGHT], col + j), item(args, p[I_BIAS], col + j),
                                                     args->scalar[I_EPS], &columns);
        }
        const fnn_batch_norm_columns columns = columns_of(args, constants, 0);
        const fnn_batch_norm piece = {.rows = row_end - row_begin,
                                      .cols = cols,
                                      .x = item(args, p[I_X], row_begin * d[I_X_ROW] + col),
                                      .y = item(args, p[I_Y], row_begin * d[I_Y_ROW] + col),
                                      .x_row = d[I_X_ROW],
                                      .y_row = d[I_Y_ROW]};
        apply(args, piece, d[I_ACTIVATION], &args->scalar[I_P0], &columns);
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
