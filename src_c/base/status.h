/* status.h: what the library's own files need of the public status codes, and their texts. */
#ifndef FNN_STATUS_H
#define FNN_STATUS_H

#include "../include/fastnn.h"

/* One line for a status, without a full stop; never NULL. */
static inline const char *fnn_status_text(int status) {
    static const char *const texts[FNN_STATUS_COUNT] = {
        [FNN_OK] = "ok",
        [FNN_ERROR_MEMORY] = "out of memory",
        [FNN_ERROR_ARGUMENT] = "an argument is outside its range",
        [FNN_ERROR_UNKNOWN_ISA] = "unknown instruction set",
        [FNN_ERROR_UNSUPPORTED_ISA] = "instruction set not supported by this CPU or this build",
    };
    return status >= 0 && status < FNN_STATUS_COUNT ? texts[status] : "unknown status";
}

#endif
