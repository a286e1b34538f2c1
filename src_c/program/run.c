/* run.c: workspaces, and one pass over the op list by the whole team. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../base/memory.h"
#include "program.h"

/* A parallel op costs two barriers; below this time on one thread it is not worth them. A region costs more. */
static const double PARALLEL_OP_NS = 4000, REGION_NS = 6000;

fnn_workspace *fnn_workspace_new(const fnn_program *program) {
    fnn_workspace *workspace = calloc(1, sizeof *workspace);
    if (!workspace)
        return NULL;
    size_t nodes = (size_t)program->node_count + 1, buffers = (size_t)program->buffer_count + 1;
    workspace->program = program;
    workspace->rows = -1;
    workspace->arena = fnn_aligned_alloc((size_t)program->arena_bytes + 64);
    workspace->pointers = calloc(buffers, sizeof *workspace->pointers);
    workspace->args = calloc(nodes, sizeof *workspace->args);
    workspace->threads = calloc(nodes, sizeof *workspace->threads);
    if (!workspace->arena || !workspace->pointers || !workspace->args || !workspace->threads) {
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
    fnn_aligned_free(workspace->arena);
    fnn_aligned_free(workspace->scratch);
    free(workspace->pointers);
    free(workspace->args);
    free(workspace->threads);
    free(workspace->seconds);
    free(workspace);
}

void fnn_workspace_resolve(fnn_workspace *workspace, int64_t rows, int64_t done) {
    const fnn_program *program = workspace->program;
    for (int n = 0; n < program->node_count; n++) {
        const fnn_node *node = &program->nodes[n];
        fnn_args *args = &workspace->args[n];
        args->table = workspace->table;
        args->scratch = workspace->scratch;
        for (int i = 0; i < FNN_MAX_POINTERS; i++) {
            int id = node->operand[i].buffer;
            char *base = id < 0 ? NULL : workspace->pointers[id];
            args->pointer[i] =
                base ? base + fnn_affine_at(node->operand[i].offset, rows) + done * program->buffers[id].rows_bytes
                     : NULL;
        }
        for (int i = 0; i < FNN_MAX_DIMS; i++)
            args->dim[i] = fnn_affine_at(node->dim[i], rows);
        for (int i = 0; i < FNN_MAX_SCALARS; i++)
            if (node->slot[i] < 0)
                args->scalar[i] = node->scalar[i];
    }
    workspace->rows = rows;
}

void fnn_workspace_repoint(fnn_workspace *workspace, int buffer, void *pointer) {
    const fnn_program *program = workspace->program;
    workspace->pointers[buffer] = pointer;
    for (int n = 0; n < program->node_count; n++)
        for (int i = 0; i < FNN_MAX_POINTERS; i++) {
            const fnn_operand *operand = &program->nodes[n].operand[i];
            if (operand->buffer == buffer)
                workspace->args[n].pointer[i] = (char *)pointer + fnn_affine_at(operand->offset, workspace->rows);
        }
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

/* How many members each op is worth, from the resolved sizes. */
static void choose_threads(fnn_workspace *workspace, int in_region) {
    const fnn_program *program = workspace->program;
    const int team = workspace->team_size;
    double gain = 0;
    for (int n = 0; n < program->node_count; n++) {
        double ns = fnn_ops[program->nodes[n].op].work(&workspace->args[n]).ns;
        int parallel = team > 1 && (fnn_threads_forced() || ns > PARALLEL_OP_NS);
        workspace->threads[n] = parallel ? team : 1;
        if (parallel)
            gain += ns * (1 - 1.0 / team);
    }
    workspace->region_size = team > 1 && (fnn_threads_forced() || gain > (in_region ? 0 : REGION_NS)) ? team : 1;
    if (workspace->region_size == 1)
        for (int n = 0; n < program->node_count; n++)
            workspace->threads[n] = 1;
}

static int64_t scratch_needed(const fnn_workspace *workspace) {
    const fnn_program *program = workspace->program;
    int64_t most = 0;
    for (int n = 0; n < program->node_count; n++) {
        const fnn_op *op = &fnn_ops[program->nodes[n].op];
        int64_t bytes = op->scratch ? op->scratch(&workspace->args[n], workspace->threads[n]) : 0;
        if (bytes > most)
            most = bytes;
    }
    return most;
}

fnn_status fnn_workspace_prepare(fnn_workspace *workspace, int64_t rows, int in_region) {
    const fnn_program *program = workspace->program;
    if (rows < 0 || (program->chunk == 0 && rows > program->capacity))
        return FNN_ERROR_ARGUMENT;
    int64_t piece = program->chunk > 0 && rows > program->chunk ? program->chunk : rows;
    workspace->table = fnn_table_for(program->dtype);
    workspace->team_size = fnn_get_num_threads();
    fnn_workspace_resolve(workspace, piece, 0);
    choose_threads(workspace, in_region);
    int64_t bytes = scratch_needed(workspace);
    if (bytes > workspace->scratch_bytes) {
        fnn_aligned_free(workspace->scratch);
        workspace->scratch_bytes = 0;
        workspace->scratch = fnn_aligned_alloc((size_t)bytes);
        if (!workspace->scratch)
            return FNN_ERROR_MEMORY;
        memset(workspace->scratch, 0, (size_t)bytes);
        workspace->scratch_bytes = bytes;
        fnn_workspace_resolve(workspace, piece, 0);
    }
    return FNN_OK;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void fnn_workspace_run(fnn_workspace *workspace, const fnn_team *team) {
    const fnn_program *program = workspace->program;
    const fnn_team solo = {0, 1, NULL};
    unsigned saved = fnn_float_mode_enter(0);
    int mode = FNN_IEEE, was_parallel = 0;
    double start = workspace->seconds && team->rank == 0 ? now() : 0;
    for (int n = 0; n < program->node_count; n++) {
        const fnn_op *op = &fnn_ops[program->nodes[n].op];
        int parallel = workspace->threads[n] > 1;
        /* Two serial ops in a row both run on member 0: nobody has to wait. */
        if (n > 0 && (parallel || was_parallel))
            fnn_team_barrier(team);
        was_parallel = parallel;
        if (!parallel && team->rank > 0)
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
        if (team->rank == 0 && (done > 0 || workspace->rows != rows))
            fnn_workspace_resolve(workspace, rows, done);
        if (team->rank == 0 && run->scalars)
            fnn_workspace_set_scalars(workspace, run->scalars);
        fnn_team_barrier(team);
        fnn_workspace_run(workspace, team);
    }
}

fnn_status fnn_program_run(fnn_workspace *workspace, int64_t rows, const double *scalars) {
    fnn_status status = fnn_workspace_prepare(workspace, rows, 0);
    if (status != FNN_OK)
        return status;
    chunked_run run = {workspace, rows, workspace->program->slot_count > 0 ? scalars : NULL};
    fnn_team_run(workspace->region_size, run_chunks, &run);
    return FNN_OK;
}
