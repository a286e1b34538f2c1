/* probe.h: measures this machine with the kernels of the instruction set in use, by a team of any size. */
#ifndef FNN_PROBE_H
#define FNN_PROBE_H

#include <stdint.h>

/* Floating-point operations per second of multiply-adds in registers; the best of several trials of `seconds` each. */
double fnn_probe_flops(int dtype, int threads, double seconds);
/* Bytes per second over a working set of so many bytes of the block at `memory`, shared by the team: the best of
 * reading it, of a = b + s * c on thirds of it and of a += s * c on halves, each the best of several trials. */
double fnn_probe_bandwidth(int dtype, int threads, void *memory, int64_t bytes, double seconds);

#endif
