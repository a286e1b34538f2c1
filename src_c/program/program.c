/* program.c: append buffers and ops, check them. */
#include "program.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

fnn_program *fnn_program_new(int dtype) {
    fnn_program *program = calloc(1, sizeof *program);
    if (program)
        program->dtype = dtype;
    return program;
}

void fnn_program_free(fnn_program *program) {
    if (!program)
        return;
    free(program->nodes);
    free(program->buffers);
    free(program->uses);
    free(program->first_use);
    free(program);
}

/* Room for one more item of a growing array; 0 when out of memory. */
static int grow(void **items, int count, int *room, size_t item_size) {
    if (count < *room)
        return 1;
    int wanted = *room ? 2 * *room : 16;
    void *moved = realloc(*items, (size_t)wanted * item_size);
    if (!moved)
        return 0;
    *items = moved;
    *room = wanted;
    return 1;
}

int fnn_program_buffer(fnn_program *program, fnn_buffer_kind kind, fnn_affine bytes, int64_t rows_bytes) {
    void *items = program->buffers;
    if (!grow(&items, program->buffer_count, &program->buffer_room, sizeof *program->buffers))
        return -1;
    program->buffers = items;
    program->buffers[program->buffer_count] = (fnn_buffer){kind, bytes, rows_bytes, -1, -1, 0, 0};
    return program->buffer_count++;
}

int fnn_program_append(fnn_program *program, const fnn_node *node) {
    void *items = program->nodes;
    if (!grow(&items, program->node_count, &program->node_room, sizeof *program->nodes))
        return -1;
    program->nodes = items;
    fnn_node *copy = &program->nodes[program->node_count];
    *copy = *node;
    copy->varies = 0;
    for (int i = 0; i < FNN_MAX_SCALARS; i++)
        if (copy->slot[i] >= 0) {
            copy->varies = 1;
            if (copy->slot[i] >= program->slot_count)
                program->slot_count = copy->slot[i] + 1;
        }
    return program->node_count++;
}

static fnn_status refuse(fnn_program *program, int index, const char *op, const char *what) {
    snprintf(program->problem, sizeof program->problem, "op %d (%s): %s", index, op, what);
    return FNN_ERROR_ARGUMENT;
}

/* Steps through the words of a slot list such as "x weight? y="; returns 0 at the end. */
static int next_slot(const char **list, int *optional, int *written, int *own) {
    const char *p = *list;
    while (*p == ' ')
        p++;
    if (!*p)
        return 0;
    *optional = *written = *own = 0;
    for (; *p && *p != ' '; p++) {
        *optional |= *p == '?';
        *own |= *p == '*';
        *written |= *p == '=' || *p == '&' || *p == '*';
    }
    *list = p;
    return 1;
}

static fnn_status check_node(fnn_program *program, int index) {
    fnn_node *node = &program->nodes[index];
    if (node->op < 0 || node->op >= FNN_OP_COUNT)
        return refuse(program, index, "?", "unknown op");
    const fnn_op *op = &fnn_ops[node->op];
    const char *list = op->pointers;
    int optional, written, own, slot = 0;
    node->written = 0;
    for (; next_slot(&list, &optional, &written, &own); slot++) {
        int id = node->operand[slot].buffer;
        if (id < 0 && !optional)
            return refuse(program, index, op->name, "a required operand is missing");
        if (id >= program->buffer_count)
            return refuse(program, index, op->name, "unknown buffer");
        if (id < 0)
            continue;
        node->written |= (unsigned)(written != 0) << slot;
        fnn_buffer *buffer = &program->buffers[id];
        if (buffer->first < 0) {
            buffer->first = index;
            if (!written && buffer->kind != FNN_BUFFER_EXTERNAL)
                return refuse(program, index, op->name, "reads a buffer that no op has written");
        }
        buffer->last = index;
        if (written && !own && /* each workspace has a memo of its own */
            (buffer->kind == FNN_BUFFER_KEPT || (buffer->kind == FNN_BUFFER_EXTERNAL && buffer->rows_bytes == 0)))
            program->in_order = 1;
    }
    for (; slot < FNN_MAX_POINTERS; slot++)
        if (node->operand[slot].buffer >= 0)
            return refuse(program, index, op->name, "too many operands");
    return FNN_OK;
}

/* Sorts the operand slots by their buffers, so that a buffer can move without a walk over all ops. */
static fnn_status find_uses(fnn_program *program) {
    int *next = calloc((size_t)program->buffer_count + 2, sizeof *next), total = 0;
    program->first_use = next;
    if (!next)
        return FNN_ERROR_MEMORY;
    for (int n = 0; n < program->node_count; n++)
        for (int i = 0; i < FNN_MAX_POINTERS; i++)
            if (program->nodes[n].operand[i].buffer >= 0) {
                next[program->nodes[n].operand[i].buffer + 2]++;
                total++;
            }
    program->uses = calloc((size_t)total + 1, sizeof *program->uses);
    if (!program->uses)
        return FNN_ERROR_MEMORY;
    for (int b = 2; b < program->buffer_count + 2; b++)
        next[b] += next[b - 1];
    for (int n = 0; n < program->node_count; n++) /* next[b + 1] is where b's next use goes, in the end b + 1's first */
        for (int i = 0; i < FNN_MAX_POINTERS; i++)
            if (program->nodes[n].operand[i].buffer >= 0)
                program->uses[next[program->nodes[n].operand[i].buffer + 1]++] = (fnn_use){n, i};
    return FNN_OK;
}

fnn_status fnn_program_finish(fnn_program *program, int64_t capacity, int64_t chunk) {
    if (program->finished || capacity < 1 || chunk < 0 || chunk > capacity) {
        snprintf(program->problem, sizeof program->problem,
                 "finish takes a capacity of at least 1 and a chunk of at most that, once");
        return FNN_ERROR_ARGUMENT;
    }
    program->capacity = capacity;
    program->chunk = chunk;
    for (int i = 0; i < program->node_count; i++) {
        fnn_status status = check_node(program, i);
        if (status != FNN_OK)
            return status;
    }
    fnn_status status = find_uses(program);
    if (status == FNN_OK)
        status = fnn_plan_memory(program);
    program->finished = status == FNN_OK;
    return status;
}
