/* steps.c: many training steps in one call and one region (decision 4).
 *
 * Each step: gradients, then the update where the list of steps has one. Member 0 decides before a barrier whether the
 * step happens at all, so that all members leave at the same boundary; steps that share an update are not parted.
 * Rates, bias corrections and counters come ready-made from Python in double; nothing is computed from the step number
 * here.
 */
#define _GNU_SOURCE
#include <math.h>
#include <stdatomic.h>
#include <time.h>

#include "program.h"

typedef struct step_run {
    fnn_steps *steps;
    int64_t first, step, end;
    int go_on;
    double deadline; /* 0: none */
} step_run;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double loss_of(const fnn_steps *steps) {
    const void *loss = steps->gradient->pointers[steps->loss_buffer];
    return steps->gradient->program->dtype == FNN_FLOAT32 ? *(const float *)loss : *(const double *)loss;
}

static int stop_wanted(const fnn_steps *steps) {
    return steps->stop && __atomic_load_n(steps->stop, __ATOMIC_RELAXED) != 0;
}

/* Whether the update comes after step `step`. */
static int updates_after(const fnn_steps *steps, int64_t step) { return !steps->updates || steps->updates[step]; }

/* Whether the list may be left after `done` steps: not while gradients wait for those that share their update. */
static int is_boundary(const fnn_steps *steps, int64_t done) { return done == 0 || updates_after(steps, done - 1); }

/* How many steps from `first` on, up to `last`, share the next update. */
static int64_t group_from(const fnn_steps *steps, int64_t first, int64_t last) {
    int64_t end = first + 1;
    while (end < last && !is_boundary(steps, end))
        end++;
    return end - first;
}

/* Whether a step may follow the `done` finished ones. */
static int may_continue(const fnn_steps *steps, int64_t done) {
    if (!is_boundary(steps, done))
        return 1;
    if (stop_wanted(steps))
        return 0;
    if (!steps->check_nan || steps->loss_buffer < 0)
        return 1;
    for (int64_t step = done; step-- > 0;) {
        if (!isfinite(steps->losses[step]))
            return 0;
        if (is_boundary(steps, step))
            break;
    }
    return 1;
}

/* Member 0, while the others wait: decide on the next step and set it up. */
static void advance(step_run *run) {
    fnn_steps *steps = run->steps;
    int late = run->step > run->first && run->deadline > 0 && is_boundary(steps, run->step) && now() >= run->deadline;
    run->go_on = run->step < run->end && !late && may_continue(steps, run->step);
    if (!run->go_on)
        return;

    fnn_workspace *gradient = steps->gradient;
    int64_t begin = steps->offsets[run->step], rows = steps->offsets[run->step + 1] - begin;
    run->go_on = gradient->rows == rows || fnn_workspace_turn_to(gradient, rows);
    if (!run->go_on) /* a size that the span was not prepared for: see same_sizes */
        return;
    if (steps->index_buffer >= 0)
        fnn_workspace_repoint(gradient, steps->index_buffer, (void *)(steps->index + begin));
    if (steps->gradient_slots > 0)
        fnn_workspace_set_scalars(gradient, steps->gradient_scalars + run->step * steps->gradient_slots);
    if (steps->update && steps->update_slots > 0)
        fnn_workspace_set_scalars(steps->update, steps->update_scalars + run->step * steps->update_slots);
}

/* After all members have done their part of a step. */
static void note_step(step_run *run) {
    if (run->steps->loss_buffer >= 0)
        run->steps->losses[run->step] = loss_of(run->steps);
    run->step++;
}

/* The caller has set up the first step, and notes the last one: a call of one step has no barrier but those of its ops
 * and the one before the update. */
static void run_all(void *context, const fnn_team *team) {
    step_run *run = context;
    fnn_steps *steps = run->steps;
    for (int64_t step = run->first + 1;; step++) {
        fnn_workspace_run(steps->gradient, team);
        if (steps->update && updates_after(steps, step - 1)) {
            fnn_team_barrier(team);
            fnn_workspace_run(steps->update, team);
        }
        if (step == run->end)
            return;
        fnn_team_barrier(team);
        if (team->rank == 0) {
            note_step(run);
            advance(run);
        }
        fnn_team_barrier(team);
        if (!run->go_on)
            return;
    }
}

/* Runs steps [first, first + count) by a team of this size; returns how many were done. */
static int64_t run_span(fnn_steps *steps, int64_t first, int64_t count, int team_size, double seconds) {
    step_run run = {steps, first, first, first + count, 1, seconds > 0 ? now() + seconds : 0};
    advance(&run);
    if (run.go_on) {
        fnn_team_run(team_size, run_all, &run);
        if (run.go_on)
            note_step(&run);
    }
    return run.step - first;
}

/* The bits do not depend on the number of threads, so the faster way may be chosen while training runs. The cost model
 * cannot know that another process wants the second core: a team then waits at each barrier for a member that is not
 * scheduled, and one thread is many times faster. So the other way is tried now and then for a few steps, of which the
 * first only wakes threads and caches. From one thread, which only a disturbed team has led to, the team is tried again
 * soon; from a team that runs well, one thread is tried seldom, and of long steps a single one and not before the trial
 * is a small share of what has been done. */
static const double PROBE_SOON = 0.01, SOON_SHARE = 4, PROBE_LATE = 0.5, LATE_SHARE = 200;
static const double IDLE = 0.005; /* after such a pause the threads sleep: a first step that is short says nothing */
static const double LONG_STEP = 0.005, HOPELESS = 1.3;
enum { PROBE_STEPS = 4, PROBE_AFTER_LONG = 50 };

static int is_long(const fnn_pace *pace) { return pace->seconds[pace->way] > LONG_STEP; }

static int may_probe(const fnn_pace *pace) {
    return pace->noted >= (is_long(pace) ? PROBE_AFTER_LONG : PROBE_STEPS) && now() >= pace->next_probe;
}

static void begin_probe(fnn_pace *pace) {
    pace->probing = is_long(pace) ? 1 : PROBE_STEPS;
    pace->probe_best = INFINITY;
    pace->probe_began = now();
}

static void note_probe(fnn_pace *pace, double seconds) {
    if (pace->probing < PROBE_STEPS && seconds < pace->probe_best)
        pace->probe_best = seconds;
    int hopeless = pace->probing < PROBE_STEPS && seconds > HOPELESS * pace->seconds[pace->way];
    if (--pace->probing > 0 && !hopeless)
        return;
    pace->probing = 0;
    int other = !pace->way;
    pace->seconds[other] = pace->probe_best;
    if (pace->seconds[other] < pace->seconds[pace->way])
        pace->way = other;
    double end = now(), cost = end - pace->probe_began;
    double wait = pace->way ? LATE_SHARE * cost : SOON_SHARE * cost, least = pace->way ? PROBE_LATE : PROBE_SOON;
    pace->next_probe = end + (wait > least ? wait : least);
}

static void note_steps(fnn_pace *pace, double seconds, int64_t done) {
    double *known = &pace->seconds[pace->way], each = seconds / (double)done;
    const double calm = each < pace->latest ? each : pace->latest;
    pace->latest = each;
    if (*known <= 0) {
        *known = each;
    } else if (each < *known) {
        *known = 0.5 * (*known + each);
    } else if (calm > *known) { /* one hiccup of the system is not a trend: two calls in a row must be slow */
        double weight = done >= 8 ? 0.3 : 0.1, bounded = calm < 4 * *known ? calm : 4 * *known;
        *known += weight * (bounded - *known);
    }
    pace->noted += done;
    double other = pace->seconds[!pace->way];
    if (other > 0 && other < *known) {
        pace->way = !pace->way;
        pace->next_probe = now() + PROBE_SOON;
    } else if (may_probe(pace)) {
        begin_probe(pace);
    }
}

/* One span by the way that is due; returns the steps done. */
static int64_t paced_span(fnn_steps *steps, int64_t first, int64_t end, int team_size) {
    fnn_pace *pace = &steps->gradient->pace;
    double start = now();
    int cold = start - pace->last_step > IDLE && !is_long(pace), trial = pace->probing > 0,
        way = trial ? !pace->way : pace->way;
    int64_t count = trial || cold ? group_from(steps, first, end) : end - first;
    int64_t done = run_span(steps, first, count, way ? team_size : 1, steps->seconds);
    pace->last_step = now();
    if (done > 0 && !cold && trial)
        note_probe(pace, (pace->last_step - start) / (double)done);
    else if (done > 0 && !cold)
        note_steps(pace, pace->last_step - start, done);
    return done;
}

static int64_t rows_of(const fnn_steps *steps, int64_t step) { return steps->offsets[step + 1] - steps->offsets[step]; }

/* Batch sizes that may stand in one region: each has a schedule that is kept. */
typedef struct sizes {
    int64_t rows[FNN_KEPT_LAYOUTS];
    int count;
} sizes;

static int knows(const sizes *s, int64_t rows) {
    for (int i = 0; i < s->count; i++)
        if (s->rows[i] == rows)
            return 1;
    return 0;
}

/* Where the steps from `first` on end that are of as many sizes as can be kept, and these sizes. */
static int64_t same_sizes(const fnn_steps *steps, int64_t first, sizes *s) {
    int64_t step = first;
    s->count = 0;
    for (; step < steps->steps; step++) {
        if (knows(s, rows_of(steps, step)))
            continue;
        if (s->count == FNN_KEPT_LAYOUTS)
            break;
        s->rows[s->count++] = rows_of(steps, step);
    }
    return step;
}

/* Everything that can fail for steps of these sizes; the largest of the teams that suit them. */
static fnn_status prepare(fnn_steps *steps, const sizes *s, int threads, int *team_size) {
    const int in_region = steps->steps > 1;
    int gradient_team = 1, update_team = 1;
    for (int i = 0; i < s->count; i++) {
        const fnn_status status = fnn_workspace_prepare(steps->gradient, s->rows[i], in_region, threads);
        if (status != FNN_OK)
            return status;
        if (steps->gradient->now.region_size > gradient_team)
            gradient_team = steps->gradient->now.region_size;
    }
    if (steps->update) {
        const fnn_status status = fnn_workspace_prepare(steps->update, 0, in_region || gradient_team > 1, threads);
        if (status != FNN_OK)
            return status;
        update_team = steps->update->now.region_size;
    }
    *team_size = gradient_team > update_team ? gradient_team : update_team;
    return FNN_OK;
}

/* Steps [first, end), for which everything is prepared; returns how many were done. */
static int64_t run_at_best_pace(fnn_steps *steps, int64_t first, int64_t end, int64_t rows, int team_size,
                                double deadline) {
    fnn_pace *pace = &steps->gradient->pace;
    if (pace->rows != rows || pace->team_size != team_size)
        *pace = (fnn_pace){.rows = rows, .team_size = team_size, .way = 1};
    int64_t done = first;
    while (done < end) {
        int64_t more = paced_span(steps, done, end, team_size);
        done += more;
        if (more == 0 || (is_boundary(steps, done) && now() >= deadline) || !may_continue(steps, done))
            break;
    }
    return done - first;
}

static int64_t largest_of(const fnn_steps *steps) {
    int64_t most = 0;
    for (int64_t i = 0; i < steps->steps; i++)
        if (rows_of(steps, i) > most)
            most = rows_of(steps, i);
    return most;
}

/* All steps, in spans of as many sizes as can be prepared at a time. */
static fnn_status run_spans(fnn_steps *steps, int64_t most_rows, int threads) {
    const double deadline = steps->seconds > 0 ? now() + steps->seconds : INFINITY;
    fnn_status status = FNN_OK;
    while (steps->done < steps->steps) {
        sizes s;
        int team_size;
        const int64_t first = steps->done, end = same_sizes(steps, first, &s);
        status = prepare(steps, &s, threads, &team_size);
        if (status != FNN_OK)
            break;
        const double left = steps->seconds > 0 ? deadline - now() : 0;
        if (team_size > 1 && !fnn_threads_forced())
            steps->done += run_at_best_pace(steps, first, end, most_rows, team_size, deadline);
        else
            steps->done +=
                run_span(steps, first, end - first, team_size, steps->seconds > 0 && left <= 0 ? 1e-9 : left);
        if (steps->done < end || !may_continue(steps, end) || (is_boundary(steps, end) && now() >= deadline))
            break;
    }
    return steps->done > 0 ? FNN_OK : status;
}

fnn_status fnn_run_steps(fnn_steps *steps) {
    const fnn_program *program = steps->gradient->program;
    const int64_t most_rows = largest_of(steps);
    steps->done = 0;
    for (int64_t i = 0; i < steps->steps; i++)
        if (rows_of(steps, i) < 0)
            return FNN_ERROR_ARGUMENT;
    if (program->chunk == 0 && most_rows > program->capacity)
        return FNN_ERROR_ARGUMENT;
    return run_spans(steps, most_rows, fnn_team_size());
}
