/* What the admin API answers: see answers.h. */
#include "services/control/admin/answers.h"

#include <string.h>

#include "services/control/registry/wire.h"
#include "weft/control/v1/admin.weft.h"
#include "weft/encoding.h"

Google__Protobuf__Timestamp *answer_time(weft_ctx *ctx, int64_t wall_ns) {
    Google__Protobuf__Timestamp *t = weft_alloc(ctx, sizeof *t);
    if (!t) return NULL;
    google__protobuf__timestamp__init(t);
    t->seconds = wall_ns / WEFT_NS_PER_S;
    t->nanos = (int32_t)(wall_ns % WEFT_NS_PER_S);
    return t;
}

Google__Protobuf__Duration *answer_duration(weft_ctx *ctx, int64_t ns) {
    Google__Protobuf__Duration *d = weft_alloc(ctx, sizeof *d);
    if (!d) return NULL;
    google__protobuf__duration__init(d);
    d->seconds = ns / WEFT_NS_PER_S;
    d->nanos = (int32_t)(ns % WEFT_NS_PER_S);
    return d;
}

WeftControl__Revision *answer_revision(weft_ctx *ctx, const weft_head *head) {
    WeftControl__Revision *r = weft_control_revision_new(ctx);
    if (!r) return NULL;
    r->sequence = head->sequence;
    r->id = weft_strdup(ctx, head->id);
    r->author = weft_strdup(ctx, head->author);
    r->reason = weft_strdup(ctx, head->reason);
    r->moved = head->sequence ? answer_time(ctx, head->moved) : NULL;
    return r->id && r->author && r->reason && (r->moved || !head->sequence) ? r : NULL;
}

static char *text(weft_ctx *ctx, const char *from) { return weft_strdup(ctx, from ? from : ""); }

int answer_problems(weft_ctx *ctx, const weft_diags *diags, WeftControl__Problem ***list,
                    size_t *count) {
    WeftControl__Problem **out = weft_array(ctx, diags->count + 1, sizeof *out);
    size_t n = 0;
    if (!out) return WEFT_ENOMEM;
    for (const weft_diag *d = diags->first; d; d = d->next) {
        WeftControl__Problem *p = weft_control_problem_new(ctx);
        if (!p) return WEFT_ENOMEM;
        p->file = text(ctx, d->file);
        p->line = d->line;
        p->column = d->column;
        p->path = text(ctx, d->path);
        p->text = text(ctx, d->text);
        p->hint = text(ctx, d->hint);
        if (!p->file || !p->path || !p->text || !p->hint) return WEFT_ENOMEM;
        out[n++] = p;
    }
    *list = out;
    *count = n;
    return 0;
}

int answer_changes(weft_ctx *ctx, const weft_registry *types, const model_set *before,
                   const model_set *after, WeftControl__Change ***list, size_t *count) {
    static const WeftControl__Change__Kind kinds[] = {
        [MODEL_ADDED] = WEFT_CONTROL__CHANGE__KIND__ADDED,
        [MODEL_CHANGED] = WEFT_CONTROL__CHANGE__KIND__CHANGED,
        [MODEL_REMOVED] = WEFT_CONTROL__CHANGE__KIND__REMOVED};
    model_difference *found;
    size_t n;
    int error = model_diff(types, before, after, weft_ctx_arena(ctx), &found, &n);
    if (error) return error;
    WeftControl__Change **out = weft_array(ctx, n ? n : 1, sizeof *out);
    if (!out) return WEFT_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        WeftControl__Change *change = out[i] = weft_control_change_new(ctx);
        if (!change) return WEFT_ENOMEM;
        change->kind = kinds[found[i].change];
        change->document_kind = text(ctx, model_kind_name(found[i].kind));
        change->namespace_ = text(ctx, found[i].name_space);
        change->name = text(ctx, found[i].name);
        change->path = text(ctx, found[i].path);
        change->before = text(ctx, found[i].before);
        change->after = text(ctx, found[i].after);
        if (!change->document_kind || !change->namespace_ || !change->name || !change->path ||
            !change->before || !change->after)
            return WEFT_ENOMEM;
    }
    *list = out;
    *count = n;
    return 0;
}

int answer_document(weft_ctx *ctx, const weft_registry *types, const model_document *from,
                    WeftControl__Document **out) {
    WeftControl__Document *d = weft_control_document_new(ctx);
    weft_buf yaml;
    if (!d) return WEFT_ENOMEM;
    weft_buf_init(&yaml, 0);
    const int error = model_yaml(types, from, &yaml);
    d->yaml = error ? NULL : weft_strdup(ctx, weft_buf_str(&yaml));
    weft_buf_free(&yaml);
    d->kind = text(ctx, model_kind_name(from->kind));
    d->namespace_ = text(ctx, from->name_space);
    d->name = text(ctx, from->name);
    d->id = text(ctx, from->hash);
    if (error) return error;
    if (!d->yaml || !d->kind || !d->namespace_ || !d->name || !d->id) return WEFT_ENOMEM;
    *out = d;
    return 0;
}

static int endpoint_labels(weft_ctx *ctx, const registry_view_instance *is,
                           WeftControl__Endpoint *e) {
    e->labels = weft_array(ctx, is->label_count ? is->label_count : 1, sizeof *e->labels);
    if (!e->labels) return WEFT_ENOMEM;
    for (size_t i = 0; i < is->label_count; i++) {
        WeftControl__Endpoint__LabelsEntry *entry = weft_alloc(ctx, sizeof *entry);
        if (!entry) return WEFT_ENOMEM;
        weft_control__endpoint__labels_entry__init(entry);
        entry->key = text(ctx, is->labels[i].key);
        entry->value = text(ctx, is->labels[i].value);
        if (!entry->key || !entry->value) return WEFT_ENOMEM;
        e->labels[i] = entry;
    }
    e->n_labels = is->label_count;
    return 0;
}

int answer_endpoint(weft_ctx *ctx, const registry_entry *entry, int64_t now, int64_t wall,
                    WeftControl__Endpoint **out) {
    static const WeftControl__Endpoint__State states[] = {
        [REGISTRY_UP] = WEFT_CONTROL__ENDPOINT__STATE__UP,
        [REGISTRY_LOST] = WEFT_CONTROL__ENDPOINT__STATE__LOST,
        [REGISTRY_DOWN] = WEFT_CONTROL__ENDPOINT__STATE__DOWN};
    const registry_view_instance *is = entry->instance;
    WeftControl__Endpoint *e = weft_control_endpoint_new(ctx);
    if (!e) return WEFT_ENOMEM;
    e->namespace_ = text(ctx, is->name_space);
    e->service = text(ctx, is->service);
    e->instance = text(ctx, is->id);
    e->address = text(ctx, *is->address ? is->address : is->plain_address);
    e->state = states[entry->state];
    e->health = wire_health_of(is->health);
    e->draining = is->draining;
    e->registered = answer_time(ctx, wall - (now - entry->registered));
    e->silent = answer_duration(ctx, now > entry->heard ? now - entry->heard : 0);
    if (!e->namespace_ || !e->service || !e->instance || !e->address || !e->registered ||
        !e->silent)
        return WEFT_ENOMEM;
    *out = e;
    return endpoint_labels(ctx, is, e);
}

int answer_roots(weft_ctx *ctx, control *c, WeftControl__Root ***list, size_t *count) {
    int error = 0;
    (void)pthread_mutex_lock(&c->desk.lock);
    const crypto_certs *roots = crypto_bundle_roots(ca_bundle(c->authority));
    const crypto_cert *signer = ca_signer(c->authority, weft_wall(c->options.clock));
    const uint8_t *signs = crypto_cert_get_info(signer)->sha256;
    WeftControl__Root **out = weft_array(ctx, roots->count, sizeof *out);
    if (!out) error = WEFT_ENOMEM;
    for (size_t i = 0; i < roots->count && !error; i++) {
        const crypto_cert_info *info = crypto_cert_get_info(roots->items[i]);
        char hex[WEFT_HEX_TEXT(CRYPTO_SHA256_SIZE)];
        WeftControl__Root *root = out[i] = weft_control_root_new(ctx);
        if (!root) {
            error = WEFT_ENOMEM;
            break;
        }
        (void)weft_hex_encode(info->sha256, sizeof info->sha256, hex);
        root->subject = text(ctx, info->subject);
        root->fingerprint = text(ctx, hex);
        root->expires = answer_time(ctx, info->not_after);
        root->signing = !memcmp(signs, info->sha256, sizeof info->sha256);
        if (!root->subject || !root->fingerprint || !root->expires) error = WEFT_ENOMEM;
    }
    if (!error) {
        *list = out;
        *count = roots->count;
    }
    (void)pthread_mutex_unlock(&c->desk.lock);
    return error;
}
