/* steps.c: many training steps in one call and one region (decision 4).
 *
 * Each step: gradients, then (every update_every-th step) the update. Member 0 decides before a barrier whether the
 * step happens at all, so that all members leave at the same boundary. Rates, bias corrections and counters come
 * ready-made from Python in double; nothing is computed from the step number here.
 */
#define _GNU_SOURCE
#include <math.h>
#include <stdatomic.h>
#include <time.h>

#include "program.h"

typedef struct step_run {
    fnn_steps *steps;
    int64_t step;
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

/* Member 0, between two barriers: record the finished step, decide on the next one and set it up. */
static void advance(step_run *run) {
    fnn_steps *steps = run->steps;
    run->go_on = run->step < steps->steps && !stop_wanted(steps);
    if (run->step > 0 && run->deadline > 0 && now() >= run->deadline)
        run->go_on = 0;
    if (run->step > 0 && steps->check_nan && steps->loss_buffer >= 0 && !isfinite(steps->losses[run->step - 1]))
        run->go_on = 0;
    if (!run->go_on)
        return;

    fnn_workspace *gradient = steps->gradient;
    int64_t begin = steps->offsets[run->step], rows = steps->offsets[run->step + 1] - begin;
    if (gradient->rows != rows)
        fnn_workspace_resolve(gradient, rows, 0);
    if (steps->index_buffer >= 0)
        fnn_workspace_repoint(gradient, steps->index_buffer, (void *)(steps->index + begin));
    if (steps->gradient_slots > 0)
        fnn_workspace_set_scalars(gradient, steps->gradient_scalars + run->step * steps->gradient_slots);
    if (steps->update && steps->update_slots > 0)
        fnn_workspace_set_scalars(steps->update, steps->update_scalars + run->step * steps->update_slots);
}

static void run_all(void *context, const fnn_team *team) {
    step_run *run = context;
    fnn_steps *steps = run->steps;
    for (int64_t step = 1;; step++) {
        if (team->rank == 0)
            advance(run);
        fnn_team_barrier(team);
        if (!run->go_on)
            return;
        fnn_workspace_run(steps->gradient, team);
        fnn_team_barrier(team);
        if (steps->update && step % steps->update_every == 0) {
            fnn_workspace_run(steps->update, team);
            fnn_team_barrier(team);
        }
        if (team->rank == 0) {
            if (steps->loss_buffer >= 0)
                steps->losses[run->step] = loss_of(steps);
            run->step++;
        }
    }
}

fnn_status fnn_run_steps(fnn_steps *steps) {
    int64_t most_rows = 0;
    for (int64_t i = 0; i < steps->steps; i++) {
        int64_t rows = steps->offsets[i + 1] - steps->offsets[i];
        if (rows < 0)
            return FNN_ERROR_ARGUMENT;
        if (rows > most_rows)
            most_rows = rows;
    }
    steps->done = 0;
    fnn_status status = fnn_workspace_prepare(steps->gradient, most_rows, steps->steps > 1);
    if (status == FNN_OK && steps->update)
        status = fnn_workspace_prepare(steps->update, 0, steps->steps > 1);
    if (status != FNN_OK)
        return status;
    if (steps->update_every < 1)
        steps->update_every = 1;
    int region = steps->gradient->region_size;
    if (steps->update && steps->update->region_size > region)
        region = steps->update->region_size;
    step_run run = {steps, 0, 1, steps->seconds > 0 ? now() + steps->seconds : 0};
    fnn_team_run(region, run_all, &run);
    steps->done = run.step;
    return FNN_OK;
}
