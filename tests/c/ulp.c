/* ulp.c: the errors of src_c/simd/vec_math.h and vec_units.h, in units in the last place, and its special values.
 *
 *   gcc <the flags of one ISA> -DFNN_ISA_AVX2 -DFNN_REAL=32 -Isrc_c tests/c/ulp.c -lm -o ulp && ./ulp [stride]
 *
 * float32: every stride-th bit pattern (1 = all 2^32) against double; float64: a fixed sample of bit patterns against
 * long double. Ends with 1 if a bound is broken. The reference is libm in the wider type.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "simd/vec_units.h"

#if FNN_REAL == 32
typedef double wide;
#define WIDE(f) f
#define DIGITS 24
#define LOWEST_EXPONENT (-149)
#else
typedef long double wide;
#define WIDE(f) f##l
#define DIGITS 53
#define LOWEST_EXPONENT (-1074)
#endif

static wide sigmoid_reference(wide x) { return x >= 0 ? 1 / (1 + WIDE(exp)(-x)) : WIDE(exp)(x) / (1 + WIDE(exp)(x)); }
static wide sigmoid_derivative_reference(wide x) {
    const wide e = WIDE(exp)(-WIDE(fabs)(x));
    return e / ((1 + e) * (1 + e));
}
static wide tanh_derivative_reference(wide x) {
    const wide e = WIDE(exp)(-2 * WIDE(fabs)(x));
    return 4 * e / ((1 + e) * (1 + e));
}

static wide softplus_reference(wide x) {
    return WIDE(fmax)(x, 0) + WIDE(log1p)(WIDE(exp)(-WIDE(fabs)(x))) + (isnan(x) ? x : 0);
}
/* x * gate(x) is 0 far below 0: no infinity times 0 */
static wide gated(wide x, wide gate) { return (x < -10000 ? -10000 : x) * gate; }
static wide silu_reference(wide x) { return gated(x, sigmoid_reference(x)); }
static wide gelu_reference(wide x) { return gated(x, WIDE(erfc)(-x * WIDE(sqrt)(0.5)) / 2); }
static wide gelu_tanh_reference(wide x) {
    const wide two_over_pi = 1 / WIDE(acos)(0);
    const wide cubic = (wide)44715 / 1000000;
    return gated(x, sigmoid_reference(2 * WIDE(sqrt)(two_over_pi) * (x + cubic * x * x * x)));
}
static wide mish_reference(wide x) {
    const wide e = WIDE(exp)(-WIDE(fabs)(x)), w = e * (e + 2);
    return gated(x, x < 0 ? w / (w + 2) : (1 + 2 * e) / (1 + 2 * e + 2 * e * e));
}
static wide softsign_reference(wide x) { return isinf(x) ? WIDE(copysign)(1, x) : x / (1 + WIDE(fabs)(x)); }
static wide expm1_negative_reference(wide x) { return x > 0 ? 0 : WIDE(expm1)(x); }

/* The references of both GELUs in long double have an error of their own, magnified by the exponential. */
#define GELU_BOUND (FNN_REAL == 32 ? 3 : 4)
#define FUNCTIONS(row)                                                                                                 \
    row(exp, WIDE(exp), 2) row(log, WIDE(log), 2) row(expm1, WIDE(expm1), 3) row(log1p, WIDE(log1p), 3)                \
        row(tanh, WIDE(tanh), 3) row(sigmoid, sigmoid_reference, 3)                                                    \
            row(sigmoid_derivative, sigmoid_derivative_reference, 3)                                                   \
                row(tanh_derivative, tanh_derivative_reference, 3) row(erf, WIDE(erf), 3)                              \
                    row(softplus, softplus_reference, 3) row(softsign, softsign_reference, 3)                          \
                        row(silu, silu_reference, 3) row(gelu, gelu_reference, GELU_BOUND)                             \
                            row(gelu_tanh, gelu_tanh_reference, GELU_BOUND) row(mish, mish_reference, 3)               \
                                row(expm1_negative, expm1_negative_reference, 3)

static int failures = 0;
static void check(int good, const char *what, double x) {
    if (!good && failures++ < 20)
        printf("WRONG: %s at %.17g\n", what, x);
}

static real real_from(real_bits bits) {
    real x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* No larger than `known`: cheap, since a unit in the last place is at least 2^-DIGITS of the value. */
static int surely_within(real got, wide reference, double known) {
    return WIDE(fabs)(got - reference) <= (wide)known * WIDE(fabs)(reference) * WIDE(ldexp)(1, -DIGITS);
}

/* |got - reference| in units in the last place of the reference; overflow counts as the next power of two. */
static double ulps(real got, wide reference) {
    const wide top = WIDE(ldexp)(1, FNN_REAL == 32 ? 128 : 1024);
    if (isnan(reference) || isnan(got))
        return isnan(reference) && isnan(got) ? 0 : INFINITY;
    const wide g = WIDE(fmax)(-top, WIDE(fmin)(got, top)), r = WIDE(fmax)(-top, WIDE(fmin)(reference, top));
    if (g == r)
        return 0;
    int last = r == 0 ? LOWEST_EXPONENT : WIDE(ilogb)(r) - DIGITS + 1;
    last = last < LOWEST_EXPONENT ? LOWEST_EXPONENT : last;
    return (double)WIDE(ldexp)(WIDE(fabs)(g - r), -last);
}

enum { BLOCK = 64 };

/* Each function of a block, in whole vectors; then one lane alone must give the same bits. */
#define ROW(name, reference, bound)                                                                                    \
    static void apply_##name(const real *x, real *y) {                                                                 \
        for (int i = 0; i < BLOCK; i += VLEN)                                                                          \
            v_store(y + i, v_##name(v_load(x + i)));                                                                   \
        real alone;                                                                                                    \
        v_store_n(&alone, v_##name(v_load_n(x + BLOCK - 1, 1)), 1);                                                    \
        check(memcmp(&alone, y + BLOCK - 1, sizeof alone) == 0 || alone != alone, #name " depends on the lane",        \
              (double)x[BLOCK - 1]);                                                                                   \
    }                                                                                                                  \
    static double worst_##name, where_##name;                                                                          \
    static void measure_##name(const real *x) {                                                                        \
        real y[BLOCK];                                                                                                 \
        apply_##name(x, y);                                                                                            \
        for (int i = 0; i < BLOCK; i++) {                                                                              \
            const wide want = reference((wide)x[i]);                                                                   \
            const double error = surely_within(y[i], want, worst_##name) ? 0 : ulps(y[i], want);                       \
            if (error > worst_##name) {                                                                                \
                worst_##name = error;                                                                                  \
                where_##name = (double)x[i];                                                                           \
            }                                                                                                          \
        }                                                                                                              \
    }
FUNCTIONS(ROW)
#undef ROW

static void measure_all(const real *x) {
#define ROW(name, reference, bound) measure_##name(x);
    FUNCTIONS(ROW)
#undef ROW
    real y[BLOCK], negated[BLOCK], z[BLOCK];
    for (int i = 0; i < BLOCK; i++)
        negated[i] = -x[i];
    apply_tanh(x, y);
    apply_tanh(negated, z);
    for (int i = 0; i < BLOCK; i++)
        check(y[i] == -z[i] || x[i] != x[i], "tanh is not odd", (double)x[i]);
    apply_tanh(x, y);
    apply_sigmoid(x, z);
    for (int i = 0; i < BLOCK; i++)
        check(x[i] != x[i] || (y[i] >= -1 && y[i] <= 1 && z[i] >= 0 && z[i] <= 1), "range", (double)x[i]);
}

static real one(vec x) {
    real y[VLEN];
    v_store(y, x);
    return y[0];
}
static int same(real a, real b) { return (a != a && b != b) || (a == b && signbit(a) == signbit(b)); }

static void special_values(void) {
    const real inf = REAL_INFINITY, nan = REAL_NAN, tiny = real_from(1);
    const struct {
        const char *what;
        real got, want;
    } table[] = {
#define CASE(name, x, want) {#name, one(v_##name(v_set1(x))), want},
        CASE(exp, inf, inf) CASE(exp, -inf, 0) CASE(exp, 0, 1) CASE(exp, -0.0, 1) CASE(exp, tiny, 1) CASE(
            expm1, inf, inf) CASE(expm1, -inf, -1) CASE(expm1, -0.0, -0.0) CASE(expm1, tiny, tiny) CASE(log, 0, -inf)
            CASE(log, -0.0, -inf) CASE(log, -1, nan) CASE(log, -inf, nan) CASE(log, inf, inf) CASE(log, 1, 0) CASE(
                log1p, -1, -inf) CASE(log1p, -2, nan) CASE(log1p, inf, inf) CASE(log1p, -0.0, -0.0) CASE(tanh, inf, 1)
                CASE(tanh, -inf, -1) CASE(tanh, -0.0, -0.0) CASE(tanh, tiny, tiny) CASE(sigmoid, inf, 1)
                    CASE(sigmoid, -inf, 0) CASE(sigmoid, 0, 0.5) CASE(sigmoid_derivative, -inf, 0)
                        CASE(tanh_derivative, 0, 1) CASE(tanh_derivative, inf, 0) CASE(exp, nan, nan)
                            CASE(expm1, nan, nan) CASE(log, nan, nan) CASE(log1p, nan, nan) CASE(silu, -inf, -0.0)
                                CASE(silu, inf, inf) CASE(silu, nan, nan) CASE(gelu, -inf, 0) CASE(gelu, inf, inf)
                                    CASE(gelu, nan, nan) CASE(gelu_tanh, -inf, -0.0) CASE(gelu_tanh, inf, inf)
                                        CASE(gelu_tanh, nan, nan) CASE(mish, -inf, -0.0) CASE(mish, inf, inf)
                                            CASE(mish, nan, nan) CASE(softplus, -inf, 0) CASE(softplus, inf, inf)
                                                CASE(softplus, nan, nan) CASE(softsign, inf, 1) CASE(softsign, -inf, -1)
                                                    CASE(softsign, nan, nan) CASE(erf, inf, 1) CASE(erf, -inf, -1)
                                                        CASE(erf, -0.0, -0.0) CASE(erf, nan, nan) CASE(tanh, nan, nan)
                                                            CASE(sigmoid, nan, nan) CASE(sigmoid_derivative, nan, nan)
                                                                CASE(tanh_derivative, nan, nan) CASE(round, 2.5, 2)
                                                                    CASE(round, -0.25, -0.0) CASE(round, -3.5, -4)
                                                                        CASE(round, nan, nan) CASE(round, inf, inf)
#undef CASE
                                                                            {"max(nan, 1)",
                                                                             one(v_max(v_set1(nan), v_set1(1))), 1},
        {"max(1, nan)", one(v_max(v_set1(1), v_set1(nan))), nan},
        {"min(nan, 1)", one(v_min(v_set1(nan), v_set1(1))), 1},
        {"min(1, nan)", one(v_min(v_set1(1), v_set1(nan))), nan},
        {"max(0, -0)", one(v_max(v_zero(), v_set1((real)-0.0))), (real)-0.0},
        {"copysign", one(v_copysign(v_set1(3), v_set1((real)-0.0))), -3},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (!same(table[i].got, table[i].want)) {
            failures++;
            printf("WRONG: %s gives %g, not %g\n", table[i].what, (double)table[i].got, (double)table[i].want);
        }
}

/* v_scale2, v_exponent and v_mantissa against ldexp and frexp; loads and reductions of part of a vector. */
static void powers_and_parts(void) {
    const int range = FNN_REAL == 32 ? 400 : 2600;
    for (int n = -range; n <= range; n++)
        for (int i = 0; i < 9; i++) {
            const real x = (real[]){1, (real)1.9999999, (real)-1.3333333, (real)0.75, 3,
                                    0, (real)1e-6,      (real)12345.678,  (real)-1}[i];
            check(same(one(v_scale2(v_set1(x), v_set1((real)n))), (real)WIDE(ldexp)(x, n)), "scale2", n);
            const real y = (real)WIDE(ldexp)(x, n);
            if (y == 0 || isinf(y))
                continue;
            int e;
            const wide m = WIDE(frexp)(y, &e);
            check(same(one(v_exponent(v_set1(y))), (real)(e - 1)), "exponent", (double)y);
            check(same(one(v_mantissa(v_set1(y))), (real)(2 * m)), "mantissa", (double)y);
        }
    for (int n = 0; n <= VLEN; n++) {
        real source[VLEN], target[VLEN + 1], sum = 0;
        for (int i = 0; i < VLEN; i++)
            source[i] = (real)(i + 1), target[i] = -7;
        target[VLEN] = -7;
        v_store_n(target, v_load_n(source, n), n);
        for (int i = 0; i <= VLEN; i++)
            check(target[i] == (i < n ? (real)(i + 1) : -7), "load_n or store_n", n);
        for (int i = 0; i < n; i++)
            sum += source[i];
        check(v_reduce_add(v_load_n(source, n)) == sum, "reduce_add", n);
        check(v_reduce_max(v_load_n(source, n)) == n, "reduce_max", n);
        if (n > 0) {
            source[n - 1] = REAL_NAN;
            check(isnan(v_reduce_max(v_load_n(source, n))), "reduce_max of NaN", n);
        }
    }
}

static void zips(void) {
#if !defined(FNN_ISA_SCALAR)
    real a[VLEN], b[VLEN], low[VLEN], high[VLEN];
    for (int i = 0; i < VLEN; i++)
        a[i] = (real)i, b[i] = (real)(100 + i);
    v_store(low, v_zip_low(v_load(a), v_load(b)));
    v_store(high, v_zip_high(v_load(a), v_load(b)));
    for (int i = 0; i < VLEN; i++) {
        const int piece = i / PIECE * PIECE, k = i % PIECE;
        check(low[i] == (k % 2 ? 100 : 0) + piece + k / 2, "zip_low", i);
        check(high[i] == (k % 2 ? 100 : 0) + piece + (PIECE + k) / 2, "zip_high", i);
    }
#endif
}

int main(int argc, char **argv) {
    const uint64_t stride = argc > 1 ? strtoull(argv[1], NULL, 10) : 1009;
    real x[BLOCK];
    special_values();
    powers_and_parts();
    zips();
#if FNN_REAL == 32
    for (uint64_t bits = 0, k = 0; bits < (uint64_t)1 << 32; bits += stride) {
        x[k++] = real_from((real_bits)bits);
        if (k == BLOCK)
            measure_all(x), k = 0;
    }
#else
    uint64_t state = 1;
    for (uint64_t k = 0; k < ((uint64_t)1 << 32) / stride; k++) {
        /* random bits; three quarters of them with an exponent between 2^-12 and 2^11, where the functions live */
        state = state * 6364136223846793005u + 1442695040888963407u;
        uint64_t bits = state ^ (state >> 29);
        if (k % 4)
            bits = (bits & 0x800fffffffffffffu) | ((1011 + (bits >> 52) % 24) << 52);
        x[k % BLOCK] = real_from(bits);
        if (k % BLOCK == BLOCK - 1)
            measure_all(x);
    }
#endif
    printf("%s float%d, largest errors in ULP:\n", FNN_ISA_NAME, FNN_REAL);
#define ROW(name, reference, bound)                                                                                    \
    printf("    %-20s %.3f at %.17g\n", #name, worst_##name, where_##name);                                            \
    check(worst_##name <= bound, #name " breaks its bound", where_##name);
    FUNCTIONS(ROW)
#undef ROW
    return failures != 0;
}
