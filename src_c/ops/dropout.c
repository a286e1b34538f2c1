/* dropout.c: which elements of the random stream an array takes (the streams themselves are kernels/dropout.h and
 * kernels/noise.h).
 *
 * Element (row, col) is number (row + first_row) * features + col + first, whatever the strides, so that shards and
 * micro-batches of one global batch draw the same bits. The ops differ in what they do with an element.
 */
#include "share.h"

enum { X, Y };
enum { ROWS, COLS, X_ROW, Y_ROW, FEATURES, FIRST, SEED, LAYER, OPTION }; /* OPTION: threshold, or uniform */
enum { STEP, FIRST_ROW, SCALE, SHIFT, FILL };
enum { CHUNK = 4096 }; /* elements; a multiple of the lanes of a block and of every vector */

/* n elements of the stream from `element` on */
typedef void (*element_fn)(const fnn_args *args, int64_t n, const void *x, void *y, int64_t element);

static uint32_t step_of(const fnn_args *args) { return (uint32_t)(int64_t)args->scalar[STEP]; }

static void dropout_elements(const fnn_args *args, int64_t n, const void *x, void *y, int64_t element) {
    const int64_t *d = args->dim;
    args->table->dropout(n, x, y, element, (int32_t)d[OPTION], (uint64_t)d[SEED], (uint32_t)d[LAYER], step_of(args));
}

static void affine_elements(const fnn_args *args, int64_t n, const void *x, void *y, int64_t element) {
    const int64_t *d = args->dim;
    const double *s = args->scalar;
    args->table->dropout_affine(n, x, y, element, (int32_t)d[OPTION], s[SCALE], s[SHIFT], s[FILL], (uint64_t)d[SEED],
                                (uint32_t)d[LAYER], step_of(args));
}

static void noise_elements(const fnn_args *args, int64_t n, const void *x, void *y, int64_t element) {
    const int64_t *d = args->dim;
    args->table->noise(n, x, y, element, args->scalar[SCALE], d[OPTION] != 0, (uint64_t)d[SEED], (uint32_t)d[LAYER],
                       step_of(args));
}

static void run_elements(element_fn function, const fnn_args *args, int64_t row, int64_t col, int64_t n) {
    const int64_t *d = args->dim;
    const int size = args->table->item_size;
    function(args, n, (const char *)args->pointer[X] + (row * d[X_ROW] + col) * size,
             (char *)args->pointer[Y] + (row * d[Y_ROW] + col) * size,
             (row + (int64_t)args->scalar[FIRST_ROW]) * d[FEATURES] + col + d[FIRST]);
}

static int one_run(const fnn_args *args) {
    const int64_t *d = args->dim;
    return d[ROWS] == 1 || (d[X_ROW] == d[COLS] && d[Y_ROW] == d[COLS] && d[FEATURES] == d[COLS]);
}

static void run_stream(element_fn function, const fnn_args *args, const fnn_team *team) {
    const int64_t *d = args->dim;
    int64_t begin, end, cols = d[COLS];
    if (d[ROWS] <= 0 || cols <= 0)
        return;
    if (one_run(args)) {
        fnn_team_range(team, d[ROWS] * cols, CHUNK, &begin, &end);
        if (begin < end)
            run_elements(function, args, 0, begin, end - begin);
        return;
    }
    fnn_team_range(team, d[ROWS], (CHUNK + cols - 1) / cols, &begin, &end);
    for (int64_t row = begin; row < end; row++)
        run_elements(function, args, row, 0, cols);
}

int fnn_op_dropout_region(const fnn_args *args, const fnn_team *team, int slot, fnn_region *region) {
    const int64_t *d = args->dim, cols = d[COLS];
    int64_t begin = 0, end = 0;
    if (one_run(args)) {
        fnn_team_range(team, d[ROWS] * cols, CHUNK, &begin, &end);
        return fnn_region_rows(args, slot, begin, end, 1, 1, args->table->item_size, region);
    }
    if (cols > 0)
        fnn_team_range(team, d[ROWS], (CHUNK + cols - 1) / cols, &begin, &end);
    return fnn_region_rows(args, slot, begin, end, d[slot == X ? X_ROW : Y_ROW], cols, args->table->item_size, region);
}

static fnn_work work_of(const fnn_args *args, double cycles) {
    double n = (double)args->dim[ROWS] * (double)args->dim[COLS];
    double lanes = args->table->lanes * args->table->item_size / 4.0; /* of the generator */
    return fnn_work_of(n, 2 * n * args->table->item_size, n * (0.2 + cycles / lanes) + 20.0 * (double)args->dim[ROWS]);
}

#define STREAM_OP(name, function, cycles)                                                                              \
    void fnn_op_##name##_run(const fnn_args *args, const fnn_team *team) { run_stream(function, args, team); }         \
    fnn_work fnn_op_##name##_work(const fnn_args *args) { return work_of(args, cycles); }                              \
    int64_t fnn_op_##name##_scratch(const fnn_args *args, int team_size) {                                             \
        (void)args;                                                                                                    \
        (void)team_size;                                                                                               \
        return 0;                                                                                                      \
    }
STREAM_OP(dropout, dropout_elements, 3)
STREAM_OP(dropout_affine, affine_elements, 3)
STREAM_OP(noise, noise_elements, 20)
