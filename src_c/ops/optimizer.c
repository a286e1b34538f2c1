/* optimizer.c: one optimizer pass, cut into fixed chunks. Elements are independent: any cut gives the same bits. */
#include <stddef.h>

#include "op.h"

enum { PARAM, GRAD, S0, S1, S2 };
enum { N, KIND };
enum { CHUNK = 1024 }; /* a multiple of every vector, so that only the very last elements are a partial one */

static void *item(void *base, int64_t index, int item_size) {
    return base == NULL ? NULL : (char *)base + index * item_size;
}

void fnn_op_optimizer_run(const fnn_args *args, const fnn_team *team) {
    int64_t begin, end;
    int size = args->table->item_size;
    void *const *p = args->pointer;
    fnn_team_range(team, args->dim[N], CHUNK, &begin, &end);
    if (begin < end)
        args->table->optimizer[args->dim[KIND]](end - begin, item(p[PARAM], begin, size), item(p[GRAD], begin, size),
                                                item(p[S0], begin, size), item(p[S1], begin, size),
                                                item(p[S2], begin, size), args->scalar);
}

fnn_work fnn_op_optimizer_work(const fnn_args *args) {
    double n = (double)args->dim[N], states = 0;
    for (int i = S0; i <= S2; i++)
        states += args->pointer[i] != NULL;
    /* 3 streams for the weights and 2 per state; a square root and a division bound the arithmetic in cache. */
    double bytes = n * args->table->item_size * (3 + 2 * states);
    double arithmetic = args->dim[KIND] == FNN_OPTIMIZER_sgd ? 0 : n * (args->table->item_size == 4 ? 0.3 : 0.95);
    return fnn_work_of(n * (2 + 5 * states), bytes, bytes / 90 > arithmetic ? bytes / 90 : arithmetic);
}

int64_t fnn_op_optimizer_scratch(const fnn_args *args, int team_size) {
    (void)args;
    (void)team_size;
    return 0;
}
