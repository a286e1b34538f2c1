/* vec_wide.h: 64-bit integer lanes, for counter-based generators (kernels/dropout.h).
 *
 *   wide, WLEN                 a vector of WLEN uint64_t
 *   w_set1 w_load w_add w_xor
 *   w_multiply32(a, b)         low half of a times low half of b: 64 bits
 *   w_high(a)                  a >> 32
 *   w_join32(low, high)        low halves of both: low | high << 32
 *   w_store_pairs(p, a, b)     p[2 i] = a[i], p[2 i + 1] = b[i]
 *
 * Whoever multiplies next reads low halves only, so whatever is left in a high half is harmless.
 */
#ifndef FNN_VEC_WIDE_H
#define FNN_VEC_WIDE_H

#if defined(FNN_ISA_AVX512)
typedef __m512i wide;
#define WLEN 8
FNN_INLINE wide w_set1(uint64_t x) { return _mm512_set1_epi64((long long)x); }
FNN_INLINE wide w_load(const uint64_t *p) { return _mm512_loadu_si512(p); }
FNN_INLINE wide w_add(wide a, wide b) { return _mm512_add_epi64(a, b); }
FNN_INLINE wide w_xor(wide a, wide b) { return _mm512_xor_si512(a, b); }
FNN_INLINE wide w_multiply32(wide a, wide b) { return _mm512_mul_epu32(a, b); }
FNN_INLINE wide w_high(wide a) { return _mm512_srli_epi64(a, 32); }
FNN_INLINE wide w_join32(wide low, wide high) {
    return _mm512_mask_blend_epi32(0xaaaa, low, _mm512_slli_epi64(high, 32));
}
FNN_INLINE void w_store_pairs(uint64_t *p, wide a, wide b) {
    const wide first = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11),
               second = _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15);
    _mm512_storeu_si512(p, _mm512_permutex2var_epi64(a, first, b));
    _mm512_storeu_si512(p + WLEN, _mm512_permutex2var_epi64(a, second, b));
}
#elif defined(FNN_ISA_AVX2)
typedef __m256i wide;
#define WLEN 4
FNN_INLINE wide w_set1(uint64_t x) { return _mm256_set1_epi64x((long long)x); }
FNN_INLINE wide w_load(const uint64_t *p) { return _mm256_loadu_si256((const __m256i *)p); }
FNN_INLINE wide w_add(wide a, wide b) { return _mm256_add_epi64(a, b); }
FNN_INLINE wide w_xor(wide a, wide b) { return _mm256_xor_si256(a, b); }
FNN_INLINE wide w_multiply32(wide a, wide b) { return _mm256_mul_epu32(a, b); }
FNN_INLINE wide w_high(wide a) { return _mm256_srli_epi64(a, 32); }
FNN_INLINE wide w_join32(wide low, wide high) { return _mm256_blend_epi32(low, _mm256_slli_epi64(high, 32), 0xaa); }
FNN_INLINE void w_store_pairs(uint64_t *p, wide a, wide b) {
    const wide even = _mm256_unpacklo_epi64(a, b), odd = _mm256_unpackhi_epi64(a, b); /* a0 b0 a2 b2, a1 b1 a3 b3 */
    _mm256_storeu_si256((__m256i *)p, _mm256_permute2x128_si256(even, odd, 0x20));
    _mm256_storeu_si256((__m256i *)(p + WLEN), _mm256_permute2x128_si256(even, odd, 0x31));
}
#elif defined(FNN_ISA_SSE2)
typedef __m128i wide;
#define WLEN 2
FNN_INLINE wide w_set1(uint64_t x) { return _mm_set1_epi64x((long long)x); }
FNN_INLINE wide w_load(const uint64_t *p) { return _mm_loadu_si128((const __m128i *)p); }
FNN_INLINE wide w_add(wide a, wide b) { return _mm_add_epi64(a, b); }
FNN_INLINE wide w_xor(wide a, wide b) { return _mm_xor_si128(a, b); }
FNN_INLINE wide w_multiply32(wide a, wide b) { return _mm_mul_epu32(a, b); }
FNN_INLINE wide w_high(wide a) { return _mm_srli_epi64(a, 32); }
FNN_INLINE wide w_join32(wide low, wide high) {
    return _mm_or_si128(_mm_and_si128(low, w_set1(0xffffffff)), _mm_slli_epi64(high, 32));
}
FNN_INLINE void w_store_pairs(uint64_t *p, wide a, wide b) {
    _mm_storeu_si128((__m128i *)p, _mm_unpacklo_epi64(a, b));
    _mm_storeu_si128((__m128i *)(p + WLEN), _mm_unpackhi_epi64(a, b));
}
#elif defined(FNN_ISA_NEON)
typedef uint64x2_t wide;
#define WLEN 2
FNN_INLINE wide w_set1(uint64_t x) { return vdupq_n_u64(x); }
FNN_INLINE wide w_load(const uint64_t *p) { return vld1q_u64(p); }
FNN_INLINE wide w_add(wide a, wide b) { return vaddq_u64(a, b); }
FNN_INLINE wide w_xor(wide a, wide b) { return veorq_u64(a, b); }
FNN_INLINE wide w_multiply32(wide a, wide b) { return vmull_u32(vmovn_u64(a), vmovn_u64(b)); }
FNN_INLINE wide w_high(wide a) { return vshrq_n_u64(a, 32); }
FNN_INLINE wide w_join32(wide low, wide high) { return vsliq_n_u64(low, high, 32); }
FNN_INLINE void w_store_pairs(uint64_t *p, wide a, wide b) {
    const uint64x2x2_t pairs = {{a, b}};
    vst2q_u64(p, pairs);
}
#else
typedef uint64_t wide;
#define WLEN 1
FNN_INLINE wide w_set1(uint64_t x) { return x; }
FNN_INLINE wide w_load(const uint64_t *p) { return *p; }
FNN_INLINE wide w_add(wide a, wide b) { return a + b; }
FNN_INLINE wide w_xor(wide a, wide b) { return a ^ b; }
FNN_INLINE wide w_multiply32(wide a, wide b) { return (a & 0xffffffff) * (b & 0xffffffff); }
FNN_INLINE wide w_high(wide a) { return a >> 32; }
FNN_INLINE wide w_join32(wide low, wide high) { return (low & 0xffffffff) | high << 32; }
FNN_INLINE void w_store_pairs(uint64_t *p, wide a, wide b) {
    p[0] = a;
    p[1] = b;
}
#endif

#endif
