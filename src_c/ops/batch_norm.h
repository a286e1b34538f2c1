/* batch_norm.h: the way through the data that batch norm's forward and backward have in common.
 *
 * Sums are taken over fixed blocks of 64 rows and merged in the order of the blocks, column by column, so that the bits
 * do not depend on who computed which block. By columns, if there are fewer blocks than members: a member does
 * everything for its columns, without waiting. Else by blocks, whole rows at a time as they lie in memory, and members
 * meet twice; the last visit begins with the rows that were seen last, which are still in the cache.
 */
#ifndef FNN_OPS_BATCH_NORM_H
#define FNN_OPS_BATCH_NORM_H

#include <stddef.h>

#include "share.h"

enum { FNN_BATCH_NORM_UNIT = 16 }; /* columns of one share: whole cache lines of the outputs */

/* Scratch that the team shares. */
typedef struct fnn_batch_norm_shared {
    double *sums[2];                /* [blocks, cols]: mean and square, or sums of grad and of products */
    fnn_batch_norm_columns columns; /* [cols] */
} fnn_batch_norm_shared;

/* What differs between forward and backward. Columns: at most FNN_BATCH_NORM_SPAN, finish FNN_BATCH_NORM_COLS. */
typedef struct fnn_batch_norm_way {
    int rows, cols; /* slots of the sizes */
    void (*sums)(const fnn_args *args, int64_t row, int64_t rows, int64_t col, int64_t cols, double *p, double *q);
    void (*finish)(const fnn_args *args, int64_t col, int64_t cols, double *p, double *q,
                   const fnn_batch_norm_columns *columns);
    void (*apply)(const fnn_args *args, int64_t row, int64_t rows, int64_t col, int64_t cols,
                  const fnn_batch_norm_columns *columns);
} fnn_batch_norm_way;

void fnn_batch_norm_go(const fnn_batch_norm_way *way, const fnn_args *args, const fnn_team *team);
/* Whether members share the columns: then each has done all of its own. */
int fnn_batch_norm_by_columns(int64_t rows, int64_t cols, int team_size);
/* The member's part of a matrix (pitch > 0) or of a vector of the columns. for_sums: where rows are shared, every
 * member also reads the first row of it, or all columns. */
int fnn_batch_norm_region(const fnn_args *args, const fnn_team *team, int slot, int64_t pitch, int64_t item,
                          int for_sums, fnn_region *region);
int64_t fnn_batch_norm_scratch_bytes(const fnn_args *args, int64_t rows, int64_t cols);

static inline void *fnn_batch_norm_item(const fnn_args *args, void *base, int64_t index) {
    return base == NULL ? NULL : (char *)base + index * args->table->item_size;
}

#endif
