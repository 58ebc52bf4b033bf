#include "sidecar/telemetry/metrics.h"

#include <string.h>

#include "weft/mem.h"

const telemetry_info telemetry_table[TELEMETRY_COUNTER_COUNT] = {
#define X(id, family, label, type, text) \
    [TELEMETRY_##id] = {.name = family, .labels = label, .kind = TELEMETRY_##type, .help = text},
    TELEMETRY_COUNTERS(X)
#undef X
};

/* Series are in a hash table (open addressing, at most half full) and in a list, oldest first.
 * Invariants: held <= max; `other` is in neither, it exists once it was needed. */
struct telemetry {
    uint64_t counters[TELEMETRY_COUNTER_COUNT];
    telemetry_series **slots;
    uint32_t mask;
    size_t held, max;
    int64_t idle;
    uint64_t epoch; /* moves when series are dropped: handles of before may lead nowhere */
    telemetry_series *first, *last;
    telemetry_series other;
    bool has_other;
};

telemetry *telemetry_new(size_t max_series, int64_t idle) {
    telemetry *t = weft_calloc(1, sizeof *t);
    if (!t) return NULL;
    t->max = max_series ? max_series : TELEMETRY_SERIES_DEFAULT;
    t->idle = idle ? idle : TELEMETRY_IDLE_DEFAULT;
    static const char name[] = "other";
    const size_t len = sizeof name - 1;
    t->other.key = (telemetry_key){.service = name,
                                   .service_len = len,
                                   .method = name,
                                   .method_len = len,
                                   .peer = name,
                                   .peer_len = len,
                                   .route = name,
                                   .route_len = len};
    return t;
}

void telemetry_free(telemetry *t) {
    if (!t) return;
    for (telemetry_series *s = t->first, *next; s; s = next) {
        next = s->next;
        weft_free(s);
    }
    weft_free(t->slots);
    weft_free(t);
}

uint64_t *telemetry_at(telemetry *t) { return t->counters; }

uint64_t telemetry_get(const telemetry *t, telemetry_counter counter) {
    return t->counters[counter];
}

size_t telemetry_series_count(const telemetry *t) { return t->held; }

/* ---- keys */

static uint64_t mix(uint64_t h, const char *text, size_t len) {
    uint64_t word;
    h ^= len;
    for (; len >= 8; text += 8, len -= 8) {
        memcpy(&word, text, 8);
        h = (h ^ word) * UINT64_C(0xff51afd7ed558ccd);
        h ^= h >> 32;
    }
    word = 0;
    if (len) memcpy(&word, text, len);
    h = (h ^ word) * UINT64_C(0xc4ceb9fe1a85ec53);
    return h ^ h >> 29;
}

/* Strangers choose methods, but the number of series bounds what collisions can cost. */
static uint64_t hash_of(const telemetry_key *k) {
    uint64_t h = ((uint64_t)k->direction << 8 | k->grpc_status) + UINT64_C(0x9e3779b97f4a7c15);
    h = mix(h, k->service, k->service_len);
    h = mix(h, k->method, k->method_len);
    h = mix(h, k->peer, k->peer_len);
    return mix(h, k->route, k->route_len);
}

static bool same_text(const char *a, size_t a_len, const char *b, size_t b_len) {
    return a_len == b_len && (a == b || memcmp(a, b, a_len) == 0);
}

static bool same_key(const telemetry_key *a, const telemetry_key *b) {
    return a->direction == b->direction && a->grpc_status == b->grpc_status &&
           same_text(a->method, a->method_len, b->method, b->method_len) &&
           same_text(a->service, a->service_len, b->service, b->service_len) &&
           same_text(a->peer, a->peer_len, b->peer, b->peer_len) &&
           same_text(a->route, a->route_len, b->route, b->route_len);
}

static size_t cut(size_t len) { return len < TELEMETRY_LABEL ? len : TELEMETRY_LABEL; }

/* Labels as they are kept: cut, never NULL. */
static telemetry_key clean_key(const telemetry_key *from) {
    telemetry_key k = *from;
    k.service_len = cut(k.service_len);
    k.method_len = cut(k.method_len);
    k.peer_len = cut(k.peer_len);
    k.route_len = cut(k.route_len);
    if (!k.service) k.service = "";
    if (!k.method) k.method = "";
    if (!k.peer) k.peer = "";
    if (!k.route) k.route = "";
    return k;
}

/* ---- series */

static telemetry_series **slot_of(const telemetry *t, uint64_t hash, const telemetry_key *key) {
    uint32_t at = (uint32_t)hash & t->mask;
    while (t->slots[at] && (t->slots[at]->hash != hash || !same_key(&t->slots[at]->key, key)))
        at = (at + 1) & t->mask;
    return &t->slots[at];
}

static bool rehash(telemetry *t, uint32_t size) {
    telemetry_series **slots = weft_calloc(size, sizeof *slots);
    if (!slots) return false;
    weft_free(t->slots);
    t->slots = slots;
    t->mask = size - 1;
    for (telemetry_series *s = t->first; s; s = s->next) *slot_of(t, s->hash, &s->key) = s;
    return true;
}

static const char *put_text(char **at, const char *text, size_t len) {
    char *to = *at;
    if (len) memcpy(to, text, len);
    to[len] = '\0';
    *at += len + 1;
    return to;
}

/* NULL: no room or no memory. */
static telemetry_series *add_series(telemetry *t, const telemetry_key *key, uint64_t hash) {
    if (t->held >= t->max) return NULL;
    if ((!t->slots || 2 * (t->held + 1) > t->mask) && !rehash(t, t->slots ? 2 * (t->mask + 1) : 64))
        return NULL;
    telemetry_series *s = weft_calloc(
        1, sizeof *s + key->service_len + key->method_len + key->peer_len + key->route_len + 4);
    if (!s) return NULL;
    char *text = (char *)(s + 1);
    s->key = *key;
    s->key.service = put_text(&text, key->service, key->service_len);
    s->key.method = put_text(&text, key->method, key->method_len);
    s->key.peer = put_text(&text, key->peer, key->peer_len);
    s->key.route = put_text(&text, key->route, key->route_len);
    s->hash = hash;
    *slot_of(t, hash, &s->key) = s;
    if (t->last)
        t->last->next = s;
    else
        t->first = s;
    t->last = s;
    t->counters[TELEMETRY_SERIES] = ++t->held;
    return s;
}

/* The series of a key; "other" when there can be none. */
static telemetry_series *find_series(telemetry *t, const telemetry_key *given) {
    const telemetry_key key = clean_key(given);
    const uint64_t hash = hash_of(&key);
    telemetry_series *s = t->slots ? *slot_of(t, hash, &key) : NULL;
    if (!s) s = add_series(t, &key, hash);
    if (s) return s;
    t->has_other = true;
    return &t->other;
}

telemetry_handle telemetry_call(telemetry *t, const telemetry_key *key, int64_t duration,
                                int64_t now) {
    telemetry_series *s = find_series(t, key);
    histogram_add(&s->duration, duration);
    s->touched = now;
    if (s != &t->other) return (telemetry_handle){s, t->epoch};
    t->counters[TELEMETRY_SERIES_REFUSED]++;
    return (telemetry_handle){NULL, 0};
}

bool telemetry_call_again(telemetry *t, const telemetry_handle *handle, uint32_t grpc_status,
                          int64_t duration, int64_t now) {
    telemetry_series *s = handle->series;
    if (!s || handle->epoch != t->epoch || s->key.grpc_status != grpc_status) return false;
    histogram_add(&s->duration, duration);
    s->touched = now;
    return true;
}

size_t telemetry_sweep(telemetry *t, int64_t now) {
    size_t gone = 0;
    telemetry_series *last = NULL;
    for (telemetry_series **at = &t->first, *s; (s = *at);) {
        if (now - s->touched < t->idle) {
            last = s;
            at = &s->next;
            continue;
        }
        *at = s->next;
        weft_free(s);
        gone++;
    }
    t->last = last;
    t->held -= gone;
    t->counters[TELEMETRY_SERIES] = t->held;
    if (!gone) return 0;
    t->epoch++;
    /* Holes in open addressing would break chains: the table is made anew in its own memory. */
    memset(t->slots, 0, (t->mask + 1) * sizeof *t->slots);
    for (telemetry_series *s = t->first; s; s = s->next) *slot_of(t, s->hash, &s->key) = s;
    return gone;
}

int telemetry_merge(telemetry *to, const telemetry *from) {
    int rc = 0;
    for (size_t i = 0; i < TELEMETRY_COUNTER_COUNT; i++)
        if (i != TELEMETRY_SERIES) to->counters[i] += from->counters[i];
    for (const telemetry_series *s = telemetry_first(from); s; s = telemetry_next(from, s)) {
        telemetry_series *mine = s == &from->other ? &to->other : find_series(to, &s->key);
        if (s == &from->other) to->has_other = true;
        if (mine == &to->other && s != &from->other && to->held < to->max) rc = WEFT_ENOMEM;
        histogram_merge(&mine->duration, &s->duration);
        if (s->touched > mine->touched) mine->touched = s->touched;
    }
    return rc;
}

/* ---- stepping */

const telemetry_series *telemetry_first(const telemetry *t) {
    if (t->first) return t->first;
    return t->has_other ? &t->other : NULL;
}

const telemetry_series *telemetry_next(const telemetry *t, const telemetry_series *series) {
    if (series->next || series == &t->other) return series->next;
    return t->has_other ? &t->other : NULL;
}
