/* cross_entropy.h: softmax cross-entropy of rows and its gradient, one exponential per logit.
 *
 * With m the row's maximum, s = sum exp(x_j - m) and -log p_j = (m - x_j) + log s, PyTorch's loss of a row is
 *   loss = a (-log p_y) + b sum_j l_j (-log p_j)
 *   labels         a = (1 - smoothing) w_y, b = smoothing / cols, l_j = w_j
 *   probabilities  a = 0, b = 1, l_j = w_j (t_j (1 - smoothing) + smoothing / cols)
 *   d loss / d x_j = p_j (a + b sum_k l_k) - b l_j - a [j == y]
 * with class weights w (1 if none). Every m - x_j is >= 0, so nothing cancels. Rows of sums are taken in vectors over
 * CROSS_ENTROPY_VECTORS of them and in double from there on. Exponentials are stored where the gradient will be, which
 * may be where the logits are. A maximum of +infinity or a row of -infinity gives NaN, as in PyTorch.
 */
#include "part.h"

enum { CROSS_ENTROPY_VECTORS = 16, CROSS_ENTROPY_SHORT = 64 };

/* l_j = (target_j * keep + spread) * class_weight_j, a missing array counting as 1 */
typedef struct linear_term {
    const real *target, *class_weight;
    real keep, spread;
} linear_term;

FNN_INLINE vec linear_part(const linear_term *l, int64_t j, int count) {
    vec value = v_set1(1);
    if (l->target)
        value = v_fma(part_load(l->target + j, count), v_set1(l->keep), v_set1(l->spread));
    if (l->class_weight)
        value = v_mul(value, part_load(l->class_weight + j, count));
    return part_or(value, 0, count);
}

static real row_maximum(int64_t n, const real *x) {
    vec maximum = v_set1(-REAL_INFINITY);
    /* v_max gives the second operand for a NaN: NaN logits are skipped here and come back through the sum. */
    FOR_PARTS(n, maximum = v_max(part_or(part_load(x + i, count), -REAL_INFINITY, count), maximum));
    return v_reduce_max(maximum);
}

typedef struct row_sums {
    double exponentials, linear, distance; /* sum exp(x_j - m), sum l_j, sum l_j (m - x_j) */
} row_sums;

/* e[n] = exp(x - m), unless e is NULL; e may be x. `whole`: e has room for whole vectors, which are stored and read
 * without a mask. The term is NULL if there is none. */
FNN_INLINE row_sums row_exponentials(int64_t n, const real *x, real *e, const int whole, real m,
                                     const linear_term *term) {
    const vec maximum = v_set1(m);
    row_sums sums = {0, 0, 0};
    for (int64_t start = 0; start < n; start += CROSS_ENTROPY_VECTORS * VLEN) {
        const int64_t left = n - start,
                      length = left < CROSS_ENTROPY_VECTORS * VLEN ? left : CROSS_ENTROPY_VECTORS * VLEN;
        vec exponentials = v_zero(), linear = v_zero(), distance = v_zero();
        FOR_PARTS(length, {
            const vec logit = part_or(part_load(x + start + i, count), -REAL_INFINITY, count);
            const vec value = v_exp(v_sub(logit, maximum));
            exponentials = v_add(exponentials, value);
            if (term) {
                const vec l = linear_part(term, start + i, count);
                linear = v_add(linear, l);
                const vec far =
                    v_select(v_eq(l, v_zero()), v_zero(), v_sub(maximum, logit)); /* 0 times infinity is 0 */
                distance = v_fma(l, part_or(far, 0, count), distance);
            }
            if (e)
                part_store(e + start + i, value, whole ? VLEN : count);
        });
        sums.exponentials += (double)v_reduce_add(exponentials);
        if (term) {
            sums.linear += (double)v_reduce_add(linear);
            sums.distance += (double)v_reduce_add(distance);
        }
    }
    return sums;
}

/* d[n] = e * p - l * q; d may be e */
FNN_INLINE void row_gradient(int64_t n, const real *e, const int whole, real *d, real p, real q,
                             const linear_term *term) {
    const vec vp = v_set1(p), vq = v_set1(q);
    FOR_PARTS(n, {
        vec value = v_mul(part_load(e + i, whole ? VLEN : count), vp);
        if (term)
            value = v_fnma(linear_part(term, i, count), vq, value);
        part_store(d + i, value, count);
    });
}

/* Natural logarithm of s >= 1 (or NaN), within 2 ULP: s = 2^k f with f in [sqrt(1/2), sqrt(2)), log f = 2 atanh(t) with
 * t = (f - 1) / (f + 1), whose series needs ten terms for t^2 < 0.0295. Not libm: its bits differ between systems. */
static double log_of_sum(double s) {
    const double log2_high = 0x1.62e42fefa3800p-1, log2_low = 0x1.ef35793c76730p-45;
    uint64_t bits;
    memcpy(&bits, &s, sizeof bits);
    int64_t k = (int64_t)(bits >> 52) - 1023;
    bits = (bits & 0xfffffffffffffu) | 0x3ff0000000000000u;
    double f, series = 0;
    memcpy(&f, &bits, sizeof f);
    if (f > 0x1.6a09e667f3bcdp+0) {
        f *= 0.5;
        k++;
    }
    const double t = (f - 1) / (f + 1), z = t * t;
#pragma GCC unroll 10
    for (int i = 10; i >= 1; i--)
        series = series * z + 2.0 / (2 * i + 1);
    const double value = (double)k * log2_high + (2 * t + (t * (z * series) + (double)k * log2_low));
    return s <= 0x1.fffffffffffffp1023 ? value : s;
}

static void row_fill(int64_t n, real *d, real value) {
    for (int64_t j = 0; j < n; j++)
        d[j] = value;
}

typedef struct row_loss {
    double a, b;                        /* factors of the label's term and of the linear term */
    double label_distance;              /* m - x_y */
    double linear, distance;            /* as in row_sums */
    double exponentials, sample_weight; /* weight 0: no loss at all */
} row_loss;

/* One row with a linear term or none. The exponentials of a short row (`whole`) stay in a buffer of whole vectors:
 * reading back what was just stored under a mask costs more than the rest. */
FNN_INLINE row_loss cross_entropy_row(const fnn_cross_entropy *c, int64_t row, int64_t label, double label_weight,
                                      double sample_weight, const linear_term *term, const int whole) {
    const int64_t n = c->cols;
    const real *x = (const real *)c->logits + row * c->logits_row;
    real *d = c->dlogits ? (real *)c->dlogits + row * c->dlogits_row : NULL;
    real buffer[CROSS_ENTROPY_SHORT], *e = d && whole ? buffer : d;
    const real m = row_maximum(n, x);
    row_loss loss = {0};
    loss.b = term == NULL ? 0 : term->target ? 1 : c->smoothing / (double)n;
    loss.sample_weight = sample_weight;
    if (label >= 0) { /* before the exponentials overwrite the logits */
        loss.a = (1 - c->smoothing) * label_weight;
        loss.label_distance = (double)m - (double)x[label];
    }
    const row_sums sums = row_exponentials(n, x, e, whole, m, term);
    loss.exponentials = sums.exponentials;
    loss.linear = sums.linear;
    loss.distance = sums.distance;
    if (d) {
        const double scale = c->scale * sample_weight;
        const double p = scale * (loss.a + loss.b * sums.linear) / sums.exponentials;
        const double at_label = label >= 0 ? (double)e[label] * p - scale * loss.a : 0;
        const double l_label = term && term->class_weight ? label_weight : 1;
        row_gradient(n, e, whole, d, (real)p, (real)(scale * loss.b), term);
        if (label >= 0)
            d[label] = (real)(term ? at_label - scale * loss.b * l_label : at_label);
    }
    return loss;
}

FNN_INLINE row_loss cross_entropy_length(const fnn_cross_entropy *c, int64_t row, int64_t label, double label_weight,
                                         double sample_weight, const linear_term *term) {
    if (c->cols <= CROSS_ENTROPY_SHORT)
        return cross_entropy_row(c, row, label, label_weight, sample_weight, term, 1);
    return cross_entropy_row(c, row, label, label_weight, sample_weight, term, 0);
}

static double row_loss_value(const row_loss *loss) {
    const double log_sum = log_of_sum(loss->exponentials);
    double value = 0;
    if (loss->a != 0 || loss->b == 0)
        value = loss->a * (loss->label_distance + log_sum);
    if (loss->b != 0)
        value += loss->b * (loss->distance + loss->linear * log_sum);
    return loss->sample_weight * value;
}

/* A row that has no softmax: an ignored label has neither loss nor gradient; a label out of range, which the caller
 * should have refused, gives NaN rather than touching other memory. */
static row_loss row_without_label(const fnn_cross_entropy *c, int64_t row, int ignored) {
    row_loss loss = {.exponentials = 1};
    if (!ignored)
        loss.a = loss.label_distance = (double)REAL_NAN, loss.sample_weight = 1;
    if (c->dlogits)
        row_fill(c->cols, (real *)c->dlogits + row * c->dlogits_row, ignored ? 0 : REAL_NAN);
    return loss;
}

static row_loss cross_entropy_any_row(const fnn_cross_entropy *c, int64_t row) {
    const real *class_weight = c->class_weight, *sample_weights = c->sample_weight;
    const double sample_weight = sample_weights ? (double)sample_weights[row] : 1;
    if (c->target) {
        const linear_term term = {(const real *)c->target + row * c->target_row, class_weight, (real)(1 - c->smoothing),
                                  (real)(c->smoothing / (double)c->cols)};
        return cross_entropy_length(c, row, -1, 0, sample_weight, &term);
    }
    const int64_t label = c->labels[row];
    if (label == c->ignore_index || label < 0 || label >= c->cols)
        return row_without_label(c, row, label == c->ignore_index);
    const double label_weight = class_weight ? (double)class_weight[label] : 1;
    if (c->smoothing == 0)
        return cross_entropy_length(c, row, label, label_weight, sample_weight, NULL);
    const linear_term term = {NULL, class_weight, 0, 0};
    return cross_entropy_length(c, row, label, label_weight, sample_weight, &term);
}

#include "cross_entropy_narrow.h"

/* The sum of the rows' losses, in the order of the rows. */
static double cross_entropy(const fnn_cross_entropy *c) {
    if (c->cols <= FEW_CLASSES)
        return cross_entropy_narrow(c);
    row_loss losses[FNN_CROSS_ENTROPY_ROWS];
    double total = 0;
    for (int64_t row = 0; row < c->rows; row++)
        losses[row] = cross_entropy_any_row(c, row);
    for (int64_t row = 0; row < c->rows; row++) { /* apart, so that the logarithms of several rows overlap */
        const double value = row_loss_value(&losses[row]);
        if (c->row_loss)
            ((real *)c->row_loss)[row] = (real)value;
        total += value;
    }
    return total;
}

/* The divisor of a mean: the sum over rows that are not ignored of sample weight * class weight of the label. */
static double cross_entropy_weight(const fnn_cross_entropy *c) {
    const real *class_weight = c->class_weight, *sample_weight = c->sample_weight;
    double total = 0;
    if (!sample_weight && !(c->labels && class_weight)) {
        int64_t ignored = 0;
        for (int64_t row = 0; c->labels && row < c->rows; row++)
            ignored += c->labels[row] == c->ignore_index;
        return (double)(c->rows - ignored);
    }
    for (int64_t row = 0; row < c->rows; row++) {
        const int64_t label = c->labels ? c->labels[row] : 0;
        double weight = sample_weight ? (double)sample_weight[row] : 1;
        if (c->labels && (label == c->ignore_index || label < 0 || label >= c->cols))
            continue;
        if (c->labels && class_weight)
            weight *= (double)class_weight[label];
        total += weight;
    }
    return total;
}
