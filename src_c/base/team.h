/* team.h: who runs an op. Hides the threading back end: nothing outside base/team.c includes omp.h.
 *
 * A region has exactly the members that it was asked for, or one: where the system grants fewer, member 0 runs all of
 * it alone. So what was made for a team (partitions, scratch) holds for the team that comes, or is run as one member's.
 */
#ifndef FNN_TEAM_H
#define FNN_TEAM_H

#include <stdatomic.h>
#include <stdint.h>

typedef struct fnn_barrier {
    int spins;                              /* before a member yields its core */
    _Alignas(128) _Atomic uint64_t arrived; /* members so far, over all barriers */
    _Alignas(128) _Atomic uint64_t passed;  /* of a large team: those that may go on */
} fnn_barrier;

typedef struct fnn_team {
    int rank, size;
    fnn_barrier *barrier; /* NULL when size == 1 */
} fnn_team;

/* All members wait for each other: spins briefly, then yields the processor. */
void fnn_team_barrier(const fnn_team *team);

/* The member's share [*begin, *end) of n items cut into units of `unit` items; shares differ by at most one unit. */
void fnn_team_range(const fnn_team *team, int64_t n, int64_t unit, int64_t *begin, int64_t *end);

/* Calls body(context, team) on every member of a region of `threads` members, or on one member alone (team->size 1)
 * if so many cannot be had. 1: directly, without OpenMP. */
typedef void (*fnn_team_body)(void *context, const fnn_team *team);
void fnn_team_run(int threads, fnn_team_body body, void *context);

/* The threads to use: explicit setting, else min(affinity, cgroup quota, OpenMP's current maximum), and 1 in a forked
 * child; never more than OpenMP's thread limit. */
int fnn_get_num_threads(void);
/* The size of the team to plan for: the same, or what was granted where so many were refused lately. */
int fnn_team_size(void);
/* n >= 1 sets it, 0 returns to the default; process-wide. */
void fnn_set_num_threads(int n);
/* The calling thread only, for `with num_threads(n)`; 0 removes. force != 0 switches the cost model off. */
void fnn_set_local_threads(int n, int force);
void fnn_get_local_threads(int *n, int *force);
int fnn_threads_forced(void);

/* Flush denormals to zero and back, for the calling thread; returns the mode to restore. */
unsigned fnn_float_mode_enter(int flush);
void fnn_float_mode_leave(unsigned saved);

#endif
