/* probe.c: the machine's limits (kernels/probe.h), timed over whole teams. */
#define _GNU_SOURCE
#include <time.h>

#include "../base/team.h"
#include "../isa/table.h"
#include "probe.h"

/* GAP: reals between the arrays of a triad, or all three would share the cache's sets */
enum { PROBE_CHAINS_PER_PASS = 8, TRIALS = 12, UNIT = 1024, GAP = 336 };

typedef enum probe_kind { PROBE_FLOPS, PROBE_READ, PROBE_TRIAD, PROBE_UPDATE } probe_kind;
static const int arrays_of[] = {0, 1, 3, 2}; /* that a kind lies in */
static const int moved_by[] = {0, 1, 3, 3};  /* that it reads and writes */

typedef struct probe {
    const fnn_table *table;
    probe_kind kind;
    char *memory;
    int64_t items;           /* of the working set of all members */
    int64_t repeats;         /* passes, or iterations of the multiply-adds */
    double own, seconds;     /* of member 0's share, of the whole team's */
    volatile double sink[2]; /* of member 0 and of the others: nobody reads it */
} probe;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Reals of each array. */
static int64_t length_of(const probe *p) {
    return (p->items - (arrays_of[p->kind] - 1) * GAP) / arrays_of[p->kind] / UNIT * UNIT;
}

static void pass(probe *p, const fnn_team *team) {
    const fnn_table *table = p->table;
    volatile double *sink = &p->sink[team->rank > 0];
    if (p->kind == PROBE_FLOPS) {
        *sink = table->probe_flops(p->repeats);
        return;
    }
    int64_t begin, end, next = (length_of(p) + GAP) * table->item_size;
    fnn_team_range(team, length_of(p), UNIT, &begin, &end);
    char *own = p->memory + begin * table->item_size;
    for (int64_t r = 0; r < p->repeats; r++) {
        if (p->kind == PROBE_READ)
            *sink = table->probe_read(end - begin, own);
        else
            table->probe_triad(end - begin, own, p->kind == PROBE_UPDATE ? own : own + 2 * next, own + next);
    }
}

static void timed(void *context, const fnn_team *team) {
    probe *p = context;
    fnn_team_barrier(team);
    double start = team->rank == 0 ? now() : 0;
    pass(p, team);
    if (team->rank == 0)
        p->own = now() - start;
    fnn_team_barrier(team);
    if (team->rank == 0)
        p->seconds = now() - start;
}

/* Passes per second at best; a trial takes about `seconds`. */
static double best_rate(probe *p, int threads, double seconds) {
    double best = 0;
    p->repeats = 1;
    for (int long_enough = 0; long_enough < 3 && p->repeats < INT64_C(1) << 40;) { /* one may have been interrupted */
        fnn_team_run(threads, timed, p);
        long_enough = p->own >= seconds ? long_enough + 1 : 0;
        p->repeats *= long_enough ? 1 : 2;
    }
    for (int trial = 0; trial < TRIALS; trial++) {
        fnn_team_run(threads, timed, p);
        double rate = (double)p->repeats / p->seconds;
        if (rate > best)
            best = rate;
    }
    return best;
}

double fnn_probe_flops(int dtype, int threads, double seconds) {
    probe p = {.table = fnn_table_for(dtype), .kind = PROBE_FLOPS};
    return 2.0 * PROBE_CHAINS_PER_PASS * p.table->lanes * threads * best_rate(&p, threads, seconds);
}

double fnn_probe_bandwidth(int dtype, int threads, void *memory, int64_t bytes, double seconds) {
    probe p = {.table = fnn_table_for(dtype), .memory = memory};
    p.items = bytes / p.table->item_size;
    double best = 0;
    for (p.kind = PROBE_READ; p.kind <= PROBE_UPDATE; p.kind++) {
        const int64_t bytes_of_pass = moved_by[p.kind] * length_of(&p) * p.table->item_size;
        double rate = (double)bytes_of_pass * best_rate(&p, threads, seconds);
        if (rate > best)
            best = rate;
    }
    return best;
}
