/* program.h: an immutable plan of ops, and the workspaces that run it.
 *
 * Build: fnn_program_new, then buffers and ops in order, then fnn_program_finish, which checks everything and plans
 * the memory. Sizes are affine in the symbol `rows`, so that one plan serves every batch up to its capacity.
 * Running cannot fail, allocate or print: whatever can be wrong is found by finish, by fnn_workspace_new, or by
 * fnn_workspace_prepare.
 */
#ifndef FNN_PROGRAM_H
#define FNN_PROGRAM_H

#include <stdint.h>

#include "../include/fastnn.h"
#include "../ops/share.h"

/* per_row * rows + base */
typedef struct fnn_affine {
    int64_t per_row, base;
} fnn_affine;

static inline int64_t fnn_affine_at(fnn_affine a, int64_t rows) { return a.per_row * rows + a.base; }

typedef enum fnn_buffer_kind {
    FNN_BUFFER_EXTERNAL,  /* a pointer given before the run */
    FNN_BUFFER_WORKSPACE, /* planned: shares memory with buffers that live at other times */
    FNN_BUFFER_KEPT       /* planned, never shared: readable after the run */
} fnn_buffer_kind;

typedef struct fnn_buffer {
    fnn_buffer_kind kind;
    fnn_affine bytes;   /* planned buffers */
    int64_t rows_bytes; /* externals: bytes per row if axis 0 is the batch (chunked runs advance it), else 0 */
    int first, last;    /* ops that use it */
    int fixed;          /* an external whose address never changes */
    int64_t offset;     /* in the arena */
} fnn_buffer;

typedef struct fnn_operand {
    int buffer;        /* -1: none */
    fnn_affine offset; /* in bytes */
} fnn_operand;

typedef struct fnn_node {
    int op;
    fnn_operand operand[FNN_MAX_POINTERS];
    fnn_affine dim[FNN_MAX_DIMS];
    double scalar[FNN_MAX_SCALARS];
    int slot[FNN_MAX_SCALARS]; /* index into the step's scalars, or -1: the constant above */
    int varies;                /* has slots */
    unsigned written;          /* operands, as bits */
} fnn_node;

/* One operand slot of one op. */
typedef struct fnn_use {
    int node, slot;
} fnn_use;

typedef struct fnn_program {
    int dtype;
    fnn_node *nodes;
    int node_count, node_room;
    fnn_buffer *buffers;
    int buffer_count, buffer_room;
    fnn_use *uses;           /* of every buffer, one buffer after the other */
    int *first_use;          /* [buffer_count + 1] */
    int64_t capacity, chunk; /* chunk 0: the whole batch at once */
    int64_t arena_bytes, lower_bound_bytes;
    int slot_count;
    int in_order; /* what it writes is not row by row: chunks cannot run side by side */
    int finished;
    char problem[256]; /* what finish or append found wrong */
} fnn_program;

/* What a step has cost lately on one thread [0] and by the team [1], and which of the two runs now; see steps.c. */
typedef struct fnn_pace {
    double seconds[2]; /* 0: not measured */
    double probe_best, probe_began, next_probe, last_step;
    double latest;    /* per step, of the call before */
    int way, probing; /* steps left of a trial of the other way */
    int64_t noted;    /* steps measured so far */
    int64_t rows;
    int team_size;
} fnn_pace;

/* What the choice of threads and the size of the scratch follow from, besides the program. */
typedef struct fnn_setting {
    const fnn_table *table;
    int64_t rows; /* of a chunk, -1: none */
    int team_size, forced, in_region;
} fnn_setting;

/* Who runs an op, and whether the team waits before it (schedule.c). */
typedef struct fnn_turn {
    int owner; /* the member that runs it, unless the team does */
    int barrier;
    int planned;     /* plan is made, for the setting's rows */
    int64_t scratch; /* where its part of the scratch begins */
    fnn_plan plan;
} fnn_turn;

/* A schedule, for the setting that it was made for. */
typedef struct fnn_layout {
    fnn_setting setting; /* rows -1: not made */
    int *threads;        /* per op */
    fnn_turn *turns;     /* per op */
    double ns;           /* estimated, of one chunk on one thread */
    int region_size;
    int64_t used; /* when it was last asked for, as a number of requests */
} fnn_layout;

enum { FNN_KEPT_LAYOUTS = 3 };

typedef struct fnn_workspace {
    const fnn_program *program;
    const fnn_table *table;
    char *arena;
    void **pointers; /* per buffer, before chunk offsets */
    char **placed;   /* per buffer, as args have it */
    fnn_args *args;  /* per op, resolved */
    char *scratch;
    int64_t scratch_bytes;
    int64_t rows; /* the rows that args are resolved for, -1: none */
    int team_size;
    fnn_layout now, kept[FNN_KEPT_LAYOUTS]; /* see layouts.c */
    int64_t requests;                       /* for layouts, so far */
    int by_pieces;                          /* the next run: members take whole pieces of rows, see pieces.c */
    struct fnn_workspace **crew;            /* the other members' workspaces for that */
    int crew_size;
    double *seconds; /* per op when profiling, else NULL */
    fnn_pace pace;   /* of the steps whose gradients this workspace computes */
} fnn_workspace;

fnn_program *fnn_program_new(int dtype);
void fnn_program_free(fnn_program *program);
/* each returns the index, or -1 when out of memory */
int fnn_program_buffer(fnn_program *program, fnn_buffer_kind kind, fnn_affine bytes, int64_t rows_bytes);
int fnn_program_append(fnn_program *program, const fnn_node *node);
/* FNN_OK, or an error whose text is in program->problem */
fnn_status fnn_program_finish(fnn_program *program, int64_t capacity, int64_t chunk);

fnn_workspace *fnn_workspace_new(const fnn_program *program);
void fnn_workspace_free(fnn_workspace *workspace);
/* Everything that may allocate or fail, before a run of up to `rows` rows by a team of up to this size (fnn_team_size,
 * read once for all that runs in one region); next to nothing if only addresses differ from the last time. in_region:
 * steps share one region, so that a serial op costs no more than a barrier. */
fnn_status fnn_workspace_prepare(fnn_workspace *workspace, int64_t rows, int in_region, int team_size);
/* Fills args for this many rows, `done` rows of the batch being behind us. */
void fnn_workspace_resolve(fnn_workspace *workspace, int64_t rows, int64_t done);
/* The same for the rows that args are resolved for already. */
void fnn_workspace_move(fnn_workspace *workspace, int64_t done);
/* Threads and scratch for this setting, unless they are kept; args for its rows. */
fnn_status fnn_workspace_settle(fnn_workspace *workspace, const fnn_setting *setting);
/* Args for so many rows of this step, by their schedule; 0: it is not kept. */
int fnn_workspace_turn_to(fnn_workspace *workspace, int64_t rows);
/* Decides on threads, owners, barriers and plans from the resolved args, and returns the scratch that all ops need. */
int64_t fnn_schedule(fnn_workspace *workspace, int in_region);
/* Moves one external buffer of a resolved workspace. */
void fnn_workspace_repoint(fnn_workspace *workspace, int buffer, void *pointer);
/* Puts a step's scalars into the ops that have slots. */
void fnn_workspace_set_scalars(fnn_workspace *workspace, const double *scalars);
/* Every member of the team walks the list; no barrier after the last op. */
void fnn_workspace_run(fnn_workspace *workspace, const fnn_team *team);

/* One run over `rows` rows, in chunks where the program was planned so, of a workspace prepared for them. */
void fnn_workspace_go(fnn_workspace *workspace, int64_t rows, const double *scalars);
/* Both: prepare and go. */
fnn_status fnn_program_run(fnn_workspace *workspace, int64_t rows, const double *scalars);

/* Many training steps in one call and one region; see steps.c. */
typedef struct fnn_steps {
    fnn_workspace *gradient, *update; /* update may be NULL */
    int index_buffer;                 /* gradient's external that holds the rows of the step, -1: none */
    const int64_t *index;             /* rows of all steps */
    const int64_t *offsets;           /* [steps + 1] */
    int64_t steps;
    const double *gradient_scalars, *update_scalars; /* [steps, slots] */
    int64_t gradient_slots, update_slots;
    const int8_t *updates; /* [steps]: whether the update comes after the step; NULL: after each */
    int loss_buffer;       /* its first real is the step's loss */
    double *losses;        /* [steps] */
    const int32_t *stop;
    double seconds; /* <= 0: no limit */
    int check_nan;
    int64_t done; /* out */
} fnn_steps;

fnn_status fnn_run_steps(fnn_steps *steps);

fnn_status fnn_layout_new(fnn_layout *layout, int nodes);
void fnn_layout_free(fnn_layout *layout);
/* Whether the schedule for this setting is the one of now, or was kept: then it is made that. */
int fnn_layout_find(fnn_workspace *workspace, const fnn_setting *setting);
/* Keeps the schedule of now in place of the one that was not used for longest, so that another one can be made. */
fnn_status fnn_layout_make_room(fnn_workspace *workspace);
/* After a change of what buffers are bound to: who touches what is worked out anew. */
void fnn_layout_forget(fnn_workspace *workspace);

/* A workspace for each other member, pointing at the same externals (pieces.c). */
fnn_status fnn_crew_prepare(fnn_workspace *workspace);
void fnn_crew_free(fnn_workspace *workspace);
/* A run by pieces of a prepared workspace and its crew. scalars may be NULL. */
void fnn_crew_go(fnn_workspace *workspace, int64_t rows, const double *scalars);

/* Memory plan of a checked program (plan.c). */
fnn_status fnn_plan_memory(fnn_program *program);

#endif
