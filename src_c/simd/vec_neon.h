/* vec_neon.h: vec.h in AArch64 Advanced SIMD (which has FMA, division and doubles; 32-bit ARM is not served). */
#ifndef FNN_VEC_NEON_H
#define FNN_VEC_NEON_H

#include <arm_neon.h>

#define FNN_ISA_NAME "neon"

#if FNN_REAL == 32
typedef float32x4_t vec;
typedef uint32x4_t vmask;
#define VLEN 4
#define FNN_MM(operation) operation##_f32
#define FNN_MM_BITS(operation) operation##_u32
#define FNN_TO_BITS vreinterpretq_u32_f32
#define FNN_FROM_BITS vreinterpretq_f32_u32
#else
typedef float64x2_t vec;
typedef uint64x2_t vmask;
#define VLEN 2
#define FNN_MM(operation) operation##_f64
#define FNN_MM_BITS(operation) operation##_u64
#define FNN_TO_BITS vreinterpretq_u64_f64
#define FNN_FROM_BITS vreinterpretq_f64_u64
#endif

FNN_INLINE vmask m_and(vmask a, vmask b) { return FNN_MM_BITS(vandq)(a, b); }
FNN_INLINE vmask m_or(vmask a, vmask b) { return FNN_MM_BITS(vorrq)(a, b); }
FNN_INLINE vmask m_not(vmask a) { return FNN_MM_BITS(veorq)(a, FNN_MM_BITS(vdupq_n)(~(real_bits)0)); }
FNN_INLINE int m_any(vmask a) {
#if FNN_REAL == 32
    return vmaxvq_u32(a) != 0;
#else
    return (vgetq_lane_u64(a, 0) | vgetq_lane_u64(a, 1)) != 0;
#endif
}

FNN_INLINE vec v_set1(real x) { return FNN_MM(vdupq_n)(x); }
FNN_INLINE vec v_zero(void) { return v_set1(0); }
FNN_INLINE vec v_load(const real *p) { return FNN_MM(vld1q)(p); }
FNN_INLINE void v_store(real *p, vec x) { FNN_MM(vst1q)(p, x); }
FNN_INLINE void v_stream(real *p, vec x) { v_store(p, x); }
FNN_INLINE void v_stream_end(void) {}
#if FNN_REAL == 32
FNN_INLINE vec v_load_n(const real *p, int n) {
    switch (n) {
    case 0:
        return v_zero();
    case 1:
        return vld1q_lane_f32(p, v_zero(), 0);
    case 2:
        return vcombine_f32(vld1_f32(p), vdup_n_f32(0));
    case 3:
        return vld1q_lane_f32(p + 2, vcombine_f32(vld1_f32(p), vdup_n_f32(0)), 2);
    default:
        return v_load(p);
    }
}
FNN_INLINE void v_store_n(real *p, vec x, int n) {
    if (n >= VLEN) {
        v_store(p, x);
        return;
    }
    if (n & 2)
        vst1_f32(p, vget_low_f32(x));
    if (n == 1)
        vst1q_lane_f32(p, x, 0);
    if (n == 3)
        vst1q_lane_f32(p + 2, x, 2);
}
#else
FNN_INLINE vec v_load_n(const real *p, int n) {
    return n >= VLEN ? v_load(p) : n ? vld1q_lane_f64(p, v_zero(), 0) : v_zero();
}
FNN_INLINE void v_store_n(real *p, vec x, int n) {
    if (n >= VLEN)
        v_store(p, x);
    else if (n)
        vst1q_lane_f64(p, x, 0);
}
#endif

FNN_INLINE vmask v_lt(vec a, vec b) { return FNN_MM(vcltq)(a, b); }
FNN_INLINE vmask v_le(vec a, vec b) { return FNN_MM(vcleq)(a, b); }
FNN_INLINE vmask v_gt(vec a, vec b) { return FNN_MM(vcgtq)(a, b); }
FNN_INLINE vmask v_ge(vec a, vec b) { return FNN_MM(vcgeq)(a, b); }
FNN_INLINE vmask v_eq(vec a, vec b) { return FNN_MM(vceqq)(a, b); }
FNN_INLINE vmask v_ne(vec a, vec b) { return m_not(v_eq(a, b)); }
FNN_INLINE vmask v_isnan(vec a) { return m_not(v_eq(a, a)); }
FNN_INLINE vec v_select(vmask m, vec a, vec b) { return FNN_MM(vbslq)(m, a, b); }

FNN_INLINE vec v_add(vec a, vec b) { return FNN_MM(vaddq)(a, b); }
FNN_INLINE vec v_sub(vec a, vec b) { return FNN_MM(vsubq)(a, b); }
FNN_INLINE vec v_mul(vec a, vec b) { return FNN_MM(vmulq)(a, b); }
FNN_INLINE vec v_div(vec a, vec b) { return FNN_MM(vdivq)(a, b); }
/* FMIN and FMAX return the NaN operand, whichever it is; the x86 rule needs a comparison. */
FNN_INLINE vec v_min(vec a, vec b) { return v_select(v_lt(a, b), a, b); }
FNN_INLINE vec v_max(vec a, vec b) { return v_select(v_gt(a, b), a, b); }
FNN_INLINE vec v_sqrt(vec a) { return FNN_MM(vsqrtq)(a); }
FNN_INLINE vec v_fma(vec a, vec b, vec c) { return FNN_MM(vfmaq)(c, a, b); }
FNN_INLINE vec v_fnma(vec a, vec b, vec c) { return FNN_MM(vfmsq)(c, a, b); }
FNN_INLINE vec v_abs(vec a) { return FNN_MM(vabsq)(a); }
FNN_INLINE vec v_neg(vec a) { return FNN_MM(vnegq)(a); }
FNN_INLINE vec v_copysign(vec magnitude, vec sign) {
    return v_select(FNN_TO_BITS(v_set1((real)-0.0)), sign, magnitude);
}
FNN_INLINE vec v_round(vec a) { return FNN_MM(vrndnq)(a); }
FNN_INLINE vec v_floor(vec a) { return FNN_MM(vrndmq)(a); }

/* bits, for vec_bits.h */
FNN_INLINE vec v_bit_and(vec a, vec b) { return FNN_FROM_BITS(m_and(FNN_TO_BITS(a), FNN_TO_BITS(b))); }
FNN_INLINE vec v_bit_or(vec a, vec b) { return FNN_FROM_BITS(m_or(FNN_TO_BITS(a), FNN_TO_BITS(b))); }
FNN_INLINE vec v_bit_left(vec a) { return FNN_FROM_BITS(FNN_MM_BITS(vshlq_n)(FNN_TO_BITS(a), REAL_MANTISSA_BITS)); }
FNN_INLINE vec v_bit_right(vec a) { return FNN_FROM_BITS(FNN_MM_BITS(vshrq_n)(FNN_TO_BITS(a), REAL_MANTISSA_BITS)); }

#if FNN_REAL == 32
FNN_INLINE real v_reduce_add(vec x) {
    const float32x2_t d = vadd_f32(vget_low_f32(x), vget_high_f32(x));
    return vget_lane_f32(d, 0) + vget_lane_f32(d, 1);
}
#else
FNN_INLINE real v_reduce_add(vec x) { return vgetq_lane_f64(x, 0) + vgetq_lane_f64(x, 1); }
#endif
FNN_INLINE real v_reduce_max(vec x) { return FNN_MM(vmaxvq)(x); } /* FMAXV keeps a NaN */

FNN_INLINE vec v_zip_low(vec a, vec b) { return FNN_MM(vzip1q)(a, b); }
FNN_INLINE vec v_zip_high(vec a, vec b) { return FNN_MM(vzip2q)(a, b); }
FNN_INLINE vec v_load_pieces(const real *p, int64_t stride) {
    (void)stride; /* a vector is one piece */
    return v_load(p);
}

FNN_INLINE void v_transpose_pieces(vec x[1]) { (void)x; }

#if FNN_REAL == 32
FNN_INLINE vec v_lookup(vec a, vec b, vec index) { /* bytes 4 i to 4 i + 3 of 32 */
    const uint8x16x2_t table = {{vreinterpretq_u8_f32(a), vreinterpretq_u8_f32(b)}};
    const uint32x4_t first = vmulq_n_u32(vcvtq_u32_f32(index), 0x04040404u);
    const uint8x16_t bytes = vreinterpretq_u8_u32(vaddq_u32(first, vdupq_n_u32(0x03020100u)));
    return vreinterpretq_f32_u8(vqtbl2q_u8(table, bytes));
}
#else
#define FNN_NO_LOOKUP 1
#endif

FNN_INLINE vec v_pin(vec x) {
    __asm__ volatile("" : "+w"(x));
    return x;
}

#endif
