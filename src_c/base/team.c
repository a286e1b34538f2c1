/* team.c: the only file that knows OpenMP. Without it (no _OPENMP) every region is serial. */
#define _GNU_SOURCE
#include "team.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#ifdef _OPENMP
#include <omp.h>
#endif
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "cpu.h"

/* About a millisecond. A yield is dear where another process wants the core: the scheduler takes it for a whole time
 * slice. Prediction beside a library whose idle threads still spin took 4 ms instead of 0.2 with a tenth of this. */
enum { SPINS = 40000, MAX_TEAM = 1024 };

static atomic_int explicit_threads; /* 0: not set */
static atomic_int forked_child;     /* the parent's OpenMP pool does not exist here: never enter it */
static _Thread_local int local_threads, local_force;

static void after_fork_in_child(void) {
    atomic_store(&forked_child, 1);
    atomic_store(&explicit_threads, 0);
    local_threads = 0;
}

static void initialise(void) {
    const char *text = getenv("FASTNN_NUM_THREADS");
    int n = text ? atoi(text) : 0;
    if (n >= 1)
        atomic_store(&explicit_threads, n < MAX_TEAM ? n : MAX_TEAM);
    pthread_atfork(NULL, NULL, after_fork_in_child);
}

static void initialise_once(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, initialise);
}

void fnn_set_num_threads(int n) {
    initialise_once();
    atomic_store(&explicit_threads, n < 0 ? 0 : n < MAX_TEAM ? n : MAX_TEAM);
}

void fnn_set_local_threads(int n, int force) {
    local_threads = n < 0 ? 0 : n < MAX_TEAM ? n : MAX_TEAM;
    local_force = n > 0 && force;
}

void fnn_get_local_threads(int *n, int *force) {
    *n = local_threads;
    *force = local_force;
}

int fnn_threads_forced(void) { return local_force; }

int fnn_get_num_threads(void) {
    initialise_once();
    if (local_threads > 0)
        return local_threads;
    int n = atomic_load(&explicit_threads);
    if (n > 0)
        return n;
    if (atomic_load(&forked_child))
        return 1;
#ifdef _OPENMP
    int usable = fnn_usable_cores(), allowed = omp_get_max_threads();
    return usable < allowed ? usable : allowed;
#else
    return 1;
#endif
}

void fnn_team_range(const fnn_team *team, int64_t n, int64_t unit, int64_t *begin, int64_t *end) {
    int64_t units = (n + unit - 1) / unit;
    int64_t first = units * team->rank / team->size, last = units * (team->rank + 1) / team->size;
    *begin = first * unit;
    *end = last * unit < n ? last * unit : n;
}

static inline void pause_briefly(void) {
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* The members of a small team wait for the counter itself: the last arrival is seen after one transfer of one cache
 * line, in 170 to 260 ns where a second line took 400. Many members would take the line from those who arrive. */
enum { SMALL_TEAM = 4 };

void fnn_team_barrier(const fnn_team *team) {
    if (team->size == 1)
        return;
    fnn_barrier *barrier = team->barrier;
    const uint64_t size = (uint64_t)team->size,
                   before = atomic_fetch_add_explicit(&barrier->arrived, 1, memory_order_acq_rel);
    const uint64_t all = before - before % size + size;
    _Atomic uint64_t *seen = team->size <= SMALL_TEAM ? &barrier->arrived : &barrier->passed;
    if (before + 1 == all) {
        if (seen == &barrier->passed)
            atomic_store_explicit(seen, all, memory_order_release);
        return;
    }
    /* More members than cores: the one we wait for may need this core, so do not spin at all. */
    int spins = team->size > fnn_usable_cores() ? 0 : SPINS;
    while (atomic_load_explicit(seen, memory_order_acquire) < all) {
        if (spins > 0) {
            spins--;
            pause_briefly();
        } else {
            sched_yield();
        }
    }
}

#ifdef _OPENMP
/* One region on plain threads, for a forked child that asked for them: OpenMP's pool stayed in the parent.
 * The team's size is published only once it is known how many threads the system granted. */
typedef struct spawned {
    fnn_team_body body;
    void *context;
    fnn_barrier barrier;
    atomic_int size;
    atomic_int next_rank;
} spawned;

static void *spawned_main(void *argument) {
    spawned *region = argument;
    int size, rank = atomic_fetch_add(&region->next_rank, 1);
    while ((size = atomic_load_explicit(&region->size, memory_order_acquire)) == 0)
        sched_yield();
    fnn_team team = {rank, size, &region->barrier};
    region->body(region->context, &team);
    return NULL;
}

static void run_on_threads(int threads, fnn_team_body body, void *context) {
    spawned region = {.body = body, .context = context};
    pthread_t handles[MAX_TEAM];
    int started = 0;
    while (started < threads - 1 && !pthread_create(&handles[started], NULL, spawned_main, &region))
        started++;
    atomic_store_explicit(&region.size, started + 1, memory_order_release);
    spawned_main(&region);
    for (int i = 0; i < started; i++)
        pthread_join(handles[i], NULL);
}
#endif

void fnn_team_run(int threads, fnn_team_body body, void *context) {
    fnn_team solo = {0, 1, NULL};
#ifdef _OPENMP
    if (threads > 1 && atomic_load(&forked_child)) {
        run_on_threads(threads, body, context);
        return;
    }
    if (threads > 1 && !omp_in_parallel()) {
        fnn_barrier barrier = {0};
#pragma omp parallel num_threads(threads) default(none) shared(barrier, body, context)
        {
            fnn_team team = {omp_get_thread_num(), omp_get_num_threads(), &barrier};
            body(context, &team);
        }
        return;
    }
#endif
    (void)threads;
    body(context, &solo);
}

unsigned fnn_float_mode_enter(int flush) {
#if defined(__x86_64__)
    const unsigned flush_bits = 0x8040; /* FTZ | DAZ */
    unsigned saved = _mm_getcsr();
    unsigned wanted = flush ? saved | flush_bits : saved & ~flush_bits;
    if (wanted != saved)
        _mm_setcsr(wanted);
    return saved;
#elif defined(__aarch64__)
    uint64_t saved;
    __asm__ volatile("mrs %0, fpcr" : "=r"(saved));
    uint64_t wanted = flush ? saved | (1u << 24) : saved & ~(uint64_t)(1u << 24);
    __asm__ volatile("msr fpcr, %0" ::"r"(wanted));
    return (unsigned)saved;
#else
    (void)flush;
    return 0;
#endif
}

void fnn_float_mode_leave(unsigned saved) {
#if defined(__x86_64__)
    if (_mm_getcsr() != saved) /* also where only exception flags were raised: they are the caller's */
        _mm_setcsr(saved);
#elif defined(__aarch64__)
    uint64_t value = saved;
    __asm__ volatile("msr fpcr, %0" ::"r"(value));
#else
    (void)saved;
#endif
}
