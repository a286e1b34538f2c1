/* batch_norm_way.c: see batch_norm.h. */
#include "batch_norm.h"

#include "../base/memory.h"
#include "grid.h"

enum { BLOCK = FNN_BATCH_NORM_ROWS, STRIP = FNN_BATCH_NORM_COLS, SPAN = FNN_BATCH_NORM_SPAN };

static fnn_batch_norm_shared lay_out(void *scratch, int64_t rows, int64_t cols, int item_size, size_t *bytes) {
    fnn_arena arena = {scratch, 0};
    fnn_batch_norm_shared s;
    for (int i = 0; i < 2; i++)
        s.sums[i] = fnn_arena_take(&arena, (size_t)((rows + BLOCK - 1) / BLOCK * cols), sizeof(double));
    void **columns[] = {&s.columns.mean, &s.columns.factor, &s.columns.offset, &s.columns.slope};
    for (int i = 0; i < 4; i++)
        *columns[i] = fnn_arena_take(&arena, (size_t)cols, (size_t)item_size);
    if (bytes)
        *bytes = arena.used;
    return s;
}

int64_t fnn_batch_norm_scratch_bytes(const fnn_args *args, int64_t rows, int64_t cols) {
    size_t bytes;
    lay_out(NULL, rows, cols, args->table->item_size, &bytes);
    return (int64_t)bytes;
}

/* One call's way, sizes and scratch. */
typedef struct walk {
    const fnn_batch_norm_way *way;
    const fnn_args *args;
    int64_t rows, cols;
    fnn_batch_norm_shared shared;
} walk;

static fnn_batch_norm_columns columns_from(const walk *w, int64_t col) {
    const fnn_batch_norm_columns *c = &w->shared.columns;
    return (fnn_batch_norm_columns){
        fnn_batch_norm_item(w->args, c->mean, col), fnn_batch_norm_item(w->args, c->factor, col),
        fnn_batch_norm_item(w->args, c->offset, col), fnn_batch_norm_item(w->args, c->slope, col)};
}

static void sum_block(const walk *w, int64_t block, int64_t begin, int64_t end) {
    const int64_t row = block * BLOCK;
    for (int64_t col = begin; col < end; col += SPAN)
        w->way->sums(w->args, row, fnn_smaller(BLOCK, w->rows - row), col, fnn_smaller(SPAN, end - col),
                     w->shared.sums[0] + block * w->cols + col, w->shared.sums[1] + block * w->cols + col);
}

static void finish(const walk *w, int64_t begin, int64_t end) {
    for (int64_t col = begin; col < end; col += STRIP) {
        const fnn_batch_norm_columns columns = columns_from(w, col);
        w->way->finish(w->args, col, fnn_smaller(STRIP, end - col), w->shared.sums[0] + col, w->shared.sums[1] + col,
                       &columns);
    }
}

static void apply_block(const walk *w, int64_t block, int64_t begin, int64_t end) {
    const int64_t row = block * BLOCK;
    for (int64_t col = begin; col < end; col += SPAN) {
        const fnn_batch_norm_columns columns = columns_from(w, col);
        w->way->apply(w->args, row, fnn_smaller(BLOCK, w->rows - row), col, fnn_smaller(SPAN, end - col), &columns);
    }
}

/* Rows where every member has as many blocks: they are those of the products before and after, and no line of x or y
 * goes from one member's cache to another's. Else columns where there are few blocks, or so little data that it stays
 * in the caches. */
int fnn_batch_norm_by_columns(int64_t rows, int64_t cols, int team_size) {
    enum { SMALL = 1 << 17, LEAST = 4 * FNN_BATCH_NORM_UNIT };
    const int64_t blocks = (rows + BLOCK - 1) / BLOCK;
    if (blocks == 1 || blocks < team_size)
        return 1;
    return blocks % team_size > 0 && rows * cols <= SMALL && cols >= (int64_t)LEAST * team_size;
}

int fnn_batch_norm_region(const fnn_args *args, const fnn_team *team, int slot, int64_t pitch, int64_t item,
                          int for_sums, fnn_region *region) {
    const int64_t rows = args->dim[0], cols = args->dim[1]; /* of every op that goes this way */
    const int by_columns = fnn_batch_norm_by_columns(rows, cols, team->size);
    int64_t begin, end;
    if (pitch > 0 && !by_columns) {
        fnn_team_range(team, (rows + BLOCK - 1) / BLOCK, 1, &begin, &end);
        begin = for_sums ? 0 : begin * BLOCK;
        return fnn_region_rows(args, slot, begin, fnn_smaller(end * BLOCK, rows), pitch, cols, item, region);
    }
    fnn_team_range(team, cols, FNN_BATCH_NORM_UNIT, &begin, &end);
    if (for_sums && !by_columns)
        begin = 0, end = cols;
    fnn_region_rows(args, slot, 0, pitch > 0 ? rows : 1, pitch, end - begin, item, region);
    if (region->runs > 0)
        region->start += begin * item;
    return 1;
}

void fnn_batch_norm_go(const fnn_batch_norm_way *way, const fnn_args *args, const fnn_team *team) {
    const int64_t rows = args->dim[way->rows], cols = args->dim[way->cols], blocks = (rows + BLOCK - 1) / BLOCK;
    if (rows <= 0 || cols <= 0)
        return;
    const walk w = {way, args, rows, cols, lay_out(args->scratch, rows, cols, args->table->item_size, NULL)};
    int64_t begin, end;
    if (fnn_batch_norm_by_columns(rows, cols, team->size)) {
        fnn_team_range(team, cols, FNN_BATCH_NORM_UNIT, &begin, &end);
        for (int64_t col = begin; col < end; col += SPAN) {
            const int64_t last = fnn_smaller(col + SPAN, end);
            for (int64_t block = 0; block < blocks; block++)
                sum_block(&w, block, col, last);
            finish(&w, col, last);
            for (int64_t block = 0; block < blocks; block++)
                apply_block(&w, block, col, last);
        }
        return;
    }
    fnn_team_range(team, blocks, 1, &begin, &end);
    for (int64_t block = begin; block < end; block++)
        sum_block(&w, block, 0, cols);
    fnn_team_barrier(team);
    int64_t first, last;
    fnn_team_range(team, cols, FNN_BATCH_NORM_UNIT, &first, &last);
    finish(&w, first, last);
    fnn_team_barrier(team);
    for (int64_t block = end - 1; block >= begin; block--)
        apply_block(&w, block, 0, cols);
}
