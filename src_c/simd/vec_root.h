/* vec_root.h: the denominators of adaptive optimizers, where a root costs more than all else together.
 *
 *   v_twice_root(x, c) = 2 sqrt(x) + c      for x >= 0 and a normal c > 0, within 2 ulp
 *
 * AVX-512 has an estimate y of 1 / sqrt(x) within 2^-14. With s = x y, s (3 - s y) is 2 sqrt(x) (1 - 1.5 (error of
 * y)^2): three multiply-adds in place of an instruction that occupies the divider for 10 cycles (Zen 4) or 18 (Ice
 * Lake). Makers of processors need not agree on the last bits of the estimate. Elsewhere, and for float64, where the
 * estimate would need a second step, it is the instruction.
 */
#ifndef FNN_VEC_ROOT_H
#define FNN_VEC_ROOT_H

#if defined(FNN_ISA_AVX512) && FNN_REAL == 32
FNN_INLINE vec v_twice_root(vec x, vec c) {
    const vec y = _mm512_rsqrt14_ps(x), s = _mm512_mul_ps(x, y), t = _mm512_fnmadd_ps(s, y, _mm512_set1_ps(3));
    const __mmask16 odd = _mm512_fpclass_ps_mask(x, 0x2e); /* 0 and infinity: x y is NaN, but x + c right */
    return _mm512_mask3_fmadd_ps(s, t, _mm512_mask_add_ps(c, odd, x, c), (__mmask16)~odd);
}
#else
FNN_INLINE vec v_twice_root(vec x, vec c) {
    const vec root = v_sqrt(x);
    return v_add(v_add(root, root), c);
}
#endif

#endif
