/* update.c: the bandwidth of a pass that updates arrays in place, as the denominator of the optimizers' shares.
 *
 * A pass reads `read` arrays of n floats and writes the first `written` of them back: an optimizer with s states reads
 * s + 2 (weights, gradient, states) and writes s + 1. The threads share the elements. Bytes are those that the program
 * names: 4 (read + written) n. The best of the trials counts: a limit is not an average.
 *
 * Prints one JSON object. Usage: update THREADS N...
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#ifdef _OPENMP
#include <omp.h>
#else
#include <time.h>
#endif

enum { MOST = 5, TRIALS = 15 };

static double now(void) {
#ifdef _OPENMP
    return omp_get_wtime();
#else
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
#endif
}

/* Makes the program have the value in a register: a sum would be a chain as long as its adds take. */
#if defined(__x86_64__)
#define HAVE(value) __asm__ volatile("" : : "x"(value))
#elif defined(__aarch64__)
#define HAVE(value) __asm__ volatile("" : : "w"(value))
#else
static volatile float sink;
#define HAVE(value) (sink = (value)[0])
#endif

/* The written arrays become x / 2 + last, which converges: the values stay normal for any number of passes. */
#define PASS(isa, attribute, bytes, read, written)                                                                     \
    attribute static void pass_##isa##_##read##_##written(float *const *arrays, int64_t n) {                           \
        typedef float vector __attribute__((vector_size(bytes), aligned(4), may_alias));                               \
        float *a[read];                                                                                                \
        for (int k = 0; k < read; k++)                                                                                 \
            a[k] = arrays[k];                                                                                          \
        for (int64_t i = 0; i + bytes / 4 <= n; i += bytes / 4) {                                                      \
            vector x[read];                                                                                            \
            for (int k = 0; k < read; k++)                                                                             \
                x[k] = *(const vector *)(a[k] + i);                                                                    \
            for (int k = 0; k < written; k++)                                                                          \
                *(vector *)(a[k] + i) = x[k] * 0.5f + x[read - 1];                                                     \
            for (int k = written; k < read; k++)                                                                       \
                HAVE(x[k]);                                                                                            \
        }                                                                                                              \
    }
#define PASSES(isa, attribute, bytes)                                                                                  \
    PASS(isa, attribute, bytes, 2, 0)                                                                                  \
    PASS(isa, attribute, bytes, 2, 1)                                                                                  \
    PASS(isa, attribute, bytes, 3, 1)                                                                                  \
    PASS(isa, attribute, bytes, 3, 2)                                                                                  \
    PASS(isa, attribute, bytes, 4, 2)                                                                                  \
    PASS(isa, attribute, bytes, 4, 3)                                                                                  \
    PASS(isa, attribute, bytes, 5, 4)

#define BASELINE
PASSES(base, BASELINE, 16)
#if defined(__x86_64__)
PASSES(avx2, __attribute__((target("avx2,fma"))), 32)
PASSES(avx512, __attribute__((target("avx512f,fma"))), 64)
#endif

typedef struct pass {
    int read, written;
    void (*run)(float *const *arrays, int64_t n);
} pass;

#define PASSES_OF(isa)                                                                                                 \
    {                                                                                                                  \
        {2, 0, pass_##isa##_2_0}, {2, 1, pass_##isa##_2_1}, {3, 1, pass_##isa##_3_1}, {3, 2, pass_##isa##_3_2},        \
            {4, 2, pass_##isa##_4_2}, {4, 3, pass_##isa##_4_3}, {5, 4, pass_##isa##_5_4},                              \
    }
enum { PASS_COUNT = 7 };

static const pass *best_passes(void) {
#if defined(__x86_64__)
    static const pass wide[PASS_COUNT] = PASSES_OF(avx512), half[PASS_COUNT] = PASSES_OF(avx2);
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f"))
        return wide;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return half;
#endif
    static const pass base[PASS_COUNT] = PASSES_OF(base);
    return base;
}

/* Seconds of `repeats` passes by the slowest thread; no barrier between the passes. */
static double seconds_of(const pass *p, float *const *arrays, int64_t n, int threads, int64_t repeats) {
    double most = 0;
#pragma omp parallel num_threads(threads) reduction(max : most)
    {
#ifdef _OPENMP
        int64_t rank = omp_get_thread_num();
#else
        int64_t rank = 0;
#endif
        int64_t begin = n / 64 * rank / threads * 64,
                end = rank + 1 == threads ? n : n / 64 * (rank + 1) / threads * 64;
        float *mine[MOST];
        for (int k = 0; k < MOST; k++)
            mine[k] = arrays[k] + begin;
#pragma omp barrier
        double start = now();
        for (int64_t r = 0; r < repeats; r++)
            p->run(mine, end - begin);
        most = now() - start;
    }
    return most;
}

static double bandwidth(const pass *p, float *const *arrays, int64_t n, int threads) {
    int64_t repeats = 1;
    double best = 0, seconds;
    while ((seconds = seconds_of(p, arrays, n, threads, repeats)) < 0.004)
        repeats *= 2;
    for (int trial = 0; trial < TRIALS; trial++) {
        seconds = seconds_of(p, arrays, n, threads, repeats);
        double rate = 4.0 * (p->read + p->written) * (double)n * (double)repeats / seconds * 1e-9;
        best = rate > best ? rate : best;
    }
    return best;
}

int main(int argc, char **argv) {
    int threads = argc > 1 ? atoi(argv[1]) : 0;
    if (threads < 1 || argc < 3) {
        fprintf(stderr, "update: needs a thread count and one or more numbers of elements\n");
        return 2;
    }
    const pass *passes = best_passes();
    printf("{\"threads\": %d, \"rows\": [", threads);
    for (int i = 2; i < argc; i++) {
        int64_t n = atoll(argv[i]);
        float *arrays[MOST];
        for (int k = 0; k < MOST; k++) {
            arrays[k] = aligned_alloc(64, (size_t)(n + 31) / 16 * 64);
            if (arrays[k] == NULL)
                return 2;
            for (int64_t j = 0; j < n; j++)
                arrays[k][j] = 0.5f;
        }
        for (int p = 0; p < PASS_COUNT; p++)
            printf("%s{\"n\": %lld, \"read\": %d, \"written\": %d, \"gb_per_s\": %.1f}", i > 2 || p ? ",\n " : "",
                   (long long)n, passes[p].read, passes[p].written, bandwidth(&passes[p], arrays, n, threads));
        for (int k = 0; k < MOST; k++)
            free(arrays[k]);
    }
    printf("]}\n");
    return 0;
}
