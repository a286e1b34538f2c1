/* squares.h: sums of squares in double, in SQUARE_CHAINS chains: element k goes to chain k % SQUARE_CHAINS.
 *
 * The products of floats are exact in double, so that a multiply-add gives the bits of a product and a sum, and nothing
 * overflows. Of doubles, products and sums are rounded apart.
 */
#ifndef FNN_SQUARES_H
#define FNN_SQUARES_H

#include "part.h"

enum { SQUARE_CHAINS = 16 };

#if defined(FNN_ISA_AVX512)
typedef struct vsquares {
    __m512d chain[2];
} vsquares;
FNN_INLINE vsquares vsquares_zero(void) { return (vsquares){{_mm512_setzero_pd(), _mm512_setzero_pd()}}; }
FNN_INLINE void vsquares_add(vsquares *s, int place, vec x) {
#if FNN_REAL == 32
    const __m512d low = _mm512_cvtps_pd(_mm512_castps512_ps256(x));
    const __m512d high = _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1));
    (void)place;
    s->chain[0] = _mm512_fmadd_pd(low, low, s->chain[0]);
    s->chain[1] = _mm512_fmadd_pd(high, high, s->chain[1]);
#else
    s->chain[place / VLEN] = _mm512_add_pd(s->chain[place / VLEN], _mm512_mul_pd(x, x));
#endif
}
#elif defined(FNN_ISA_AVX2)
typedef struct vsquares {
    __m256d chain[4];
} vsquares;
FNN_INLINE vsquares vsquares_zero(void) {
    const __m256d zero = _mm256_setzero_pd();
    return (vsquares){{zero, zero, zero, zero}};
}
FNN_INLINE void vsquares_add(vsquares *s, int place, vec x) {
    __m256d *chain = s->chain + place / 4;
#if FNN_REAL == 32
    const __m256d low = _mm256_cvtps_pd(_mm256_castps256_ps128(x)), high = _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1));
    chain[0] = _mm256_fmadd_pd(low, low, chain[0]);
    chain[1] = _mm256_fmadd_pd(high, high, chain[1]);
#else
    chain[0] = _mm256_add_pd(chain[0], _mm256_mul_pd(x, x));
#endif
}
#else
typedef struct vsquares {
    double chain[SQUARE_CHAINS];
} vsquares;
FNN_INLINE vsquares vsquares_zero(void) { return (vsquares){{0}}; }
FNN_INLINE void vsquares_add(vsquares *s, int place, vec x) {
    real lane[VLEN];
    v_store(lane, x);
    for (int k = 0; k < VLEN; k++)
        s->chain[place + k] += (double)lane[k] * (double)lane[k];
}
#endif

static double vsquares_total(const vsquares *s) {
    double chains[SQUARE_CHAINS];
    memcpy(chains, s, sizeof chains);
    for (int width = SQUARE_CHAINS / 2; width > 0; width /= 2)
        for (int k = 0; k < width; k++)
            chains[k] += chains[k + width];
    return chains[0];
}

/* Runs the statement over 0..n with i, count and place in scope: element i is the first of a vector of `count`, and its
 * chain is `place`. Lanes >= count have to be 0. */
#define FOR_SQUARES(n, ...)                                                                                            \
    do {                                                                                                               \
        int64_t start = 0;                                                                                             \
        for (; start + SQUARE_CHAINS <= (n); start += SQUARE_CHAINS)                                                   \
            for (int place = 0; place < SQUARE_CHAINS; place += VLEN) {                                                \
                const int count = VLEN;                                                                                \
                const int64_t i = start + place;                                                                       \
                __VA_ARGS__;                                                                                           \
            }                                                                                                          \
        for (int place = 0; start + place < (n); place += VLEN) {                                                      \
            const int64_t i = start + place;                                                                           \
            const int count = (n)-i < VLEN ? (int)((n)-i) : VLEN;                                                      \
            __VA_ARGS__;                                                                                               \
        }                                                                                                              \
    } while (0)

#endif
