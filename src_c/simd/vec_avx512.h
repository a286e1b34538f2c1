/* vec_avx512.h: vec.h in AVX-512 F, BW, DQ, VL. Masks are mask registers; powers of two have their own instructions. */
#ifndef FNN_VEC_AVX512_H
#define FNN_VEC_AVX512_H

#include <immintrin.h>

#define FNN_ISA_NAME "avx512"

#if FNN_REAL == 32
typedef __m512 vec;
typedef __mmask16 vmask;
#define VLEN 16
#define FNN_MM(operation) _mm512_##operation##_ps
#define FNN_MM_COMPARE(a, b, predicate) _mm512_cmp_ps_mask(a, b, predicate)
#else
typedef __m512d vec;
typedef __mmask8 vmask;
#define VLEN 8
#define FNN_MM(operation) _mm512_##operation##_pd
#define FNN_MM_COMPARE(a, b, predicate) _mm512_cmp_pd_mask(a, b, predicate)
#endif

FNN_INLINE vmask m_and(vmask a, vmask b) { return (vmask)(a & b); }
FNN_INLINE vmask m_or(vmask a, vmask b) { return (vmask)(a | b); }
FNN_INLINE vmask m_not(vmask a) { return (vmask)~a; }
FNN_INLINE int m_any(vmask a) { return a != 0; }
FNN_INLINE vmask fnn_first_lanes(int n) { return (vmask)((1u << n) - 1u); }

FNN_INLINE vec v_zero(void) { return FNN_MM(setzero)(); }
FNN_INLINE vec v_set1(real x) { return FNN_MM(set1)(x); }
FNN_INLINE vec v_load(const real *p) { return FNN_MM(loadu)(p); }
FNN_INLINE void v_store(real *p, vec x) { FNN_MM(storeu)(p, x); }
FNN_INLINE void v_stream(real *p, vec x) { FNN_MM(stream)(p, x); }
FNN_INLINE void v_stream_end(void) { _mm_sfence(); }
FNN_INLINE vec v_load_n(const real *p, int n) { return FNN_MM(maskz_loadu)(fnn_first_lanes(n), p); }
FNN_INLINE void v_store_n(real *p, vec x, int n) { FNN_MM(mask_storeu)(p, fnn_first_lanes(n), x); }

FNN_INLINE vec v_add(vec a, vec b) { return FNN_MM(add)(a, b); }
FNN_INLINE vec v_sub(vec a, vec b) { return FNN_MM(sub)(a, b); }
FNN_INLINE vec v_mul(vec a, vec b) { return FNN_MM(mul)(a, b); }
FNN_INLINE vec v_div(vec a, vec b) { return FNN_MM(div)(a, b); }
FNN_INLINE vec v_min(vec a, vec b) { return FNN_MM(min)(a, b); }
FNN_INLINE vec v_max(vec a, vec b) { return FNN_MM(max)(a, b); }
FNN_INLINE vec v_sqrt(vec a) { return FNN_MM(sqrt)(a); }
FNN_INLINE vec v_fma(vec a, vec b, vec c) { return FNN_MM(fmadd)(a, b, c); }
FNN_INLINE vec v_fnma(vec a, vec b, vec c) { return FNN_MM(fnmadd)(a, b, c); }
FNN_INLINE vec v_abs(vec a) { return FNN_MM(andnot)(v_set1((real)-0.0), a); }
FNN_INLINE vec v_neg(vec a) { return FNN_MM(xor)(v_set1((real)-0.0), a); }
#if FNN_REAL == 32
FNN_INLINE vec v_copysign(vec magnitude, vec sign) { /* 0xca: the first operand chooses bits of the second or third */
    const __m512i m = _mm512_castps_si512(magnitude), s = _mm512_castps_si512(sign);
    return _mm512_castsi512_ps(_mm512_ternarylogic_epi32(_mm512_set1_epi32(INT32_MIN), s, m, 0xca));
}
#else
FNN_INLINE vec v_copysign(vec magnitude, vec sign) {
    const __m512i m = _mm512_castpd_si512(magnitude), s = _mm512_castpd_si512(sign);
    return _mm512_castsi512_pd(_mm512_ternarylogic_epi64(_mm512_set1_epi64(INT64_MIN), s, m, 0xca));
}
#endif
FNN_INLINE vec v_round(vec a) { return FNN_MM(roundscale)(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
FNN_INLINE vec v_floor(vec a) { return FNN_MM(roundscale)(a, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); }

FNN_INLINE vmask v_lt(vec a, vec b) { return FNN_MM_COMPARE(a, b, _CMP_LT_OQ); }
FNN_INLINE vmask v_le(vec a, vec b) { return FNN_MM_COMPARE(a, b, _CMP_LE_OQ); }
FNN_INLINE vmask v_gt(vec a, vec b) { return FNN_MM_COMPARE(a, b, _CMP_GT_OQ); }
FNN_INLINE vmask v_ge(vec a, vec b) { return FNN_MM_COMPARE(a, b, _CMP_GE_OQ); }
FNN_INLINE vmask v_eq(vec a, vec b) { return FNN_MM_COMPARE(a, b, _CMP_EQ_OQ); }
FNN_INLINE vmask v_ne(vec a, vec b) { return FNN_MM_COMPARE(a, b, _CMP_NEQ_UQ); }
FNN_INLINE vmask v_isnan(vec a) { return FNN_MM_COMPARE(a, a, _CMP_UNORD_Q); }
FNN_INLINE vec v_select(vmask m, vec a, vec b) { return FNN_MM(mask_blend)(m, b, a); }

FNN_INLINE vec v_scale2(vec x, vec n) { return FNN_MM(scalef)(x, n); }
FNN_INLINE vec v_exponent(vec x) { return FNN_MM(getexp)(x); }
FNN_INLINE vec v_mantissa(vec x) { return FNN_MM(getmant)(x, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_src); }
/* 2^n for integral n, where 2^n is a normal number */
FNN_INLINE vec v_power2(vec n) { return v_scale2(v_set1(1), n); }
FNN_INLINE vec v_scale2_near1(vec x, vec n) { return v_scale2(x, n); }

#if FNN_REAL == 32
#define FNN_REDUCE(name, operation)                                                                                    \
    FNN_INLINE real name(vec x) {                                                                                      \
        const __m256 h = _mm256_##operation##_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));             \
        const __m128 q = _mm_##operation##_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));                 \
        const __m128 d = _mm_##operation##_ps(q, _mm_movehl_ps(q, q));                                                 \
        return _mm_cvtss_f32(_mm_##operation##_ss(d, _mm_shuffle_ps(d, d, 1)));                                        \
    }
#else
#define FNN_REDUCE(name, operation)                                                                                    \
    FNN_INLINE real name(vec x) {                                                                                      \
        const __m256d h = _mm256_##operation##_pd(_mm512_castpd512_pd256(x), _mm512_extractf64x4_pd(x, 1));            \
        const __m128d q = _mm_##operation##_pd(_mm256_castpd256_pd128(h), _mm256_extractf128_pd(h, 1));                \
        return _mm_cvtsd_f64(_mm_##operation##_sd(q, _mm_unpackhi_pd(q, q)));                                          \
    }
#endif
FNN_REDUCE(v_reduce_add, add)
FNN_REDUCE(v_reduce_max_ordered, max)
#undef FNN_REDUCE
FNN_INLINE real v_reduce_max(vec x) { return m_any(v_isnan(x)) ? REAL_NAN : v_reduce_max_ordered(x); }

FNN_INLINE vec v_zip_low(vec a, vec b) { return FNN_MM(unpacklo)(a, b); }
FNN_INLINE vec v_zip_high(vec a, vec b) { return FNN_MM(unpackhi)(a, b); }
FNN_INLINE vec v_load_pieces(const real *p, int64_t stride) {
#if FNN_REAL == 32
    vec x = _mm512_castps128_ps512(_mm_loadu_ps(p));
    x = _mm512_insertf32x4(x, _mm_loadu_ps(p + stride), 1);
    x = _mm512_insertf32x4(x, _mm_loadu_ps(p + 2 * stride), 2);
    return _mm512_insertf32x4(x, _mm_loadu_ps(p + 3 * stride), 3);
#else
    vec x = _mm512_castpd128_pd512(_mm_loadu_pd(p));
    x = _mm512_insertf64x2(x, _mm_loadu_pd(p + stride), 1);
    x = _mm512_insertf64x2(x, _mm_loadu_pd(p + 2 * stride), 2);
    return _mm512_insertf64x2(x, _mm_loadu_pd(p + 3 * stride), 3);
#endif
}

#if FNN_REAL == 32
#define FNN_MM_PIECES(a, b, which) _mm512_shuffle_f32x4(a, b, which)
#else
#define FNN_MM_PIECES(a, b, which) _mm512_shuffle_f64x2(a, b, which)
#endif
FNN_INLINE void v_transpose_pieces(vec x[VLEN / PIECE]) {
    const vec even01 = FNN_MM_PIECES(x[0], x[1], 0x88), odd01 = FNN_MM_PIECES(x[0], x[1], 0xdd),
              even23 = FNN_MM_PIECES(x[2], x[3], 0x88), odd23 = FNN_MM_PIECES(x[2], x[3], 0xdd);
    x[0] = FNN_MM_PIECES(even01, even23, 0x88);
    x[1] = FNN_MM_PIECES(odd01, odd23, 0x88);
    x[2] = FNN_MM_PIECES(even01, even23, 0xdd);
    x[3] = FNN_MM_PIECES(odd01, odd23, 0xdd);
}

#if FNN_REAL == 32
FNN_INLINE vec v_lookup(vec a, vec b, vec index) { return _mm512_permutex2var_ps(a, _mm512_cvtps_epi32(index), b); }
#else
FNN_INLINE vec v_lookup(vec a, vec b, vec index) { return _mm512_permutex2var_pd(a, _mm512_cvtpd_epi64(index), b); }
#endif

FNN_INLINE vec v_pin(vec x) {
    __asm__ volatile("" : "+v"(x));
    return x;
}

#endif
