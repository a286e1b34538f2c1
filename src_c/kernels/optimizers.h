/* optimizers.h: one update pass per row of optimizers.def, over n contiguous elements.
 *
 * PyTorch's forms, so that a step can be compared with it. In all of them
 *   g = clipped(scale * grad) + l1 sign(p) + weight_decay p         (decoupled: p (1 - lr weight_decay) instead)
 *   average += share (new p - average)                              if there is one
 *
 *   sgd       b = momentum b + (1 - dampening) g (first step: b = g); p -= lr b, or lr (g + momentum b) with nesterov
 *             classical form: b = momentum b - lr g; p += b, or momentum b - lr g; averaging: b = m b + (1 - m) g
 *   adagrad   s += g^2; p -= lr / divisor * g / (sqrt(s) + eps)
 *   adadelta  v = rho v + (1 - rho) g^2; d = sqrt(a + eps) / sqrt(v + eps) g; a = rho a + (1 - rho) d^2; p -= lr d
 *   rmsprop   v = alpha v + (1 - alpha) g^2; d = g / (sqrt(v) + eps), centred: sqrt(v - a^2) with a the average of g;
 *             p -= lr d, or with momentum b = momentum b + d; p -= lr b
 *   adam      m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2; amsgrad: x = max(x, v) takes the place of v;
 *             p -= lr / correction1 * m / (sqrt(v) / root2 + eps)
 *   nadam     p -= lr (share_average m + share_gradient g) / (sqrt(v) / root2 + eps)
 *   lars      b = momentum b + lr ratio g; p -= b
 *   lamb      p -= lr ratio (m / correction1 / (sqrt(v) / root2 + eps) + weight_decay p)
 *
 * root2 = sqrt(1 - beta2^t) moves out of the quotient: m / (sqrt(v) / root2 + eps) = root2 m / (sqrt(v) + root2 eps),
 * which saves a rounding; Adam's update is within 4 ulp. Scalars are combined in double and rounded once. Where a
 * denominator is exactly 0 (eps = 0 and v = 0) the element stays where it is: this keeps the padding of stored weights
 * 0, and is the one difference from PyTorch (NaN). Centred RMSProp takes a variance that rounding has made negative
 * as 0.
 */
#include "../simd/vec_root.h"
#include "part.h"
#include "squares.h"

/* How much of what all updates share is wanted: nothing, decoupled decay, a scale and both decays, all. A constant in
 * each loop: in cache, every multiplication counts. None of them gives other bits than the next one. */
enum { UPDATE_PLAIN, UPDATE_SHRUNK, UPDATE_DECAYED, UPDATE_FULL };

typedef struct update_arrays {
    real *p;
    const real *grad;
    real *s0, *s1, *s2, *average;
    real scale, clip, l1, weight_decay, shrink, share, before;
} update_arrays;

/* A gradient whose norm leaves the range of a real is clipped by a scale that would be denormal, and flushed to 0: then
 * it is made small by a power of two before. Else 1. */
FNN_INLINE double update_before(const fnn_update *u) {
    const double least = sizeof(real) == 4 ? 0x1p-100 : 0x1p-900, size = u->scale < 0 ? -u->scale : u->scale;
    return size > 0 && size < least ? least : 1;
}

static update_arrays update_arrays_of(const fnn_update *u, int decoupled) {
    const double before = update_before(u);
    return (update_arrays){u->param,
                           u->grad,
                           u->s0,
                           u->s1,
                           u->s2,
                           u->average,
                           (real)(u->scale / before),
                           (real)u->clip,
                           (real)u->l1,
                           (real)(decoupled ? 0 : u->weight_decay),
                           (real)(decoupled ? 1 - u->h[0] * u->weight_decay : 1),
                           (real)u->share,
                           (real)before};
}

/* A clip that rounds to infinity clips nothing. */
static int update_level(const update_arrays *a) {
    if (a->clip < REAL_INFINITY || a->l1 != 0 || a->average || a->before != 1)
        return UPDATE_FULL;
    if (a->scale != 1 || a->weight_decay != 0)
        return UPDATE_DECAYED;
    return a->shrink != 1 ? UPDATE_SHRUNK : UPDATE_PLAIN;
}

FNN_INLINE vec update_gradient(const update_arrays *a, vec p, int64_t i, int count, int level) {
    vec g = part_load(a->grad + i, count);
    if (level < UPDATE_DECAYED)
        return g;
    if (level == UPDATE_FULL)
        g = v_mul(v_set1(a->before), g);
    g = v_mul(v_set1(a->scale), g);
    if (level == UPDATE_FULL) {
        g = v_max(v_set1(-a->clip), v_min(v_set1(a->clip), g)); /* NaN stays */
        g = v_add(g, v_select(v_eq(p, v_zero()), v_zero(), v_copysign(v_set1(a->l1), p)));
    }
    return v_fma(v_set1(a->weight_decay), p, g);
}

/* p = shrink p - rate d, and the average */
FNN_INLINE void update_store(const update_arrays *a, vec p, real rate, vec d, int64_t i, int count, int level) {
    p = v_fnma(v_set1(rate), d, level == UPDATE_PLAIN ? p : v_mul(v_set1(a->shrink), p));
    part_store(a->p + i, p, count);
    if (level == UPDATE_FULL && a->average) {
        const vec average = part_load(a->average + i, count);
        part_store(a->average + i, v_fma(v_set1(a->share), v_sub(p, average), average), count);
    }
}

/* Runs part(&u, &a, i, count, level) over all elements, in whole vectors of the parameter: the arrays of a step mostly
 * lie alike. */
#define FOR_UPDATE_OF(n, part, level) FOR_PARTS_AFTER(part_head(a.p, 0, n), n, part(&u, &a, i, count, level))
#define FOR_UPDATE(n, part)                                                                                            \
    do {                                                                                                               \
        const int level = update_level(&a);                                                                            \
        if (level == UPDATE_PLAIN)                                                                                     \
            FOR_UPDATE_OF(n, part, UPDATE_PLAIN)                                                                       \
        else if (level == UPDATE_SHRUNK)                                                                               \
            FOR_UPDATE_OF(n, part, UPDATE_SHRUNK)                                                                      \
        else if (level == UPDATE_DECAYED)                                                                              \
            FOR_UPDATE_OF(n, part, UPDATE_DECAYED)                                                                     \
        else                                                                                                           \
            FOR_UPDATE_OF(n, part, UPDATE_FULL)                                                                        \
    } while (0)

/* A denominator sqrt(v) + eps, twice as large: the rates beside it are doubled. */
typedef struct update_root {
    real twice_eps; /* normal: the denominator is never 0 */
    int guarded;    /* eps was not: where v is 0 the quotient is 0 */
} update_root;

static update_root update_root_of(double eps) {
    const real twice = (real)(2 * eps);
    const int guarded = !(twice >= REAL_MIN_NORMAL);
    return (update_root){guarded ? REAL_MIN_NORMAL : twice, guarded};
}

/* a / (2 sqrt(v) + 2 eps) */
FNN_INLINE vec update_quotient(const update_root *root, vec a, vec v) {
    const vec q = v_div(a, v_twice_root(v, v_set1(root->twice_eps)));
    return root->guarded ? v_select(v_eq(v, v_zero()), v_zero(), q) : q;
}

/* keep x + fresh y */
FNN_INLINE vec decayed(real keep, vec x, real fresh, vec y) { return v_fma(v_set1(fresh), y, v_mul(v_set1(keep), x)); }
/* The same with keep = 1 - fresh: additions have ports of their own. Where most of x goes, y - x would cancel badly. */
FNN_INLINE vec averaged(real keep, vec x, real fresh, vec y) {
    return fresh <= REAL(0.5) ? v_fma(v_set1(fresh), v_sub(y, x), x) : decayed(keep, x, fresh, y);
}
FNN_INLINE vec decayed_square(real keep, vec x, real fresh, vec y) {
    return v_fma(v_mul(v_set1(fresh), y), y, v_mul(v_set1(keep), x));
}

typedef struct update_sgd {
    real momentum, fresh, direct, rate; /* b = momentum b + fresh g; p -= rate (nesterov ? direct g + momentum b : b) */
    int nesterov, first, buffered;
} update_sgd;

FNN_INLINE void update_sgd_part(const update_sgd *u, const update_arrays *a, int64_t i, int count, int level) {
    const vec p = part_load(a->p + i, count);
    vec g = update_gradient(a, p, i, count, level);
    if (u->buffered) {
        vec b = v_mul(v_set1(u->fresh), g);
        if (!u->first)
            b = v_fma(v_set1(u->momentum), part_load(a->s0 + i, count), b);
        part_store(a->s0 + i, b, count);
        g = u->nesterov ? v_fma(v_set1(u->momentum), b, v_mul(v_set1(u->direct), g)) : b;
    }
    update_store(a, p, u->rate, g, i, count, level);
}

static void optimizer_sgd(int64_t n, const fnn_update *o) {
    const double lr = o->h[0], momentum = o->h[1], dampening = o->h[2];
    const int form = (int)o->h[4], first = o->h[5] != 0;
    const int buffered = o->s0 && momentum != 0; /* else the buffer is neither needed nor touched */
    const update_arrays a = update_arrays_of(o, o->decoupled);
    update_sgd u = {(real)momentum, (real)(first ? 1 : 1 - dampening), 1, (real)lr, o->h[3] != 0, first, buffered};
    if (form == FNN_SGD_CLASSICAL && buffered)
        u.fresh = u.direct = (real)-lr, u.rate = -1;
    if (form == FNN_SGD_AVERAGING)
        u.fresh = (real)(1 - momentum);
    FOR_UPDATE(n, update_sgd_part);
}

typedef struct update_adagrad {
    real rate;
    update_root root;
} update_adagrad;

FNN_INLINE void update_adagrad_part(const update_adagrad *u, const update_arrays *a, int64_t i, int count, int level) {
    const vec p = part_load(a->p + i, count), g = update_gradient(a, p, i, count, level);
    const vec sum = v_fma(g, g, part_load(a->s0 + i, count));
    part_store(a->s0 + i, sum, count);
    update_store(a, p, u->rate, update_quotient(&u->root, g, sum), i, count, level);
}

static void optimizer_adagrad(int64_t n, const fnn_update *o) {
    const update_arrays a = update_arrays_of(o, o->decoupled);
    const update_adagrad u = {(real)(2 * o->h[0] / o->h[2]), update_root_of(o->h[1])};
    FOR_UPDATE(n, update_adagrad_part);
}

/* One root and one division: d = sqrt((a + eps) / (v + eps)) g. The quotient is taken 2^40 times as large, lest it
 * underflow for large gradients, and d stays as large as that makes it. */
#define ADADELTA_RANGE 0x1p40
#define ADADELTA_SCALE 0x1p-21 /* d of v_twice_root(quotient) g */

typedef struct update_adadelta {
    real rate, rho, fresh, fresh_delta, eps, eps_scaled;
} update_adadelta;

FNN_INLINE void update_adadelta_part(const update_adadelta *u, const update_arrays *a, int64_t i, int count,
                                     int level) {
    const vec p = part_load(a->p + i, count), g = update_gradient(a, p, i, count, level);
    const vec v = decayed_square(u->rho, part_load(a->s0 + i, count), u->fresh, g);
    const vec sum = part_load(a->s1 + i, count);
    const vec above = v_fma(v_set1((real)ADADELTA_RANGE), sum, v_set1(u->eps_scaled));
    const vec below = v_max(v_set1(REAL_MIN_NORMAL), v_add(v, v_set1(u->eps))); /* 0 only if eps is */
    const vec d = v_mul(v_twice_root(v_div(above, below), v_zero()), g);
    part_store(a->s0 + i, v, count);
    part_store(a->s1 + i, decayed_square(u->rho, sum, u->fresh_delta, d), count);
    update_store(a, p, u->rate, d, i, count, level);
}

static void optimizer_adadelta(int64_t n, const fnn_update *o) {
    const update_arrays a = update_arrays_of(o, o->decoupled);
    const double fresh = 1 - o->h[1], scale = ADADELTA_SCALE;
    const update_adadelta u = {(real)(o->h[0] * scale),       (real)o->h[1], (real)fresh,
                               (real)(fresh * scale * scale), (real)o->h[2], (real)(o->h[2] * ADADELTA_RANGE)};
    FOR_UPDATE(n, update_adadelta_part);
}

typedef struct update_rmsprop {
    real rate, alpha, fresh, momentum;
    update_root root;
} update_rmsprop;

FNN_INLINE void update_rmsprop_part(const update_rmsprop *u, const update_arrays *a, int64_t i, int count, int level) {
    const vec p = part_load(a->p + i, count), g = update_gradient(a, p, i, count, level);
    vec v = decayed_square(u->alpha, part_load(a->s0 + i, count), u->fresh, g);
    part_store(a->s0 + i, v, count);
    if (a->s1) {
        const vec mean = averaged(u->alpha, part_load(a->s1 + i, count), u->fresh, g);
        part_store(a->s1 + i, mean, count);
        v = v_max(v_zero(), v_fnma(mean, mean, v));
    }
    vec d = update_quotient(&u->root, g, v);
    if (a->s2) {
        d = v_fma(v_set1(u->momentum), part_load(a->s2 + i, count), v_add(d, d));
        part_store(a->s2 + i, d, count);
    }
    update_store(a, p, u->rate, d, i, count, level);
}

static void optimizer_rmsprop(int64_t n, const fnn_update *o) {
    const update_arrays a = update_arrays_of(o, o->decoupled);
    const real rate = (real)(o->s2 ? o->h[0] : 2 * o->h[0]);
    const update_rmsprop u = {rate, (real)o->h[1], (real)(1 - o->h[1]), (real)o->h[3], update_root_of(o->h[2])};
    FOR_UPDATE(n, update_rmsprop_part);
}

/* Adam, NAdam and LAMB: the two moments */
typedef struct update_moments {
    real beta1, fresh1, beta2, fresh2;
    update_root root; /* sqrt(v) + root2 eps */
    real rate;        /* of m over that; LAMB: in its u */
    real direct;      /* NAdam: of g over that, `shared`: in units of the rate of m */
    int shared;
    real eps_inside, decay, ratio; /* LAMB: under the root; weight decay; lr * ratio */
} update_moments;

static update_moments update_moments_of(const double *h, double root2) {
    return (update_moments){.beta1 = (real)h[1],
                            .fresh1 = (real)(1 - h[1]),
                            .beta2 = (real)h[2],
                            .fresh2 = (real)(1 - h[2]),
                            .root = update_root_of(h[3] * root2)};
}

FNN_INLINE void update_adam_part(const update_moments *u, const update_arrays *a, int64_t i, int count, int level) {
    const vec p = part_load(a->p + i, count), g = update_gradient(a, p, i, count, level);
    const vec m = averaged(u->beta1, part_load(a->s0 + i, count), u->fresh1, g);
    vec v = decayed_square(u->beta2, part_load(a->s1 + i, count), u->fresh2, g);
    part_store(a->s0 + i, m, count);
    part_store(a->s1 + i, v, count);
    if (a->s2) {
        v = v_max(part_load(a->s2 + i, count), v);
        part_store(a->s2 + i, v, count);
    }
    update_store(a, p, u->rate, update_quotient(&u->root, m, v), i, count, level);
}

static void update_adam(int64_t n, const fnn_update *o, int decoupled) {
    const update_arrays a = update_arrays_of(o, decoupled);
    update_moments u = update_moments_of(o->h, o->h[5]);
    u.rate = (real)(2 * o->h[0] * o->h[5] / o->h[4]);
    FOR_UPDATE(n, update_adam_part);
}

static void optimizer_adam(int64_t n, const fnn_update *o) { update_adam(n, o, o->decoupled); }
static void optimizer_adamw(int64_t n, const fnn_update *o) { update_adam(n, o, 1); }

FNN_INLINE void update_nadam_part(const update_moments *u, const update_arrays *a, int64_t i, int count, int level) {
    const vec p = part_load(a->p + i, count), g = update_gradient(a, p, i, count, level);
    const vec m = averaged(u->beta1, part_load(a->s0 + i, count), u->fresh1, g);
    const vec v = decayed_square(u->beta2, part_load(a->s1 + i, count), u->fresh2, g);
    part_store(a->s0 + i, m, count);
    part_store(a->s1 + i, v, count);
    const vec mixed = u->shared ? v_fma(v_set1(u->direct), g, m) : decayed(u->direct, g, u->rate, m);
    update_store(a, p, u->shared ? u->rate : 2, update_quotient(&u->root, mixed, v), i, count, level);
}

static void optimizer_nadam(int64_t n, const fnn_update *o) {
    const update_arrays a = update_arrays_of(o, o->decoupled);
    update_moments u = update_moments_of(o->h, o->h[4]);
    const double rate = o->h[0] * o->h[4];
    u.shared = o->h[5] > 1e-3 * o->h[6]; /* without momentum the average has no share */
    u.rate = (real)(rate * o->h[5] * (u.shared ? 2 : 1));
    u.direct = (real)(u.shared ? o->h[6] / o->h[5] : rate * o->h[6]);
    FOR_UPDATE(n, update_nadam_part);
}

/* Runs part(&u, &a, i, count, level, &p) over all elements of a block and adds up the squares of p and of its result.
 */
#define FOR_NORMS(n, part, sums)                                                                                       \
    do {                                                                                                               \
        const int level = update_level(&a);                                                                            \
        if (level == UPDATE_PLAIN)                                                                                     \
            FOR_NORMS_OF(n, part, sums, UPDATE_PLAIN);                                                                 \
        else                                                                                                           \
            FOR_NORMS_OF(n, part, sums, UPDATE_FULL);                                                                  \
    } while (0)
#define FOR_NORMS_OF(n, part, sums, level)                                                                             \
    do {                                                                                                               \
        vsquares weights = vsquares_zero(), others = vsquares_zero();                                                  \
        FOR_SQUARES(n, {                                                                                               \
            vec p;                                                                                                     \
            const vec other = part(&u, &a, i, count, level, &p);                                                       \
            vsquares_add(&weights, place, p);                                                                          \
            vsquares_add(&others, place, other);                                                                       \
        });                                                                                                            \
        (sums)[0] = vsquares_total(&weights);                                                                          \
        (sums)[1] = vsquares_total(&others);                                                                           \
    } while (0)

/* sum of the squares of x[n], each clipped to [-clip, clip] */
static double sum_squares(int64_t n, const void *x, double clip) {
    const real *from = x;
    const vec high = v_set1((real)clip), low = v_set1((real)-clip);
    vsquares sum = vsquares_zero();
    FOR_SQUARES(n, vsquares_add(&sum, place, v_max(low, v_min(high, part_load(from + i, count)))));
    return vsquares_total(&sum);
}

typedef struct update_lars {
    real momentum, step; /* step = lr * ratio */
    int first;
} update_lars;

FNN_INLINE vec norms_lars_part(const update_lars *u, const update_arrays *a, int64_t i, int count, int level, vec *p) {
    (void)u;
    *p = part_load(a->p + i, count);
    return update_gradient(a, *p, i, count, level);
}

/* ||p||^2 and ||g||^2, g without its weight decay */
static void norms_lars(int64_t n, const fnn_update *o, double *sums) {
    update_arrays a = update_arrays_of(o, 0);
    const update_lars u = {0};
    a.weight_decay = 0;
    FOR_NORMS(n, norms_lars_part, sums);
}

static double ratio_lars(const fnn_update *o, const double *sums) {
    const double p = __builtin_sqrt(sums[0]), g = __builtin_sqrt(sums[1]);
    return p == 0 || g == 0 ? 1 : o->h[2] * p / (g + o->weight_decay * p + o->h[3]);
}

FNN_INLINE void update_lars_part(const update_lars *u, const update_arrays *a, int64_t i, int count, int level) {
    const vec p = part_load(a->p + i, count);
    vec b = v_mul(v_set1(u->step), update_gradient(a, p, i, count, level));
    if (!u->first)
        b = v_fma(v_set1(u->momentum), part_load(a->s0 + i, count), b);
    part_store(a->s0 + i, b, count);
    update_store(a, p, 1, b, i, count, level);
}

static void optimizer_lars(int64_t n, const fnn_update *o) {
    const update_arrays a = update_arrays_of(o, 0);
    const update_lars u = {(real)o->h[1], (real)(o->h[0] * o->ratio), o->h[4] != 0};
    FOR_UPDATE(n, update_lars_part);
}

static update_moments update_lamb_of(const fnn_update *o) {
    update_moments u = update_moments_of(o->h, o->h[5]);
    u.rate = (real)(2 * o->h[5] / o->h[4]);
    u.decay = (real)o->weight_decay;
    u.ratio = (real)(o->h[0] * o->ratio);
    if (o->h[6] != 0) {
        u.eps_inside = (real)(o->h[3] * o->h[5] * o->h[5]);
        u.root = update_root_of(0);
    }
    return u;
}

/* u of LAMB, from the new moments */
FNN_INLINE vec lamb_direction(const update_moments *u, vec p, vec m, vec v) {
    const vec q = update_quotient(&u->root, m, v_add(v, v_set1(u->eps_inside)));
    return v_fma(v_set1(u->decay), p, v_mul(v_set1(u->rate), q));
}

/* Writes the new moments. */
FNN_INLINE vec norms_lamb_part(const update_moments *u, const update_arrays *a, int64_t i, int count, int level,
                               vec *p) {
    *p = part_load(a->p + i, count);
    const vec g = update_gradient(a, *p, i, count, level);
    const vec m = averaged(u->beta1, part_load(a->s0 + i, count), u->fresh1, g);
    const vec v = decayed_square(u->beta2, part_load(a->s1 + i, count), u->fresh2, g);
    part_store(a->s0 + i, m, count);
    part_store(a->s1 + i, v, count);
    return lamb_direction(u, *p, m, v);
}

/* ||p||^2 and ||u||^2 */
static void norms_lamb(int64_t n, const fnn_update *o, double *sums) {
    update_arrays a = update_arrays_of(o, 0);
    const update_moments u = update_lamb_of(o);
    a.weight_decay = 0;
    FOR_NORMS(n, norms_lamb_part, sums);
}

static double ratio_lamb(const fnn_update *o, const double *sums) {
    const double p = __builtin_sqrt(sums[0]), u = __builtin_sqrt(sums[1]);
    const double ratio = p == 0 || u == 0 ? 1 : p / u;
    return ratio > o->h[7] ? o->h[7] : ratio;
}

FNN_INLINE void update_lamb_part(const update_moments *u, const update_arrays *a, int64_t i, int count, int level) {
    const vec p = part_load(a->p + i, count);
    const vec d = lamb_direction(u, p, part_load(a->s0 + i, count), part_load(a->s1 + i, count));
    update_store(a, p, u->ratio, d, i, count, level);
}

static void optimizer_lamb(int64_t n, const fnn_update *o) {
    const update_arrays a = update_arrays_of(o, 0);
    const update_moments u = update_lamb_of(o);
    FOR_UPDATE(n, update_lamb_part);
}

/* Each of cols <= FNN_MAX_NORM_COLS columns of p[rows, cols] that is longer than `limit` is shortened to it. A column
 * is its own sum in double, row by row: the vector width does not matter. */
static void max_norm(int64_t rows, int64_t cols, void *param, int64_t p_row, double limit) {
    double factor[FNN_MAX_NORM_COLS];
    int shortened = 0;
    real *p = param;
    for (int64_t j = 0; j < cols; j++)
        factor[j] = 0;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < cols; j++)
            factor[j] += (double)p[r * p_row + j] * (double)p[r * p_row + j];
    for (int64_t j = 0; j < cols; j++) {
        double norm = __builtin_sqrt(factor[j]), unit = 1;
        if (!(norm < __builtin_inf())) { /* squares beyond the range */
            double sum = 0;
            unit = 0x1p-600;
            for (int64_t r = 0; r < rows; r++)
                sum += ((double)p[r * p_row + j] * unit) * ((double)p[r * p_row + j] * unit);
            norm = __builtin_sqrt(sum);
        }
        factor[j] = norm > limit * unit ? limit * unit / norm : 1;
        shortened |= factor[j] != 1;
    }
    for (int64_t r = 0; shortened && r < rows; r++)
        for (int64_t j = 0; j < cols; j++)
            p[r * p_row + j] = (real)((double)p[r * p_row + j] * factor[j]);
}
