/* vec_root.h: the denominators of adaptive optimizers, where a root costs more than all else together.
 *
 *   v_twice_root(x, c) = 2 sqrt(x) + c      for x >= 0 and c >= 0, within 2 ulp, where denormals are flushed
 *
 * AVX-512 has an estimate y of 1 / sqrt(x) within 2^-14. With s = x y, s (3 - s y) is 2 sqrt(x) (1 - 1.5 (error of
 * y)^2): an estimate and three multiply-adds in place of an instruction that occupies the divider for 10 cycles (Zen 4)
 * or 18 (Ice Lake), where the quotient that follows needs it too. The estimate is taken of x brought between the
 * smallest and the largest normal number, which costs nothing: maxima and minima have ports of their own on Zen, masks
 * have not. So 0 gives s = 0 and c; infinity gives s = infinity, and a factor that must not be negative. A NaN stays,
 * and so does a negative x, a larger integer than all positive ones, which gives one. Makers of processors need not
 * agree on the last bits of the estimate. Elsewhere, and for float64, where the estimate would need a second step, it
 * is the instruction.
 */
#ifndef FNN_VEC_ROOT_H
#define FNN_VEC_ROOT_H

#if defined(FNN_ISA_AVX512) && FNN_REAL == 32
FNN_INLINE vec v_twice_root(vec x, vec c) {
    const vec low = _mm512_castsi512_ps(
        _mm512_max_epu32(_mm512_castps_si512(x), _mm512_castps_si512(_mm512_set1_ps(REAL_MIN_NORMAL))));
    const vec y = _mm512_rsqrt14_ps(_mm512_min_ps(_mm512_set1_ps(REAL_MAX), low)), s = _mm512_mul_ps(x, y);
    return _mm512_fmadd_ps(s, _mm512_max_ps(_mm512_set1_ps(1), _mm512_fnmadd_ps(s, y, _mm512_set1_ps(3))), c);
}
#else
FNN_INLINE vec v_twice_root(vec x, vec c) {
    const vec root = v_sqrt(x);
    return v_add(v_add(root, root), c);
}
#endif

#endif
