/* gemm_plan.h: how a product is computed: which path, what is packed, who computes what.
 *
 * Nothing here changes bits: in the direct and the swapped path every element of c is the same chain of multiply-adds
 * (decision 1). Only callers that ask for it (dot_rows) get the dot path, whose order is its own.
 */
#ifndef FNN_GEMM_PLAN_H
#define FNN_GEMM_PLAN_H

#include "share.h"

/* slots of the row gemm in ops.def */
enum { GEMM_A, GEMM_B, GEMM_BIAS, GEMM_C, GEMM_SAVED, GEMM_B_SUM };
enum {
    GEMM_DIM_ROWS,
    GEMM_DIM_COLS,
    GEMM_DIM_DEPTH,
    GEMM_DIM_A_ROW,
    GEMM_DIM_A_DEPTH,
    GEMM_DIM_B_DEPTH,
    GEMM_DIM_B_COL,
    GEMM_DIM_C_ROW,
    GEMM_DIM_BLOCK,
    GEMM_DIM_ACCUMULATE,
    GEMM_DIM_ACTIVATION,
    GEMM_DIM_DOT_ROWS,
    GEMM_DIM_SAVED_ROW,
    GEMM_DIM_DERIVATIVE,
    GEMM_DIM_KEEP,
    GEMM_DIM_SEED,
    GEMM_DIM_LAYER
};
enum { GEMM_P0, GEMM_P1, GEMM_STEP, GEMM_FIRST_ROW };

typedef enum fnn_gemm_path {
    FNN_GEMM_DIRECT,  /* vectors along the columns: b is read in rows, packed if its columns are strided */
    FNN_GEMM_SWAPPED, /* c.T = b.T @ a.T, vectors along the rows: a is packed transposed, c is turned piece by piece */
    FNN_GEMM_NARROW,  /* few columns, vectors along the rows: a is transposed in registers */
    FNN_GEMM_DOT      /* vectors along the depth: a is packed if its rows are strided */
} fnn_gemm_path;

typedef struct fnn_gemm_plan {
    fnn_gemm_path path;
    int pack_left;      /* rows of the left operand (a; swapped: b.T) are copied next to each other */
    int pack_right;     /* panels of the right operand (b; swapped: a.T) are copied to contiguous rows */
    int by_rows;        /* members share the rows of c, else its columns */
    int64_t unit;       /* in pieces of so many */
    int64_t panel;      /* columns of the right operand packed at a time (direct) */
    int64_t pass;       /* rows of c for which the packed operands are made at a time */
    int64_t left_bytes; /* of one member's scratch: packed left rows, packed right panels, a piece of c.T */
    int64_t right_bytes, tile_bytes;
    double ns; /* estimated time of the slowest member */
} fnn_gemm_plan;

/* Columns of c.T's piece that are turned at a time are rows of the panel; so many rows (columns of c). */
int64_t fnn_gemm_chunk(const fnn_args *args);
int64_t fnn_gemm_block(const fnn_args *args);               /* terms per block of depth */
int64_t fnn_gemm_left_row(const fnn_args *args, int64_t n); /* elements between packed left rows of n elements */

/* A program asks for scratch once, for its largest batch; with fewer rows another path might want more of it. Such a
 * plan falls back on what fits in `most` bytes, at least a packed panel of b. cut: FNN_CUT_ANY takes the faster one. */
fnn_gemm_plan fnn_gemm_plan_for(const fnn_args *args, int team_size, int64_t most, int cut);
/* What every plan for fewer rows can do with: a packed panel of b. */
int64_t fnn_gemm_least_bytes(const fnn_args *args);
int64_t fnn_gemm_plan_bytes(const fnn_gemm_plan *plan); /* of one member */

/* Members that share the rows of c share its columns in such units, to sum up those of b. */
#define FNN_GEMM_SUM_UNIT 16
void fnn_gemm_sum_right(const fnn_args *args, int64_t begin, int64_t end);
int fnn_op_gemm_region(const fnn_args *args, const fnn_team *team, int slot, fnn_region *region);

#endif
