/* dispatch.c: picks one table of kernels per dtype; see dispatch.h.
 *
 * The build says which objects it made with FNN_HAVE_AVX512, FNN_HAVE_AVX2, FNN_HAVE_SSE2, FNN_HAVE_NEON; the scalar
 * ones are always there.
 */
#include "dispatch.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/cpu.h"

#define DECLARE(isa) extern const fnn_table fnn_table_##isa##_f32, fnn_table_##isa##_f64;
#define TABLES(isa)                                                                                                    \
    { &fnn_table_##isa##_f32, &fnn_table_##isa##_f64 }
#define NOT_BUILT                                                                                                      \
    { NULL, NULL }

DECLARE(scalar)
#ifdef FNN_HAVE_AVX512
DECLARE(avx512)
#define AVX512_TABLES TABLES(avx512)
#else
#define AVX512_TABLES NOT_BUILT
#endif
#ifdef FNN_HAVE_AVX2
DECLARE(avx2)
#define AVX2_TABLES TABLES(avx2)
#else
#define AVX2_TABLES NOT_BUILT
#endif
#ifdef FNN_HAVE_SSE2
DECLARE(sse2)
#define SSE2_TABLES TABLES(sse2)
#else
#define SSE2_TABLES NOT_BUILT
#endif
#ifdef FNN_HAVE_NEON
DECLARE(neon)
#define NEON_TABLES TABLES(neon)
#else
#define NEON_TABLES NOT_BUILT
#endif

static int has_avx512(const fnn_cpu *cpu) { return cpu->avx512; }
static int has_avx2(const fnn_cpu *cpu) { return cpu->avx2; }
static int has_sse2(const fnn_cpu *cpu) { return cpu->sse2; }
static int has_neon(const fnn_cpu *cpu) { return cpu->neon; }
static int has_scalar(const fnn_cpu *cpu) { return cpu != NULL; }

/* Best first. A name without tables is known but not in this build. */
static const struct {
    const char *name;
    int (*supported)(const fnn_cpu *);
    const fnn_table *tables[2]; /* float32, float64 */
} isas[] = {
    {"avx512", has_avx512, AVX512_TABLES}, {"avx2", has_avx2, AVX2_TABLES},        {"sse2", has_sse2, SSE2_TABLES},
    {"neon", has_neon, NEON_TABLES},       {"scalar", has_scalar, TABLES(scalar)},
};
#define ISA_COUNT ((int)(sizeof isas / sizeof isas[0]))

/* -1: follow the next wider choice (thread, then process, then default). */
static _Thread_local int local_choice = -1;
static atomic_int process_choice = -1;

static int runs_here(int i) { return isas[i].tables[0] != NULL && isas[i].supported(fnn_cpu_get()); }

static int best_isa(void) {
    for (int i = 0; i < ISA_COUNT; i++)
        if (runs_here(i))
            return i;
    return ISA_COUNT - 1; /* scalar runs everywhere */
}

static fnn_status find_isa(const char *name, int *found) {
    for (int i = 0; i < ISA_COUNT; i++)
        if (strcmp(name, isas[i].name) == 0) {
            *found = i;
            return runs_here(i) ? FNN_OK : FNN_ERROR_UNSUPPORTED_ISA;
        }
    return FNN_ERROR_UNKNOWN_ISA;
}

int fnn_available_isas(const char *names[FNN_MAX_ISAS]) {
    int count = 0;
    for (int i = 0; i < ISA_COUNT; i++)
        if (runs_here(i))
            names[count++] = isas[i].name;
    return count;
}

/* What FASTNN_ISA asked for. */
static struct {
    int choice;
    char problem[256]; /* "" when there is none */
} environment;

static void describe_problem(const char *asked, fnn_status status) {
    const char *names[FNN_MAX_ISAS];
    int count = fnn_available_isas(names), size = (int)sizeof environment.problem;
    int used = snprintf(environment.problem, (size_t)size, "FASTNN_ISA='%.40s' %s; choose one of: ", asked,
                        status == FNN_ERROR_UNKNOWN_ISA ? "is not an instruction set that fastnn knows"
                                                        : "cannot run on this CPU or is not in this build");
    for (int i = 0; i < count && used < size; i++)
        used += snprintf(environment.problem + used, (size_t)(size - used), "%s%s", i > 0 ? ", " : "", names[i]);
}

static void read_environment(void) {
    const char *asked = getenv("FASTNN_ISA");
    environment.choice = best_isa();
    if (asked == NULL || asked[0] == '\0')
        return;
    int found = 0;
    fnn_status status = find_isa(asked, &found);
    if (status == FNN_OK)
        environment.choice = found;
    else
        describe_problem(asked, status);
}

/* Reads the environment at the first call; every other entry goes through here. */
static int default_isa(void) {
    static atomic_int state; /* 0 untouched, 1 one thread is reading, 2 ready */
    int expected = 0;
    if (atomic_load_explicit(&state, memory_order_acquire) == 2)
        return environment.choice;
    if (atomic_compare_exchange_strong(&state, &expected, 1)) {
        read_environment();
        atomic_store_explicit(&state, 2, memory_order_release);
    }
    while (atomic_load_explicit(&state, memory_order_acquire) != 2) {
    }
    return environment.choice;
}

static int current_isa(void) {
    if (local_choice >= 0)
        return local_choice;
    int process = atomic_load_explicit(&process_choice, memory_order_relaxed);
    return process >= 0 ? process : default_isa();
}

const char *fnn_isa_problem(void) {
    default_isa();
    return environment.problem[0] != '\0' ? environment.problem : NULL;
}

const char *fnn_get_isa(void) { return isas[current_isa()].name; }

const fnn_table *fnn_table_for(int dtype) { return isas[current_isa()].tables[dtype != 0]; }

fnn_status fnn_set_isa(const char *name) {
    int found = -1;
    fnn_status status = name == NULL ? FNN_OK : find_isa(name, &found);
    if (status == FNN_OK)
        atomic_store(&process_choice, found);
    return status;
}

fnn_status fnn_set_local_isa(const char *name) {
    int found = -1;
    fnn_status status = name == NULL ? FNN_OK : find_isa(name, &found);
    if (status == FNN_OK)
        local_choice = found;
    return status;
}
