/* call.h: one op, now. */
#ifndef FNN_CALL_H
#define FNN_CALL_H

#include "../include/fastnn.h"
#include "op.h"

/* Work of less than this many ns is done before a caller could have given up a lock (Python's GIL) and taken it back;
 * worse, another thread that holds it meanwhile keeps it for milliseconds. */
#define FNN_BRIEF_NS 1500

/* Sets the table and returns the estimated ns on one thread. Pointers, dims and scalars have been set, unused ones to
 * 0, sizes, strides and overlap checked. */
double fnn_call_prepare(int op_code, int dtype, fnn_args *args);

/* Runs a prepared op on as many threads as `ns` is worth. */
fnn_status fnn_call_run(int op_code, fnn_args *args, double ns);

#endif
