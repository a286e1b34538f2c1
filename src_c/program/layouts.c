/* layouts.c: the schedules that a workspace keeps. A last batch of fewer rows, or a chunk, comes back again and again:
 * it finds what was worked out for it the first time.
 */
#include <stdlib.h>
#include <string.h>

#include "../base/memory.h"
#include "program.h"

fnn_status fnn_layout_new(fnn_layout *layout, int nodes) {
    *layout = (fnn_layout){.setting = {.rows = -1}};
    layout->threads = calloc((size_t)nodes + 1, sizeof *layout->threads);
    layout->turns = fnn_aligned_alloc(((size_t)nodes + 1) * sizeof *layout->turns);
    if (!layout->threads || !layout->turns) {
        fnn_layout_free(layout);
        return FNN_ERROR_MEMORY;
    }
    memset(layout->turns, 0, ((size_t)nodes + 1) * sizeof *layout->turns);
    return FNN_OK;
}

void fnn_layout_free(fnn_layout *layout) {
    free(layout->threads);
    fnn_aligned_free(layout->turns);
    *layout = (fnn_layout){.setting = {.rows = -1}};
}

static int same_setting(const fnn_setting *a, const fnn_setting *b) {
    return a->table == b->table && a->rows == b->rows && a->team_size == b->team_size && a->forced == b->forced &&
           a->in_region == b->in_region;
}

static void exchange(fnn_workspace *workspace, int kept) {
    const fnn_layout other = workspace->kept[kept];
    workspace->kept[kept] = workspace->now;
    workspace->now = other;
    workspace->rows = -1; /* args have the plans of the other one */
}

int fnn_layout_find(fnn_workspace *workspace, const fnn_setting *setting) {
    int found = same_setting(setting, &workspace->now.setting);
    for (int i = 0; i < FNN_KEPT_LAYOUTS && !found; i++)
        if (same_setting(setting, &workspace->kept[i].setting)) {
            exchange(workspace, i);
            found = 1;
        }
    if (found)
        workspace->now.used = ++workspace->requests;
    return found;
}

fnn_status fnn_layout_make_room(fnn_workspace *workspace) {
    const int64_t request = ++workspace->requests;
    if (workspace->now.setting.rows < 0) {
        workspace->now.used = request;
        return FNN_OK;
    }
    int oldest = 0;
    for (int i = 1; i < FNN_KEPT_LAYOUTS; i++)
        if (workspace->kept[i].used < workspace->kept[oldest].used)
            oldest = i;
    if (!workspace->kept[oldest].turns) {
        const fnn_status status = fnn_layout_new(&workspace->kept[oldest], workspace->program->node_count);
        if (status != FNN_OK)
            return status;
    }
    exchange(workspace, oldest);
    workspace->now.setting.rows = -1;
    workspace->now.used = request;
    return FNN_OK;
}

void fnn_layout_forget(fnn_workspace *workspace) {
    workspace->now.setting.rows = -1;
    for (int i = 0; i < FNN_KEPT_LAYOUTS; i++)
        workspace->kept[i].setting.rows = -1;
}
