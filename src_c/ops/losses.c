/* losses.c: losses and their gradients in one visit.
 *
 * Rows (cross-entropy) or elements (pointwise) are cut into fixed chunks; each chunk's sum is kept, and one member adds
 * them in order. Bits depend neither on the team nor on strides.
 */
#include "share.h"

#include <string.h>

enum { MEAN, SUM, NONE };

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

static void store_real(const fnn_args *args, void *to, double value) {
    if (to == NULL)
        return;
    if (args->table->item_size == 4)
        *(float *)to = (float)value;
    else
        *(double *)to = value;
}

static void *at(const fnn_args *args, const void *base, int64_t index) {
    return base == NULL ? NULL : (char *)base + index * args->table->item_size;
}

/* What a mean multiplies by: the mean of nothing (no row counts, or no weight) is 0 with gradient 0, never NaN. */
static double mean_scale(double divisor) { return divisor != 0 ? 1 / divisor : 0; }

/* The members' chunk sums become the loss, on one of them. */
static void finish_loss(const fnn_args *args, const fnn_team *team, int64_t chunks, int reduction, double divisor,
                        void *loss, void *weight_sum) {
    const double *sums = args->scratch;
    double total = 0;
    fnn_team_barrier(team);
    if (team->rank != 0)
        return;
    for (int64_t i = 0; i < chunks; i++)
        total += sums[i];
    if (reduction != NONE)
        store_real(args, loss, reduction != MEAN ? total : divisor != 0 ? total / divisor : 0);
    store_real(args, weight_sum, divisor);
}

/* ---- softmax cross-entropy ---- */

enum { LOGITS, LABELS, TARGET, CLASS_WEIGHT, SAMPLE_WEIGHT, LOSS, DLOGITS, WEIGHT_SUM };
enum { ROWS, COLS, LOGITS_ROW, TARGET_ROW, DLOGITS_ROW, REDUCTION, IGNORE_INDEX };
enum { SMOOTHING };

/* Rows of a block. Few where they are long, so that a batch of 64 has work for more than one thread. */
static int64_t cross_entropy_rows(const fnn_args *args) { return args->dim[COLS] > 128 ? 16 : FNN_CROSS_ENTROPY_ROWS; }

static fnn_cross_entropy cross_entropy_block(const fnn_args *args, int64_t row, int64_t rows) {
    const int64_t *d = args->dim;
    void *const *p = args->pointer;
    return (fnn_cross_entropy){
        .rows = rows,
        .cols = d[COLS],
        .logits = at(args, p[LOGITS], row * d[LOGITS_ROW]),
        .logits_row = d[LOGITS_ROW],
        .labels = p[LABELS] ? (const int64_t *)p[LABELS] + row : NULL,
        .target = at(args, p[TARGET], row * d[TARGET_ROW]),
        .target_row = d[TARGET_ROW],
        .class_weight = p[CLASS_WEIGHT],
        .sample_weight = at(args, p[SAMPLE_WEIGHT], row),
        .dlogits = at(args, p[DLOGITS], row * d[DLOGITS_ROW]),
        .dlogits_row = d[DLOGITS_ROW],
        .row_loss = d[REDUCTION] == NONE ? at(args, p[LOSS], row) : NULL,
        .ignore_index = d[IGNORE_INDEX],
        .smoothing = args->scalar[SMOOTHING],
        .scale = 1,
    };
}

/* Without weights and ignored labels the divisor is the number of rows: nobody looks at the labels of others. */
static int weighs_rows(const fnn_args *args) {
    return args->pointer[CLASS_WEIGHT] || args->pointer[SAMPLE_WEIGHT] || args->dim[IGNORE_INDEX] != INT64_MIN;
}

void fnn_op_cross_entropy_run(const fnn_args *args, const fnn_team *team) {
    const int64_t rows = args->dim[ROWS], most = cross_entropy_rows(args), blocks = ceil_div(rows, most);
    const int reduction = (int)args->dim[REDUCTION];
    /* Every member adds the weights itself, in the same order: cheaper than a barrier, and the gradient needs it. */
    const fnn_cross_entropy all = cross_entropy_block(args, 0, rows);
    const double divisor = weighs_rows(args) ? args->table->cross_entropy_weight(&all) : (double)rows;
    double *sums = args->scratch;
    int64_t begin, end;
    fnn_team_range(team, blocks, 1, &begin, &end);
    for (int64_t block = begin; block < end; block++) {
        int64_t row = block * most;
        fnn_cross_entropy piece = cross_entropy_block(args, row, smaller(most, rows - row));
        if (reduction == MEAN)
            piece.scale = mean_scale(divisor);
        sums[block] = args->table->cross_entropy(&piece);
    }
    finish_loss(args, team, blocks, reduction, divisor, args->pointer[LOSS], args->pointer[WEIGHT_SUM]);
}

int fnn_op_cross_entropy_region(const fnn_args *args, const fnn_team *team, int slot, fnn_region *region) {
    const int64_t *d = args->dim, rows = d[ROWS], cols = d[COLS], item = args->table->item_size;
    int64_t begin, end;
    if (d[REDUCTION] == NONE || weighs_rows(args))
        return 0;
    fnn_team_range(team, ceil_div(rows, FNN_CROSS_ENTROPY_ROWS), 1, &begin, &end);
    begin *= FNN_CROSS_ENTROPY_ROWS;
    end = smaller(end * FNN_CROSS_ENTROPY_ROWS, rows);
    switch (slot) {
    case LOGITS:
        return fnn_region_rows(args, slot, begin, end, d[LOGITS_ROW], cols, item, region);
    case LABELS:
        return fnn_region_rows(args, slot, begin, end, 1, 1, sizeof(int64_t), region);
    case TARGET:
        return fnn_region_rows(args, slot, begin, end, d[TARGET_ROW], cols, item, region);
    case DLOGITS:
        return fnn_region_rows(args, slot, begin, end, d[DLOGITS_ROW], cols, item, region);
    default: /* the loss; the weights are not there */
        return fnn_region_rows(args, slot, 0, team->rank == 0, 1, 1, item, region);
    }
}

fnn_work fnn_op_cross_entropy_work(const fnn_args *args) {
    double rows = (double)args->dim[ROWS], n = rows * (double)args->dim[COLS];
    double bytes =
        n * args->table->item_size * (1 + (args->pointer[TARGET] != NULL) + (args->pointer[DLOGITS] != NULL));
    return fnn_work_of(20 * n, bytes + 8 * rows, 6 * n / args->table->lanes + 45 * rows);
}

int64_t fnn_op_cross_entropy_scratch(const fnn_args *args, int team_size) {
    (void)team_size;
    return ceil_div(args->dim[ROWS], cross_entropy_rows(args)) * (int64_t)sizeof(double);
}

/* ---- pointwise ---- */

enum { P_X, P_TARGET, P_SAMPLE_WEIGHT, P_PARAMETER, P_LOSS, P_DX, P_WEIGHT_SUM };
enum { P_ROWS, P_COLS, P_X_ROW, P_TARGET_ROW, P_DX_ROW, P_REDUCTION, P_KIND };

/* Elements [start, start + n) of a [*, cols] array with a row stride, to or from a contiguous chunk. */
static void copy_chunk(const fnn_args *args, char *array, int64_t row_stride, int64_t start, int64_t n, char *chunk,
                       int to_array) {
    const int64_t cols = args->dim[P_COLS], size = args->table->item_size;
    for (int64_t row = start / cols, col = start % cols; n > 0; row++, col = 0) {
        const int64_t length = smaller(n, cols - col);
        char *part = array + (row * row_stride + col) * size;
        memcpy(to_array ? part : chunk, to_array ? chunk : part, (size_t)(length * size));
        chunk += length * size;
        n -= length;
    }
}

/* The weight of each element's row. */
static void spread_weights(const fnn_args *args, int64_t start, int64_t n, void *chunk) {
    const int64_t cols = args->dim[P_COLS];
    int64_t i = 0;
    for (int64_t row = start / cols, col = start % cols; i < n; row++, col = 0) {
        const int64_t end = i + smaller(n - i, cols - col);
        if (args->table->item_size == 4)
            for (const float weight = ((const float *)args->pointer[P_SAMPLE_WEIGHT])[row]; i < end; i++)
                ((float *)chunk)[i] = weight;
        else
            for (const double weight = ((const double *)args->pointer[P_SAMPLE_WEIGHT])[row]; i < end; i++)
                ((double *)chunk)[i] = weight;
    }
}

/* A chunk's sum. Strided operands are packed, so that the kernel and therefore the bits are the same for all. */
static double pointwise_chunk(const fnn_args *args, int64_t start, int64_t n, double scale) {
    const int64_t *d = args->dim;
    void *const *p = args->pointer;
    double x[FNN_LOSS_CHUNK], target[FNN_LOSS_CHUNK], weights[FNN_LOSS_CHUNK], parameter[FNN_LOSS_CHUNK],
        dx[FNN_LOSS_CHUNK];
    const int one_row = d[P_ROWS] == 1;
    const int pack_x = !one_row && d[P_X_ROW] != d[P_COLS], pack_t = !one_row && d[P_TARGET_ROW] != d[P_COLS];
    const int pack_dx = p[P_DX] && !one_row && d[P_DX_ROW] != d[P_COLS];
    fnn_pointwise_loss piece = {
        .n = n,
        .x = pack_x ? x : at(args, p[P_X], start),
        .target = pack_t ? target : at(args, p[P_TARGET], start),
        .weights = p[P_SAMPLE_WEIGHT] ? weights : NULL,
        .parameter = p[P_PARAMETER] ? parameter : NULL,
        .values = d[P_REDUCTION] == NONE ? at(args, p[P_LOSS], start) : NULL,
        .dx = pack_dx ? dx : at(args, p[P_DX], start),
        .scale = scale,
    };
    memcpy(piece.p, args->scalar, sizeof piece.p);
    if (pack_x)
        copy_chunk(args, p[P_X], d[P_X_ROW], start, n, (char *)x, 0);
    if (pack_t)
        copy_chunk(args, p[P_TARGET], d[P_TARGET_ROW], start, n, (char *)target, 0);
    if (p[P_SAMPLE_WEIGHT])
        spread_weights(args, start, n, weights);
    if (p[P_PARAMETER]) /* the same row again and again */
        copy_chunk(args, p[P_PARAMETER], 0, start, n, (char *)parameter, 0);
    const double sum = args->table->loss[d[P_KIND]](&piece);
    if (pack_dx)
        copy_chunk(args, p[P_DX], d[P_DX_ROW], start, n, (char *)dx, 1);
    return sum;
}

/* What a mean divides by: the sum of the rows' weights, times cols. */
static double pointwise_divisor(const fnn_args *args) {
    const void *weights = args->pointer[P_SAMPLE_WEIGHT];
    double sum = 0;
    for (int64_t row = 0; weights && row < args->dim[P_ROWS]; row++)
        sum += args->table->item_size == 4 ? (double)((const float *)weights)[row] : ((const double *)weights)[row];
    return (weights ? sum : (double)args->dim[P_ROWS]) * (double)args->dim[P_COLS];
}

void fnn_op_pointwise_loss_run(const fnn_args *args, const fnn_team *team) {
    const int64_t n = args->dim[P_ROWS] * args->dim[P_COLS], chunks = ceil_div(n, FNN_LOSS_CHUNK);
    const int reduction = (int)args->dim[P_REDUCTION];
    const double divisor = pointwise_divisor(args);
    double *sums = args->scratch;
    int64_t begin, end;
    fnn_team_range(team, chunks, 1, &begin, &end);
    for (int64_t chunk = begin; chunk < end; chunk++) {
        int64_t start = chunk * FNN_LOSS_CHUNK;
        sums[chunk] = pointwise_chunk(args, start, smaller(FNN_LOSS_CHUNK, n - start),
                                      reduction == MEAN ? mean_scale(divisor) : 1);
    }
    finish_loss(args, team, chunks, reduction, divisor, args->pointer[P_LOSS], args->pointer[P_WEIGHT_SUM]);
}

/* Instructions per vector, as the rows say. */
static const int pointwise_operations[] = {
#define FNN_LOSS(name, function, cls, target, link, names, defaults, limits, operations, value, derivative, doc,       \
                 citation)                                                                                             \
    operations,
#include "../kernels/losses.def"
#undef FNN_LOSS
};

fnn_work fnn_op_pointwise_loss_work(const fnn_args *args) {
    double n = (double)args->dim[P_ROWS] * (double)args->dim[P_COLS];
    double bytes = n * args->table->item_size * (2 + (args->pointer[P_DX] != NULL));
    double operations = pointwise_operations[args->dim[P_KIND]];
    return fnn_work_of(operations * n, bytes, bytes / 60 + 0.3 * operations * n / args->table->lanes + 30);
}

int64_t fnn_op_pointwise_loss_scratch(const fnn_args *args, int team_size) {
    (void)team_size;
    return ceil_div(args->dim[P_ROWS] * args->dim[P_COLS], FNN_LOSS_CHUNK) * (int64_t)sizeof(double);
}

/* ---- targets ---- */

enum { B_LABELS, B_TARGET, B_FIRST };
enum { B_ROWS, B_COLS, B_TARGET_ROW, B_CLASSES, B_IGNORE_INDEX, B_ENDS };
enum { B_LOW, B_HIGH };

/* The first bad one among rows [begin, end), as an index of the whole, or -1. */
static int64_t first_bad_in(const fnn_args *args, int64_t begin, int64_t end) {
    const int64_t *d = args->dim, cols = d[B_COLS];
    const double low = args->scalar[B_LOW], high = args->scalar[B_HIGH];
    if (args->pointer[B_LABELS]) {
        const int64_t *labels = (const int64_t *)args->pointer[B_LABELS] + begin, n = end - begin;
        const int64_t first = args->table->first_bad_label(n, labels, d[B_CLASSES], d[B_IGNORE_INDEX]);
        return first < n ? begin + first : -1;
    }
    const int64_t rows = d[B_TARGET_ROW] == cols ? 1 : end - begin, n = (end - begin) * cols / (rows ? rows : 1);
    for (int64_t row = 0; row < rows; row++) {
        const void *target = at(args, args->pointer[B_TARGET], (begin + row) * d[B_TARGET_ROW]);
        const int64_t first = args->table->first_bad_target(n, target, low, high, (int)d[B_ENDS]);
        if (first < n)
            return (begin + row) * cols + first;
    }
    return -1;
}

void fnn_op_first_bad_run(const fnn_args *args, const fnn_team *team) {
    int64_t begin, end, *found = args->scratch, *first = args->pointer[B_FIRST];
    fnn_team_range(team, args->dim[B_ROWS], 1, &begin, &end);
    found[team->rank] = begin < end ? first_bad_in(args, begin, end) : -1;
    fnn_team_barrier(team);
    if (team->rank != 0)
        return;
    *first = -1;
    for (int member = 0; member < team->size && *first < 0; member++)
        *first = found[member];
}

fnn_work fnn_op_first_bad_work(const fnn_args *args) {
    double n = (double)args->dim[B_ROWS] * (double)args->dim[B_COLS];
    double bytes = n * (args->pointer[B_LABELS] ? 8 : args->table->item_size);
    return fnn_work_of(n, bytes, bytes / 40 + 30);
}

int64_t fnn_op_first_bad_scratch(const fnn_args *args, int team_size) {
    (void)args;
    return team_size * (int64_t)sizeof(int64_t);
}
