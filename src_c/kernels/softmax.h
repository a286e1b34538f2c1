/* softmax.h: softmax and log-softmax along rows, and their gradients from the forward output.
 *
 *   softmax          y_j = exp(x_j - m) / s,  m = max x, s = sum exp(x_j - m);   dx = y (grad - sum grad y)
 *   log-softmax      y_j = (x_j - m) - log s;                                   dx = grad - exp(y) sum grad
 *
 * x_j - m is rounded where x and m differ in size, and exp would multiply that error by |x_j - m|: the rounding error,
 * exact by Knuth's two-sum, is added to the reduced argument, unless all of a row is so near its maximum that the error
 * is at most two units in the last place of exp (a property of the row alone). Sums run in vectors over SOFTMAX_RUN of
 * them and in double from there on, with the rounding errors of the doubles added at the end, for long rows of float64.
 * A logit of -infinity has probability 0; a row that is all -infinity or has +infinity is NaN.
 */
#include "part.h"

enum { SOFTMAX_RUN = 16, SOFTMAX_ROWS = 16, SOFTMAX_NEAR = 8 };
enum { SOFTMAX_AHEAD = 4096 }; /* reals: shorter rows are fetched while the one before is at work */

/* exp(x - m) for x <= m */
FNN_INLINE vec softmax_exp(vec x, vec m) {
    const vec d = v_sub(x, m), back = v_add(d, m), low = v_set1(FNN_EXP_LOW - 1);
    const vec error = v_sub(v_sub(x, back), v_sub(m, v_sub(back, d)));
    /* Far below m the result is 0 and d may be infinite, its error NaN. */
    return v_exp_nonpositive_sum(v_max(low, d), v_select(v_gt(d, low), error, v_zero()));
}

/* exp(x - m) for m - SOFTMAX_NEAR <= x <= m */
FNN_INLINE vec softmax_exp_near(vec x, vec m) {
    vec n, r = fnn_exp_reduce(v_sub(x, m), &n);
    return fnn_exp_of(n, r);
}

/* The maximum, and whether the minimum is near it. Unlike reduce.h: NaNs are skipped, they come back through the sum.
 */
FNN_INLINE vec softmax_maximum(int64_t n, const real *x, int *near) {
    vec high[4], low[4];
    int64_t start = 0;
    for (int k = 0; k < 4; k++)
        high[k] = v_set1(-REAL_INFINITY), low[k] = v_set1(REAL_INFINITY);
    for (; start + 4 * VLEN <= n; start += 4 * VLEN)
        for (int k = 0; k < 4; k++) {
            const vec value = v_load(x + start + k * VLEN);
            high[k] = v_max(value, high[k]);
            low[k] = v_min(value, low[k]);
        }
    FOR_PARTS(n - start, {
        const vec value = part_load(x + start + i, count);
        high[0] = v_max(part_or(value, -REAL_INFINITY, count), high[0]);
        low[0] = v_min(part_or(value, REAL_INFINITY, count), low[0]);
    });
    const real maximum = v_reduce_max(v_max(v_max(high[0], high[1]), v_max(high[2], high[3])));
    const vec lowest = v_min(v_min(low[0], low[1]), v_min(low[2], low[3]));
    *near = maximum + v_reduce_max(v_neg(lowest)) <= SOFTMAX_NEAR;
    return v_set1(maximum);
}

/* high += x, and low += the rounding error of that (Knuth 1969, section 4.2.2) */
FNN_INLINE void softmax_add(double *high, double *low, double x) {
    const double sum = *high + x, back = sum - *high;
    *low += (*high - (sum - back)) + (x - back);
    *high = sum;
}

/* Adds f(i, count), a vector whose lanes >= count are 0, over 0..n. */
#define SOFTMAX_SUM(total, n, f)                                                                                       \
    do {                                                                                                               \
        double sum_high = 0, sum_low = 0;                                                                              \
        for (int64_t start = 0; start < (n); start += SOFTMAX_RUN * VLEN) {                                            \
            const int64_t length = (n)-start < SOFTMAX_RUN * VLEN ? (n)-start : SOFTMAX_RUN * VLEN;                    \
            vec even = v_zero(), odd = v_zero();                                                                       \
            FOR_PARTS(length, {                                                                                        \
                const vec term = f(start + i, count), sum = v_add(even, term);                                         \
                even = odd;                                                                                            \
                odd = sum;                                                                                             \
            });                                                                                                        \
            softmax_add(&sum_high, &sum_low, (double)v_reduce_add(v_add(even, odd)));                                  \
        }                                                                                                              \
        (total) = sum_high + sum_low;                                                                                  \
    } while (0)

FNN_INLINE vec softmax_exp_part(const real *x, vec m, const int near, int64_t i, int count) {
    const vec value = part_load(x + i, count);
    return part_or(near ? softmax_exp_near(value, m) : softmax_exp(value, m), 0, count);
}
FNN_INLINE vec softmax_exp_stored(const real *x, real *e, vec m, const int near, int64_t ahead, int64_t i, int count) {
    const vec value = softmax_exp_part(x, m, near, i, count);
    part_store(e + i, value, count);
    /* A row is often a page, which is where the processor's own prefetching ends. */
    __builtin_prefetch(x + i + ahead);
    return value;
}

/* e = exp(x - m); their sum */
FNN_INLINE double softmax_row(int64_t cols, const real *x, int64_t ahead, real *e, vec m, const int near) {
    double s;
#define TERM(i, count) softmax_exp_stored(x, e, m, near, ahead, i, count)
    SOFTMAX_SUM(s, cols, TERM);
#undef TERM
    return s;
}
FNN_INLINE double softmax_row_sum(int64_t cols, const real *x, vec m, const int near) {
    double s;
#define TERM(i, count) softmax_exp_part(x, m, near, i, count)
    SOFTMAX_SUM(s, cols, TERM);
#undef TERM
    return s;
}

static void softmax(int64_t rows, int64_t cols, const void *x, int64_t x_row, void *y, int64_t y_row) {
    for (int64_t r = 0; r < rows; r++) {
        const real *from = (const real *)x + r * x_row;
        real *to = (real *)y + r * y_row;
        int near;
        const vec m = softmax_maximum(cols, from, &near);
        const int64_t ahead = cols <= SOFTMAX_AHEAD && r + 1 < rows ? x_row : 0;
        const double s = near ? softmax_row(cols, from, ahead, to, m, 1) : softmax_row(cols, from, ahead, to, m, 0);
        const vec scale = v_set1((real)(1 / s));
        FOR_PARTS(cols, part_store(to + i, v_mul(part_load(to + i, count), scale), count));
    }
}

/* Rows in groups, so that one vector of logarithms serves them all. */
static void log_softmax(int64_t rows, int64_t cols, const void *x, int64_t x_row, void *y, int64_t y_row) {
    for (int64_t first = 0; first < rows; first += SOFTMAX_ROWS) {
        const int64_t group = rows - first < SOFTMAX_ROWS ? rows - first : SOFTMAX_ROWS;
        real maximum[SOFTMAX_ROWS], log_sum[SOFTMAX_ROWS];
        for (int64_t r = 0; r < group; r++) {
            const real *from = (const real *)x + (first + r) * x_row;
            int near;
            const vec m = softmax_maximum(cols, from, &near);
            const double s = near ? softmax_row_sum(cols, from, m, 1) : softmax_row_sum(cols, from, m, 0);
            v_store_n(maximum + r, m, 1);
            log_sum[r] = (real)(s - 1);
        }
        FOR_PARTS(group, part_store(log_sum + i, v_log1p(part_load(log_sum + i, count)), count));
        for (int64_t r = 0; r < group; r++) {
            const real *from = (const real *)x + (first + r) * x_row;
            real *to = (real *)y + (first + r) * y_row;
            const vec m = v_set1(maximum[r]), l = v_set1(log_sum[r]);
            FOR_PARTS(cols, part_store(to + i, v_sub(v_sub(part_load(from + i, count), m), l), count));
        }
    }
}

/* dx may be grad or y. */
static void softmax_backward(int64_t rows, int64_t cols, const void *grad, int64_t grad_row, const void *y,
                             int64_t y_row, void *dx, int64_t dx_row) {
    for (int64_t r = 0; r < rows; r++) {
        const real *g = (const real *)grad + r * grad_row, *p = (const real *)y + r * y_row;
        real *to = (real *)dx + r * dx_row;
        double total;
#define TERM(i, count) v_mul(part_load(g + (i), count), part_load(p + (i), count))
        SOFTMAX_SUM(total, cols, TERM);
#undef TERM
        const vec mean = v_set1((real)total);
        FOR_PARTS(cols, {
            const vec centred = v_sub(part_load(g + i, count), mean);
            part_store(to + i, v_mul(part_load(p + i, count), centred), count);
        });
    }
}

static void log_softmax_backward(int64_t rows, int64_t cols, const void *grad, int64_t grad_row, const void *y,
                                 int64_t y_row, void *dx, int64_t dx_row) {
    for (int64_t r = 0; r < rows; r++) {
        const real *g = (const real *)grad + r * grad_row, *log_p = (const real *)y + r * y_row;
        real *to = (real *)dx + r * dx_row;
        double total;
#define TERM(i, count) part_load(g + (i), count)
        SOFTMAX_SUM(total, cols, TERM);
#undef TERM
        const vec sum = v_set1((real)total);
        FOR_PARTS(cols, {
            const vec p = v_exp_nonpositive(part_load(log_p + i, count));
            part_store(to + i, v_fnma(p, sum, part_load(g + i, count)), count);
        });
    }
}
#undef SOFTMAX_SUM
