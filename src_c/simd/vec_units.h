/* vec_units.h: the smooth activations and their derivatives over vec_math.h.
 *
 * Each falls to zero like e^-v for some v(x) > 0 on one side. There the exponential's power of two is applied last, to
 * the product of all that is of ordinary size, so that results underflow gradually with one rounding and an infinite x
 * gives the limit. Where v is large its own rounding error would count v times: it comes as the sum of two reals.
 *
 *   normal tail   1 - Phi(a) = e^(-a^2/2) R(a), R(a) = T(t) / (a + K), t = (a - K) / (a + K), T a polynomial: a form of
 *                 erfc (after Shepherd & Laframboise 1981), because 1 + erf(x) has no digits left where x is negative.
 *                 With w = a / (a + K), t = 2 w - 1 and a R(a) = w T(t), which is less sensitive to w than w itself.
 *   log(1 + e)    for 0 <= e <= 1: s = e / (2 + e), log1p(e) = e - s (e - R), as in v_log without a reduction.
 *
 * tests/c/remez.c prints the coefficients. Errors: docs/accuracy.md, measured by benchmarks/accuracy.py over all
 * float32.
 */
#ifndef FNN_VEC_UNITS_H
#define FNN_VEC_UNITS_H

#include "vec_math.h"

#if FNN_REAL == 32
#define FNN_TAIL_K 2
#define FNN_TAIL_LIMIT 15 /* from here on a (1 - Phi(a)) rounds to 0 */
#define FNN_TAIL_TERMS 12
#define FNN_TAIL_COEFFICIENTS                                                                                          \
    0.672408005f, -0.33140447f, 0.0287973644f, 0.0367192989f, -0.000469657368f, -0.00673389571f, -0.00195198331f,      \
        0.000821965354f, 0.000837345731f, 0.00013497481f, -0.000149713921f, -6.65153938e-05f
#define FNN_LOG1P_TERMS 4
#define FNN_LOG1P_COEFFICIENTS 0.666664163f, 0.400215272f, 0.280018053f, 0.280119867f
#define FNN_ERF_TERMS 7
#define FNN_ERF_COEFFICIENTS                                                                                           \
    1.12837917f, -0.376126258f, 0.112835851f, -0.0268538119f, 0.00518832768f, -0.000801019361f, 7.85386129e-05f
#else
#define FNN_TAIL_K 3
#define FNN_TAIL_LIMIT 39
#define FNN_TAIL_TERMS 25
#define FNN_TAIL_COEFFICIENTS                                                                                          \
    0.72908369013337304, -0.50933198191748952, 0.23001771997460355, -0.047263025142961088, -0.010462867023303256,      \
        0.0069726212401208442, 0.0010275922589394857, -0.0010458286172058701, -0.00025657534463895641,                 \
        0.00015439441121638142, 7.8812666279457866e-05, -1.3245692464559427e-05, -2.0689172155686819e-05,              \
        -3.5191628781890179e-06, 3.6404415796066523e-06, 2.2604833528887781e-06, 6.3673194603094904e-09,               \
        -6.0002885509688822e-07, -2.6985367005389673e-07, 5.0207767370705793e-08, 9.1391777323338999e-08,              \
        1.9962930194461661e-08, -1.115999007100642e-08, -5.544901280388327e-09, -4.8148181003594624e-10
#define FNN_LOG1P_TERMS 10
#define FNN_LOG1P_COEFFICIENTS                                                                                         \
    0.66666666666666308, 0.40000000000155117, 0.2857142854811795, 0.22222223953649731, 0.18181744478957015,            \
        0.15386548395320082, 0.13301121341099953, 0.1210494524069604, 0.083449698450036261, 0.17009760059295895
#define FNN_ERF_TERMS 12
#define FNN_ERF_COEFFICIENTS                                                                                           \
    1.1283791670955126, -0.37612638903183521, 0.11283791670944185, -0.026866170643111465, 0.0052239776061184682,       \
        -0.00085483259293142849, 0.00012055293576895268, -1.4924712301918552e-05, 1.644713157026767e-06,               \
        -1.6206313751471554e-07, 1.3710980370262238e-08, -7.77946844123455e-10
#endif
#define FNN_UNIT_LOW (FNN_EXP_LOW - 16) /* x e^x rounds to 0 from here down */

/* p - a * b for p = the rounded a * b, exactly (Dekker 1971 where there is no fused multiply-add) */
FNN_INLINE vec fnn_product_excess(vec a, vec b, vec p) {
#ifdef FNN_NO_FMA
    const vec splitter = v_set1(FNN_REAL == 32 ? REAL(4097.0) : REAL(134217729.0)); /* 2^12 + 1, 2^27 + 1 */
    const vec sa = v_mul(splitter, a), sb = v_mul(splitter, b);
    const vec a_high = v_sub(sa, v_sub(sa, a)), b_high = v_sub(sb, v_sub(sb, b));
    const vec a_low = v_sub(a, a_high), b_low = v_sub(b, b_high);
    const vec sum = v_add(v_sub(v_mul(a_high, b_high), p), v_mul(a_high, b_low));
    return v_neg(v_add(v_add(sum, v_mul(a_low, b_high)), v_mul(a_low, b_low)));
#else
    return v_fnma(a, b, p);
#endif
}

/* e^(x + low) = 2^n (1 + p), for x <= 0 of at most about 1000 and a low of at most a few of its rounding errors */
FNN_INLINE vec fnn_exp_parts(vec x, vec low, vec *n) {
    *n = fnn_exp_power(x); /* x - n FNN_LN2_HIGH is exact */
    return fnn_expm1_reduced(v_add(v_fnma(*n, v_set1(FNN_LN2_HIGH), x), v_fnma(*n, v_set1(FNN_LN2_LOW), low)));
}

/* 2^n (1 + p), where results below the normal numbers may be cut off: for sums with 1 */
FNN_INLINE vec fnn_exp_coarse(vec n, vec p) {
    const vec s = v_power2(v_max(v_set1(1 - REAL_BIAS), n));
    return v_fma(s, p, s);
}

/* log(1 + e) for 0 <= e <= 1 */
FNN_INLINE vec fnn_log1p_small(vec e) {
    static const real c[FNN_LOG1P_TERMS] = {FNN_LOG1P_COEFFICIENTS};
    const vec s = v_div(e, v_add(e, v_set1(2))), z = v_mul(s, s);
    return v_fnma(s, v_fnma(z, fnn_polynomial(z, c, FNN_LOG1P_TERMS), e), e);
}

/* log(1 + e^x) */
FNN_INLINE vec v_softplus(vec x) {
    return v_add(v_max(v_zero(), x), fnn_log1p_small(v_exp_nonpositive(v_neg(fnn_magnitude(x)))));
}

/* e^x - 1 below 0 and 0 above, for ELU and its relatives */
FNN_INLINE vec v_expm1_negative(vec x) { return fnn_expm1_nonpositive(v_min(v_zero(), x)); }
FNN_INLINE vec v_exp_negative(vec x) { return v_exp_nonpositive(v_min(v_zero(), x)); }

/* x / (1 + e^-v), where v has the sign of x and -|v| + low is its value to two reals; x_low = the most negative x that
 * counts; x / 2 where x is tiny. One exponential, which cannot overflow. */
FNN_INLINE vec fnn_gated(vec x, vec x_low, vec minus_v, vec low) {
    vec n;
    const vec p = fnn_exp_parts(minus_v, low, &n), e = fnn_exp_coarse(n, p);
    const vmask negative = v_lt(x, v_zero()), tiny = v_lt(v_abs(x), v_set1(FNN_TINY));
    const vec z = v_select(tiny, v_zero(), x), z_cut = v_max(x_low, z);
    const vec y = v_div(v_select(negative, v_fma(z_cut, p, z_cut), z), v_add(v_set1(1), e));
    return v_select(tiny, v_mul(v_set1(REAL(0.5)), x), v_scale2_near1(y, v_select(negative, n, v_zero())));
}

/* d/dx of x s(v(x)) = s + d s (1 - s), with d = x v'(x) >= 0 given for |x| */
FNN_INLINE vec fnn_gated_derivative(vec x, vec d, vec minus_v, vec low) {
    vec n;
    const vec p = fnn_exp_parts(minus_v, low, &n), e = fnn_exp_coarse(n, p), u = v_add(v_set1(1), e);
    const vmask negative = v_lt(x, v_zero());
    const vec below = v_sub(u, d); /* e (1 + e - d) / (1 + e)^2 */
    const vec y = v_div(v_select(negative, v_fma(below, p, below), v_fma(d, e, u)), fnn_square_of_1_plus(e));
    return v_scale2_near1(y, v_select(negative, n, v_zero()));
}

/* SiLU, x / (1 + e^-x). silu(-inf) = 0. */
FNN_INLINE vec v_silu(vec x) {
    const vec low = v_set1(FNN_UNIT_LOW);
    return fnn_gated(x, low, v_max(low, v_neg(fnn_magnitude(x))), v_zero());
}
FNN_INLINE vec v_silu_derivative(vec x) {
    const vec minus_v = v_max(v_set1(FNN_UNIT_LOW), v_neg(fnn_magnitude(x)));
    return fnn_gated_derivative(x, v_neg(minus_v), minus_v, v_zero());
}

/* GELU's tanh form is x s(v), v = 2 sqrt(2 / pi) (x + 0.044715 x^3) = a (c1 + c2 a^2) to two reals; a = |x|, limited */
#define FNN_GELU_C1 1.5957691216057308
#define FNN_GELU_C2 0.07135481627260025
#define FNN_GELU_C1_LOW (FNN_REAL == 32 ? -4.534068e-08 : -9.96930880911092e-17) /* what rounding C1 loses */
#define FNN_GELU_C2_LOW (FNN_REAL == 32 ? 2.3988325e-09 : -6.175149918155315e-19)
#define FNN_GELU_TANH_LIMIT (FNN_REAL == 32 ? 12 : 22) /* the gate rounds x to 0 from here on */
FNN_INLINE vec fnn_gelu_tanh_argument(vec a, vec *low) {
    const vec c1 = v_set1((real)FNN_GELU_C1), c2 = v_set1((real)FNN_GELU_C2);
    const vec c1_low = v_set1((real)FNN_GELU_C1_LOW);
    const vec c2_low = v_set1((real)FNN_GELU_C2_LOW);
    const vec square = v_mul(a, a), square_excess = fnn_product_excess(a, a, square);
    const vec cubic = v_mul(c2, square), cubic_excess = fnn_product_excess(c2, square, cubic);
    const vec slope = v_add(c1, cubic), part = v_sub(slope, c1);
    vec slope_low = v_add(v_sub(c1, v_sub(slope, part)), v_sub(cubic, part)); /* Knuth's two-sum */
    slope_low = v_add(slope_low, v_fnma(c2, square_excess, v_fma(c2_low, square, v_sub(c1_low, cubic_excess))));
    const vec v = v_mul(a, slope);
    *low = v_fnma(a, slope_low, fnn_product_excess(a, slope, v));
    return v_neg(v);
}
FNN_INLINE vec v_gelu_tanh(vec x) {
    const vec limit = v_set1(FNN_GELU_TANH_LIMIT);
    vec low;
    const vec minus_v = fnn_gelu_tanh_argument(v_min(limit, fnn_magnitude(x)), &low);
    return fnn_gated(x, v_neg(limit), minus_v, low);
}
FNN_INLINE vec v_gelu_tanh_derivative(vec x) {
    const vec a = v_min(v_set1(FNN_GELU_TANH_LIMIT), fnn_magnitude(x));
    vec low;
    const vec minus_v = fnn_gelu_tanh_argument(a, &low);
    const vec slope = v_fma(v_mul(a, a), v_set1((real)(3 * FNN_GELU_C2)), v_set1((real)FNN_GELU_C1));
    return fnn_gated_derivative(x, v_mul(a, slope), minus_v, low);
}

/* T(t) of 1 - Phi(a) = e^(-a^2/2) T(t) / (a + K), and what its last addition rounds away */
FNN_INLINE vec fnn_normal_tail(vec t, vec *lost) {
    static const real c[FNN_TAIL_TERMS] = {FNN_TAIL_COEFFICIENTS};
    const vec first = v_set1(c[0]), q = fnn_polynomial(t, c + 1, FNN_TAIL_TERMS - 1), tail = v_fma(t, q, first);
    *lost = v_fma(t, q, v_sub(first, tail));
    return tail;
}
/* R(a), 0 <= a <= FNN_TAIL_LIMIT */
FNN_INLINE vec fnn_normal_tail_ratio(vec a) {
    const vec u = v_div(v_set1(1), v_add(a, v_set1(FNN_TAIL_K)));
    vec lost;
    return v_mul(u, fnn_normal_tail(v_fnma(v_set1(2 * FNN_TAIL_K), u, v_set1(1)), &lost));
}

/* e^(-a^2 scale) = 2^n (1 + p); scale is a power of two */
FNN_INLINE vec fnn_gauss_parts(vec a, real scale, vec *n) {
#ifdef FNN_NO_FMA
    const vec square = v_mul(a, a), factor = v_set1(-scale);
    return fnn_exp_parts(v_mul(square, factor), v_mul(fnn_product_excess(a, a, square), v_set1(scale)), n);
#else
    const vec b = v_mul(a, v_set1(scale)), rounder = v_set1(FNN_ROUNDER);
    *n = v_sub(v_fma(v_mul(a, b), v_set1(REAL(-1.44269504088896340736)), rounder), rounder);
    const vec r = v_fnma(a, b, v_mul(*n, v_set1(-FNN_LN2_HIGH))); /* the product's own rounding does not count */
    return fnn_expm1_reduced(v_fnma(*n, v_set1(FNN_LN2_LOW), r));
#endif
}

/* GELU, x Phi(x) = max(x, 0) - a (1 - Phi(a)), a = |x|. What rounding d = a + K loses changes w by its 1 / d-th, the
 * result by about 1 - w of that (all of it where a is small, a quarter at a = 6), and 1 / d = (1 - w) / K.
 * a (1 - Phi(a)) <= a / 2, and = where x is tiny. gelu(-inf) = 0. */
FNN_INLINE vec v_gelu(vec x) {
    const vec k = v_set1(FNN_TAIL_K), a = v_min(v_set1(FNN_TAIL_LIMIT), fnn_magnitude(x)), d = v_add(a, k);
    const vec w = v_div(a, d), rest = v_sub(v_set1(1), w);
    vec n, tail_lost;
    const vec tail = fnn_normal_tail(v_fma(v_set1(2), w, v_set1(-1)), &tail_lost), share = v_mul(w, tail);
    const vec lost = v_mul(v_sub(a, v_sub(d, k)), v_set1(REAL(-1.0) / FNN_TAIL_K));
    const vec p = v_fma(lost, v_mul(rest, rest), fnn_gauss_parts(a, REAL(0.5), &n));
    const vec low = v_fnma(w, tail_lost, v_fnma(share, p, fnn_product_excess(w, tail, share)));
    const vec y = v_scale2_near1(v_sub(share, low), n), half = v_mul(v_set1(REAL(0.5)), v_abs(x));
    return v_sub(v_max(v_zero(), x), v_min(half, y));
}
/* Phi(x) + x phi(x): below 0 it is e^(-a^2/2) (R(a) - a / sqrt(2 pi)), above 0 one minus that. */
FNN_INLINE vec v_gelu_derivative(vec x) {
    const vec a = v_min(v_set1(FNN_TAIL_LIMIT), fnn_magnitude(x));
    vec n;
    const vec d = v_fnma(a, v_set1(REAL(0.39894228040143267794)), fnn_normal_tail_ratio(a));
    const vec p = fnn_gauss_parts(a, REAL(0.5), &n), below = v_scale2_near1(v_fma(d, p, d), n);
    return v_select(v_lt(x, v_zero()), below, v_sub(v_set1(1), below));
}

/* erf(x): odd; by a polynomial below 1, by the tail above. */
FNN_INLINE vec v_erf(vec x) {
    static const real c[FNN_ERF_TERMS] = {FNN_ERF_COEFFICIENTS};
    const vec a = v_min(v_set1(6), v_abs(x)), b = fnn_magnitude(a), one = v_set1(1);
    const vec near = v_mul(a, fnn_polynomial(v_mul(b, b), c, FNN_ERF_TERMS));
    vec n;
    const vec p = fnn_gauss_parts(b, 1, &n), e = fnn_exp_coarse(n, p);
    const vec far = v_fnma(v_add(e, e), fnn_normal_tail_ratio(v_mul(b, v_set1(REAL(1.41421356237309504880)))), one);
    return v_copysign(v_select(v_lt(a, one), near, far), x);
}

/* Mish, x tanh(log(1 + e^x)): with e = e^-|x| the factor is e (e + 2) / (e (e + 2) + 2) = e (1 - e (e + 1) / D) for
 * x < 0, and (1 + 2 e) / (1 + 2 e + 2 e^2) = 1 - 2 e^2 / D for x >= 0. mish(-inf) = 0. */
FNN_INLINE vec v_mish(vec x) {
    const vec limit = v_set1(-FNN_UNIT_LOW), one = v_set1(1), a = v_min(limit, v_abs(x)), x_cut = v_copysign(a, x);
    vec n;
    const vec p = fnn_exp_parts(v_neg(a), v_zero(), &n), e = fnn_exp_coarse(n, p), twice = v_add(e, e);
    const vmask negative = v_lt(x, v_zero());
    const vec top = v_mul(e, v_select(negative, v_add(e, one), twice));
    const vec bottom = v_fma(v_select(negative, e, twice), e, v_add(twice, v_select(negative, v_set1(2), one)));
    const vec base = v_select(negative, v_fma(x_cut, p, x_cut), x_cut);
    const vec y = v_fnma(base, v_div(top, bottom), v_select(negative, base, x));
    return v_scale2_near1(y, v_select(negative, n, v_zero()));
}
/* Multiplied out: e (4 (x + 1) + e (4 x + 6) + 4 e^2 + e^3) / (4 + 8 e + 8 e^2 + 4 e^3 + e^4) for x < 0; the same with
 * both rows of coefficients reversed, without the factor e, for x >= 0. */
FNN_INLINE vec v_mish_derivative(vec x) {
    const vec one = v_set1(1), four = v_set1(4), eight = v_set1(8), a = v_min(v_set1(-FNN_UNIT_LOW), v_abs(x));
    vec n;
    const vec p = fnn_exp_parts(v_neg(a), v_zero(), &n), e = fnn_exp_coarse(n, p);
    const vmask negative = v_lt(x, v_zero());
    const vec x4 = v_mul(four, v_copysign(a, x)), x4_4 = v_add(x4, four), x4_6 = v_add(x4, v_set1(6));
    vec top = v_fma(e, v_select(negative, one, x4_4), v_select(negative, four, x4_6));
    top = v_fma(e, v_fma(e, top, v_select(negative, x4_6, four)), v_select(negative, x4_4, one));
    vec bottom = v_fma(e, v_select(negative, one, four), v_select(negative, four, eight));
    bottom = v_fma(e, v_fma(e, bottom, eight), v_select(negative, eight, four));
    bottom = v_fma(e, bottom, v_select(negative, four, one));
    const vec y = v_div(v_select(negative, v_fma(top, p, top), top), bottom);
    return v_scale2_near1(y, v_select(negative, n, v_zero()));
}

/* x / (1 + |x|); softsign(+-inf) = +-1 */
FNN_INLINE vec v_softsign(vec x) {
    const vec a = v_min(v_set1(REAL_MAX), fnn_magnitude(x)), y = v_div(a, v_add(v_set1(1), a));
    return v_copysign(v_min(v_abs(x), y), x); /* y <= |x|, and = where x is tiny */
}

#endif
