/* memory.h: the one allocator, and a bump allocator over a block.
 *
 * Everything is aligned to FNN_ALIGNMENT bytes. Sizes are checked for overflow; failure is NULL, never an abort.
 */
#ifndef FNN_MEMORY_H
#define FNN_MEMORY_H

#include <stddef.h>
#include <stdint.h>

#define FNN_ALIGNMENT 64

/* *product = a * b; 0 if it fits a size_t, else nonzero (and *product is unchanged). */
int fnn_size_multiply(size_t a, size_t b, size_t *product);

/* An uninitialised block, or NULL. Zero bytes give a unique pointer too. */
void *fnn_aligned_alloc(size_t bytes);
/* NULL is allowed. */
void fnn_aligned_free(void *block);

/* Bytes rounded up to the alignment; SIZE_MAX when that does not fit. */
size_t fnn_align_up(size_t bytes);

/* A block cut into aligned pieces. With base NULL it only counts, so that one function can both measure a layout
 * (scratch()) and lay it out (run()). */
typedef struct fnn_arena {
    char *base;
    size_t used;
} fnn_arena;

/* The next piece of count items: its address, or NULL while counting. The caller has made the block large enough. */
void *fnn_arena_take(fnn_arena *arena, size_t count, size_t item_size);

#endif
