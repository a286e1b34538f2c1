/* augment.c: images are resampled row by row and fields smoothed row by row; who does which row changes no bit. */
#include <string.h>

#include "op.h"

enum { X, MATRIX, FIELD, Y };
enum { IMAGES, HEIGHT, WIDTH, CHANNELS, NEAREST };

void fnn_op_remap_run(const fnn_args *args, const fnn_team *team) {
    const int64_t *d = args->dim, height = d[HEIGHT], pixels = height * d[WIDTH];
    const int size = args->table->item_size;
    int64_t begin, end;
    if (d[IMAGES] <= 0 || pixels <= 0 || d[CHANNELS] <= 0)
        return;
    fnn_team_range(team, d[IMAGES] * height, 1, &begin, &end);
    for (int64_t row = begin, last; row < end; row = last) {
        const int64_t image = row / height;
        last = (image + 1) * height < end ? (image + 1) * height : end;
        const fnn_remap m = {
            .height = height,
            .width = d[WIDTH],
            .channels = d[CHANNELS],
            .x = (const char *)args->pointer[X] + image * pixels * d[CHANNELS] * size,
            .matrix = (const double *)args->pointer[MATRIX] + 6 * image,
            .field = args->pointer[FIELD] ? (const char *)args->pointer[FIELD] + 2 * image * pixels * size : NULL,
            .y = (char *)args->pointer[Y] + image * pixels * d[CHANNELS] * size,
            .nearest = d[NEAREST] != 0,
            .fill = args->scalar[0]};
        args->table->remap_rows(&m, row - image * height, last - image * height);
    }
}

fnn_work fnn_op_remap_work(const fnn_args *args) {
    const int64_t *d = args->dim;
    const double pixels = (double)d[IMAGES] * (double)d[HEIGHT] * (double)d[WIDTH], n = pixels * (double)d[CHANNELS];
    return fnn_work_of(8 * n, 2 * n * args->table->item_size, 6 * pixels + 2 * n);
}

int64_t fnn_op_remap_scratch(const fnn_args *args, int team_size) {
    (void)args;
    (void)team_size;
    return 0;
}

enum { S_X, S_WEIGHTS, S_Y };
enum { S_PLANES, S_HEIGHT, S_WIDTH, S_RADIUS };

/* Bytes of a member's row: the one between the two passes, with zeros on both sides. */
static int64_t row_bytes(const fnn_args *args) {
    return ((args->dim[S_WIDTH] + 2 * args->dim[S_RADIUS]) * args->table->item_size + 63) / 64 * 64;
}

void fnn_op_smooth_run(const fnn_args *args, const fnn_team *team) {
    const int64_t *d = args->dim, height = d[S_HEIGHT], width = d[S_WIDTH], radius = d[S_RADIUS];
    const int size = args->table->item_size;
    int64_t begin, end;
    if (d[S_PLANES] <= 0 || height <= 0 || width <= 0)
        return;
    char *padded = (char *)args->scratch + team->rank * row_bytes(args);
    memset(padded, 0, (size_t)row_bytes(args));
    fnn_team_range(team, d[S_PLANES] * height, 1, &begin, &end);
    for (int64_t row = begin; row < end; row++) {
        const int64_t plane = row / height;
        args->table->smooth_across(height, width, row - plane * height,
                                   (const char *)args->pointer[S_X] + plane * height * width * size,
                                   args->pointer[S_WEIGHTS], radius, padded + radius * size);
        args->table->smooth_along(width, padded, args->pointer[S_WEIGHTS], radius,
                                  (char *)args->pointer[S_Y] + row * width * size);
    }
}

fnn_work fnn_op_smooth_work(const fnn_args *args) {
    const int64_t *d = args->dim;
    const double n = (double)d[S_PLANES] * (double)d[S_HEIGHT] * (double)d[S_WIDTH];
    const double taps = 2 * (2 * (double)d[S_RADIUS] + 1);
    return fnn_work_of(2 * n * taps, 2 * n * args->table->item_size, 0.3 * n * (1 + taps / args->table->lanes));
}

int64_t fnn_op_smooth_scratch(const fnn_args *args, int team_size) { return team_size * row_bytes(args); }
