/* optimizers.h: one update pass per row of optimizers.def, over n contiguous elements.
 *
 * PyTorch's forms, so that a step can be compared with it; g includes the coupled weight decay, g += weight_decay * p:
 *   sgd      b = momentum b + (1 - dampening) g (first step: b = g); p -= lr b, or lr (g + momentum b) with nesterov
 *   rmsprop  v = alpha v + (1 - alpha) g^2; p -= lr g / (sqrt(v) + eps)
 *   adam     m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2;
 *            p -= lr / correction1 * m / (sqrt(v) / sqrt(correction2) + eps)
 * Scalars are combined in double and rounded once. Where a denominator is exactly 0 (eps = 0 and v = 0) the element
 * stays where it is: this keeps the padding of stored weights 0, and is the one difference from PyTorch (NaN).
 */
#include "part.h"

typedef struct update_sgd {
    real lr, momentum, fresh, weight_decay; /* fresh = 1 - dampening */
    int nesterov, first;
} update_sgd;

FNN_INLINE void update_sgd_part(const update_sgd *u, real *p, const real *grad, real *buffer, int count) {
    const vec param = part_load(p, count);
    vec g = v_fma(v_set1(u->weight_decay), param, part_load(grad, count));
    if (buffer) {
        vec b = g;
        if (!u->first)
            b = v_fma(v_set1(u->momentum), part_load(buffer, count), v_mul(v_set1(u->fresh), g));
        part_store(buffer, b, count);
        g = u->nesterov ? v_fma(v_set1(u->momentum), b, g) : b;
    }
    part_store(p, v_fnma(v_set1(u->lr), g, param), count);
}

static void optimizer_sgd(int64_t n, void *param, const void *grad, void *s0, void *s1, void *s2, const double *h) {
    real *p = param, *buffer = h[1] != 0 ? s0 : NULL; /* no momentum: the buffer is neither needed nor touched */
    const real *g = grad;
    const update_sgd u = {(real)h[0], (real)h[1], (real)(1 - h[2]), (real)h[3], h[4] != 0, h[5] != 0};
    FOR_PARTS(n, update_sgd_part(&u, p + i, g + i, buffer ? buffer + i : NULL, count));
    (void)s1;
    (void)s2;
}

/* a / b, and 0 where b is 0 */
FNN_INLINE vec quotient_or_zero(vec a, vec b) { return v_select(v_eq(b, v_zero()), v_zero(), v_div(a, b)); }

typedef struct update_rmsprop {
    real lr, alpha, fresh, eps, weight_decay; /* fresh = 1 - alpha */
} update_rmsprop;

FNN_INLINE void update_rmsprop_part(const update_rmsprop *u, real *p, const real *grad, real *square, int count) {
    const vec param = part_load(p, count);
    const vec g = v_fma(v_set1(u->weight_decay), param, part_load(grad, count));
    const vec v = v_fma(v_mul(v_set1(u->fresh), g), g, v_mul(v_set1(u->alpha), part_load(square, count)));
    part_store(square, v, count);
    const vec denominator = v_add(v_sqrt(v), v_set1(u->eps));
    part_store(p, v_fnma(v_set1(u->lr), quotient_or_zero(g, denominator), param), count);
}

static void optimizer_rmsprop(int64_t n, void *param, const void *grad, void *s0, void *s1, void *s2, const double *h) {
    real *p = param, *square = s0;
    const real *g = grad;
    const update_rmsprop u = {(real)h[0], (real)h[1], (real)(1 - h[1]), (real)h[2], (real)h[3]};
    FOR_PARTS(n, update_rmsprop_part(&u, p + i, g + i, square + i, count));
    (void)s1;
    (void)s2;
}

typedef struct update_adam {
    real beta1, fresh1, beta2, fresh2;  /* fresh = 1 - beta */
    real step, root, eps, weight_decay; /* step = lr / correction1, root = 1 / sqrt(correction2) */
} update_adam;

FNN_INLINE void update_adam_part(const update_adam *u, real *p, const real *grad, real *first, real *second,
                                 int count) {
    const vec param = part_load(p, count);
    const vec g = v_fma(v_set1(u->weight_decay), param, part_load(grad, count));
    const vec m = v_fma(v_set1(u->fresh1), g, v_mul(v_set1(u->beta1), part_load(first, count)));
    const vec v = v_fma(v_mul(v_set1(u->fresh2), g), g, v_mul(v_set1(u->beta2), part_load(second, count)));
    part_store(first, m, count);
    part_store(second, v, count);
    const vec denominator = v_fma(v_sqrt(v), v_set1(u->root), v_set1(u->eps));
    part_store(p, v_fnma(v_set1(u->step), quotient_or_zero(m, denominator), param), count);
}

static void optimizer_adam(int64_t n, void *param, const void *grad, void *s0, void *s1, void *s2, const double *h) {
    real *p = param, *first = s0, *second = s1;
    const real *g = grad;
    const update_adam u = {(real)h[1],       (real)(1 - h[1]),    (real)h[2],
                           (real)(1 - h[2]), (real)(h[0] / h[5]), (real)(1 / __builtin_sqrt(h[6])),
                           (real)h[3],       (real)h[4]};
    FOR_PARTS(n, update_adam_part(&u, p + i, g + i, first + i, second + i, count));
    (void)s2;
}
