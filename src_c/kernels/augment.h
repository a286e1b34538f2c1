/* augment.h: resampling of images through an affine map and a field of displacements.
 *
 * Pixel (r, c) of the result is the image at the place matrix (r, c, 1) + field[r, c]; where the field is turned,
 * matrix (r + dr, c + dc, 1). Bilinear: the four pixels around, weighted by distance; nearest: the one at
 * floor(place + 1/2). Pixels outside count as `fill`. A place that is a pixel's own gives that pixel's bits, whatever
 * lies beside it (NaN, infinity).
 *
 * The result is cut into squares of VLEN x VLEN pixels. The first place of each is found in double and split into an
 * integer and a share; the others differ from it by little more than integers, so that their shares keep a real's
 * precision in images of any size. The pixels around are then looked up: where the image has a border
 * (fnn_remap.border) in rows of it held in registers, two vectors of each row that the places touch; else one by one.
 */
#include "part.h"

enum { AUGMENT_ROWS = 12 };   /* looking up more rows than these costs more than reading pixel by pixel */
#define AUGMENT_SLACK 1e-3    /* pixels that roundings may move a place, at most */
#define AUGMENT_STEP 1024.0   /* sums of integers below these are exact; a magnification below 1 / 1024, and what */
#define AUGMENT_FAR 8000000.0 /* lies farther outside, is left to doubles, place by place */

static const real augment_lane[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

/* floor, for |x| < 2^62 */
FNN_INLINE double augment_floor(double x) {
    const double whole = (double)(int64_t)x;
    return whole - (x < whole);
}

FNN_INLINE int64_t augment_least(int64_t a, int64_t b) { return a < b ? a : b; }

FNN_INLINE double augment_clamp(double x, double low, double high) { return x > low ? x < high ? x : high : low; }

/* Places of a square along one axis of the image. */
typedef struct augment_axis {
    const double *matrix; /* place = matrix[0] * row + matrix[1] * column + matrix[2] */
    double half;          /* added before the floor: 1/2 for the nearest pixel */
    double slack;         /* taken off the first place of a vector: what roundings may move it */
    int64_t size;
    int64_t span;                  /* pixels that a vector of places may touch */
    int exact;                     /* steps are small enough to be split */
    vec by_lane, rest;             /* matrix[1] * lane: an integer, and what is left of it; */
    vec by_row, row_rest;          /* matrix[0] * lane likewise */
    real whole[VLEN], share[VLEN]; /* of the first place in each row of the square */
    real low[VLEN];                /* the first pixel that the row touches */
} augment_axis;

FNN_INLINE void augment_split(double step, vec *whole, vec *rest) {
    const double turn = augment_floor(step + 0.5);
    const vec lane = v_load(augment_lane);
    *whole = v_mul(lane, v_set1((real)turn));
    *rest = v_mul(lane, v_set1((real)(step - turn)));
}

static void augment_begin(augment_axis *axis, const double *matrix, int64_t size, int nearest) {
    const double step = matrix[1], length = step < 0 ? -step : step;
    axis->matrix = matrix;
    axis->size = size;
    axis->half = nearest ? 0.5 : 0;
    axis->exact = length < AUGMENT_STEP && matrix[0] > -AUGMENT_STEP && matrix[0] < AUGMENT_STEP;
    axis->span = size + 2;
    if (!axis->exact)
        return;
    augment_split(step, &axis->by_lane, &axis->rest);
    augment_split(matrix[0], &axis->by_row, &axis->row_rest);
    axis->slack = step == 0 ? 0 : AUGMENT_SLACK; /* or all places of a row are one, without a doubt */
    axis->span =
        augment_least(axis->span, (step == 0 ? 1 : (int64_t)(length * (VLEN - 1) + 2 * AUGMENT_SLACK) + 2) + !nearest);
}

/* Set the axis to the square that begins at (row, col); returns 0 if its places must be found one by one. */
static int augment_square(augment_axis *axis, int64_t row, int64_t col) {
    const double *a = axis->matrix, start = a[0] * (double)row + a[1] * (double)col + a[2];
    if (!axis->exact || !(start > -AUGMENT_FAR && start < AUGMENT_FAR))
        return 0;
    const double base = augment_floor(start), back = a[1] < 0 ? a[1] * (VLEN - 1) : 0;
    const vec whole = v_add(axis->by_row, v_set1((real)base));
    const vec share = v_add(axis->row_rest, v_set1((real)(start - base + axis->half)));
    const vec low = v_add(whole, v_floor(v_add(share, v_set1((real)(back - axis->slack)))));
    v_store(axis->whole, whole);
    v_store(axis->share, share);
    v_store(axis->low, v_max(v_min(low, v_set1((real)(axis->size + 1 - axis->span))), v_set1(-1)));
    return 1;
}

/* Places of a vector of pixels: pixel `whole` and the next, in shares 1 - share and share. */
typedef struct augment_places {
    vec whole, share;
    vmask inside;      /* -1 <= place < size */
    int64_t low, span; /* pixels low .. low + span - 1 are touched, inside or on the border */
} augment_places;

/* Places of the pixels from (row, col) on, each in double: wholes[VLEN], and what is left of them in shares[VLEN]. Not
 * inlined: it is rarely called, and would take the registers of what is called often. */
static __attribute__((noinline)) void augment_far(const augment_axis *axis, int64_t row, int64_t col, real *wholes,
                                                  real *shares) {
    const double *a = axis->matrix;
    for (int i = 0; i < VLEN; i++) {
        const double place = a[0] * (double)row + a[1] * (double)(col + i) + a[2];
        const double near = augment_clamp(place, -AUGMENT_FAR, AUGMENT_FAR), base = augment_floor(near);
        wholes[i] = (real)base;
        shares[i] = (real)(near - base + axis->half);
    }
}

/* The places of the pixels from (row, col) on, row i of a square that was split, or of none (i < 0); moved by `field`
 * where there is one. */
FNN_INLINE augment_places augment_row(const augment_axis *axis, int i, int64_t row, int64_t col, const vec *field,
                                      const int rows) {
    vec whole, rest;
    if (i >= 0) {
        whole = v_add(axis->by_lane, v_set1(axis->whole[i]));
        rest = v_add(axis->rest, v_set1(axis->share[i]));
    } else {
        real wholes[VLEN], rests[VLEN];
        augment_far(axis, row, col, wholes, rests);
        whole = v_load(wholes);
        rest = v_load(rests);
    }
    if (field)
        rest = v_add(rest, *field);
    const vec floored = v_floor(rest);
    whole = v_add(whole, floored);
    augment_places places = {.whole = whole, .share = v_sub(rest, floored)};
    places.inside = m_and(v_ge(whole, v_set1(-1)), v_lt(whole, v_set1((real)axis->size)));
    if (field && !rows && i >= 0 && axis->span <= 2 * VLEN) {
        /* two vectors of columns about those without a field: enough for most fields */
        const int64_t ahead = (2 * VLEN - axis->span) / 2, low = (int64_t)axis->low[i] - ahead;
        places.low = low < -1 ? -1 : low;
        const vec first = v_set1((real)places.low), end = v_set1((real)(places.low + 2 * VLEN - 2));
        const vmask outside = m_or(v_lt(whole, first), v_gt(whole, end));
        places.span = m_any(m_and(places.inside, outside)) ? axis->size + 2 * VLEN : 2 * VLEN;
    } else if (field) {
        const vec none = v_set1(-(real)axis->size);
        places.low = -(int64_t)v_reduce_max(v_select(places.inside, v_neg(whole), none));
        places.span = (int64_t)v_reduce_max(v_select(places.inside, whole, none)) + 2 - places.low;
    } else {
        places.low = i >= 0 ? (int64_t)axis->low[i] : -1;
        places.span = i >= 0 ? axis->span : axis->size + 2;
    }
    return places;
}

/* a + (b - a) * share, exactly a at 0 */
FNN_INLINE vec augment_mix(vec a, vec b, vec share) {
    return v_select(v_eq(share, v_zero()), a, v_fma(v_sub(b, a), share, a));
}

/* The pixels of one channel, from rows of the image in registers: all columns lie in two vectors of each. */
FNN_INLINE vec augment_bilinear(const real *x, int64_t row, const augment_places *r, const augment_places *c,
                                vec fill) {
    const vec index = v_sub(c->whole, v_set1((real)c->low)), next = v_add(index, v_set1(1));
    const vec from = v_sub(r->whole, v_set1((real)r->low));
    const real *p = x + r->low * row + c->low;
    vec upper = fill, lower = fill;
    vmask above = v_ne(fill, fill);
    above = m_and(above, m_not(above));
    for (int64_t i = 0; i < r->span; i++, p += row) {
        const vec a = v_load(p), b = v_load(p + VLEN);
        const vec mixed = augment_mix(v_lookup(a, b, index), v_lookup(a, b, next), c->share);
        const vmask here = v_eq(from, v_set1(augment_lane[i]));
        upper = v_select(here, mixed, upper);
        lower = v_select(above, mixed, lower);
        above = here;
    }
    return augment_mix(upper, lower, r->share);
}

FNN_INLINE vec augment_nearest(const real *x, int64_t row, const augment_places *r, const augment_places *c, vec fill) {
    const vec index = v_sub(c->whole, v_set1((real)c->low)), from = v_sub(r->whole, v_set1((real)r->low));
    const real *p = x + r->low * row + c->low;
    vec value = fill;
    for (int64_t i = 0; i < r->span; i++, p += row)
        value = v_select(v_eq(from, v_set1(augment_lane[i])), v_lookup(v_load(p), v_load(p + VLEN), index), value);
    return value;
}

FNN_INLINE real augment_pixel(const fnn_remap *m, const real *x, int64_t r, int64_t c) {
    return r < 0 || c < 0 || r >= m->height || c >= m->width ? (real)m->fill : x[r * m->row + c * m->column];
}

/* pixels[4][VLEN]: those around count places, one by one. */
static __attribute__((noinline)) void augment_lanes(const fnn_remap *m, const real *x, const real *top,
                                                    const real *left, real (*pixels)[VLEN], int count) {
    real *p00 = pixels[0], *p01 = pixels[1], *p10 = pixels[2], *p11 = pixels[3];
    for (int lane = 0; lane < count; lane++) {
        const int64_t i = (int64_t)top[lane], j = (int64_t)left[lane];
        if (i >= 0 && j >= 0 && i < m->height - 1 && j < m->width - 1) {
            const real *p = x + i * m->row + j * m->column;
            p00[lane] = p[0];
            p01[lane] = p[m->column];
            p10[lane] = p[m->row];
            p11[lane] = p[m->row + m->column];
        } else {
            p00[lane] = augment_pixel(m, x, i, j);
            p01[lane] = augment_pixel(m, x, i, j + 1);
            p10[lane] = augment_pixel(m, x, i + 1, j);
            p11[lane] = augment_pixel(m, x, i + 1, j + 1);
        }
    }
}

/* The same wherever the pixels lie, both ways. */
FNN_INLINE vec augment_anywhere(const fnn_remap *m, const real *x, const augment_places *r, const augment_places *c,
                                vmask inside, int count) {
    real top[VLEN], left[VLEN], pixels[4][VLEN] = {{0}};
    v_store(top, v_select(inside, r->whole, v_set1(-2)));
    v_store(left, v_select(inside, c->whole, v_set1(-2)));
    augment_lanes(m, x, top, left, pixels, count);
    if (m->nearest)
        return v_load(pixels[0]);
    const vec upper = augment_mix(v_load(pixels[0]), v_load(pixels[1]), c->share);
    const vec lower = augment_mix(v_load(pixels[2]), v_load(pixels[3]), c->share);
    return augment_mix(upper, lower, r->share);
}

/* The displacements of `count` pixels. */
FNN_INLINE void augment_field(const fnn_remap *m, int64_t pixel, int count, vec *dr, vec *dc) {
    const double *a = m->matrix;
    const real *down = (const real *)m->field + pixel * m->field_step, *right = down + m->field_columns;
    if (m->field_step == 1) {
        *dr = part_load(down, count);
        *dc = part_load(right, count);
    } else {
        real downs[VLEN] = {0}, rights[VLEN] = {0};
        for (int i = 0; i < count; i++) {
            downs[i] = down[i * m->field_step];
            rights[i] = right[i * m->field_step];
        }
        *dr = v_load(downs);
        *dc = v_load(rights);
    }
    if (m->field_turned) {
        const vec r = v_fma(v_set1((real)a[0]), *dr, v_mul(v_set1((real)a[1]), *dc));
        *dc = v_fma(v_set1((real)a[3]), *dr, v_mul(v_set1((real)a[4]), *dc));
        *dr = r;
    }
}

FNN_INLINE void augment_store(const fnn_remap *m, int64_t pixel, int64_t channel, vec value, int count) {
    real *y = (real *)m->y + pixel * m->channels + channel;
    if (m->channels == 1) {
        part_store(y, value, count);
        return;
    }
    real values[VLEN];
    v_store(values, value);
    for (int i = 0; i < count; i++)
        y[i * m->channels] = values[i];
}

/* `count` pixels of the result at their places, all channels. */
FNN_INLINE void augment_pixels(const fnn_remap *m, int64_t pixel, const augment_places *r, const augment_places *c,
                               int count) {
    const vmask inside = m_and(r->inside, c->inside);
    const vec fill = v_set1((real)m->fill);
    const int rows = m->border && r->span <= AUGMENT_ROWS && c->span <= 2 * VLEN;
    for (int64_t k = 0; k < m->channels; k++) {
        const real *x = (const real *)m->x + k * m->channel;
        vec value;
        if (!rows)
            value = augment_anywhere(m, x, r, c, inside, count);
        else if (m->nearest)
            value = augment_nearest(x, m->row, r, c, fill);
        else
            value = augment_bilinear(x, m->row, r, c, fill);
        augment_store(m, pixel, k, v_select(inside, value, fill), count);
    }
}

/* Rows [begin, end) of the columns [col, col + count) of the square that begins at row `first`. */
FNN_INLINE void augment_part(const fnn_remap *m, augment_axis *down, augment_axis *right, int64_t first, int64_t begin,
                             int64_t end, int64_t col, int count) {
    const int split = augment_square(down, first, col) & augment_square(right, first, col);
    for (int64_t row = begin; row < end; row++) {
        const int64_t pixel = row * m->width + col;
        vec dr, dc;
        const vec *fr = 0, *fc = 0;
        if (m->field) {
            augment_field(m, pixel, count, &dr, &dc);
            fr = &dr, fc = &dc;
        }
        const int i = split ? (int)(row - first) : -1;
        const augment_places r = augment_row(down, i, row, col, fr, 1), c = augment_row(right, i, row, col, fc, 0);
        augment_pixels(m, pixel, &r, &c, count);
    }
}

static void remap_rows(const fnn_remap *m, int64_t begin, int64_t end) {
    augment_axis down, right;
    augment_begin(&down, m->matrix, m->height, m->nearest);
    augment_begin(&right, m->matrix + 3, m->width, m->nearest);
    for (int64_t row = begin, last; row < end; row = last) {
        const int64_t first = row / VLEN * VLEN; /* squares lie where they lie, whoever does which rows */
        last = first + VLEN < end ? first + VLEN : end;
        FOR_PARTS(m->width, augment_part(m, &down, &right, first, row, last, i, count));
    }
}
