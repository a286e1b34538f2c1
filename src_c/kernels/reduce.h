/* reduce.h: sums and maxima of a block, over its rows or along them.
 *
 * Sums run in vectors over a fixed, short run of terms and in double from there on. The order depends on the length
 * only: not on the position of a column, the alignment or the threads. A NaN anywhere gives a NaN.
 */
#include "part.h"

enum { REDUCE_RUN = 16, REDUCE_CHAINS = 8, REDUCE_STRIP = 256 };

/* sums[cols] = sum over rows of x, runs of 16 rows: one chain of real additions, added to the double sum. */
FNN_INLINE void column_sums_run(const int rows, int64_t cols, const real *x, int64_t x_row, double *restrict sums) {
    real run[REDUCE_STRIP];
    FOR_PARTS(cols, {
        vec sum = part_load(x + i, count);
        for (int r = 1; r < rows; r++)
            sum = v_add(sum, part_load(x + r * x_row + i, count));
        part_store(run + i, sum, count);
    });
    for (int64_t j = 0; j < cols; j++)
        sums[j] += (double)run[j];
}

/* How many of `cols` columns are taken together. If all rows begin at the same place in a cache line, the first ones
 * end where the next line begins: vectors across two lines would open each line twice. */
FNN_INLINE int64_t reduce_width(const real *x, int64_t x_row, int64_t cols) {
    enum { LINE = 64 / sizeof(real) };
    const int64_t into = (int64_t)((uintptr_t)x / sizeof(real) % LINE);
    if (into && x_row % LINE == 0 && cols > 4 * LINE)
        return LINE - into;
    return cols < REDUCE_STRIP ? cols : REDUCE_STRIP;
}

/* A run of rows after the other, each from end to end: memory is read as it lies. */
static void column_sums(int64_t rows, int64_t cols, const void *x, int64_t x_row, double *sums) {
    for (int64_t j = 0; j < cols; j++)
        sums[j] = 0;
    for (int64_t row = 0; row < rows; row += REDUCE_RUN) {
        const int64_t run = rows - row < REDUCE_RUN ? rows - row : REDUCE_RUN;
        for (int64_t start = 0, width; start < cols; start += width) {
            const real *strip = (const real *)x + row * x_row + start;
            width = reduce_width(strip, x_row, cols - start);
            if (run == REDUCE_RUN)
                column_sums_run(REDUCE_RUN, width, strip, x_row, sums + start);
            else
                column_sums_run((int)run, width, strip, x_row, sums + start);
        }
    }
}

/* The larger of the two lanes; a NaN stays. */
FNN_INLINE vec reduce_larger(vec maximum, vec x) { return v_select(v_isnan(maximum), maximum, v_max(maximum, x)); }

/* maxima[cols] over at least one row */
static void column_maxima(int64_t rows, int64_t cols, const void *x, int64_t x_row, double *maxima) {
    for (int64_t start = 0, width; start < cols; start += width) {
        const real *strip = (const real *)x + start;
        width = reduce_width(strip, x_row, cols - start);
        real largest[REDUCE_STRIP];
        memcpy(largest, strip, (size_t)width * sizeof *largest);
        for (int64_t row = 1; row < rows; row += REDUCE_RUN) {
            const real *from = strip + row * x_row;
            const int64_t run = rows - row < REDUCE_RUN ? rows - row : REDUCE_RUN;
            FOR_PARTS(width, {
                vec maximum = part_load(largest + i, count);
                for (int64_t r = 0; r < run; r++)
                    maximum = reduce_larger(maximum, part_load(from + r * x_row + i, count));
                part_store(largest + i, maximum, count);
            });
        }
        for (int64_t j = 0; j < width; j++)
            maxima[start + j] = (double)largest[j];
    }
}

/* The sum of n <= REDUCE_RUN * REDUCE_CHAINS * VLEN reals: whole groups of eight vectors in eight chains, the vectors
 * that are left in the first of them. */
FNN_INLINE real row_sum_run(int64_t n, const real *x) {
    vec sum[REDUCE_CHAINS];
    int64_t start = 0;
    for (int k = 0; k < REDUCE_CHAINS; k++)
        sum[k] = v_zero();
    for (; start + REDUCE_CHAINS * VLEN <= n; start += REDUCE_CHAINS * VLEN)
        for (int k = 0; k < REDUCE_CHAINS; k++)
            sum[k] = v_add(sum[k], v_load(x + start + k * VLEN));
    FOR_PARTS(n - start, sum[0] = v_add(sum[0], part_load(x + start + i, count)));
    for (int width = REDUCE_CHAINS / 2; width > 0; width /= 2)
        for (int k = 0; k < width; k++)
            sum[k] = v_add(sum[k], sum[k + width]);
    return v_reduce_add(sum[0]);
}

/* sums[rows] = sum along each row */
static void row_totals(int64_t rows, int64_t cols, const void *x, int64_t x_row, double *sums) {
    const int64_t run = REDUCE_RUN * REDUCE_CHAINS * VLEN;
    for (int64_t r = 0; r < rows; r++) {
        const real *row = (const real *)x + r * x_row;
        double sum = 0;
        for (int64_t start = 0; start < cols; start += run)
            sum += (double)row_sum_run(cols - start < run ? cols - start : run, row + start);
        sums[r] = sum;
    }
}

/* maxima[rows] = maximum of each row, -infinity if cols is 0 */
static void row_maxima(int64_t rows, int64_t cols, const void *x, int64_t x_row, double *maxima) {
    for (int64_t r = 0; r < rows; r++) {
        const real *row = (const real *)x + r * x_row;
        vec maximum[2] = {v_set1(-REAL_INFINITY), v_set1(-REAL_INFINITY)};
        int64_t start = 0;
        for (; start + 2 * VLEN <= cols; start += 2 * VLEN) {
            maximum[0] = reduce_larger(maximum[0], v_load(row + start));
            maximum[1] = reduce_larger(maximum[1], v_load(row + start + VLEN));
        }
        FOR_PARTS(cols - start, {
            const vec last = part_or(part_load(row + start + i, count), -REAL_INFINITY, count);
            maximum[0] = reduce_larger(maximum[0], last);
        });
        maxima[r] = (double)v_reduce_max(reduce_larger(maximum[0], maximum[1]));
    }
}

/* y[i * y_step] = x[i] / divisor, or added to it */
static void store_doubles(int64_t n, const double *x, double divisor, void *y, int64_t y_step, int accumulate) {
    real *to = y;
    for (int64_t i = 0; i < n; i++) {
        const double value = x[i] / divisor;
        to[i * y_step] = (real)(accumulate ? (double)to[i * y_step] + value : value);
    }
}
