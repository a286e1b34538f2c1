/* team.c: the only file that knows OpenMP. Without it (no _OPENMP) every region is serial. */
#define _GNU_SOURCE
#include "team.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>
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

/* What this thread knows of the threads that it can get: the size of its latest region, whose threads OpenMP keeps, and
 * what it was granted when it asked for more, which holds until `until`. */
static _Thread_local struct {
    int pool, granted; /* granted 0: nothing was refused */
    double until;
} known;
static const double ASK_AGAIN = 1; /* seconds */

static double seconds_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void note_refusal(int granted) {
    known.granted = granted;
    known.until = seconds_now() + ASK_AGAIN;
}

static void after_fork_in_child(void) {
    atomic_store(&forked_child, 1);
    atomic_store(&explicit_threads, 0);
    local_threads = known.pool = known.granted = 0;
}

/* When the library is loaded: a child must know that the pool is not there even if only others have used it. */
__attribute__((constructor)) static void watch_forks(void) { pthread_atfork(NULL, NULL, after_fork_in_child); }

static void initialise(void) {
    const char *text = getenv("FASTNN_NUM_THREADS");
    int n = text ? atoi(text) : 0;
    if (n >= 1)
        atomic_store(&explicit_threads, n < MAX_TEAM ? n : MAX_TEAM);
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

static int smaller(int a, int b) { return a < b ? a : b; }

/* 0: the default */
static int wanted_threads(void) {
    initialise_once();
    return local_threads > 0 ? local_threads : atomic_load(&explicit_threads);
}

int fnn_get_num_threads(void) {
    const int wanted = wanted_threads();
    if (atomic_load(&forked_child))
        return wanted > 0 ? wanted : 1;
#ifdef _OPENMP
    const int n = wanted > 0 ? wanted : smaller(fnn_usable_cores(), omp_get_max_threads());
    return smaller(n, omp_get_thread_limit());
#else
    return wanted > 0 ? wanted : 1;
#endif
}

int fnn_team_size(void) {
    const int n = fnn_get_num_threads();
    if (known.granted == 0 || n <= known.granted)
        return n;
    if (seconds_now() < known.until)
        return known.granted;
    known.granted = 0;
    return n;
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
    int spins = barrier->spins;
    while (atomic_load_explicit(seen, memory_order_acquire) < all) {
        if (spins > 0) {
            spins--;
            pause_briefly();
        } else {
            sched_yield();
        }
    }
}

/* More members than cores: the one that is waited for may need this core, so do not spin at all. */
static fnn_barrier new_barrier(int members) { return (fnn_barrier){.spins = members > fnn_usable_cores() ? 0 : SPINS}; }

#ifdef _OPENMP
/* One region on plain threads, for a forked child that asked for them: OpenMP's pool stayed in the parent.
 * The team's size is published only once it is known whether the system grants all of it. */
typedef struct spawned {
    fnn_team_body body;
    void *context;
    fnn_barrier barrier;
    atomic_int size; /* 0: not known yet, 1: the caller alone */
    atomic_int next_rank;
} spawned;

static void *spawned_main(void *argument) {
    spawned *region = argument;
    int size, rank = atomic_fetch_add(&region->next_rank, 1);
    while ((size = atomic_load_explicit(&region->size, memory_order_acquire)) == 0)
        sched_yield();
    const fnn_team team = {rank, size, &region->barrier};
    if (rank < size)
        region->body(region->context, &team);
    return NULL;
}

static void run_on_threads(int threads, fnn_team_body body, void *context) {
    spawned region = {.body = body, .context = context, .barrier = new_barrier(threads), .next_rank = 1};
    pthread_t handles[MAX_TEAM];
    int started = 0;
    while (started < threads - 1 && !pthread_create(&handles[started], NULL, spawned_main, &region))
        started++;
    const int size = started + 1 == threads ? threads : 1;
    const fnn_team own = {0, size, &region.barrier};
    atomic_store_explicit(&region.size, size, memory_order_release);
    body(context, &own);
    for (int i = 0; i < started; i++)
        pthread_join(handles[i], NULL);
    if (size < threads)
        note_refusal(started + 1);
}

static void *wait_for_gate(void *gate) {
    pthread_mutex_lock(gate);
    pthread_mutex_unlock(gate);
    return NULL;
}

/* The stacks of OpenMP's threads, in bytes; 0: those of any thread. */
static size_t stack_bytes(void) {
    const char *text = getenv("OMP_STACKSIZE");
    char *end;
    const unsigned long long n = text ? strtoull(text, &end, 10) : 0;
    if (n == 0)
        return 0;
    while (*end == ' ')
        end++;
    const int shift = *end == 'B' || *end == 'b'   ? 0
                      : *end == 'M' || *end == 'm' ? 20
                      : *end == 'G' || *end == 'g' ? 30
                                                   : 10;
    return n < 1ull << 20 ? (size_t)n << shift : 0;
}

/* The largest team, up to `threads`, that the system can give threads to: OpenMP ends the process where one is missing,
 * so they are tried first, all at a time. */
static int try_threads(int threads) {
    pthread_t handles[MAX_TEAM];
    pthread_attr_t attributes;
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    const size_t bytes = stack_bytes();
    int started = 0;
    if (pthread_attr_init(&attributes))
        return 1;
    if (bytes)
        pthread_attr_setstacksize(&attributes, bytes);
    pthread_mutex_lock(&gate);
    while (started < threads - 1 && !pthread_create(&handles[started], &attributes, wait_for_gate, &gate))
        started++;
    pthread_mutex_unlock(&gate);
    for (int i = 0; i < started; i++)
        pthread_join(handles[i], NULL);
    pthread_attr_destroy(&attributes);
    return started + 1;
}

/* Whether the members of such a region can be had. OpenMP keeps the threads of the latest one. */
static int can_have(int threads) {
    if (threads <= known.pool)
        return 1;
    const int granted = try_threads(threads);
    if (granted == threads)
        return 1;
    note_refusal(granted);
    return 0;
}

/* Returns how many members came. OpenMP may send fewer than asked for (OMP_DYNAMIC, a limit that others share). */
static int run_on_openmp(int threads, fnn_team_body body, void *context) {
    fnn_barrier barrier = new_barrier(threads);
    int came = 1;
#pragma omp parallel num_threads(threads) default(none) shared(barrier, body, context, threads, came)
    {
        const int rank = omp_get_thread_num(), size = omp_get_num_threads() == threads ? threads : 1;
        const fnn_team team = {rank, size, &barrier};
        if (rank == 0)
            came = omp_get_num_threads();
        if (rank < size)
            body(context, &team);
    }
    return came;
}
#endif

void fnn_team_run(int threads, fnn_team_body body, void *context) {
    const fnn_team solo = {0, 1, NULL};
#ifdef _OPENMP
    if (threads > 1 && atomic_load(&forked_child)) {
        run_on_threads(threads, body, context);
        return;
    }
    if (threads > 1 && !omp_in_parallel() && can_have(threads)) {
        const int came = run_on_openmp(threads, body, context);
        known.pool = came;
        if (came < threads)
            note_refusal(came);
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
