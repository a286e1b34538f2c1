/* own.h: asks for a cache line that will be written, away from other cores.
 *
 * Where another core has read the line since it was written last, a store waits until that core has given it up: 4 to
 * 7 ns per line in a row, and each epoch of a small network writes all that it has read. __builtin_prefetch(p, 1) does
 * not help: without a processor flag of its own gcc spells it as a plain prefetch, and the line comes shared. PREFETCHW
 * does nothing on those x86-64 that do not know it.
 */
#ifndef FNN_OWN_H
#define FNN_OWN_H

#include <stdint.h>

static inline __attribute__((always_inline)) void fnn_own_line(const void *p) {
#if defined(__x86_64__)
    __asm__ volatile("prefetchw %0" : : "m"(*(const char *)p));
#else
    __builtin_prefetch(p, 1);
#endif
}

static inline void fnn_own(const void *begin, int64_t bytes) {
    for (int64_t i = 0; i < bytes; i += 64)
        fnn_own_line((const char *)begin + i);
}

#endif
