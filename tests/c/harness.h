/* harness.h: runs a test of ops on every table of this build and CPU, each op on one to three threads. */
#ifndef FNN_TESTS_HARNESS_H
#define FNN_TESTS_HARNESS_H

#include "guarded.h"

#include "base/cpu.h"
#include "ops/op.h"

#define TABLES(isa) extern const fnn_table fnn_table_##isa##_f32, fnn_table_##isa##_f64;
TABLES(scalar)
#if defined(__x86_64__)
TABLES(sse2)
TABLES(avx2)
TABLES(avx512)
#elif defined(__aarch64__)
TABLES(neon)
#endif

typedef struct call {
    int op;
    const fnn_args *args;
} call;
static void run_member(void *context, const fnn_team *team) {
    const call *c = context;
    fnn_ops[c->op].run(c->args, team);
}
static inline void run_on(int op, fnn_args *args, int threads) {
    args->table = table;
    const int64_t planned = fnn_ops[op].scratch(args, threads), alone = fnn_ops[op].scratch(args, 1); /* as call.c */
    const int64_t bytes = planned > alone ? planned : alone;
    const call c = {op, args};
    args->scratch_bytes = bytes;
    args->scratch = bytes ? aligned_alloc(64, ((size_t)bytes + 63) / 64 * 64) : NULL;
    fnn_team_run(threads, run_member, (void *)(uintptr_t)&c);
    free(args->scratch);
}
/* Runs on one thread into y; the same inputs on 2 and 3 threads must give the same bytes. */
static inline void run(int op, fnn_args *args, array *y, int y_slot) {
    array before = copy_array(y);
    args->table = table;
    const fnn_work work = fnn_ops[op].work(args);
    CHECK(work.ns > 0 && work.bytes >= 0, "%s: no estimate", fnn_ops[op].name);
    args->pointer[y_slot] = y->data;
    run_on(op, args, 1);
    for (int threads = 2; threads <= 3; threads++) {
        array other = copy_array(&before);
        args->pointer[y_slot] = other.data;
        run_on(op, args, threads);
        CHECK(memcmp(other.data, y->data, (size_t)y->n * (size_t)table->item_size) == 0, "%s: %d threads differ",
              fnn_ops[op].name, threads);
        free_array(&other);
    }
    free_array(&before);
}

/* A width on either side of the vectors and pieces that matter. */
static inline int64_t some_size(void) {
    static const int64_t sizes[] = {1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 64, 100, 257, 1000};
    return sizes[random_below(14)];
}

/* Calls test with both tables of every ISA; the exit code of the program. */
static int on_every_table(void (*test)(const fnn_table *)) {
    const fnn_cpu *cpu = fnn_cpu_get();
    test(&fnn_table_scalar_f32), test(&fnn_table_scalar_f64);
#if defined(__x86_64__)
    test(&fnn_table_sse2_f32), test(&fnn_table_sse2_f64);
    if (cpu->avx2)
        test(&fnn_table_avx2_f32), test(&fnn_table_avx2_f64);
    if (cpu->avx512)
        test(&fnn_table_avx512_f32), test(&fnn_table_avx512_f64);
#elif defined(__aarch64__)
    test(&fnn_table_neon_f32), test(&fnn_table_neon_f64);
#endif
    (void)cpu;
    return failures != 0;
}

#endif
