/* vec_units.h: the smooth activations and their derivatives over vec_math.h.
 *
 * Each falls to zero like e^-v for some v(x) > 0 on one side. There the exponential's power of two is applied last, to
 * the product of all that is of ordinary size, so that results underflow gradually with one rounding and an infinite x
 * gives the limit. Where v is large its own rounding error would count v times: it comes as the sum of two reals.
 *
 *   normal tail   1 - Phi(a) = C e^(-a^2/2) T(t) / (a + 4), t = (w - 11/32) / 2, w = a / (a + 4), T(t) = 1 + t Q(t): a
 *                 form of erfc (after Shepherd & Laframboise 1981), because 1 + erf(x) has no digits left where x is
 *                 negative. a (1 - Phi(a)) has w T(t) in it, which is less sensitive to w than w itself. The
 *                 exponential takes log C, so that T's first term is 1 and costs neither rounding nor multiplication.
 *   erf           x + x E(x^2) below 7/8; 1 - e^(x F(x)) above, where F is a polynomial for log(erfc(x)) / x.
 *   log(1 + e)    for 0 <= e <= 1: s = e / (2 + e), log1p(e) = e - s (e - R), as in v_log without a reduction.
 *
 * tests/c/remez.c prints the coefficients. Errors: docs/accuracy.md, measured by benchmarks/accuracy.py over all
 * float32.
 */
#ifndef FNN_VEC_UNITS_H
#define FNN_VEC_UNITS_H

#include "vec_math.h"

#if FNN_REAL == 32
#define FNN_TAIL_LIMIT 15 /* from here on a (1 - Phi(a)) rounds to 0 */
#define FNN_TAIL_LOG_HIGH -0.010711669921875f
#define FNN_TAIL_LOG_LOW 6.87769524e-07f
#define FNN_TAIL_DENSITY 0.403238310f /* 1 / (C sqrt(2 pi)) */
#define FNN_TAIL_TERMS 9
#define FNN_TAIL_COEFFICIENTS                                                                                          \
    -3.68794084f, 9.68877983f, -17.2557755f, 16.950964f, 1.87606895f, -25.3275204f, 10.9669085f, 36.3773003f,          \
        -35.4479866f
#define FNN_LOG1P_TERMS 4
#define FNN_LOG1P_COEFFICIENTS 0.666664163f, 0.400215272f, 0.280018053f, 0.280119867f
#define FNN_ERF_TERMS 6
#define FNN_ERF_COEFFICIENTS 0.128379157f, -0.376125505f, 0.112824553f, -0.026791463f, 0.00503218129f, -0.000620325493f
#define FNN_ERF_LIMIT 4 /* from here on erf rounds to 1 */
#define FNN_ERFC_CENTRE 2
#define FNN_ERFC_TERMS 6
#define FNN_ERFC_COEFFICIENTS                                                                                          \
    -2.68247043f, -0.867846165f, -0.0279627648f, 0.00573039288f, -0.00107287391f, 0.000215224968f
#else
#define FNN_TAIL_LIMIT 39
#define FNN_TAIL_LOG_HIGH -0.01071098376178269973
#define FNN_TAIL_LOG_LOW 3.605616899973348e-13
#define FNN_TAIL_DENSITY 0.40323831097357982791
#define FNN_TAIL_TERMS 24
#define FNN_TAIL_COEFFICIENTS                                                                                          \
    -3.6879403053053066, 9.6887800521307099, -17.256010188825915, 16.951465855453417, 1.9032781659990055,              \
        -25.416205245531351, 9.8132824850976306, 41.119724435550779, -19.648464460442444, -83.753657281714808,         \
        13.26839454983392, 188.02482431920018, 87.137607619292098, -375.23560075800134, -536.14976229265858,           \
        401.82939735196254, 1788.5175687451338, 1371.6522468407102, -3431.734531077685, -12966.842448887328,           \
        6843.0197730371738, 55357.109642848765, -72313.090523909967, 16476.793139708643
#define FNN_LOG1P_TERMS 10
#define FNN_LOG1P_COEFFICIENTS                                                                                         \
    0.66666666666666308, 0.40000000000155117, 0.2857142854811795, 0.22222223953649731, 0.18181744478957015,            \
        0.15386548395320082, 0.13301121341099953, 0.1210494524069604, 0.083449698450036261, 0.17009760059295895
#define FNN_ERF_TERMS 11
#define FNN_ERF_COEFFICIENTS                                                                                           \
    0.12837916709551256, -0.37612638903182988, 0.11283791670915581, -0.026866170637142667, 0.00522397754243738,        \
        -0.00085483219772579334, 0.00012055141076325864, -1.492094197609125e-05, 1.6387374251887767e-06,               \
        -1.5619255578363722e-07, 1.0456783179760882e-08
#define FNN_ERF_LIMIT 6
#define FNN_ERFC_CENTRE 3
#define FNN_ERFC_TERMS 19
#define FNN_ERFC_COEFFICIENTS                                                                                          \
    -3.5734543473270475, -0.9100997805587554, -0.015764812746852354, 0.0027843069870277762, -0.00047699884798123939,   \
        7.7102219019386823e-05, -1.1340185508992997e-05, 1.4082300449454165e-06, -1.1287099394411812e-07,              \
        -7.6673000310780936e-09, 6.391273632523852e-09, -1.9899973465013667e-09, 3.9640308084045067e-10,               \
        -7.8144459945651497e-11, 2.8583265060093693e-11, 4.6225471563675308e-12, -1.7455704566622228e-13,              \
        -6.8158196474351681e-13, -1.845051882723684e-13
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

/* a + b c = *sum + the result, to two reals; |b c| <= 2 |a| */
FNN_INLINE vec fnn_sum_with_product(vec a, vec b, vec c, vec *sum) {
#ifdef FNN_NO_FMA
    const vec product = v_mul(b, c);
    *sum = v_add(a, product);
    return v_sub(v_add(v_sub(a, *sum), product), fnn_product_excess(b, c, product));
#else
    *sum = v_fma(b, c, a);
    return v_fma(b, c, v_sub(a, *sum));
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
    return v_select(tiny, fnn_product(v_set1(REAL(0.5)), x), v_scale2_near1(y, v_select(negative, n, v_zero())));
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

/* t of the normal tail from w; 1/2 - 11/64 - t is half of 1 - w */
#define FNN_TAIL_ORIGIN REAL(0.171875)
FNN_INLINE vec fnn_normal_tail(vec t) {
    static const real c[FNN_TAIL_TERMS] = {FNN_TAIL_COEFFICIENTS};
    return fnn_polynomial(t, c, FNN_TAIL_TERMS);
}
/* The same, and what its last step rounds away where that is two roundings */
FNN_INLINE vec fnn_normal_tail_exact(vec t, vec *lost) {
#ifdef FNN_NO_FMA
    static const real c[FNN_TAIL_TERMS] = {FNN_TAIL_COEFFICIENTS};
    const vec first = v_set1(c[0]), rest = fnn_polynomial(t, c + 1, FNN_TAIL_TERMS - 1), product = v_mul(t, rest);
    const vec sum = v_add(first, product);
    *lost = v_sub(v_add(v_sub(first, sum), product), fnn_product_excess(t, rest, product));
    return sum;
#else
    *lost = v_zero();
    return fnn_normal_tail(t);
#endif
}

/* C e^(-a b) = 2^n (1 + p); the rounding of a b does not count */
FNN_INLINE vec fnn_gauss_parts(vec a, vec b, vec *n) {
    const vec log_high = v_set1(FNN_TAIL_LOG_HIGH);
    *n = fnn_exp_power(v_fnma(a, b, log_high));
    const vec high = v_fnma(*n, v_set1(FNN_LN2_HIGH), log_high); /* exact */
    const vec low = v_fnma(*n, v_set1(FNN_LN2_LOW), v_set1(FNN_TAIL_LOG_LOW));
#ifdef FNN_NO_FMA
    const vec product = v_mul(a, b);
    return fnn_expm1_reduced(v_add(v_sub(high, product), v_add(low, fnn_product_excess(a, b, product))));
#else
    return fnn_expm1_reduced(v_add(v_fnma(a, b, high), low));
#endif
}

/* GELU, x Phi(x) = max(x, 0) - a (1 - Phi(a)), a = |x|. What rounding d = a + 4 loses changes w by its 1 / d-th, the
 * result by about 1 - w of that (all of it where a is small, a quarter at a = 12), and 1 / d = (1 - w) / 4.
 * a (1 - Phi(a)) <= a / 2, and = where x is tiny. gelu(-inf) = 0. */
FNN_INLINE vec v_gelu(vec x) {
    const vec size = v_abs(x), half = fnn_product(v_set1(REAL(0.5)), size), four = v_set1(4);
    const vec a = v_min(v_set1(FNN_TAIL_LIMIT), fnn_magnitude(x)), d = v_add(a, four), w = v_div(a, d);
    const vec half_a = v_min(v_set1(REAL(0.5) * FNN_TAIL_LIMIT), v_max(v_set1(REAL(0.5) * FNN_TINY), half));
    const vec t = v_fma(w, v_set1(REAL(0.5)), v_set1(-FNN_TAIL_ORIGIN));
    const vec rest = v_sub(v_set1(REAL(0.5) - FNN_TAIL_ORIGIN), t), lost = v_sub(a, v_sub(d, four));
    vec n;
    const vec p = v_fnma(lost, v_mul(rest, rest), fnn_gauss_parts(a, half_a, &n));
    vec share, tail_lost;
    const vec wt = v_mul(w, t), q = fnn_normal_tail_exact(t, &tail_lost);
    vec low = fnn_sum_with_product(w, wt, q, &share);
#ifdef FNN_NO_FMA
    low = v_fma(wt, tail_lost, low);
#endif
    const vec y = v_scale2_near1(v_add(share, v_fma(share, p, low)), n);
    return v_sub(v_max(v_zero(), x), v_min(half, y));
}
/* Phi(x) + x phi(x): below 0 it is C e^(-a^2/2) (T(t) / (a + 4) - a / (C sqrt(2 pi))), above 0 one minus that.
 * 2 / (a + 4) = (1 - w) / 2 comes from w, whose rounding counts less where a is small. */
FNN_INLINE vec v_gelu_derivative(vec x) {
    const vec a = v_min(v_set1(FNN_TAIL_LIMIT), fnn_magnitude(x)), w = v_div(a, v_add(a, v_set1(4)));
    const vec t = v_fma(w, v_set1(REAL(0.5)), v_set1(-FNN_TAIL_ORIGIN));
    const vec rest = v_sub(v_set1(REAL(0.5) - FNN_TAIL_ORIGIN), t);
    vec n;
    const vec p = fnn_gauss_parts(a, v_mul(v_set1(REAL(0.5)), a), &n);
    const vec ratio = v_fma(v_mul(rest, t), fnn_normal_tail(t), rest);
    const vec twice = v_fnma(a, v_set1(2 * FNN_TAIL_DENSITY), ratio);
    const vec below = v_scale2_near1(v_fma(twice, p, twice), v_sub(n, v_set1(1)));
    return v_select(v_lt(x, v_zero()), below, v_sub(v_set1(1), below));
}

/* erf(x), odd */
FNN_INLINE vec v_erf(vec x) {
    static const real near_zero[FNN_ERF_TERMS] = {FNN_ERF_COEFFICIENTS}, far[FNN_ERFC_TERMS] = {FNN_ERFC_COEFFICIENTS};
    const vec a = v_min(v_set1(FNN_ERF_LIMIT), v_abs(x)), b = fnn_magnitude(a);
    const vec near_y = v_fma(a, fnn_polynomial(v_mul(b, b), near_zero, FNN_ERF_TERMS), a);
    const vec slope = fnn_polynomial(v_sub(b, v_set1(FNN_ERFC_CENTRE)), far, FNN_ERFC_TERMS);
    vec n;
    const vec p = fnn_exp_parts(v_mul(b, slope), v_zero(), &n);
    const vec far_y = v_sub(v_set1(1), fnn_exp_coarse(n, p));
    return v_copysign(v_select(v_lt(a, v_set1(REAL(0.875))), near_y, far_y), x);
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
