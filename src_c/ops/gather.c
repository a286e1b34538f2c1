/* gather.c: the rows of a batch, picked from the data set by an index. Indices are checked by the caller. */
#include "share.h"

#include "../include/fastnn.h"

enum { SRC, INDEX, Y };
enum { ROWS, COLS, SRC_ROW, Y_ROW, SRC_DTYPE };

const int fnn_source_bytes[FNN_DTYPE_COUNT] = {
    [FNN_FLOAT32] = 4, [FNN_FLOAT64] = 8, [FNN_UINT8] = 1,  [FNN_INT8] = 1, [FNN_INT16] = 2,   [FNN_UINT16] = 2,
    [FNN_INT32] = 4,   [FNN_INT64] = 8,   [FNN_UINT32] = 4, [FNN_BOOL] = 1, [FNN_FLOAT16] = 2,
};

void fnn_op_gather_run(const fnn_args *args, const fnn_team *team) {
    const int64_t *d = args->dim;
    int64_t begin, end;
    fnn_team_range(team, d[ROWS], fnn_row_unit(d[ROWS], team->size), &begin, &end);
    if (begin < end)
        args->table->gather_rows(end - begin, d[COLS], args->pointer[SRC], d[SRC_ROW], (int)d[SRC_DTYPE],
                                 (const int64_t *)args->pointer[INDEX] + begin,
                                 (char *)args->pointer[Y] + begin * d[Y_ROW] * args->table->item_size, d[Y_ROW]);
}

/* Data sets and indices are never written by a program. */
int fnn_op_gather_region(const fnn_args *args, const fnn_team *team, int slot, fnn_region *region) {
    const int64_t *d = args->dim;
    int64_t begin = 0, end = 0;
    if (slot == Y)
        fnn_team_range(team, d[ROWS], fnn_row_unit(d[ROWS], team->size), &begin, &end);
    return fnn_region_rows(args, slot, begin, end, d[Y_ROW], d[COLS], args->table->item_size, region);
}

fnn_work fnn_op_gather_work(const fnn_args *args) {
    double rows = (double)args->dim[ROWS], n = rows * (double)args->dim[COLS];
    double bytes = n * (args->table->item_size + fnn_source_bytes[args->dim[SRC_DTYPE]]) + 8 * rows;
    /* rows come from L3 or memory: about 25 bytes per ns of one core, and a miss at the start of each */
    return fnn_work_of(0, bytes, bytes / 25 + 10 * rows);
}

int64_t fnn_op_gather_scratch(const fnn_args *args, int team_size) {
    (void)args;
    (void)team_size;
    return 0;
}

void fnn_op_gather_labels_run(const fnn_args *args, const fnn_team *team) {
    const int64_t *src = args->pointer[SRC], *index = args->pointer[INDEX];
    int64_t *y = args->pointer[Y], begin, end;
    fnn_team_range(team, args->dim[ROWS], fnn_row_unit(args->dim[ROWS], team->size), &begin, &end);
    for (int64_t i = begin; i < end; i++)
        y[i] = src[index[i]];
}

int fnn_op_gather_labels_region(const fnn_args *args, const fnn_team *team, int slot, fnn_region *region) {
    int64_t begin = 0, end = 0;
    if (slot == Y)
        fnn_team_range(team, args->dim[ROWS], fnn_row_unit(args->dim[ROWS], team->size), &begin, &end);
    return fnn_region_rows(args, slot, begin, end, 1, 1, sizeof(int64_t), region);
}

fnn_work fnn_op_gather_labels_work(const fnn_args *args) {
    double rows = (double)args->dim[ROWS];
    return fnn_work_of(0, 24 * rows, 3 * rows);
}

int64_t fnn_op_gather_labels_scratch(const fnn_args *args, int team_size) {
    (void)args;
    (void)team_size;
    return 0;
}
