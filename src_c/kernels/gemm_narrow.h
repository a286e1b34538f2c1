/* gemm_narrow.h: many rows times a right operand of few columns, e.g. the last layer of a classifier or a regression.
 *
 *   c[rows, cols] (+)= a[rows, depth] @ b[depth, cols] (+ bias[cols]) (then relu), a_depth == 1, cols <= NARROW_COLS
 *
 * Columns would leave most of a vector empty, so the vectors run along the rows: VLEN x VLEN squares of a are
 * transposed in registers on their way to the multiply-adds. Each element is the same chain in the order of depth as in
 * gemm.h, so the bits are the same.
 */
#include "move.h"

/* as many accumulators as registers hold beside a square */
#if defined(FNN_ISA_AVX512)
#define NARROW_COLS 12
#define NARROW_EACH(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#else
#define NARROW_COLS 8
#define NARROW_EACH(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
#endif

typedef struct gemm_narrow_tile {
    int64_t depth, a_row, b_depth, b_col;
    const real *a, *b;
    int rows;  /* at most VLEN */
    real *sum; /* [cols, VLEN] */
} gemm_narrow_tile;

/* `width` terms of depth for up to VLEN rows; rows past the last one repeat it. */
FNN_INLINE void gemm_narrow_square(const gemm_narrow_tile *t, const int all_rows, int64_t k, int width,
                                   vec depths[VLEN]) {
    vec rows[VLEN];
    for (int r = 0; r < VLEN; r++)
        rows[r] = part_load(t->a + (all_rows || r < t->rows ? r : t->rows - 1) * t->a_row + k, width);
    copy_transpose_square(rows, depths);
}

/* The last terms of depth: a loop of unknown length picks its vectors from memory. */
static __attribute__((noinline)) void gemm_narrow_rest(const gemm_narrow_tile *t, int64_t k, int width,
                                                       real strip[VLEN * VLEN]) {
    vec depths[VLEN];
    if (t->rows == VLEN)
        gemm_narrow_square(t, 1, k, width, depths);
    else
        gemm_narrow_square(t, 0, k, width, depths);
    for (int i = 0; i < VLEN; i++)
        v_store(strip + i * VLEN, depths[i]);
}

FNN_INLINE void gemm_narrow_body(const int cols, const gemm_narrow_tile *t) {
    vec sum[NARROW_COLS], depths[VLEN];
    const int64_t b_col = t->b_col, b_depth = t->b_depth;
    const real *b = t->b;
#define NARROW_ZERO(c)                                                                                                 \
    if (c < cols)                                                                                                      \
        sum[c] = v_zero();
#define NARROW_STEP(c)                                                                                                 \
    if (c < cols)                                                                                                      \
        sum[c] = v_fma(depths[i], v_set1(b[c * b_col]), sum[c]);
#define NARROW_STORE(c)                                                                                                \
    if (c < cols)                                                                                                      \
        v_store(t->sum + c * VLEN, sum[c]);
    NARROW_EACH(NARROW_ZERO)
    int64_t k = 0;
    if (t->rows == VLEN)
        for (; k + VLEN <= t->depth; k += VLEN) {
            gemm_narrow_square(t, 1, k, VLEN, depths);
            for (int i = 0; i < VLEN; i++, b += b_depth) {
                NARROW_EACH(NARROW_STEP)
            }
        }
    for (; k < t->depth; k += VLEN) {
        const int width = t->depth - k < VLEN ? (int)(t->depth - k) : VLEN;
        real strip[VLEN * VLEN];
        gemm_narrow_rest(t, k, width, strip);
        for (int j = 0; j < width; j++, b += b_depth) {
            const int i = 0;
            depths[0] = v_load(strip + j * VLEN);
            NARROW_EACH(NARROW_STEP)
        }
    }
    NARROW_EACH(NARROW_STORE)
#undef NARROW_ZERO
#undef NARROW_STEP
#undef NARROW_STORE
}

typedef void (*gemm_narrow_fn)(const gemm_narrow_tile *);
#define NARROW_TILE(c)                                                                                                 \
    static void gemm_narrow_##c(const gemm_narrow_tile *t) { gemm_narrow_body(c + 1, t); }
NARROW_EACH(NARROW_TILE)
#undef NARROW_TILE
#define NARROW_ENTRY(c) gemm_narrow_##c,
static const gemm_narrow_fn gemm_narrow_tiles[] = {NARROW_EACH(NARROW_ENTRY)};
#undef NARROW_ENTRY

/* Sums of up to VLEN rows go to c, with what follows them done on vectors first: a row of c is shorter than one. */
FNN_INLINE void gemm_narrow_store(const fnn_gemm *g, int64_t row, int rows, real *sums) {
    real *c = (real *)g->c + row * g->c_row;
    for (int64_t i = 0; i < g->cols; i++) {
        real *sum = sums + i * VLEN;
        if (g->add) {
            real old[VLEN] = {0};
            for (int r = 0; r < rows; r++)
                old[r] = c[r * g->c_row + i];
            v_store(sum, v_add(v_load(old), v_load(sum)));
        }
        if (g->bias)
            v_store(sum, v_add(v_load(sum), v_set1(((const real *)g->bias)[i])));
        if (g->relu)
            v_store(sum, v_max(v_zero(), v_load(sum)));
        for (int r = 0; r < rows; r++)
            c[r * g->c_row + i] = sum[r];
    }
    if (g->activation || g->derivative)
        for (int r = 0; r < rows; r++)
            gemm_after_row(g, row + r, 0, g->cols);
}

static void gemm_narrow(const fnn_gemm *g) {
    real sums[NARROW_COLS * VLEN];
    if (g->cols <= 0)
        return;
    gemm_narrow_tile t = {
        .depth = g->depth, .a_row = g->a_row, .b_depth = g->b_depth, .b_col = g->b_col, .b = g->b, .sum = sums};
    for (int64_t row = 0; row < g->rows; row += VLEN) {
        t.rows = g->rows - row < VLEN ? (int)(g->rows - row) : VLEN;
        t.a = (const real *)g->a + row * g->a_row;
        gemm_narrow_tiles[g->cols - 1](&t);
        gemm_narrow_store(g, row, t.rows, sums);
    }
}
