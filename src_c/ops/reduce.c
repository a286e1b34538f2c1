/* reduce.c: sum_rows, max_rows and reduce_cols: sums and maxima over the rows, along the rows.
 *
 * Both are cut into fixed blocks of SUM_ROWS rows or SUM_COLS columns; the result of a block is a double, and blocks
 * are combined in their order. Where there are too few columns (or rows) for the team, members take blocks instead, and
 * the sums of blocks wait in scratch for all of them: the same additions, so the same bits.
 */
#include <stddef.h>

#include "grid.h"
#include "share.h"

enum { SUM_ROWS = 256, SUM_COLS = 4096, STRIP = 256, STRIP_UNIT = 64, ROW_GROUP = 64, LARGE = 1 << 20 };
enum { ROWS, COLS, X_ROW };

static int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

static const char *element(const fnn_args *args, int64_t row, int64_t col) {
    return (const char *)args->pointer[0] + (row * args->dim[X_ROW] + col) * args->table->item_size;
}

enum { REDUCE_SUM, REDUCE_MAX };

static double combine(int64_t kind, double a, double b) {
    if (kind == REDUCE_SUM)
        return a + b;
    return a > b || a != a ? a : b; /* a NaN stays */
}

/* what a reduction begins with */
static double nothing(int64_t kind) { return kind == REDUCE_SUM ? 0 : -__builtin_inf(); }

enum { ROWS_DIVISOR = 3, ACCUMULATE }; /* of sum_rows; max_rows has none, they are 0 */

/* sum_rows, max_rows: one block of rows, for some columns */
static void row_block(const fnn_args *args, int64_t kind, int64_t block, int64_t col, int64_t cols, double *result) {
    const int64_t row = block * SUM_ROWS;
    (kind == REDUCE_MAX ? args->table->column_maxima : args->table->column_sums)(
        fnn_smaller(args->dim[ROWS] - row, SUM_ROWS), cols, element(args, row, col), args->dim[X_ROW], result);
}

/* Whether members share the rows, not the columns: where there are few columns, or where x is more than a core's cache
 * holds and is best read as it lies. */
static int splits_rows(const fnn_args *args, int team_size) {
    const int64_t rows = args->dim[ROWS], cols = args->dim[COLS];
    const int large = rows >= 2 * SUM_ROWS * (int64_t)team_size && rows * cols >= LARGE;
    return team_size > 1 && rows > SUM_ROWS && (large || cols < (int64_t)team_size * STRIP_UNIT);
}

/* y for columns [begin, end); partial[blocks, cols] holds the results of the blocks, or is NULL */
static void add_row_blocks(const fnn_args *args, int64_t kind, int64_t begin, int64_t end, const double *partial) {
    const int64_t blocks = ceil_div(args->dim[ROWS], SUM_ROWS);
    const double divisor = args->dim[ROWS_DIVISOR] ? (double)args->dim[ROWS_DIVISOR] : 1;
    for (int64_t col = begin; col < end; col += STRIP) {
        const int64_t cols = fnn_smaller(end - col, STRIP);
        double total[STRIP], sums[STRIP];
        for (int64_t j = 0; j < cols; j++)
            total[j] = nothing(kind);
        for (int64_t block = 0; block < blocks; block++) {
            const double *from = partial ? partial + block * args->dim[COLS] + col : sums;
            if (!partial)
                row_block(args, kind, block, col, cols, sums);
            for (int64_t j = 0; j < cols; j++)
                total[j] = combine(kind, total[j], from[j]);
        }
        args->table->store_doubles(cols, total, divisor, (char *)args->pointer[1] + col * args->table->item_size, 1,
                                   args->dim[ACCUMULATE] != 0);
    }
}

static void run_rows(const fnn_args *args, const fnn_team *team, int64_t kind) {
    const int64_t cols = args->dim[COLS];
    double *partial = splits_rows(args, team->size) ? args->scratch : NULL;
    int64_t begin, end;
    if (partial) {
        fnn_team_range(team, ceil_div(args->dim[ROWS], SUM_ROWS), 1, &begin, &end);
        for (int64_t block = begin; block < end; block++)
            row_block(args, kind, block, 0, cols, partial + block * cols);
        fnn_team_barrier(team);
    }
    fnn_team_range(team, cols, STRIP_UNIT, &begin, &end);
    add_row_blocks(args, kind, begin, end, partial);
}

int fnn_op_sum_rows_region(const fnn_args *args, const fnn_team *team, int slot, fnn_region *region) {
    int64_t begin, end;
    if (splits_rows(args, team->size))
        return 0;
    fnn_team_range(team, args->dim[COLS], STRIP_UNIT, &begin, &end);
    fnn_region_rows(args, slot, 0, slot == 0 ? args->dim[ROWS] : 1, args->dim[X_ROW], end - begin,
                    args->table->item_size, region);
    if (region->runs > 0)
        region->start += begin * args->table->item_size;
    return 1;
}

void fnn_op_sum_rows_run(const fnn_args *args, const fnn_team *team) { run_rows(args, team, REDUCE_SUM); }
void fnn_op_max_rows_run(const fnn_args *args, const fnn_team *team) { run_rows(args, team, REDUCE_MAX); }

fnn_work fnn_op_sum_rows_work(const fnn_args *args) {
    const double n = (double)args->dim[ROWS] * (double)args->dim[COLS];
    const double bytes = (n + (double)args->dim[COLS]) * args->table->item_size;
    return fnn_work_of(n, bytes, 50 + 2 * (double)args->dim[COLS] + 0.02 * bytes);
}

fnn_work fnn_op_max_rows_work(const fnn_args *args) { return fnn_op_sum_rows_work(args); }

int64_t fnn_op_sum_rows_scratch(const fnn_args *args, int team_size) {
    if (!splits_rows(args, team_size))
        return 0;
    return ceil_div(args->dim[ROWS], SUM_ROWS) * args->dim[COLS] * (int64_t)sizeof(double);
}

int64_t fnn_op_max_rows_scratch(const fnn_args *args, int team_size) {
    return fnn_op_sum_rows_scratch(args, team_size);
}

enum { Y_ROW = 3, KIND, DIVISOR };

/* reduce_cols: one block of columns, for some rows */
static void col_block(const fnn_args *args, int64_t row, int64_t rows, int64_t block, double *result) {
    const int64_t col = block * SUM_COLS, cols = fnn_smaller(args->dim[COLS] - col, SUM_COLS);
    if (args->dim[KIND] == REDUCE_MAX)
        args->table->row_maxima(rows, cols, element(args, row, col), args->dim[X_ROW], result);
    else
        args->table->row_totals(rows, cols, element(args, row, col), args->dim[X_ROW], result);
}

static int64_t col_blocks(const fnn_args *args) { return ceil_div(args->dim[COLS], SUM_COLS); }

static int splits_cols(const fnn_args *args, int team_size) {
    return team_size > 1 && args->dim[ROWS] < 4 * (int64_t)team_size && col_blocks(args) > 1;
}

/* y for rows [row, row + rows), at most ROW_GROUP; partial[rows, blocks] or NULL */
static void add_col_blocks(const fnn_args *args, int64_t row, int64_t rows, const double *partial) {
    const int64_t blocks = col_blocks(args), kind = args->dim[KIND], y_row = args->dim[Y_ROW];
    const double divisor = kind == REDUCE_SUM && args->dim[DIVISOR] ? (double)args->dim[DIVISOR] : 1;
    double total[ROW_GROUP], sums[ROW_GROUP];
    for (int64_t i = 0; i < rows; i++)
        total[i] = nothing(kind);
    for (int64_t block = 0; block < blocks; block++) {
        if (!partial)
            col_block(args, row, rows, block, sums);
        for (int64_t i = 0; i < rows; i++)
            total[i] = combine(kind, total[i], partial ? partial[(row + i) * blocks + block] : sums[i]);
    }
    args->table->store_doubles(rows, total, divisor, (char *)args->pointer[1] + row * y_row * args->table->item_size,
                               y_row, 0);
}

void fnn_op_reduce_cols_run(const fnn_args *args, const fnn_team *team) {
    const int64_t blocks = col_blocks(args), unit = 1 + FNN_PIECE / (args->dim[COLS] + 1);
    double *partial = splits_cols(args, team->size) ? args->scratch : NULL;
    int64_t begin, end;
    if (partial) {
        fnn_team_range(team, args->dim[ROWS] * blocks, 1, &begin, &end);
        for (int64_t i = begin; i < end; i++)
            col_block(args, i / blocks, 1, i % blocks, partial + i);
        fnn_team_barrier(team);
    }
    fnn_team_range(team, args->dim[ROWS], unit, &begin, &end);
    for (int64_t row = begin; row < end; row += ROW_GROUP)
        add_col_blocks(args, row, fnn_smaller(end - row, ROW_GROUP), partial);
}

fnn_work fnn_op_reduce_cols_work(const fnn_args *args) {
    const double rows = (double)args->dim[ROWS], n = rows * (double)args->dim[COLS];
    const double bytes = (n + rows) * args->table->item_size;
    return fnn_work_of(n, bytes, 20 + 12 * rows + 0.02 * bytes);
}

int64_t fnn_op_reduce_cols_scratch(const fnn_args *args, int team_size) {
    return splits_cols(args, team_size) ? args->dim[ROWS] * col_blocks(args) * (int64_t)sizeof(double) : 0;
}
