/* softmax.c: softmax, log-softmax and their gradients: each row by itself, threads take whole rows. */
#include "grid.h"
#include "op.h"

enum { ROWS, COLS };

/* The member's rows, in units of about FNN_PIECE elements. */
static void rows_of(const fnn_args *args, const fnn_team *team, int64_t *begin, int64_t *end) {
    *begin = *end = 0;
    if (args->dim[ROWS] > 0 && args->dim[COLS] > 0)
        fnn_team_range(team, args->dim[ROWS], 1 + FNN_PIECE / args->dim[COLS], begin, end);
}

static char *row_at(const fnn_args *args, int pointer, int row_dim, int64_t row) {
    return (char *)args->pointer[pointer] + row * args->dim[row_dim] * args->table->item_size;
}

enum { STREAM_COLS = 2048 }; /* of a row that is made in a cache and stored past it, see elementwise.c */

static int streams(const fnn_args *args, const void *y) {
    return args->stream && args->dim[COLS] <= STREAM_COLS && y != args->pointer[0] && y != args->pointer[1];
}

void fnn_op_softmax_run(const fnn_args *args, const fnn_team *team) {
    enum { X_ROW = 2, Y_ROW, KIND };
    int64_t begin, end;
    rows_of(args, team, &begin, &end);
    if (begin < end)
        (args->dim[KIND] ? args->table->log_softmax
                         : args->table->softmax)(end - begin, args->dim[COLS], row_at(args, 0, X_ROW, begin),
                                                 args->dim[X_ROW], row_at(args, 1, Y_ROW, begin), args->dim[Y_ROW]);
}

void fnn_op_softmax_backward_run(const fnn_args *args, const fnn_team *team) {
    enum { GRAD_ROW = 2, Y_ROW, DX_ROW, KIND };
    int64_t begin, end;
    _Alignas(64) char made[STREAM_COLS * sizeof(double)];
    const int past = streams(args, args->pointer[2]);
    rows_of(args, team, &begin, &end);
    for (int64_t row = begin, rows; row < end; row += rows) {
        rows = past ? 1 : end - begin;
        (args->dim[KIND] ? args->table->log_softmax_backward : args->table->softmax_backward)(
            rows, args->dim[COLS], row_at(args, 0, GRAD_ROW, row), args->dim[GRAD_ROW], row_at(args, 1, Y_ROW, row),
            args->dim[Y_ROW], past ? made : row_at(args, 2, DX_ROW, row), args->dim[DX_ROW]);
        if (past)
            args->table->stream(args->dim[COLS], made, row_at(args, 2, DX_ROW, row));
    }
}

/* A row costs its reductions; an element an exponential in one lane, or half of that where there is none. */
static fnn_work softmax_work(const fnn_args *args, double operands, double lane_ns) {
    const double rows = (double)args->dim[ROWS], n = rows * (double)args->dim[COLS];
    const double bytes = operands * n * args->table->item_size;
    return fnn_work_of(8 * n, bytes, 20 + 25 * rows + 0.02 * bytes + lane_ns * n / args->table->lanes);
}

fnn_work fnn_op_softmax_work(const fnn_args *args) { return softmax_work(args, 2, 6); }

fnn_work fnn_op_softmax_backward_work(const fnn_args *args) { return softmax_work(args, 3, args->dim[5] ? 5 : 1); }

int64_t fnn_op_softmax_scratch(const fnn_args *args, int team_size) {
    (void)args, (void)team_size;
    return 0;
}

int64_t fnn_op_softmax_backward_scratch(const fnn_args *args, int team_size) {
    (void)args, (void)team_size;
    return 0;
}
