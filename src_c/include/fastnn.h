/* fastnn.h: the public C interface of fastnn.
 *
 * Functions return fnn_status unless they cannot fail. Sizes are 64-bit; every pointer's shape is written beside it.
 */
#ifndef FASTNN_H
#define FASTNN_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What went wrong; FNN_OK is 0. */
typedef enum fnn_status {
    FNN_OK = 0,
    FNN_ERROR_MEMORY = 1,          /* an allocation failed, or its size does not fit */
    FNN_ERROR_ARGUMENT = 2,        /* an argument is outside its range */
    FNN_ERROR_UNKNOWN_ISA = 3,     /* no instruction set of this name */
    FNN_ERROR_UNSUPPORTED_ISA = 4, /* known, but this CPU, system or build cannot run it */
    FNN_STATUS_COUNT
} fnn_status;

/* Element types of arrays. Kernels compute in the first two; the others are sources of a gather. */
typedef enum fnn_dtype {
    FNN_FLOAT32 = 0,
    FNN_FLOAT64 = 1,
    FNN_UINT8 = 2,
    FNN_INT8 = 3,
    FNN_INT16 = 4,
    FNN_UINT16 = 5,
    FNN_INT32 = 6,
    FNN_INT64 = 7,
    FNN_UINT32 = 8,
    FNN_BOOL = 9, /* one byte, 0 or not 0 */
    FNN_FLOAT16 = 10,
    FNN_DTYPE_COUNT
} fnn_dtype;

#ifdef __cplusplus
}
#endif

#endif
