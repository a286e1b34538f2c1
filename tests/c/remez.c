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

/* The upper tail of the normal law over its density's exponential, times (a + K), in t = (a - K) / (a + K) */
static quad tail_k;
static quad tail_part(quad t) {
    const quad a = tail_k * (1 + t) / (1 - t);
    return expq(a * a / 2) * erfcq(a / sqrtq(2)) / 2 * (a + tail_k);
}
static quad tail_weight(quad t) { return 1 / tail_part(t); }

/* erf(x) / x as a function of z = x^2 */
static quad erf_part(quad z) {
    if (z < 1e-12Q)
        return 2 / sqrtq(M_PIq) * (1 - z / 3 + z * z / 10);
    return erfq(sqrtq(z)) / sqrtq(z);
}
static quad erf_weight(quad z) { return 1 / erf_part(z); }

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

static void fit(const char *name, quad (*f)(quad), quad (*weight)(quad), quad low, quad high, int terms) {
    quad point[MAX_TERMS + 1], c[MAX_TERMS + 1], a[MAX_TERMS + 1][MAX_TERMS + 1], worst = 0;
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
    printf("%s, %d terms, error %.3g\n", name, terms, (double)worst);
    for (int k = 0; k < terms; k++)
        printf("    %.9g   %.17g\n", (double)c[k], (double)c[k]);
}

int main(void) {
    const quad half_ln2 = M_LN2q / 2, s = 3 - 2 * sqrtq(2); /* sqrt(2) - 1 over sqrt(2) + 1 */
    fit("exp float32", exp_tail, exp_weight, -half_ln2, half_ln2, 5);
    fit("exp float64", exp_tail, exp_weight, -half_ln2, half_ln2, 10);
    fit("log float32", atanh_tail, atanh_weight, 0, s * s, 3);
    fit("log float64", atanh_tail, atanh_weight, 0, s * s, 7);
    fit("log1p float32", atanh_tail, atanh_weight, 0, 1 / 9.0Q, 4);
    fit("log1p float64", atanh_tail, atanh_weight, 0, 1 / 9.0Q, 10);
    tail_k = 2;
    fit("tail float32", tail_part, tail_weight, -1, 13 / 17.0Q, 12); /* a from 0 to 15 */
    tail_k = 3;
    fit("tail float64", tail_part, tail_weight, -1, 36 / 42.0Q, 25); /* a from 0 to 39 */
    fit("erf float32", erf_part, erf_weight, 0, 1, 7);
    fit("erf float64", erf_part, erf_weight, 0, 1, 12);
    return 0;
}
