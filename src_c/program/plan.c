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

/* The lowest offset at which `one` fits among the pieces already placed, which are sorted by nothing: try 0 and the
 * end of every piece. */
static int64_t lowest_offset(const piece *placed, int count, const piece *one) {
    int64_t best = INT64_MAX;
    for (int candidate = -1; candidate < count; candidate++) {
        if (candidate >= 0 && !lives_overlap(&placed[candidate], one))
            continue;
        int64_t offset = candidate < 0 ? 0 : placed[candidate].offset + placed[candidate].bytes;
        if (offset >= best)
            continue;
        int free_here = 1;
        for (int i = 0; i < count && free_here; i++)
            free_here = !lives_overlap(&placed[i], one) || placed[i].offset >= offset + one->bytes ||
                        placed[i].offset + placed[i].bytes <= offset;
        if (free_here)
            best = offset;
    }
    return best;
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
    piece *pieces = calloc((size_t)program->buffer_count + 1, sizeof *pieces);
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
        pieces[i].offset = lowest_offset(pieces, i, &pieces[i]);
        program->buffers[pieces[i].buffer].offset = pieces[i].offset;
        int64_t end = pieces[i].offset + pieces[i].bytes;
        if (end > program->arena_bytes)
            program->arena_bytes = end;
    }
    program->lower_bound_bytes = most_alive(pieces, count, program->node_count);
    free(pieces);
    return FNN_OK;
}
