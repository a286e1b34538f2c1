/* gemm_dot.h: few rows times a right operand that is contiguous along the depth, e.g. y = x @ w.T, w[out, in].
 *
 *   c[rows, cols] (+)= a[rows, depth] @ b[depth, cols] (+ bias[cols]) (then relu), a_depth == b_depth == 1
 *
 * The vectors run along the depth, so nothing is packed or transposed: b is read once, in place. Each element is VLEN
 * interleaved chains of fused multiply-adds, then v_reduce_add: another order than gemm.h's, which is why only the
 * callers that allow it (decision 1) get here. The order depends on the depth alone: not on rows, cols or threads.
 *
 * A tile is 1 row x 8 columns or up to DOT_ROWS rows x 4 columns; the last columns have tiles of one column.
 */
#if defined(FNN_ISA_AVX512) || defined(FNN_ISA_NEON)
#define DOT_ROWS 4
#else
#define DOT_ROWS 2
#endif

typedef struct gemm_dot_tile {
    int64_t depth, a_row, b_col;
    const real *a, *b;
    real *sum; /* [rows, cols], rows 8 apart */
} gemm_dot_tile;

#define DOT_EACH_COLUMN(X, r) X(r, 0) X(r, 1) X(r, 2) X(r, 3) X(r, 4) X(r, 5) X(r, 6) X(r, 7)
#define DOT_EACH(X) DOT_EACH_COLUMN(X, 0) DOT_EACH_COLUMN(X, 1) DOT_EACH_COLUMN(X, 2) DOT_EACH_COLUMN(X, 3)

/* rows and cols are compile-time constants: the accumulators are registers. */
FNN_INLINE void gemm_dot_tile_body(const int rows, const int cols, const gemm_dot_tile *t) {
    vec sum[4][8];
    const real *a = t->a, *b = t->b;
    const int64_t a_row = t->a_row, b_col = t->b_col;
#define DOT_ZERO(r, c)                                                                                                 \
    if (r < rows && c < cols)                                                                                          \
        sum[r][c] = v_zero();
#define DOT_STEP(r, c)                                                                                                 \
    if (r < rows && c < cols)                                                                                          \
        sum[r][c] = v_fma(part_load(a + r * a_row, count), part_load(b + c * b_col, count), sum[r][c]);
#define DOT_STORE(r, c)                                                                                                \
    if (r < rows && c < cols)                                                                                          \
        t->sum[r * 8 + c] = v_reduce_add(sum[r][c]);
    DOT_EACH(DOT_ZERO)
    for (int64_t k = t->depth; k > 0; k -= VLEN, a += VLEN, b += VLEN) {
        if (k >= VLEN) {
            const int count = VLEN;
            DOT_EACH(DOT_STEP)
        } else {
            const int count = (int)k;
            DOT_EACH(DOT_STEP)
        }
    }
    DOT_EACH(DOT_STORE)
#undef DOT_ZERO
#undef DOT_STEP
#undef DOT_STORE
}

#define DOT_TILE(rows, cols)                                                                                           \
    static void dot_##rows##_##cols(const gemm_dot_tile *t) { gemm_dot_tile_body(rows, cols, t); }
DOT_TILE(1, 8)
DOT_TILE(1, 1)
DOT_TILE(2, 4)
DOT_TILE(2, 1)
#if DOT_ROWS == 4
DOT_TILE(3, 4)
DOT_TILE(3, 1)
DOT_TILE(4, 4)
DOT_TILE(4, 1)
#endif
#undef DOT_TILE

typedef void (*gemm_dot_tile_fn)(const gemm_dot_tile *);
static const struct {
    gemm_dot_tile_fn wide, one;
    int cols;
} gemm_dot_tiles[] = {
    {dot_1_8, dot_1_1, 8},
    {dot_2_4, dot_2_1, 4},
#if DOT_ROWS == 4
    {dot_3_4, dot_3_1, 4},
    {dot_4_4, dot_4_1, 4},
#endif
};

/* Up to DOT_ROWS rows of c, all columns. */
static void gemm_dot_rows(const fnn_gemm *g, int64_t row, int rows) {
    real sums[DOT_ROWS * 8];
    real *c = (real *)g->c + row * g->c_row;
    gemm_dot_tile t = {
        .depth = g->depth, .a_row = g->a_row, .b_col = g->b_col, .a = (const real *)g->a + row * g->a_row, .sum = sums};
    for (int64_t col = 0; col < g->cols;) {
        const int wide = g->cols - col >= gemm_dot_tiles[rows - 1].cols,
                  width = wide ? gemm_dot_tiles[rows - 1].cols : 1;
        t.b = (const real *)g->b + col * g->b_col;
        (wide ? gemm_dot_tiles[rows - 1].wide : gemm_dot_tiles[rows - 1].one)(&t);
        for (int r = 0; r < rows; r++)
            for (int i = 0; i < width; i++) {
                real *at = c + r * g->c_row + col + i;
                *at = g->add ? *at + sums[r * 8 + i] : sums[r * 8 + i];
            }
        col += width;
    }
}

static void gemm_dot(const fnn_gemm *g) {
    const int64_t passes = (g->rows + DOT_ROWS - 1) / DOT_ROWS;
    for (int64_t pass = 0, row = 0; pass < passes; pass++) {
        const int64_t next = g->rows * (pass + 1) / passes;
        gemm_dot_rows(g, row, (int)(next - row));
        row = next;
    }
    gemm_finish(g);
}
