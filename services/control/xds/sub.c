#include "services/control/xds/sub.h"

#include <stdio.h>
#include <string.h>

#include "weft/mem.h"

const char *const xds_sub_urls[CONTROL_XDS_TYPES] = {
    [CONTROL_CDS] = "type.googleapis.com/envoy.config.cluster.v3.Cluster",
    [CONTROL_EDS] = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
    [CONTROL_LDS] = "type.googleapis.com/envoy.config.listener.v3.Listener",
    [CONTROL_RDS] = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
};

static bool is_full(const xds_sub *s) { return s->type == CONTROL_CDS || s->type == CONTROL_LDS; }

static void told_free(void *told) {
    if (told) weft_free(((xds_told *)told)->kept);
    weft_free(told);
}

void xds_sub_init(xds_sub *s, control_xds_type type) {
    *s = (xds_sub){.type = type};
    weft_map_init(&s->names, XDS_STREAM_NAMES_MAX);
    weft_map_init(&s->told, 0);
}

void xds_sub_free(xds_sub *s) {
    weft_map_free(&s->names, NULL);
    weft_map_free(&s->told, told_free);
    weft_free(s->reason);
}

static void untell(xds_sub *s, const char *name) {
    xds_told *told = weft_map_remove(&s->told, name);
    if (told && told->kept) s->kept--;
    told_free(told);
}

static void unkeep(xds_sub *s, xds_told *told) {
    if (!told->kept) return;
    weft_free(told->kept);
    told->kept = NULL;
    s->kept--;
}

/* ---- names */

static bool wants(const xds_sub *s, const char *name) {
    return s->wildcard || weft_map_find(&s->names, name);
}

static bool good_name(const char *name, const char **why) {
    if (*name && strlen(name) <= XDS_STREAM_NAME_BYTES) return true;
    *why = *name ? "a resource name is too long" : "a resource name is empty";
    return false;
}

/* Forgets what is not wanted any more, so that it is told when it is wanted again. */
static void prune(xds_sub *s) {
    size_t at = 0;
    const char *name;
    if (s->wildcard) return;
    while (weft_map_next(&s->told, &at, &name, NULL, NULL))
        if (!weft_map_find(&s->names, name)) untell(s, name);
}

int xds_sub_names(xds_sub *s, char *const *names, size_t count, const char **why) {
    bool wildcard = !count && !s->named && is_full(s), fresh = false;
    weft_map next;
    int rc = 0;
    weft_map_init(&next, XDS_STREAM_NAMES_MAX);
    for (size_t i = 0; i < count && !rc; i++) {
        if (strcmp(names[i], "*") == 0 && is_full(s)) {
            wildcard = true;
            continue;
        }
        if (!good_name(names[i], why)) rc = WEFT_EINVAL;
        if (!rc) rc = weft_map_put(&next, names[i], NULL);
        if (rc == WEFT_ELIMIT) *why = "too many resource names";
        if (!rc && !weft_map_find(&s->names, names[i])) fresh = true;
    }
    if (rc) {
        weft_map_free(&next, NULL);
        return rc;
    }
    if (wildcard && !s->wildcard) fresh = true;
    if (count) s->named = true;
    s->wildcard = wildcard;
    weft_map_free(&s->names, NULL);
    s->names = next;
    if (fresh && is_full(s)) s->owed = true;
    prune(s);
    return 0;
}

/* ---- what is owed */

static bool is_owed(const xds_sub *s, const control_resource *r, bool hold) {
    const xds_told *told = weft_map_get(&s->told, r->name);
    if (!told) return true;
    if (hold) return false;
    return told->again || strcmp(told->version, r->version) != 0;
}

/* By binary search: names are sorted. */
const control_resource *xds_sub_find(const control_resources *all, const char *name) {
    size_t low = 0, high = all->count;
    while (low < high) {
        const size_t mid = low + (high - low) / 2;
        const int order = strcmp(all->items[mid].name, name);
        if (!order) return &all->items[mid];
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

/* Listeners that are gone are left out at once, clusters when they are not kept any more. */
static bool misses_some(const xds_sub *s, const control_resources *all) {
    size_t at = 0;
    const char *name;
    void *told;
    while (weft_map_next(&s->told, &at, &name, NULL, &told))
        if (!((xds_told *)told)->kept && !xds_sub_find(all, name)) return true;
    return false;
}

bool xds_sub_due(const xds_sub *s, const control_resources *all, bool hold) {
    if (s->owed) return true;
    if (s->wildcard) {
        for (size_t i = 0; i < all->count; i++)
            if (is_owed(s, &all->items[i], hold)) return true;
    } else {
        size_t at = 0;
        const char *name;
        while (weft_map_next(&s->names, &at, &name, NULL, NULL)) {
            const control_resource *r = xds_sub_find(all, name);
            if (r && is_owed(s, r, hold)) return true;
        }
    }
    return is_full(s) && !hold && misses_some(s, all);
}

/* ---- versions */

typedef struct summing {
    uint64_t hash;
} summing;

static void sum(summing *to, const char *name, const char *version) {
    to->hash = weft_siphash13(name, strlen(name) + 1, to->hash, 1);
    to->hash = weft_siphash13(version, strlen(version) + 1, to->hash, 2);
}

void xds_sub_version(const xds_sub *s, const control_resources *all,
                     char out[XDS_STREAM_VERSION_TEXT]) {
    summing total = {0};
    for (size_t i = 0; i < all->count; i++) {
        const control_resource *r = &all->items[i];
        const xds_told *told = weft_map_get(&s->told, r->name);
        if (!wants(s, r->name)) continue;
        if (!is_full(s) && told && told->refused && !is_owed(s, r, s->hold)) continue;
        sum(&total, r->name, r->version);
    }
    size_t at = 0;
    const char *name;
    void *kept;
    while (s->kept && weft_map_next(&s->told, &at, &name, NULL, &kept))
        if (((xds_told *)kept)->kept && !xds_sub_find(all, name))
            sum(&total, name, ((xds_told *)kept)->version);
    (void)snprintf(out, XDS_STREAM_VERSION_TEXT, "%016llx", (unsigned long long)total.hash);
}

/* ---- telling */

static xds_told *tell(xds_sub *s, const control_resource *r) {
    xds_told *told = weft_map_get(&s->told, r->name);
    if (!told) {
        told = weft_calloc(1, sizeof *told);
        if (told && weft_map_put(&s->told, r->name, told)) {
            weft_free(told);
            told = NULL;
        }
        if (!told) return NULL;
    }
    unkeep(s, told);
    told->again = false;
    memcpy(told->version, r->version, sizeof told->version);
    return told;
}

int xds_sub_know(xds_sub *s, const control_resources *all) {
    for (size_t i = 0; i < all->count; i++)
        if (wants(s, all->items[i].name) && !tell(s, &all->items[i])) return WEFT_ENOMEM;
    return 0;
}

static int add(weft_arena *arena, EnvoyDiscovery__DiscoveryResponse *to, control_xds_type type,
               const uint8_t *data, size_t len) {
    Google__Protobuf__Any *any = weft_arena_alloc(arena, sizeof *any);
    if (!any) return WEFT_ENOMEM;
    google__protobuf__any__init(any);
    any->type_url = weft_arena_strdup(arena, xds_sub_urls[type]);
    any->value = (ProtobufCBinaryData){.len = len, .data = (uint8_t *)(uintptr_t)data};
    to->resources[to->n_resources++] = any;
    return any->type_url ? 0 : WEFT_ENOMEM;
}

/* What is in a full response besides what is there: clusters that are kept. What is neither was
 * told for the last time. */
static int add_kept(xds_sub *s, const control_resources *all, weft_arena *arena,
                    EnvoyDiscovery__DiscoveryResponse *to) {
    size_t at = 0;
    const char *name;
    void *value;
    int rc = 0;
    while (!rc && weft_map_next(&s->told, &at, &name, NULL, &value)) {
        xds_told *told = value;
        if (xds_sub_find(all, name)) continue;
        if (!told->kept) {
            untell(s, name);
            continue;
        }
        uint8_t *copy = weft_arena_memdup(arena, told->kept, told->kept_len);
        told->in_flight = true;
        rc = copy ? add(arena, to, s->type, copy, told->kept_len) : WEFT_ENOMEM;
    }
    return rc;
}

int xds_sub_tell(xds_sub *s, const control_resources *all, weft_arena *arena,
                 EnvoyDiscovery__DiscoveryResponse *response) {
    int rc = 0;
    response->resources =
        weft_arena_calloc(arena, all->count + weft_map_count(&s->told) + 1, sizeof(void *));
    if (!response->resources) return WEFT_ENOMEM;
    xds_sub_version(s, all, s->version);
    for (size_t i = 0; i < all->count && !rc; i++) {
        const control_resource *r = &all->items[i];
        if (!wants(s, r->name) || (!is_full(s) && !is_owed(s, r, s->hold))) continue;
        xds_told *told = tell(s, r);
        if (told) told->in_flight = true;
        rc = told ? add(arena, response, s->type, r->value, r->value_len) : WEFT_ENOMEM;
    }
    if (!rc && is_full(s)) rc = add_kept(s, all, arena, response);
    s->owed = rc != 0;
    if (rc) return rc;
    s->waiting = true;
    s->sent++;
    (void)snprintf(s->nonce, sizeof s->nonce, "%c%llu", "celr"[s->type],
                   (unsigned long long)s -> sent);
    return 0;
}

static bool names_some(const xds_sub *s, const char *reason) {
    size_t at = 0;
    const char *name;
    void *told;
    while (weft_map_next(&s->told, &at, &name, NULL, &told))
        if (((xds_told *)told)->in_flight && strstr(reason, name)) return true;
    return false;
}

bool xds_sub_doubt(const xds_sub *s, const control_resources *all) {
    size_t at = 0;
    const char *name;
    void *value;
    while (s->refused && weft_map_next(&s->told, &at, &name, NULL, &value)) {
        const xds_told *told = value;
        const control_resource *r = told->refused ? xds_sub_find(all, name) : NULL;
        if (r && !strcmp(r->version, told->version)) return true;
    }
    return false;
}

void xds_sub_answered(xds_sub *s, bool refused, const char *reason) {
    /* The culprits are those that the reason names; all of them when it names none. */
    const bool named = refused && names_some(s, reason);
    size_t at = 0;
    const char *name;
    void *value;
    while (weft_map_next(&s->told, &at, &name, NULL, &value)) {
        xds_told *told = value;
        if (told->in_flight) told->refused = refused && (!named || strstr(reason, name));
        told->in_flight = false;
    }
    s->waiting = false;
    s->refused = refused;
    weft_free(s->reason);
    s->reason = NULL;
    if (refused) {
        s->nacks++;
        s->reason = weft_malloc(XDS_STREAM_REASON_BYTES);
        if (s->reason) (void)snprintf(s->reason, XDS_STREAM_REASON_BYTES, "%s", reason);
    } else {
        s->acks++;
        memcpy(s->accepted, s->version, sizeof s->accepted);
    }
}

/* ---- what goes */

int xds_sub_keep(xds_sub *s, const control_resources *before, const control_resources *after) {
    size_t at = 0;
    const char *name;
    void *value;
    while (weft_map_next(&s->told, &at, &name, NULL, &value)) {
        xds_told *told = value;
        const control_resource *old = xds_sub_find(before, name);
        if (xds_sub_find(after, name)) unkeep(s, told);
        /* What was refused would only be refused again. */
        if (told->kept || told->refused || !old || xds_sub_find(after, name)) continue;
        told->kept = weft_malloc(old->value_len + 1);
        if (!told->kept) return WEFT_ENOMEM;
        memcpy(told->kept, old->value, old->value_len);
        told->kept_len = old->value_len;
        memcpy(told->version, old->version, sizeof told->version);
        s->kept++;
    }
    return 0;
}

void xds_sub_drop_kept(xds_sub *s) {
    size_t at = 0;
    const char *name;
    void *told;
    while (weft_map_next(&s->told, &at, &name, NULL, &told))
        if (((xds_told *)told)->kept) untell(s, name);
    s->owed = true;
}

void xds_sub_forget(xds_sub *s, const control_resources *all) {
    size_t at = 0;
    const char *name;
    while (weft_map_next(&s->told, &at, &name, NULL, NULL))
        if (!xds_sub_find(all, name)) untell(s, name);
}

void xds_sub_again(xds_sub *endpoints, const xds_sub *clusters, const control_resources *all) {
    size_t at = 0;
    const char *name;
    void *value;
    while (weft_map_next(&endpoints->told, &at, &name, NULL, &value)) {
        const control_resource *r = xds_sub_find(all, name);
        const xds_told *told = weft_map_get(&clusters->told, name);
        if (r && (!told || strcmp(told->version, r->version) != 0))
            ((xds_told *)value)->again = true;
    }
}
