/* rng.h: Philox4x32-10, the counter-based generator of every random stream (scalar reference).
 *
 * Salmon, Moraes, Dror & Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. A counter and a key give four
 * words with no state in between, so that a draw depends on its index only, never on threads or order.
 */
#ifndef FNN_RNG_H
#define FNN_RNG_H

#include <stdint.h>

#define FNN_PHILOX_M0 0xD2511F53u
#define FNN_PHILOX_M1 0xCD9E8D57u
#define FNN_PHILOX_W0 0x9E3779B9u
#define FNN_PHILOX_W1 0xBB67AE85u

/* out[4] = Philox4x32-10(counter[4], key[2]); out may be counter. */
void fnn_philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

#endif
