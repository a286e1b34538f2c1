/* layer_norm.c: rows are independent; the gradients of weight and bias are sums over fixed blocks of rows, in order. */
#include "grid.h"
#include "op.h"

#include <stddef.h>

#include "../base/memory.h"

static void *item(const fnn_args *args, void *base, int64_t index) {
    return base == NULL ? NULL : (char *)base + index * args->table->item_size;
}

enum { X, WEIGHT, BIAS, Y, MEAN, VAR };
enum { ROWS, COLS, X_ROW, Y_ROW };
enum { EPS };

void fnn_op_layer_norm_run(const fnn_args *args, const fnn_team *team) {
    const int64_t *d = args->dim;
    void *const *p = args->pointer;
    int64_t begin, end;
    if (d[ROWS] <= 0 || d[COLS] <= 0)
        return;
    fnn_team_range(team, d[ROWS], 1, &begin, &end);
    args->table->layer_norm(end - begin, d[COLS], item(args, p[X], begin * d[X_ROW]), d[X_ROW], p[WEIGHT], p[BIAS],
                            args->scalar[EPS], item(args, p[Y], begin * d[Y_ROW]), d[Y_ROW], (double *)p[MEAN] + begin,
                            (double *)p[VAR] + begin);
}

fnn_work fnn_op_layer_norm_work(const fnn_args *args) {
    const double n = (double)args->dim[ROWS] * (double)args->dim[COLS], size = args->table->item_size;
    return fnn_work_of(9 * n, 2 * n * size,
                       n * (0.03 * size + 1.5 / args->table->lanes) + 20 * (double)args->dim[ROWS]);
}

int64_t fnn_op_layer_norm_scratch(const fnn_args *args, int team_size) {
    (void)args;
    (void)team_size;
    return 0;
}

/* ---- backward ---- */

enum { B_GRAD, B_X, B_MEAN, B_VAR, B_WEIGHT, B_DX, B_DWEIGHT, B_DBIAS };
enum { B_ROWS, B_COLS, B_GRAD_ROW, B_X_ROW, B_DX_ROW };
enum { BLOCK = 32 };

/* [blocks, cols] sums of grad * xhat and of grad */
static void lay_out(const fnn_args *args, void *scratch, double *sums[2], size_t *bytes) {
    fnn_arena arena = {scratch, 0};
    for (int i = 0; i < 2; i++)
        sums[i] = fnn_arena_take(&arena, (size_t)((args->dim[B_ROWS] + BLOCK - 1) / BLOCK * args->dim[B_COLS]), 8);
    if (bytes)
        *bytes = arena.used;
}

void fnn_op_layer_norm_backward_run(const fnn_args *args, const fnn_team *team) {
    const int64_t *d = args->dim, rows = d[B_ROWS], cols = d[B_COLS], blocks = (rows + BLOCK - 1) / BLOCK;
    void *const *p = args->pointer;
    int64_t begin, end;
    double *sums[2];
    if (rows <= 0 || cols <= 0)
        return;
    lay_out(args, args->scratch, sums, NULL);
    fnn_team_range(team, blocks, 1, &begin, &end);
    for (int64_t block = begin; block < end; block++) {
        const int64_t row = block * BLOCK;
        args->table->layer_norm_backward(
            fnn_smaller(BLOCK, rows - row), cols, item(args, p[B_GRAD], row * d[B_GRAD_ROW]), d[B_GRAD_ROW],
            item(args, p[B_X], row * d[B_X_ROW]), d[B_X_ROW], (const double *)p[B_MEAN] + row,
            (const double *)p[B_VAR] + row, p[B_WEIGHT], args->scalar[0], item(args, p[B_DX], row * d[B_DX_ROW]),
            d[B_DX_ROW], sums[0] + block * cols, sums[1] + block * cols);
    }
    fnn_team_barrier(team);
    fnn_team_range(team, cols, 64, &begin, &end);
    if (begin >= end)
        return;
    args->table->batch_norm_add(blocks, end - begin, cols, sums[0] + begin, sums[1] + begin);
    for (int i = 0; i < 2; i++)
        if (p[B_DWEIGHT + i])
            args->table->store_doubles(end - begin, sums[i] + begin, 1, item(args, p[B_DWEIGHT + i], begin), 1, 0);
}

fnn_work fnn_op_layer_norm_backward_work(const fnn_args *args) {
    const double n = (double)args->dim[B_ROWS] * (double)args->dim[B_COLS], size = args->table->item_size;
    return fnn_work_of(14 * n, 3 * n * size,
                       n * (0.04 * size + 3.0 / args->table->lanes) + 30 * (double)args->dim[B_ROWS]);
}

int64_t fnn_op_layer_norm_backward_scratch(const fnn_args *args, int team_size) {
    double *sums[2];
    size_t bytes;
    (void)team_size;
    lay_out(args, NULL, sums, &bytes);
    return (int64_t)bytes;
}
