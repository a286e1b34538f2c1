/* guarded.h: random arrays between two pages that may not be touched, and CHECK, for tests/c. */
#ifndef FNN_TESTS_GUARDED_H
#define FNN_TESTS_GUARDED_H

#define _GNU_SOURCE
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "isa/table.h"

static const fnn_table *table;
static int failures = 0, checks = 0;
static uint64_t state = 88172645463325252u;

static uint64_t random_bits(void) {
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}
static int64_t random_below(int64_t n) { return (int64_t)(random_bits() % (uint64_t)n); }
static double random_real(double scale) { return scale * ((double)(random_bits() >> 11) / 9007199254740992.0 * 2 - 1); }

#define CHECK(condition, ...)                                                                                          \
    do {                                                                                                               \
        checks++;                                                                                                      \
        if (!(condition) && failures++ < 20) {                                                                         \
            printf("WRONG (%s, %d bytes): ", table->isa, table->item_size);                                            \
            printf(__VA_ARGS__);                                                                                       \
            printf("\n");                                                                                              \
        }                                                                                                              \
    } while (0)

/* n reals between two forbidden pages, flush with the second one (or, at random, with the first). */
typedef struct array {
    char *data, *map;
    size_t mapped;
    int64_t n;
} array;

static array new_array(int64_t n) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), bytes = (size_t)n * (size_t)table->item_size;
    const size_t inside = (bytes + page - 1) / page * page;
    array a = {.mapped = inside + 2 * page, .n = n};
    a.map = mmap(NULL, a.mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (a.map == MAP_FAILED)
        exit(2);
    mprotect(a.map, page, PROT_NONE);
    mprotect(a.map + page + inside, page, PROT_NONE);
    a.data = a.map + page + (random_below(4) ? inside - bytes : 0);
    return a;
}
static void free_array(array *a) { munmap(a->map, a->mapped); }
static inline double get(const array *a, int64_t i) {
    return table->item_size == 4 ? (double)((float *)a->data)[i] : ((double *)a->data)[i];
}
static void set(array *a, int64_t i, double v) {
    if (table->item_size == 4)
        ((float *)a->data)[i] = (float)v;
    else
        ((double *)a->data)[i] = v;
}
static array random_array(int64_t n, double scale) {
    array a = new_array(n);
    for (int64_t i = 0; i < n; i++)
        set(&a, i, random_below(50) ? random_real(scale) : 0);
    return a;
}
static array copy_array(const array *a) {
    array b = new_array(a->n);
    memcpy(b.data, a->data, (size_t)a->n * (size_t)table->item_size);
    return b;
}
static inline double rounded(double v) { return table->item_size == 4 ? (double)(float)v : v; }
static inline int same(double a, double b) { return a == b || (a != a && b != b); }

#endif
