/* gemm.c: the framework of every matrix product: blocks of depth, packing, what follows the sum, threads.
 *
 * Decision 1: depth is summed in fixed blocks, each one chain from zero, block sums added in order. The plan
 * (gemm_plan.c) says which operand lies along the vectors, what is packed and who computes what: speed, never bits.
 */
#include "gemm_plan.h"

#include <stddef.h>
#include <string.h>

#include "grid.h"

/* A member's rectangle of c and its scratch. */
typedef struct piece {
    const fnn_args *args;
    const fnn_gemm_plan *plan;
    int64_t row0, row1, col0, col1;
    char *left, *right, *tile;
} piece;

static char *element(const fnn_args *args, int slot, int64_t offset) {
    return (char *)args->pointer[slot] + offset * args->table->item_size;
}

static char *c_at(const fnn_args *args, int64_t row, int64_t col) {
    return element(args, GEMM_C, row * args->dim[GEMM_DIM_C_ROW] + col);
}

/* The derivative that follows the sum, NULL without one: of f's input, or, for a negative kind, of its output. */
static fnn_unary_backward_fn derivative_of(const fnn_args *args) {
    const int64_t d = args->dim[GEMM_DIM_DERIVATIVE];
    if (d < -1)
        return args->table->unary_backward_output[-d - 1];
    return d > 1 ? args->table->unary_backward[d - 1] : NULL;
}

/* Dropout comes between activation and derivative, and is a matter of whole rows: then the derivative waits for it. It
 * waits too where a tile is done sooner than the calls for its rows: all rows at once cost one call each. */
static int derivative_waits(const fnn_args *args) {
    enum { SHALLOW = 128 };
    return derivative_of(args) && (args->dim[GEMM_DIM_KEEP] || args->dim[GEMM_DIM_DEPTH] <= SHALLOW);
}

/* Bias, activation and derivative of the product at (row, col) of c; the last block of depth only. */
static void set_epilogue(const fnn_args *args, fnn_gemm *g, int64_t row, int64_t col) {
    const int64_t *d = args->dim, kind = d[GEMM_DIM_ACTIVATION] - 1;
    g->p0 = args->scalar[GEMM_P0];
    g->p1 = args->scalar[GEMM_P1];
    g->bias = args->pointer[GEMM_BIAS] ? element(args, GEMM_BIAS, col) : NULL;
    g->relu = kind == FNN_UNARY_relu;
    g->activation = kind > FNN_UNARY_identity && !g->relu ? args->table->unary[kind] : NULL;
    if (!derivative_waits(args) && (g->derivative = derivative_of(args))) {
        g->saved = element(args, GEMM_SAVED, row * d[GEMM_DIM_SAVED_ROW] + col);
        g->saved_row = d[GEMM_DIM_SAVED_ROW];
    }
}

static int is_last_block(const fnn_args *args, int64_t k) {
    return k + fnn_gemm_block(args) >= args->dim[GEMM_DIM_DEPTH];
}

/* Elements between the rows of a packed panel: a narrow one is packed without gaps, to take less of L1. */
static int64_t panel_row(const fnn_args *args, int64_t cols) {
    const int64_t panel = args->table->gemm_cols;
    return cols < args->table->lanes ? cols : (cols + panel - 1) / panel * panel;
}

/* ---- direct: c = a @ b ---- */

/* The next panel to be packed: packing would wait for it line by line. */
static void ask_for_panel(const piece *p, fnn_gemm *g, int64_t j, int64_t k) {
    const int64_t *d = p->args->dim, turned = d[GEMM_DIM_B_DEPTH] == 1;
    const int asks = (turned || d[GEMM_DIM_B_COL] == 1) && j < p->col1;
    g->next = asks ? element(p->args, GEMM_B, k * d[GEMM_DIM_B_DEPTH] + j * d[GEMM_DIM_B_COL]) : NULL;
    g->next_row = !asks ? 0 : turned ? d[GEMM_DIM_B_COL] : d[GEMM_DIM_B_DEPTH];
    g->next_step = !asks ? 0 : turned ? 2 * (int64_t)p->args->table->lanes : p->args->table->gemm_cols * g->next_row;
}

/* Rows [g->rows] of c from `row`, all the member's columns, one block of depth from k on. */
static void direct_pass(const piece *p, fnn_gemm *g, int64_t row, int64_t k) {
    const fnn_args *args = p->args;
    const int64_t *d = args->dim, width = p->right ? p->plan->panel : p->col1 - p->col0;
    for (int64_t j = p->col0; j < p->col1; j += width) {
        g->cols = fnn_smaller(width, p->col1 - j);
        g->b = element(args, GEMM_B, k * d[GEMM_DIM_B_DEPTH] + j * d[GEMM_DIM_B_COL]);
        g->b_depth = d[GEMM_DIM_B_DEPTH];
        g->c = c_at(args, row, j);
        if (is_last_block(args, k))
            set_epilogue(args, g, row, j);
        if (p->right) {
            const int64_t row = panel_row(args, g->cols);
            args->table->copy_2d(g->depth, g->cols, g->b, g->b_depth, d[GEMM_DIM_B_COL], p->right, row, 1, 0);
            g->b = p->right;
            g->b_depth = row;
            ask_for_panel(p, g, j + width, k);
        }
        args->table->gemm(g);
    }
}

static void direct(const piece *p) {
    const fnn_args *args = p->args;
    const int64_t *d = args->dim, depth = d[GEMM_DIM_DEPTH], block = fnn_gemm_block(args), pass = p->plan->pass;
    for (int64_t k = 0; k == 0 || k < depth; k += block)
        for (int64_t i = p->row0; i < p->row1; i += pass) {
            fnn_gemm g = {.rows = fnn_smaller(pass, p->row1 - i),
                          .depth = fnn_smaller(block, depth - k),
                          .a = element(args, GEMM_A, i * d[GEMM_DIM_A_ROW] + k * d[GEMM_DIM_A_DEPTH]),
                          .a_row = d[GEMM_DIM_A_ROW],
                          .a_depth = d[GEMM_DIM_A_DEPTH],
                          .c_row = d[GEMM_DIM_C_ROW],
                          .add = k > 0 || d[GEMM_DIM_ACCUMULATE]};
            if (p->left) {
                const int64_t row = fnn_gemm_left_row(args, g.depth);
                args->table->copy_2d(g.rows, g.depth, g.a, g.a_row, 1, p->left, row, 1, 0);
                g.a = p->left;
                g.a_row = row;
            }
            direct_pass(p, &g, i, k);
        }
}

/* ---- swapped: c.T = b.T @ a.T ---- */

/* a.T[block of depth from k, rows from i], in panels of gemm_cols columns one behind the other */
static void pack_turned(const piece *p, int64_t i, int64_t rows, int64_t k, int64_t depth) {
    const fnn_args *args = p->args;
    const int64_t *d = args->dim, panel = args->table->gemm_cols;
    for (int64_t r = 0; r < rows; r += panel)
        args->table->copy_2d(depth, fnn_smaller(panel, rows - r),
                             element(args, GEMM_A, (i + r) * d[GEMM_DIM_A_ROW] + k * d[GEMM_DIM_A_DEPTH]),
                             d[GEMM_DIM_A_DEPTH], d[GEMM_DIM_A_ROW], p->right + r * depth * args->table->item_size,
                             panel_row(args, fnn_smaller(panel, rows - r)), 1, 0);
}

/* c[i.., j..] = the finished piece of c.T, then what follows the sum */
static void turn(const piece *p, const fnn_gemm *swapped, int64_t i, int64_t j) {
    const fnn_args *args = p->args;
    fnn_gemm g = {
        .rows = swapped->cols, .cols = swapped->rows, .c = c_at(args, i, j), .c_row = args->dim[GEMM_DIM_C_ROW]};
    args->table->copy_2d(g.rows, g.cols, swapped->c, 1, swapped->c_row, g.c, g.c_row, 1,
                         args->dim[GEMM_DIM_ACCUMULATE] != 0);
    set_epilogue(args, &g, i, j);
    args->table->gemm_finish(&g);
}

/* Columns [j, j + g->rows) of c (rows of c.T) for `rows` rows from i, one block of depth from k on. */
static void swapped_chunk(const piece *p, fnn_gemm *g, int64_t i, int64_t rows, int64_t j, int64_t k) {
    const fnn_args *args = p->args;
    const int64_t *d = args->dim, panel = args->table->gemm_cols, item = args->table->item_size;
    const int whole = d[GEMM_DIM_DEPTH] <= fnn_gemm_block(args);
    const int64_t stripe = whole ? 0 : (p->col1 - p->col0) * panel; /* c.T between the blocks of depth */
    for (int64_t r = 0; r < rows; r += panel) {
        g->cols = fnn_smaller(panel, rows - r);
        if (p->right) {
            g->b = p->right + r * g->depth * item;
            g->b_depth = panel_row(args, g->cols);
        } else {
            g->b = element(args, GEMM_A, (i + r) * d[GEMM_DIM_A_ROW] + k * d[GEMM_DIM_A_DEPTH]);
            g->b_depth = d[GEMM_DIM_A_DEPTH];
        }
        g->c = p->tile + (whole ? 0 : (r / panel * stripe + (j - p->col0) * panel) * item);
        g->c_row = panel;
        args->table->gemm(g);
        if (is_last_block(args, k))
            turn(p, g, i + r, j);
    }
}

static void swapped_pass(const piece *p, int64_t i, int64_t rows) {
    const fnn_args *args = p->args;
    const int64_t *d = args->dim, block = fnn_gemm_block(args), chunk = fnn_gemm_chunk(args);
    const int64_t chunks = (p->col1 - p->col0 + chunk - 1) / chunk;
    for (int64_t k = 0; k == 0 || k < d[GEMM_DIM_DEPTH]; k += block) {
        const int64_t depth = fnn_smaller(block, d[GEMM_DIM_DEPTH] - k);
        if (p->right)
            pack_turned(p, i, rows, k, depth);
        for (int64_t n = 0, j = p->col0; n < chunks; n++) { /* equal chunks, so that no tile is left nearly empty */
            const int64_t next = p->col0 + (p->col1 - p->col0) * (n + 1) / chunks;
            fnn_gemm g = {.rows = next - j,
                          .depth = depth,
                          .a = element(args, GEMM_B, j * d[GEMM_DIM_B_COL] + k * d[GEMM_DIM_B_DEPTH]),
                          .a_row = d[GEMM_DIM_B_COL],
                          .a_depth = d[GEMM_DIM_B_DEPTH],
                          .add = k > 0};
            if (p->left) {
                const int64_t row = fnn_gemm_left_row(args, depth);
                args->table->copy_2d(g.rows, depth, g.a, g.a_row, 1, p->left, row, 1, 0);
                g.a = p->left;
                g.a_row = row;
            }
            swapped_chunk(p, &g, i, rows, j, k);
            j = next;
        }
    }
}

/* ---- in place: b is never packed, whatever its strides ---- */

/* The depth from k on; dot has an order of its own and takes it whole. */
static fnn_gemm in_place(const piece *p, int64_t k, int64_t depth) {
    const fnn_args *args = p->args;
    const int64_t *d = args->dim;
    fnn_gemm g = {.rows = p->row1 - p->row0,
                  .cols = p->col1 - p->col0,
                  .depth = depth,
                  .a = element(args, GEMM_A, p->row0 * d[GEMM_DIM_A_ROW] + k),
                  .a_row = d[GEMM_DIM_A_ROW],
                  .b = element(args, GEMM_B, k * d[GEMM_DIM_B_DEPTH] + p->col0 * d[GEMM_DIM_B_COL]),
                  .b_depth = d[GEMM_DIM_B_DEPTH],
                  .b_col = d[GEMM_DIM_B_COL],
                  .c = c_at(args, p->row0, p->col0),
                  .c_row = d[GEMM_DIM_C_ROW],
                  .add = k > 0 || d[GEMM_DIM_ACCUMULATE]};
    if (k + depth >= d[GEMM_DIM_DEPTH])
        set_epilogue(args, &g, p->row0, p->col0);
    return g;
}

static void dot(const piece *p) {
    const int64_t *d = p->args->dim;
    fnn_gemm g = in_place(p, 0, d[GEMM_DIM_DEPTH]);
    if (p->left) {
        const int64_t row = fnn_gemm_left_row(p->args, g.depth);
        p->args->table->copy_2d(g.rows, g.depth, element(p->args, GEMM_A, p->row0 * d[GEMM_DIM_A_ROW]),
                                d[GEMM_DIM_A_ROW], d[GEMM_DIM_A_DEPTH], p->left, row, 1, 0);
        g.a = p->left;
        g.a_row = row;
    }
    p->args->table->gemm_dot(&g);
}

static void narrow(const piece *p) {
    const int64_t depth = p->args->dim[GEMM_DIM_DEPTH], block = fnn_gemm_block(p->args);
    for (int64_t k = 0; k == 0 || k < depth; k += block) {
        const fnn_gemm g = in_place(p, k, fnn_smaller(block, depth - k));
        p->args->table->gemm_narrow(&g);
    }
}

static void swapped(const piece *p) {
    for (int64_t i = p->row0; i < p->row1; i += p->plan->pass)
        swapped_pass(p, i, fnn_smaller(p->plan->pass, p->row1 - i));
}

/* ---- the op ---- */

/* Dropout of the member's rows, and the derivative that had to wait for it. */
static void drop(const piece *p) {
    const fnn_args *args = p->args;
    const int64_t *d = args->dim, cols = p->col1 - p->col0;
    for (int64_t row = p->row0; row < p->row1; row++) {
        char *c = c_at(args, row, p->col0);
        const int64_t number = (row + (int64_t)args->scalar[GEMM_FIRST_ROW]) * d[GEMM_DIM_COLS] + p->col0;
        args->table->dropout(cols, c, c, number, (int32_t)(d[GEMM_DIM_KEEP] - 1), (uint64_t)d[GEMM_DIM_SEED],
                             (uint32_t)d[GEMM_DIM_LAYER], (uint32_t)(int64_t)args->scalar[GEMM_STEP]);
    }
}

static void multiply_by_derivative(const piece *p) {
    const fnn_args *args = p->args;
    const fnn_unary_backward_fn derivative = derivative_of(args);
    const int64_t *d = args->dim;
    int64_t cols = p->col1 - p->col0, rows = p->row1 - p->row0;
    if (cols == d[GEMM_DIM_C_ROW] && cols == d[GEMM_DIM_SAVED_ROW]) /* one long row */
        cols *= rows, rows = 1;
    for (int64_t row = p->row0; row < p->row0 + rows; row++) {
        char *c = c_at(args, row, p->col0);
        derivative(cols, c, element(args, GEMM_SAVED, row * d[GEMM_DIM_SAVED_ROW] + p->col0), c, args->scalar[GEMM_P0],
                   args->scalar[GEMM_P1]);
    }
}

/* b_sum[cols] = column sums of b, which the member has just read: blocks of depth in order, as sum_rows. */
void fnn_gemm_sum_right(const fnn_args *args, int64_t begin, int64_t end) {
    enum { SUM_ROWS = 256, STRIP = 256 };
    const int64_t *d = args->dim;
    for (int64_t col = begin; col < end; col += STRIP) {
        double total[STRIP] = {0}, sums[STRIP];
        const int64_t cols = fnn_smaller(STRIP, end - col);
        for (int64_t k = 0; k < d[GEMM_DIM_DEPTH]; k += SUM_ROWS) {
            args->table->column_sums(fnn_smaller(SUM_ROWS, d[GEMM_DIM_DEPTH] - k), cols,
                                     element(args, GEMM_B, k * d[GEMM_DIM_B_DEPTH] + col), d[GEMM_DIM_B_DEPTH], sums);
            for (int64_t j = 0; j < cols; j++)
                total[j] += sums[j];
        }
        args->table->store_doubles(cols, total, 1, element(args, GEMM_B_SUM, col), 1, d[GEMM_DIM_ACCUMULATE] != 0);
    }
}

static fnn_gemm_plan plan_of(const fnn_args *args, int team_size) {
    return args->plan ? *(const fnn_gemm_plan *)args->plan
                      : fnn_gemm_plan_for(args, team_size, args->scratch_bytes, FNN_CUT_ANY);
}

/* The member's part of c, and the columns of b that it sums up: those of its part, if it has whole columns. */
static piece piece_of(const fnn_args *args, const fnn_gemm_plan *plan, const fnn_team *team, int64_t *sum0,
                      int64_t *sum1) {
    const int64_t rows = args->dim[GEMM_DIM_ROWS], cols = args->dim[GEMM_DIM_COLS];
    piece p = {.args = args, .plan = plan, .row1 = rows, .col1 = cols};
    if (plan->by_rows) {
        fnn_team_range(team, rows, plan->unit, &p.row0, &p.row1);
        fnn_team_range(team, cols, FNN_GEMM_SUM_UNIT, sum0, sum1);
    } else {
        fnn_team_range(team, cols, plan->unit, &p.col0, &p.col1);
        *sum0 = p.col0, *sum1 = p.col1;
    }
    return p;
}

void fnn_op_gemm_run(const fnn_args *args, const fnn_team *team) {
    const fnn_gemm_plan plan = plan_of(args, team->size);
    int64_t sum0, sum1;
    piece p = piece_of(args, &plan, team, &sum0, &sum1);
    char *scratch = (char *)args->scratch + team->rank * fnn_gemm_plan_bytes(&plan);
    p.left = plan.pack_left ? scratch : NULL;
    p.right = plan.pack_right ? scratch + plan.left_bytes : NULL;
    p.tile = scratch + plan.left_bytes + plan.right_bytes;
    if (p.row0 < p.row1 && p.col0 < p.col1) {
        static void (*const paths[])(const piece *) = {
            [FNN_GEMM_DIRECT] = direct, [FNN_GEMM_SWAPPED] = swapped, [FNN_GEMM_NARROW] = narrow, [FNN_GEMM_DOT] = dot};
        paths[plan.path](&p);
        if (args->dim[GEMM_DIM_KEEP])
            drop(&p);
        if (derivative_waits(args))
            multiply_by_derivative(&p);
    }
    if (args->pointer[GEMM_B_SUM])
        fnn_gemm_sum_right(args, sum0, sum1);
}

double fnn_op_gemm_plan(const fnn_args *args, int team_size, int cut, fnn_plan *plan) {
    _Static_assert(sizeof(fnn_gemm_plan) <= sizeof(fnn_plan), "a plan fits");
    const fnn_gemm_plan made = fnn_gemm_plan_for(args, team_size, INT64_MAX, cut);
    memcpy(plan, &made, sizeof made);
    return cut != FNN_CUT_ANY && made.by_rows != (cut == FNN_CUT_ROWS) ? -1 : made.ns;
}

/* Element (row, col) of a [rows, cols] operand is at row * row_step + col * col_step, one of them 1; else all of it. */
static int strided_region(const fnn_args *args, int slot, int64_t rows, int64_t cols, int64_t row_step,
                          int64_t col_step, int64_t offset, fnn_region *region) {
    const int64_t item = args->table->item_size;
    if (col_step == 1)
        fnn_region_rows(args, slot, 0, rows, row_step, cols, item, region);
    else if (row_step == 1)
        fnn_region_rows(args, slot, 0, cols, col_step, rows, item, region);
    else
        fnn_region_rows(args, slot, 0, rows > 0, 1, (rows - 1) * row_step + (cols - 1) * col_step + 1, item, region);
    if (region->runs > 0)
        region->start += offset * item;
    return row_step >= 0 && col_step >= 0;
}

int fnn_op_gemm_region(const fnn_args *args, const fnn_team *team, int slot, fnn_region *region) {
    const int64_t *d = args->dim, depth = d[GEMM_DIM_DEPTH];
    const fnn_gemm_plan plan = team->size > 1 ? plan_of(args, team->size) : (fnn_gemm_plan){.unit = 1};
    int64_t sum0, sum1;
    const piece p = piece_of(args, &plan, team, &sum0, &sum1);
    const int none = p.row0 >= p.row1 || p.col0 >= p.col1;
    const int64_t rows = none ? 0 : p.row1 - p.row0, cols = none ? 0 : p.col1 - p.col0;
    switch (slot) {
    case GEMM_A:
        return strided_region(args, slot, rows, depth, d[GEMM_DIM_A_ROW], d[GEMM_DIM_A_DEPTH],
                              p.row0 * d[GEMM_DIM_A_ROW], region);
    case GEMM_B: /* by rows, members have all of it, for the sums too */
        return strided_region(args, slot, depth, p.col1 - p.col0, d[GEMM_DIM_B_DEPTH], d[GEMM_DIM_B_COL],
                              p.col0 * d[GEMM_DIM_B_COL], region);
    case GEMM_BIAS:
        return strided_region(args, slot, 1, cols, 1, 1, p.col0, region);
    case GEMM_B_SUM:
        return strided_region(args, slot, sum0 < sum1, sum1 - sum0, 1, 1, sum0, region);
    default: {
        const int64_t pitch = d[slot == GEMM_C ? GEMM_DIM_C_ROW : GEMM_DIM_SAVED_ROW];
        return strided_region(args, slot, rows, cols, pitch, 1, p.row0 * pitch + p.col0, region);
    }
    }
}

fnn_work fnn_op_gemm_work(const fnn_args *args) {
    const double rows = (double)args->dim[GEMM_DIM_ROWS], cols = (double)args->dim[GEMM_DIM_COLS],
                 depth = (double)args->dim[GEMM_DIM_DEPTH];
    const double bytes = (rows * depth + depth * cols + rows * cols) * args->table->item_size;
    return fnn_work_of(2 * rows * cols * depth, bytes, fnn_gemm_plan_for(args, 1, INT64_MAX, FNN_CUT_ANY).ns);
}

int64_t fnn_op_gemm_scratch(const fnn_args *args, int team_size) {
    const fnn_gemm_plan plan =
        args->plan ? *(const fnn_gemm_plan *)args->plan : fnn_gemm_plan_for(args, team_size, INT64_MAX, FNN_CUT_ANY);
    const int64_t wanted = fnn_gemm_plan_bytes(&plan), least = fnn_gemm_least_bytes(args);
    return (wanted > least ? wanted : least) * team_size;
}
