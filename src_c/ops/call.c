/* call.c: one op, now: what an eager kernel runs. */
#include <string.h>

#include "../base/memory.h"
#include "call.h"

/* A region costs about a microsecond hot and tens when its threads have gone to sleep. */
static const double PARALLEL_NS = 10000;

typedef struct eager_call {
    const fnn_op *op;
    const fnn_args *args;
} eager_call;

static void run_member(void *context, const fnn_team *team) {
    const eager_call *call = context;
    unsigned saved = fnn_float_mode_enter(call->op->mode == FNN_FLUSH);
    call->op->run(call->args, team);
    fnn_float_mode_leave(saved);
}

fnn_status fnn_call(int op_code, int dtype, void *const *pointers, const int64_t *dims, const double *scalars) {
    if (op_code < 0 || op_code >= FNN_OP_COUNT)
        return FNN_ERROR_ARGUMENT;
    const fnn_op *op = &fnn_ops[op_code];
    fnn_args args = {.table = fnn_table_for(dtype)};
    memcpy(args.pointer, pointers, sizeof args.pointer);
    memcpy(args.dim, dims, sizeof args.dim);
    memcpy(args.scalar, scalars, sizeof args.scalar);
    int threads = fnn_get_num_threads();
    if (threads > 1 && !fnn_threads_forced() && op->work(&args).ns < PARALLEL_NS)
        threads = 1;
    int64_t bytes = op->scratch ? op->scratch(&args, threads) : 0;
    _Alignas(64) char small[4096];
    args.scratch = bytes <= (int64_t)sizeof small ? small : fnn_aligned_alloc((size_t)bytes);
    if (!args.scratch)
        return FNN_ERROR_MEMORY;
    eager_call call = {op, &args};
    fnn_team_run(threads, run_member, &call);
    if (args.scratch != small)
        fnn_aligned_free(args.scratch);
    return FNN_OK;
}
