/* gemm.h: the matrix product tile.
 *
 *   c[rows, cols] (+)= a[rows, depth] @ b[depth, cols] (+ bias[cols]) (then relu)
 *
 * Contract (the framework around it is ops/gemm.c):
 * - The vector dimension is columns; each element of c is ONE chain of fused multiply-adds in the order of depth, from
 *   zero. The bits therefore depend neither on the tile that an element falls in, nor on rows, threads or strides.
 * - a is read with any two strides; rows of b are contiguous; nothing outside the given rows and columns is touched:
 *   the last columns are read and written under a mask, by the same code as the others.
 * - Overwriting never reads c.
 * - Rows are cut into equal tiles: 32 rows are 11 + 11 + 10, never 14 + 14 + 4, so that no tile starves the FMA units.
 * - v_pin keeps each broadcast in a register. Otherwise gcc folds the load into every multiply-add that uses it and
 *   the load ports, not the FMA units, become the limit.
 *
 * Registers per tile: GEMM_ROWS x 2 accumulators, 2 vectors of b, 1 broadcast of a.
 */
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

typedef struct gemm_tile {
    int64_t depth, a_row, a_depth, b_depth, c_row;
    const real *a, *b, *bias;
    real *c;
    int tail;      /* columns in the last vector of the tile */
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

/* rows is a compile-time constant, and so is `masked`: two whole vectors of columns, or one under a mask. Rows are
 * written out by macro, not by loops that a compiler may or may not unroll: an accumulator with a variable index lives
 * in memory. */
FNN_INLINE void gemm_tile_body(const int rows, const int masked, const gemm_tile *t) {
    vec sum0[GEMM_ROWS], sum1[GEMM_ROWS];
    const real *a = t->a, *b = t->b;
    const int64_t a_row = t->a_row, a_depth = t->a_depth, b_depth = t->b_depth;
    const int tail = t->tail;
#define GEMM_ZERO(n)                                                                                                   \
    if (n <= rows)                                                                                                     \
        sum0[n - 1] = sum1[n - 1] = v_zero();
#define GEMM_STEP(n)                                                                                                   \
    if (n <= rows) {                                                                                                   \
        const vec left = v_pin(v_set1(a[(n - 1) * a_row]));                                                            \
        sum0[n - 1] = v_fma(left, right0, sum0[n - 1]);                                                                \
        if (!masked)                                                                                                   \
            sum1[n - 1] = v_fma(left, right1, sum1[n - 1]);                                                            \
    }
#define GEMM_STORE(n)                                                                                                  \
    if (n <= rows) {                                                                                                   \
        gemm_store(t, t->c + (n - 1) * t->c_row, sum0[n - 1], bias0, masked);                                          \
        if (!masked)                                                                                                   \
            gemm_store(t, t->c + (n - 1) * t->c_row + VLEN, sum1[n - 1], bias1, 0);                                    \
    }
    GEMM_EACH_ROW(GEMM_ZERO)
    for (int64_t k = t->depth; k > 0; k--) {
        const vec right0 = masked ? v_load_n(b, tail) : v_load(b), right1 = masked ? right0 : v_load(b + VLEN);
        GEMM_EACH_ROW(GEMM_STEP)
        a += a_depth;
        b += b_depth;
    }
    vec bias0 = v_zero(), bias1 = v_zero();
    if (t->bias) {
        bias0 = masked ? v_load_n(t->bias, tail) : v_load(t->bias);
        bias1 = masked ? bias0 : v_load(t->bias + VLEN);
    }
    GEMM_EACH_ROW(GEMM_STORE)
#undef GEMM_ZERO
#undef GEMM_STEP
#undef GEMM_STORE
}

#define GEMM_TILE(rows)                                                                                                \
    static void gemm_wide_##rows(const gemm_tile *t) { gemm_tile_body(rows, 0, t); }                                   \
    static void gemm_edge_##rows(const gemm_tile *t) { gemm_tile_body(rows, 1, t); }
GEMM_EACH_ROW(GEMM_TILE)
#undef GEMM_TILE

typedef void (*gemm_tile_fn)(const gemm_tile *);
#define GEMM_WIDE(rows) gemm_wide_##rows,
#define GEMM_EDGE(rows) gemm_edge_##rows,
static const gemm_tile_fn gemm_wide[] = {GEMM_EACH_ROW(GEMM_WIDE)};
static const gemm_tile_fn gemm_edge[] = {GEMM_EACH_ROW(GEMM_EDGE)};
#undef GEMM_WIDE
#undef GEMM_EDGE

/* All row tiles of columns [col, col + width): that panel of b stays in cache while a streams past it. */
static void gemm_panel(const fnn_gemm *g, int64_t col, int64_t width) {
    const gemm_tile_fn *tiles = width == GEMM_COLS ? gemm_wide : gemm_edge;
    gemm_tile t = {.depth = g->depth,
                   .a_row = g->a_row,
                   .a_depth = g->a_depth,
                   .b_depth = g->b_depth,
                   .c_row = g->c_row,
                   .b = (const real *)g->b + col,
                   .bias = g->bias ? (const real *)g->bias + col : NULL,
                   .tail = (int)width,
                   .add = g->add,
                   .relu = g->relu};
    int64_t count = (g->rows + GEMM_ROWS - 1) / GEMM_ROWS;
    for (int64_t tile = 0, row = 0; tile < count; tile++) {
        int64_t next = g->rows * (tile + 1) / count;
        t.a = (const real *)g->a + row * g->a_row;
        t.c = (real *)g->c + row * g->c_row + col;
        tiles[next - row - 1](&t);
        if (g->activation)
            for (int64_t i = 0; i < next - row; i++)
                g->activation(width, t.c + i * g->c_row, t.c + i * g->c_row, g->p0, g->p1);
        row = next;
    }
}

static void gemm(const fnn_gemm *g) {
    for (int64_t col = 0; col < g->cols;) {
        int64_t left = g->cols - col, width = left >= GEMM_COLS ? GEMM_COLS : left < VLEN ? left : VLEN;
        gemm_panel(g, col, width);
        col += width;
    }
}
