/* call.h: one op, now. Pointers, dims and scalars are whole arrays of FNN_MAX_POINTERS, _DIMS and _SCALARS. */
#ifndef FNN_CALL_H
#define FNN_CALL_H

#include "../include/fastnn.h"
#include "op.h"

/* Runs the op on as many threads as it is worth. The caller has checked sizes, strides and overlap. */
fnn_status fnn_call(int op_code, int dtype, void *const *pointers, const int64_t *dims, const double *scalars);

#endif
