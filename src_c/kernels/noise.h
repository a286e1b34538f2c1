/* noise.h: y = x + scale * r with r from Philox4x32-10 (tests/reference/philox.py is the reference), normal or uniform.
 *
 * Element e of a stream takes word e % 4 of block e / 4; a block is one Philox call with the counter and key of
 * dropout.h. Bit 0 of the word is the sign, the other 31 bits w give t = (w + 1/2) / 2^31 in (0, 1]. Uniform: r = +-t.
 * Normal: r =
 * +-sqrt(2) erfinv(1 - t) by Giles' approximation (2011, "Approximating the erfinv function", single precision:
 * relative error 7e-7 at most), so that |r| < 6.3 and a value is a function of its word alone.
 */
#include "part.h"

enum { NOISE_BLOCKS = DROPOUT_BLOCKS, NOISE_LANES = 4 * NOISE_BLOCKS, NOISE_TERMS = 9 };

/* sqrt(2) erfinv(v), v = 1 - t: a polynomial in w = -log(1 - v^2) = -log(t (2 - t)), or in sqrt(w) from 5 on */
FNN_INLINE vec noise_normal(vec t) {
    static const real central[NOISE_TERMS] = {REAL(2.81022636e-08),  REAL(3.43273939e-07), REAL(-3.5233877e-06),
                                              REAL(-4.39150654e-06), REAL(0.00021858087),  REAL(-0.00125372503),
                                              REAL(-0.00417768164),  REAL(0.246640727),    REAL(1.50140941)};
    static const real tail[NOISE_TERMS] = {REAL(-0.000200214257), REAL(0.000100950558), REAL(0.00134934322),
                                           REAL(-0.00367342844),  REAL(0.00573950773),  REAL(-0.0076224613),
                                           REAL(0.00943887047),   REAL(1.00167406),     REAL(2.83297682)};
    const vec w = v_neg(v_log(v_mul(t, v_sub(v_set1(2), t))));
    const vmask near = v_lt(w, v_set1(5));
    const vec z = v_select(near, v_sub(w, v_set1(REAL(2.5))), v_sub(v_sqrt(v_max(w, v_zero())), v_set1(3)));
    vec p = v_select(near, v_set1(central[0]), v_set1(tail[0]));
    for (int i = 1; i < NOISE_TERMS; i++)
        p = v_fma(p, z, v_select(near, v_set1(central[i]), v_set1(tail[i])));
    return v_mul(v_mul(p, v_sub(v_set1(1), t)), v_set1(REAL(1.41421356237309504880)));
}

/* t and the sign of each word */
static void noise_split(const uint64_t *words, real *restrict t, real *restrict sign) {
    uint32_t lanes[NOISE_LANES];
    memcpy(lanes, words, sizeof lanes);
    for (int i = 0; i < NOISE_LANES; i++) {
        t[i] = ((real)(int32_t)(lanes[i] >> 1) + REAL(0.5)) * (REAL(1.0) / REAL(2147483648.0));
        sign[i] = lanes[i] & 1 ? REAL(-1.0) : REAL(1.0);
    }
}

/* n elements of a stream, the first being element number `element`; uniform: else normal. y may be x. */
static void noise(int64_t n, const void *x, void *y, int64_t element, double scale, int uniform, uint64_t seed,
                  uint32_t layer, uint32_t step) {
    const real *px = x;
    real *py = y;
    const vec factor = v_set1((real)scale);
    _Alignas(64) uint64_t words[2 * NOISE_BLOCKS];
    _Alignas(64) real t[NOISE_LANES], sign[NOISE_LANES];
    while (n > 0) {
        const int64_t skip = element % 4;
        const int64_t length = n < NOISE_LANES - skip ? n : NOISE_LANES - skip;
        dropout_words((uint64_t)element / 4, seed, layer, step, words);
        noise_split(words, t, sign);
        FOR_PARTS(length, {
            const vec v = part_or(part_load(t + skip + i, count), REAL(1.0), count);
            const vec r = v_mul(uniform ? v : noise_normal(v), part_load(sign + skip + i, count));
            part_store(py + i, v_fma(r, factor, part_load(px + i, count)), count);
        });
        px += length;
        py += length;
        element += length;
        n -= length;
    }
}
