/* call.c: one op, now: what an eager kernel runs. */
#include "call.h"
#include "../base/cpu.h"
#include "../base/memory.h"

/* A region costs about a microsecond hot and tens when its threads have gone to sleep. */
static const double PARALLEL_NS = 5000;

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

double fnn_call_prepare(int op_code, int dtype, fnn_args *args) {
    args->table = fnn_table_for(dtype);
    const fnn_work work = fnn_ops[op_code].work(args);
    args->stream = work.bytes > (double)fnn_cache_size(3);
    return work.ns;
}

fnn_status fnn_call_run(int op_code, fnn_args *args, double ns) {
    const fnn_op *op = &fnn_ops[op_code];
    int threads = fnn_threads_forced() || ns >= PARALLEL_NS ? fnn_team_size() : 1;
    int64_t bytes = op->scratch ? op->scratch(args, threads) : 0;
    if (op->scratch && threads > 1) { /* one member runs it where the others do not come */
        const int64_t alone = op->scratch(args, 1);
        bytes = bytes > alone ? bytes : alone;
    }
    _Alignas(64) char small[4096];
    args->scratch = bytes <= (int64_t)sizeof small ? small : fnn_aligned_alloc((size_t)bytes);
    args->scratch_bytes = bytes;
    if (!args->scratch)
        return FNN_ERROR_MEMORY;
    eager_call call = {op, args};
    fnn_team_run(threads, run_member, &call);
    if (args->scratch != small)
        fnn_aligned_free(args->scratch);
    return FNN_OK;
}
