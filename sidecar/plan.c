#include "sidecar/plan.h"

#include "weft/mem.h"

static void forget(plan *p) {
    if (!p->key.path) return;
    http_field_unref(p->key.path);
    if (p->key.authority) http_field_unref(p->key.authority);
    if (p->key.type) http_field_unref(p->key.type);
    if (p->key.peer) http_field_unref(p->key.peer);
    *p = (plan){0};
}

static void forget_all(plan_table *table) {
    for (uint32_t i = 0; table->slots && i < PLAN_SLOTS; i++) forget(&table->slots[i]);
}

/* Somebody but the call has it too: a table of HPACK's, which will give it to the next call. */
static bool comes_again(const http_field *field) {
    return !field || !field->pool || field->refs > 1;
}

plan *plan_make(plan_table *table, const plan_key *key, uint64_t generation) {
    if (!key->path || !comes_again(key->path) || !comes_again(key->authority) ||
        !comes_again(key->type))
        return NULL;
    if (table->generation != generation) forget_all(table);
    if (!table->slots) table->slots = weft_calloc(PLAN_SLOTS, sizeof *table->slots);
    if (!table->slots) return NULL;
    table->generation = generation;
    plan *p = plan_slot(table, key);
    forget(p);
    p->key = *key;
    p->serial = ++table->made;
    (void)http_field_ref(key->path);
    if (key->authority) (void)http_field_ref(key->authority);
    if (key->type) (void)http_field_ref(key->type);
    if (key->peer) (void)http_field_ref(key->peer);
    return p;
}

void plan_free(plan_table *table) {
    forget_all(table);
    weft_free(table->slots);
    *table = (plan_table){0};
}
