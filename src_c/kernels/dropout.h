/* dropout.h: y = x * keep / keep_rate, the bits of keep from Philox4x32-10 (reference: tests/reference/philox.py).
 *
 * Element e of a stream takes lane e % 8 of block e / 8. A block is one Philox call:
 *   counter = (low word of the block, high word of the block, layer, step), key = (low, high) word of the seed,
 * its four words are eight 16-bit lanes, low half first. An element is kept if its lane < threshold (0..65536) and then
 * scaled by the rate really kept, 65536 / threshold, so that the expectation is exact. A dropped element is 0 whatever
 * it was (NaN, infinity). Integer arithmetic: the same elements are kept on every instruction set.
 */
#include <string.h>

#include "../base/rng.h"
#include "../simd/vec_wide.h"
#include "part.h"

enum { DROPOUT_BLOCKS = 64, DROPOUT_LANES = 8 * DROPOUT_BLOCKS };

/* words[DROPOUT_BLOCKS, 2] of the blocks from `block` on, two 32-bit words in each. A lane of 64 bits holds a word of
 * one counter in its low half; the high half is not looked at. */
static void dropout_words(uint64_t block, uint64_t seed, uint32_t layer, uint32_t step, uint64_t *words) {
    static const uint64_t lane[8] = {0, 1, 2, 3, 4, 5, 6, 7};
    const wide m0 = w_set1(FNN_PHILOX_M0), m1 = w_set1(FNN_PHILOX_M1);
    for (int i = 0; i < DROPOUT_BLOCKS; i += WLEN) {
        const wide counter = w_add(w_set1(block + (uint64_t)i), w_load(lane));
        wide c0 = counter, c1 = w_high(counter), c2 = w_set1(layer), c3 = w_set1(step);
        uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
#pragma GCC unroll 10
        for (int round = 0; round < 10; round++) {
            const wide p0 = w_multiply32(m0, c0), p1 = w_multiply32(m1, c2);
            c0 = w_xor(w_xor(w_high(p1), c1), w_set1(k0));
            c1 = p1;
            c2 = w_xor(w_xor(w_high(p0), c3), w_set1(k1));
            c3 = p0;
            k0 += FNN_PHILOX_W0;
            k1 += FNN_PHILOX_W1;
        }
        w_store_pairs(words + 2 * i, w_join32(c0, c1), w_join32(c2, c3));
    }
}

/* factors[DROPOUT_LANES]: scale where the lane is kept, 0 where it is dropped. The low half of a word is the first of
 * its lanes in memory too: all processors that fastnn runs on are little-endian. */
static void dropout_factors(const uint64_t *words, uint32_t threshold, real scale, real *restrict factors) {
    uint16_t lanes[DROPOUT_LANES];
    memcpy(lanes, words, sizeof lanes);
    for (int i = 0; i < DROPOUT_LANES; i++)
        factors[i] = lanes[i] < threshold ? scale : 0;
}

/* y = kept ? x * scale + shift : fill, of n elements of a stream. */
static void dropout_affine(int64_t n, const void *x, void *y, int64_t element, int32_t threshold, double scale,
                           double shift, double fill, uint64_t seed, uint32_t layer, uint32_t step) {
    const real *px = x;
    real *py = y;
    const vec factor = v_set1((real)scale), offset = v_set1((real)shift), dropped = v_set1((real)fill);
    _Alignas(64) uint64_t words[2 * DROPOUT_BLOCKS];
    _Alignas(64) real kept[DROPOUT_LANES];
    while (n > 0) {
        const int64_t skip = element % 8;
        const int64_t length = n < DROPOUT_LANES - skip ? n : DROPOUT_LANES - skip;
        dropout_words((uint64_t)element / 8, seed, layer, step, words);
        dropout_factors(words, (uint32_t)threshold, 1, kept);
        FOR_PARTS(length, {
            const vec value = v_fma(part_load(px + i, count), factor, offset);
            part_store(py + i, v_select(v_gt(part_load(kept + skip + i, count), v_zero()), value, dropped), count);
        });
        px += length;
        py += length;
        element += length;
        n -= length;
    }
}

static void dropout(int64_t n, const void *x, void *y, int64_t element, int32_t threshold, uint64_t seed,
                    uint32_t layer, uint32_t step) {
    const real *px = x;
    real *py = y;
    _Alignas(64) uint64_t words[2 * DROPOUT_BLOCKS];
    _Alignas(64) real factors[DROPOUT_LANES];
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
