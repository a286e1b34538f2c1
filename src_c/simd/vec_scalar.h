/* vec_scalar.h: vec.h in plain C, one lane: the spelling for every other machine, and the easiest to read. */
#ifndef FNN_VEC_SCALAR_H
#define FNN_VEC_SCALAR_H

#define FNN_ISA_NAME "scalar"
#define FNN_NO_FMA 1
#define FNN_NO_ROUND 1
#define FNN_NO_LOOKUP 1

typedef real vec;
typedef int vmask;
#define VLEN 1

FNN_INLINE vmask m_and(vmask a, vmask b) { return a & b; }
FNN_INLINE vmask m_or(vmask a, vmask b) { return a | b; }
FNN_INLINE vmask m_not(vmask a) { return !a; }
FNN_INLINE int m_any(vmask a) { return a; }

FNN_INLINE vec v_zero(void) { return 0; }
FNN_INLINE vec v_set1(real x) { return x; }
FNN_INLINE vec v_load(const real *p) { return *p; }
FNN_INLINE void v_store(real *p, vec x) { *p = x; }
FNN_INLINE void v_stream(real *p, vec x) { v_store(p, x); }
FNN_INLINE void v_stream_end(void) {}
FNN_INLINE vec v_load_n(const real *p, int n) { return n ? *p : 0; }
FNN_INLINE void v_store_n(real *p, vec x, int n) {
    if (n)
        *p = x;
}

FNN_INLINE vec v_add(vec a, vec b) { return a + b; }
FNN_INLINE vec v_sub(vec a, vec b) { return a - b; }
FNN_INLINE vec v_mul(vec a, vec b) { return a * b; }
FNN_INLINE vec v_div(vec a, vec b) { return a / b; }
FNN_INLINE vec v_min(vec a, vec b) { return a < b ? a : b; }
FNN_INLINE vec v_max(vec a, vec b) { return a > b ? a : b; }
FNN_INLINE vec v_fma(vec a, vec b, vec c) { return a * b + c; }
FNN_INLINE vec v_fnma(vec a, vec b, vec c) { return c - a * b; }
FNN_INLINE vec v_neg(vec a) { return -a; }
#if FNN_REAL == 32
FNN_INLINE vec v_sqrt(vec a) { return __builtin_sqrtf(a); }
FNN_INLINE vec v_abs(vec a) { return __builtin_fabsf(a); }
FNN_INLINE vec v_copysign(vec magnitude, vec sign) { return __builtin_copysignf(magnitude, sign); }
#else
FNN_INLINE vec v_sqrt(vec a) { return __builtin_sqrt(a); }
FNN_INLINE vec v_abs(vec a) { return __builtin_fabs(a); }
FNN_INLINE vec v_copysign(vec magnitude, vec sign) { return __builtin_copysign(magnitude, sign); }
#endif

FNN_INLINE vmask v_lt(vec a, vec b) { return a < b; }
FNN_INLINE vmask v_le(vec a, vec b) { return a <= b; }
FNN_INLINE vmask v_gt(vec a, vec b) { return a > b; }
FNN_INLINE vmask v_ge(vec a, vec b) { return a >= b; }
FNN_INLINE vmask v_eq(vec a, vec b) { return a == b; }
FNN_INLINE vmask v_ne(vec a, vec b) { return a != b; }
FNN_INLINE vmask v_isnan(vec a) { return a != a; }
FNN_INLINE vec v_select(vmask m, vec a, vec b) { return m ? a : b; }

/* bits, for vec_bits.h */
FNN_INLINE real_bits fnn_bits_of(real x) {
    real_bits bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
FNN_INLINE real fnn_real_of(real_bits bits) {
    real x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
FNN_INLINE vec v_bit_and(vec a, vec b) { return fnn_real_of(fnn_bits_of(a) & fnn_bits_of(b)); }
FNN_INLINE vec v_bit_or(vec a, vec b) { return fnn_real_of(fnn_bits_of(a) | fnn_bits_of(b)); }
FNN_INLINE vec v_bit_left(vec a) { return fnn_real_of(fnn_bits_of(a) << REAL_MANTISSA_BITS); }
FNN_INLINE vec v_bit_right(vec a) { return fnn_real_of(fnn_bits_of(a) >> REAL_MANTISSA_BITS); }

FNN_INLINE real v_reduce_add(vec x) { return x; }
FNN_INLINE real v_reduce_max(vec x) { return x; }
FNN_INLINE vec v_load_pieces(const real *p, int64_t stride) {
    (void)stride;
    return *p;
}
FNN_INLINE void v_transpose_pieces(vec x[1]) { (void)x; }
FNN_INLINE vec v_pin(vec x) { return x; }

#endif
