/* op.h: the one calling convention of every op, eager or inside a program.
 *
 * An op gets its operands in the slots that its row of ops.def names, and runs on a team: every member calls run()
 * with the same arguments and its own rank. Work is cut into tiles whose size depends on the shape only, never on
 * the team, so that the bits do not depend on the number of threads. run() cannot fail, allocate or print.
 */
#ifndef FNN_OP_H
#define FNN_OP_H

#include <stdint.h>

#include "../base/team.h"
#include "../isa/table.h"

#define FNN_MAX_POINTERS 8
#define FNN_MAX_DIMS 19
#define FNN_MAX_SCALARS 16

enum { FNN_IEEE = 0, FNN_FLUSH = 1 };

typedef struct fnn_args {
    const fnn_table *table;          /* kernels of the ISA in use, for the op's dtype */
    void *pointer[FNN_MAX_POINTERS]; /* slots as named in ops.def */
    int64_t dim[FNN_MAX_DIMS];
    double scalar[FNN_MAX_SCALARS];
    int stream;            /* an eager call that moves more than the caches hold: results may go past them */
    void *scratch;         /* shared by the team, 64-byte aligned: */
    int64_t scratch_bytes; /* at least scratch() for these sizes, or for more rows of the same program */
    const void *plan;      /* what plan() of share.h has worked out for these sizes, or NULL: run() does it itself */
} fnn_args;

typedef struct fnn_work {
    double flops; /* floating-point operations */
    double bytes; /* read plus written, each operand once */
    double ns;    /* estimated time on one thread, for the thread decision only */
} fnn_work;

typedef struct fnn_op {
    const char *name, *pointers, *dims, *scalars;
    int mode;
    void (*run)(const fnn_args *args, const fnn_team *team);
    fnn_work (*work)(const fnn_args *args);
    int64_t (*scratch)(const fnn_args *args, int team_size); /* NULL: none needed */
} fnn_op;

enum {
#define FNN_OP(name, pointers, dims, scalars, mode) FNN_OP_##name,
#include "ops.def"
#undef FNN_OP
    FNN_OP_COUNT
};

extern const fnn_op fnn_ops[FNN_OP_COUNT];

#define FNN_OP(name, pointers, dims, scalars, mode)                                                                    \
    void fnn_op_##name##_run(const fnn_args *args, const fnn_team *team);                                              \
    fnn_work fnn_op_##name##_work(const fnn_args *args);                                                               \
    int64_t fnn_op_##name##_scratch(const fnn_args *args, int team_size);
#include "ops.def"
#undef FNN_OP

/* Bytes of an element of a data set, by fnn_dtype. */
extern const int fnn_source_bytes[];

/* Members that share rows cut them here, so that an op finds the rows it reads with the member that made them. */
#define FNN_ROW_UNIT 16
static inline int64_t fnn_row_unit(int64_t rows, int team_size) {
    return rows >= (int64_t)FNN_ROW_UNIT * team_size ? FNN_ROW_UNIT : 1;
}

/* Estimated ns for memory-bound work at a few bytes per ns; per-element cost for transcendental work is added by the
 * caller. */
static inline fnn_work fnn_work_of(double flops, double bytes, double ns) {
    fnn_work work = {flops, bytes, ns};
    return work;
}

#endif
