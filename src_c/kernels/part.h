/* part.h: one body for whole vectors and for the last, partial one.
 *
 * A kernel's step takes `count` lanes; with the constant VLEN the compiler keeps only the plain load or store. Decision
 * 13: the last elements go through the same arithmetic as all others, so a value does not depend on its position.
 */
#ifndef FNN_PART_H
#define FNN_PART_H

/* Lanes >= count are 0. */
FNN_INLINE vec part_load(const real *p, int count) { return count == VLEN ? v_load(p) : v_load_n(p, count); }

FNN_INLINE void part_store(real *p, vec x, int count) {
    if (count == VLEN)
        v_store(p, x);
    else
        v_store_n(p, x, count);
}

/* Lanes >= count become `other`, for steps where a 0 would not be harmless. */
FNN_INLINE vec part_or(vec x, real other, int count) {
    static const real ones[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    return count == VLEN ? x : v_select(v_gt(v_load_n(ones, count), v_zero()), x, v_set1(other));
}

/* Runs the statement that follows n over 0..n, with i and count in scope. */
#define FOR_PARTS(n, ...)                                                                                              \
    do {                                                                                                               \
        int64_t i = 0;                                                                                                 \
        for (; i + VLEN <= (n); i += VLEN) {                                                                           \
            const int count = VLEN;                                                                                    \
            __VA_ARGS__;                                                                                               \
        }                                                                                                              \
        if (i < (n)) {                                                                                                 \
            const int count = (int)((n)-i);                                                                            \
            __VA_ARGS__;                                                                                               \
        }                                                                                                              \
    } while (0)

#endif
