/* pointwise_loss.h: one kernel per row of losses.def, loss_<name>: values, gradient and sum in one visit.
 *
 * The sum is taken in vectors over SUM_VECTORS of them and in double from there on, always from the start of the chunk,
 * so that its bits depend on the data only.
 */
#include "part.h"

enum { SUM_VECTORS = 16 };

#define FNN_LOSS(name, nparams, names, value, derivative, doc, citation)                                               \
    FNN_INLINE vec loss_value_##name(vec x, vec t, vec d, vec p0, vec p1) {                                            \
        (void)x, (void)t, (void)d, (void)p0, (void)p1;                                                                 \
        return value;                                                                                                  \
    }                                                                                                                  \
    FNN_INLINE vec loss_slope_##name(vec x, vec t, vec d, vec p0, vec p1) {                                            \
        (void)x, (void)t, (void)d, (void)p0, (void)p1;                                                                 \
        return derivative;                                                                                             \
    }                                                                                                                  \
    static double loss_##name(int64_t n, const void *x, const void *target, const void *weights, void *values,         \
                              void *dx, double scale, double p0, double p1) {                                          \
        const vec a = v_set1((real)p0), b = v_set1((real)p1), factor = v_set1((real)scale);                            \
        double total = 0;                                                                                              \
        for (int64_t start = 0; start < n; start += SUM_VECTORS * VLEN) {                                              \
            const int64_t length = n - start < SUM_VECTORS * VLEN ? n - start : SUM_VECTORS * VLEN;                    \
            const real *px = (const real *)x + start, *pt = (const real *)target + start;                              \
            const real *pw = weights ? (const real *)weights + start : NULL;                                           \
            real *pv = values ? (real *)values + start : NULL, *pd = dx ? (real *)dx + start : NULL;                   \
            vec sum = v_zero();                                                                                        \
            FOR_PARTS(length, {                                                                                        \
                const vec vx = part_load(px + i, count), vt = part_load(pt + i, count), d = v_sub(vx, vt);             \
                const vec weight = pw ? part_load(pw + i, count) : v_set1(1);                                          \
                const vec loss = part_or(v_mul(weight, loss_value_##name(vx, vt, d, a, b)), 0, count);                 \
                sum = v_add(sum, loss);                                                                                \
                if (pv)                                                                                                \
                    part_store(pv + i, loss, count);                                                                   \
                if (pd)                                                                                                \
                    part_store(pd + i, v_mul(v_mul(weight, factor), loss_slope_##name(vx, vt, d, a, b)), count);       \
            });                                                                                                        \
            total += (double)v_reduce_add(sum);                                                                        \
        }                                                                                                              \
        return total;                                                                                                  \
    }
#include "losses.def"
#undef FNN_LOSS
