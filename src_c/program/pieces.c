/* pieces.c: a long batch of a program that works row by row. Every member takes the next piece of rows when it is done
 * with the last one and walks the op list alone, in a workspace of its own. No op knows where a piece begins or how
 * many rows it has, so that the bits are those of any other cut.
 */
#include <stdatomic.h>
#include <stdlib.h>

#include "program.h"

/* Pieces shrink towards the end, so that all members end at about the same time. */
enum { LEAST_ROWS = 64, ROW_UNIT = 16 };

typedef struct piece_run {
    fnn_workspace *workspace;
    int64_t rows;
    const double *scalars;
    _Atomic int64_t next; /* first row that nobody has taken */
} piece_run;

static int64_t piece_rows(int64_t left, int64_t chunk, int team_size) {
    int64_t rows = (left / (2 * team_size) + ROW_UNIT - 1) / ROW_UNIT * ROW_UNIT;
    if (rows < LEAST_ROWS)
        rows = LEAST_ROWS;
    if (rows > chunk)
        rows = chunk;
    return rows < left ? rows : left;
}

static void run_pieces(void *context, const fnn_team *team) {
    piece_run *run = context;
    fnn_workspace *own = team->rank == 0 ? run->workspace : run->workspace->crew[team->rank - 1];
    const fnn_team solo = {0, 1, NULL};
    int64_t begin = atomic_load_explicit(&run->next, memory_order_relaxed);
    while (begin < run->rows) {
        int64_t rows = piece_rows(run->rows - begin, own->program->chunk, team->size);
        if (!atomic_compare_exchange_weak_explicit(&run->next, &begin, begin + rows, memory_order_relaxed,
                                                   memory_order_relaxed))
            continue;
        if (own->rows == rows)
            fnn_workspace_move(own, begin);
        else
            fnn_workspace_resolve(own, rows, begin);
        if (run->scalars)
            fnn_workspace_set_scalars(own, run->scalars);
        fnn_workspace_run(own, &solo);
        begin = atomic_load_explicit(&run->next, memory_order_relaxed);
    }
}

static fnn_status grow_crew(fnn_workspace *workspace, int size) {
    if (size <= workspace->crew_size)
        return FNN_OK;
    fnn_workspace **crew = realloc(workspace->crew, (size_t)size * sizeof *crew);
    if (!crew)
        return FNN_ERROR_MEMORY;
    workspace->crew = crew;
    while (workspace->crew_size < size) {
        fnn_workspace *other = fnn_workspace_new(workspace->program);
        if (!other)
            return FNN_ERROR_MEMORY;
        crew[workspace->crew_size++] = other;
    }
    return FNN_OK;
}

fnn_status fnn_crew_prepare(fnn_workspace *workspace) {
    const fnn_program *program = workspace->program;
    const fnn_setting setting = {workspace->table, program->chunk, 1, 0, 0};
    fnn_status status = grow_crew(workspace, workspace->team_size - 1);
    for (int i = 0; status == FNN_OK && i < workspace->team_size - 1; i++) {
        fnn_workspace *other = workspace->crew[i];
        for (int b = 0; b < program->buffer_count; b++)
            if (program->buffers[b].kind == FNN_BUFFER_EXTERNAL)
                other->pointers[b] = workspace->pointers[b];
        status = fnn_workspace_settle(other, &setting);
    }
    return status;
}

void fnn_crew_free(fnn_workspace *workspace) {
    for (int i = 0; i < workspace->crew_size; i++)
        fnn_workspace_free(workspace->crew[i]);
    free(workspace->crew);
}

void fnn_crew_go(fnn_workspace *workspace, int64_t rows, const double *scalars) {
    piece_run run = {workspace, rows, scalars, 0};
    fnn_team_run(workspace->team_size, run_pieces, &run);
}
