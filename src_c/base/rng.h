/* rng.h: the constants of Philox4x32-10, the counter-based generator of every random stream.
 *
 * Salmon, Moraes, Dror & Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. A counter and a key give four
 * words with no state in between, so that a draw depends on its index only, never on threads or order.
 */
#ifndef FNN_RNG_H
#define FNN_RNG_H

#define FNN_PHILOX_M0 0xD2511F53u
#define FNN_PHILOX_M1 0xCD9E8D57u
#define FNN_PHILOX_W0 0x9E3779B9u
#define FNN_PHILOX_W1 0xBB67AE85u

#endif
