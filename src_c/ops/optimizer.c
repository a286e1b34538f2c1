/* optimizer.c: one optimizer pass, cut into fixed chunks; the norm of a gradient and of units.
 *
 * Elements are independent: any cut gives the same bits. Norms (LARS, LAMB, clipping) are sums over fixed blocks, added
 * in block order by every member for itself.
 */
#include <math.h>
#include <stddef.h>

#include "../base/own.h"
#include "grid.h"
#include "share.h"

enum { PARAM, GRAD, S0, S1, S2, AVERAGE, FACTOR };
enum { N, KIND };
enum { SCALE = 8, CLIP, L1, WEIGHT_DECAY, DECOUPLED, SHARE };
enum { CHUNK = 1024 }; /* a multiple of every vector, so that only the very last elements are a partial one */

static void *item(void *base, int64_t index, int item_size) {
    return base == NULL ? NULL : (char *)base + index * item_size;
}

static fnn_update update_of(const fnn_args *args) {
    void *const *p = args->pointer;
    const double *h = args->scalar, factor = p[FACTOR] ? *(const double *)p[FACTOR] : 1;
    return (fnn_update){.param = p[PARAM],
                        .grad = p[GRAD],
                        .s0 = p[S0],
                        .s1 = p[S1],
                        .s2 = p[S2],
                        .average = p[AVERAGE],
                        .h = h,
                        .scale = h[SCALE] * factor,
                        .clip = h[CLIP] * factor, /* clipping by value comes first */
                        .l1 = h[L1],
                        .weight_decay = h[WEIGHT_DECAY],
                        .decoupled = h[DECOUPLED] != 0,
                        .share = h[SHARE],
                        .ratio = 1};
}

static fnn_update part_of(const fnn_update *whole, int64_t begin, int size) {
    fnn_update part = *whole;
    part.param = item(whole->param, begin, size);
    part.grad = (const char *)whole->grad + begin * size;
    part.s0 = item(whole->s0, begin, size);
    part.s1 = item(whole->s1, begin, size);
    part.s2 = item(whole->s2, begin, size);
    part.average = item(whole->average, begin, size);
    return part;
}

static int64_t block_count(int64_t n) { return (n + FNN_NORM_BLOCK - 1) / FNN_NORM_BLOCK; }

/* sums[width] = the sum of partial[blocks, width], in block order */
static void add_blocks(const double *partial, int64_t blocks, int width, double *sums) {
    for (int k = 0; k < width; k++)
        sums[k] = 0;
    for (int64_t b = 0; b < blocks; b++)
        for (int k = 0; k < width; k++)
            sums[k] += partial[b * width + k];
}

static double trust_ratio(const fnn_args *args, const fnn_team *team, const fnn_update *whole) {
    const fnn_table *table = args->table;
    int64_t begin, end, n = args->dim[N];
    double *partial = args->scratch, sums[2];
    fnn_team_range(team, n, FNN_NORM_BLOCK, &begin, &end);
    for (int64_t at = begin; at < end; at += FNN_NORM_BLOCK) {
        const fnn_update part = part_of(whole, at, table->item_size);
        table->optimizer_norms[args->dim[KIND]](end - at < FNN_NORM_BLOCK ? end - at : FNN_NORM_BLOCK, &part,
                                                partial + at / FNN_NORM_BLOCK * 2);
    }
    fnn_team_barrier(team);
    add_blocks(partial, block_count(n), 2, sums);
    return table->optimizer_ratio[args->dim[KIND]](whole, sums);
}

static void update_part(const fnn_args *args, const fnn_update *whole, int64_t begin, int64_t end) {
    const fnn_update part = part_of(whole, begin, args->table->item_size);
    if (begin < end)
        args->table->optimizer[args->dim[KIND]](end - begin, &part);
}

void fnn_op_optimizer_run(const fnn_args *args, const fnn_team *team) {
    const fnn_table *table = args->table;
    int64_t begin, end, kind = args->dim[KIND];
    fnn_update whole = update_of(args);
    if (table->optimizer_norms[kind])
        whole.ratio = trust_ratio(args, team, &whole);
    fnn_team_range(team, args->dim[N], CHUNK, &begin, &end);
    if (team->size == 1) {
        update_part(args, &whole, begin, end);
        return;
    }
    /* Every member has read all weights, so each line of them is asked for while those before it are updated. */
    const int64_t size = table->item_size;
    fnn_own(item(whole.param, begin, size), fnn_smaller(CHUNK, end - begin) * size);
    for (int64_t at = begin, next; at < end; at = next) {
        next = fnn_smaller(at + CHUNK, end);
        fnn_own(item(whole.param, next, size), fnn_smaller(CHUNK, end - next) * size);
        update_part(args, &whole, at, next);
    }
}

int fnn_op_optimizer_region(const fnn_args *args, const fnn_team *team, int slot, fnn_region *region) {
    int64_t begin, end;
    if (args->table->optimizer_norms[args->dim[KIND]])
        return 0;
    if (slot == FACTOR)
        return fnn_region_rows(args, slot, 0, 1, 1, 1, sizeof(double), region);
    fnn_team_range(team, args->dim[N], CHUNK, &begin, &end);
    return fnn_region_rows(args, slot, begin, end, 1, 1, args->table->item_size, region);
}

fnn_work fnn_op_optimizer_work(const fnn_args *args) {
    double n = (double)args->dim[N], states = args->pointer[AVERAGE] != NULL;
    for (int i = S0; i <= S2; i++)
        states += args->pointer[i] != NULL;
    /* 3 streams for the weights and 2 per state; a square root and a division bound the arithmetic in cache. */
    double bytes = n * args->table->item_size * (3 + 2 * states);
    double arithmetic = args->dim[KIND] == FNN_OPTIMIZER_sgd ? 0 : n * (args->table->item_size == 4 ? 0.3 : 0.95);
    double passes = args->table->optimizer_norms[args->dim[KIND]] ? 1.6 : 1;
    return fnn_work_of(n * (2 + 5 * states), bytes, passes * (bytes / 90 > arithmetic ? bytes / 90 : arithmetic));
}

int64_t fnn_op_optimizer_scratch(const fnn_args *args, int team_size) {
    (void)team_size;
    int measures = args->table->optimizer_norms[args->dim[KIND]] != NULL;
    return measures ? block_count(args->dim[N]) * 2 * (int64_t)sizeof(double) : 0;
}

/* sum (unit min(|g|, clip))^2 of doubles whose squares leave the range; in their order. */
static double scaled_squares(const double *grad, int64_t n, double clip, double unit) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        const double g = fabs(grad[i]), v = unit * (g > clip ? clip : g);
        sum += v * v;
    }
    return sum;
}

/* factor = {min(1, limit / norm), norm} */
static void set_factor(const fnn_args *args, double sum, double *factor) {
    double unit = 1;
    if (sum == INFINITY && args->table->item_size == 8) { /* squares of floats do not leave the range of a double */
        unit = 0x1p-600;
        sum = scaled_squares(args->pointer[0], args->dim[0], args->scalar[1], unit);
    }
    const double norm = sqrt(sum), limit = args->scalar[0] * unit;
    factor[1] = norm / unit;
    factor[0] = norm > limit ? limit / norm : 1;
}

void fnn_op_clip_norm_run(const fnn_args *args, const fnn_team *team) {
    int64_t begin, end, n = args->dim[0];
    double *partial = args->scratch, *factor = args->pointer[1], sum;
    fnn_team_range(team, n, FNN_NORM_BLOCK, &begin, &end);
    for (int64_t at = begin; at < end; at += FNN_NORM_BLOCK)
        partial[at / FNN_NORM_BLOCK] =
            args->table->sum_squares(end - at < FNN_NORM_BLOCK ? end - at : FNN_NORM_BLOCK,
                                     item(args->pointer[0], at, args->table->item_size), args->scalar[1]);
    fnn_team_barrier(team);
    if (team->rank > 0)
        return;
    add_blocks(partial, block_count(n), 1, &sum);
    set_factor(args, sum, factor);
}

fnn_work fnn_op_clip_norm_work(const fnn_args *args) {
    double n = (double)args->dim[0], bytes = n * args->table->item_size;
    return fnn_work_of(2 * n, bytes, bytes / 20);
}

int64_t fnn_op_clip_norm_scratch(const fnn_args *args, int team_size) {
    (void)team_size;
    return block_count(args->dim[0]) * (int64_t)sizeof(double);
}

void fnn_op_max_norm_run(const fnn_args *args, const fnn_team *team) {
    int64_t begin, end;
    fnn_team_range(team, args->dim[1], FNN_MAX_NORM_COLS, &begin, &end);
    for (int64_t col = begin; col < end; col += FNN_MAX_NORM_COLS)
        args->table->max_norm(args->dim[0], end - col < FNN_MAX_NORM_COLS ? end - col : FNN_MAX_NORM_COLS,
                              item(args->pointer[0], col, args->table->item_size), args->dim[2], args->scalar[0]);
}

fnn_work fnn_op_max_norm_work(const fnn_args *args) {
    double n = (double)args->dim[0] * (double)args->dim[1], bytes = 2 * n * args->table->item_size;
    return fnn_work_of(2 * n, bytes, bytes / 20);
}

int64_t fnn_op_max_norm_scratch(const fnn_args *args, int team_size) {
    (void)args;
    (void)team_size;
    return 0;
}
