/* team.c: regions that get fewer members than they ask for, and steps of many batch sizes.
 *
 *   tests/c/run.sh runs it with OMP_THREAD_LIMIT of 1, 2, 3 and without; SANITIZE=1 tests/c/run.sh under sanitizers.
 *
 * Whatever is granted, a region has the members that it was planned for or one, and ops and programs give the bits of
 * one member.
 */
#include "harness.h"

#include "ops/gemm_plan.h"
#include "program/program.h"

enum { MOST = 8 };

typedef struct census {
    _Atomic int came[MOST], members, size;
} census;
static void count_member(void *context, const fnn_team *team) {
    census *c = context;
    c->came[team->rank]++;
    c->members++;
    c->size = team->size;
    fnn_team_barrier(team);
}
static void regions(void) {
    for (int asked = 1; asked <= MOST; asked++) {
        census c = {0};
        fnn_team_run(asked, count_member, &c);
        CHECK(c.size == asked || c.size == 1, "asked for %d, size %d", asked, c.size);
        CHECK(c.members == c.size, "asked for %d: %d members of %d", asked, c.members, c.size);
        for (int rank = 0; rank < c.size; rank++)
            CHECK(c.came[rank] == 1, "rank %d came %d times", rank, c.came[rank]);
    }
}

/* The op as an eager call makes it, by each team. */
static void same_on_all_teams(int op, fnn_args *args, array *y, int slot) {
    array before = copy_array(y);
    args->pointer[slot] = y->data;
    run_on(op, args, 1);
    for (int asked = 2; asked <= MOST; asked++) {
        array other = copy_array(&before);
        args->pointer[slot] = other.data;
        run_on(op, args, asked);
        CHECK(memcmp(other.data, y->data, (size_t)y->n * (size_t)table->item_size) == 0, "%s: %d members differ",
              fnn_ops[op].name, asked);
        free_array(&other);
    }
    free_array(&before);
}

static void reductions(int64_t rows, int64_t cols) {
    array x = random_array(rows * cols, 3), down = random_array(cols, 1), most = random_array(cols, 1),
          along = random_array(rows, 1);
    fnn_args d = {.pointer = {x.data}, .dim = {rows, cols, cols}},
             a = {.pointer = {x.data}, .dim = {rows, cols, cols, 1}};
    same_on_all_teams(FNN_OP_sum_rows, &d, &down, 1);
    same_on_all_teams(FNN_OP_max_rows, &d, &most, 1);
    same_on_all_teams(FNN_OP_reduce_cols, &a, &along, 1);
    free_array(&x), free_array(&down), free_array(&most), free_array(&along);
}

static void products(int64_t rows, int64_t cols, int64_t depth) {
    for (int turned = 0; turned < 4; turned++) {
        array a = random_array(rows * depth, 1), b = random_array(depth * cols, 1), c = random_array(rows * cols, 1);
        const int64_t a_row = turned & 1 ? 1 : depth, a_depth = turned & 1 ? rows : 1;
        const int64_t b_depth = turned & 2 ? 1 : cols, b_col = turned & 2 ? depth : 1;
        fnn_args args = {.pointer = {a.data, b.data},
                         .dim = {rows, cols, depth, a_row, a_depth, b_depth, b_col, cols, 256 * (turned & 1)}};
        same_on_all_teams(FNN_OP_gemm, &args, &c, 3);
        free_array(&a), free_array(&b), free_array(&c);
    }
}

/* Whatever a plan would like to pack, it takes no more than there is, or the least that any plan can do with. */
static void plans_fit(void) {
    for (int trial = 0; trial < 20000; trial++) {
        const int64_t rows = 1 + random_below(300), cols = 1 + random_below(300), depth = 1 + random_below(600);
        const int64_t a_turned = random_below(2), b_turned = random_below(2), gap = random_below(2) * 1024;
        const int team = 1 + (int)random_below(4);
        fnn_args args = {.table = table,
                         .dim = {rows, cols, depth, a_turned ? 1 : depth + gap, a_turned ? rows + gap : 1,
                                 b_turned ? 1 : cols + gap, b_turned ? depth + gap : 1, cols, 256 * random_below(2)}};
        const int64_t least = fnn_gemm_least_bytes(&args) * team;
        const int64_t most = random_below(3) ? random_below(400000) : least;
        const fnn_gemm_plan plan = fnn_gemm_plan_for(&args, team, most, FNN_CUT_ANY);
        const int64_t bytes = fnn_gemm_plan_bytes(&plan) * team;
        CHECK(bytes <= most || bytes <= least, "a plan takes %ld of %ld bytes", (long)bytes, (long)most);
    }
}

static void batch_norms(int64_t rows, int64_t cols) {
    array x = random_array(rows * cols, 1), y = random_array(rows * cols, 1);
    double *statistics = malloc((size_t)cols * 2 * sizeof *statistics);
    fnn_args args = {.pointer = {[0] = x.data, [4] = statistics, [5] = statistics + cols},
                     .dim = {rows, cols, cols, cols},
                     .scalar = {1e-5}};
    same_on_all_teams(FNN_OP_batch_norm, &args, &y, 3);
    free(statistics), free_array(&x), free_array(&y);
}

static void rows_of_ops(int64_t rows, int64_t cols) {
    array x = random_array(rows * cols, 1), y = random_array(rows * cols, 1);
    double factor[2];
    fnn_args s = {.pointer = {x.data}, .dim = {rows, cols, cols, cols}};
    same_on_all_teams(FNN_OP_softmax, &s, &y, 1);
    same_on_all_teams(FNN_OP_unary, &s, &y, 1);
    fnn_args n = {.pointer = {x.data, factor}, .dim = {rows * cols}, .scalar = {1, INFINITY}};
    double first = 0;
    for (int asked = 1; asked <= MOST; asked++) {
        run_on(FNN_OP_clip_norm, &n, asked);
        first = asked == 1 ? factor[1] : first;
        CHECK(factor[1] == first, "clip_norm: %d members differ", asked);
    }
    free_array(&x), free_array(&y);
}

/* ---- steps ---- */

enum { LAYERS = 4, WIDTH = 48, CAPACITY = 128 };

/* Batch norms behind each other: y = bn(bn(..(x))), and the sum of y's columns in `total`. */
static fnn_program *new_chain(void) {
    fnn_program *p = fnn_program_new(table->item_size == 4 ? FNN_FLOAT32 : FNN_FLOAT64);
    const int64_t row = WIDTH * table->item_size, column = WIDTH * (int64_t)sizeof(double);
    int from = fnn_program_buffer(p, FNN_BUFFER_EXTERNAL, (fnn_affine){0, 0}, row);
    for (int layer = 0; layer < LAYERS; layer++) {
        const int y = fnn_program_buffer(p, FNN_BUFFER_WORKSPACE, (fnn_affine){row, 0}, 0);
        const int mean = fnn_program_buffer(p, FNN_BUFFER_WORKSPACE, (fnn_affine){0, column}, 0);
        const int var = fnn_program_buffer(p, FNN_BUFFER_WORKSPACE, (fnn_affine){0, column}, 0);
        fnn_node n = {.op = FNN_OP_batch_norm, .scalar = {1e-5, 0.1}};
        for (int i = 0; i < FNN_MAX_POINTERS; i++)
            n.operand[i].buffer = -1;
        for (int i = 0; i < FNN_MAX_SCALARS; i++)
            n.slot[i] = -1;
        n.operand[0].buffer = from, n.operand[3].buffer = y, n.operand[4].buffer = mean, n.operand[5].buffer = var;
        n.dim[0] = (fnn_affine){1, 0};
        for (int i = 1; i < 4; i++)
            n.dim[i] = (fnn_affine){0, WIDTH};
        CHECK(fnn_program_append(p, &n) >= 0, "append: %s", p->problem);
        from = y;
    }
    const int total = fnn_program_buffer(p, FNN_BUFFER_KEPT, (fnn_affine){0, row}, 0);
    fnn_node n = {.op = FNN_OP_sum_rows};
    for (int i = 0; i < FNN_MAX_POINTERS; i++)
        n.operand[i].buffer = -1;
    for (int i = 0; i < FNN_MAX_SCALARS; i++)
        n.slot[i] = -1;
    n.operand[0].buffer = from, n.operand[1].buffer = total;
    n.dim[0] = (fnn_affine){1, 0}, n.dim[1] = n.dim[2] = (fnn_affine){0, WIDTH};
    CHECK(fnn_program_append(p, &n) >= 0, "append: %s", p->problem);
    CHECK(fnn_program_finish(p, CAPACITY, 0) == FNN_OK, "finish: %s", p->problem);
    return p;
}

static void steps_of(fnn_workspace *w, const int64_t *offsets, int64_t count, double *losses) {
    fnn_steps steps = {.gradient = w,
                       .index_buffer = -1,
                       .offsets = offsets,
                       .steps = count,
                       .loss_buffer = w->program->buffer_count - 1,
                       .losses = losses};
    CHECK(fnn_run_steps(&steps) == FNN_OK && steps.done == count, "%ld of %ld steps", (long)steps.done, (long)count);
}

static void many_sizes(void) {
    static const int64_t rows[] = {128, 64, 32, 96, 128, 7, 96, 1, 64, 33, 128, 32};
    enum { STEPS = sizeof rows / sizeof *rows };
    fnn_program *p = new_chain();
    array x = random_array(CAPACITY * WIDTH, 1);
    int64_t offsets[STEPS + 1] = {0};
    double together[STEPS], alone[STEPS];
    for (int i = 0; i < STEPS; i++)
        offsets[i + 1] = offsets[i] + rows[i];
    for (int threads = 1; threads <= 3; threads++)
        for (int force = 0; force < 2; force++) {
            fnn_set_local_threads(threads, force);
            fnn_workspace *w = fnn_workspace_new(p), *other = fnn_workspace_new(p);
            w->pointers[0] = other->pointers[0] = x.data;
            for (int round = 0; round < 3;
                 round++) { /* what is kept from the last call is not what this one begins with */
                steps_of(w, offsets + round, STEPS - round, together + round);
                for (int i = round; i < STEPS; i++)
                    steps_of(other, (int64_t[]){0, rows[i]}, 1, &alone[i]);
                CHECK(memcmp(together + round, alone + round, (size_t)(STEPS - round) * sizeof *alone) == 0,
                      "steps of many sizes, %d threads, force %d, round %d", threads, force, round);
            }
            fnn_workspace_free(w), fnn_workspace_free(other);
        }
    fnn_set_local_threads(0, 0);
    free_array(&x);
    fnn_program_free(p);
}

static void all(const fnn_table *of) {
    static const int64_t shapes[][2] = {{1, 1}, {300, 5}, {2048, 600}, {513, 130}, {5, 9000}, {64, 64}};
    static const int64_t sizes[][3] = {{8, 96, 33}, {65, 20, 64}, {1, 257, 300}, {40, 8, 2048}, {128, 128, 128}};
    table = of;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        reductions(shapes[i][0], shapes[i][1]);
        batch_norms(shapes[i][0], shapes[i][1]);
        rows_of_ops(shapes[i][0], shapes[i][1]);
    }
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        products(sizes[i][0], sizes[i][1], sizes[i][2]);
    plans_fit();
    many_sizes();
}

int main(void) {
    table = &fnn_table_scalar_f32;
    regions();
    const int status = on_every_table(all);
    printf("%d checks of teams, %d wrong\n", checks, failures);
    return status;
}
