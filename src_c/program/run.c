/* run.c: workspaces, and one pass over the op list by the whole team. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../base/memory.h"
#include "program.h"

/* What a region costs when its threads are awake. */
static const double REGION_NS = 2500;

fnn_workspace *fnn_workspace_new(const fnn_program *program) {
    fnn_workspace *workspace = calloc(1, sizeof *workspace);
    if (!workspace)
        return NULL;
    size_t nodes = (size_t)program->node_count + 1, buffers = (size_t)program->buffer_count + 1;
    workspace->program = program;
    workspace->rows = -1;
    for (int i = 0; i < FNN_KEPT_LAYOUTS; i++)
        workspace->kept[i].setting.rows = -1;
    workspace->arena = fnn_aligned_alloc((size_t)program->arena_bytes + 64);
    workspace->pointers = calloc(buffers, sizeof *workspace->pointers);
    workspace->placed = calloc(buffers, sizeof *workspace->placed);
    workspace->args = calloc(nodes, sizeof *workspace->args);
    const fnn_status status = fnn_layout_new(&workspace->now, program->node_count);
    if (status != FNN_OK || !workspace->arena || !workspace->pointers || !workspace->placed || !workspace->args) {
        fnn_workspace_free(workspace);
        return NULL;
    }
    /* First touch here, so that no page fault falls into a run. */
    memset(workspace->arena, 0, (size_t)program->arena_bytes + 64);
    for (int i = 0; i < program->buffer_count; i++)
        if (program->buffers[i].kind != FNN_BUFFER_EXTERNAL)
            workspace->pointers[i] = workspace->arena + program->buffers[i].offset;
    return workspace;
}

void fnn_workspace_free(fnn_workspace *workspace) {
    if (!workspace)
        return;
    fnn_crew_free(workspace);
    fnn_aligned_free(workspace->arena);
    fnn_aligned_free(workspace->scratch);
    free(workspace->pointers);
    free(workspace->placed);
    free(workspace->args);
    fnn_layout_free(&workspace->now);
    for (int i = 0; i < FNN_KEPT_LAYOUTS; i++)
        fnn_layout_free(&workspace->kept[i]);
    free(workspace->seconds);
    free(workspace);
}

/* Where a buffer begins when `done` rows of the batch are behind us. */
static char *address_of(const fnn_workspace *workspace, int buffer, int64_t done) {
    char *base = workspace->pointers[buffer];
    return base ? base + done * workspace->program->buffers[buffer].rows_bytes : NULL;
}

/* Puts a buffer's address into the args of the ops that use it. */
static void place(fnn_workspace *workspace, int buffer, char *address) {
    const fnn_program *program = workspace->program;
    workspace->placed[buffer] = address;
    for (int i = program->first_use[buffer]; i < program->first_use[buffer + 1]; i++) {
        const fnn_use use = program->uses[i];
        const fnn_affine offset = program->nodes[use.node].operand[use.slot].offset;
        workspace->args[use.node].pointer[use.slot] = address ? address + fnn_affine_at(offset, workspace->rows) : NULL;
    }
}

void fnn_workspace_move(fnn_workspace *workspace, int64_t done) {
    for (int b = 0; b < workspace->program->buffer_count; b++) {
        char *address = address_of(workspace, b, done);
        if (address != workspace->placed[b])
            place(workspace, b, address);
    }
}

static void point_at_scratch(fnn_workspace *workspace, int n) {
    const int64_t begin = workspace->now.turns[n].scratch;
    workspace->args[n].scratch = workspace->scratch ? workspace->scratch + begin : NULL;
    workspace->args[n].scratch_bytes = workspace->scratch_bytes - begin;
}

void fnn_workspace_resolve(fnn_workspace *workspace, int64_t rows, int64_t done) {
    const fnn_program *program = workspace->program;
    workspace->rows = rows;
    for (int n = 0; n < program->node_count; n++) {
        const fnn_node *node = &program->nodes[n];
        fnn_args *args = &workspace->args[n];
        args->table = workspace->table;
        point_at_scratch(workspace, n);
        args->plan = workspace->now.turns[n].planned && rows == workspace->now.setting.rows
                         ? &workspace->now.turns[n].plan
                         : NULL;
        for (int i = 0; i < FNN_MAX_DIMS; i++)
            args->dim[i] = fnn_affine_at(node->dim[i], rows);
        for (int i = 0; i < FNN_MAX_SCALARS; i++)
            if (node->slot[i] < 0)
                args->scalar[i] = node->scalar[i];
    }
    for (int b = 0; b < program->buffer_count; b++)
        place(workspace, b, address_of(workspace, b, done));
}

void fnn_workspace_repoint(fnn_workspace *workspace, int buffer, void *pointer) {
    workspace->pointers[buffer] = pointer;
    place(workspace, buffer, pointer);
}

void fnn_workspace_set_scalars(fnn_workspace *workspace, const double *scalars) {
    const fnn_program *program = workspace->program;
    for (int n = 0; n < program->node_count; n++) {
        const fnn_node *node = &program->nodes[n];
        if (!node->varies)
            continue;
        for (int i = 0; i < FNN_MAX_SCALARS; i++)
            if (node->slot[i] >= 0)
                workspace->args[n].scalar[i] = scalars[node->slot[i]];
    }
}

/* Whether the same operands are there as in the resolved args: ops may cost and need less without one. */
static int same_operands(const fnn_workspace *workspace) {
    for (int b = 0; b < workspace->program->buffer_count; b++)
        if (!workspace->pointers[b] != !workspace->placed[b])
            return 0;
    return 1;
}

static fnn_status make_scratch(fnn_workspace *workspace, int64_t bytes) {
    if (bytes > workspace->scratch_bytes) {
        fnn_aligned_free(workspace->scratch);
        workspace->scratch_bytes = 0;
        workspace->scratch = fnn_aligned_alloc((size_t)bytes);
        if (!workspace->scratch)
            return FNN_ERROR_MEMORY;
        memset(workspace->scratch, 0, (size_t)bytes);
        workspace->scratch_bytes = bytes;
    }
    for (int n = 0; n < workspace->program->node_count; n++)
        point_at_scratch(workspace, n);
    return FNN_OK;
}

fnn_status fnn_workspace_settle(fnn_workspace *workspace, const fnn_setting *setting) {
    if (!same_operands(workspace))
        fnn_layout_forget(workspace);
    if (fnn_layout_find(workspace, setting)) {
        workspace->table = setting->table;
        workspace->team_size = setting->team_size;
        if (workspace->rows == setting->rows)
            fnn_workspace_move(workspace, 0);
        else /* the last chunk or step had fewer rows */
            fnn_workspace_resolve(workspace, setting->rows, 0);
        return FNN_OK;
    }
    fnn_status status = fnn_layout_make_room(workspace);
    if (status != FNN_OK)
        return status;
    workspace->table = setting->table;
    workspace->team_size = setting->team_size;
    fnn_workspace_resolve(workspace, setting->rows, 0);
    status = make_scratch(workspace, fnn_schedule(workspace, setting->in_region));
    if (status == FNN_OK)
        workspace->now.setting = *setting;
    return status;
}

int fnn_workspace_turn_to(fnn_workspace *workspace, int64_t rows) {
    fnn_setting setting = workspace->now.setting;
    setting.rows = rows;
    if (!fnn_layout_find(workspace, &setting))
        return 0;
    fnn_workspace_resolve(workspace, rows, 0);
    return 1;
}

/* Several chunks that need no order are shared out whole: no barriers, and no member waits while an op runs that is too
 * short to share. Forced threads split every op, as tests of the ops need it; a profile wants the times of all ops. */
static int worth_a_crew(const fnn_workspace *workspace, int64_t rows) {
    const fnn_program *program = workspace->program;
    if (program->chunk == 0 || rows <= program->chunk || program->in_order)
        return 0;
    if (workspace->team_size == 1 || workspace->now.setting.forced || workspace->seconds)
        return 0;
    double ns = workspace->now.ns * (double)rows / (double)program->chunk;
    return ns * (1 - 1.0 / workspace->team_size) > REGION_NS;
}

fnn_status fnn_workspace_prepare(fnn_workspace *workspace, int64_t rows, int in_region, int team_size) {
    const fnn_program *program = workspace->program;
    if (rows < 0 || (program->chunk == 0 && rows > program->capacity))
        return FNN_ERROR_ARGUMENT;
    int64_t piece = program->chunk > 0 && rows > program->chunk ? program->chunk : rows;
    const fnn_setting setting = {fnn_table_for(program->dtype), piece, team_size, fnn_threads_forced(), in_region};
    fnn_status status = fnn_workspace_settle(workspace, &setting);
    workspace->by_pieces = status == FNN_OK && worth_a_crew(workspace, rows);
    return workspace->by_pieces ? fnn_crew_prepare(workspace) : status;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The schedule, and the scratch that it gives to the ops, hold for its number of rows and its team. Others could want
 * to part the work in other ways, for which nothing was set aside: then member 0 does all of it. */
static int is_scheduled(const fnn_workspace *workspace, const fnn_team *team) {
    return workspace->rows == workspace->now.setting.rows && team->size == workspace->now.region_size;
}

/* Where each op is timed, serial ops run on member 0 and the team waits before and after every parallel one. */
void fnn_workspace_run(fnn_workspace *workspace, const fnn_team *team) {
    const fnn_program *program = workspace->program;
    const fnn_team solo = {0, 1, NULL};
    if (!is_scheduled(workspace, team)) {
        if (team->rank > 0)
            return;
        team = &solo;
    }
    int mode = program->node_count > 0 ? fnn_ops[program->nodes[0].op].mode : FNN_IEEE, was_parallel = 0;
    unsigned saved = fnn_float_mode_enter(mode == FNN_FLUSH);
    double start = workspace->seconds && team->rank == 0 ? now() : 0;
    const fnn_turn *turns = workspace->now.turns;
    for (int n = 0; n < program->node_count; n++) {
        const fnn_op *op = &fnn_ops[program->nodes[n].op];
        int parallel = workspace->now.threads[n] > 1;
        if (n > 0 && (workspace->seconds ? parallel || was_parallel : turns[n].barrier))
            fnn_team_barrier(team);
        was_parallel = parallel;
        if (team->size > 1 && !parallel && team->rank != (workspace->seconds ? 0 : turns[n].owner))
            continue;
        if (op->mode != mode) {
            mode = op->mode;
            fnn_float_mode_enter(mode == FNN_FLUSH);
        }
        op->run(&workspace->args[n], parallel ? team : &solo);
        if (workspace->seconds && team->rank == 0) {
            double end = now();
            workspace->seconds[n] += end - start;
            start = end;
        }
    }
    fnn_float_mode_leave(saved);
}

typedef struct chunked_run {
    fnn_workspace *workspace;
    int64_t rows;
    const double *scalars;
} chunked_run;

static void run_chunks(void *context, const fnn_team *team) {
    chunked_run *run = context;
    fnn_workspace *workspace = run->workspace;
    int64_t chunk = workspace->program->chunk > 0 ? workspace->program->chunk : run->rows;
    for (int64_t done = 0, first = 1; first || done < run->rows; done += chunk, first = 0) {
        if (!first)
            fnn_team_barrier(team);
        int64_t rows = run->rows - done < chunk ? run->rows - done : chunk;
        if (team->rank == 0 && workspace->rows != rows)
            fnn_workspace_resolve(workspace, rows, done);
        else if (team->rank == 0 && done > 0)
            fnn_workspace_move(workspace, done);
        if (team->rank == 0 && run->scalars)
            fnn_workspace_set_scalars(workspace, run->scalars);
        fnn_team_barrier(team);
        fnn_workspace_run(workspace, team);
    }
}

void fnn_workspace_go(fnn_workspace *workspace, int64_t rows, const double *scalars) {
    if (workspace->program->slot_count == 0)
        scalars = NULL;
    if (workspace->by_pieces) {
        fnn_crew_go(workspace, rows, scalars);
        return;
    }
    chunked_run run = {workspace, rows, scalars};
    fnn_team_run(workspace->now.region_size, run_chunks, &run);
}

fnn_status fnn_program_run(fnn_workspace *workspace, int64_t rows, const double *scalars) {
    fnn_status status = fnn_workspace_prepare(workspace, rows, 0, fnn_team_size());
    if (status == FNN_OK)
        fnn_workspace_go(workspace, rows, scalars);
    return status;
}
