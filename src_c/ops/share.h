/* share.h: who touches what: how a program knows where a barrier must stand, and where none is needed.
 *
 * A member that runs an op on its share reads and writes parts of the operands. Where the parts of one op and of those
 * since the last barrier meet in the same member only, the team need not wait (program/schedule.c). An op that says
 * nothing is taken to touch all of its operands with every member.
 */
#ifndef FNN_SHARE_H
#define FNN_SHARE_H

#include "op.h"

/* `runs` pieces of `bytes` bytes, `pitch` bytes apart. */
typedef struct fnn_region {
    const char *start;
    int64_t runs, pitch, bytes;
} fnn_region;

/* An op's plan, of its own making: kept with a program's args, so that a run does not work it out again. */
typedef struct fnn_plan {
    _Alignas(16) unsigned char bytes[112];
} fnn_plan;

enum { FNN_CUT_ANY, FNN_CUT_ROWS, FNN_CUT_COLS }; /* of the output, among the members */

typedef struct fnn_share {
    /* What a member touches through an operand (args->plan is that of the coming run); 0: that cannot be said. */
    int (*region)(const fnn_args *args, const fnn_team *team, int slot, fnn_region *region);
    /* The plan for a cut, and the estimated ns of the slowest member; below 0: there is no such cut. */
    double (*plan)(const fnn_args *args, int team_size, int cut, fnn_plan *plan);
    /* Operands, as bits, that member 0 writes after all members have met inside run(); 0: they do not meet. */
    unsigned late;
} fnn_share;

extern const fnn_share fnn_shares[FNN_OP_COUNT]; /* all NULL where an op says nothing */

/* Rows [begin, end) of `cols` elements of an operand; a missing operand is no memory. */
static inline int fnn_region_rows(const fnn_args *args, int slot, int64_t begin, int64_t end, int64_t pitch,
                                  int64_t cols, int64_t item, fnn_region *region) {
    const char *base = args->pointer[slot];
    *region = (fnn_region){base, base && begin < end && cols > 0 ? end - begin : 0, pitch * item, cols * item};
    if (region->runs > 0)
        region->start += begin * pitch * item;
    return 1;
}

#endif
