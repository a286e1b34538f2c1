/* dropout.h: y = x * keep / keep_rate, the bits of keep from Philox4x32-10 (base/rng.h is the scalar reference).
 *
 * Element e of a stream takes lane e % 8 of block e / 8. A block is one Philox call:
 *   counter = (low word of the block, high word of the block, layer, step), key = (low, high) word of the seed,
 * its four words are eight 16-bit lanes, low half first. An element is kept if its lane < threshold (0..65536) and then
 * scaled by the rate really kept, 65536 / threshold, so that the expectation is exact. A dropped element is 0 whatever
 * it was (NaN, infinity). Integer arithmetic: the same elements are kept on every instruction set.
 *
 * The loops over blocks have no branch and no state, so that compilers turn them into vectors of counters.
 */
#include "../base/rng.h"
#include "part.h"

enum { DROPOUT_BLOCKS = 64, DROPOUT_LANES = 8 * DROPOUT_BLOCKS };

#define PHILOX_ROUND                                                                                                   \
    do {                                                                                                               \
        const uint64_t p0 = (uint64_t)FNN_PHILOX_M0 * c0, p1 = (uint64_t)FNN_PHILOX_M1 * c2;                           \
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;                                                                           \
        c1 = (uint32_t)p1;                                                                                             \
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;                                                                           \
        c3 = (uint32_t)p0;                                                                                             \
        k0 += FNN_PHILOX_W0;                                                                                           \
        k1 += FNN_PHILOX_W1;                                                                                           \
    } while (0)

/* words[DROPOUT_BLOCKS, 4] of the blocks from `block` on */
static void dropout_words(uint64_t block, uint64_t seed, uint32_t layer, uint32_t step, uint32_t *restrict words) {
    const uint32_t low = (uint32_t)block, high = (uint32_t)(block >> 32);
    for (uint32_t i = 0; i < DROPOUT_BLOCKS; i++) {
        uint32_t c0 = low + i, c1 = high + (c0 < low), c2 = layer, c3 = step;
        uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
        PHILOX_ROUND;
        PHILOX_ROUND;
        PHILOX_ROUND;
        PHILOX_ROUND;
        PHILOX_ROUND;
        PHILOX_ROUND;
        PHILOX_ROUND;
        PHILOX_ROUND;
        PHILOX_ROUND;
        PHILOX_ROUND;
        words[4 * i] = c0;
        words[4 * i + 1] = c1;
        words[4 * i + 2] = c2;
        words[4 * i + 3] = c3;
    }
}
#undef PHILOX_ROUND

/* factors[2 * words]: scale where the lane is kept, 0 where it is dropped */
static void dropout_factors(const uint32_t *restrict words, uint32_t threshold, real scale, real *restrict factors) {
    for (int i = 0; i < DROPOUT_LANES / 2; i++) {
        const uint32_t word = words[i];
        factors[2 * i] = (word & 0xffff) < threshold ? scale : 0;
        factors[2 * i + 1] = (word >> 16) < threshold ? scale : 0;
    }
}

static void dropout(int64_t n, const void *x, void *y, int64_t element, int32_t threshold, uint64_t seed,
                    uint32_t layer, uint32_t step) {
    const real *px = x;
    real *py = y;
    uint32_t words[DROPOUT_LANES / 2];
    real factors[DROPOUT_LANES];
    const real scale = threshold > 0 ? (real)(65536.0 / threshold) : 0;
    const int constant = threshold <= 0 || threshold >= 65536; /* nothing or everything is kept: no bits are drawn */
    if (constant)
        for (int i = 0; i < DROPOUT_LANES; i++)
            factors[i] = scale;
    while (n > 0) {
        const int64_t skip = element % 8;
        const int64_t length = n < DROPOUT_LANES - skip ? n : DROPOUT_LANES - skip;
        if (!constant) {
            dropout_words((uint64_t)element / 8, seed, layer, step, words);
            dropout_factors(words, (uint32_t)threshold, scale, factors);
        }
        FOR_PARTS(length, {
            const vec factor = part_load(factors + skip + i, count);
            const vec kept = v_mul(part_load(px + i, count), factor);
            part_store(py + i, v_select(v_gt(factor, v_zero()), kept, v_zero()), count);
        });
        px += length;
        py += length;
        element += length;
        n -= length;
    }
}
