/* Intrusive doubly linked list: the links live in the caller's struct, so nothing here allocates or fails.
 *
 *     struct stream { weft_list link; ... };
 *     weft_list open;  weft_list_init(&open);
 *     weft_list_push_back(&open, &s->link);
 *     weft_list_each(&open, at) use(WEFT_CONTAINER(at, struct stream, link));
 *
 * A list is a ring through its head. Invariant: a node is in exactly one ring, or linked to itself. Every
 * operation but _count is O(1). One thread at a time. */
#ifndef WEFT_LIST_H
#define WEFT_LIST_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Both the head of a list and the links of a member. */
typedef struct weft_list {
    struct weft_list *next;
    struct weft_list *prev;
} weft_list;

/* The struct whose `member` is at `node`. */
#define WEFT_CONTAINER(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))

/* Visits each node, front first. The node in hand must not be removed: use _each_safe for that. */
#define weft_list_each(head, at) for (weft_list *at = (head)->next; at != (head); at = at->next)

/* As weft_list_each, but the node in hand (no other) may be removed or freed. */
#define weft_list_each_safe(head, at)                                       \
    for (weft_list *at = (head)->next, *at##_next = at->next; at != (head); \
         at = at##_next, at##_next = at->next)

/* An empty list, or a node that is in none. Needed before anything else. */
static inline void weft_list_init(weft_list *list) { list->next = list->prev = list; }

/* 1 when the list has no members; for a node: when it is in no list. */
static inline int weft_list_empty(const weft_list *list) { return list->next == list; }

/* Puts `node`, which must be in no list, before or after `place` (a member or the head). */
static inline void weft_list_insert_before(weft_list *place, weft_list *node) {
    node->prev = place->prev;
    node->next = place;
    place->prev->next = node;
    place->prev = node;
}
static inline void weft_list_insert_after(weft_list *place, weft_list *node) {
    weft_list_insert_before(place->next, node);
}
static inline void weft_list_push_back(weft_list *head, weft_list *node) {
    weft_list_insert_before(head, node);
}
static inline void weft_list_push_front(weft_list *head, weft_list *node) {
    weft_list_insert_after(head, node);
}

/* Takes `node` out of whatever list it is in; harmless when it is in none. */
static inline void weft_list_remove(weft_list *node) {
    node->prev->next = node->next;
    node->next->prev = node->prev;
    weft_list_init(node);
}

/* The first or last member, or NULL. */
static inline weft_list *weft_list_front(const weft_list *head) {
    return head->next == head ? NULL : head->next;
}
static inline weft_list *weft_list_back(const weft_list *head) {
    return head->prev == head ? NULL : head->prev;
}

/* Takes the first member out and returns it, or NULL. */
static inline weft_list *weft_list_pop_front(weft_list *head) {
    weft_list *node = weft_list_front(head);
    if (node) weft_list_remove(node);
    return node;
}

/* Moves all members of `from`, in their order, to the end of `to`; `from` is empty afterwards. */
static inline void weft_list_splice(weft_list *to, weft_list *from) {
    if (weft_list_empty(from)) return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    weft_list_init(from);
}

/* How many members; walks the list. */
static inline size_t weft_list_count(const weft_list *head) {
    size_t count = 0;
    for (const weft_list *at = head->next; at != head; at = at->next) count++;
    return count;
}

#ifdef __cplusplus
}
#endif
#endif
