/* ops.c: the row-local, reducing and moving ops on every ISA of this CPU, both dtypes, one to three threads.
 *
 *   tests/c/run.sh builds and runs it (and ulp.c).
 *
 * Arrays end (or start) at a page that may not be touched, so that one element read or written too far is a crash.
 * References are plain loops in double or long double; results on two and three threads must equal those on one.
 */
#include "harness.h"

static void unary(void) {
    for (int kind = 0; kind < FNN_UNARY_COUNT; kind++)
        for (int trial = 0; trial < 4; trial++) {
            const int64_t rows = trial ? some_size() % 20 + 1 : 4801, cols = trial ? some_size() : 1;
            const int64_t pad = random_below(2) * 5, x_row = cols + pad, n = (rows - 1) * x_row + cols;
            array x = random_array(n, 20), g = random_array(n, 1), y = random_array(n, 1), dx = random_array(n, 1);
            fnn_args f = {.pointer = {x.data}, .dim = {rows, cols, x_row, x_row, kind}};
            fnn_args b = {.pointer = {g.data, x.data}, .dim = {rows, cols, x_row, x_row, x_row, kind}};
            array old = copy_array(&y);
            run(FNN_OP_unary, &f, &y, 1);
            if (table->unary_backward[kind])
                run(FNN_OP_unary_backward, &b, &dx, 2);
            array alone = new_array(1);
            for (int64_t i = 0; i < n; i++) {
                const char *xi = x.data + i * table->item_size, *gi = g.data + i * table->item_size;
                const int inside = i % x_row < cols;
                table->unary[kind](1, xi, alone.data, 0, 0);
                CHECK(same(get(&y, i), inside ? get(&alone, 0) : get(&old, i)), "unary %d at %ld", kind, (long)i);
                if (inside && table->unary_backward[kind]) {
                    table->unary_backward[kind](1, gi, xi, alone.data, 0, 0);
                    CHECK(same(get(&dx, i), get(&alone, 0)), "unary_backward %d", kind);
                }
                i += n > 5000 ? 37 : 0;
            }
            free_array(&alone), free_array(&x), free_array(&g), free_array(&y), free_array(&dx), free_array(&old);
        }
}

/* What each row of the lists means, in double; the values it is asked for are chosen by unary_values. */
static double unary_reference(int kind, double x) {
    switch (kind) {
    case FNN_UNARY_identity:
        return x;
    case FNN_UNARY_relu:
        return x > 0 || x != x ? x : 0;
    case FNN_UNARY_sigmoid:
        return 1 / (1 + exp(-x));
    case FNN_UNARY_tanh:
        return tanh(x);
    case FNN_UNARY_negative:
        return -x;
    case FNN_UNARY_absolute:
        return fabs(x);
    case FNN_UNARY_square:
        return x * x;
    case FNN_UNARY_sqrt:
        return sqrt(x);
    case FNN_UNARY_reciprocal:
        return 1 / x;
    case FNN_UNARY_exp:
        return exp(x);
    case FNN_UNARY_log:
        return log(x);
    case FNN_UNARY_sign:
        return x > 0 ? 1 : x < 0 ? -1 : x;
    case FNN_UNARY_heaviside:
        return x > 0 ? 1 : x != x ? x : 0;
    default:
        return NAN;
    }
}
static double slope_reference(int kind, double x) {
    switch (kind) {
    case FNN_UNARY_identity:
        return 1;
    case FNN_UNARY_relu:
        return x > 0;
    case FNN_UNARY_sigmoid:
        return 1 / (2 + exp(x) + exp(-x));
    case FNN_UNARY_tanh:
        return 1 / (cosh(x) * cosh(x));
    default:
        return NAN;
    }
}
static int close_to(double got, double want) {
    const double eps = table->item_size == 4 ? 0x1p-23 : 0x1p-52;
    return same(got, rounded(want)) || fabs(got - want) <= 4 * eps * fabs(want) + 4e-45;
}
/* Rows of the lists that this file does not know are checked in Python only. */
static int has_reference(double (*reference)(int, double), int kind) { return !isnan(reference(kind, 0.3)); }
static void unary_values(void) {
    const double values[] = {0, -0.0, 1, -1, 0.3, -0.3, 5, -5, 17, -17, 80, -80, 1e-30, INFINITY, -INFINITY, NAN};
    for (int kind = 0; kind < FNN_UNARY_COUNT; kind++)
        for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
            array x = new_array(1), y = new_array(1), one = new_array(1);
            set(&x, 0, values[i]);
            set(&one, 0, 1);
            table->unary[kind](1, x.data, y.data, 0, 0);
            if (has_reference(unary_reference, kind))
                CHECK(close_to(get(&y, 0), unary_reference(kind, get(&x, 0))), "unary %d of %g gives %g", kind,
                      values[i], get(&y, 0));
            if (table->unary_backward[kind] && has_reference(slope_reference, kind) && values[i] == values[i]) {
                table->unary_backward[kind](1, one.data, x.data, y.data, 0, 0);
                CHECK(close_to(get(&y, 0), slope_reference(kind, get(&x, 0))), "slope %d at %g is %g", kind, values[i],
                      get(&y, 0));
            }
            free_array(&x), free_array(&y), free_array(&one);
        }
}

static double binary_reference(int kind, double a, double b) {
    switch (kind) {
    case FNN_BINARY_add:
        return a + b;
    case FNN_BINARY_subtract:
        return a - b;
    case FNN_BINARY_multiply:
        return a * b;
    case FNN_BINARY_divide:
        return a / b;
    case FNN_BINARY_maximum:
        return a != a ? a : b != b ? b : a > b ? a : b;
    case FNN_BINARY_minimum:
        return a != a ? a : b != b ? b : a < b ? a : b;
    case FNN_BINARY_greater:
        return a > b;
    case FNN_BINARY_greater_equal:
        return a >= b;
    case FNN_BINARY_less:
        return a < b;
    case FNN_BINARY_less_equal:
        return a <= b;
    case FNN_BINARY_equal:
        return a == b;
    case FNN_BINARY_prelu:
        return a > 0 ? a : b * a;
    default:
        return NAN;
    }
}
static int64_t extent(int64_t rows, int64_t row, int64_t cols, int64_t col) {
    return (rows - 1) * row + (cols - 1) * col + 1;
}
static void binary_and_where(void) {
    for (int trial = 0; trial < 12 * (FNN_BINARY_COUNT + 1); trial++) {
        const int kind = trial % (FNN_BINARY_COUNT + 1); /* the last one is where */
        const int64_t rows = trial % 7 ? some_size() % 40 + 1 : 3, cols = trial % 7 ? some_size() : 5000;
        int64_t row[3], col[3];
        array in[3], y = random_array(rows * (cols + 3), 1);
        const int64_t y_row = random_below(2) ? cols : cols + 3;
        for (int k = 0; k < 3; k++) {
            col[k] = random_below(3) > 0;
            row[k] = random_below(3) ? (col[k] ? cols + random_below(2) * 3 : 1) : 0;
            in[k] = random_array(extent(rows, row[k], cols, col[k]), 2);
            for (int64_t i = 0; i < in[k].n; i++)
                set(&in[k], i, random_below(20) ? rounded(floor(get(&in[k], i) * 4) / 3) : NAN);
        }
        fnn_args args = {.pointer = {in[0].data, in[1].data, in[2].data}};
        const int64_t two[] = {rows, cols, row[0], col[0], row[1], col[1], y_row, kind};
        const int64_t three[] = {rows, cols, row[0], col[0], row[1], col[1], row[2], col[2], y_row};
        const int where = kind == FNN_BINARY_COUNT;
        memcpy(args.dim, where ? three : two, where ? sizeof three : sizeof two);
        run(where ? FNN_OP_where : FNN_OP_binary, &args, &y, where ? 3 : 2);
        for (int64_t r = 0; r < rows; r++)
            for (int64_t c = 0; c < cols; c++) {
                double v[3];
                for (int k = 0; k < 3; k++)
                    v[k] = get(&in[k], r * row[k] + c * col[k]);
                if (!where && isnan(binary_reference(kind, 1, 1))) /* a row that this file does not know */
                    continue;
                const double want = where ? (v[0] != 0 ? v[1] : v[2]) : rounded(binary_reference(kind, v[0], v[1]));
                CHECK(same(get(&y, r * y_row + c), want), "binary %d (%g, %g)", kind, v[0], v[1]);
            }
        for (int k = 0; k < 3; k++)
            free_array(&in[k]);
        free_array(&y);
    }
}

static void fill_and_empty(void) {
    array y = random_array(9000, 1), x = random_array(9000, 1);
    fnn_args args = {.dim = {8999}, .scalar = {2.5}};
    const double last = get(&y, 8999);
    run(FNN_OP_fill, &args, &y, 0);
    for (int64_t i = 0; i < 9000; i++)
        CHECK(get(&y, i) == (i < 8999 ? 2.5 : last), "fill");
    const int empty_ops[] = {FNN_OP_unary,   FNN_OP_binary,           FNN_OP_where,         FNN_OP_fill, FNN_OP_copy,
                             FNN_OP_softmax, FNN_OP_softmax_backward, FNN_OP_unary_backward};
    for (size_t k = 0; k < sizeof empty_ops / sizeof *empty_ops; k++)
        for (int rows = 0; rows < 2; rows++) {
            fnn_args nothing = {.table = table, .pointer = {x.data, y.data, y.data, y.data}, .dim = {rows * 5, 0}};
            array old = copy_array(&y);
            run_on(empty_ops[k], &nothing, 2);
            CHECK(memcmp(old.data, y.data, (size_t)y.n * (size_t)table->item_size) == 0, "empty op %d", empty_ops[k]);
            free_array(&old);
        }
    free_array(&y), free_array(&x);
}

/* Random strides: a permutation of the dimensions, gaps, a dimension of x broadcast, one reversed. */
static int64_t random_strides(const int64_t *n, int64_t *stride, int broadcast, int64_t *first) {
    int order[6] = {0, 1, 2, 3, 4, 5};
    int64_t size = 1;
    for (int i = 5; i > 0; i--) {
        const int j = (int)random_below(i + 1), t = order[i];
        order[i] = order[j];
        order[j] = t;
    }
    *first = 0;
    for (int i = 0; i < 6; i++) {
        const int k = order[i];
        stride[k] = broadcast && random_below(4) == 0 ? 0 : size;
        if (stride[k])
            size = size * n[k] + (random_below(5) == 0 ? 2 : 0);
        if (random_below(8) == 0) { /* backwards */
            *first += (n[k] - 1) * stride[k];
            stride[k] = -stride[k];
        }
    }
    return size;
}
static void copies(void) {
    for (int trial = 0; trial < 300; trial++) {
        int64_t n[6], x_stride[6], y_stride[6], x_first, y_first, total = 1;
        for (int i = 0; i < 6; i++) {
            n[i] = random_below(3) ? random_below(2) + 1 : random_below(40) + 1;
            while (total * n[i] > 2500)
                n[i] = (n[i] + 1) / 2;
            total *= n[i];
        }
        const int64_t x_size = random_strides(n, x_stride, 1, &x_first),
                      y_size = random_strides(n, y_stride, 0, &y_first);
        const int accumulate = (int)random_below(2), overlapping = trial % 10 == 0;
        if (overlapping) /* coinciding elements are summed in order */
            y_stride[random_below(6)] = 0;
        array x = random_array(x_size, 3), y = random_array(y_size, 3), want = copy_array(&y);
        fnn_args args = {.pointer = {x.data + x_first * table->item_size}, .dim = {[18] = accumulate}};
        memcpy(args.dim, n, sizeof n);
        memcpy(args.dim + 6, x_stride, sizeof n);
        memcpy(args.dim + 12, y_stride, sizeof n);
        for (int64_t index = 0; index < total; index++) {
            int64_t rest = index, from = x_first, to = y_first;
            for (int i = 5; i >= 0; rest /= n[i], i--) {
                from += rest % n[i] * x_stride[i];
                to += rest % n[i] * y_stride[i];
            }
            set(&want, to, get(&x, from) + (accumulate ? get(&want, to) : 0));
        }
        /* y's pointer is not the start of its array: run() compares whole arrays, so move the data there by hand */
        for (int threads = 1; threads <= 3; threads++) {
            array z = copy_array(&y);
            args.pointer[1] = z.data + y_first * table->item_size;
            args.table = table;
            CHECK(fnn_ops[FNN_OP_copy].work(&args).ns > 0, "copy: no estimate");
            run_on(FNN_OP_copy, &args, threads);
            for (int64_t i = 0; i < y_size; i++)
                CHECK(get(&z, i) == get(&want, i), "copy trial %d, %d threads, element %ld", trial, threads, (long)i);
            free_array(&z);
        }
        free_array(&x), free_array(&y), free_array(&want);
    }
}

static void reductions(void) {
    const double eps = table->item_size == 4 ? 0x1p-24 : 0x1p-53;
    for (int trial = 0; trial < 60; trial++) {
        int64_t rows = trial % 3 ? some_size() : 255 + random_below(600),
                cols = trial % 3 ? some_size() : random_below(9) + 1;
        if (trial % 5 == 0)
            rows = random_below(5) + 1, cols = 3000 + random_below(12000);
        if (rows * cols > 40000)
            rows = 40000 / cols;
        const int64_t x_row = cols + random_below(2) * 7, y_row = 1 + random_below(3), divisor = random_below(2) * rows;
        array x = random_array((rows - 1) * x_row + cols, 5), columns = random_array(cols, 1),
              old = copy_array(&columns);
        array sums = random_array((rows - 1) * y_row + 1, 1), maxima = random_array((rows - 1) * y_row + 1, 1);
        if (trial % 4 == 0)
            set(&x, random_below(x.n), NAN);
        const int accumulate = trial % 2;
        fnn_args down = {.pointer = {x.data}, .dim = {rows, cols, x_row, divisor, accumulate}};
        fnn_args along = {.pointer = {x.data}, .dim = {rows, cols, x_row, y_row, 0, divisor}};
        run(FNN_OP_sum_rows, &down, &columns, 1);
        run(FNN_OP_reduce_cols, &along, &sums, 1);
        along.dim[4] = 1;
        run(FNN_OP_reduce_cols, &along, &maxima, 1);
        const double d = divisor ? (double)divisor : 1;
        for (int64_t c = 0; c < cols; c++) {
            long double sum = 0, size = 0;
            for (int64_t r = 0; r < rows; r++)
                sum += get(&x, r * x_row + c), size += fabs(get(&x, r * x_row + c));
            const double want = (double)(sum / d + (accumulate ? get(&old, c) : 0)), got = get(&columns, c);
            CHECK(same(got, want) || fabs(got - want) <= 8 * eps * ((double)size / d + fabs(want)), "sum_rows %g %g",
                  got, want);
        }
        for (int64_t r = 0; r < rows; r++) {
            long double sum = 0, size = 0;
            double maximum = -INFINITY;
            for (int64_t c = 0; c < cols; c++) {
                const double v = get(&x, r * x_row + c);
                sum += v, size += fabs(v);
                maximum = v != v || maximum != maximum ? NAN : v > maximum ? v : maximum;
            }
            const double got = get(&sums, r * y_row), want = (double)(sum / d);
            CHECK(same(got, want) || fabs(got - want) <= 8 * eps * ((double)size / d + fabs(want)), "reduce sum %g %g",
                  got, want);
            CHECK(same(get(&maxima, r * y_row), maximum), "reduce max %g %g", get(&maxima, r * y_row), maximum);
        }
        free_array(&x), free_array(&columns), free_array(&old), free_array(&sums), free_array(&maxima);
    }
}

static double worst_softmax, worst_log, worst_back;
static void softmaxes(void) {
    const double eps = table->item_size == 4 ? 0x1p-23 : 0x1p-52;
    worst_softmax = worst_log = worst_back = 0;
    for (int trial = 0; trial < 40; trial++) {
        const int64_t cols = trial % 9 ? some_size() : 5000, rows = 1 + random_below(cols < 300 ? 20 : 3);
        const int64_t x_row = cols + random_below(2) * 3, n = (rows - 1) * x_row + cols;
        const double scale = (double[]){1, 40, 1e4, 1e30}[trial % 4];
        array x = random_array(n, scale), y = random_array(n, 1), l = random_array(n, 1), g = random_array(n, 1);
        array dx = random_array(n, 1), dl = random_array(n, 1);
        for (int64_t i = 0; i < n; i++)
            if (cols > 1 && i % x_row && random_below(10) == 0)
                set(&x, i, -INFINITY);
        fnn_args f = {.pointer = {x.data}, .dim = {rows, cols, x_row, x_row, 0}};
        run(FNN_OP_softmax, &f, &y, 1);
        f.dim[4] = 1;
        run(FNN_OP_softmax, &f, &l, 1);
        fnn_args b = {.pointer = {g.data, y.data}, .dim = {rows, cols, x_row, x_row, x_row, 0}};
        run(FNN_OP_softmax_backward, &b, &dx, 2);
        b.pointer[1] = l.data;
        b.dim[5] = 1;
        run(FNN_OP_softmax_backward, &b, &dl, 2);
        for (int64_t r = 0; r < rows; r++) {
            long double m = -INFINITY, s = 0, total = 0, dot = 0, gsum = 0, norm = 0, off = 0;
            for (int64_t c = 0; c < cols; c++)
                m = fmaxl(m, get(&x, r * x_row + c));
            for (int64_t c = 0; c < cols; c++)
                s += expl(get(&x, r * x_row + c) - m), gsum += get(&g, r * x_row + c);
            for (int64_t c = 0; c < cols; c++) {
                const int64_t i = r * x_row + c;
                const long double p = expl(get(&x, i) - m) / s, lp = get(&x, i) - m - logl(s);
                total += get(&y, i);
                dot += p * get(&g, i);
                if (p > 1e-30L)
                    worst_softmax = fmax(worst_softmax, (double)(fabsl(get(&y, i) - p) / p) / eps);
                else
                    CHECK(get(&y, i) < 1.1e-30, "softmax of a far logit");
                if (isinf(get(&x, i)))
                    CHECK(get(&y, i) == 0 && get(&l, i) == -INFINITY, "a masked logit");
                else
                    worst_log = fmax(worst_log, (double)(fabsl(get(&l, i) - lp) / fmaxl(1, fabsl(lp))) / eps);
            }
            CHECK(fabsl(total - 1) < 8 * eps, "softmax sums to %Lg", total);
            for (int64_t c = 0; c < cols; c++) {
                const int64_t i = r * x_row + c;
                const long double p = expl(get(&x, i) - m) / s, want = p * (get(&g, i) - dot);
                norm += p * p * (fabsl(get(&g, i)) + fabsl(dot)) * (fabsl(get(&g, i)) + fabsl(dot));
                off += (want - get(&dx, i)) * (want - get(&dx, i));
                const long double want_log = get(&g, i) - p * gsum;
                CHECK(fabsl(get(&dl, i) - want_log) <= 40 * eps * (1 + fabsl(gsum)), "log_softmax_backward");
            }
            if (norm > 1e-60L) /* else all of it underflows */
                worst_back = fmax(worst_back, (double)sqrtl(off / norm) / eps);
        }
        free_array(&x), free_array(&y), free_array(&l), free_array(&g), free_array(&dx), free_array(&dl);
    }
    CHECK(worst_softmax <= 10 && worst_log <= 8 && worst_back <= 16, "softmax errors %g %g %g eps", worst_softmax,
          worst_log, worst_back);
}

static void all_of(const fnn_table *t) {
    table = t;
    unary_values();
    unary();
    binary_and_where();
    fill_and_empty();
    copies();
    reductions();
    softmaxes();
    printf("%-7s %d bytes: %d checks so far; softmax %.1f eps, log-softmax %.1f, softmax backward %.1f\n", t->isa,
           t->item_size, checks, worst_softmax, worst_log, worst_back);
}

int main(void) { return on_every_table(all_of); }
