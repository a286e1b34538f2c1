/* gemm_update.c: a weight gradient and the optimizer's step along it, in one pass.
 *
 *   g = a @ b,  param, states = step(param, states, g)
 *
 * The bits are those of gemm followed by optimizer: every element of g is the same chain of multiply-adds (blocks of
 * depth in order), and an optimizer works element by element. g is a few rows of scratch that never leave L2; while
 * they are computed, the rows of param and states that they belong to are asked for, so that memory works while the
 * multiply-adds do, and writing and reading the gradient is saved (8 of Adam's 28 bytes per weight).
 */
#include <stddef.h>
#include <string.h>

#include "../base/cpu.h"
#include "gemm_plan.h"
#include "grid.h"

enum { A, B, B_SUM, PARAM, S0, S1, S2, AVERAGE };
enum { ROWS, COLS, DEPTH, A_ROW, A_DEPTH, B_DEPTH, PITCH, BLOCK, KIND };
enum { STEP_PARAM, STEP_GRAD, STEP_S0, STEP_N = 0, STEP_KIND }; /* slots and sizes of the row optimizer */
enum { ARRAYS = 5 };

/* Rows of g at a time and, where the weight is wide, columns. */
typedef struct cut {
    int64_t group, strip;
} cut;

static int64_t clamp(int64_t n, int64_t least, int64_t most) { return n < least ? least : n > most ? most : n; }

/* Of a group's gradient, unless one tile of rows is more: so that it stays in L2 beside what it changes. */
static int64_t group_bytes(void) { return fnn_cache_size(2) / 16; }

/* b's strip stays in L2 for all groups of rows, and so do a group's gradient and the arrays that it changes. */
static cut cut_of(const fnn_args *args) {
    const int64_t *d = args->dim, item = args->table->item_size, panel = args->table->gemm_cols;
    const int64_t depth = d[DEPTH] > 0 ? d[DEPTH] : 1, l2 = fnn_cache_size(2), tile = args->table->gemm_rows;
    const int64_t wide = clamp(l2 / 2 / (depth * item) / panel * panel, 8 * panel, INT64_MAX);
    cut c = {.strip = wide < d[PITCH] ? wide : d[PITCH]};
    c.group = tile * clamp(group_bytes() / (c.strip * item) / tile, 1, 4);
    return c;
}

/* The product as the row gemm has it. */
static fnn_args product_of(const fnn_args *args) {
    const int64_t *d = args->dim;
    fnn_args g = {.table = args->table};
    g.pointer[GEMM_A] = args->pointer[A];
    g.pointer[GEMM_B] = args->pointer[B];
    g.pointer[GEMM_B_SUM] = args->pointer[B_SUM];
    g.dim[GEMM_DIM_ROWS] = d[ROWS], g.dim[GEMM_DIM_COLS] = d[COLS], g.dim[GEMM_DIM_DEPTH] = d[DEPTH];
    g.dim[GEMM_DIM_A_ROW] = d[A_ROW], g.dim[GEMM_DIM_A_DEPTH] = d[A_DEPTH];
    g.dim[GEMM_DIM_B_DEPTH] = d[B_DEPTH], g.dim[GEMM_DIM_B_COL] = 1;
    g.dim[GEMM_DIM_C_ROW] = d[PITCH], g.dim[GEMM_DIM_BLOCK] = d[BLOCK];
    return g;
}

/* The step as the row optimizer has it, without operands. */
static fnn_args step_of(const fnn_args *args) {
    fnn_args step = {.table = args->table};
    step.dim[STEP_KIND] = args->dim[KIND];
    memcpy(step.scalar, args->scalar, sizeof step.scalar);
    return step;
}

/* What a group of rows will change, in the order in which it is asked for: row by row of one array after the other. */
typedef struct wanted {
    const char *rows[ARRAYS]; /* the group's first row of each array, from its first column on */
    int64_t arrays, count;    /* rows of all arrays */
    int64_t asked;
} wanted;

static wanted wanted_of(const fnn_args *args, int64_t row, int64_t rows, int64_t col) {
    wanted w = {.asked = 0};
    for (int slot = PARAM; slot <= AVERAGE; slot++)
        if (args->pointer[slot])
            w.rows[w.arrays++] =
                (const char *)args->pointer[slot] + (row * args->dim[PITCH] + col) * args->table->item_size;
    w.count = w.arrays * rows;
    return w;
}

/* A tile asks for two vectors with every term (gemm.h), and for `panel` terms along a row: some rows a tile. */
static void ask_for_rows(const fnn_args *args, wanted *w, int64_t rows, int64_t width, fnn_gemm *g) {
    const int64_t panel = args->table->gemm_cols, pitch = args->dim[PITCH], at = w->asked % rows;
    g->next_row = g->next_step = 0;
    if (w->asked >= w->count)
        return;
    g->next = w->rows[w->asked / rows] + at * pitch * args->table->item_size;
    g->next_row = (width + panel - 1) / panel;
    g->next_step = pitch;
    w->asked += fnn_smaller(g->depth / panel > 0 ? g->depth / panel : 1, rows - at);
}

/* g[rows, cols from col] = a @ b for some rows, panel by panel. */
static void gradient(const fnn_args *args, int64_t row, int64_t rows, int64_t col, int64_t cols, char *out,
                     int64_t out_row) {
    const int64_t *d = args->dim, item = args->table->item_size, panel = args->table->gemm_cols;
    const int64_t block = d[BLOCK] > 0 ? d[BLOCK] : 1024;
    wanted w = wanted_of(args, row, rows, col);
    for (int64_t k = 0; k == 0 || k < d[DEPTH]; k += block) {
        fnn_gemm g = {.rows = rows,
                      .depth = fnn_smaller(block, d[DEPTH] - k),
                      .a = (const char *)args->pointer[A] + (row * d[A_ROW] + k * d[A_DEPTH]) * item,
                      .a_row = d[A_ROW],
                      .a_depth = d[A_DEPTH],
                      .b_depth = d[B_DEPTH],
                      .c_row = out_row,
                      .add = k > 0};
        for (int64_t j = 0; j < cols; j += panel) {
            g.cols = fnn_smaller(panel, cols - j);
            g.b = g.next = (const char *)args->pointer[B] + (k * d[B_DEPTH] + col + j) * item;
            g.c = out + j * item;
            ask_for_rows(args, &w, rows, out_row, &g);
            args->table->gemm(&g);
        }
    }
}

/* The step of `rows` rows of `width` elements from (row, col) on, along the gradient at `grad`. */
static void make_step(const fnn_args *args, fnn_args *step, int64_t row, int64_t rows, int64_t col, int64_t width,
                      char *grad) {
    const fnn_team solo = {0, 1, NULL};
    const int64_t item = args->table->item_size, pitch = args->dim[PITCH], grad_row = width;
    if (width == pitch) /* one long row */
        width *= rows, rows = 1;
    step->dim[STEP_N] = width;
    for (int64_t i = 0; i < rows; i++) {
        const int64_t at = ((row + i) * pitch + col) * item;
        step->pointer[STEP_PARAM] = (char *)args->pointer[PARAM] + at;
        step->pointer[STEP_GRAD] = grad + i * grad_row * item;
        for (int s = S0; s <= AVERAGE; s++)
            step->pointer[STEP_S0 + s - S0] = args->pointer[s] ? (char *)args->pointer[s] + at : NULL;
        fnn_op_optimizer_run(step, &solo);
    }
}

static int64_t aligned(int64_t bytes) { return (bytes + 127) / 128 * 128; }

/* Of one member, for this and any smaller depth, that is for fewer rows of a batch than planned: see cut_of. */
static int64_t member_bytes(const fnn_args *args) {
    const int64_t row = args->dim[PITCH] * args->table->item_size, tile = args->table->gemm_rows * row;
    return aligned(tile > group_bytes() ? tile : group_bytes());
}

void fnn_op_gemm_update_run(const fnn_args *args, const fnn_team *team) {
    const int64_t *d = args->dim, item = args->table->item_size;
    const cut c = cut_of(args);
    int64_t begin, end, sum0, sum1;
    char *grad = (char *)args->scratch + team->rank * member_bytes(args);
    fnn_args step = step_of(args);
    fnn_team_range(team, d[ROWS], args->table->gemm_rows, &begin, &end);
    for (int64_t col = 0; col < d[PITCH]; col += c.strip) {
        const int64_t width = fnn_smaller(c.strip, d[PITCH] - col), cols = fnn_smaller(width, d[COLS] - col);
        memset(grad, 0, (size_t)(c.group * width * item)); /* the padding's gradient is 0 */
        for (int64_t row = begin; row < end; row += c.group) {
            const int64_t rows = fnn_smaller(c.group, end - row);
            gradient(args, row, rows, col, cols, grad, width);
            make_step(args, &step, row, rows, col, width, grad);
        }
    }
    if (args->pointer[B_SUM]) {
        const fnn_args product = product_of(args);
        fnn_team_range(team, d[COLS], FNN_GEMM_SUM_UNIT, &sum0, &sum1);
        fnn_gemm_sum_right(&product, sum0, sum1);
    }
}

int fnn_op_gemm_update_region(const fnn_args *args, const fnn_team *team, int slot, fnn_region *region) {
    const int64_t *d = args->dim, item = args->table->item_size;
    int64_t begin, end;
    if (slot == A || slot == B || slot == B_SUM) {
        const fnn_gemm_plan plan = {.by_rows = 1, .unit = args->table->gemm_rows};
        fnn_args product = product_of(args);
        product.plan = &plan;
        return fnn_op_gemm_region(&product, team, slot == A ? GEMM_A : slot == B ? GEMM_B : GEMM_B_SUM, region);
    }
    fnn_team_range(team, d[ROWS], args->table->gemm_rows, &begin, &end);
    return fnn_region_rows(args, slot, begin, end, d[PITCH], d[PITCH], item, region);
}

fnn_work fnn_op_gemm_update_work(const fnn_args *args) {
    static const double STEP_NS = 0.2; /* per element that is in L2 */
    const double n = (double)args->dim[ROWS] * (double)args->dim[PITCH];
    const fnn_args product = product_of(args);
    fnn_work work = fnn_op_gemm_work(&product);
    double states = 0;
    for (int s = S0; s <= AVERAGE; s++)
        states += args->pointer[s] != NULL;
    work.flops += n * (2 + 5 * states);
    work.bytes += n * args->table->item_size * (1 + 2 * states); /* instead of writing the gradient, param both ways */
    work.ns += n * STEP_NS;
    return work;
}

int64_t fnn_op_gemm_update_scratch(const fnn_args *args, int team_size) { return member_bytes(args) * team_size; }
