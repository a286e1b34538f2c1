/* augment.c: images are resampled one by one, planes smoothed in blocks of rows; who does what changes no bit.
 *
 * A member brings an image into its own scratch, converted, its channels apart and with a border, draws and smooths the
 * field there, and writes the result: all of it stays in L1 or L2, and only x and y are read and written far away.
 */
#include <string.h>

#include "../include/fastnn.h"
#include "op.h"

enum { X, INDEX, MATRIX, FIELD, WEIGHTS, Y };
enum { IMAGES, HEIGHT, WIDTH, CHANNELS, NEAREST, SRC_DTYPE, RADIUS, SEED, FIRST };
enum { FILL, ALPHA };

/* Elements of an image that is still copied; larger ones are read where they are. */
enum { COPIED = 1 << 19 };
enum { AHEAD_BYTES = 8192 };

/* A member's scratch: offsets in bytes, 0 where nothing is needed (a border comes first). */
typedef struct remap_scratch {
    int64_t border, converted, noise, field, window, lines, bytes;
} remap_scratch;

static int64_t take(int64_t *bytes, int64_t elements, int64_t size) {
    const int64_t at = *bytes;
    *bytes += (elements * size + 63) / 64 * 64;
    return at;
}

static int is_copied(const fnn_args *args) {
    return args->dim[HEIGHT] * args->dim[WIDTH] * args->dim[CHANNELS] <= COPIED;
}

static int is_converted(const fnn_args *args) {
    return args->dim[SRC_DTYPE] != (args->table->item_size == 4 ? FNN_FLOAT32 : FNN_FLOAT64);
}

static remap_scratch scratch_of(const fnn_args *args) {
    const int64_t *d = args->dim, pixels = d[HEIGHT] * d[WIDTH], size = args->table->item_size;
    remap_scratch s = {0};
    if (is_copied(args))
        s.border = take(&s.bytes, d[CHANNELS] * (d[HEIGHT] + 2) * (d[WIDTH] + 2) + FNN_REMAP_SLACK, size);
    if (is_converted(args))
        s.converted = take(&s.bytes, pixels * d[CHANNELS], size);
    if (args->pointer[WEIGHTS]) {
        s.noise = take(&s.bytes, 2 * pixels, size);
        s.field = take(&s.bytes, 2 * pixels, size);
        s.window = take(&s.bytes, 2 * (d[RADIUS] + FNN_SMOOTH_PAD) + 1, size);
        s.lines = take(&s.bytes, FNN_SMOOTH_ROWS * d[WIDTH], size);
    }
    s.bytes += 64; /* members do not share a cache line */
    return s;
}

/* The image's pixels, converted and with a border where that is wanted. */
static void bring(const fnn_args *args, const remap_scratch *s, char *own, int64_t number, fnn_remap *m) {
    const int64_t *d = args->dim, pixels = d[HEIGHT] * d[WIDTH], n = pixels * d[CHANNELS];
    const int size = args->table->item_size;
    const char *image = (const char *)args->pointer[X] + number * n * fnn_source_bytes[d[SRC_DTYPE]];
    if (is_converted(args)) {
        args->table->gather_rows(1, n, args->pointer[X], n, (int)d[SRC_DTYPE], &number, own + s->converted, n);
        image = own + s->converted;
    }
    m->x = image;
    m->row = d[WIDTH] * d[CHANNELS], m->column = d[CHANNELS], m->channel = 1;
    m->border = is_copied(args);
    if (!m->border)
        return;
    const int64_t row = d[WIDTH] + 2, plane = row * (d[HEIGHT] + 2);
    char *first = own + s->border + (row + 1) * size;
    for (int64_t k = 0; k < d[CHANNELS]; k++)
        args->table->copy_2d(d[HEIGHT], d[WIDTH], image + k * size, m->row, m->column, first + k * plane * size, row, 1,
                             0);
    m->x = first;
    m->row = row, m->column = 1, m->channel = plane;
}

/* The field of an image, if there is one. */
static void displace(const fnn_args *args, const remap_scratch *s, char *own, int64_t image, fnn_remap *m) {
    const int64_t *d = args->dim, pixels = d[HEIGHT] * d[WIDTH];
    const int size = args->table->item_size;
    if (args->pointer[FIELD]) {
        m->field = (const char *)args->pointer[FIELD] + 2 * image * pixels * size;
        m->field_step = 2, m->field_columns = 1;
    }
    if (!args->pointer[WEIGHTS])
        return;
    memset(own + s->noise, 0, (size_t)(2 * pixels * size));
    args->table->noise(2 * pixels, own + s->noise, own + s->noise, (d[FIRST] + image) * 2 * pixels, args->scalar[ALPHA],
                       1, (uint64_t)d[SEED], 0, 0);
    for (int64_t plane = 0; plane < 2; plane++)
        args->table->smooth_rows(d[HEIGHT], d[WIDTH], 0, d[HEIGHT], own + s->noise + plane * pixels * size,
                                 own + s->window, d[RADIUS], own + s->lines, own + s->field + plane * pixels * size);
    m->field = own + s->field;
    m->field_step = 1, m->field_columns = pixels, m->field_turned = 1;
}

static int64_t number_of(const fnn_args *args, int64_t image) {
    const int64_t *index = args->pointer[INDEX];
    return index ? index[image] : image;
}

/* Rows of a shuffled data set are anywhere in memory: ask for the next image while this one is worked on. */
static void ask_for(const fnn_args *args, int64_t image) {
    const int64_t *d = args->dim;
    const int64_t bytes = d[HEIGHT] * d[WIDTH] * d[CHANNELS] * fnn_source_bytes[d[SRC_DTYPE]];
    const char *x = (const char *)args->pointer[X] + number_of(args, image) * bytes;
    for (int64_t line = 0; line < bytes && line < AHEAD_BYTES; line += 64)
        __builtin_prefetch(x + line);
}

void fnn_op_remap_run(const fnn_args *args, const fnn_team *team) {
    const int64_t *d = args->dim, height = d[HEIGHT], pixels = height * d[WIDTH], n = pixels * d[CHANNELS];
    const int size = args->table->item_size;
    int64_t begin, end;
    if (d[IMAGES] <= 0 || n <= 0)
        return;
    fnn_team_range(team, d[IMAGES] * height, d[IMAGES] >= 4 * team->size ? height : 1, &begin, &end);
    if (begin >= end)
        return;
    const remap_scratch s = scratch_of(args);
    char *own = (char *)args->scratch + team->rank * s.bytes;
    if (is_copied(args))
        args->table->fill(d[CHANNELS] * (height + 2) * (d[WIDTH] + 2) + FNN_REMAP_SLACK, own, args->scalar[FILL]);
    if (args->pointer[WEIGHTS])
        args->table->smooth_window(d[RADIUS], args->pointer[WEIGHTS], own + s.window);
    for (int64_t row = begin, last; row < end; row = last) {
        const int64_t image = row / height;
        last = (image + 1) * height < end ? (image + 1) * height : end;
        fnn_remap m = {.height = height,
                       .width = d[WIDTH],
                       .channels = d[CHANNELS],
                       .matrix = (const double *)args->pointer[MATRIX] + 6 * image,
                       .y = (char *)args->pointer[Y] + image * n * size,
                       .nearest = d[NEAREST] != 0,
                       .fill = args->scalar[FILL]};
        bring(args, &s, own, number_of(args, image), &m);
        if (last < end)
            ask_for(args, image + 1);
        displace(args, &s, own, image, &m);
        args->table->remap_rows(&m, row - image * height, last - image * height);
    }
}

/* Estimated ns of smoothing n elements by 2 radius + 1 weights, across and along. */
static double smooth_ns(const fnn_args *args, double n, double radius) {
    return 0.3 * n * (1 + 2 * (2 * radius + 1) / args->table->lanes);
}

fnn_work fnn_op_remap_work(const fnn_args *args) {
    const int64_t *d = args->dim;
    const double pixels = (double)d[IMAGES] * (double)d[HEIGHT] * (double)d[WIDTH], n = pixels * (double)d[CHANNELS];
    double ns = (pixels + 8 * n) / args->table->lanes;
    if (args->pointer[WEIGHTS])
        ns += pixels + smooth_ns(args, 2 * pixels, (double)d[RADIUS]);
    return fnn_work_of(8 * n, n * (args->table->item_size + fnn_source_bytes[d[SRC_DTYPE]]), ns);
}

int64_t fnn_op_remap_scratch(const fnn_args *args, int team_size) { return team_size * scratch_of(args).bytes; }

enum { S_X, S_WEIGHTS, S_Y };
enum { S_PLANES, S_HEIGHT, S_WIDTH, S_RADIUS };

/* Bytes of the window, and of a member's lines after it. */
static int64_t window_bytes(const fnn_args *args) {
    return ((2 * (args->dim[S_RADIUS] + FNN_SMOOTH_PAD) + 1) * args->table->item_size + 63) / 64 * 64;
}

static int64_t lines_bytes(const fnn_args *args) {
    return (FNN_SMOOTH_ROWS * args->dim[S_WIDTH] * args->table->item_size + 63) / 64 * 64 + 64;
}

void fnn_op_smooth_run(const fnn_args *args, const fnn_team *team) {
    const int64_t *d = args->dim, height = d[S_HEIGHT], width = d[S_WIDTH];
    const int size = args->table->item_size;
    int64_t begin, end;
    if (d[S_PLANES] <= 0 || height <= 0 || width <= 0)
        return;
    char *window = (char *)args->scratch + team->rank * (window_bytes(args) + lines_bytes(args));
    args->table->smooth_window(d[S_RADIUS], args->pointer[S_WEIGHTS], window);
    fnn_team_range(team, d[S_PLANES] * height,
                   d[S_PLANES] * height >= 4 * FNN_SMOOTH_ROWS * team->size ? FNN_SMOOTH_ROWS : 1, &begin, &end);
    for (int64_t row = begin, last; row < end; row = last) {
        const int64_t plane = row / height;
        last = (plane + 1) * height < end ? (plane + 1) * height : end;
        args->table->smooth_rows(height, width, row - plane * height, last - row,
                                 (const char *)args->pointer[S_X] + plane * height * width * size, window, d[S_RADIUS],
                                 window + window_bytes(args), (char *)args->pointer[S_Y] + row * width * size);
    }
}

fnn_work fnn_op_smooth_work(const fnn_args *args) {
    const int64_t *d = args->dim;
    const double n = (double)d[S_PLANES] * (double)d[S_HEIGHT] * (double)d[S_WIDTH];
    return fnn_work_of(4 * n * (2 * (double)d[S_RADIUS] + 1), 2 * n * args->table->item_size,
                       smooth_ns(args, n, (double)d[S_RADIUS]));
}

int64_t fnn_op_smooth_scratch(const fnn_args *args, int team_size) {
    return team_size * (window_bytes(args) + lines_bytes(args));
}
