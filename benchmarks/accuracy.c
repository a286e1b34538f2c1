/* accuracy.c: double references for accuracy.py and the comparison with them; compiled by it at run time.
 *
 * Every function of math.h is libm's or, where the compiler turns the loop into vectors, libmvec's (glibc; at most 4
 * units in the last place of a double, 1e-8 of a float's): either way no code of fastnn. check() holds libmvec to libm.
 */
#define __FAST_MATH__                                                                                                  \
    1 /* glibc declares libmvec only then; nothing else is asked of it, and no fast-math flag is set */
#include <math.h>
#undef __FAST_MATH__
#include <stdint.h>
#include <string.h>

#define ROOT_HALF 0.70710678118654752440
#define DENSITY 0.39894228040143267794 /* 1 / sqrt(2 pi) */
#define GELU_C 1.5957691216057307117597842397375
#define SELU_SCALE 1.0507009873554804934193349852946
#define SELU_ALPHA 1.6732632423543772848170429916717

static inline double sigmoid(double x) {
    const double e = exp(-fabs(x));
    return (x >= 0 ? 1 : e) / (1 + e);
}
static inline double nan_of(double x) { return x != x ? x : 0; } /* larger() drops a NaN */
static inline double larger(double a, double b) { return a > b ? a : b; }
static inline double cut(double x) { return x < -1e4 ? -1e4 : x; } /* x f(x) -> 0 there; no infinity times 0 */
static inline double softplus(double x) { return larger(x, 0) + log1p(exp(-fabs(x))) + nan_of(x); }
static inline double gelu_v(double x) { return GELU_C * (x + 0.044715 * x * x * x); }
static inline double mish_gate(double x) {
    const double e = exp(-fabs(x)), w = e * (e + 2);
    return x < 0 ? w / (w + 2) : (1 + 2 * e) / (1 + 2 * e + 2 * e * e);
}

/* name, value, derivative (NAN: not swept) */
#define FUNCTIONS(row)                                                                                                 \
    row(exp, exp(x), NAN) row(log, log(x), NAN) row(expm1, expm1(x), NAN) row(log1p, log1p(x), NAN)                    \
        row(erf, erf(x), NAN) row(sigmoid, sigmoid(x), sigmoid(x) * sigmoid(-x)) row(                                  \
            tanh, tanh(x), 4 * sigmoid(2 * x) * sigmoid(-2 * x)) row(elu, x > 0 ? x : expm1(x), x > 0 ? 1 : exp(x))    \
            row(selu, SELU_SCALE *(x > 0 ? x : SELU_ALPHA * expm1(x)), SELU_SCALE *(x > 0 ? 1 : SELU_ALPHA * exp(x)))  \
                row(celu, x > 0 ? x : expm1(x), x > 0 ? 1 : exp(x)) row(softplus, softplus(x), sigmoid(x))             \
                    row(softsign, isinf(x) ? copysign(1, x) : x / (1 + fabs(x)), 1 / ((1 + fabs(x)) * (1 + fabs(x))))  \
                        row(gelu, cut(x) * (0.5 * erfc(-x * ROOT_HALF)),                                               \
                            0.5 * erfc(-x * ROOT_HALF) + fmin(fmax(x, -1e4), 1e4) * DENSITY * exp(-0.5 * x * x) +      \
                                nan_of(x)) row(gelu_tanh, cut(x) * sigmoid(gelu_v(x)),                                 \
                                               sigmoid(gelu_v(cut(x))) + GELU_C * fmin(cut(x), 1e4) *                  \
                                                                             (1 + 3 * 0.044715 * fmin(x * x, 1e8)) *   \
                                                                             sigmoid(gelu_v(x)) * sigmoid(-gelu_v(x))) \
                            row(silu, cut(x) * sigmoid(x), sigmoid(x) * (1 + fmin(cut(x), 1e4) * sigmoid(-x)))         \
                                row(mish, cut(x) * mish_gate(x),                                                       \
                                    mish_gate(x) +                                                                     \
                                        fmin(cut(x), 1e4) * (1 - mish_gate(x)) * (1 + mish_gate(x)) * sigmoid(x))      \
                                    row(hardsigmoid, larger(0, x + 3 < 6 ? x + 3 : 6) / 6 + nan_of(x),                 \
                                        x > -3 && x < 3 ? 1 / 6.0 : 0)                                                 \
                                        row(hardswish, cut(x) * (larger(0, x + 3 < 6 ? x + 3 : 6) / 6),                \
                                            x <= -3 ? 0                                                                \
                                            : x > 3 ? 1                                                                \
                                                    : x / 3 + 0.5)

#define ROW(name, value, slope)                                                                                        \
    static void vector_##name(int64_t n, const float *from, double *to) {                                              \
        _Pragma("omp simd") for (int64_t i = 0; i < n; i++) {                                                          \
            const double x = from[i];                                                                                  \
            to[i] = value;                                                                                             \
        }                                                                                                              \
    }                                                                                                                  \
    static void slopes_##name(int64_t n, const float *from, double *to) {                                              \
        _Pragma("omp simd") for (int64_t i = 0; i < n; i++) {                                                          \
            const double x = from[i];                                                                                  \
            to[i] = slope;                                                                                             \
        }                                                                                                              \
    }                                                                                                                  \
    __attribute__((noinline, optimize("no-tree-vectorize"))) static double one_##name(double x) { return value; }      \
    __attribute__((noinline, optimize("no-tree-vectorize"))) static double slope_##name(double x) { return slope; }
FUNCTIONS(ROW)
#undef ROW

static const struct {
    const char *name;
    void (*vector[2])(int64_t, const float *, double *);
    double (*one[2])(double);
} table[] = {
#define ROW(name, value, slope) {#name, {vector_##name, slopes_##name}, {one_##name, slope_##name}},
    FUNCTIONS(ROW)
#undef ROW
};

/* The function's number, or -1. */
int find(const char *name) {
    for (int i = 0; i < (int)(sizeof table / sizeof *table); i++)
        if (strcmp(table[i].name, name) == 0)
            return i;
    return -1;
}

/* x[i] = the float of the bits first + i * stride */
void inputs(int64_t n, uint32_t first, uint32_t stride, float *x) {
    for (int64_t i = 0; i < n; i++) {
        const uint32_t bits = first + (uint32_t)i * stride;
        memcpy(x + i, &bits, sizeof bits);
    }
}

void reference(int function, int derivative, int64_t n, const float *x, double *y) {
    table[function].vector[derivative](n, x, y);
}

/* How many of every 509th value differ from libm's by more than 1e-12. */
int64_t check(int function, int derivative, int64_t n, const float *x, const double *y) {
    int64_t wrong = 0;
    for (int64_t i = 0; i < n; i += 509) {
        const double want = table[function].one[derivative](x[i]);
        wrong += !(fabs(y[i] - want) <= 1e-12 * fabs(want) + 1e-60 || (want != want && y[i] != y[i]) || want == y[i]);
    }
    return wrong;
}

/* Units in the last place of a float at the reference, the subnormal ones below 2^-126; overflow counts as 2^128. */
static inline double error_of(double got, double want, int absolute) {
    const double top = 0x1p128, low = 0x1p-126;
    const double g = got > top ? top : got < -top ? -top : got, w = want > top ? top : want < -top ? -top : want;
    uint64_t bits;
    double power;
    memcpy(&bits, &w, sizeof bits);
    bits &= 0x7ff0000000000000u;
    memcpy(&power, &bits, sizeof power);
    const double unit = absolute ? 0x1p-23 : (power > low ? power : low) * 0x1p-23;
    const double error = fabs(g - w) / unit;
    const int nan = (got != got) | (want != want);
    return nan ? ((got != got) & (want != want) ? 0 : INFINITY) : error;
}

/* The largest error over n values and its place; inside [low, high] it is absolute, in units of 2^-23, and apart. */
void compare(int64_t n, const float *x, const double *want, const float *got, double low, double high, double *worst,
             float *where) {
    for (int absolute = 0; absolute < 2; absolute++) {
        double most = worst[absolute];
        _Pragma("omp simd reduction(max : most)") for (int64_t i = 0; i < n; i++) {
            const int inside = (x[i] >= low) & (x[i] <= high);
            const double e = error_of(got[i], want[i], absolute);
            const double counted = inside == absolute ? e : 0;
            most = counted > most ? counted : most;
        }
        if (most > worst[absolute]) {
            worst[absolute] = most;
            for (int64_t i = 0; i < n; i++)
                if (((x[i] >= low) & (x[i] <= high)) == absolute && error_of(got[i], want[i], absolute) == most) {
                    where[absolute] = x[i];
                    break;
                }
        }
    }
}
