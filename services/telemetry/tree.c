/* The spans of a trace in the order of the calls. */
#include <stdlib.h>
#include <string.h>

#include "services/telemetry/telemetry.h"
#include "weft/map.h"
#include "weft/mem.h"

#define NONE UINT32_MAX

/* Children hang in lists: first[p] is the first child of node p, next[c] the sibling after c, both in the
 * order of `sorted`. roots hang below index `count`. */
typedef struct tree {
    tel_node *nodes;
    uint32_t count;
    uint32_t *sorted, *up, *first, *last, *next;
    bool *placed;
    uint32_t *order;
    size_t done;
} tree;

static _Thread_local const tel_node *sorting;

static int by_start(const void *a, const void *b) {
    const tel_node *x = &sorting[*(const uint32_t *)a], *y = &sorting[*(const uint32_t *)b];
    if (x->start != y->start) return x->start < y->start ? -1 : 1;
    if (x->end != y->end) return x->end > y->end ? -1 : 1; /* what encloses comes first */
    return memcmp(x->id, y->id, sizeof x->id);
}

/* The shortest call that the span's service was answering all the while. */
static uint32_t enclosing(const tree *t, uint32_t which) {
    const tel_node *s = &t->nodes[which];
    uint32_t best = NONE;
    for (uint32_t k = 0; k < t->count; k++) {
        const uint32_t i = t->sorted[k];
        const tel_node *o = &t->nodes[i];
        if (o->start > s->start) break;
        if (i == which || !o->server || o->end < s->end || strcmp(o->service, s->service) != 0)
            continue;
        if (best == NONE || o->end - o->start < t->nodes[best].end - t->nodes[best].start) best = i;
    }
    return best;
}

static int find_parents(tree *t) {
    weft_map ids;
    weft_map_init(&ids, t->count ? t->count : 1);
    int rc = 0;
    for (uint32_t i = 0; i < t->count && !rc; i++)
        rc = weft_map_put_bytes(&ids, t->nodes[i].id, sizeof t->nodes[i].id,
                                (void *)((uintptr_t)i + 1));
    for (uint32_t i = 0; i < t->count && !rc; i++) {
        tel_node *n = &t->nodes[i];
        const uintptr_t at =
            n->has_parent ? (uintptr_t)weft_map_get_bytes(&ids, n->parent, sizeof n->parent) : 0;
        n->depth = 0;
        n->missing = n->has_parent && (!at || at - 1 == i);
        n->inferred = false;
        t->up[i] = at && !n->missing ? (uint32_t)(at - 1) : NONE;
        if (n->missing && !n->server) {
            t->up[i] = enclosing(t, i);
            n->inferred = t->up[i] != NONE;
        }
    }
    weft_map_free(&ids, NULL);
    return rc;
}

/* Rings have no way in: the first span of each is a root whose parent counts as missing. `placed` is used as
 * "reaches a root". */
static void open_rings(tree *t) {
    for (uint32_t k = 0; k < t->count; k++) {
        uint32_t i = t->sorted[k], steps = 0;
        while (i != NONE && !t->placed[i] && steps++ < t->count) i = t->up[i];
        if (i != NONE && !t->placed[i]) {
            i = t->sorted[k];
            t->up[i] = NONE;
            t->nodes[i].missing = true;
            t->nodes[i].inferred = false;
        }
        for (i = t->sorted[k]; i != NONE && !t->placed[i]; i = t->up[i]) t->placed[i] = true;
    }
}

static void hang(tree *t) {
    for (uint32_t i = 0; i <= t->count; i++) t->first[i] = t->last[i] = NONE;
    for (uint32_t k = 0; k < t->count; k++) {
        const uint32_t i = t->sorted[k], p = t->up[i] == NONE ? t->count : t->up[i];
        t->next[i] = NONE;
        if (t->last[p] == NONE)
            t->first[p] = i;
        else
            t->next[t->last[p]] = i;
        t->last[p] = i;
    }
}

static void walk(tree *t) {
    uint32_t i = t->first[t->count];
    while (i != NONE) {
        t->order[t->done++] = i;
        const uint32_t p = t->up[i];
        t->nodes[i].depth = p == NONE ? 0 : t->nodes[p].depth + 1;
        if (t->first[i] != NONE) {
            i = t->first[i];
            continue;
        }
        while (i != NONE && t->next[i] == NONE) i = t->up[i];
        if (i != NONE) i = t->next[i];
    }
}

int tel_tree(tel_node *nodes, size_t count, uint32_t *order) {
    if (count > TEL_SPANS_PER_TRACE) return WEFT_ELIMIT;
    tree t = {.nodes = nodes, .count = (uint32_t)count, .order = order};
    uint32_t *lists = weft_calloc(5 * (count + 1), sizeof *lists);
    t.placed = weft_calloc(count + 1, sizeof *t.placed);
    int rc = lists && t.placed ? 0 : WEFT_ENOMEM;
    if (!rc) {
        t.sorted = lists;
        t.up = t.sorted + count + 1;
        t.first = t.up + count + 1;
        t.last = t.first + count + 1;
        t.next = t.last + count + 1;
        for (uint32_t i = 0; i < t.count; i++) t.sorted[i] = i;
        sorting = nodes;
        if (count) qsort(t.sorted, count, sizeof *t.sorted, by_start);
        rc = find_parents(&t);
    }
    if (!rc) {
        open_rings(&t);
        hang(&t);
        walk(&t);
    }
    weft_free(lists);
    weft_free(t.placed);
    return rc;
}
