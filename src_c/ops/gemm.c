/* gemm.c: the framework of every matrix product: blocks of depth, threads, packing of a strided right operand.
 *
 * Decision 1: depth is summed in fixed blocks, each one chain from zero, block sums added in order. Everything chosen
 * here (which member computes what, whether b is packed, how many rows go together) changes speed, never bits.
 */
#include "op.h"

#include <stddef.h>

#include "../base/cpu.h"

enum { A, B, BIAS, C };
enum { ROWS, COLS, DEPTH, A_ROW, A_DEPTH, B_DEPTH, B_COL, C_ROW, BLOCK, ACCUMULATE, ACTIVATION };
enum { DEFAULT_BLOCK = 1024 };

static int64_t block_of(const fnn_args *args) { return args->dim[BLOCK] > 0 ? args->dim[BLOCK] : DEFAULT_BLOCK; }

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

static int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

static int64_t panel_bytes(const fnn_args *args) {
    int64_t depth = smaller(block_of(args), args->dim[DEPTH]);
    return (depth * args->table->gemm_cols * args->table->item_size + 127) / 128 * 128;
}

/* Rows of a that are a multiple of half a page apart share a few sets of L1 and evict each other while a tile reads
 * them side by side: such rows are copied next to each other first. */
static int left_needs_packing(const fnn_args *args) {
    enum { SAME_SETS = 2048, WAYS = 4 };
    int64_t bytes = args->dim[A_ROW] * args->table->item_size;
    return args->dim[ROWS] > WAYS && args->dim[A_DEPTH] == 1 && bytes != 0 && bytes % SAME_SETS == 0;
}

/* Elements between packed rows: whole cache lines, and an odd number of them. */
static int64_t packed_left_row(const fnn_args *args, int64_t depth) {
    int64_t line = 64 / args->table->item_size;
    return (ceil_div(depth, line) | 1) * line;
}

/* A column panel of b is packed when its columns are strided, or when it is read often enough (many row tiles) and
 * too far apart in memory to stay in L1 and the first TLB. */
static int right_needs_packing(const fnn_args *args) {
    if (args->dim[B_COL] != 1)
        return 1;
    int64_t bytes = args->dim[DEPTH] * args->dim[B_DEPTH] * args->table->item_size;
    return args->dim[ROWS] >= 8 * args->table->gemm_rows && bytes > fnn_cache_size(2);
}

/* Rows per pass: as many as leave half of L2 to them while the panels of b go by. */
static int64_t rows_per_pass(const fnn_args *args, int64_t depth) {
    int64_t tile = args->table->gemm_rows;
    int64_t fit = fnn_cache_size(2) / 2 / (depth * args->table->item_size + 1);
    return fit < 8 * tile ? 8 * tile : fit / tile * tile;
}

/* The member's rectangle of c: columns in whole panels or rows in whole tiles, whichever divides more evenly. */
static void share(const fnn_args *args, const fnn_team *team, int64_t row[2], int64_t col[2]) {
    int64_t rows = args->dim[ROWS], cols = args->dim[COLS];
    int64_t tile = args->table->gemm_rows, panel = args->table->gemm_cols;
    row[0] = col[0] = 0;
    row[1] = rows;
    col[1] = cols;
    if (team->size == 1)
        return;
    int64_t by_cols = ceil_div(ceil_div(cols, panel), team->size) * panel * rows;
    int64_t by_rows = ceil_div(ceil_div(rows, tile), team->size) * tile * ceil_div(cols, panel) * panel;
    if (by_cols <= by_rows)
        fnn_team_range(team, cols, panel, &col[0], &col[1]);
    else
        fnn_team_range(team, rows, 1, &row[0], &row[1]);
}

/* One member's packed panel of b, and behind it the packed rows of a of one pass. */
typedef struct packing {
    char *left, *right; /* NULL: read in place */
} packing;

static int64_t left_bytes(const fnn_args *args) {
    if (!left_needs_packing(args))
        return 0;
    int64_t depth = smaller(block_of(args), args->dim[DEPTH]);
    int64_t rows = smaller(rows_per_pass(args, depth), args->dim[ROWS]);
    return (rows * packed_left_row(args, depth) * args->table->item_size + 127) / 128 * 128;
}

static int64_t right_bytes(const fnn_args *args) { return right_needs_packing(args) ? panel_bytes(args) : 0; }

static packing packing_of(const fnn_args *args, int rank) {
    char *base = (char *)args->scratch + rank * (right_bytes(args) + left_bytes(args));
    packing p = {left_needs_packing(args) ? base + right_bytes(args) : NULL, right_needs_packing(args) ? base : NULL};
    return p;
}

static fnn_gemm piece_of(const fnn_args *args) {
    fnn_gemm g = {.a_row = args->dim[A_ROW],
                  .a_depth = args->dim[A_DEPTH],
                  .b_depth = args->dim[B_DEPTH],
                  .c_row = args->dim[C_ROW],
                  .p0 = args->scalar[0],
                  .p1 = args->scalar[1]};
    return g;
}

/* bias and activation belong to the last block of depth only */
static void finish_block(const fnn_args *args, fnn_gemm *g, int64_t col) {
    int64_t kind = args->dim[ACTIVATION] - 1;
    const char *bias = args->pointer[BIAS];
    g->bias = bias ? bias + col * args->table->item_size : NULL;
    g->relu = kind == FNN_UNARY_relu;
    g->activation = kind > FNN_UNARY_identity && !g->relu ? args->table->unary[kind] : NULL;
}

static void pack_left(const fnn_args *args, fnn_gemm *g, void *packed) {
    int64_t row = packed_left_row(args, g->depth);
    args->table->copy_2d(g->rows, g->depth, g->a, g->a_row, 1, packed, row, 1, 0);
    g->a = packed;
    g->a_row = row;
}

static void pack_right(const fnn_args *args, fnn_gemm *g, void *packed) {
    int64_t width = args->table->gemm_cols;
    args->table->copy_2d(g->depth, g->cols, g->b, args->dim[B_DEPTH], args->dim[B_COL], packed, width, 1, 0);
    g->b = packed;
    g->b_depth = width;
}

/* Rows g->rows of c, all the member's columns, one block of depth from k on. */
static void row_pass(const fnn_args *args, fnn_gemm *g, int64_t row, int64_t k, const int64_t col[2], void *right) {
    const int64_t item = args->table->item_size, width = right ? args->table->gemm_cols : col[1] - col[0];
    for (int64_t j = col[0]; j < col[1]; j += width) {
        g->cols = smaller(width, col[1] - j);
        g->b = (const char *)args->pointer[B] + (k * args->dim[B_DEPTH] + j * args->dim[B_COL]) * item;
        g->c = (char *)args->pointer[C] + (row * g->c_row + j) * item;
        if (k + block_of(args) >= args->dim[DEPTH])
            finish_block(args, g, j);
        if (right)
            pack_right(args, g, right);
        args->table->gemm(g);
    }
}

static void rectangle(const fnn_args *args, const int64_t row[2], const int64_t col[2], packing packed) {
    const int64_t item = args->table->item_size, depth = args->dim[DEPTH], block = block_of(args);
    const int64_t pass = rows_per_pass(args, smaller(block, depth));
    for (int64_t k = 0; k == 0 || k < depth; k += block) {
        for (int64_t i = row[0]; i < row[1]; i += pass) {
            fnn_gemm g = piece_of(args);
            g.depth = smaller(block, depth - k);
            g.add = k > 0 || args->dim[ACCUMULATE];
            g.rows = smaller(pass, row[1] - i);
            g.a = (const char *)args->pointer[A] + (i * g.a_row + k * g.a_depth) * item;
            if (packed.left)
                pack_left(args, &g, packed.left);
            row_pass(args, &g, i, k, col, packed.right);
        }
    }
}

void fnn_op_gemm_run(const fnn_args *args, const fnn_team *team) {
    int64_t row[2], col[2];
    share(args, team, row, col);
    if (row[0] < row[1] && col[0] < col[1])
        rectangle(args, row, col, packing_of(args, team->rank));
}

fnn_work fnn_op_gemm_work(const fnn_args *args) {
    double rows = (double)args->dim[ROWS], cols = (double)args->dim[COLS], depth = (double)args->dim[DEPTH];
    double flops = 2 * rows * cols * depth;
    double bytes = (rows * depth + depth * cols + rows * cols) * args->table->item_size;
    return fnn_work_of(flops, bytes, 20 + flops / (0.7 * args->table->flops_per_ns) + 0.02 * bytes);
}

int64_t fnn_op_gemm_scratch(const fnn_args *args, int team_size) {
    return (left_bytes(args) + right_bytes(args)) * team_size;
}
