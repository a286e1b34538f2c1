/* elementwise.h: one kernel per row of activations.def, elementwise.def and binary.def; where; fill.
 *
 * n contiguous elements. An output may be one of the inputs. The formulas are the lists' own.
 */
#include "part.h"

/* y = f(x) */
#define ELEMENTWISE_UNARY(name, formula)                                                                               \
    FNN_INLINE vec formula_##name(vec x, vec p0, vec p1) {                                                             \
        (void)p0, (void)p1;                                                                                            \
        return formula;                                                                                                \
    }                                                                                                                  \
    static void unary_##name(int64_t n, const void *x, void *y, double p0, double p1) {                                \
        const real *from = x;                                                                                          \
        real *to = y;                                                                                                  \
        const vec a = v_set1((real)p0), b = v_set1((real)p1);                                                          \
        FOR_PARTS(n, part_store(to + i, formula_##name(part_load(from + i, count), a, b), count));                     \
    }
#define FNN_ACTIVATION(name, cls, nparams, names, defaults, forward, derivative, doc, citation)                        \
    ELEMENTWISE_UNARY(name, forward)
#include "activations.def"
#undef FNN_ACTIVATION
#define FNN_ELEMENTWISE(name, formula, doc) ELEMENTWISE_UNARY(name, formula)
#include "elementwise.def"
#undef FNN_ELEMENTWISE
#undef ELEMENTWISE_UNARY

/* The same past the caches, for the rows of which memory is the limit. */
#define UNARY_PAST(name)                                                                                               \
    static void unary_past_##name(int64_t n, const void *x, void *y, double p0, double p1) {                           \
        const real *from = x;                                                                                          \
        real *to = y;                                                                                                  \
        const vec a = v_set1((real)p0), b = v_set1((real)p1);                                                          \
        FOR_PARTS_PAST(n, to, part_past(to + i, formula_##name(part_load(from + i, count), a, b), count));             \
    }
#define FNN_LIGHT_UNARY(row)                                                                                           \
    row(identity) row(relu) row(leaky_relu) row(shifted_relu) row(hardtanh) row(negative) row(absolute) row(square)    \
        row(sign) row(heaviside)
FNN_LIGHT_UNARY(UNARY_PAST)
#undef UNARY_PAST

/* dx = grad * f'(x), and 0 where f' is 0: an infinite gradient does not wake a dead unit as a NaN. `kernel` is
 * unary_backward, with f' from the input x, or unary_backward_output, with f' from the output y. */
#define ELEMENTWISE_BACKWARD(kernel, name, saved, formula)                                                             \
    FNN_INLINE vec kernel##_slope_##name(vec saved, vec p0, vec p1) {                                                  \
        (void)saved, (void)p0, (void)p1;                                                                               \
        return formula;                                                                                                \
    }                                                                                                                  \
    static void kernel##_##name(int64_t n, const void *grad, const void *kept, void *dx, double p0, double p1) {       \
        const real *g = grad, *from = kept;                                                                            \
        real *to = dx;                                                                                                 \
        const vec a = v_set1((real)p0), b = v_set1((real)p1);                                                          \
        FOR_PARTS(n, {                                                                                                 \
            const vec slope = kernel##_slope_##name(part_load(from + i, count), a, b);                                 \
            const vec product = fnn_product(part_load(g + i, count), slope);                                           \
            part_store(to + i, v_select(v_eq(slope, v_zero()), slope, product), count);                                \
        });                                                                                                            \
    }
#define FNN_ACTIVATION(name, cls, nparams, names, defaults, forward, derivative, doc, citation)                        \
    ELEMENTWISE_BACKWARD(unary_backward, name, x, derivative)
#include "activations.def"
#undef FNN_ACTIVATION
#define FNN_ACTIVATION(name, cls, nparams, names, defaults, forward, derivative, doc, citation)
#define FNN_ACTIVATION_OUTPUT(name, cls, nparams, names, defaults, forward, derivative, from_output, doc, citation)    \
    ELEMENTWISE_BACKWARD(unary_backward_output, name, y, from_output)
#include "activations.def"
#undef FNN_ACTIVATION
#undef ELEMENTWISE_BACKWARD

/* An operand of step 0 is one value for all: still one load per vector, of the same arithmetic. */
FNN_INLINE vec elementwise_operand(const real *p, vec value, int step, int64_t i, int count) {
    return step ? part_load(p + i, count) : value;
}

/* y = f(a, b); the three cases of steps are compiled apart, so that no loop asks. */
#define FNN_BINARY(name, formula, doc)                                                                                 \
    FNN_INLINE void binary_steps_##name(int64_t n, const real *pa, int a_step, const real *pb, int b_step, real *y) {  \
        const vec one_a = v_set1(*pa), one_b = v_set1(*pb);                                                            \
        FOR_PARTS(n, {                                                                                                 \
            const vec a = elementwise_operand(pa, one_a, a_step, i, count);                                            \
            const vec b = elementwise_operand(pb, one_b, b_step, i, count);                                            \
            part_store(y + i, formula, count);                                                                         \
        });                                                                                                            \
    }                                                                                                                  \
    /* past the caches */                                                                                              \
    static void binary_past_##name(int64_t n, const void *operand_a, int a_step, const void *operand_b, int b_step,    \
                                   void *result) {                                                                     \
        const real *pa = operand_a, *pb = operand_b;                                                                   \
        real *y = result;                                                                                              \
        if (n == 0)                                                                                                    \
            return;                                                                                                    \
        const vec one_a = v_set1(*pa), one_b = v_set1(*pb);                                                            \
        FOR_PARTS_PAST(n, y, {                                                                                         \
            const vec a = elementwise_operand(pa, one_a, a_step, i, count);                                            \
            const vec b = elementwise_operand(pb, one_b, b_step, i, count);                                            \
            part_past(y + i, formula, count);                                                                          \
        });                                                                                                            \
    }                                                                                                                  \
    static void binary_##name(int64_t n, const void *a, int a_step, const void *b, int b_step, void *y) {              \
        if (n == 0)                                                                                                    \
            return;                                                                                                    \
        if (a_step && b_step)                                                                                          \
            binary_steps_##name(n, a, 1, b, 1, y);                                                                     \
        else if (a_step)                                                                                               \
            binary_steps_##name(n, a, 1, b, 0, y);                                                                     \
        else                                                                                                           \
            binary_steps_##name(n, a, 0, b, b_step, y);                                                                \
    }
#include "binary.def"
#undef FNN_BINARY

/* y = mask != 0 ? a : b */
static void where(int64_t n, const void *mask, int mask_step, const void *a, int a_step, const void *b, int b_step,
                  void *y) {
    const real *pm = mask, *pa = a, *pb = b;
    real *py = y;
    if (n == 0)
        return;
    const vec one_mask = v_set1(*pm), one_a = v_set1(*pa), one_b = v_set1(*pb);
    if (mask_step && a_step && b_step) {
        FOR_PARTS(n, {
            const vmask chosen = v_ne(part_load(pm + i, count), v_zero());
            part_store(py + i, v_select(chosen, part_load(pa + i, count), part_load(pb + i, count)), count);
        });
        return;
    }
    FOR_PARTS(n, {
        const vec chosen = elementwise_operand(pm, one_mask, mask_step, i, count);
        const vec yes = elementwise_operand(pa, one_a, a_step, i, count);
        const vec no = elementwise_operand(pb, one_b, b_step, i, count);
        part_store(py + i, v_select(v_ne(chosen, v_zero()), yes, no), count);
    });
}

/* The same for a mask of bytes, widened piece by piece. */
static void where_bytes(int64_t n, const void *mask, int mask_step, const void *a, int a_step, const void *b,
                        int b_step, void *y) {
    enum { PART = 256 };
    const int8_t *bytes = mask;
    real wide[PART];
    for (int64_t done = 0; done < n; done += PART) {
        const int64_t length = n - done < PART ? n - done : PART;
        for (int64_t i = 0; i < (mask_step ? length : 1); i++)
            wide[i] = (real)bytes[mask_step * done + i];
        where(length, wide, mask_step, (const real *)a + a_step * done, a_step, (const real *)b + b_step * done, b_step,
              (real *)y + done);
    }
}

static void fill(int64_t n, void *y, double value) {
    real *py = y;
    const vec v = v_set1((real)value);
    FOR_PARTS(n, part_store(py + i, v, count));
}
