/* vec.h: the one vector vocabulary that every kernel is written in.
 *
 * A translation unit has one ISA (FNN_ISA_SCALAR, _SSE2, _AVX2, _AVX512 or _NEON) and one dtype (FNN_REAL 32 or 64).
 *
 *   real, vec, vmask, VLEN                     float or double; a vector of VLEN reals; one truth value per lane
 *   v_zero v_set1 v_load v_store               any alignment
 *   v_stream(p, x)                             past the caches where the ISA can; p is aligned to a vector;
 * v_stream_end() orders such stores before all later ones v_load_n(p, n) v_store_n(p, x, n)          0 <= n <= VLEN;
 * other lanes read as 0, no byte past p[n - 1] is touched v_add v_sub v_mul v_div v_sqrt             correctly rounded
 *   v_min v_max                                the SECOND operand if either is NaN (or if both are equal)
 *   v_abs v_neg v_copysign(magnitude, sign)
 *   v_fma(a, b, c) = a*b + c                   one rounding, except on scalar and SSE2 (two)
 *   v_fnma(a, b, c) = c - a*b
 *   v_round                                    nearest integer value, ties to even
 *   v_floor                                    greatest integer value that is not above
 *   v_lt v_le v_gt v_ge v_eq v_ne v_isnan      comparisons with NaN are false; v_ne is true
 *   v_select(m, a, b)                          m ? a : b
 *   m_and m_or m_not m_any
 *   v_scale2(x, n)                             x * 2^n, n integral
 *   v_scale2_near1, v_power2(n)                same for |n| < 2 * bias and x near 1; 2^n where that is a normal number
 *   v_exponent v_mantissa                      x = mantissa * 2^exponent, 1 <= |mantissa| < 2; x finite and not 0
 *   v_reduce_add                               halves added, lane i with lane i + VLEN/2, until one is left
 *   v_reduce_max                               NaN if any lane is NaN
 *   PIECE                                      reals in 16 bytes (scalar: 1); a vector is VLEN / PIECE pieces
 *   v_load_pieces(p, stride)                   piece k from p + k * stride
 *   v_zip_low v_zip_high(a, b)                 a0 b0 a1 b1 of the lower, the upper half of each piece (not scalar)
 *   v_transpose_pieces(x[VLEN / PIECE])         piece i of vector k and piece k of vector i change places
 *   v_lookup(a, b, index)                      lane index[i] of a and b one after the other; an index is integral, from
 * 0 to 2 VLEN - 1 (any other: some lane). FNN_NO_LOOKUP: through memory v_pin keeps a broadcast in a register: gcc
 * would fold it into each use
 */
#ifndef FNN_VEC_H
#define FNN_VEC_H

#include <stdint.h>
#include <string.h>

#define FNN_INLINE static inline __attribute__((always_inline, unused))

#if FNN_REAL == 32
typedef float real;
typedef uint32_t real_bits;
#define REAL(x) x##f
#define REAL_MANTISSA_BITS 23
#define REAL_BIAS 127
#define REAL_MAX 3.40282346638528859812e+38f
#define REAL_MIN_NORMAL 1.17549435082228750797e-38f
#define REAL_TWO_TO_MANTISSA 8388608.0f /* 2^23: from here on every real is an integer */
#elif FNN_REAL == 64
typedef double real;
typedef uint64_t real_bits;
#define REAL(x) x
#define REAL_MANTISSA_BITS 52
#define REAL_BIAS 1023
#define REAL_MAX 1.79769313486231570815e+308
#define REAL_MIN_NORMAL 2.22507385850720138309e-308
#define REAL_TWO_TO_MANTISSA 4503599627370496.0
#else
#error "define FNN_REAL as 32 or 64"
#endif
/* (x + FNN_ROUNDER) - FNN_ROUNDER rounds to an integer, ties to even, for |x| < 2^(mantissa bits - 2) */
#define FNN_ROUNDER (REAL(1.5) * REAL_TWO_TO_MANTISSA)
#ifdef FNN_ISA_SCALAR
#define PIECE 1
#else
#define PIECE (16 / (FNN_REAL / 8))
#endif
#define REAL_INFINITY ((real)__builtin_inf())
#define REAL_NAN ((real)__builtin_nan(""))

#if defined(FNN_ISA_AVX512)
#include "vec_avx512.h"
#elif defined(FNN_ISA_AVX2)
#include "vec_avx2.h"
#elif defined(FNN_ISA_SSE2)
#include "vec_sse2.h"
#elif defined(FNN_ISA_NEON)
#include "vec_neon.h"
#elif defined(FNN_ISA_SCALAR)
#include "vec_scalar.h"
#else
#error "define one FNN_ISA_<name>"
#endif

#if !defined(FNN_ISA_AVX512)
#include "vec_bits.h"
#endif

#ifdef FNN_NO_LOOKUP
FNN_INLINE vec v_lookup(vec a, vec b, vec index) {
    real table[2 * VLEN], lane[VLEN];
    v_store(table, a);
    v_store(table + VLEN, b);
    v_store(lane, index);
    for (int i = 0; i < VLEN; i++)
        lane[i] = table[(unsigned)(int)lane[i] % (2 * VLEN)];
    return v_load(lane);
}
#endif

#endif
