/* plan.c: the memory plan. Buffers whose lives do not overlap share memory: largest first, each at the lowest offset
 * where no buffer that lives at the same time is in the way (greedy by size; Pisarchyk & Lee 2020). */
#include <stdio.h>
#include <stdlib.h>

#include "program.h"

enum { ALIGNMENT = 64 };

typedef struct piece {
    int buffer, first, last;
    int64_t bytes, offset;
} piece;

static int larger_first(const void *left, const void *right) {
    const piece *a = left, *b = right;
    if (a->bytes != b->bytes)
        return a->bytes < b->bytes ? 1 : -1;
    return a->buffer - b->buffer;
}

static int lives_overlap(const piece *a, const piece *b) { return a->first <= b->last && b->first <= a->last; }

/* Puts `one` at the lowest offset where no piece that lives at the same time is in the way, and into `placed`, which
 * stays sorted by offset. */
static void place(piece *placed, int count, piece *one) {
    int64_t free_from = 0;
    for (int i = 0; i < count; i++) {
        if (!lives_overlap(&placed[i], one))
            continue;
        if (placed[i].offset >= free_from + one->bytes)
            break; /* it fits before this one, and all others lie behind */
        int64_t end = placed[i].offset + placed[i].bytes;
        if (end > free_from)
            free_from = end;
    }
    one->offset = free_from;
    int at = count;
    for (; at > 0 && placed[at - 1].offset > one->offset; at--)
        placed[at] = placed[at - 1];
    placed[at] = *one;
}

/* No plan can be smaller than the most that is alive at one op. */
static int64_t most_alive(const piece *pieces, int count, int nodes) {
    int64_t most = 0;
    for (int node = 0; node < nodes; node++) {
        int64_t alive = 0;
        for (int i = 0; i < count; i++)
            if (pieces[i].first <= node && node <= pieces[i].last)
                alive += pieces[i].bytes;
        if (alive > most)
            most = alive;
    }
    return most;
}

fnn_status fnn_plan_memory(fnn_program *program) {
    int64_t rows = program->chunk > 0 ? program->chunk : program->capacity;
    size_t room = (size_t)program->buffer_count + 1;
    piece *pieces = calloc(2 * room, sizeof *pieces), *placed = pieces + room;
    if (!pieces)
        return FNN_ERROR_MEMORY;
    int count = 0;
    for (int i = 0; i < program->buffer_count; i++) {
        const fnn_buffer *buffer = &program->buffers[i];
        if (buffer->kind == FNN_BUFFER_EXTERNAL || buffer->first < 0)
            continue;
        int64_t bytes = fnn_affine_at(buffer->bytes, rows);
        if (bytes < 0) {
            snprintf(program->problem, sizeof program->problem, "buffer %d has a negative size", i);
            free(pieces);
            return FNN_ERROR_ARGUMENT;
        }
        int kept = buffer->kind == FNN_BUFFER_KEPT;
        bytes = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        pieces[count++] = (piece){i, kept ? 0 : buffer->first, kept ? program->node_count : buffer->last, bytes, 0};
    }
    qsort(pieces, (size_t)count, sizeof *pieces, larger_first);
    program->arena_bytes = 0;
    for (int i = 0; i < count; i++) {
        place(placed, i, &pieces[i]);
        program->buffers[pieces[i].buffer].offset = pieces[i].offset;
        int64_t end = pieces[i].offset + pieces[i].bytes;
        if (end > program->arena_bytes)
            program->arena_bytes = end;
    }
    program->lower_bound_bytes = most_alive(pieces, count, program->node_count);
    free(pieces);
    return FNN_OK;
}
