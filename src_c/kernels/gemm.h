/* gemm.h: the matrix product tile.
 *
 *   c[rows, cols] (+)= a[rows, depth] @ b[depth, cols] (+ bias[cols]) (then relu)
 *
 * Contract (the framework around it is ops/gemm.c):
 * - The vector dimension is columns; each element of c is ONE chain of fused multiply-adds in the order of depth, from
 *   zero. The bits therefore depend neither on the tile that an element falls in, nor on rows, threads or strides.
 * - a is read with any two strides; rows of b are contiguous; nothing outside the given rows and columns is touched:
 *   the last columns are read and written under a mask, by the same code as the others.
 * - Overwriting never reads c; the tile's lines of c are asked for before the loop, so that storing does not wait.
 * - Rows are cut into equal tiles: 32 rows are 11 + 11 + 10, never 14 + 14 + 4, so that no tile starves the FMA units.
 * - v_pin keeps each broadcast in a register. Otherwise gcc folds the load into every multiply-add that uses it and
 *   the load ports, not the FMA units, become the limit.
 *
 * Registers per tile: GEMM_ROWS x 2 accumulators, 2 vectors of b, 1 broadcast of a. One to three rows have too few
 * chains that way to hide the latency of a multiply-add: their tiles are 8 or 4 vectors wide and read b in longer runs.
 */
#include "../base/own.h"
#include "part.h"

#if defined(FNN_ISA_AVX512)
#define GEMM_ROWS 14
#elif defined(FNN_ISA_NEON)
#define GEMM_ROWS 12
#elif defined(FNN_ISA_SCALAR)
#define GEMM_ROWS 4
#else
#define GEMM_ROWS 6
#endif
#define GEMM_COLS (2 * VLEN)

/* What will be read next, asked for while a tile computes: two vectors every `row` elements, after GEMM_COLS of them
 * the same from `step` elements on. Strides of 0 ask for nothing new. */
typedef struct gemm_ahead {
    const real *from;
    int64_t row, step;
} gemm_ahead;

typedef struct gemm_tile {
    int64_t depth, a_row, a_depth, b_depth, c_row;
    const real *a, *b, *bias;
    gemm_ahead ahead;
    real *c;
    int tail;      /* columns under the mask */
    int add, relu; /* c is added to the product; relu after the bias */
} gemm_tile;

#if GEMM_ROWS == 14
#define GEMM_EACH_ROW(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14)
#elif GEMM_ROWS == 12
#define GEMM_EACH_ROW(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12)
#elif GEMM_ROWS == 6
#define GEMM_EACH_ROW(X) X(1) X(2) X(3) X(4) X(5) X(6)
#else
#define GEMM_EACH_ROW(X) X(1) X(2) X(3) X(4)
#endif

/* One vector of c from its accumulator; a partial one has t->tail lanes. */
FNN_INLINE void gemm_store(const gemm_tile *t, real *c, vec value, vec bias, const int partial) {
    if (t->add)
        value = v_add(partial ? v_load_n(c, t->tail) : v_load(c), value);
    if (t->bias)
        value = v_add(value, bias);
    if (t->relu)
        value = v_max(v_zero(), value);
    if (partial)
        v_store_n(c, value, t->tail);
    else
        v_store(c, value);
}

enum { GEMM_WHOLE, GEMM_PARTIAL, GEMM_SINGLE };

/* Every third row of a has a pointer of its own, that moves along the depth; the two rows after it are one and two
 * strides away, which an address can say. A pointer or an offset for each row would not fit the registers: they would
 * be loaded again for every step. The empty assembly keeps the compiler from deriving one from another. */
#define GEMM_BASE(n) ((n) <= 3 ? a0 : (n) <= 6 ? a1 : (n) <= 9 ? a2 : (n) <= 12 ? a3 : a4)
#define GEMM_EACH_BASE(X) X(0) X(1) X(2) X(3) X(4)

/* rows is a compile-time constant, and so is shape: two whole vectors of columns (GEMM_WHOLE), two of which the second
 * is under a mask (GEMM_PARTIAL), or one under a mask (GEMM_SINGLE). Rows are
 * written out by macro, not by loops that a compiler may or may not unroll: an accumulator with a variable index lives
 * in memory. */
FNN_INLINE void gemm_tile_body(const int rows, const int shape, const gemm_tile *t) {
    const int single = shape == GEMM_SINGLE, partial = shape == GEMM_PARTIAL;
    vec sum0[GEMM_ROWS], sum1[GEMM_ROWS];
    const real *b = t->b;
    const int64_t a_row = t->a_row * (int64_t)sizeof(real), a_depth = t->a_depth * (int64_t)sizeof(real),
                  b_depth = t->b_depth;
    const int tail = t->tail;
    const int asks = shape == GEMM_WHOLE && rows > 5; /* a lower tile has no load to spare */
    const real *from = t->ahead.from;
    const int64_t ahead_row = t->ahead.row;
#define GEMM_FETCH(n)                                                                                                  \
    if (n <= rows) {                                                                                                   \
        fnn_own_line(t->c + (n - 1) * t->c_row);                                                                       \
        if (shape != GEMM_SINGLE)                                                                                      \
            fnn_own_line(t->c + (n - 1) * t->c_row + VLEN);                                                            \
    }
#define GEMM_ZERO(n)                                                                                                   \
    if (n <= rows)                                                                                                     \
        sum0[n - 1] = sum1[n - 1] = v_zero();
#define GEMM_STEP(n)                                                                                                   \
    if (n <= rows) {                                                                                                   \
        const vec left = v_pin(v_set1(*(const real *)(GEMM_BASE(n) + ((n) % 3 == 1   ? 0                               \
                                                                      : (n) % 3 == 2 ? row1                            \
                                                                                     : row2))));                       \
        sum0[n - 1] = v_fma(left, right0, sum0[n - 1]);                                                                \
        if (shape != GEMM_SINGLE)                                                                                      \
            sum1[n - 1] = v_fma(left, right1, sum1[n - 1]);                                                            \
    }
#define GEMM_STORE(n)                                                                                                  \
    if (n <= rows) {                                                                                                   \
        gemm_store(t, t->c + (n - 1) * t->c_row, sum0[n - 1], bias0, single);                                          \
        if (shape != GEMM_SINGLE)                                                                                      \
            gemm_store(t, t->c + (n - 1) * t->c_row + VLEN, sum1[n - 1], bias1, partial);                              \
    }
#define GEMM_ADVANCE(i)                                                                                                \
    if (3 * i < rows) {                                                                                                \
        a##i += a_depth;                                                                                               \
        __asm__ volatile("" : "+r"(a##i));                                                                             \
    }
    GEMM_EACH_ROW(GEMM_FETCH)
    GEMM_EACH_ROW(GEMM_ZERO)
    int64_t row1 = a_row, row2 = 2 * a_row;
    __asm__("" : "+r"(row1), "+r"(row2));
    const char *a0 = (const char *)t->a, *a1 = rows > 3 ? a0 + 3 * a_row : a0, *a2 = rows > 6 ? a0 + 6 * a_row : a0,
               *a3 = rows > 9 ? a0 + 9 * a_row : a0, *a4 = rows > 12 ? a0 + 12 * a_row : a0;
    for (int64_t left = t->depth; left > 0; from += t->ahead.step) {
        int64_t k = asks && left > GEMM_COLS ? GEMM_COLS : left;
        left -= k;
        for (const real *ahead = from; k > 0; k--) {
            const vec right0 = single ? v_load_n(b, tail) : v_load(b);
            const vec right1 = single ? right0 : partial ? v_load_n(b + VLEN, tail) : v_load(b + VLEN);
            GEMM_EACH_ROW(GEMM_STEP)
            GEMM_EACH_BASE(GEMM_ADVANCE)
            b += b_depth;
            if (asks) {
                __builtin_prefetch(ahead, 0, 2);
                __builtin_prefetch(ahead + VLEN, 0, 2);
                ahead += ahead_row;
            }
        }
    }
    vec bias0 = v_zero(), bias1 = v_zero();
    if (t->bias) {
        bias0 = single ? v_load_n(t->bias, tail) : v_load(t->bias);
        bias1 = single ? bias0 : partial ? v_load_n(t->bias + VLEN, tail) : v_load(t->bias + VLEN);
    }
    GEMM_EACH_ROW(GEMM_STORE)
#undef GEMM_FETCH
#undef GEMM_ZERO
#undef GEMM_STEP
#undef GEMM_STORE
#undef GEMM_ADVANCE
}

/* One to three rows, `wide` whole vectors of columns: each column of accumulators is written out like the rows above.
 */
#define GEMM_FEW_COLUMNS(rows) ((rows) == 1 ? 8 : 4)
#define GEMM_EACH_COLUMN(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
FNN_INLINE void gemm_few_body(const int rows, const gemm_tile *t) {
    enum { MOST = 8 };
    const int wide = GEMM_FEW_COLUMNS(rows);
    vec sum0[MOST], sum1[MOST], sum2[MOST];
    const real *a = t->a, *b = t->b;
    const int64_t a_row = t->a_row, a_depth = t->a_depth, b_depth = t->b_depth;
#define GEMM_ZERO(v) sum0[v] = sum1[v] = sum2[v] = v_zero();
#define GEMM_STEP(v)                                                                                                   \
    if (v < wide) {                                                                                                    \
        const vec right = v_load(b + v * VLEN);                                                                        \
        sum0[v] = v_fma(left0, right, sum0[v]);                                                                        \
        if (rows > 1)                                                                                                  \
            sum1[v] = v_fma(left1, right, sum1[v]);                                                                    \
        if (rows > 2)                                                                                                  \
            sum2[v] = v_fma(left2, right, sum2[v]);                                                                    \
    }
#define GEMM_STORE(v)                                                                                                  \
    if (v < wide) {                                                                                                    \
        const vec bias = t->bias ? v_load(t->bias + v * VLEN) : v_zero();                                              \
        gemm_store(t, t->c + v * VLEN, sum0[v], bias, 0);                                                              \
        if (rows > 1)                                                                                                  \
            gemm_store(t, t->c + t->c_row + v * VLEN, sum1[v], bias, 0);                                               \
        if (rows > 2)                                                                                                  \
            gemm_store(t, t->c + 2 * t->c_row + v * VLEN, sum2[v], bias, 0);                                           \
    }
    GEMM_EACH_COLUMN(GEMM_ZERO)
    for (int64_t k = t->depth; k > 0; k--) {
        const vec left0 = v_pin(v_set1(a[0])), left1 = rows > 1 ? v_pin(v_set1(a[a_row])) : left0,
                  left2 = rows > 2 ? v_pin(v_set1(a[2 * a_row])) : left0;
        GEMM_EACH_COLUMN(GEMM_STEP)
        a += a_depth;
        b += b_depth;
    }
    GEMM_EACH_COLUMN(GEMM_STORE)
#undef GEMM_ZERO
#undef GEMM_STEP
#undef GEMM_STORE
}

#define GEMM_TILE(rows)                                                                                                \
    static void gemm_wide_##rows(const gemm_tile *t) { gemm_tile_body(rows, GEMM_WHOLE, t); }                          \
    static void gemm_part_##rows(const gemm_tile *t) { gemm_tile_body(rows, GEMM_PARTIAL, t); }                        \
    static void gemm_edge_##rows(const gemm_tile *t) { gemm_tile_body(rows, GEMM_SINGLE, t); }
GEMM_EACH_ROW(GEMM_TILE)
#undef GEMM_TILE
static void gemm_few_1(const gemm_tile *t) { gemm_few_body(1, t); }
static void gemm_few_2(const gemm_tile *t) { gemm_few_body(2, t); }
static void gemm_few_3(const gemm_tile *t) { gemm_few_body(3, t); }

typedef void (*gemm_tile_fn)(const gemm_tile *);
#define GEMM_WIDE(rows) gemm_wide_##rows,
#define GEMM_PART(rows) gemm_part_##rows,
#define GEMM_EDGE(rows) gemm_edge_##rows,
static const gemm_tile_fn gemm_wide[] = {GEMM_EACH_ROW(GEMM_WIDE)};
static const gemm_tile_fn gemm_part[] = {GEMM_EACH_ROW(GEMM_PART)};
static const gemm_tile_fn gemm_edge[] = {GEMM_EACH_ROW(GEMM_EDGE)};
#undef GEMM_WIDE
#undef GEMM_PART
#undef GEMM_EDGE
static const gemm_tile_fn gemm_few[] = {gemm_few_1, gemm_few_2, gemm_few_3};
enum { GEMM_FEW = 3 };

static const gemm_tile_fn *gemm_tiles_for(int64_t width) {
    if (width == GEMM_COLS)
        return gemm_wide;
    if (width > GEMM_COLS)
        return gemm_few;
    return width > VLEN ? gemm_part : gemm_edge;
}

/* What follows the product, on `width` columns of one stored row, still in L1. */
FNN_INLINE void gemm_after_row(const fnn_gemm *g, int64_t row, int64_t col, int64_t width) {
    real *c = (real *)g->c + row * g->c_row + col;
    if (g->activation)
        g->activation(width, c, c, g->p0, g->p1);
    if (g->derivative)
        g->derivative(width, c, (const real *)g->saved + row * g->saved_row + col, c, g->p0, g->p1);
}

/* Row tiles [first, last) of all `count`, columns [col, col + width): that panel of b stays in cache while a streams
 * past it. The last tile asks for what is `ahead`: its rows are too far apart for the processor to guess. */
static void gemm_panel(const fnn_gemm *g, int64_t first, int64_t last, int64_t count, int64_t col, int64_t width,
                       gemm_ahead ahead) {
    const gemm_tile_fn *tiles = gemm_tiles_for(width);
    gemm_tile t = {.depth = g->depth,
                   .a_row = g->a_row,
                   .a_depth = g->a_depth,
                   .b_depth = g->b_depth,
                   .c_row = g->c_row,
                   .b = (const real *)g->b + col,
                   .bias = g->bias ? (const real *)g->bias + col : NULL,
                   .tail = (int)(width > VLEN ? width - VLEN : width),
                   .add = g->add,
                   .relu = g->relu};
    for (int64_t tile = first, row = g->rows * first / count; tile < last; tile++) {
        int64_t next = g->rows * (tile + 1) / count;
        t.a = (const real *)g->a + row * g->a_row;
        t.ahead = tile + 1 < count ? (gemm_ahead){t.b, 0, 0} : ahead;
        t.c = (real *)g->c + row * g->c_row + col;
        tiles[next - row - 1](&t);
        if (g->activation || g->derivative)
            for (int64_t i = row; i < next; i++)
                gemm_after_row(g, i, col, width);
        row = next;
    }
}

/* All panels of b, for row tiles [first, last) of all `count`. */
static void gemm_tiles(const fnn_gemm *g, int64_t first, int64_t last, int64_t count) {
    const int64_t few = g->rows <= GEMM_FEW ? GEMM_FEW_COLUMNS(g->rows) * VLEN : INT64_MAX;
    for (int64_t col = 0; col < g->cols;) {
        int64_t left = g->cols - col, width = left < GEMM_COLS ? left : GEMM_COLS;
        if (left >= few)
            width = few;
        const gemm_ahead panel = {(const real *)g->b + col + width, g->b_depth, GEMM_COLS * g->b_depth},
                         end = {g->next ? g->next : g->b, g->next_row, g->next_step};
        gemm_panel(g, first, last, count, col, width, left > width ? panel : end);
        col += width;
    }
}

/* A small b stays in L1 as a whole: then c is written row by row, as the processor expects it. */
static void gemm(const fnn_gemm *g) {
    const int64_t count = (g->rows + GEMM_ROWS - 1) / GEMM_ROWS;
    const int64_t step = g->depth * g->cols * (int64_t)sizeof(real) <= FNN_GEMM_NEAR ? 1 : count;
    for (int64_t tile = 0; tile < count; tile += step)
        gemm_tiles(g, tile, tile + step, count);
}

FNN_INLINE void gemm_finish_part(const real *bias, int relu, real *c, int count) {
    vec value = part_load(c, count);
    if (bias)
        value = v_add(value, part_load(bias, count));
    part_store(c, relu ? v_max(v_zero(), value) : value, count);
}

/* Bias, relu and what follows, for a product that already lies in c. */
static void gemm_finish(const fnn_gemm *g) {
    for (int64_t row = 0; row < g->rows; row++) {
        real *c = (real *)g->c + row * g->c_row;
        const real *bias = g->bias;
        if (bias || g->relu)
            FOR_PARTS(g->cols, gemm_finish_part(bias ? bias + i : NULL, g->relu, c + i, count));
        gemm_after_row(g, row, 0, g->cols);
    }
}
