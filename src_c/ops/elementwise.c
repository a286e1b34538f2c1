/* elementwise.c: unary, unary_backward, binary, where and fill.
 *
 * Rows that follow each other without a gap are one long row. Threads take whole pieces of ops/grid.h; an element's
 * value depends on its own inputs only. Where memory is the limit, a result that the caches cannot hold is stored past
 * them: a plain store would read every line first.
 */
#include <stddef.h>

#include "grid.h"
#include "share.h"

enum { ROWS, COLS };

/* An operand of the op: element (row, col) is at base + (row * row_stride + col * col_step) * item. */
typedef struct operand {
    char *base;
    int64_t row_stride;
    int col_step; /* 0 or 1 */
} operand;

static operand whole_rows(const fnn_args *args, int pointer, int row_dim) {
    const operand o = {args->pointer[pointer], args->dim[row_dim], 1};
    return o;
}

static operand broadcast(const fnn_args *args, int pointer, int row_dim, int col_dim) {
    const int64_t row_stride = args->dim[row_dim];
    const int column = args->dim[COLS] == 1; /* its step is never taken: let it match the rows */
    const operand o = {args->pointer[pointer], row_stride, column ? row_stride == 1 : args->dim[col_dim] != 0};
    return o;
}

static void *at(const operand *o, int64_t row, int64_t col, int64_t item) {
    return o->base + (row * o->row_stride + col * o->col_step) * item;
}

/* One long row where no operand has a gap between its rows, else the rows as they are. */
static fnn_grid grid_of(const fnn_args *args, const operand *operands, int count) {
    const int64_t rows = args->dim[ROWS], cols = args->dim[COLS];
    int gapless = 1;
    for (int i = 0; i < count; i++)
        gapless &= rows == 1 || operands[i].row_stride == operands[i].col_step * cols;
    return gapless ? fnn_grid_of(rows * cols > 0, rows * cols) : fnn_grid_of(rows, cols);
}

/* Whether the last operand, which is written, goes past the caches; not if it is an input too: it is there already. */
static int streams(const fnn_args *args, const operand *operands, int count) {
    int apart = args->stream;
    for (int i = 0; i < count - 1; i++)
        apart &= operands[i].base != operands[count - 1].base;
    return apart;
}

/* Runs `call`, an expression of row, col, n and of y, where to write, for every row of the member's pieces. */
#define FOR_ROWS_OF_PIECES(operands, count, call)                                                                      \
    do {                                                                                                               \
        const fnn_grid grid = grid_of(args, operands, count);                                                          \
        int64_t begin, end;                                                                                            \
        fnn_team_range(team, grid.pieces, 1, &begin, &end);                                                            \
        for (int64_t index = begin; index < end; index++) {                                                            \
            const fnn_piece piece = fnn_grid_piece(&grid, index);                                                      \
            const int64_t col = piece.col, n = piece.cols;                                                             \
            for (int64_t row = piece.row; row < piece.row + piece.rows; row++) {                                       \
                void *const y = at(&(operands)[(count)-1], row, col, item);                                            \
                call;                                                                                                  \
            }                                                                                                          \
        }                                                                                                              \
    } while (0)

/* Measured on one core: a call per row, bytes through L2, and what one element of arithmetic takes in one lane. */
static fnn_work elementwise_work(const fnn_args *args, double operands, double lane_ns) {
    const double rows = (double)args->dim[ROWS], n = rows * (double)args->dim[COLS];
    const double bytes = operands * n * args->table->item_size;
    return fnn_work_of(n, bytes, 20 + 3 * rows + 0.02 * bytes + lane_ns * n / args->table->lanes);
}

/* Everything that is not a handful of instructions is taken to hold an exponential or a division. */
static double unary_lane_ns(int64_t kind) {
    switch (kind) {
    case FNN_UNARY_identity:
    case FNN_UNARY_relu:
    case FNN_UNARY_negative:
    case FNN_UNARY_absolute:
    case FNN_UNARY_square:
    case FNN_UNARY_sign:
    case FNN_UNARY_heaviside:
    case FNN_UNARY_leaky_relu:
    case FNN_UNARY_shifted_relu:
    case FNN_UNARY_hardtanh:
        return 0;
    case FNN_UNARY_gelu:
    case FNN_UNARY_erf:
        return 12;
    case FNN_UNARY_gelu_tanh:
    case FNN_UNARY_softplus:
    case FNN_UNARY_mish:
        return 8;
    default:
        return 5;
    }
}

void fnn_op_unary_run(const fnn_args *args, const fnn_team *team) {
    enum { X_ROW = 2, Y_ROW, KIND };
    const operand o[] = {whole_rows(args, 0, X_ROW), whole_rows(args, 1, Y_ROW)};
    const fnn_unary_fn past = streams(args, o, 2) ? args->table->unary_past[args->dim[KIND]] : NULL;
    const fnn_unary_fn f = past ? past : args->table->unary[args->dim[KIND]];
    const int64_t item = args->table->item_size;
    FOR_ROWS_OF_PIECES(o, 2, f(n, at(&o[0], row, col, item), y, args->scalar[0], args->scalar[1]));
}

/* The member's pieces of a grid, as rows of an operand; pieces side by side: all columns of their rows. */
static int pieces_region(const fnn_grid *grid, const fnn_team *team, const operand *o, int64_t item,
                         fnn_region *region) {
    int64_t begin, end;
    fnn_team_range(team, grid->pieces, 1, &begin, &end);
    *region = (fnn_region){o->base, 0, 0, 0};
    if (begin >= end)
        return 1;
    const fnn_piece first = fnn_grid_piece(grid, begin), last = fnn_grid_piece(grid, end - 1);
    const int one_row = first.row == last.row;
    region->start = at(o, first.row, one_row ? first.col : 0, item);
    region->runs = last.row + last.rows - first.row;
    region->pitch = o->row_stride * item;
    region->bytes = (one_row ? last.col + last.cols - first.col : grid->cols) * item;
    return 1;
}

int fnn_op_unary_region(const fnn_args *args, const fnn_team *team, int slot, fnn_region *region) {
    const operand o[] = {whole_rows(args, 0, 2), whole_rows(args, 1, 3)};
    const fnn_grid grid = grid_of(args, o, 2);
    return pieces_region(&grid, team, &o[slot], args->table->item_size, region);
}

int fnn_op_unary_backward_region(const fnn_args *args, const fnn_team *team, int slot, fnn_region *region) {
    const operand o[] = {whole_rows(args, 0, 2), whole_rows(args, 1, 3), whole_rows(args, 2, 4)};
    const fnn_grid grid = grid_of(args, o, 3);
    return pieces_region(&grid, team, &o[slot], args->table->item_size, region);
}

fnn_work fnn_op_unary_work(const fnn_args *args) { return elementwise_work(args, 2, unary_lane_ns(args->dim[4])); }

void fnn_op_unary_backward_run(const fnn_args *args, const fnn_team *team) {
    enum { GRAD_ROW = 2, X_ROW, DX_ROW, KIND, OUTPUT };
    const operand o[] = {whole_rows(args, 0, GRAD_ROW), whole_rows(args, 1, X_ROW), whole_rows(args, 2, DX_ROW)};
    const fnn_unary_backward_fn f =
        (args->dim[OUTPUT] ? args->table->unary_backward_output : args->table->unary_backward)[args->dim[KIND]];
    const int64_t item = args->table->item_size;
    FOR_ROWS_OF_PIECES(o, 3,
                       f(n, at(&o[0], row, col, item), at(&o[1], row, col, item), y, args->scalar[0], args->scalar[1]));
}

fnn_work fnn_op_unary_backward_work(const fnn_args *args) {
    return elementwise_work(args, 3, args->dim[6] ? 0 : unary_lane_ns(args->dim[5]));
}

void fnn_op_binary_run(const fnn_args *args, const fnn_team *team) {
    enum { A_ROW = 2, A_COL, B_ROW, B_COL, Y_ROW, KIND };
    const operand o[] = {broadcast(args, 0, A_ROW, A_COL), broadcast(args, 1, B_ROW, B_COL),
                         whole_rows(args, 2, Y_ROW)};
    const fnn_binary_fn f = (streams(args, o, 3) ? args->table->binary_past : args->table->binary)[args->dim[KIND]];
    const int64_t item = args->table->item_size;
    FOR_ROWS_OF_PIECES(o, 3,
                       f(n, at(&o[0], row, col, item), o[0].col_step, at(&o[1], row, col, item), o[1].col_step, y));
}

fnn_work fnn_op_binary_work(const fnn_args *args) {
    return elementwise_work(args, 3, args->dim[7] == FNN_BINARY_divide ? 1 : 0);
}

void fnn_op_where_run(const fnn_args *args, const fnn_team *team) {
    enum { MASK_ROW = 2, MASK_COL, A_ROW, A_COL, B_ROW, B_COL, Y_ROW, BYTES };
    const operand o[] = {broadcast(args, 0, MASK_ROW, MASK_COL), broadcast(args, 1, A_ROW, A_COL),
                         broadcast(args, 2, B_ROW, B_COL), whole_rows(args, 3, Y_ROW)};
    const int64_t item = args->table->item_size, mask_item = args->dim[BYTES] ? 1 : item;
    void (*f)(int64_t, const void *, int, const void *, int, const void *, int, void *) =
        args->dim[BYTES] ? args->table->where_bytes : args->table->where;
    FOR_ROWS_OF_PIECES(o, 4,
                       f(n, at(&o[0], row, col, mask_item), o[0].col_step, at(&o[1], row, col, item), o[1].col_step,
                         at(&o[2], row, col, item), o[2].col_step, y));
}

fnn_work fnn_op_where_work(const fnn_args *args) { return elementwise_work(args, 4, 0); }

void fnn_op_fill_run(const fnn_args *args, const fnn_team *team) {
    int64_t begin, end;
    fnn_team_range(team, args->dim[0], FNN_PIECE, &begin, &end);
    if (begin < end)
        args->table->fill(end - begin, (char *)args->pointer[0] + begin * args->table->item_size, args->scalar[0]);
}

fnn_work fnn_op_fill_work(const fnn_args *args) {
    const double bytes = (double)args->dim[0] * args->table->item_size;
    return fnn_work_of(0, bytes, 10 + 0.02 * bytes);
}

#define NO_SCRATCH(name)                                                                                               \
    int64_t fnn_op_##name##_scratch(const fnn_args *args, int team_size) {                                             \
        (void)args, (void)team_size;                                                                                   \
        return 0;                                                                                                      \
    }
NO_SCRATCH(unary)
NO_SCRATCH(unary_backward)
NO_SCRATCH(binary)
NO_SCRATCH(where)
NO_SCRATCH(fill)
