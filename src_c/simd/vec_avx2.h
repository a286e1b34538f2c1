/* vec_avx2.h: vec.h in AVX2 and FMA. A mask is a vector whose lanes are all ones or all zeros. */
#ifndef FNN_VEC_AVX2_H
#define FNN_VEC_AVX2_H

#include <immintrin.h>

#define FNN_ISA_NAME "avx2"

#if FNN_REAL == 32
typedef __m256 vec;
#define VLEN 8
#define FNN_MM(operation) _mm256_##operation##_ps
#else
typedef __m256d vec;
#define VLEN 4
#define FNN_MM(operation) _mm256_##operation##_pd
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

/* A window of VLEN entries that starts VLEN - n entries before the first zero: n lanes of ones, then zeros. */
FNN_INLINE __m256i fnn_first_lanes(int n) {
#if FNN_REAL == 32
    static const int32_t window[2 * VLEN] = {-1, -1, -1, -1, -1, -1, -1, -1};
#else
    static const int64_t window[2 * VLEN] = {-1, -1, -1, -1};
#endif
    return _mm256_loadu_si256((const __m256i *)(window + VLEN - n));
}
FNN_INLINE vec v_load_n(const real *p, int n) { return FNN_MM(maskload)(p, fnn_first_lanes(n)); }
FNN_INLINE void v_store_n(real *p, vec x, int n) { FNN_MM(maskstore)(p, fnn_first_lanes(n), x); }

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
FNN_INLINE vec v_copysign(vec magnitude, vec sign) {
    const vec sign_bit = v_set1((real)-0.0);
    return FNN_MM(or)(FNN_MM(and)(sign_bit, sign), FNN_MM(andnot)(sign_bit, magnitude));
}
FNN_INLINE vec v_round(vec a) { return FNN_MM(round)(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
FNN_INLINE vec v_floor(vec a) { return FNN_MM(round)(a, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); }

FNN_INLINE vmask v_lt(vec a, vec b) { return FNN_MM(cmp)(a, b, _CMP_LT_OQ); }
FNN_INLINE vmask v_le(vec a, vec b) { return FNN_MM(cmp)(a, b, _CMP_LE_OQ); }
FNN_INLINE vmask v_gt(vec a, vec b) { return FNN_MM(cmp)(a, b, _CMP_GT_OQ); }
FNN_INLINE vmask v_ge(vec a, vec b) { return FNN_MM(cmp)(a, b, _CMP_GE_OQ); }
FNN_INLINE vmask v_eq(vec a, vec b) { return FNN_MM(cmp)(a, b, _CMP_EQ_OQ); }
FNN_INLINE vmask v_ne(vec a, vec b) { return FNN_MM(cmp)(a, b, _CMP_NEQ_UQ); }
FNN_INLINE vmask v_isnan(vec a) { return FNN_MM(cmp)(a, a, _CMP_UNORD_Q); }
FNN_INLINE vmask m_not(vmask a) { return FNN_MM(xor)(a, v_eq(v_zero(), v_zero())); }
FNN_INLINE vec v_select(vmask m, vec a, vec b) { return FNN_MM(blendv)(b, a, m); }

/* bits, for vec_bits.h */
FNN_INLINE vec v_bit_and(vec a, vec b) { return FNN_MM(and)(a, b); }
FNN_INLINE vec v_bit_or(vec a, vec b) { return FNN_MM(or)(a, b); }
#if FNN_REAL == 32
FNN_INLINE vec v_bit_left(vec a) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(a), REAL_MANTISSA_BITS));
}
FNN_INLINE vec v_bit_right(vec a) {
    return _mm256_castsi256_ps(_mm256_srli_epi32(_mm256_castps_si256(a), REAL_MANTISSA_BITS));
}
#define FNN_REDUCE(name, operation)                                                                                    \
    FNN_INLINE real name(vec x) {                                                                                      \
        const __m128 q = _mm_##operation##_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));                 \
        const __m128 d = _mm_##operation##_ps(q, _mm_movehl_ps(q, q));                                                 \
        return _mm_cvtss_f32(_mm_##operation##_ss(d, _mm_shuffle_ps(d, d, 1)));                                        \
    }
#else
FNN_INLINE vec v_bit_left(vec a) {
    return _mm256_castsi256_pd(_mm256_slli_epi64(_mm256_castpd_si256(a), REAL_MANTISSA_BITS));
}
FNN_INLINE vec v_bit_right(vec a) {
    return _mm256_castsi256_pd(_mm256_srli_epi64(_mm256_castpd_si256(a), REAL_MANTISSA_BITS));
}
#define FNN_REDUCE(name, operation)                                                                                    \
    FNN_INLINE real name(vec x) {                                                                                      \
        const __m128d q = _mm_##operation##_pd(_mm256_castpd256_pd128(x), _mm256_extractf128_pd(x, 1));                \
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
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p)), _mm_loadu_ps(p + stride), 1);
#else
    return _mm256_insertf128_pd(_mm256_castpd128_pd256(_mm_loadu_pd(p)), _mm_loadu_pd(p + stride), 1);
#endif
}

FNN_INLINE void v_transpose_pieces(vec x[VLEN / PIECE]) {
    const vec low = FNN_MM(permute2f128)(x[0], x[1], 0x20), high = FNN_MM(permute2f128)(x[0], x[1], 0x31);
    x[0] = low;
    x[1] = high;
}

#if FNN_REAL == 32
FNN_INLINE vec v_lookup(vec a, vec b, vec index) {
    const __m256i lane = _mm256_cvtps_epi32(index); /* its low three bits count */
    return v_select(v_lt(index, v_set1(VLEN)), _mm256_permutevar8x32_ps(a, lane), _mm256_permutevar8x32_ps(b, lane));
}
#else
#define FNN_NO_LOOKUP 1
#endif

FNN_INLINE vec v_pin(vec x) {
    __asm__ volatile("" : "+x"(x));
    return x;
}

#endif
