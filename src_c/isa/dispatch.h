/* dispatch.h: which instruction set is in use, and how to choose another.
 *
 * Default: the best one that CPU, operating system and build support, or the one that the environment variable
 * FASTNN_ISA names, read once at the first call of any function here.
 */
#ifndef FNN_DISPATCH_H
#define FNN_DISPATCH_H

#include "../base/status.h"
#include "table.h"

#define FNN_MAX_ISAS 8

/* names[0..count) = what can run here, best first; returns count (at most FNN_MAX_ISAS). */
int fnn_available_isas(const char *names[FNN_MAX_ISAS]);

/* The instruction set that the calling thread's next op uses. */
const char *fnn_get_isa(void);

/* For the whole process; NULL returns to the default. Not while another thread is inside an op of a model it shares. */
fnn_status fnn_set_isa(const char *name);

/* For the calling thread only, over fnn_set_isa; NULL removes it. */
fnn_status fnn_set_local_isa(const char *name);

/* NULL, or why FASTNN_ISA cannot be honoured: one line that lists the names to choose from. */
const char *fnn_isa_problem(void);

#endif
