/* batch_norm_backward.c: gradients of batch norm in training. */
#include "batch_norm.h"

enum { GRAD, X, MEAN, VAR, WEIGHT, DX, DWEIGHT, DBIAS };
enum { ROWS, COLS, GRAD_ROW, X_ROW, DX_ROW };
enum { EPS };

/* Rows and columns of the operands; dx may be grad or x, it is written only where both have been read. */
static fnn_batch_norm backward_piece(const fnn_args *args, int64_t row, int64_t rows, int64_t col, int64_t cols) {
    const int64_t *d = args->dim;
    return (fnn_batch_norm){.rows = rows,
                            .cols = cols,
                            .x = fnn_batch_norm_item(args, args->pointer[X], row * d[X_ROW] + col),
                            .grad = fnn_batch_norm_item(args, args->pointer[GRAD], row * d[GRAD_ROW] + col),
                            .y = fnn_batch_norm_item(args, args->pointer[DX], row * d[DX_ROW] + col),
                            .x_row = d[X_ROW],
                            .grad_row = d[GRAD_ROW],
                            .y_row = d[DX_ROW]};
}

static void backward_sums(const fnn_args *args, int64_t row, int64_t rows, int64_t col, int64_t cols, double *grad,
                          double *product) {
    const fnn_batch_norm piece = backward_piece(args, row, rows, col, cols);
    args->table->batch_norm_gradient_sums(&piece, (const double *)args->pointer[MEAN] + col, grad, product);
}

static void backward_finish(const fnn_args *args, int64_t col, int64_t cols, double *grad, double *product,
                            const fnn_batch_norm_columns *columns) {
    void *const *p = args->pointer;
    args->table->batch_norm_add((args->dim[ROWS] + FNN_BATCH_NORM_ROWS - 1) / FNN_BATCH_NORM_ROWS, cols,
                                args->dim[COLS], grad, product);
    const fnn_batch_norm_finish_gradient finish = {.rows = args->dim[ROWS],
                                                   .cols = cols,
                                                   .grad_sum = grad,
                                                   .product_sum = product,
                                                   .mean = (const double *)p[MEAN] + col,
                                                   .var = (const double *)p[VAR] + col,
                                                   .weight = fnn_batch_norm_item(args, p[WEIGHT], col),
                                                   .eps = args->scalar[EPS],
                                                   .dweight = fnn_batch_norm_item(args, p[DWEIGHT], col),
                                                   .dbias = fnn_batch_norm_item(args, p[DBIAS], col)};
    args->table->batch_norm_finish_gradient(&finish, columns);
}

static void backward_apply(const fnn_args *args, int64_t row, int64_t rows, int64_t col, int64_t cols,
                           const fnn_batch_norm_columns *columns) {
    const fnn_batch_norm piece = backward_piece(args, row, rows, col, cols);
    if (args->pointer[DX] != NULL)
        args->table->batch_norm_input_gradient(&piece, columns);
}

void fnn_op_batch_norm_backward_run(const fnn_args *args, const fnn_team *team) {
    static const fnn_batch_norm_way way = {ROWS, COLS, backward_sums, backward_finish, backward_apply};
    fnn_batch_norm_go(&way, args, team);
}

int fnn_op_batch_norm_backward_region(const fnn_args *args, const fnn_team *team, int slot, fnn_region *region) {
    const int64_t *d = args->dim;
    const int64_t pitch = slot == GRAD ? d[GRAD_ROW] : slot == X ? d[X_ROW] : slot == DX ? d[DX_ROW] : 0;
    const int64_t item = slot == MEAN || slot == VAR ? (int64_t)sizeof(double) : args->table->item_size;
    return fnn_batch_norm_region(args, team, slot, pitch, item, slot == MEAN, region);
}

fnn_work fnn_op_batch_norm_backward_work(const fnn_args *args) {
    const double n = (double)args->dim[ROWS] * (double)args->dim[COLS], size = args->table->item_size;
    return fnn_work_of(9 * n, 3 * n * size, n * (0.04 * size + 2 / args->table->lanes) + 5 * (double)args->dim[COLS]);
}

int64_t fnn_op_batch_norm_backward_scratch(const fnn_args *args, int team_size) {
    (void)team_size;
    return fnn_batch_norm_scratch_bytes(args, args->dim[ROWS], args->dim[COLS]);
}
