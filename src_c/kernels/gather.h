/* gather.h: rows picked by an index and converted to the kernel's dtype: y[i, :] = src[index[i], :].
 *
 * Conversions round to nearest. The rows of a shuffled epoch are anywhere in memory, so the start of a later one is
 * requested while this one is copied; the processor's own prefetcher does the rest of a long row.
 */
#include <string.h>

#include "../include/fastnn.h"

enum { GATHER_AHEAD = 2, GATHER_LINES = 8 };

/* IEEE binary16 to binary32, exact. Subnormals become normal by a multiplication; infinity and NaN keep their bits. */
FNN_INLINE float gather_half(uint16_t half) {
    const uint32_t sign = (uint32_t)(half & 0x8000) << 16, magnitude = half & 0x7fff;
    const uint32_t special = magnitude >= 0x7c00 ? 0x7f800000 : 0;
    uint32_t bits = magnitude << 13;
    float value;
    memcpy(&value, &bits, sizeof value);
    value *= 0x1p112f; /* the exponent bias moves from 15 to 127 */
    memcpy(&bits, &value, sizeof bits);
    bits |= sign | special;
    memcpy(&value, &bits, sizeof value);
    return value;
}

#define GATHER_CONVERT(name, source, expression)                                                                       \
    static void gather_##name(int64_t n, const void *src, real *restrict y) {                                          \
        const source *restrict s = src;                                                                                \
        for (int64_t i = 0; i < n; i++) {                                                                              \
            const source v = s[i];                                                                                     \
            y[i] = (real)(expression);                                                                                 \
        }                                                                                                              \
    }
GATHER_CONVERT(float32, float, v)
GATHER_CONVERT(float64, double, v)
GATHER_CONVERT(uint8, uint8_t, v)
GATHER_CONVERT(int8, int8_t, v)
GATHER_CONVERT(int16, int16_t, v)
GATHER_CONVERT(uint16, uint16_t, v)
GATHER_CONVERT(int32, int32_t, v)
GATHER_CONVERT(int64, int64_t, v)
GATHER_CONVERT(uint32, uint32_t, v)
GATHER_CONVERT(bool, uint8_t, v != 0)
GATHER_CONVERT(float16, uint16_t, gather_half(v))
#undef GATHER_CONVERT

static void gather_rows(int64_t rows, int64_t cols, const void *src, int64_t src_row, int src_dtype,
                        const int64_t *index, void *y, int64_t y_row) {
    static const struct {
        int64_t bytes;
        void (*convert)(int64_t n, const void *src, real *restrict y);
    } sources[FNN_DTYPE_COUNT] = {
        [FNN_FLOAT32] = {4, gather_float32}, [FNN_FLOAT64] = {8, gather_float64}, [FNN_UINT8] = {1, gather_uint8},
        [FNN_INT8] = {1, gather_int8},       [FNN_INT16] = {2, gather_int16},     [FNN_UINT16] = {2, gather_uint16},
        [FNN_INT32] = {4, gather_int32},     [FNN_INT64] = {8, gather_int64},     [FNN_UINT32] = {4, gather_uint32},
        [FNN_BOOL] = {1, gather_bool},       [FNN_FLOAT16] = {2, gather_float16},
    };
    const int64_t row_bytes = src_row * sources[src_dtype].bytes, used = cols * sources[src_dtype].bytes;
    const char *base = src;
    for (int64_t i = 0; i < rows; i++) {
        if (i + GATHER_AHEAD < rows) {
            const char *later = base + index[i + GATHER_AHEAD] * row_bytes;
            for (int64_t line = 0; line < GATHER_LINES * 64 && line < used; line += 64)
                __builtin_prefetch(later + line);
        }
        sources[src_dtype].convert(cols, base + index[i] * row_bytes, (real *)y + i * y_row);
    }
}
