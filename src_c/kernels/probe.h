/* probe.h: what one core of this machine can do at best: the limits that a profile's shares are measured against.
 *
 *   probe_flops      multiply-adds of registers only; enough independent chains to hide a latency of 4 cycles at two
 *                    per cycle. a * x + b with |x| < 1 converges, so that values stay normal.
 *   probe_read       sum of n reals;  probe_triad: a = b + s * c
 *
 * n is a multiple of PROBE_CHAINS vectors; results are returned so that nothing is optimised away.
 */
enum { PROBE_CHAINS = 8 };

/* 2 * PROBE_CHAINS * VLEN operations per iteration. */
static double probe_flops(int64_t iterations) {
    vec sum[PROBE_CHAINS], x = v_pin(v_set1((real)0.5)), b = v_pin(v_set1((real)0.25));
    for (int c = 0; c < PROBE_CHAINS; c++)
        sum[c] = v_set1((real)(1 + c));
    for (int64_t i = 0; i < iterations; i++)
        for (int c = 0; c < PROBE_CHAINS; c++)
            sum[c] = v_fma(sum[c], x, b);
    for (int c = 1; c < PROBE_CHAINS; c++)
        sum[0] = v_add(sum[0], sum[c]);
    return (double)v_reduce_add(sum[0]);
}

static double probe_read(int64_t n, const void *x) {
    const real *from = x;
    vec sum[PROBE_CHAINS];
    for (int c = 0; c < PROBE_CHAINS; c++)
        sum[c] = v_zero();
    for (int64_t i = 0; i + PROBE_CHAINS * VLEN <= n; i += PROBE_CHAINS * VLEN)
        for (int c = 0; c < PROBE_CHAINS; c++)
            sum[c] = v_add(sum[c], v_load(from + i + c * VLEN));
    for (int c = 1; c < PROBE_CHAINS; c++)
        sum[0] = v_add(sum[0], sum[c]);
    return (double)v_reduce_add(sum[0]);
}

static void probe_triad(int64_t n, void *a, const void *b, const void *c) {
    real *to = a;
    const real *first = b, *second = c;
    const vec half = v_pin(v_set1((real)0.5));
    for (int64_t i = 0; i + PROBE_CHAINS * VLEN <= n; i += PROBE_CHAINS * VLEN)
        for (int k = 0; k < PROBE_CHAINS; k++) {
            const int64_t at = i + k * VLEN;
            v_store(to + at, v_fma(half, v_load(second + at), v_load(first + at)));
        }
}
