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

/* Elements before the first whole vector at a multiple of its size in memory, of an array whose rows, `row` elements
 * apart, all lie like that; fewer than n. NumPy puts large arrays 16 bytes behind one, and a vector across two cache
 * lines takes two accesses. */
FNN_INLINE int64_t part_head(const void *p, int64_t row, int64_t n) {
    const uintptr_t size = VLEN * sizeof(real), address = (uintptr_t)p;
    const int64_t head = row % VLEN == 0 ? (int64_t)((size - address % size) % size / sizeof(real)) : 0;
    return head < n ? head : 0;
}

/* The same as FOR_PARTS, in whole vectors from `head` on. */
#define FOR_PARTS_AFTER(head, n, ...)                                                                                  \
    for (int64_t i = 0, some = (head); i < (n); some = (n)-i) {                                                        \
        if (some > 0) {                                                                                                \
            const int count = (int)some;                                                                               \
            __VA_ARGS__;                                                                                               \
        }                                                                                                              \
        for (i += some; i + VLEN <= (n); i += VLEN) {                                                                  \
            const int count = VLEN;                                                                                    \
            __VA_ARGS__;                                                                                               \
        }                                                                                                              \
    }

/* Runs the statement that follows over tiles of 0..n, with j and width in scope; head: those of the first, or 0. */
#define FOR_TILES(head, n, tile, ...)                                                                                  \
    for (int64_t j = 0, width = (head) ? (head) : (tile); j < (n); j += width, width = (tile)) {                       \
        width = (n)-j < width ? (n)-j : width;                                                                         \
        __VA_ARGS__;                                                                                                   \
    }

/* part_store past the caches; a whole vector wants p aligned to it */
FNN_INLINE void part_past(real *p, vec x, int count) {
    if (count == VLEN)
        v_stream(p, x);
    else
        v_store_n(p, x, count);
}

/* FOR_PARTS for a statement that stores by part_past to `to` + i */
#define FOR_PARTS_PAST(n, to, ...)                                                                                     \
    do {                                                                                                               \
        FOR_PARTS_AFTER(part_head(to, 0, n), n, __VA_ARGS__)                                                           \
        v_stream_end();                                                                                                \
    } while (0)

#endif
