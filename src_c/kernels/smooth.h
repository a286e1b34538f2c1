/* smooth.h: smoothing of a plane by a symmetric window of 2 radius + 1 weights, across the rows and along them; zero
 * outside. Every element is one chain of multiply-adds in the order of the plane; several rows at once share what is
 * loaded. What lies outside an element's window (NaN, infinity) does not reach it.
 */
#include "part.h"

/* y[count] of `rows` <= FNN_SMOOTH_ROWS rows from `row` on; window points to its middle weight */
FNN_INLINE void smooth_across_part(int64_t height, int64_t width, int64_t row, const int rows, const real *x,
                                   const real *window, int64_t radius, real *y, int count) {
    vec sum[FNN_SMOOTH_ROWS];
    const int64_t first = row < radius ? 0 : row - radius;
    const int64_t last = row + rows + radius > height ? height - 1 : row + rows - 1 + radius;
#pragma GCC unroll 8
    for (int k = 0; k < rows; k++)
        sum[k] = v_zero();
    for (int64_t r = first; r <= last; r++) {
        const vec value = part_load(x + r * width, count);
        const real *weight = window + r - row;
        const int all = r >= row + rows - 1 - radius && r <= row + radius;
#pragma GCC unroll 8
        for (int k = 0; k < rows; k++)
            if (all || (r >= row + k - radius && r <= row + k + radius))
                sum[k] = v_fma(value, v_set1(weight[-k]), sum[k]);
    }
#pragma GCC unroll 8
    for (int k = 0; k < rows; k++)
        part_store(y + k * width, sum[k], count);
}

/* y[i .. i + count) of `rows` rows */
FNN_INLINE void smooth_along_part(int64_t width, int64_t i, const int rows, const real *x, const real *window,
                                  int64_t radius, real *y, int count) {
    vec sum[FNN_SMOOTH_ROWS];
    const int64_t first = i < radius ? 0 : i - radius;
    const int64_t last = i + VLEN + radius > width ? width - 1 : i + VLEN - 1 + radius;
#pragma GCC unroll 8
    for (int k = 0; k < rows; k++)
        sum[k] = v_zero();
    for (int64_t j = first; j <= last; j++) {
        const vec weight = v_load(window + i - j);
        const vmask outside = v_eq(weight, v_zero());
#pragma GCC unroll 8
        for (int k = 0; k < rows; k++)
            sum[k] = v_select(outside, sum[k], v_fma(v_set1(x[k * width + j]), weight, sum[k]));
    }
#pragma GCC unroll 8
    for (int k = 0; k < rows; k++)
        part_store(y + k * width + i, sum[k], count);
}

FNN_INLINE void smooth_some(int64_t height, int64_t width, int64_t row, const int rows, const real *x,
                            const real *window, int64_t radius, real *lines, real *y) {
    FOR_PARTS(width, smooth_across_part(height, width, row, rows, x + i, window, radius, lines + i, count));
    FOR_PARTS(width, smooth_along_part(width, i, rows, lines, window, radius, y, count));
}

/* Rows [row, row + rows) of a plane x[height, width]; y points to the first of them. lines: [FNN_SMOOTH_ROWS, width].
 */
static void smooth_rows(int64_t height, int64_t width, int64_t row, int64_t rows, const void *x, const void *window,
                        int64_t radius, void *lines, void *y) {
    const real *middle = (const real *)window + FNN_SMOOTH_PAD + radius;
    real *py = y;
    for (; rows >= FNN_SMOOTH_ROWS; rows -= FNN_SMOOTH_ROWS, row += FNN_SMOOTH_ROWS, py += FNN_SMOOTH_ROWS * width)
        smooth_some(height, width, row, FNN_SMOOTH_ROWS, x, middle, radius, lines, py);
    if (rows >= FNN_SMOOTH_ROWS / 2) {
        smooth_some(height, width, row, FNN_SMOOTH_ROWS / 2, x, middle, radius, lines, py);
        rows -= FNN_SMOOTH_ROWS / 2, row += FNN_SMOOTH_ROWS / 2, py += FNN_SMOOTH_ROWS / 2 * width;
    }
    for (; rows > 0; rows--, row++, py += width)
        smooth_some(height, width, row, 1, x, middle, radius, lines, py);
}

/* window[2 (FNN_SMOOTH_PAD + radius) + 1] from weights[radius + 1], the middle one first */
static void smooth_window(int64_t radius, const void *weights, void *window) {
    const real *w = weights;
    real *middle = (real *)window + FNN_SMOOTH_PAD + radius;
    for (int64_t k = 0; k <= FNN_SMOOTH_PAD + radius; k++)
        middle[k] = middle[-k] = k <= radius ? w[k] : 0;
}
