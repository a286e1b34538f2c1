/* layer_norm.h: y = (x - mean) / sqrt(var + eps) * weight + bias along each row (Ba, Kiros & Hinton 2016, eq. 4).
 *
 * The mean of a row is taken twice, of x and of what x is off the first one rounded, m; sums of e = x - m and of e^2
 * then have nothing left to cancel: mean = m + sum e / n, var = sum e^2 / n - (sum e / n)^2. Sums run in four chains of
 * vectors over a fixed, short run of terms and in double from there on. The mean is subtracted as two reals, which
 * keeps what rounding it loses. A row whose sums or squares leave the range of a real is taken again in double.
 *
 * Gradient with xhat = (x - mean) * istd and g = grad * weight: dx = istd * (g - mean(g) - xhat * mean(g * xhat)),
 * dweight = sum over rows of grad * xhat, dbias = sum of grad. The sums over rows: eight rows in reals, then double.
 */
#include "part.h"

enum {
    LAYER_NORM_CHAINS = 4,
    LAYER_NORM_RUN = 16 * LAYER_NORM_CHAINS * VLEN,
    LAYER_NORM_GROUP = 8,
    LAYER_NORM_HALF = 4
};
enum { LAYER_NORM_TILE = 64 };

/* p and q = sums over 0..n-1 of what the statement that follows adds to a[k] and b[k], with i, k and count in scope. */
#define LAYER_NORM_SUMS(n, p, q, ...)                                                                                  \
    for (int64_t begin = 0; begin < (n); begin += LAYER_NORM_RUN) {                                                    \
        const int64_t end = (n)-begin < LAYER_NORM_RUN ? (n) : begin + LAYER_NORM_RUN;                                 \
        vec a[LAYER_NORM_CHAINS] = {v_zero(), v_zero(), v_zero(), v_zero()};                                           \
        vec b[LAYER_NORM_CHAINS] = {v_zero(), v_zero(), v_zero(), v_zero()};                                           \
        int64_t i = begin;                                                                                             \
        while (i + LAYER_NORM_CHAINS * VLEN <= end)                                                                    \
            for (int k = 0; k < LAYER_NORM_CHAINS; k++, i += VLEN) {                                                   \
                const int count = VLEN;                                                                                \
                __VA_ARGS__;                                                                                           \
            }                                                                                                          \
        for (const int k = 0; i < end; i += VLEN) {                                                                    \
            const int count = end - i < VLEN ? (int)(end - i) : VLEN;                                                  \
            __VA_ARGS__;                                                                                               \
        }                                                                                                              \
        p += (double)v_reduce_add(v_add(v_add(a[0], a[1]), v_add(a[2], a[3])));                                        \
        q += (double)v_reduce_add(v_add(v_add(b[0], b[1]), v_add(b[2], b[3])));                                        \
    }

/* The constants of a row: mean = high + low. */
typedef struct layer_norm_row {
    real high, low, istd;
} layer_norm_row;

FNN_INLINE layer_norm_row layer_norm_row_of(double mean, double var, double eps) {
    const real high = (real)mean;
    const double istd = var + eps == 0 ? 0 : 1 / __builtin_sqrt(var + eps); /* 0: a constant row, eps = 0 */
    return (layer_norm_row){high, (real)(mean - (double)high), (real)istd};
}

FNN_INLINE vec layer_norm_normal(vec x, const layer_norm_row *row) {
    return v_mul(v_sub(v_sub(x, v_set1(row->high)), v_set1(row->low)), v_set1(row->istd));
}

/* Whether a row whose squares vanish is one value throughout, and its squares have not left the range of a real. Out of
 * line, as what follows: rows are hardly ever like that, and the loops beside it are a fifth slower for it. */
static __attribute__((noinline)) int layer_norm_constant(int64_t cols, const real *x, real m) {
    vec most = v_zero();
    FOR_PARTS(cols, most = v_max(most, v_abs(v_sub(part_or(part_load(x + i, count), m, count), v_set1(m)))));
    return v_reduce_max(most) == 0;
}

/* Mean and variance in double. */
static __attribute__((noinline)) void layer_norm_wide(int64_t cols, const real *x, double *mean, double *var) {
    double total = 0, rest = 0, square = 0;
    for (int64_t i = 0; i < cols; i++)
        total += (double)x[i];
    total /= (double)cols;
    for (int64_t i = 0; i < cols; i++) {
        const double e = (double)x[i] - total;
        rest += e;
        square += e * e;
    }
    rest /= (double)cols;
    const double next = total + rest;
    *mean = next == next ? next : total; /* an infinite mean stays infinite */
    *var = square / (double)cols - rest * rest;
}

/* Writes mean and var; returns the constants, which keep what a rounded mean would lose. */
FNN_INLINE layer_norm_row layer_norm_statistics(int64_t cols, const real *x, double eps, double *mean, double *var) {
    double total = 0, rest = 0, square = 0, none = 0;
    LAYER_NORM_SUMS(cols, total, none, a[k] = v_add(a[k], part_load(x + i, count)));
    const real m = (real)(total / (double)cols);
    LAYER_NORM_SUMS(cols, rest, square, {
        const vec e = v_sub(part_or(part_load(x + i, count), m, count), v_set1(m));
        a[k] = v_add(a[k], e);
        b[k] = v_fma(e, e, b[k]);
    });
    (void)none;
    const int fine = square > 1e8 * (double)REAL_MIN_NORMAL && square < __builtin_inf();
    if (!fine && !(square == 0 && layer_norm_constant(cols, x, m))) {
        layer_norm_wide(cols, x, mean, var);
        return layer_norm_row_of(*mean, *var, eps);
    }
    rest /= (double)cols;
    const double v = square / (double)cols - rest * rest;
    *mean = (double)m + rest;
    *var = v < 0 ? 0 : v; /* a rounding below 0 */
    layer_norm_row row = layer_norm_row_of(*mean, *var, eps);
    row.low = (real)(rest - ((double)row.high - (double)m));
    return row;
}

/* y[rows, cols]; mean[rows] and var[rows] (biased) are written. weight[cols] and bias[cols] may be NULL; y may be x. */
static void layer_norm(int64_t rows, int64_t cols, const void *x, int64_t x_row, const void *weight, const void *bias,
                       double eps, void *y, int64_t y_row, double *mean, double *var) {
    const real *w = weight, *b = bias;
    for (int64_t r = 0; r < rows; r++) {
        const real *from = (const real *)x + r * x_row;
        real *to = (real *)y + r * y_row;
        const layer_norm_row row = layer_norm_statistics(cols, from, eps, &mean[r], &var[r]);
        FOR_PARTS(cols, {
            const vec factor = w ? part_load(w + i, count) : v_set1(1);
            const vec offset = b ? part_load(b + i, count) : v_zero();
            const vec normal = layer_norm_normal(part_load(from + i, count), &row);
            part_store(to + i, v_fma(normal, factor, offset), count);
        });
    }
}

/* Sums over `rows` rows (a constant) of grad and grad * xhat are added to dbias[cols] and dweight[cols]. */
FNN_INLINE void layer_norm_join(const int rows, int64_t cols, const real *grad, int64_t grad_row, const real *x,
                                int64_t x_row, const layer_norm_row *row, double *restrict dweight,
                                double *restrict dbias) {
    /* Where rows lie a multiple of 2 KB apart, all of a column are in few sets of L1: four rows of two arrays at once,
     * and no line that has to wait there for its second half. */
    const int distant = x_row * (int64_t)sizeof(real) % 2048 == 0;
    FOR_TILES(distant ? part_head(x, x_row, cols) : 0, cols, LAYER_NORM_TILE, {
        _Alignas(64) real sums[LAYER_NORM_TILE];
        _Alignas(64) real products[LAYER_NORM_TILE];
        for (int half = 0; half < rows; half += LAYER_NORM_HALF)
            FOR_PARTS(width, {
                vec sum = half ? v_load(sums + i) : v_zero(), product = half ? v_load(products + i) : v_zero();
                for (int r = half; r < rows && r < half + LAYER_NORM_HALF; r++) {
                    const vec g = part_load(grad + r * grad_row + j + i, count);
                    sum = v_add(sum, g);
                    product = v_fma(g, layer_norm_normal(part_load(x + r * x_row + j + i, count), &row[r]), product);
                }
                v_store(sums + i, sum);
                v_store(products + i, product);
            });
        for (int64_t c = 0; c < width; c++) {
            dbias[j + c] += (double)sums[c];
            dweight[j + c] += (double)products[c];
        }
    });
}

FNN_INLINE void layer_norm_input_gradient(int64_t cols, const real *grad, const real *x, const real *w,
                                          const layer_norm_row *row, real *dx) {
    double g_mean = 0, product_mean = 0;
    LAYER_NORM_SUMS(cols, g_mean, product_mean, {
        const vec g = v_mul(part_load(grad + i, count), w ? part_load(w + i, count) : v_set1(1));
        a[k] = v_add(a[k], g);
        b[k] = v_fma(g, layer_norm_normal(part_load(x + i, count), row), b[k]);
    });
    const vec offset = v_set1((real)(g_mean / (double)cols)), slope = v_set1((real)(product_mean / (double)cols));
    FOR_PARTS(cols, {
        const vec g = v_mul(part_load(grad + i, count), w ? part_load(w + i, count) : v_set1(1));
        const vec normal = layer_norm_normal(part_load(x + i, count), row);
        part_store(dx + i, v_mul(v_set1(row->istd), v_fnma(normal, slope, v_sub(g, offset))), count);
    });
}

/* Of a block of rows: dx (may be NULL, grad or x) and the sums dweight[cols], dbias[cols] over the block. */
static void layer_norm_backward(int64_t rows, int64_t cols, const void *grad, int64_t grad_row, const void *x,
                                int64_t x_row, const double *mean, const double *var, const void *weight, double eps,
                                void *dx, int64_t dx_row, double *dweight, double *dbias) {
    memset(dweight, 0, (size_t)cols * sizeof *dweight);
    memset(dbias, 0, (size_t)cols * sizeof *dbias);
    for (int64_t begin = 0, count; begin < rows; begin += count) {
        const real *g = (const real *)grad + begin * grad_row, *from = (const real *)x + begin * x_row;
        layer_norm_row row[LAYER_NORM_GROUP];
        count = rows - begin >= LAYER_NORM_GROUP ? LAYER_NORM_GROUP : 1;
        for (int r = 0; r < count; r++)
            row[r] = layer_norm_row_of(mean[begin + r], var[begin + r], eps);
        if (count == LAYER_NORM_GROUP)
            layer_norm_join(LAYER_NORM_GROUP, cols, g, grad_row, from, x_row, row, dweight, dbias);
        else
            layer_norm_join(1, cols, g, grad_row, from, x_row, row, dweight, dbias);
        for (int r = 0; dx && r < count; r++)
            layer_norm_input_gradient(cols, g + r * grad_row, from + r * x_row, weight, &row[r],
                                      (real *)dx + (begin + r) * dx_row);
    }
}
#undef LAYER_NORM_SUMS
