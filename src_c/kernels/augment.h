/* augment.h: resampling of images through an affine map and a field of displacements; smoothing of such fields.
 *
 * Pixel (r, c) of the result is the image at (sr, sc) = matrix (r, c, 1) + field[r, c], in double. Bilinear: the four
 * pixels around, weighted by distance; nearest: the one at floor(s + 1/2). Pixels outside count as `fill`. A place that
 * is a pixel's own gives that pixel's bits, whatever lies beside it (NaN, infinity).
 */
#include "part.h"

/* floor, for |x| < 2^62 */
FNN_INLINE int64_t augment_floor(double x) {
    const int64_t i = (int64_t)x;
    return i - (x < (double)i);
}

/* A pixel's channels, or NULL outside. */
FNN_INLINE const real *augment_pixel(const fnn_remap *m, int64_t r, int64_t c) {
    if (r < 0 || c < 0 || r >= m->height || c >= m->width)
        return 0;
    return (const real *)m->x + (r * m->width + c) * m->channels;
}

/* a + (b - a) * share, exactly a at 0; a NULL pixel is fill */
FNN_INLINE real augment_mix(real a, real b, real share) { return share == 0 ? a : a + (b - a) * share; }

FNN_INLINE real augment_channel(const real *pixel, int64_t k, real fill) { return pixel ? pixel[k] : fill; }

/* One pixel of the result, wherever (sr, sc) lies. */
static void remap_anywhere(const fnn_remap *m, double sr, double sc, real *y) {
    const real fill = (real)m->fill;
    if (!(sr > -1 && sc > -1 && sr < (double)m->height && sc < (double)m->width)) { /* far outside, or not a number */
        for (int64_t k = 0; k < m->channels; k++)
            y[k] = fill;
        return;
    }
    if (m->nearest) {
        const real *p = augment_pixel(m, augment_floor(sr + 0.5), augment_floor(sc + 0.5));
        for (int64_t k = 0; k < m->channels; k++)
            y[k] = augment_channel(p, k, fill);
        return;
    }
    const int64_t top = augment_floor(sr), left = augment_floor(sc);
    const real down = (real)(sr - (double)top), right = (real)(sc - (double)left);
    const real *p00 = augment_pixel(m, top, left), *p01 = augment_pixel(m, top, left + 1);
    const real *p10 = augment_pixel(m, top + 1, left), *p11 = augment_pixel(m, top + 1, left + 1);
    for (int64_t k = 0; k < m->channels; k++) {
        const real upper = augment_mix(augment_channel(p00, k, fill), augment_channel(p01, k, fill), right);
        const real lower = augment_mix(augment_channel(p10, k, fill), augment_channel(p11, k, fill), right);
        y[k] = augment_mix(upper, lower, down);
    }
}

/* Bilinear, all four pixels inside (0 <= sr < height - 1, 0 <= sc < width - 1): no question but that one. */
FNN_INLINE void remap_inside(const fnn_remap *m, double sr, double sc, real *y) {
    const int64_t top = (int64_t)sr, left = (int64_t)sc, step = m->channels, row = m->width * step;
    const real down = (real)(sr - (double)top), right = (real)(sc - (double)left);
    const real *p = (const real *)m->x + top * row + left * step;
    for (int64_t k = 0; k < step; k++, p++) {
        const real upper = augment_mix(p[0], p[step], right), lower = augment_mix(p[row], p[row + step], right);
        y[k] = augment_mix(upper, lower, down);
    }
}

static void remap_rows(const fnn_remap *m, int64_t begin, int64_t end) {
    const real *field = m->field;
    const double *a = m->matrix, last_row = (double)(m->height - 1), last_column = (double)(m->width - 1);
    const int bilinear = !m->nearest;
    for (int64_t r = begin; r < end; r++)
        for (int64_t c = 0; c < m->width; c++) {
            const int64_t pixel = r * m->width + c;
            real *y = (real *)m->y + pixel * m->channels;
            double sr = a[0] * (double)r + a[1] * (double)c + a[2], sc = a[3] * (double)r + a[4] * (double)c + a[5];
            if (field) {
                sr += (double)field[2 * pixel];
                sc += (double)field[2 * pixel + 1];
            }
            if (bilinear && sr >= 0 && sc >= 0 && sr < last_row && sc < last_column)
                remap_inside(m, sr, sc, y);
            else
                remap_anywhere(m, sr, sc, y);
        }
}

/* y[width] = sum over -radius..radius of weights[|k|] * x[row + k, :]; rows outside are 0. */
static void smooth_across(int64_t height, int64_t width, int64_t row, const void *x, const void *weights,
                          int64_t radius, void *y) {
    const real *w = weights;
    const int64_t first = row - radius < 0 ? 0 : row - radius;
    const int64_t last = row + radius >= height ? height - 1 : row + radius;
    FOR_PARTS(width, {
        vec sum = v_zero();
        for (int64_t r = first; r <= last; r++) {
            const real weight = w[r < row ? row - r : r - row];
            sum = v_fma(part_load((const real *)x + r * width + i, count), v_set1(weight), sum);
        }
        part_store((real *)y + i, sum, count);
    });
}

/* y[width] = sum over -radius..radius of weights[|k|] * x[i + radius + k]; x[width + 2 radius] is padded. */
static void smooth_along(int64_t width, const void *x, const void *weights, int64_t radius, void *y) {
    const real *w = weights;
    FOR_PARTS(width, {
        vec sum = v_zero();
        for (int64_t k = -radius; k <= radius; k++)
            sum = v_fma(part_load((const real *)x + i + radius + k, count), v_set1(w[k < 0 ? -k : k]), sum);
        part_store((real *)y + i, sum, count);
    });
}
