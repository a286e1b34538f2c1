/* cross_entropy_narrow.h: cross_entropy.h's formulas for at most FEW_CLASSES classes, VLEN rows at a time.
 *
 * A vector per row would be mostly empty, and a maximum and a sum within a vector cost more than the exponentials. Here
 * rows are transposed, lane i belongs to row i, and maxima and sums run over vectors: one division and one logarithm
 * serve VLEN rows. All arithmetic is in reals. A row's lane never meets another: its bits do not depend on its place.
 */
#include "move.h"

enum { FEW_CLASSES = 16 };

/* columns[cols, VLEN] = x[rows, cols] transposed; lanes of rows that are not there are anything. Rows pass through a
 * buffer [VLEN, FEW_CLASSES]: pieces of the last one would reach past the array. */
FNN_INLINE void narrow_load(int64_t rows, int64_t cols, const real *x, int64_t x_row, real *buffer, real *columns) {
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < cols; j += VLEN)
            v_store(buffer + r * FEW_CLASSES + j,
                    v_load_n(x + r * x_row + j, cols - j < VLEN ? (int)(cols - j) : VLEN));
    for (int64_t j = 0; j < cols; j += PIECE) {
        vec v[PIECE], turned[PIECE];
        for (int i = 0; i < PIECE; i++)
            v[i] = v_load_pieces(buffer + i * FEW_CLASSES + j, PIECE * FEW_CLASSES);
        copy_transpose(v, turned);
        for (int i = 0; i < PIECE; i++)
            v_store(columns + (j + i) * VLEN, turned[i]);
    }
}

/* The way back: y[rows, cols] = columns[cols, VLEN] transposed. */
FNN_INLINE void narrow_store(int64_t rows, int64_t cols, real *columns, real *y, int64_t y_row) {
    for (int64_t j = 0; j < cols; j += PIECE) {
        vec v[PIECE], turned[PIECE];
        for (int i = 0; i < PIECE; i++)
            v[i] = v_load(columns + (j + i) * VLEN);
        copy_transpose(v, turned);
        for (int i = 0; i < PIECE; i++)
            v_store(columns + (j + i) * VLEN, turned[i]);
    }
    for (int64_t r = 0; r < rows; r++) {
        const real *first = columns + (r % PIECE) * VLEN + r / PIECE * PIECE;
        for (int64_t j = 0; j < cols; j += VLEN) {
            const vec row = v_load_pieces(first + j * VLEN, PIECE * VLEN);
            part_store(y + r * y_row + j, row, cols - j < VLEN ? (int)(cols - j) : VLEN);
        }
    }
}

/* What a row of labels contributes, lane by lane. */
typedef struct narrow_labels {
    real label[VLEN], a[VLEN], sample_weight[VLEN], counts[VLEN];
} narrow_labels;

/* An ignored row counts 0; a label out of range, which the caller should have refused, makes its row NaN. */
static void narrow_read_labels(const fnn_cross_entropy *c, int64_t first, int64_t rows, narrow_labels *l) {
    const real *class_weight = c->class_weight, *sample_weight = c->sample_weight, keep = (real)(1 - c->smoothing);
    v_store(l->label, v_zero());
    v_store(l->a, v_set1(c->target ? 0 : keep));
    v_store(l->counts, v_set1(1));
    v_store(l->sample_weight, sample_weight ? v_load_n(sample_weight + first, (int)rows) : v_set1(1));
    for (int64_t r = 0; c->labels && r < rows; r++) {
        const int64_t label = c->labels[first + r];
        const int valid = label >= 0 && label < c->cols;
        l->label[r] = valid ? (real)label : 0;
        if (class_weight && valid)
            l->a[r] = keep * class_weight[label];
        if (!valid)
            l->a[r] = REAL_NAN;
        if (label == c->ignore_index)
            l->counts[r] = 0;
    }
}

/* x[cols, VLEN] becomes the gradient; t[cols, VLEN] are the targets or NULL. Returns the rows' losses. */
FNN_INLINE vec narrow_rows(const fnn_cross_entropy *c, const narrow_labels *l, real *x, const real *t) {
    const real *class_weight = c->class_weight;
    const real beta = (real)(t ? 1 : c->smoothing / (double)c->cols);
    const vec keep = v_set1((real)(1 - c->smoothing)), spread = v_set1((real)(c->smoothing / (double)c->cols));
    const int64_t cols = c->cols;
    vec maximum = v_set1(-REAL_INFINITY), at_label = v_zero(), sum = v_zero(), odd_sum = v_zero();
    vec linear = v_zero(), distance = v_zero();
    const vec label = v_load(l->label), a = v_load(l->a), counts = v_load(l->counts);
    for (int64_t j = 0; j < cols; j++) {
        const vec logit = v_load(x + j * VLEN);
        maximum = v_max(logit, maximum); /* the second operand for a NaN, which comes back through the sum */
        at_label = v_select(v_eq(label, v_set1((real)j)), logit, at_label);
    }
#define NARROW_TERM(j)                                                                                                 \
    v_mul(t ? v_fma(v_load(t + (j)*VLEN), keep, spread) : v_set1(1), v_set1(class_weight ? class_weight[j] : 1))
    for (int64_t j = 0; j < cols; j++) {
        const vec below = v_sub(v_load(x + j * VLEN), maximum), e = v_exp_nonpositive(below);
        const vec next = v_add(sum, e);
        sum = odd_sum;
        odd_sum = next;
        if (beta != 0) {
            const vec term = NARROW_TERM(j);
            linear = v_add(linear, term);
            distance = v_fnma(term, v_select(v_eq(term, v_zero()), v_zero(), below), distance); /* 0 * infinity = 0 */
        }
        v_store(x + j * VLEN, e);
    }
    sum = v_add(sum, odd_sum);
    const vec log_sum = v_log(sum), b = v_set1(beta), weight = v_load(l->sample_weight);
    const vec of_label = v_mul(a, v_add(v_sub(maximum, at_label), log_sum));
    vec loss = v_select(v_eq(a, v_zero()), v_zero(), of_label);
    if (beta != 0)
        loss = v_fma(b, v_fma(linear, log_sum, distance), loss);
    const vec scale = v_mul(weight, v_set1((real)c->scale)), p = v_div(v_mul(scale, v_fma(b, linear, a)), sum);
    const vec at = v_mul(scale, a), q = v_mul(scale, b);
    const vmask counted = v_ne(counts, v_zero());
    for (int64_t j = 0; c->dlogits && j < cols; j++) {
        vec gradient = v_mul(v_load(x + j * VLEN), p);
        if (beta != 0)
            gradient = v_fnma(NARROW_TERM(j), q, gradient);
        gradient = v_sub(gradient, v_select(v_eq(label, v_set1((real)j)), at, v_zero()));
        v_store(x + j * VLEN, v_select(counted, gradient, v_zero()));
    }
#undef NARROW_TERM
    return v_select(counted, v_mul(weight, loss), v_zero());
}

static double cross_entropy_narrow(const fnn_cross_entropy *c) {
    real x[FEW_CLASSES * VLEN] = {0}, t[FEW_CLASSES * VLEN], buffer[FEW_CLASSES * VLEN] = {0}, losses[VLEN];
    double total = 0;
    for (int64_t first = 0; first < c->rows; first += VLEN) {
        const int64_t rows = c->rows - first < VLEN ? c->rows - first : VLEN;
        narrow_labels labels;
        narrow_read_labels(c, first, rows, &labels);
        narrow_load(rows, c->cols, (const real *)c->logits + first * c->logits_row, c->logits_row, buffer, x);
        if (c->target)
            narrow_load(rows, c->cols, (const real *)c->target + first * c->target_row, c->target_row, buffer, t);
        if (!c->target && c->smoothing == 0)
            v_store(losses, narrow_rows(c, &labels, x, NULL));
        else
            v_store(losses, narrow_rows(c, &labels, x, c->target ? t : NULL));
        if (c->dlogits)
            narrow_store(rows, c->cols, x, (real *)c->dlogits + first * c->dlogits_row, c->dlogits_row);
        for (int64_t r = 0; r < rows; r++) {
            if (c->row_loss)
                ((real *)c->row_loss)[first + r] = losses[r];
            total += (double)losses[r];
        }
    }
    return total;
}
