/* vec_sse2.h: vec.h in SSE2, which every x86-64 has: no FMA, no rounding instruction, no blend. */
#ifndef FNN_VEC_SSE2_H
#define FNN_VEC_SSE2_H

#include <emmintrin.h>

#define FNN_ISA_NAME "sse2"
#define FNN_NO_FMA 1
#define FNN_NO_ROUND 1
#define FNN_NO_LOOKUP 1

#if FNN_REAL == 32
typedef __m128 vec;
#define VLEN 4
#define FNN_MM(operation) _mm_##operation##_ps
#else
typedef __m128d vec;
#define VLEN 2
#define FNN_MM(operation) _mm_##operation##_pd
#endif
typedef vec vmask;

FNN_INLINE vmask m_and(vmask a, vmask b) { return FNN_MM(and)(a, b); }
FNN_INLINE vmask m_or(vmask a, vmask b) { return FNN_MM(or)(a, b); }
FNN_INLINE int m_any(vmask a) { return FNN_MM(movemask)(a) != 0; }

FNN_INLINE vec v_zero(void) { return FNN_MM(setzero)(); }
FNN_INLINE vec v_set1(real x) { return FNN_MM(set1)(x); }
FNN_INLINE vec v_load(const real *p) { return FNN_MM(loadu)(p); }
FNN_INLINE void v_store(real *p, vec x) { FNN_MM(storeu)(p, x); }
FNN_INLINE void v_stream(real *p, vec x) { FNN_MM(stream)(p, x); }
FNN_INLINE void v_stream_end(void) { _mm_sfence(); }
#if FNN_REAL == 32
/* The first two lanes. The 64-bit integer load may alias floats; a double load may not. */
FNN_INLINE vec fnn_load_pair(const real *p) {
    return _mm_castsi128_ps(_mm_loadl_epi64((const __m128i *)(const void *)p));
}
FNN_INLINE vec v_load_n(const real *p, int n) {
    switch (n) {
    case 0:
        return _mm_setzero_ps();
    case 1:
        return _mm_load_ss(p);
    case 2:
        return fnn_load_pair(p);
    case 3:
        return _mm_movelh_ps(fnn_load_pair(p), _mm_load_ss(p + 2));
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
        _mm_storel_epi64((__m128i *)(void *)p, _mm_castps_si128(x));
    if (n == 1)
        _mm_store_ss(p, x);
    if (n == 3)
        _mm_store_ss(p + 2, _mm_movehl_ps(x, x));
}
#else
FNN_INLINE vec v_load_n(const real *p, int n) { return n >= VLEN ? v_load(p) : n ? _mm_load_sd(p) : v_zero(); }
FNN_INLINE void v_store_n(real *p, vec x, int n) {
    if (n >= VLEN)
        v_store(p, x);
    else if (n)
        _mm_store_sd(p, x);
}
#endif

FNN_INLINE vec v_add(vec a, vec b) { return FNN_MM(add)(a, b); }
FNN_INLINE vec v_sub(vec a, vec b) { return FNN_MM(sub)(a, b); }
FNN_INLINE vec v_mul(vec a, vec b) { return FNN_MM(mul)(a, b); }
FNN_INLINE vec v_div(vec a, vec b) { return FNN_MM(div)(a, b); }
FNN_INLINE vec v_min(vec a, vec b) { return FNN_MM(min)(a, b); }
FNN_INLINE vec v_max(vec a, vec b) { return FNN_MM(max)(a, b); }
FNN_INLINE vec v_sqrt(vec a) { return FNN_MM(sqrt)(a); }
FNN_INLINE vec v_fma(vec a, vec b, vec c) { return v_add(v_mul(a, b), c); }
FNN_INLINE vec v_fnma(vec a, vec b, vec c) { return v_sub(c, v_mul(a, b)); }
FNN_INLINE vec v_abs(vec a) { return FNN_MM(andnot)(v_set1((real)-0.0), a); }
FNN_INLINE vec v_neg(vec a) { return FNN_MM(xor)(v_set1((real)-0.0), a); }
FNN_INLINE vec v_copysign(vec magnitude, vec sign) {
    const vec sign_bit = v_set1((real)-0.0);
    return FNN_MM(or)(FNN_MM(and)(sign_bit, sign), FNN_MM(andnot)(sign_bit, magnitude));
}

FNN_INLINE vmask v_lt(vec a, vec b) { return FNN_MM(cmplt)(a, b); }
FNN_INLINE vmask v_le(vec a, vec b) { return FNN_MM(cmple)(a, b); }
FNN_INLINE vmask v_gt(vec a, vec b) { return FNN_MM(cmpgt)(a, b); }
FNN_INLINE vmask v_ge(vec a, vec b) { return FNN_MM(cmpge)(a, b); }
FNN_INLINE vmask v_eq(vec a, vec b) { return FNN_MM(cmpeq)(a, b); }
FNN_INLINE vmask v_ne(vec a, vec b) { return FNN_MM(cmpneq)(a, b); }
FNN_INLINE vmask v_isnan(vec a) { return FNN_MM(cmpunord)(a, a); }
FNN_INLINE vmask m_not(vmask a) { return FNN_MM(xor)(a, v_eq(v_zero(), v_zero())); }
FNN_INLINE vec v_select(vmask m, vec a, vec b) { return FNN_MM(or)(FNN_MM(and)(m, a), FNN_MM(andnot)(m, b)); }

/* bits, for vec_bits.h */
FNN_INLINE vec v_bit_and(vec a, vec b) { return FNN_MM(and)(a, b); }
FNN_INLINE vec v_bit_or(vec a, vec b) { return FNN_MM(or)(a, b); }
#if FNN_REAL == 32
FNN_INLINE vec v_bit_left(vec a) { return _mm_castsi128_ps(_mm_slli_epi32(_mm_castps_si128(a), REAL_MANTISSA_BITS)); }
FNN_INLINE vec v_bit_right(vec a) { return _mm_castsi128_ps(_mm_srli_epi32(_mm_castps_si128(a), REAL_MANTISSA_BITS)); }
#define FNN_REDUCE(name, operation)                                                                                    \
    FNN_INLINE real name(vec x) {                                                                                      \
        const __m128 d = _mm_##operation##_ps(x, _mm_movehl_ps(x, x));                                                 \
        return _mm_cvtss_f32(_mm_##operation##_ss(d, _mm_shuffle_ps(d, d, 1)));                                        \
    }
#else
FNN_INLINE vec v_bit_left(vec a) { return _mm_castsi128_pd(_mm_slli_epi64(_mm_castpd_si128(a), REAL_MANTISSA_BITS)); }
FNN_INLINE vec v_bit_right(vec a) { return _mm_castsi128_pd(_mm_srli_epi64(_mm_castpd_si128(a), REAL_MANTISSA_BITS)); }
#define FNN_REDUCE(name, operation)                                                                                    \
    FNN_INLINE real name(vec x) { return _mm_cvtsd_f64(_mm_##operation##_sd(x, _mm_unpackhi_pd(x, x))); }
#endif
FNN_REDUCE(v_reduce_add, add)
FNN_REDUCE(v_reduce_max_ordered, max)
#undef FNN_REDUCE
FNN_INLINE real v_reduce_max(vec x) { return m_any(v_isnan(x)) ? REAL_NAN : v_reduce_max_ordered(x); }

FNN_INLINE vec v_zip_low(vec a, vec b) { return FNN_MM(unpacklo)(a, b); }
FNN_INLINE vec v_zip_high(vec a, vec b) { return FNN_MM(unpackhi)(a, b); }
FNN_INLINE vec v_load_pieces(const real *p, int64_t stride) {
    (void)stride; /* a vector is one piece */
    return v_load(p);
}

FNN_INLINE void v_transpose_pieces(vec x[1]) { (void)x; }

FNN_INLINE vec v_pin(vec x) {
    __asm__ volatile("" : "+x"(x));
    return x;
}

#endif
