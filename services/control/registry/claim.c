/* One instance as it was claimed: see claim.h. */
#include "services/control/registry/claim.h"

#include <string.h>

#include "services/control/model/model.h"
#include "weft/addr.h"

/* ---- checking */

static bool printable(const char *text, size_t max) {
    const size_t size = strnlen(text, max + 1);
    if (size > max) return false;
    for (size_t i = 0; i < size; i++)
        if (text[i] <= ' ' || text[i] > '~') return false;
    return true;
}

static int wrong(const char **why, const char *text) {
    if (why) *why = text;
    return WEFT_EINVAL;
}

static int check_labels(const registry_view_instance *claim, const char **why) {
    if (claim->label_count > REGISTRY_LABELS_MAX) return wrong(why, "more than 32 labels");
    for (size_t i = 0; i < claim->label_count; i++) {
        const registry_view_label *label = &claim->labels[i];
        if (!*label->key || !printable(label->key, 63))
            return wrong(why, "a label's key is not 1 to 63 printable characters");
        if (strnlen(label->value, 256) > 255)
            return wrong(why, "a label's value is longer than 255 bytes");
        for (size_t k = 0; k < i; k++)
            if (!strcmp(claim->labels[k].key, label->key))
                return wrong(why, "a label is there twice");
    }
    return 0;
}

static int check_names(const char *const *names, size_t count, const char **why) {
    if (count > REGISTRY_NAMES_MAX) return wrong(why, "more than 512 gRPC names in a list");
    for (size_t i = 0; i < count; i++)
        if (!*names[i] || !printable(names[i], 512))
            return wrong(why, "a gRPC name is not 1 to 512 printable characters");
    return 0;
}

int claim_check(const registry_view_instance *claim, const char **why) {
    weft_addr address;
    if (!model_label_valid(claim->service)) return wrong(why, "service: not a DNS label");
    if (!model_label_valid(claim->name_space)) return wrong(why, "namespace: not a DNS label");
    if (!*claim->id || !printable(claim->id, 63))
        return wrong(why, "instance: not 1 to 63 printable characters");
    if (!*claim->address && !*claim->plain_address)
        return wrong(why, "address: there must be one to be reached at");
    if (*claim->address && weft_addr_parse(claim->address, &address, NULL) < 0)
        return wrong(why, "address: not host:port, [v6]:port, unix:/path or unix-abstract:name");
    if (*claim->plain_address && weft_addr_parse(claim->plain_address, &address, NULL) < 0)
        return wrong(why, "plain_address: not host:port, [v6]:port or unix:/path");
    if (claim->weight > REGISTRY_VIEW_WEIGHT_MAX) return wrong(why, "weight: over 1,048,575");
    if (!printable(claim->region, 63) || !printable(claim->zone, 63) ||
        !printable(claim->sub_zone, 63))
        return wrong(why, "locality: not up to 63 printable characters");
    int error = check_labels(claim, why);
    if (!error) error = check_names(claim->grpc_services, claim->grpc_service_count, why);
    if (!error) error = check_names(claim->no_side_effects, claim->no_side_effect_count, why);
    if (!error) error = check_names(claim->idempotent, claim->idempotent_count, why);
    return error;
}

/* ---- copying */

static const char *copy_text(weft_arena *arena, const char *text, bool *good) {
    const char *copy = *text ? weft_arena_strdup(arena, text) : "";
    if (!copy) *good = false;
    return copy;
}

static const char *const *copy_names(weft_arena *arena, const char *const *names, size_t count,
                                     bool *good) {
    const char **copy = weft_arena_calloc(arena, count ? count : 1, sizeof *copy);
    if (!copy) {
        *good = false;
        return NULL;
    }
    for (size_t i = 0; i < count; i++) copy[i] = copy_text(arena, names[i], good);
    return copy;
}

static const registry_view_label *copy_labels(weft_arena *arena,
                                              const registry_view_instance *claim, bool *good) {
    const size_t count = claim->label_count;
    registry_view_label *copy = weft_arena_calloc(arena, count ? count : 1, sizeof *copy);
    if (!copy) {
        *good = false;
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        copy[i].key = copy_text(arena, claim->labels[i].key, good);
        copy[i].value = copy_text(arena, claim->labels[i].value, good);
    }
    return copy;
}

int claim_copy(const registry_view_instance *claim, weft_arena *arena,
               registry_view_instance *out) {
    bool good = true;
    registry_view_instance copy = *claim;
    copy.id = copy_text(arena, claim->id, &good);
    copy.service = copy_text(arena, claim->service, &good);
    copy.name_space = copy_text(arena, claim->name_space, &good);
    copy.address = copy_text(arena, claim->address, &good);
    copy.plain_address = copy_text(arena, claim->plain_address, &good);
    copy.region = copy_text(arena, claim->region, &good);
    copy.zone = copy_text(arena, claim->zone, &good);
    copy.sub_zone = copy_text(arena, claim->sub_zone, &good);
    copy.labels = copy_labels(arena, claim, &good);
    copy.grpc_services = copy_names(arena, claim->grpc_services, claim->grpc_service_count, &good);
    copy.no_side_effects =
        copy_names(arena, claim->no_side_effects, claim->no_side_effect_count, &good);
    copy.idempotent = copy_names(arena, claim->idempotent, claim->idempotent_count, &good);
    if (!good) return WEFT_ENOMEM;
    *out = copy;
    return 0;
}

/* ---- comparing */

static bool same_names(const char *const *a, size_t a_count, const char *const *b, size_t b_count) {
    if (a_count != b_count) return false;
    for (size_t i = 0; i < a_count; i++)
        if (strcmp(a[i], b[i]) != 0) return false;
    return true;
}

static bool same_labels(const registry_view_instance *a, const registry_view_instance *b) {
    if (a->label_count != b->label_count) return false;
    for (size_t i = 0; i < a->label_count; i++) {
        bool found = false;
        for (size_t k = 0; k < b->label_count && !found; k++)
            found = !strcmp(a->labels[i].key, b->labels[k].key) &&
                    !strcmp(a->labels[i].value, b->labels[k].value);
        if (!found) return false;
    }
    return true;
}

bool claim_equal(const registry_view_instance *a, const registry_view_instance *b) {
    return !strcmp(a->id, b->id) && !strcmp(a->service, b->service) &&
           !strcmp(a->name_space, b->name_space) && !strcmp(a->address, b->address) &&
           !strcmp(a->plain_address, b->plain_address) && !strcmp(a->region, b->region) &&
           !strcmp(a->zone, b->zone) && !strcmp(a->sub_zone, b->sub_zone) &&
           a->health == b->health && a->draining == b->draining && a->weight == b->weight &&
           same_labels(a, b) &&
           same_names(a->grpc_services, a->grpc_service_count, b->grpc_services,
                      b->grpc_service_count) &&
           same_names(a->no_side_effects, a->no_side_effect_count, b->no_side_effects,
                      b->no_side_effect_count) &&
           same_names(a->idempotent, a->idempotent_count, b->idempotent, b->idempotent_count);
}
