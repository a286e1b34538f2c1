/* probe.c: what this machine can do, as the denominator of every share in docs/benchmarks.md.
 *
 *   peak        fused multiply-adds on registers only: 12 independent chains per thread hide the latency (4 cycles
 *               times 2 per cycle needs 8). The best of the trials counts: a limit is not an average.
 *   bandwidth   read (sum), copy and triad (a = b + s * c) over a working set shared by the threads. Bytes are those
 *               that the program names: 4, 8 and 12 per element; a write-allocate read is not counted.
 *   region      an empty OpenMP region, hot.
 *
 * Prints one JSON object. Compiled once, for any x86-64; the vector functions are cloned per instruction set with
 * target attributes and chosen at run time (the library itself uses one object per instruction set instead).
 * On other architectures the baseline is the compiler's own. Usage: probe THREADS [quick], or, for the peak of one
 * instruction set alone, probe THREADS peak avx512|avx2|base
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#else
#include <time.h>
#endif

#define CHAINS 12

static double now(void) {
#ifdef _OPENMP
    return omp_get_wtime();
#else
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
#endif
}

/* One set of kernels: `bytes` per vector, `attribute` turns the instruction set on for these functions only. */
#define KERNELS(isa, attribute, bytes)                                                                                 \
    typedef float f32_##isa __attribute__((vector_size(bytes), aligned(4), may_alias));                                \
    typedef double f64_##isa __attribute__((vector_size(bytes), aligned(8), may_alias));                               \
    PEAK(isa, attribute, f32, float)                                                                                   \
    PEAK(isa, attribute, f64, double)                                                                                  \
    attribute static double read_##isa(const float *x, int64_t n) {                                                    \
        enum { LANES = bytes / 4 };                                                                                    \
        f32_##isa s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};                                                              \
        for (int64_t i = 0; i + 4 * LANES <= n; i += 4 * LANES) {                                                      \
            s0 += *(const f32_##isa *)(x + i);                                                                         \
            s1 += *(const f32_##isa *)(x + i + LANES);                                                                 \
            s2 += *(const f32_##isa *)(x + i + 2 * LANES);                                                             \
            s3 += *(const f32_##isa *)(x + i + 3 * LANES);                                                             \
        }                                                                                                              \
        s0 += s1 + s2 + s3;                                                                                            \
        return (double)s0[0];                                                                                          \
    }                                                                                                                  \
    attribute static void copy_##isa(float *y, const float *x, int64_t n) {                                            \
        enum { LANES = bytes / 4 };                                                                                    \
        for (int64_t i = 0; i + 2 * LANES <= n; i += 2 * LANES) {                                                      \
            *(f32_##isa *)(y + i) = *(const f32_##isa *)(x + i);                                                       \
            *(f32_##isa *)(y + i + LANES) = *(const f32_##isa *)(x + i + LANES);                                       \
            __asm__ volatile("" ::: "memory"); /* or the compiler calls memcpy, which may stream past the cache */     \
        }                                                                                                              \
    }                                                                                                                  \
    attribute static void triad_##isa(float *a, const float *b, const float *c, float s, int64_t n) {                  \
        enum { LANES = bytes / 4 };                                                                                    \
        for (int64_t i = 0; i + 2 * LANES <= n; i += 2 * LANES) {                                                      \
            *(f32_##isa *)(a + i) = *(const f32_##isa *)(b + i) + s * *(const f32_##isa *)(c + i);                     \
            *(f32_##isa *)(a + i + LANES) =                                                                            \
                *(const f32_##isa *)(b + i + LANES) + s * *(const f32_##isa *)(c + i + LANES);                         \
        }                                                                                                              \
    }

/* a * x + b with |x| < 1 converges, so that the values stay normal for any number of iterations. */
#define PEAK(isa, attribute, type, real)                                                                               \
    attribute static double peak_##type##_##isa(int64_t iterations) {                                                  \
        type##_##isa sum[CHAINS], x = (type##_##isa){0} + (real)0.5, b = (type##_##isa){0} + (real)0.25;               \
        for (int c = 0; c < CHAINS; c++)                                                                               \
            sum[c] = (type##_##isa){0} + (real)(1 + c);                                                                \
        __asm__ volatile("" : "+m"(x), "+m"(b)); /* unknown values: nothing can be folded */                           \
        type##_##isa x0 = x, b0 = b;                                                                                   \
        for (int64_t i = 0; i < iterations; i++) {                                                                     \
            sum[0] = sum[0] * x0 + b0, sum[1] = sum[1] * x0 + b0, sum[2] = sum[2] * x0 + b0;                           \
            sum[3] = sum[3] * x0 + b0, sum[4] = sum[4] * x0 + b0, sum[5] = sum[5] * x0 + b0;                           \
            sum[6] = sum[6] * x0 + b0, sum[7] = sum[7] * x0 + b0, sum[8] = sum[8] * x0 + b0;                           \
            sum[9] = sum[9] * x0 + b0, sum[10] = sum[10] * x0 + b0, sum[11] = sum[11] * x0 + b0;                       \
        }                                                                                                              \
        for (int c = 1; c < CHAINS; c++)                                                                               \
            sum[0] += sum[c];                                                                                          \
        return (double)sum[0][0];                                                                                      \
    }

#define BASELINE
KERNELS(base, BASELINE, 16)
#if defined(__x86_64__)
KERNELS(avx2, __attribute__((target("avx2,fma"))), 32)
KERNELS(avx512, __attribute__((target("avx512f,fma"))), 64)
#endif

typedef struct kernels {
    const char *isa;
    int bytes;
    double (*peak_f32)(int64_t), (*peak_f64)(int64_t), (*read)(const float *, int64_t);
    void (*copy)(float *, const float *, int64_t);
    void (*triad)(float *, const float *, const float *, float, int64_t);
} kernels;

#define KERNELS_OF(isa, bytes)                                                                                         \
    { #isa, bytes, peak_f32_##isa, peak_f64_##isa, read_##isa, copy_##isa, triad_##isa }

/* The set of this name, or the best one (NULL); isa is NULL in the result if this processor cannot run it. */
static kernels kernels_named(const char *isa) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if ((!isa || strcmp(isa, "avx512") == 0) && __builtin_cpu_supports("avx512f"))
        return (kernels)KERNELS_OF(avx512, 64);
    if ((!isa || strcmp(isa, "avx2") == 0) && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return (kernels)KERNELS_OF(avx2, 32);
#endif
    kernels base = KERNELS_OF(base, 16);
    if (isa && strcmp(isa, "base") != 0)
        base.isa = NULL;
    return base;
}

static volatile double sink;

/* Runs the statement on all threads at once; the seconds of the slowest. */
#define TEAM_SECONDS(threads, seconds, ...)                                                                            \
    do {                                                                                                               \
        seconds = 0;                                                                                                   \
        _Pragma("omp parallel num_threads(threads) reduction(max : seconds)") {                                        \
            int thread = thread_number();                                                                              \
            (void)thread;                                                                                              \
            _Pragma("omp barrier") double start = now();                                                               \
            __VA_ARGS__;                                                                                               \
            seconds = now() - start;                                                                                   \
        }                                                                                                              \
    } while (0)

static int thread_number(void) {
#ifdef _OPENMP
    return omp_get_thread_num();
#else
    return 0;
#endif
}

static double peak_gflops(double (*peak)(int64_t), int lanes, int threads, double budget) {
    int64_t iterations = 1 << 16;
    double seconds, best = 0;
    for (;;) {
        TEAM_SECONDS(threads, seconds, sink = peak(iterations));
        if (seconds > budget / 10)
            break;
        iterations *= 2;
    }
    for (int trial = 0; trial < 9; trial++) {
        TEAM_SECONDS(threads, seconds, sink = peak(iterations));
        double rate = 2.0 * CHAINS * lanes * (double)iterations * threads / seconds * 1e-9;
        if (rate > best)
            best = rate;
    }
    return best;
}

enum { READ, COPY, TRIAD };

/* Floats from one array to the next: a third of a page past whole pages, or the three streams would share cache sets.
 */
static int64_t array_stride(int64_t n) { return (n / 1024 + 1) * 1024 + 336; }

/* read uses one array of n floats, copy two, triad three. */
static void pass(const kernels *k, int kind, float *memory, int64_t n, int thread, int64_t repeats) {
    float *a = memory + (int64_t)thread * (kind + 1) * array_stride(n), *b = a + array_stride(n),
          *c = b + array_stride(n);
    for (int64_t r = 0; r < repeats; r++) {
        if (kind == READ)
            sink = k->read(a, n);
        else if (kind == COPY)
            k->copy(a, b, n);
        else
            k->triad(a, b, c, 0.5f, n);
    }
}

static double bandwidth(const kernels *k, int kind, float *memory, int64_t total, int threads, double budget) {
    int64_t n = total / threads / 4 / (kind + 1) / 64 * 64, repeats = 1;
    int64_t bytes = n * 4 * (kind + 1) * threads;
    double seconds, best = 0;
    for (;;) {
        TEAM_SECONDS(threads, seconds, pass(k, kind, memory, n, thread, repeats));
        if (seconds > budget / 10)
            break;
        repeats *= 2;
    }
    for (int trial = 0; trial < 7; trial++) {
        TEAM_SECONDS(threads, seconds, pass(k, kind, memory, n, thread, repeats));
        double rate = (double)bytes * (double)repeats / seconds * 1e-9;
        if (rate > best)
            best = rate;
    }
    return best;
}

static int ascending(const void *a, const void *b) {
    double d = *(const double *)a - *(const double *)b;
    return (d > 0) - (d < 0);
}

static void print_peak(const kernels *k, int threads, double budget) {
    printf("{\"threads\": %d, \"float32\": %.1f", threads, peak_gflops(k->peak_f32, k->bytes / 4, threads, budget));
    printf(", \"float64\": %.1f}", peak_gflops(k->peak_f64, k->bytes / 8, threads, budget));
}

/* Median over batches of the cost of an empty region, nanoseconds. */
static double region_ns(int threads) {
    enum { BATCHES = 21, CALLS = 2000 };
    double batch[BATCHES];
    (void)threads;
    for (int i = 0; i < BATCHES; i++) {
        double start = now();
        for (int c = 0; c < CALLS; c++) {
#pragma omp parallel num_threads(threads)
            { __asm__ volatile("" ::: "memory"); }
        }
        batch[i] = (now() - start) / CALLS * 1e9;
    }
    qsort(batch, BATCHES, sizeof(double), ascending);
    return batch[BATCHES / 2];
}

int main(int argc, char **argv) {
    int threads = argc > 1 ? atoi(argv[1]) : 1;
    int quick = argc > 2 && strcmp(argv[2], "quick") == 0;
    double budget = quick ? 0.01 : 0.1;
    int peak_only = argc > 3 && strcmp(argv[2], "peak") == 0;
    kernels k = kernels_named(peak_only ? argv[3] : NULL);
    if (threads < 1 || !k.isa) {
        fprintf(stderr, "probe: needs a thread count of at least 1 and an instruction set of this processor\n");
        return 2;
    }
    if (peak_only) {
        print_peak(&k, threads, budget / 4);
        return 0;
    }
    int64_t largest = (int64_t)(quick ? 16 : 512) << 20;
    int64_t floats = largest / 4 + (int64_t)threads * 3 * 2048;
    float *memory;
    if (posix_memalign((void **)&memory, 4096, (size_t)floats * 4)) {
        fprintf(stderr, "probe: needs %d MB of memory\n", (int)(largest >> 20));
        return 2;
    }
    for (int64_t i = 0; i < floats; i++)
        memory[i] = (float)(i % 1000) * 1e-3f;
    int counts[2] = {1, threads}, distinct = threads > 1 ? 2 : 1;
    printf("{\"isa\": \"%s\", \"threads\": %d, \"peak\": [", k.isa, threads);
    for (int i = 0; i < distinct; i++) {
        printf("%s", i ? ", " : "");
        print_peak(&k, counts[i], budget);
    }
    printf("], \"bandwidth\": [");
    for (int i = 0; i < distinct; i++) {
        for (int64_t total = 32 << 10; total <= largest; total *= 4) {
            printf("%s{\"threads\": %d, \"bytes\": %lld", (i || total > 32 << 10) ? ", " : "", counts[i],
                   (long long)total);
            printf(", \"read\": %.1f", bandwidth(&k, READ, memory, total, counts[i], budget));
            printf(", \"copy\": %.1f", bandwidth(&k, COPY, memory, total, counts[i], budget));
            printf(", \"triad\": %.1f}", bandwidth(&k, TRIAD, memory, total, counts[i], budget));
        }
    }
    printf("], \"region_ns\": %.0f}\n", region_ns(threads));
    free(memory);
    return 0;
}
