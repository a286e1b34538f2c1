/* remez.c: where the coefficients of src_c/simd/vec_math.h come from.
 *
 *   gcc -O2 tests/c/remez.c -lquadmath -lm -o remez && ./remez
 *
 * Remez exchange in 113-bit arithmetic: the polynomial of a given degree that minimises max |weight * (p - f)|.
 * Prints the coefficients, lowest power first, and that maximum (relative to the function that the kernel computes).
 */
#include <quadmath.h>
#include <stdio.h>

#define MAX_TERMS 32
#define POINTS 1000
#define GRID 20000

typedef __float128 quad;

/* (e^r - 1 - r) / r^2, by its series where the difference cancels */
static quad exp_tail(quad r) {
    quad sum = 0, term = 0.5Q;
    for (int k = 3; k < 40; k++) {
        sum += term;
        term *= r / k;
    }
    return sum;
}
static quad exp_weight(quad r) { return r * r / expq(r); }

/* (2 atanh(s) / s - 2) / s^2 as a function of z = s^2 */
static quad atanh_tail(quad z) {
    quad sum = 0, power = 1;
    for (int k = 3; k < 80; k += 2) {
        sum += 2 * power / k;
        power *= z;
    }
    return sum;
}
static quad atanh_weight(quad z) { return z / (2 + z * atanh_tail(z)); }

/* The upper tail of the normal law over its density's exponential, times (a + 4), in t = (w - 11/32) / 2 with
 * w = a / (a + 4). Its polynomial is divided by its constant term, whose logarithm the exponential takes. */
static quad tail_scale = 1, tail_taken[MAX_TERMS];
static int tail_terms_taken;
static quad tail_part(quad t) {
    const quad w = 2 * t + 0.34375Q, a = 4 * w / (1 - w);
    return expq(a * a / 2) * erfcq(a / sqrtq(2)) / 2 * (a + 4) / tail_scale;
}
/* what is left of it after the terms that are fixed already */
static quad tail_rest(quad t) {
    quad rest = tail_part(t), power = 1;
    for (int k = 0; k < tail_terms_taken; k++, power *= t)
        rest -= tail_taken[k] * power;
    return rest / power;
}
static quad tail_weight(quad t) {
    quad power = 1;
    for (int k = 0; k < tail_terms_taken; k++)
        power *= fabsq(t);
    return power / tail_part(t);
}

/* erf(x) / x as a function of z = x^2 */
static quad erf_part(quad z) {
    if (z < 1e-12Q)
        return 2 / sqrtq(M_PIq) * (1 - z / 3 + z * z / 10);
    return erfq(sqrtq(z)) / sqrtq(z);
}
static quad erf_less_1(quad z) { return erf_part(z) - 1; }
static quad erf_weight(quad z) { return 1 / erf_part(z); }

/* log(erfc(x)) / x in t = x - centre, for erf(x) = 1 - e^(x f) */
static quad erfc_centre;
static quad erfc_log(quad t) { return logq(erfcq(t + erfc_centre)) / (t + erfc_centre); }
static quad erfc_weight(quad t) {
    const quad x = t + erfc_centre;
    return x * erfcq(x) / erfq(x);
}

static quad polynomial(const quad *c, int terms, quad x) {
    quad y = c[terms - 1];
    for (int k = terms - 2; k >= 0; k--)
        y = y * x + c[k];
    return y;
}

/* Gaussian elimination with partial pivoting; the solution replaces b. */
static void solve(int n, quad a[][MAX_TERMS + 1], quad *b) {
    for (int i = 0; i < n; i++) {
        int pivot = i;
        for (int r = i + 1; r < n; r++)
            if (fabsq(a[r][i]) > fabsq(a[pivot][i]))
                pivot = r;
        for (int k = 0; k < n; k++) {
            const quad t = a[i][k];
            a[i][k] = a[pivot][k];
            a[pivot][k] = t;
        }
        const quad t = b[i];
        b[i] = b[pivot];
        b[pivot] = t;
        for (int r = i + 1; r < n; r++) {
            const quad factor = a[r][i] / a[i][i];
            for (int k = i; k < n; k++)
                a[r][k] -= factor * a[i][k];
            b[r] -= factor * b[i];
        }
    }
    for (int i = n - 1; i >= 0; i--) {
        for (int k = i + 1; k < n; k++)
            b[i] -= a[i][k] * b[k];
        b[i] /= a[i][i];
    }
}

/* c[terms + 1]: the coefficients; returns the maximum */
static double remez(quad *c, quad (*f)(quad), quad (*weight)(quad), quad low, quad high, int terms) {
    quad point[MAX_TERMS + 1], a[MAX_TERMS + 1][MAX_TERMS + 1], worst = 0;
    for (int i = 0; i <= terms; i++)
        point[i] = (low + high) / 2 - (high - low) / 2 * cosq(M_PIq * (i + 0.5Q) / (terms + 1));
    for (int round = 0; round < 12; round++) {
        for (int i = 0; i <= terms; i++) {
            quad power = 1;
            for (int k = 0; k < terms; k++, power *= point[i])
                a[i][k] = power;
            a[i][terms] = (i % 2 ? -1 : 1) / weight(point[i]); /* the levelled error */
            c[i] = f(point[i]);
        }
        solve(terms + 1, a, c);
        /* the new reference: the largest error between two changes of its sign */
        int found = -1, last_sign = 0;
        quad best = 0;
        worst = 0;
        for (int g = 0; g <= GRID; g++) {
            const quad x = low + (high - low) * g / GRID;
            const quad error = weight(x) * (polynomial(c, terms, x) - f(x));
            const int sign = error > 0 ? 1 : -1;
            if (error == 0)
                continue;
            if (sign != last_sign && found < terms) {
                found++;
                last_sign = sign;
                best = 0;
            }
            if (sign == last_sign && fabsq(error) > best) {
                best = fabsq(error);
                point[found] = x;
            }
            if (fabsq(error) > worst)
                worst = fabsq(error);
        }
        if (found != terms)
            break;
    }
    return (double)worst;
}

static void print(const char *name, const quad *c, int terms, double error) {
    printf("%s, %d terms, error %.3g\n", name, terms, error);
    for (int k = 0; k < terms; k++)
        printf("    %.9g   %.17g\n", (double)c[k], (double)c[k]);
}

static void fit(const char *name, quad (*f)(quad), quad (*weight)(quad), quad low, quad high, int terms) {
    quad c[MAX_TERMS + 1];
    print(name, c, terms, remez(c, f, weight, low, high, terms));
}

/* Nearly the same by Lawson's weighted least squares, which needs no alternation: for weights with a zero. */
static double lawson(quad *c, quad (*f)(quad), quad (*weight)(quad), quad low, quad high, int terms) {
    static quad x[POINTS], value[POINTS], factor[POINTS], share[POINTS];
    quad worst = 0;
    for (int i = 0; i < POINTS; i++) {
        x[i] = (low + high) / 2 - (high - low) / 2 * cosq(M_PIq * (i + 0.5Q) / POINTS);
        value[i] = f(x[i]);
        factor[i] = weight(x[i]);
        share[i] = 1;
    }
    for (int round = 0; round < 150; round++) {
        quad a[MAX_TERMS + 1][MAX_TERMS + 1] = {0}, power[MAX_TERMS + 1] = {1}, largest = 0;
        for (int k = 0; k < terms; k++)
            c[k] = 0;
        for (int i = 0; i < POINTS; i++) {
            const quad squared = share[i] * factor[i] * factor[i];
            for (int k = 1; k < terms; k++)
                power[k] = power[k - 1] * x[i];
            for (int k = 0; k < terms; k++) {
                c[k] += squared * power[k] * value[i];
                for (int j = 0; j < terms; j++)
                    a[k][j] += squared * power[k] * power[j];
            }
        }
        solve(terms, a, c);
        worst = 0;
        for (int i = 0; i < POINTS; i++) {
            const quad error = fabsq(factor[i] * (polynomial(c, terms, x[i]) - value[i]));
            worst = error > worst ? error : worst;
            share[i] *= error;
            largest = share[i] > largest ? share[i] : largest;
        }
        for (int i = 0; i < POINTS; i++)
            share[i] /= largest;
    }
    return (double)worst;
}

/* a from 0 to `end`. The logarithm of the scale in two parts, the first a multiple of 2^-grid. With `rounded`, each
 * coefficient is rounded to float32 before those above it are fitted. */
static void fit_tail(const char *name, quad end, int terms, int grid, int rounded) {
    const quad low = -0.171875Q, high = (end / (end + 4) - 0.34375Q) / 2;
    quad c[MAX_TERMS + 1];
    double error = remez(c, tail_rest, tail_weight, low, high, terms);
    const quad first = c[0], part = scalbnq(floorq(scalbnq(logq(first), grid)), -grid);
    printf("log C = %.20g + %.17g, 1 / (C sqrt(2 pi)) = %.20g\n", (double)part, (double)(logq(first) - part),
           (double)(1 / (first * sqrtq(2 * M_PIq))));
    for (int k = 0; k < terms; k++)
        tail_taken[k] = c[k] / first;
    tail_scale = first;
    for (tail_terms_taken = 1; rounded && tail_terms_taken < terms; tail_terms_taken++) {
        error = lawson(c, tail_rest, tail_weight, low, high, terms - tail_terms_taken);
        tail_taken[tail_terms_taken] = (float)c[0];
    }
    tail_terms_taken = 0;
    tail_scale = 1;
    print(name, tail_taken + 1, terms - 1, error);
}

int main(void) {
    const quad half_ln2 = M_LN2q / 2, s = 3 - 2 * sqrtq(2); /* sqrt(2) - 1 over sqrt(2) + 1 */
    fit("exp float32", exp_tail, exp_weight, -half_ln2, half_ln2, 5);
    fit("exp float64", exp_tail, exp_weight, -half_ln2, half_ln2, 10);
    fit("log float32", atanh_tail, atanh_weight, 0, s * s, 3);
    fit("log float64", atanh_tail, atanh_weight, 0, s * s, 7);
    fit("log1p float32", atanh_tail, atanh_weight, 0, 1 / 9.0Q, 4);
    fit("log1p float64", atanh_tail, atanh_weight, 0, 1 / 9.0Q, 10);
    fit_tail("tail float32", 15, 10, 17, 1);
    fit_tail("tail float64", 39, 25, 40, 0);
    const quad edge = 0.875Q; /* between the two forms of erf */
    fit("erf float32", erf_less_1, erf_weight, 0, edge * edge, 6);
    fit("erf float64", erf_less_1, erf_weight, 0, edge * edge, 11);
    erfc_centre = 2;
    fit("erfc float32", erfc_log, erfc_weight, edge - erfc_centre, 4 - erfc_centre, 6);
    erfc_centre = 3;
    fit("erfc float64", erfc_log, erfc_weight, edge - erfc_centre, 6 - erfc_centre, 19);
    return 0;
}
