/* vec_bits.h: powers of two through the bits of a real, for the ISAs that have no instruction for them.
 *
 * Adding 1.5 * 2^mantissa_bits to an integer value leaves the integer in the low bits of the sum (two's complement);
 * shifted into the exponent field, integer + bias becomes 2^integer. Needs no conversion instruction, which AVX2 and
 * SSE2 lack for 64-bit integers.
 */
#ifndef FNN_VEC_BITS_H
#define FNN_VEC_BITS_H

#ifdef FNN_NO_ROUND
FNN_INLINE vec v_round(vec x) {
    const vec big = v_copysign(v_set1(REAL_TWO_TO_MANTISSA), x);
    const vec rounded = v_copysign(v_sub(v_add(x, big), big), x); /* keeps the sign of -0.3 */
    return v_select(v_lt(v_abs(x), v_set1(REAL_TWO_TO_MANTISSA)), rounded, x);
}
FNN_INLINE vec v_floor(vec x) {
    const vec rounded = v_round(x);
    return v_select(v_lt(x, rounded), v_sub(rounded, v_set1(1)), rounded);
}
#endif

/* 2^n for integral n, where 2^n is a normal number */
FNN_INLINE vec v_power2(vec n) { return v_bit_left(v_add(n, v_set1(FNN_ROUNDER + REAL_BIAS))); }

/* x * 2^n for |n| < 2 * bias. Two factors: the first product of an x near 1 is exact, the second rounds once, so that
 * results underflow gradually and overflow to infinity. */
FNN_INLINE vec v_scale2_near1(vec x, vec n) {
    const vec rounder = v_set1(FNN_ROUNDER);
    const vec half = v_sub(v_fma(n, v_set1(REAL(0.5)), rounder), rounder);
    return v_mul(v_mul(x, v_power2(half)), v_power2(v_sub(n, half)));
}

/* Right for 2^-60 < |x| < 2^60 and any n (a limited n already gives 0 or infinity), and for 0, infinity and NaN.
 * An x nearer to the ends of the range may be rounded twice. */
FNN_INLINE vec v_scale2(vec x, vec n) {
    const vec limit = v_set1((real)(2 * REAL_BIAS - 2));
    return v_scale2_near1(x, v_min(v_max(n, v_neg(limit)), limit)); /* a NaN n becomes a number: its x is NaN too */
}

/* 2^(mantissa_bits + 1) x where x is subnormal, else x: a normal number in IEEE mode. */
FNN_INLINE vec fnn_normalised(vec x) {
    const vmask subnormal = v_lt(v_abs(x), v_set1(REAL_MIN_NORMAL));
    return v_select(subnormal, v_mul(x, v_set1(2 * REAL_TWO_TO_MANTISSA)), x);
}

FNN_INLINE vec v_exponent(vec x) {
    const vmask subnormal = v_lt(v_abs(x), v_set1(REAL_MIN_NORMAL));
    const vec field = v_bit_right(v_abs(fnn_normalised(x)));
    const vec biased = v_bit_or(field, v_set1(REAL_TWO_TO_MANTISSA)); /* 2^mantissa_bits + exponent + bias */
    const vec bias = v_set1(REAL_TWO_TO_MANTISSA + REAL_BIAS);
    return v_sub(v_sub(biased, bias), v_select(subnormal, v_set1(REAL_MANTISSA_BITS + 1), v_zero()));
}

FNN_INLINE vec v_mantissa(vec x) {
    /* -(2 - ulp) has the sign and every mantissa bit set, and the exponent field of 1 */
    const vec keep = v_set1(-(REAL(2.0) - REAL(1.0) / REAL_TWO_TO_MANTISSA));
    return v_bit_or(v_bit_and(fnn_normalised(x), keep), v_set1(1));
}

#endif
