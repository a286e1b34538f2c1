/* products.c: the matrix product on hostile sizes, on every ISA of this CPU, both dtypes, one to three threads.
 *
 *   products [every]    every: take each every-th size of the sweep only (default 1: all of them)
 *
 * Operands lie flush against pages that may not be touched, with NaN between their elements where they are strided.
 * The reference is a plain loop in double.
 */
#include "harness.h"

enum { ROW_MAJOR, COLUMN_MAJOR, PADDED, EVERY_SECOND, BACKWARDS, BROADCAST_ROWS, LAYOUTS };

/* A matrix of any strides: element (i, j) is data[first + i * row + j * col]. */
typedef struct matrix {
    array memory;
    int64_t first, row, col;
} matrix;

static double at(const matrix *m, int64_t i, int64_t j) { return get(&m->memory, m->first + i * m->row + j * m->col); }
static void *start(const matrix *m) { return m->memory.data + m->first * table->item_size; }

static matrix random_matrix(int64_t rows, int64_t cols, int layout) {
    matrix m = {.row = cols, .col = 1};
    if (layout == COLUMN_MAJOR)
        m.row = 1, m.col = rows + random_below(2) * 3;
    else if (layout == PADDED)
        m.row = cols + 1 + random_below(20);
    else if (layout == EVERY_SECOND)
        m.row = 2 * cols + 1, m.col = 2;
    else if (layout == BACKWARDS)
        m.row = -cols, m.first = rows > 0 ? (rows - 1) * cols : 0;
    else if (layout == BROADCAST_ROWS)
        m.row = 0;
    const int64_t down = layout == BACKWARDS ? cols : m.row;
    const int64_t last = rows > 0 && cols > 0 ? (rows - 1) * down + (cols - 1) * m.col + 1 : 0;
    m.memory = new_array(last);
    for (int64_t i = 0; i < last; i++)
        set(&m.memory, i, NAN);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j++)
            set(&m.memory, m.first + i * m.row + j * m.col, random_below(50) ? random_real(1) : 0);
    return m;
}

typedef struct product {
    int64_t rows, cols, depth, block;
    int accumulate, activation; /* 1 + FNN_UNARY_..., 0 none */
    matrix a, b;
    array bias, c;
    int64_t c_row;
} product;

static double activated(int activation, double z) {
    if (activation == 1 + FNN_UNARY_relu)
        return z > 0 || z != z ? z : 0;
    return activation == 1 + FNN_UNARY_tanh ? tanh(z) : z;
}

/* |error| <= (depth + 4) u sum |a b|, twice that for float64 because the reference rounds as well. */
static void check_element(const product *p, const array *old, const array *got, int64_t i, int64_t j) {
    const double u = table->item_size == 4 ? 0x1p-24 : 0x1p-52;
    const double tiny = table->item_size == 4 ? 0x1p-126 : 0x1p-1022;
    double sum = 0, size = 0;
    for (int64_t k = 0; k < p->depth; k++) {
        const double term = at(&p->a, i, k) * at(&p->b, k, j);
        sum += term, size += fabs(term);
    }
    const double extra[2] = {p->accumulate ? get(old, i * p->c_row + j) : 0, p->bias.data ? get(&p->bias, j) : 0};
    for (int e = 0; e < 2; e++)
        sum += extra[e], size += fabs(extra[e]);
    const double want = activated(p->activation, sum), y = get(got, i * p->c_row + j);
    const double bound = (double)(p->depth + 4) * (u * size + tiny) + (p->activation > 2 ? 8 * u : 0);
    CHECK(
        (want != want && y != y) || fabs(y - want) <= bound,
        "%ldx%ldx%ld [%ld, %ld]: %.17g, not %.17g (block %ld, accumulate %d, bias %d, activation %d, strides %ld %ld, "
        "%ld %ld)",
        (long)p->rows, (long)p->depth, (long)p->cols, (long)i, (long)j, y, want, (long)p->block, p->accumulate,
        p->bias.data != NULL, p->activation, (long)p->a.row, (long)p->a.col, (long)p->b.row, (long)p->b.col);
}

/* One product with operands, epilogue and output of the given clothes; `sample` elements of it are checked (0: all). */
static void check_product(product *p, int a_layout, int b_layout, int with_bias, int64_t sample) {
    p->a = random_matrix(p->rows, p->depth, a_layout);
    p->b = random_matrix(p->depth, p->cols, b_layout);
    if (with_bias)
        p->bias = random_array(p->cols, 1);
    p->c_row = p->cols + random_below(2) * random_below(9);
    p->c = random_array(p->rows && p->cols ? (p->rows - 1) * p->c_row + p->cols : 0, 1);
    if (!p->accumulate) /* overwriting must not read c */
        for (int64_t i = 0; i < p->c.n; i++)
            set(&p->c, i, NAN);
    array old = copy_array(&p->c);
    fnn_args args = {
        .pointer = {start(&p->a), start(&p->b), p->bias.data},
        .dim = {p->rows, p->cols, p->depth, p->a.row, p->a.col, p->b.row, p->b.col, p->c_row, p->block, p->accumulate,
                p->activation, random_below(2) * 8},
    };
    run(FNN_OP_gemm, &args, &p->c, 3);
    for (int64_t i = 0; i < p->c.n && p->c_row > 0; i++)
        if (i % p->c_row >= p->cols)
            CHECK(same(get(&p->c, i), get(&old, i)), "between the rows of c");
    const int64_t all = p->rows * p->cols;
    for (int64_t n = 0; n < (sample && sample < all ? sample : all); n++) {
        const int64_t e = sample && sample < all ? random_below(all) : n;
        check_element(p, &old, &p->c, e / p->cols, e % p->cols);
    }
    free_array(&old), free_array(&p->c), free_array(&p->a.memory), free_array(&p->b.memory);
    if (with_bias)
        free_array(&p->bias);
}

static int some_layout(void) { return random_below(2) ? (int)random_below(LAYOUTS) : (int)random_below(2); }
static int some_activation(void) {
    const int choice = (int)random_below(5);
    return choice < 2 ? 0 : choice < 4 ? 1 + FNN_UNARY_relu : 1 + FNN_UNARY_tanh;
}
static void check_size(int64_t rows, int64_t cols, int64_t depth, int64_t sample) {
    static const int64_t blocks[] = {0, 1024, 256};
    product p = {.rows = rows, .cols = cols, .depth = depth, .block = blocks[random_below(3)]};
    p.accumulate = random_below(3) == 0;
    p.activation = p.accumulate ? 0 : some_activation();
    check_product(&p, some_layout(), some_layout(), random_below(2) && !p.accumulate, sample);
}

static void sweep(int every) {
    static const int64_t depths[] = {0, 1, 2, 3, 17, 64, 300};
    int count = 0;
    for (int64_t rows = 1; rows <= 20; rows++)
        for (int64_t cols = 1; cols <= 40; cols++)
            for (int d = 0; d < 7; d++)
                if (count++ % every == 0)
                    check_size(rows, cols, depths[d], 0);
}

/* Nothing to write, sums longer than a block, skinny and wide shapes, products worth several passes and threads. */
static void odd_sizes(int every) {
    static const int64_t sizes[][3] = {
        {0, 5, 3},      {5, 0, 3},       {0, 0, 0},       {3, 7, 1024},     {9, 33, 1025},  {2, 50, 2049},
        {20, 3, 5000},  {1, 1, 100000},  {3, 2, 20000},   {1000, 1, 30},    {700, 10, 129}, {1500, 16, 7},
        {1, 1000, 300}, {1, 513, 1024},  {7, 300, 130},   {8, 256, 784},    {16, 256, 256}, {32, 64, 30},
        {100, 77, 333}, {64, 128, 256},  {130, 131, 129}, {257, 65, 512},   {300, 31, 600}, {33, 47, 1},
        {256, 10, 700}, {29, 1030, 100}, {500, 40, 1},    {200, 200, 1100},
    };
    const int trials = every > 1 ? 1 : 4;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int trial = 0; trial < trials; trial++)
            check_size(sizes[i][0], sizes[i][1], sizes[i][2], 200);
}

/* What follows the sum, in the op, must give the bits of the ops that do the same one after the other. */
enum { A, B, BIAS, C, SAVED, B_SUM };
enum { ACTIVATION = 10, DOT_ROWS, SAVED_ROW, DERIVATIVE, KEEP, SEED, LAYER };
enum { STEP = 2, FIRST_ROW };

static void after_the_sum(fnn_args *fused, array *c) {
    static const int kinds[] = {FNN_UNARY_identity, FNN_UNARY_relu, FNN_UNARY_sigmoid, FNN_UNARY_tanh};
    const int64_t rows = fused->dim[0], cols = fused->dim[1], c_row = fused->dim[7];
    fnn_args plain = *fused;
    array want = copy_array(c), saved = random_array(rows * (cols + 3), 2);
    run(FNN_OP_gemm, &plain, &want, C);
    if (random_below(3)) {
        const int kind = kinds[random_below(4)];
        fnn_args args = {.pointer = {want.data, want.data}, .dim = {rows, cols, c_row, c_row, kind}};
        run_on(FNN_OP_unary, &args, 1);
        fused->dim[ACTIVATION] = 1 + kind;
    }
    if (random_below(2)) {
        const int64_t threshold = (int64_t[]){0, 1, 40000, 65536}[random_below(4)];
        fnn_args args = {.pointer = {want.data, want.data},
                         .dim = {rows, cols, c_row, c_row, cols, 0, 77, 3, threshold},
                         .scalar = {11, 5}};
        run_on(FNN_OP_dropout, &args, 1);
        fused->dim[KEEP] = 1 + threshold, fused->dim[SEED] = 77, fused->dim[LAYER] = 3;
        fused->scalar[STEP] = 11, fused->scalar[FIRST_ROW] = 5;
    }
    if (random_below(2)) {
        const int kind = kinds[random_below(4)], output = kind != FNN_UNARY_identity && random_below(2);
        fnn_args args = {.pointer = {want.data, saved.data, want.data},
                         .dim = {rows, cols, c_row, cols + 3, c_row, kind, output}};
        run_on(FNN_OP_unary_backward, &args, 1);
        fused->dim[DERIVATIVE] = output ? -1 - kind : 1 + kind, fused->dim[SAVED_ROW] = cols + 3;
        fused->pointer[SAVED] = saved.data;
    }
    run(FNN_OP_gemm, fused, c, C);
    CHECK(memcmp(c->data, want.data, (size_t)c->n * (size_t)table->item_size) == 0,
          "%ldx%ldx%ld: activation %ld, keep %ld, derivative %ld differ from the ops one after the other", (long)rows,
          (long)fused->dim[2], (long)cols, (long)fused->dim[ACTIVATION], (long)fused->dim[KEEP],
          (long)fused->dim[DERIVATIVE]);
    free_array(&want), free_array(&saved);
}

/* Column sums of b beside the product: the bits of sum_rows. */
static void sums_of_b(fnn_args *fused, const array *b, const array *c) {
    const int64_t cols = fused->dim[1], depth = fused->dim[2], accumulate = random_below(2);
    array sums = random_array(cols, 1), want = copy_array(&sums), product = copy_array(c);
    fnn_args args = {.pointer = {b->data}, .dim = {depth, cols, fused->dim[5], 0, accumulate}};
    run(FNN_OP_sum_rows, &args, &want, 1);
    fused->dim[9] = accumulate;
    fused->pointer[C] = product.data;
    run(FNN_OP_gemm, fused, &sums, B_SUM);
    CHECK(memcmp(sums.data, want.data, (size_t)cols * (size_t)table->item_size) == 0, "b_sum of %ldx%ldx%ld",
          (long)fused->dim[0], (long)depth, (long)cols);
    free_array(&sums), free_array(&want), free_array(&product);
}

static void epilogues(void) {
    for (int trial = 0; trial < 150; trial++) {
        const int64_t rows = some_size() % 70 + 1, cols = trial % 10 ? some_size() % 130 + 1 : 600,
                      depth = trial % 7 ? some_size() % 300 : 1500, c_row = cols + random_below(2) * 5,
                      b_row = cols + random_below(2) * 7;
        array a = random_array(rows * depth, 1), b = random_array(depth * b_row, 1), bias = random_array(cols, 1);
        array c = random_array((rows - 1) * c_row + cols, 1);
        const fnn_args args = {.pointer = {a.data, b.data, bias.data},
                               .dim = {rows, cols, depth, depth, 1, b_row, 1, c_row}};
        fnn_args first = args, second = args;
        after_the_sum(&first, &c);
        second.pointer[BIAS] = NULL;
        sums_of_b(&second, &b, &c);
        free_array(&a), free_array(&b), free_array(&bias), free_array(&c);
    }
}

/* Not a number and infinity stay in their row and column. */
static void special_values(void) {
    for (int trial = 0; trial < 40; trial++) {
        const int64_t rows = some_size() % 40 + 1, cols = some_size() % 70 + 1, depth = some_size() % 90 + 1;
        array a = random_array(rows * depth, 1), b = random_array(depth * cols, 1), c = random_array(rows * cols, 1);
        const int64_t bad_row = random_below(rows), bad_col = random_below(cols), k = random_below(depth);
        for (int64_t i = 0; i < b.n; i++)
            set(&b, i, 0.5 + fabs(get(&b, i)));
        set(&a, bad_row * depth + k, NAN);
        set(&b, k * cols + bad_col, INFINITY);
        for (int64_t i = 0; i < rows; i++)
            if (i != bad_row)
                set(&a, i * depth + k, 1);
        fnn_args args = {.pointer = {a.data, b.data}, .dim = {rows, cols, depth, depth, 1, cols, 1, cols}};
        args.dim[10] = random_below(2) ? 1 + FNN_UNARY_relu : 0;
        run(FNN_OP_gemm, &args, &c, 3);
        for (int64_t i = 0; i < rows; i++)
            for (int64_t j = 0; j < cols; j++) {
                const double y = get(&c, i * cols + j);
                CHECK(i == bad_row   ? y != y
                      : j == bad_col ? y == INFINITY
                                     : fabs(y) < 1e6,
                      "special values: [%ld, %ld] of %ldx%ldx%ld is %g", (long)i, (long)j, (long)rows, (long)depth,
                      (long)cols, y);
            }
        free_array(&a), free_array(&b), free_array(&c);
    }
}

static int every = 1;
static void all_of(const fnn_table *t) {
    table = t;
    sweep(every);
    odd_sizes(every);
    special_values();
    if (strstr(fnn_ops[FNN_OP_gemm].dims, "derivative"))
        epilogues();
    printf("%-7s %d bytes: products, %d checks so far\n", t->isa, t->item_size, checks);
}

int main(int argc, char **argv) {
    every = argc > 1 && atoi(argv[1]) > 0 ? atoi(argv[1]) : 1;
    return on_every_table(all_of);
}
