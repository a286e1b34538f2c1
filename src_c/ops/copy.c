/* copy.c: y[i0..i5] = x[i0..i5] or +=, any strides of six dimensions: transposes, broadcasts, slices, concatenations.
 *
 * Dimensions of size 1 go, the others are ordered by the stride of y and merged where both arrays run on without a
 * gap. The innermost becomes the columns of kernels/move.h; its rows are the dimension along which x is contiguous, if
 * another one is (a transpose), else the next. What is left is an odometer over blocks of rows and columns.
 */
#include <stddef.h>

#include "grid.h"
#include "op.h"

enum { DIMS = 6, ACCUMULATE = 3 * DIMS, TRANSPOSE_ROWS = 64, TRANSPOSE_COLS = 256 };

typedef struct dimension {
    int64_t n, x, y; /* size, strides in elements */
} dimension;

typedef struct plan {
    dimension outer[DIMS], rows, cols;
    int count;                                            /* of outer */
    int64_t block_rows, block_cols, down, across, blocks; /* blocks of one outer index; blocks in all */
} plan;

static int64_t magnitude(int64_t stride) { return stride < 0 ? -stride : stride; }

/* Largest stride of y first; ties keep their order. */
static void sort_by_target(dimension *d, int count) {
    for (int i = 1; i < count; i++) {
        const dimension moving = d[i];
        int j = i;
        for (; j > 0 && magnitude(d[j - 1].y) < magnitude(moving.y); j--)
            d[j] = d[j - 1];
        d[j] = moving;
    }
}

/* No element of y is written twice, as far as sorted strides can tell. */
static int target_is_distinct(const dimension *d, int count) {
    int64_t reach = 0;
    for (int i = count - 1; i >= 0; i--) {
        if (magnitude(d[i].y) <= reach)
            return 0;
        reach += (d[i].n - 1) * magnitude(d[i].y);
    }
    return 1;
}

static int merge(dimension *d, int count) {
    int last = 0;
    for (int i = 1; i < count; i++)
        if (d[last].x == d[i].x * d[i].n && d[last].y == d[i].y * d[i].n) {
            d[last].n *= d[i].n;
            d[last].x = d[i].x;
            d[last].y = d[i].y;
        } else {
            d[++last] = d[i];
        }
    return count ? last + 1 : 0;
}

/* The last dimension becomes the columns; which one becomes the rows. */
static int choose_rows(const dimension *d, int count) {
    if (count > 1 && d[count - 1].x != 1 && d[count - 1].y == 1)
        for (int i = count - 2; i >= 0; i--)
            if (d[i].x == 1)
                return i;
    return count - 2;
}

static void cut_into_blocks(plan *p) {
    const int transposed = p->rows.x == 1 && p->cols.x != 1;
    const fnn_grid grid = fnn_grid_of(p->rows.n, p->cols.n);
    p->block_rows = transposed ? TRANSPOSE_ROWS : grid.piece_rows;
    p->block_cols = transposed ? TRANSPOSE_COLS : grid.piece_cols;
    p->down = (p->rows.n + p->block_rows - 1) / p->block_rows;
    p->across = (p->cols.n + p->block_cols - 1) / p->block_cols;
    p->blocks = p->down * p->across;
    for (int i = 0; i < p->count; i++)
        p->blocks *= p->outer[i].n;
}

/* Returns 0 if elements of y coincide: they are then written in the order of the dimensions as given, by one member. */
static int make_plan(const fnn_args *args, plan *p) {
    dimension d[DIMS], sorted[DIMS];
    int count = 0;
    for (int i = 0; i < DIMS; i++)
        if (args->dim[i] != 1) {
            const dimension one = {args->dim[i], args->dim[DIMS + i], args->dim[2 * DIMS + i]};
            sorted[count] = d[count] = one;
            count++;
        }
    sort_by_target(sorted, count);
    const int distinct = target_is_distinct(sorted, count);
    if (distinct)
        for (int i = 0; i < count; i++)
            d[i] = sorted[i];
    count = merge(d, count);
    const dimension none = {1, 0, 0};
    const int rows = distinct ? choose_rows(d, count) : count - 2;
    p->cols = count > 0 ? d[count - 1] : none;
    p->rows = count > 1 ? d[rows] : none;
    p->count = 0;
    for (int i = 0; i < count - 1; i++)
        if (i != rows)
            p->outer[p->count++] = d[i];
    cut_into_blocks(p);
    return distinct;
}

static void run_block(const fnn_args *args, const plan *p, int64_t index) {
    const int64_t item = args->table->item_size;
    const int64_t col = index % p->across * p->block_cols, row = index / p->across % p->down * p->block_rows;
    int64_t x = row * p->rows.x + col * p->cols.x, y = row * p->rows.y + col * p->cols.y;
    index /= p->across * p->down;
    for (int i = p->count - 1; i >= 0; i--) {
        const int64_t k = index % p->outer[i].n;
        index /= p->outer[i].n;
        x += k * p->outer[i].x;
        y += k * p->outer[i].y;
    }
    if (args->stream && p->cols.x == 1 && p->cols.y == 1 && !args->dim[ACCUMULATE]) {
        const int64_t rows = fnn_smaller(p->rows.n - row, p->block_rows);
        for (int64_t r = 0; r < rows; r++)
            args->table->stream(fnn_smaller(p->cols.n - col, p->block_cols),
                                (const char *)args->pointer[0] + (x + r * p->rows.x) * item,
                                (char *)args->pointer[1] + (y + r * p->rows.y) * item);
        return;
    }
    args->table->copy_2d(fnn_smaller(p->rows.n - row, p->block_rows), fnn_smaller(p->cols.n - col, p->block_cols),
                         (const char *)args->pointer[0] + x * item, p->rows.x, p->cols.x,
                         (char *)args->pointer[1] + y * item, p->rows.y, p->cols.y, args->dim[ACCUMULATE] != 0);
}

void fnn_op_copy_run(const fnn_args *args, const fnn_team *team) {
    const fnn_team alone = {0, 1, NULL};
    plan p;
    int64_t begin, end;
    for (int i = 0; i < DIMS; i++)
        if (args->dim[i] <= 0)
            return;
    if (!make_plan(args, &p)) {
        if (team->rank > 0)
            return;
        team = &alone;
    }
    fnn_team_range(team, p.blocks, 1, &begin, &end);
    for (int64_t index = begin; index < end; index++)
        run_block(args, &p, index);
}

fnn_work fnn_op_copy_work(const fnn_args *args) {
    double n = 1;
    plan p;
    for (int i = 0; i < DIMS; i++)
        n *= (double)args->dim[i];
    if (n <= 0)
        return fnn_work_of(0, 0, 0);
    make_plan(args, &p);
    const double bytes = (args->dim[ACCUMULATE] ? 3 : 2) * n * args->table->item_size;
    const int fast = p.cols.y == 1 && (p.cols.x == 1 || p.cols.x == 0 || p.rows.x == 1);
    return fnn_work_of(args->dim[ACCUMULATE] ? n : 0, bytes,
                       30 + 20 * (double)p.blocks + (fast ? 0.03 * bytes : 0.6 * n));
}

int64_t fnn_op_copy_scratch(const fnn_args *args, int team_size) {
    (void)args, (void)team_size;
    return 0;
}
