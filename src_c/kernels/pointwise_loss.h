/* pointwise_loss.h: one kernel per row of losses.def, loss_<name>: values, gradient and sum in one visit.
 *
 * The sum is taken in vectors over SUM_VECTORS of them and in double from there on, always from the start of the chunk,
 * so that its bits depend on the data only. Errors: each value and derivative is a few roundings of its formula's
 * terms; the words below are within 2 ULP.
 */
#include "part.h"

enum { SUM_VECTORS = 16 };

/* ---- words of the formulas ---- */

/* For conditions that are the same in all lanes: a or b, and only that one is computed. */
#define v_if(condition, a, b) (m_any(condition) ? (a) : (b))

/* 1 / x for x >= 0, the largest number instead of infinity: 0 times it is 0 */
FNN_INLINE vec v_inverse(vec x) { return v_min(v_set1(REAL_MAX), v_div(v_set1(1), x)); }

/* x where it counts: 0 where its weight is 0, so that their product is 0 for an infinite x too */
FNN_INLINE vec v_weighed(vec weight, vec x) { return v_select(v_eq(weight, v_zero()), v_zero(), x); }

/* e^-|x|, in [0, 1] */
FNN_INLINE vec v_exp_minus_abs(vec x) { return v_exp_nonpositive(v_neg(v_abs(x))); }

/* log(1 + e) for 0 <= e <= 1, as v_log with its one possible exponent: 1 + e = 2^k (1 + f), k = 1 beyond sqrt(2). */
FNN_INLINE vec v_log1p_below_1(vec e) {
    static const real c[FNN_LOG_TERMS] = {FNN_LOG_COEFFICIENTS};
    const vmask large = v_gt(e, v_set1(REAL(0.41421356237309504880)));
    const vec half = v_set1(REAL(0.5)), f = v_select(large, v_mul(half, v_sub(e, v_set1(1))), e);
    const vec s = v_div(f, v_add(f, v_set1(2))), z = v_mul(s, s), half_square = v_mul(v_mul(half, f), f);
    const vec low = v_fma(s, v_fma(z, fnn_polynomial(z, c, FNN_LOG_TERMS), half_square),
                          v_select(large, v_set1(FNN_LN2_LOW), v_zero()));
    return v_add(v_select(large, v_set1(FNN_LN2_HIGH), v_zero()), v_sub(f, v_sub(half_square, low)));
}

/* log(1 - x) for 0 <= x <= 1, as v_log1p, but without its quotient of what may be denormal; NaN for x > 1. */
FNN_INLINE vec v_log_1_minus(vec x) {
    const vec u = v_sub(v_set1(1), x), lost = v_sub(v_sub(v_set1(1), u), x);
    return v_fma(lost, v_inverse(v_abs(u)), v_log(u));
}

/* Stirling's approximation of log(t!), t log t - t + log(2 pi t) / 2, where t > 1, else 0. */
FNN_INLINE vec v_log_factorial(vec t) {
    const vec log_t = v_log(t), constant = v_set1(REAL(0.91893853320467274178)); /* log(2 pi) / 2 */
    const vec value = v_add(v_fma(t, log_t, v_fma(v_set1(REAL(0.5)), log_t, constant)), v_neg(t));
    return v_select(v_gt(t, v_set1(1)), value, v_zero());
}

/* ---- kernels ---- */

/* `plain`: gradient and sum only, the usual case. */
#define FNN_LOSS(name, function, cls, target_kind, link, names, defaults, limits, operations, value, derivative, doc,  \
                 citation)                                                                                             \
    FNN_INLINE vec loss_value_##name(vec x, vec t, vec d, vec p0, vec p1, vec p2) {                                    \
        (void)x, (void)t, (void)d, (void)p0, (void)p1, (void)p2;                                                       \
        return value;                                                                                                  \
    }                                                                                                                  \
    FNN_INLINE vec loss_slope_##name(vec x, vec t, vec d, vec p0, vec p1, vec p2) {                                    \
        (void)x, (void)t, (void)d, (void)p0, (void)p1, (void)p2;                                                       \
        return derivative;                                                                                             \
    }                                                                                                                  \
    FNN_INLINE double loss_body_##name(const fnn_pointwise_loss *l, const int plain) {                                 \
        const vec p0 = v_set1((real)l->p[0]), p1 = v_set1((real)l->p[1]), p2 = v_set1((real)l->p[2]);                  \
        const vec factor = v_set1((real)l->scale);                                                                     \
        double total = 0;                                                                                              \
        for (int64_t start = 0; start < l->n; start += SUM_VECTORS * VLEN) {                                           \
            const int64_t length = l->n - start < SUM_VECTORS * VLEN ? l->n - start : SUM_VECTORS * VLEN;              \
            const real *px = (const real *)l->x + start, *pt = (const real *)l->target + start;                        \
            const real *pw = !plain && l->weights ? (const real *)l->weights + start : NULL;                           \
            const real *pp = !plain && l->parameter ? (const real *)l->parameter + start : NULL;                       \
            real *pv = !plain && l->values ? (real *)l->values + start : NULL;                                         \
            real *pd = plain || l->dx ? (real *)l->dx + start : NULL;                                                  \
            vec sum = v_zero();                                                                                        \
            FOR_PARTS(length, {                                                                                        \
                const vec x = part_load(px + i, count), t = part_load(pt + i, count), d = v_sub(x, t);                 \
                const vec q = pp ? part_load(pp + i, count) : p0, weight = pw ? part_load(pw + i, count) : v_set1(1);  \
                vec loss = loss_value_##name(x, t, d, q, p1, p2), slope = loss_slope_##name(x, t, d, q, p1, p2);       \
                loss = part_or(plain ? loss : v_mul(weight, loss), 0, count);                                          \
                sum = v_add(sum, loss);                                                                                \
                if (pv)                                                                                                \
                    part_store(pv + i, loss, count);                                                                   \
                if (pd)                                                                                                \
                    part_store(pd + i, v_mul(plain ? factor : v_mul(weight, factor), slope), count);                   \
            });                                                                                                        \
            total += (double)v_reduce_add(sum);                                                                        \
        }                                                                                                              \
        return total;                                                                                                  \
    }                                                                                                                  \
    static double loss_##name(const fnn_pointwise_loss *l) {                                                           \
        if (l->dx && !l->weights && !l->parameter && !l->values)                                                       \
            return loss_body_##name(l, 1);                                                                             \
        return loss_body_##name(l, 0);                                                                                 \
    }
#include "losses.def"
#undef FNN_LOSS

/* ---- targets ---- */

enum { TARGET_BLOCK = 256 };

/* Whole blocks are judged at once; a bad one is searched from its start. NaN is outside. */
static int64_t first_bad_target(int64_t n, const void *target, double low, double high, int ends) {
    const real *p = target;
    const vec vlow = v_set1((real)low), vhigh = v_set1((real)high);
    for (int64_t start = 0; start < n; start += TARGET_BLOCK) {
        const int64_t length = n - start < TARGET_BLOCK ? n - start : TARGET_BLOCK;
        vec good = v_set1(1);
        FOR_PARTS(length, {
            const vec t = part_or(part_load(p + start + i, count), (real)low, count);
            const vmask inside = ends ? m_or(v_eq(t, vlow), v_eq(t, vhigh)) : m_and(v_ge(t, vlow), v_le(t, vhigh));
            good = v_select(inside, good, v_zero());
        });
        if (!m_any(v_eq(good, v_zero())))
            continue;
        for (int64_t i = start;; i++) {
            const double t = (double)p[i];
            if (ends ? t != low && t != high : !(t >= low && t <= high))
                return i;
        }
    }
    return n;
}

static int64_t first_bad_label(int64_t n, const int64_t *labels, int64_t classes, int64_t ignore_index) {
    for (int64_t start = 0; start < n; start += TARGET_BLOCK) {
        const int64_t end = n - start < TARGET_BLOCK ? n : start + TARGET_BLOCK;
        uint64_t bad = 0; /* a negative label is a huge one */
        for (int64_t i = start; i < end; i++)
            bad |= (uint64_t)((uint64_t)labels[i] >= (uint64_t)classes);
        for (int64_t i = start; bad && i < end; i++)
            if ((uint64_t)labels[i] >= (uint64_t)classes && labels[i] != ignore_index)
                return i;
    }
    return n;
}
