/* gemm_plan.c: the cost model of products (see gemm_plan.h).
 *
 * Times are estimated from the numbers of multiply-adds, loads and copied elements, with the constants below: typical
 * of processors of the last ten years, not measured anywhere at run time. What matters is their proportions: a wrong
 * choice between two paths of similar cost is cheap.
 */
#include "gemm_plan.h"

#include "../base/cpu.h"
#include "grid.h"

static const double CYCLES_PER_NS = 3;
static const double MULTIPLY_ADDS = 1.5, LOADS = 1;    /* vectors per cycle */
static const double LATENCY = 4;                       /* cycles of a multiply-add: a tile takes no less per step */
static const double TILE = 20, STORE = 1.5;            /* cycles to begin a tile, to store a vector of it */
static const double TURN_BYTE = 0.1, COPY_BYTE = 0.05; /* cycles per byte packed transposed, packed as it is */
static const double STREAM = 16;                       /* bytes per cycle of an operand that is read once */
static const double TURNED = 1.15;                     /* the swapped path's tiles write to one more buffer */
static const double TRANSPOSE = 3.5, GROUP = 100;      /* cycles per vector turned in registers, per group of rows */
static const double FAR_BYTE = 0.03;                   /* cycles per byte of a right operand that does not stay in L2 */
static const double START = 120;                       /* cycles of a call */
/* A processor asks for the lines of c that would come next, and takes them from the member that writes them: cycles per
 * panel (once if c is written row by row) where members share the rows, per row where they share the columns. */
static const double ROWS_BORDER = 1000, COLS_BORDER = 150;

enum { DEFAULT_BLOCK = 1024, CHUNK_TILES = 4, LINE = 64 };

static double larger(double a, double b) { return a > b ? a : b; }
static int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
static int64_t round_up(int64_t n, int64_t unit) { return ceil_div(n, unit) * unit; }

int64_t fnn_gemm_block(const fnn_args *args) {
    return args->dim[GEMM_DIM_BLOCK] > 0 ? args->dim[GEMM_DIM_BLOCK] : DEFAULT_BLOCK;
}

int64_t fnn_gemm_chunk(const fnn_args *args) { return (int64_t)CHUNK_TILES * args->table->gemm_rows; }

/* whole cache lines, and an odd number of them, so that the rows of a tile do not share cache sets */
int64_t fnn_gemm_left_row(const fnn_args *args, int64_t n) {
    const int64_t line = LINE / args->table->item_size;
    return (ceil_div(n, line) | 1) * line;
}

/* Rows that are a multiple of half a page apart share a few sets of L1 and evict each other while a tile reads them
 * side by side. */
static int rows_collide(const fnn_args *args, int64_t rows, int64_t stride, int64_t step) {
    enum { SAME_SETS = 2048, WAYS = 4 };
    const int64_t bytes = stride * args->table->item_size;
    return rows > WAYS && step == 1 && bytes != 0 && bytes % SAME_SETS == 0;
}

/* All of the right operand stays in L1 (gemm.h). */
static int right_is_near(const fnn_args *args) {
    return args->dim[GEMM_DIM_DEPTH] * args->dim[GEMM_DIM_COLS] * args->table->item_size <= FNN_GEMM_NEAR;
}

/* Cycles of the tiles of a rows x cols x depth product with vectors along the columns. */
static double tile_cycles(const fnn_args *args, int64_t rows, int64_t cols, int64_t depth) {
    const int64_t lanes = args->table->lanes, panel = args->table->gemm_cols;
    const int64_t tiles = ceil_div(rows, args->table->gemm_rows), wide = cols / panel;
    const int64_t rest = ceil_div(cols - wide * panel, lanes), vectors = 2 * wide + rest, panels = wide + (rest > 0);
    const double fma = (double)(rows * vectors) / MULTIPLY_ADDS;
    const double loads = (double)(tiles * vectors + rows * panels) / LOADS;
    const double wait = rows <= 3 ? 0 : LATENCY * (double)(tiles * panels);
    return larger(larger(fma, loads), wait) * (double)depth + TILE * (double)(tiles * panels) +
           STORE * (double)(rows * vectors);
}

/* Cycles of one member's rows x cols by a path. */
static double path_cycles(const fnn_args *args, fnn_gemm_path path, int64_t rows, int64_t cols) {
    const double item = args->table->item_size;
    const int64_t depth = args->dim[GEMM_DIM_DEPTH];
    const double right = (double)depth * (double)cols, left = (double)depth * (double)rows;
    const double out = (double)rows * (double)cols;
    double cycles;
    if (path == FNN_GEMM_DIRECT) {
        cycles = tile_cycles(args, rows, cols, depth);
        if (args->dim[GEMM_DIM_B_COL] != 1)
            cycles += TURN_BYTE * item * right;
        if (rows_collide(args, rows, args->dim[GEMM_DIM_A_ROW], args->dim[GEMM_DIM_A_DEPTH]))
            cycles += COPY_BYTE * item * left;
        if (right * item > (double)(fnn_cache_size(2) / 2))
            cycles += FAR_BYTE * item * right;
    } else if (path == FNN_GEMM_SWAPPED) {
        cycles = TURNED * tile_cycles(args, cols, rows, depth) + TURN_BYTE * item * out;
        if (args->dim[GEMM_DIM_A_ROW] != 1)
            cycles += TURN_BYTE * item * left;
        if (rows_collide(args, cols, args->dim[GEMM_DIM_B_COL], args->dim[GEMM_DIM_B_DEPTH]))
            cycles += COPY_BYTE * item * right;
    } else if (path == FNN_GEMM_NARROW) {
        const int64_t lanes = args->table->lanes;
        const double groups = (double)ceil_div(rows, lanes), squares = (double)ceil_div(depth, lanes);
        cycles = groups * (GROUP + squares * (double)lanes * (TRANSPOSE + 0.9 * (double)cols)) + out;
    } else {
        const double steps = (double)ceil_div(depth, args->table->lanes);
        cycles = out * (larger(steps, LATENCY) / (rows > 1 ? MULTIPLY_ADDS : 1) + 10);
    }
    return START + larger(cycles, right * item / STREAM);
}

/* The better of sharing the rows or the columns among the team, for one path. */
static double shared_cycles(const fnn_args *args, fnn_gemm_path path, int team_size, int cut, int *by_rows,
                            int64_t *unit) {
    const int64_t rows = args->dim[GEMM_DIM_ROWS], cols = args->dim[GEMM_DIM_COLS];
    const int64_t lanes = args->table->lanes, panel = args->table->gemm_cols;
    int64_t row_unit = path == FNN_GEMM_SWAPPED || path == FNN_GEMM_NARROW ? lanes : 1;
    const int64_t col_unit = path == FNN_GEMM_SWAPPED   ? 1
                             : path == FNN_GEMM_DOT     ? 8
                             : cols > panel * team_size ? panel
                                                        : lanes;
    if (cut == FNN_CUT_ROWS && row_unit < fnn_row_unit(rows, team_size))
        row_unit = FNN_ROW_UNIT; /* where the ops before and after it cut them */
    *by_rows = 0, *unit = col_unit;
    if (team_size == 1)
        return path_cycles(args, path, rows, cols);
    const int64_t cols_of_one = fnn_smaller(cols, ceil_div(ceil_div(cols, col_unit), team_size) * col_unit);
    const int64_t rows_of_one = fnn_smaller(rows, ceil_div(ceil_div(rows, row_unit), team_size) * row_unit);
    const double by_cols = path_cycles(args, path, rows, cols_of_one) + COLS_BORDER * (double)rows;
    if (path == FNN_GEMM_DOT || cut == FNN_CUT_COLS)
        return by_cols;
    const double panels = path == FNN_GEMM_DIRECT && !right_is_near(args) ? (double)ceil_div(cols, panel) : 1;
    const double along_rows = path_cycles(args, path, rows_of_one, cols) + ROWS_BORDER * panels;
    if (by_cols <= along_rows && cut != FNN_CUT_ROWS)
        return by_cols;
    *by_rows = 1, *unit = row_unit;
    return along_rows;
}

/* The one path with bits of its own, so the shape and b's order alone decide: never the strides of a, the team or an
 * estimate. Short sums are not worth adding up the lanes of a vector. */
static int takes_dot(const fnn_args *args) {
    return args->dim[GEMM_DIM_ROWS] < args->dim[GEMM_DIM_DOT_ROWS] && args->dim[GEMM_DIM_B_DEPTH] == 1 &&
           args->dim[GEMM_DIM_DEPTH] >= 2 * (int64_t)args->table->lanes;
}

/* A panel of b in place lies on more pages than the processor keeps at hand. Where it is no wider than a cache line,
 * the multiply-adds of one term are too few to hide that: worth a copy if enough tiles of rows use it. */
static int panel_scattered(const fnn_args *args) {
    enum { SPAN = 256 << 10, TILES = 12 };
    const int64_t *d = args->dim, item = args->table->item_size;
    const int64_t depth = fnn_smaller(fnn_gemm_block(args), d[GEMM_DIM_DEPTH]);
    return args->table->gemm_cols * item <= LINE && d[GEMM_DIM_ROWS] > TILES * (int64_t)args->table->gemm_rows &&
           depth * d[GEMM_DIM_B_DEPTH] * item > SPAN;
}

static int may_narrow(const fnn_args *args) {
    return args->dim[GEMM_DIM_A_DEPTH] == 1 && args->dim[GEMM_DIM_COLS] <= args->table->narrow_cols;
}

/* c.T is added to c only once, so the sums of its blocks must be complete by then. */
static int may_swap(const fnn_args *args) {
    return !args->dim[GEMM_DIM_ACCUMULATE] || args->dim[GEMM_DIM_DEPTH] <= fnn_gemm_block(args);
}

/* b in rows, and enough columns to fill vectors: there is nothing to weigh. */
static int plainly_direct(const fnn_args *args) {
    return args->dim[GEMM_DIM_B_COL] == 1 && args->dim[GEMM_DIM_COLS] >= args->table->lanes;
}

static int64_t aligned(int64_t bytes) { return (bytes + 127) / 128 * 128; }

/* What is packed, and in which portions. */
static void plan_packing(const fnn_args *args, fnn_gemm_plan *plan) {
    const int64_t *d = args->dim, item = args->table->item_size, panel = args->table->gemm_cols;
    const int64_t all = round_up(d[GEMM_DIM_COLS], panel);
    const int64_t depth = fnn_smaller(fnn_gemm_block(args), d[GEMM_DIM_DEPTH]), rows = d[GEMM_DIM_ROWS];
    const int64_t left_row = fnn_gemm_left_row(args, depth) * item, tile = args->table->gemm_rows;
    int64_t left_rows;
    if (plan->path == FNN_GEMM_DIRECT) {
        plan->pack_right = d[GEMM_DIM_B_COL] != 1 || panel_scattered(args);
        plan->pack_left = rows_collide(args, rows, d[GEMM_DIM_A_ROW], d[GEMM_DIM_A_DEPTH]);
        /* b in place: a stays in L2 while the panels of b go by. b packed: each panel is used for many rows. */
        const int64_t fit = plan->pack_right ? 512 : fnn_cache_size(2) / 2 / left_row / tile * tile;
        plan->pass = fit < 8 * tile ? 8 * tile : fit;
        plan->panel = right_is_near(args) ? all : panel;
        plan->right_bytes = plan->pack_right ? aligned(depth * plan->panel * item) : 0;
        left_rows = fnn_smaller(plan->pass, rows);
    } else {
        plan->pack_right = d[GEMM_DIM_A_ROW] != 1;
        plan->pack_left = rows_collide(args, d[GEMM_DIM_COLS], d[GEMM_DIM_B_COL], d[GEMM_DIM_B_DEPTH]);
        plan->pass = 8 * panel;
        const int64_t width = round_up(fnn_smaller(plan->pass, rows), panel);
        plan->right_bytes = plan->pack_right ? aligned(depth * width * item) : 0;
        if (d[GEMM_DIM_DEPTH] > depth) /* all of c.T waits for the next block */
            plan->tile_bytes = aligned(d[GEMM_DIM_COLS] * width * item);
        else
            plan->tile_bytes = aligned(fnn_smaller(fnn_gemm_chunk(args), d[GEMM_DIM_COLS]) * panel * item);
        left_rows = fnn_smaller(fnn_gemm_chunk(args), d[GEMM_DIM_COLS]);
    }
    plan->left_bytes = plan->pack_left ? aligned(left_rows * left_row) : 0;
}

int64_t fnn_gemm_least_bytes(const fnn_args *args) {
    const int64_t depth = fnn_smaller(fnn_gemm_block(args), args->dim[GEMM_DIM_DEPTH]);
    return args->dim[GEMM_DIM_B_COL] != 1 ? aligned(depth * args->table->gemm_cols * args->table->item_size) : 0;
}

int64_t fnn_gemm_plan_bytes(const fnn_gemm_plan *plan) {
    return plan->left_bytes + plan->right_bytes + plan->tile_bytes;
}

/* What follows the sum, on one thread: passes over rows that have just been stored. */
static double after_ns(const fnn_args *args) {
    static const double DERIVATIVE_NS = 0.1, DROPOUT_NS = 0.25, SUM_NS = 0.06; /* per element */
    const int64_t *d = args->dim;
    const double out = (double)d[GEMM_DIM_ROWS] * (double)d[GEMM_DIM_COLS];
    return out * ((d[GEMM_DIM_DERIVATIVE] ? DERIVATIVE_NS : 0) + (d[GEMM_DIM_KEEP] ? DROPOUT_NS : 0)) +
           (args->pointer[GEMM_B_SUM] ? SUM_NS * (double)d[GEMM_DIM_DEPTH] * (double)d[GEMM_DIM_COLS] : 0);
}

fnn_gemm_plan fnn_gemm_plan_for(const fnn_args *args, int team_size, int64_t most, int cut) {
    fnn_gemm_plan plan = {.path = takes_dot(args) ? FNN_GEMM_DOT : FNN_GEMM_DIRECT};
    double best = shared_cycles(args, plan.path, team_size, cut, &plan.by_rows, &plan.unit);
    if (plan.path == FNN_GEMM_DIRECT && !plainly_direct(args)) {
        for (fnn_gemm_path path = FNN_GEMM_SWAPPED; path <= FNN_GEMM_NARROW; path++) {
            int by_rows;
            int64_t unit;
            if (!(path == FNN_GEMM_NARROW ? may_narrow(args) : may_swap(args)))
                continue;
            const double cycles = shared_cycles(args, path, team_size, cut, &by_rows, &unit);
            if (cycles < best) {
                best = cycles;
                plan.path = path, plan.by_rows = by_rows, plan.unit = unit;
            }
        }
    }
    if (plan.path < FNN_GEMM_NARROW)
        plan_packing(args, &plan);
    if (plan.path == FNN_GEMM_DOT && args->dim[GEMM_DIM_A_DEPTH] != 1) {
        const int64_t left_row = fnn_gemm_left_row(args, args->dim[GEMM_DIM_DEPTH]) * args->table->item_size;
        plan.pack_left = 1, plan.left_bytes = aligned(args->dim[GEMM_DIM_ROWS] * left_row);
    }
    if (fnn_gemm_plan_bytes(&plan) * team_size > most) {
        if (plan.path == FNN_GEMM_SWAPPED) {
            plan = (fnn_gemm_plan){.path = FNN_GEMM_DIRECT};
            best = shared_cycles(args, FNN_GEMM_DIRECT, team_size, cut, &plan.by_rows, &plan.unit);
            plan_packing(args, &plan);
        }
        if (fnn_gemm_plan_bytes(&plan) * team_size > most)
            plan.pack_left = 0, plan.left_bytes = 0;
        if (fnn_gemm_plan_bytes(&plan) * team_size > most) /* the least: a panel of b, or b in place */
            plan.panel = args->table->gemm_cols, plan.right_bytes = fnn_gemm_least_bytes(args),
            plan.pack_right = plan.right_bytes > 0;
    }
    plan.ns = best / CYCLES_PER_NS + after_ns(args) / team_size;
    return plan;
}
