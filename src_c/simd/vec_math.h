/* vec_math.h: exp, log, tanh and their relatives over vec.h; one text for every ISA and both dtypes.
 *
 * exp: x = n ln 2 + r with |r| <= ln(2)/2 and ln 2 in two parts (Cody & Waite 1980), e^r = 1 + r + r^2 P(r).
 * log: x = 2^k (1 + f) with sqrt(1/2) < 1 + f < sqrt(2), s = f / (2 + f), log(1 + f) = 2 atanh(s) = f - s (f - R),
 *      R = s^2 L(s^2), put together as in Tang 1990 so that f, which is exact, is added last.
 * P and L are minimax polynomials; tests/c/remez.c prints their coefficients.
 *
 * Largest errors, in units in the last place: float32 in docs/accuracy.md, over all inputs; float64 as tests/c/ulp.c
 * found them over ten million inputs:
 *
 *              exp    log    expm1  log1p  tanh   sigmoid  sigmoid'  tanh'
 *   float64    1.03   0.81   2.18   1.44   2.50   2.32     2.33      2.67
 *
 * Special values: a NaN gives a NaN; the others are named beside the function. Results underflow gradually.
 */
#ifndef FNN_VEC_MATH_H
#define FNN_VEC_MATH_H

#include "vec.h"

/* n * FNN_LN2_HIGH is exact for every exponent n */
#if FNN_REAL == 32
#define FNN_LN2_HIGH 0x1.62e4p-1f
#define FNN_LN2_LOW 0x1.7f7d1cp-20f
#define FNN_EXP_LOW (-104.0f) /* e^x rounds to 0 from here down */
#define FNN_EXP_HIGH 89.0f    /* and to infinity from here up */
#define FNN_EXP_TERMS 5
#define FNN_EXP_COEFFICIENTS 0.499999935f, 0.166665207f, 0.0416683874f, 0.00836870982f, 0.00138146132f
#define FNN_LOG_TERMS 3
#define FNN_LOG_COEFFICIENTS 0.666667761f, 0.39977574f, 0.298709373f
#else
#define FNN_LN2_HIGH 0x1.62e42fefa38p-1
#define FNN_LN2_LOW 0x1.ef35793c7673p-45
#define FNN_EXP_LOW (-746.0)
#define FNN_EXP_HIGH 710.0
#define FNN_EXP_TERMS 10
#define FNN_EXP_COEFFICIENTS                                                                                           \
    0.50000000000000111, 0.16666666666666413, 0.041666666666530267, 0.0083333333334943364, 0.0013888888943597779,      \
        0.00019841269506771099, 2.4801493136098381e-05, 2.7557586274478321e-06, 2.7630233950750775e-07,                \
        2.5000069627625309e-08
#define FNN_LOG_TERMS 7
#define FNN_LOG_COEFFICIENTS                                                                                           \
    0.6666666666666734, 0.39999999999416375, 0.28571428742015076, 0.22222198610832306, 0.18183562402468395,            \
        0.15314098905586718, 0.14795474448140855
#endif

/* |x| not below 2^-30 (2^-60 in double): an argument whose smaller values change no digit of the result. Denormal
 * operands are slow, ten times or more on some processors, so formulas keep them out of their arithmetic. NaN stays. */
#define FNN_TINY (FNN_REAL == 32 ? REAL(0x1p-30) : REAL(0x1p-60))
FNN_INLINE vec fnn_magnitude(vec x) { return v_max(v_set1(FNN_TINY), v_abs(x)); }

/* a * b, where an operand or the result may be denormal: processors that make a plain product of such numbers slowly
 * (AMD's, 12 cycles a vector on Zen 4) may do a multiply-add at full speed. -0 keeps the sign of a zero. */
FNN_INLINE vec fnn_product(vec a, vec b) {
#ifdef FNN_NO_FMA
    return v_mul(a, b);
#else
    return v_fma(a, b, v_set1(REAL(-0.0)));
#endif
}

/* 1 / x; divisors near the denormal numbers are scaled, for the same reason. */
FNN_INLINE vec v_reciprocal(vec x) {
    const vmask small = v_lt(v_abs(x), v_set1(REAL(0x1p-64)));
    const vec factor = v_select(small, v_set1(REAL(0x1p64)), v_set1(1));
    return v_mul(v_div(v_set1(1), fnn_product(x, factor)), factor);
}

/* c[0] + c[1] x + ... */
FNN_INLINE vec fnn_polynomial(vec x, const real *c, int terms) {
    vec y = v_set1(c[terms - 1]);
    for (int k = terms - 2; k >= 0; k--)
        y = v_fma(y, x, v_set1(c[k]));
    return y;
}

/* the integer n nearest to x / ln 2; |x| is at most about 1000 */
FNN_INLINE vec fnn_exp_power(vec x) {
    const vec rounder = v_set1(FNN_ROUNDER);
    return v_sub(v_fma(x, v_set1(REAL(1.44269504088896340736)), rounder), rounder);
}

/* r and n, where x = n ln 2 + r */
FNN_INLINE vec fnn_exp_reduce(vec x, vec *n) {
    *n = fnn_exp_power(x);
    return v_fnma(*n, v_set1(FNN_LN2_LOW), v_fnma(*n, v_set1(FNN_LN2_HIGH), x));
}

/* e^r - 1 for |r| <= ln(2)/2 */
FNN_INLINE vec fnn_expm1_reduced(vec r) {
    static const real c[FNN_EXP_TERMS] = {FNN_EXP_COEFFICIENTS};
    return v_fma(v_mul(r, r), fnn_polynomial(r, c, FNN_EXP_TERMS), r);
}

/* 2^n e^r */
FNN_INLINE vec fnn_exp_of(vec n, vec r) { return v_scale2_near1(v_add(v_set1(1), fnn_expm1_reduced(r)), n); }

/* e^x for x <= 0; softmax and sigmoid need no more. */
FNN_INLINE vec v_exp_nonpositive(vec x) {
    vec n, r = fnn_exp_reduce(v_max(v_set1(FNN_EXP_LOW), x), &n);
    return fnn_exp_of(n, r);
}

/* e^(x + low) for FNN_EXP_LOW - 1 <= x <= 0, where low is at most a rounding error of x. */
FNN_INLINE vec v_exp_nonpositive_sum(vec x, vec low) {
    vec n, r = fnn_exp_reduce(x, &n);
    return fnn_exp_of(n, v_add(r, low));
}

/* e^x. exp(-inf) = 0, exp(inf) = inf. */
FNN_INLINE vec v_exp(vec x) {
    vec n, r = fnn_exp_reduce(v_max(v_set1(FNN_EXP_LOW), v_min(v_set1(FNN_EXP_HIGH), x)), &n);
    return fnn_exp_of(n, r);
}

/* e^x - 1 for x <= 0: 2^n (e^r - 1) + (2^n - 1); -1 is reached long before -40. */
FNN_INLINE vec fnn_expm1_nonpositive(vec x) {
    vec n, r = fnn_exp_reduce(v_max(v_set1(-40), x), &n);
    const vec s = v_power2(n), p = fnn_expm1_reduced(r);
    return v_fma(s, p, v_sub(s, v_set1(1)));
}

/* e^x - 1. expm1(-inf) = -1, expm1(inf) = inf, expm1(-0) = -0. */
FNN_INLINE vec v_expm1(vec x) {
    vec n, r = fnn_exp_reduce(v_max(v_set1(-40), v_min(v_set1(FNN_EXP_HIGH), x)), &n);
    const vec p = fnn_expm1_reduced(r);
    const vec s = v_power2(v_sub(n, v_set1(1))); /* half of 2^n, which may be infinite where e^x is not */
    const vec half = v_fma(s, p, v_sub(s, v_set1(REAL(0.5))));
    return v_copysign(v_select(v_eq(n, v_zero()), p, v_add(half, half)), x);
}

/* log x. log(0) = -inf, log(x < 0) = NaN, log(inf) = inf. */
FNN_INLINE vec v_log(vec x) {
    static const real c[FNN_LOG_TERMS] = {FNN_LOG_COEFFICIENTS};
    const vec exponent = v_exponent(x), mantissa = v_mantissa(x);
    const vmask large = v_gt(mantissa, v_set1(REAL(1.41421356237309504880)));
    const vec k = v_select(large, v_add(exponent, v_set1(1)), exponent);
    const vec f = v_sub(v_select(large, v_mul(mantissa, v_set1(REAL(0.5))), mantissa), v_set1(1));
    const vec s = v_div(f, v_add(f, v_set1(2)));
    const vec z = v_mul(s, s);
    const vec half_square = v_mul(v_mul(v_set1(REAL(0.5)), f), f);
    const vec low = v_fma(s, v_fma(z, fnn_polynomial(z, c, FNN_LOG_TERMS), half_square), v_mul(k, v_set1(FNN_LN2_LOW)));
    const vec y = v_fma(k, v_set1(FNN_LN2_HIGH), v_sub(f, v_sub(half_square, low)));
    const vec limit =
        v_select(v_eq(x, v_zero()), v_set1(-REAL_INFINITY), v_select(v_gt(x, v_zero()), x, v_set1(REAL_NAN)));
    return v_select(m_and(v_gt(x, v_zero()), v_lt(x, v_set1(REAL_INFINITY))), y, limit);
}

/* log(1 + x): log of the rounded sum u, plus what the rounding lost, divided by u (Higham 2002, section 1.14.1).
 * log1p(-1) = -inf, log1p(x < -1) = NaN, log1p(inf) = inf, log1p(-0) = -0. */
FNN_INLINE vec v_log1p(vec x) {
    const vmask tiny = v_lt(v_abs(x), v_set1(FNN_TINY)); /* log1p(x) = x */
    const vec z = v_select(tiny, v_zero(), x), u = v_add(v_set1(1), z), y = v_log(u);
    const vec lost = v_div(v_sub(z, v_sub(u, v_set1(1))), u);
    const vmask ordinary = m_and(v_gt(u, v_zero()), v_lt(u, v_set1(REAL_INFINITY)));
    return v_select(tiny, x, v_copysign(v_select(ordinary, v_add(y, lost), y), x));
}

/* tanh x = -t / (t + 2) with t = e^(-2|x|) - 1; odd, in [-1, 1]. */
FNN_INLINE vec v_tanh(vec x) {
    const vec t = fnn_expm1_nonpositive(v_mul(v_set1(-2), fnn_magnitude(x))), y = v_div(t, v_add(t, v_set1(2)));
    return v_copysign(v_min(v_abs(x), v_abs(y)), x); /* |tanh x| <= |x|, and = where x is tiny */
}

/* 1 / (1 + e^-x), by the exponential that cannot overflow; in [0, 1]. */
FNN_INLINE vec v_sigmoid(vec x) {
    const vec e = v_exp_nonpositive(v_neg(fnn_magnitude(x)));
    return v_div(v_select(v_ge(x, v_zero()), v_set1(1), e), v_add(v_set1(1), e));
}

/* (1 + e)^2 = 1 + e (2 + e): the rounding of a sum 1 + e would count twice. */
FNN_INLINE vec fnn_square_of_1_plus(vec e) { return v_fma(e, v_add(e, v_set1(2)), v_set1(1)); }

/* sigmoid'(x) = e / (1 + e)^2 with e = e^-|x|: no cancellation where 1 - sigmoid would lose every digit. */
FNN_INLINE vec v_sigmoid_derivative(vec x) {
    const vec e = v_exp_nonpositive(v_neg(fnn_magnitude(x)));
    return v_div(e, fnn_square_of_1_plus(e));
}

/* tanh'(x) = 1 - tanh(x)^2 = 4 e / (1 + e)^2 with e = e^(-2|x|) */
FNN_INLINE vec v_tanh_derivative(vec x) {
    const vec e = v_exp_nonpositive(v_mul(v_set1(-2), fnn_magnitude(x)));
    return v_div(v_mul(v_set1(4), e), fnn_square_of_1_plus(e));
}

#endif
