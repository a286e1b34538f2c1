/* schedule.c: who runs each op, and where the team must wait.
 *
 * Ops are walked in order. `waiting` are those since the last barrier: an op that touches memory which another member
 * touches in one of them, and one of the two writes, needs a barrier before it. Ops after each other over the same rows
 * or columns need none, nor do ops that have nothing to do with each other. Each op takes the way that lets the slowest
 * member be done soonest, by the estimates of the ops: one member, or all of them sharing rows or columns. Nothing here
 * changes a bit.
 */
#include "program.h"

#include <stddef.h>

/* A barrier, what a member does for an op before its first multiply-add, and a region. */
static const double BARRIER_NS = 220, TURN_NS = 60, REGION_NS = 2500;
static const double HABIT_NS = 150;
enum { MOST_WAITING = 48, MOST_MEETINGS = 256, MOST_MEMBERS = 64, MANY_MEMBERS = 8, SHORT_NS = 20000 };

/* What an op touches through an operand, all members together. */
typedef struct touch {
    enum { NOTHING, UNKNOWN, KNOWN } state;
    int buffer, external, fixed, written;
    fnn_region region;
} touch;

typedef struct waiting {
    int node, threads, owner;
    touch touches[FNN_MAX_POINTERS];
} waiting;

/* An operand of a waiting op and one of the next op, for the same memory, one of them written. */
typedef struct meeting {
    int waiting, before, next;
    int always; /* whichever part of it a member touches */
} meeting;

typedef struct schedule {
    fnn_workspace *workspace;
    int team, count, meetings;
    waiting waiting[MOST_WAITING], next;
    meeting meeting[MOST_MEETINGS];
    double load[MOST_MEMBERS]; /* ns since the start */
    int64_t scratch, budget, most;
    int habit; /* the cut that is taken where little speaks for another */
} schedule;

/* A way to run an op. */
typedef struct way {
    int threads, owner, cut, barrier;
    double load[MOST_MEMBERS], cost;
    int planned;
    fnn_plan plan;
} way;

static int region_of(const fnn_workspace *w, int node, int slot, const fnn_team *team, fnn_region *region) {
    const fnn_share *share = &fnn_shares[w->program->nodes[node].op];
    return share->region && share->region(&w->args[node], team, slot, region);
}

static int regions_meet(const fnn_region *p, const fnn_region *q) {
    if (p->runs <= 0 || q->runs <= 0)
        return 0;
    if (p->start > q->start) {
        const fnn_region *other = p;
        p = q, q = other;
    }
    if (p->start + (p->runs - 1) * p->pitch + p->bytes <= q->start)
        return 0;
    const int64_t pitch = p->runs > 1 ? p->pitch : q->pitch;
    if (pitch <= 0 || (q->runs > 1 && q->pitch != pitch))
        return 1;
    const int64_t column = (q->start - p->start) % pitch; /* runs side by side: columns of one matrix */
    return column < p->bytes || column + q->bytes > pitch;
}

static touch touch_of(const fnn_workspace *w, int node, int slot) {
    const fnn_node *n = &w->program->nodes[node];
    const int id = n->operand[slot].buffer;
    const fnn_team solo = {0, 1, NULL};
    if (id < 0)
        return (touch){.state = NOTHING};
    const fnn_buffer *buffer = &w->program->buffers[id];
    touch t = {.state = KNOWN,
               .buffer = id,
               .external = buffer->kind == FNN_BUFFER_EXTERNAL,
               .fixed = buffer->fixed,
               .written = (int)(n->written >> slot & 1)};
    if (region_of(w, node, slot, &solo, &t.region)) {
        if (t.region.runs <= 0)
            t.state = NOTHING;
    } else if (t.external) {
        t.state = UNKNOWN;
    } else {
        const int64_t bytes = fnn_affine_at(buffer->bytes, w->rows);
        t.region = (fnn_region){w->pointers[id], bytes > 0, bytes, bytes};
    }
    return t;
}

/* Notes where the next op touches the memory of a waiting one. */
static void find_meetings(schedule *s, int node) {
    s->next.node = node;
    s->meetings = 0;
    for (int i = 0; i < FNN_MAX_POINTERS; i++)
        s->next.touches[i] = touch_of(s->workspace, node, i);
    for (int k = 0; k < s->count; k++)
        for (int i = 0; i < FNN_MAX_POINTERS; i++)
            for (int j = 0; j < FNN_MAX_POINTERS; j++) {
                const touch *a = &s->waiting[k].touches[i], *b = &s->next.touches[j];
                if (a->state == NOTHING || b->state == NOTHING || !(a->written || b->written) ||
                    a->external != b->external)
                    continue; /* the arena is nobody else's */
                /* of addresses that the next run may bring, nothing is known */
                const int strangers = a->external && a->buffer != b->buffer && !(a->fixed && b->fixed);
                const int always = strangers || a->state == UNKNOWN || b->state == UNKNOWN;
                if ((always || regions_meet(&a->region, &b->region)) && s->meetings < MOST_MEETINGS)
                    s->meeting[s->meetings++] = (meeting){k, i, j, always || s->team > MANY_MEMBERS};
            }
}

/* Whether a member that touches the memory of a meeting touches what another one has touched. */
static int members_meet(const schedule *s, const meeting *m, const way *way) {
    const waiting *before = &s->waiting[m->waiting];
    const fnn_workspace *w = s->workspace;
    for (int i = 0; i < s->team; i++) {
        const fnn_team team = {before->threads > 1 ? i : 0, before->threads, NULL};
        fnn_region p, q;
        if (before->threads == 1 && before->owner != i)
            continue;
        if (!m->always && !region_of(w, before->node, m->before, &team, &p))
            p = before->touches[m->before].region;
        for (int j = 0; j < s->team; j++) {
            const fnn_team other = {way->threads > 1 ? j : 0, way->threads, NULL};
            if (i == j || (way->threads == 1 && way->owner != j))
                continue;
            if (!m->always && !region_of(w, s->next.node, m->next, &other, &q))
                q = s->next.touches[m->next].region;
            if (m->always || regions_meet(&p, &q))
                return 1;
        }
    }
    return 0;
}

/* Whether the next op must wait for another member's part of an earlier one. */
static int must_wait(const schedule *s, const way *way) {
    if (s->count == MOST_WAITING || s->meetings == MOST_MEETINGS)
        return 1;
    for (int m = 0; m < s->meetings; m++)
        if (members_meet(s, &s->meeting[m], way))
            return 1;
    return 0;
}

/* Bytes that a member writes; -1: that is not known. */
static double output_bytes(const fnn_workspace *w, int node, const fnn_team *team) {
    const fnn_node *n = &w->program->nodes[node];
    double bytes = 0;
    for (int slot = 0; slot < FNN_MAX_POINTERS; slot++) {
        fnn_region region;
        if (n->operand[slot].buffer < 0 || !(n->written >> slot & 1))
            continue;
        if (!region_of(w, node, slot, team, &region))
            return -1;
        bytes += (double)region.runs * (double)region.bytes;
    }
    return bytes;
}

/* What each member does of a parallel op that takes ns on one thread. */
static void share_time(const schedule *s, int node, double ns, double *time) {
    double bytes[MOST_MEMBERS], total = 0;
    for (int m = 0; m < s->team; m++) {
        const fnn_team team = {m, s->team, NULL};
        bytes[m] = output_bytes(s->workspace, node, &team);
        total += bytes[m];
    }
    for (int m = 0; m < s->team; m++)
        time[m] = TURN_NS + (total > 0 ? ns * bytes[m] / total : ns / s->team);
}

static int is_read_later(const fnn_program *program, int node) {
    const fnn_node *n = &program->nodes[node];
    for (int slot = 0; slot < FNN_MAX_POINTERS; slot++)
        if (n->operand[slot].buffer >= 0 && n->written >> slot & 1 &&
            program->buffers[n->operand[slot].buffer].last > node)
            return 1;
    return 0;
}

static int64_t scratch_of(const fnn_workspace *w, int node, int threads) {
    const fnn_op *op = &fnn_ops[w->program->nodes[node].op];
    return op->scratch ? (op->scratch(&w->args[node], threads) + 63) / 64 * 64 : 0;
}

/* Fills in whether the way must wait, and when its members are done. args->plan is the way's. */
static void judge(const schedule *s, int node, double ns, way *way) {
    double latest = 0, sum = 0;
    way->barrier = must_wait(s, way) || s->scratch + scratch_of(s->workspace, node, way->threads) > s->budget;
    for (int m = 0; m < s->team; m++)
        latest = s->load[m] > latest ? s->load[m] : latest;
    double time[MOST_MEMBERS] = {0};
    if (way->threads > 1)
        share_time(s, node, ns, time);
    else
        time[way->owner] = TURN_NS + ns;
    way->cost = 0;
    for (int m = 0; m < s->team; m++) {
        way->load[m] = (way->barrier ? latest + BARRIER_NS : s->load[m]) + time[m];
        way->cost = way->load[m] > way->cost ? way->load[m] : way->cost;
        sum += time[m];
    }
    way->cost += 0.01 * sum;
    if (way->threads == 1 && is_read_later(s->workspace->program, node))
        way->cost += BARRIER_NS; /* the others will have to wait for it */
}

static void try_way(schedule *s, int node, double ns, way *way, struct way *best) {
    fnn_args *args = &s->workspace->args[node];
    const fnn_share *share = &fnn_shares[s->workspace->program->nodes[node].op];
    way->planned = 0;
    args->plan = NULL;
    if (share->plan) {
        const double slowest = share->plan(args, way->threads, way->cut, &way->plan);
        if (slowest < 0)
            return;
        ns = way->threads > 1 ? slowest * way->threads : slowest;
        way->planned = 1;
        args->plan = &way->plan;
    }
    judge(s, node, ns, way);
    if (way->threads > 1 && way->cut != s->habit)
        way->cost += HABIT_NS;
    if (best->threads == 0 || way->cost < best->cost)
        *best = *way;
    args->plan = NULL;
}

/* Notes the way of an op: what comes next is judged by it. */
static void take(schedule *s, int node, const way *way) {
    fnn_turn *turn = &s->workspace->now.turns[node];
    if (way->barrier)
        s->count = 0, s->scratch = 0;
    turn->owner = way->owner;
    turn->barrier = way->barrier;
    turn->planned = way->planned;
    turn->plan = way->plan;
    turn->scratch = s->scratch;
    s->workspace->now.threads[node] = way->threads;
    s->workspace->args[node].plan = turn->planned ? &turn->plan : NULL;
    s->scratch += scratch_of(s->workspace, node, way->threads);
    for (int m = 0; m < s->team; m++)
        s->load[m] = way->load[m];
    s->next.threads = way->threads;
    s->next.owner = way->owner;
    const unsigned late = fnn_shares[s->workspace->program->nodes[node].op].late;
    if (way->threads > 1 && late) { /* all have met inside: what remains is member 0's */
        for (int m = 0; m < s->team; m++)
            s->load[m] = way->cost + BARRIER_NS;
        s->count = 0;
        s->next.threads = 1, s->next.owner = 0;
        for (int i = 0; i < FNN_MAX_POINTERS; i++)
            if (!(late >> i & 1))
                s->next.touches[i].state = NOTHING;
    }
    s->waiting[s->count++] = s->next;
}

/* The most that an op may want from where its part begins: with its plan, and run by other teams without one. */
static void note_scratch(schedule *s, int node) {
    fnn_args *args = &s->workspace->args[node];
    const void *plan = args->plan;
    int64_t bytes = scratch_of(s->workspace, node, s->workspace->now.threads[node]);
    args->plan = NULL;
    for (int team = 1;; team = s->team) {
        const int64_t other = scratch_of(s->workspace, node, team);
        bytes = other > bytes ? other : bytes;
        if (team == s->team)
            break;
    }
    args->plan = plan;
    if (s->workspace->now.turns[node].scratch + bytes > s->most)
        s->most = s->workspace->now.turns[node].scratch + bytes;
}

static void choose(schedule *s, int node) {
    const double ns = fnn_ops[s->workspace->program->nodes[node].op].work(&s->workspace->args[node]).ns;
    way best = {0};
    find_meetings(s, node);
    const int forced = fnn_threads_forced();
    for (int cut = FNN_CUT_ANY; cut <= FNN_CUT_COLS; cut++) {
        /* a long product is cut as suits the caches: a barrier is nothing to it */
        if (cut > FNN_CUT_ANY && (forced || ns > SHORT_NS || !fnn_shares[s->workspace->program->nodes[node].op].plan))
            break;
        way parallel = {.threads = s->team, .cut = cut};
        try_way(s, node, ns, &parallel, &best);
    }
    for (int owner = 0; owner < s->team && !forced && ns < SHORT_NS; owner++) {
        way serial = {.threads = 1, .owner = owner};
        try_way(s, node, ns, &serial, &best);
    }
    take(s, node, &best);
    note_scratch(s, node);
}

static void all_serial(schedule *s) {
    fnn_workspace *w = s->workspace;
    for (int n = 0; n < w->program->node_count; n++) {
        fnn_turn *turn = &w->now.turns[n];
        const fnn_share *share = &fnn_shares[w->program->nodes[n].op];
        *turn = (fnn_turn){.planned = share->plan != NULL};
        w->args[n].plan = NULL;
        if (share->plan) {
            share->plan(&w->args[n], 1, FNN_CUT_ANY, &turn->plan);
            w->args[n].plan = &turn->plan;
        }
        w->now.threads[n] = 1;
        note_scratch(s, n);
    }
}

/* Goes through the ops by one habit; returns when the slowest member is done. */
static double go_through(schedule *s, int habit) {
    const int nodes = s->workspace->program->node_count;
    double latest = 0;
    *s = (schedule){.workspace = s->workspace, .team = s->team, .budget = s->budget, .habit = habit};
    for (int n = 0; n < nodes; n++)
        choose(s, n);
    for (int m = 0; m < s->team; m++)
        latest = s->load[m] > latest ? s->load[m] : latest;
    return latest;
}

int64_t fnn_schedule(fnn_workspace *workspace, int in_region) {
    const fnn_program *program = workspace->program;
    const int team = workspace->team_size < MOST_MEMBERS ? workspace->team_size : MOST_MEMBERS;
    const double least_gain = in_region ? 0 : REGION_NS;
    schedule s = {.workspace = workspace, .team = team};
    workspace->now.ns = 0;
    for (int n = 0; n < program->node_count; n++) {
        workspace->args[n].plan = NULL;
        workspace->now.ns += fnn_ops[program->nodes[n].op].work(&workspace->args[n]).ns;
    }
    if (team > 1 && (fnn_threads_forced() || workspace->now.ns * (1 - 1.0 / team) > least_gain)) {
        for (int n = 0; n < program->node_count; n++) {
            const int64_t bytes = scratch_of(workspace, n, team);
            s.budget = 2 * bytes > s.budget ? 2 * bytes : s.budget;
        }
        /* Ops decide one after the other, so try both ways to begin. */
        const double by_rows = go_through(&s, FNN_CUT_ROWS);
        double latest = go_through(&s, FNN_CUT_COLS);
        if (by_rows < latest)
            latest = go_through(&s, FNN_CUT_ROWS);
        workspace->now.region_size = team;
        if (fnn_threads_forced() || workspace->now.ns - latest > least_gain)
            return s.most;
    }
    workspace->now.region_size = 1;
    all_serial(&s);
    return s.most;
}
