/* Instances as messages: see wire.h. */
#include "services/control/registry/wire.h"

#include <string.h>

#include "weft/pb.h"

#define SAVED_MAX ((size_t)64 << 20)

registry_view_health wire_health(WeftControl__Health health) {
    return health == WEFT_CONTROL__HEALTH__HEALTHY ? REGISTRY_VIEW_HEALTHY
                                                   : REGISTRY_VIEW_UNHEALTHY;
}

WeftControl__Health wire_health_of(registry_view_health health) {
    return health == REGISTRY_VIEW_HEALTHY ? WEFT_CONTROL__HEALTH__HEALTHY
                                           : WEFT_CONTROL__HEALTH__UNHEALTHY;
}

static const char *text_or_empty(const char *text) { return text ? text : ""; }

int wire_claim(const WeftControl__Register *m, weft_arena *arena, registry_view_instance *out) {
    registry_view_label *labels =
        weft_arena_calloc(arena, m->n_labels ? m->n_labels : 1, sizeof *labels);
    if (!labels) return WEFT_ENOMEM;
    for (size_t i = 0; i < m->n_labels; i++)
        labels[i] = (registry_view_label){text_or_empty(m->labels[i]->key),
                                          text_or_empty(m->labels[i]->value)};
    const WeftControl__Locality *where = m->locality;
    *out = (registry_view_instance){
        .id = m->instance,
        .service = m->service,
        .name_space = m->namespace_,
        .address = m->address,
        .plain_address = m->plain_address,
        .labels = labels,
        .label_count = m->n_labels,
        .health = wire_health(m->health),
        .draining = m->draining,
        .weight = m->weight,
        .region = where ? where->region : "",
        .zone = where ? where->zone : "",
        .sub_zone = where ? where->sub_zone : "",
        .grpc_services = (const char *const *)m->grpc_services,
        .grpc_service_count = m->n_grpc_services,
        .no_side_effects = (const char *const *)m->no_side_effects,
        .no_side_effect_count = m->n_no_side_effects,
        .idempotent = (const char *const *)m->idempotent,
        .idempotent_count = m->n_idempotent,
    };
    return 0;
}

/* ---- kept over a restart */

/* Messages only borrow: packing does not write through these pointers. */
static char *lend(const char *text) {
    union {
        const char *in;
        char *out;
    } u = {.in = text};
    return u.out;
}

static char **lend_names(const char *const *names) {
    union {
        const char *const *in;
        char **out;
    } u = {.in = names};
    return u.out;
}

static int message_of(const registry_view_instance *is, weft_arena *arena,
                      WeftControl__Register *out) {
    WeftControl__Register m = WEFT_CONTROL__REGISTER__INIT;
    WeftControl__Locality *where = weft_arena_calloc(arena, 1, sizeof *where);
    const size_t count = is->label_count;
    WeftControl__Register__LabelsEntry *entries =
        weft_arena_calloc(arena, count ? count : 1, sizeof *entries);
    m.labels = weft_arena_calloc(arena, count ? count : 1, sizeof *m.labels);
    if (!where || !entries || !m.labels) return WEFT_ENOMEM;
    for (size_t i = 0; i < count; i++) {
        weft_control__register__labels_entry__init(&entries[i]);
        entries[i].key = lend(is->labels[i].key);
        entries[i].value = lend(is->labels[i].value);
        m.labels[i] = &entries[i];
    }
    weft_control__locality__init(where);
    where->region = lend(is->region);
    where->zone = lend(is->zone);
    where->sub_zone = lend(is->sub_zone);
    m.n_labels = count;
    m.locality = where;
    m.instance = lend(is->id);
    m.service = lend(is->service);
    m.namespace_ = lend(is->name_space);
    m.address = lend(is->address);
    m.plain_address = lend(is->plain_address);
    m.health = wire_health_of(is->health);
    m.draining = is->draining;
    m.weight = is->weight;
    m.grpc_services = lend_names(is->grpc_services);
    m.n_grpc_services = is->grpc_service_count;
    m.no_side_effects = lend_names(is->no_side_effects);
    m.n_no_side_effects = is->no_side_effect_count;
    m.idempotent = lend_names(is->idempotent);
    m.n_idempotent = is->idempotent_count;
    *out = m;
    return 0;
}

int wire_save(const registry_view *view, weft_arena *arena, const uint8_t **data, size_t *size) {
    WeftControl__Saved saved = WEFT_CONTROL__SAVED__INIT;
    const size_t room = view->count ? view->count : 1;
    WeftControl__Register *messages = weft_arena_calloc(arena, room, sizeof *messages);
    saved.instances = weft_arena_calloc(arena, room, sizeof *saved.instances);
    if (!messages || !saved.instances) return WEFT_ENOMEM;
    for (size_t i = 0; i < view->count; i++) {
        if (message_of(&view->instances[i], arena, &messages[i]) < 0) return WEFT_ENOMEM;
        saved.instances[i] = &messages[i];
    }
    saved.n_instances = view->count;
    const uint8_t *packed = weft_pack(arena, &saved.base, size);
    if (!packed) return WEFT_ENOMEM;
    *data = packed;
    return 0;
}

int wire_load(const void *data, size_t size, weft_arena *arena, registry_view *out) {
    const weft_guard_limits limits = {.max_bytes = SAVED_MAX};
    int error = 0;
    const ProtobufCMessage *message =
        weft_unpack(&weft_control__saved__descriptor, data, size, &limits, arena, &error, NULL);
    if (!message) return error;
    const WeftControl__Saved *saved = (const WeftControl__Saved *)message;
    registry_view_instance *list =
        weft_arena_calloc(arena, saved->n_instances ? saved->n_instances : 1, sizeof *list);
    if (!list) return WEFT_ENOMEM;
    for (size_t i = 0; i < saved->n_instances; i++)
        if (wire_claim(saved->instances[i], arena, &list[i]) < 0) return WEFT_ENOMEM;
    *out = (registry_view){.instances = list, .count = saved->n_instances};
    return 0;
}
