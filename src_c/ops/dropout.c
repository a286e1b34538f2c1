/* dropout.c: which elements of the random stream an array takes (the stream itself is kernels/dropout.h).
 *
 * Element (row, col) is number (row + first_row) * features + col + first, whatever the strides, so that shards and
 * micro-batches of one global batch draw the same bits.
 */
#include "op.h"

enum { X, Y };
enum { ROWS, COLS, X_ROW, Y_ROW, FEATURES, FIRST, THRESHOLD, SEED, LAYER };
enum { STEP, FIRST_ROW };
enum { CHUNK = 4096 }; /* elements; a multiple of the lanes of a block and of every vector */

static void run_elements(const fnn_args *args, int64_t row, int64_t col, int64_t n) {
    const int64_t *d = args->dim;
    int size = args->table->item_size;
    int64_t element = (row + (int64_t)args->scalar[FIRST_ROW]) * d[FEATURES] + col + d[FIRST];
    args->table->dropout(n, (const char *)args->pointer[X] + (row * d[X_ROW] + col) * size,
                         (char *)args->pointer[Y] + (row * d[Y_ROW] + col) * size, element, (int32_t)d[THRESHOLD],
                         (uint64_t)d[SEED], (uint32_t)d[LAYER], (uint32_t)(int64_t)args->scalar[STEP]);
}

void fnn_op_dropout_run(const fnn_args *args, const fnn_team *team) {
    const int64_t *d = args->dim;
    int64_t begin, end, cols = d[COLS];
    if (d[ROWS] <= 0 || cols <= 0)
        return;
    if (d[ROWS] == 1 || (d[X_ROW] == cols && d[Y_ROW] == cols && d[FEATURES] == cols)) { /* one run of the stream */
        fnn_team_range(team, d[ROWS] * cols, CHUNK, &begin, &end);
        if (begin < end)
            run_elements(args, 0, begin, end - begin);
        return;
    }
    fnn_team_range(team, d[ROWS], (CHUNK + cols - 1) / cols, &begin, &end);
    for (int64_t row = begin; row < end; row++)
        run_elements(args, row, 0, cols);
}

fnn_work fnn_op_dropout_work(const fnn_args *args) {
    double n = (double)args->dim[ROWS] * (double)args->dim[COLS];
    double bytes = 2 * n * args->table->item_size;
    double lanes = args->table->lanes * args->table->item_size / 4.0; /* of the generator */
    return fnn_work_of(n, bytes, n * (0.2 + 3.0 / lanes) + 20.0 * (double)args->dim[ROWS]);
}

int64_t fnn_op_dropout_scratch(const fnn_args *args, int team_size) {
    (void)args;
    (void)team_size;
    return 0;
}
