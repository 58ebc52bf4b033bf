/* AdminService over gRPC. */
#include <stdio.h>
#include <string.h>

#include "services/control/admin/answers.h"
#include "services/control/control.h"
#include "weft/control/v1/admin.weft.h"
#include "weft/mem.h"

#ifndef WEFT_VERSION
#define WEFT_VERSION "0.0"
#endif

#define PAGE 20
#define PAGE_MAX 100
#define PROBLEMS_MAX 1000

/* ---- who may */

/* OK and `actor` set, or PERMISSION_DENIED. */
static weft_status allow(weft_ctx *ctx, role need, control **c, const char **actor) {
    const control_admin_door *door = weft_ctx_service(ctx);
    *c = door->c;
    if (door->owner) {
        *actor = "owner";
        return weft_ok();
    }
    const control_peer peer = control_peer_of(door->c, ctx);
    *actor = peer.identity ? peer.identity : peer.address;
    if (roles_of(&door->c->options.roles, peer.identity) >= need) return weft_ok();
    if (!peer.identity)
        return weft_permission_denied(ctx,
                                      "%s needs the role %s, and you showed no certificate; use "
                                      "the owner's socket, or mTLS",
                                      weft_ctx_method(ctx)->name, role_name(need));
    (void)audit_refusal(&door->c->log, "admin.refused", peer.identity, weft_ctx_method(ctx)->name);
    return weft_permission_denied(ctx,
                                  "%s needs the role %s, and %s has %s; start the control plane "
                                  "with --role %s=%s",
                                  weft_ctx_method(ctx)->name, role_name(need), peer.identity,
                                  role_name(roles_of(&door->c->options.roles, peer.identity)),
                                  role_name(need), peer.identity);
}

static weft_status no_memory(weft_ctx *ctx, int error) {
    return error == WEFT_EIO || error == WEFT_EPARSE
               ? weft_internal(ctx, "the store: %s", weft_strerror(error))
               : weft_resource_exhausted(ctx, "the answer: %s", weft_strerror(error));
}

static weft_status conflict(weft_ctx *ctx, const weft_head *head) {
    return weft_aborted(
        ctx,
        "the documents were changed by %s meanwhile: they are at revision %lld; look "
        "at `weft diff` and apply again",
        *head->author ? head->author : "someone else", (long long)head->sequence);
}

/* ---- documents */

static int texts_of(weft_ctx *ctx, WeftControl__File *const *files, size_t count,
                    model_text **out) {
    model_text *texts = weft_alloc(ctx, (count ? count : 1) * sizeof *texts);
    if (!texts) return WEFT_ENOMEM;
    for (size_t i = 0; i < count; i++)
        texts[i] = (model_text){.file = *files[i]->name ? files[i]->name : NULL,
                                .text = files[i]->content,
                                .len = strlen(files[i]->content)};
    *out = texts;
    return 0;
}

static void note_change(control *c, const char *event, const char *actor,
                        const documents_outcome *outcome, const char *reason) {
    char line[AUDIT_TEXT];
    if (outcome->after.head.sequence == outcome->before.head.sequence) return;
    (void)snprintf(line, sizeof line, "revision %lld (%.12s)%s%.500s",
                   (long long)outcome->after.head.sequence, outcome->after.head.id,
                   *reason ? ": " : "", reason);
    (void)audit_add(&c->log, event, actor, line);
    control_wake(c);
}

static weft_status apply(weft_ctx *ctx, const WeftControl__ApplyRequest *request,
                         WeftControl__ApplyResponse *reply) {
    control *c;
    documents_change change = {.expect = request->_expect_case ? request->expect : DOCUMENTS_ANY,
                               .dry_run = request->dry_run,
                               .prune = request->prune,
                               .reason = request->reason};
    documents_outcome outcome;
    weft_diags diags;
    model_text *texts;
    weft_status st = allow(ctx, ROLE_OPERATOR, &c, &change.author);
    if (weft_failed(st)) return st;
    weft_diags_init(&diags, weft_ctx_arena(ctx), PROBLEMS_MAX);
    int error = texts_of(ctx, request->files, request->n_files, &texts);
    if (!error)
        error = documents_apply(&c->docs, texts, request->n_files, &change, weft_ctx_arena(ctx),
                                &outcome, &diags);
    if (error == WEFT_ECONFLICT) return conflict(ctx, &outcome.before.head);
    if (error && diags.count) {
        error = answer_problems(ctx, &diags, &reply->problems, &reply->n_problems);
        return error ? no_memory(ctx, error) : weft_ok();
    }
    if (!error)
        error = answer_changes(ctx, c->types, outcome.before.set, outcome.after.set,
                               &reply->changes, &reply->n_changes);
    if (error) return no_memory(ctx, error);
    note_change(c, "apply", change.author, &outcome, request->reason);
    reply->revision = answer_revision(ctx, &outcome.after.head);
    return reply->revision ? weft_ok() : no_memory(ctx, WEFT_ENOMEM);
}

static weft_status rollback(weft_ctx *ctx, const WeftControl__RollbackRequest *request,
                            WeftControl__RollbackResponse *reply) {
    control *c;
    documents_change change = {.expect = request->_expect_case ? request->expect : DOCUMENTS_ANY};
    documents_outcome outcome;
    weft_status st = allow(ctx, ROLE_OPERATOR, &c, &change.author);
    if (weft_failed(st)) return st;
    change.reason = *request->reason ? request->reason
                                     : weft_printf(ctx, "rollback to %lld", (long long)request->to);
    int error = documents_rollback(&c->docs, request->to, &change, weft_ctx_arena(ctx), &outcome);
    if (error == WEFT_ENOTFOUND)
        return weft_not_found(ctx,
                              "there is no revision %lld to go back to; `weft history` lists them",
                              (long long)request->to);
    if (error == WEFT_ECONFLICT) return conflict(ctx, &outcome.before.head);
    if (!error)
        error = answer_changes(ctx, c->types, outcome.before.set, outcome.after.set,
                               &reply->changes, &reply->n_changes);
    if (error) return no_memory(ctx, error);
    note_change(c, "rollback", change.author, &outcome, request->reason);
    reply->revision = answer_revision(ctx, &outcome.after.head);
    return reply->revision ? weft_ok() : no_memory(ctx, WEFT_ENOMEM);
}

static bool asked_for(const WeftControl__GetRequest *request, int kind,
                      const model_document *document) {
    return (kind < 0 || (int)document->kind == kind) &&
           (!*request->namespace_ || !strcmp(request->namespace_, document->name_space)) &&
           (!*request->name || !strcmp(request->name, document->name));
}

static weft_status get(weft_ctx *ctx, const WeftControl__GetRequest *request,
                       WeftControl__GetResponse *reply) {
    control *c;
    const char *actor;
    documents_revision revision;
    weft_status st = allow(ctx, ROLE_VIEWER, &c, &actor);
    if (weft_failed(st)) return st;
    const int kind = *request->kind ? model_kind_find(request->kind) : -1;
    if (*request->kind && kind < 0)
        return weft_invalid(ctx, "kind", "%.100s is none of Mesh, Service, GRPCRoute",
                            request->kind);
    int error = documents_load(&c->docs, request->sequence, weft_ctx_arena(ctx), &revision);
    if (error == WEFT_ENOTFOUND)
        return weft_not_found(ctx, "there is no revision %lld", (long long)request->sequence);
    if (error) return no_memory(ctx, error);
    reply->documents = weft_array(ctx, revision.set->count + 1, sizeof *reply->documents);
    if (!reply->documents) return no_memory(ctx, WEFT_ENOMEM);
    for (size_t i = 0; i < revision.set->count && !error; i++)
        if (asked_for(request, kind, revision.set->documents[i])) {
            error = answer_document(ctx, c->types, revision.set->documents[i],
                                    &reply->documents[reply->n_documents]);
            if (!error) reply->n_documents++;
        }
    if (error) return no_memory(ctx, error);
    if (*request->name && !reply->n_documents)
        return weft_not_found(ctx, "no %s %s%s%s", *request->kind ? request->kind : "document",
                              request->namespace_, *request->namespace_ ? "/" : "", request->name);
    reply->revision = answer_revision(ctx, &revision.head);
    return reply->revision ? weft_ok() : no_memory(ctx, WEFT_ENOMEM);
}

static weft_status diff_files(weft_ctx *ctx, control *c, const WeftControl__DiffRequest *request,
                              WeftControl__DiffResponse *reply) {
    const documents_change change = {
        .expect = DOCUMENTS_ANY, .dry_run = true, .prune = request->prune};
    documents_outcome outcome;
    weft_diags diags;
    model_text *texts;
    weft_diags_init(&diags, weft_ctx_arena(ctx), PROBLEMS_MAX);
    int error = texts_of(ctx, request->files, request->n_files, &texts);
    if (!error)
        error = documents_apply(&c->docs, texts, request->n_files, &change, weft_ctx_arena(ctx),
                                &outcome, &diags);
    if (error && diags.count)
        error = answer_problems(ctx, &diags, &reply->problems, &reply->n_problems);
    else if (!error)
        error = answer_changes(ctx, c->types, outcome.before.set, outcome.after.set,
                               &reply->changes, &reply->n_changes);
    return error ? no_memory(ctx, error) : weft_ok();
}

static weft_status diff(weft_ctx *ctx, const WeftControl__DiffRequest *request,
                        WeftControl__DiffResponse *reply) {
    control *c;
    const char *actor;
    documents_revision from, to;
    weft_status st = allow(ctx, ROLE_VIEWER, &c, &actor);
    if (weft_failed(st)) return st;
    if (request->n_files) return diff_files(ctx, c, request, reply);
    int error = documents_load(&c->docs, request->to, weft_ctx_arena(ctx), &to);
    const int64_t first = request->from || error ? request->from : to.head.sequence - 1;
    if (!error && first < 0) error = WEFT_ENOTFOUND;
    from.set =
        error ? NULL : model_empty(weft_ctx_arena(ctx)); /* before the first there was nothing */
    if (!error && first) error = documents_load(&c->docs, first, weft_ctx_arena(ctx), &from);
    if (!error && !from.set) error = WEFT_ENOMEM;
    if (error == WEFT_ENOTFOUND)
        return weft_not_found(ctx, "there are no two such revisions; `weft history` lists them");
    if (!error)
        error = answer_changes(ctx, c->types, from.set, to.set, &reply->changes, &reply->n_changes);
    return error ? no_memory(ctx, error) : weft_ok();
}

static size_t page_size(int32_t limit) {
    return limit <= 0 ? PAGE : limit > PAGE_MAX ? PAGE_MAX : (size_t)limit;
}

static weft_status history(weft_ctx *ctx, const WeftControl__HistoryRequest *request,
                           WeftControl__HistoryResponse *reply) {
    control *c;
    const char *actor;
    size_t count = 0;
    weft_status st = allow(ctx, ROLE_VIEWER, &c, &actor);
    if (weft_failed(st)) return st;
    const size_t max = page_size(request->limit);
    weft_head *heads = weft_alloc(ctx, max * sizeof *heads);
    reply->revisions = weft_array(ctx, max, sizeof *reply->revisions);
    if (!heads || !reply->revisions) return no_memory(ctx, WEFT_ENOMEM);
    int error =
        weft_revisions_history(c->store, DOCUMENTS_HEAD, request->before, heads, max, &count);
    for (size_t i = 0; i < count && !error; i++) {
        reply->revisions[i] = answer_revision(ctx, &heads[i]);
        if (!reply->revisions[i]) error = WEFT_ENOMEM;
    }
    if (error) return no_memory(ctx, error);
    reply->n_revisions = count;
    return weft_ok();
}

/* ---- trust */

static weft_status create_token(weft_ctx *ctx, const WeftControl__CreateTokenRequest *request,
                                WeftControl__CreateTokenResponse *reply) {
    control *c;
    const char *actor;
    crypto_token token = {.id = ""};
    crypto_why why = {""};
    char text[CRYPTO_TOKEN_TEXT];
    weft_status st = allow(ctx, ROLE_OPERATOR, &c, &actor);
    if (weft_failed(st)) return st;
    int64_t ttl = CRYPTO_TOKEN_TTL;
    if (request->ttl) {
        if (request->ttl->seconds < 0 || request->ttl->seconds > 600)
            return weft_invalid(ctx, "ttl", "must be from 1s to 600s");
        ttl = request->ttl->seconds * WEFT_NS_PER_S + request->ttl->nanos;
    }
    if (ttl < WEFT_NS_PER_S || ttl > CRYPTO_TOKEN_TTL)
        return weft_invalid(ctx, "ttl", "must be from 1s to 600s");
    if (!model_label_valid(request->service))
        return weft_invalid(ctx, "service", "must be a DNS label, such as product");
    const char *home = *request->namespace_ ? request->namespace_ : MODEL_NAMESPACE;
    if (!model_label_valid(home))
        return weft_invalid(ctx, "namespace", "must be a DNS label, such as shop");
    if (!*request->address && !c->address_count)
        return weft_invalid(ctx, "address", "must be given: this control plane has none");
    if (crypto_spiffe_format(c->options.domain, home, request->service, token.identity,
                             sizeof token.identity) < 0)
        return weft_invalid(ctx, "service", "makes no identity");
    (void)snprintf(token.address, sizeof token.address, "%s",
                   *request->address ? request->address : c->addresses[0]);
    token.expires = weft_wall(c->options.clock) + ttl;
    int error = join_token(&c->desk, &token, actor, &why);
    if (!error) error = crypto_token_format(&token, text);
    crypto_wipe(token.secret, sizeof token.secret);
    if (error == WEFT_EINVAL) return weft_invalid(ctx, "token", "%s", why.text);
    if (error) return weft_unavailable(ctx, "%s", why.text);
    reply->token = weft_strdup(ctx, text);
    crypto_wipe(text, sizeof text);
    reply->id = weft_strdup(ctx, token.id);
    reply->identity = weft_strdup(ctx, token.identity);
    reply->expires = answer_time(ctx, token.expires);
    return reply->token && reply->id && reply->identity && reply->expires
               ? weft_ok()
               : no_memory(ctx, WEFT_ENOMEM);
}

static weft_status rotate_root(weft_ctx *ctx, const WeftControl__RotateRootRequest *request,
                               WeftControl__RotateRootResponse *reply) {
    control *c;
    const char *actor;
    ca_rotation plan;
    crypto_why why = {""};
    (void)request;
    weft_status st = allow(ctx, ROLE_ADMIN, &c, &actor);
    if (weft_failed(st)) return st;
    const int error = join_rotate(&c->desk, actor, &plan, &why);
    if (error == WEFT_EBUSY || error == WEFT_EUNSUPPORTED)
        return weft_failed_precondition(ctx, "%s", why.text);
    if (error) return weft_internal(ctx, "%s", why.text);
    control_wake(c);
    reply->signs = answer_time(ctx, plan.signs);
    reply->done = answer_time(ctx, plan.done);
    return reply->signs && reply->done ? weft_ok() : no_memory(ctx, WEFT_ENOMEM);
}

static weft_status list_audit(weft_ctx *ctx, const WeftControl__AuditRequest *request,
                              WeftControl__AuditResponse *reply) {
    control *c;
    const char *actor;
    size_t count = 0;
    weft_status st = allow(ctx, ROLE_ADMIN, &c, &actor);
    if (weft_failed(st)) return st;
    const size_t max = page_size(request->limit);
    audit_entry *entries = weft_malloc(max * sizeof *entries);
    reply->entries = weft_array(ctx, max, sizeof *reply->entries);
    int error = entries && reply->entries ? 0 : WEFT_ENOMEM;
    if (!error) error = audit_list(&c->log, request->before, entries, max, &count);
    for (size_t i = 0; i < count && !error; i++) {
        WeftControl__AuditEntry *entry = reply->entries[i] = weft_control_audit_entry_new(ctx);
        if (!entry) {
            error = WEFT_ENOMEM;
            break;
        }
        entry->sequence = entries[i].sequence;
        entry->time = answer_time(ctx, entries[i].time);
        entry->event = weft_strdup(ctx, entries[i].event);
        entry->actor = weft_strdup(ctx, entries[i].actor);
        entry->text = weft_strdup(ctx, entries[i].text);
        if (!entry->time || !entry->event || !entry->actor || !entry->text) error = WEFT_ENOMEM;
    }
    weft_free(entries);
    if (error) return no_memory(ctx, error);
    reply->n_entries = count;
    return weft_ok();
}

/* ---- what is there */

static weft_status endpoints(weft_ctx *ctx, const WeftControl__EndpointsRequest *request,
                             WeftControl__EndpointsResponse *reply) {
    control *c;
    const char *actor;
    registry_entry entry;
    size_t at = 0;
    int error = 0;
    weft_status st = allow(ctx, ROLE_VIEWER, &c, &actor);
    if (weft_failed(st)) return st;
    const int64_t now = weft_now(c->options.clock), wall = weft_wall(c->options.clock);
    (void)pthread_mutex_lock(&c->registry_lock);
    const size_t room = registry_count(c->members).instances;
    reply->endpoints = weft_array(ctx, room ? room : 1, sizeof *reply->endpoints);
    if (!reply->endpoints) error = WEFT_ENOMEM;
    while (!error && registry_next(c->members, &at, &entry)) {
        const registry_view_instance *is = entry.instance;
        if ((*request->namespace_ && strcmp(request->namespace_, is->name_space) != 0) ||
            (*request->service && strcmp(request->service, is->service) != 0))
            continue;
        error = answer_endpoint(ctx, &entry, now, wall, &reply->endpoints[reply->n_endpoints]);
        if (!error) reply->n_endpoints++;
    }
    (void)pthread_mutex_unlock(&c->registry_lock);
    return error ? no_memory(ctx, error) : weft_ok();
}

static weft_status status(weft_ctx *ctx, const WeftControl__StatusRequest *request,
                          WeftControl__StatusResponse *reply) {
    control *c;
    const char *actor;
    weft_head head = {.sequence = 0};
    (void)request;
    weft_status st = allow(ctx, ROLE_VIEWER, &c, &actor);
    if (weft_failed(st)) return st;
    int error = weft_revisions_head(c->store, DOCUMENTS_HEAD, &head);
    if (error == WEFT_ENOTFOUND) error = 0;
    if (!error) error = answer_roots(ctx, c, &reply->roots, &reply->n_roots);
    if (error) return no_memory(ctx, error);
    (void)pthread_mutex_lock(&c->registry_lock);
    const registry_counts counts = registry_count(c->members);
    reply->registry_version = registry_version(c->members);
    (void)pthread_mutex_unlock(&c->registry_lock);
    reply->instances = (uint32_t)counts.instances;
    reply->instances_up = (uint32_t)counts.up;
    reply->version = weft_strdup(ctx, WEFT_VERSION);
    reply->trust_domain = weft_strdup(ctx, c->options.domain);
    reply->identity = weft_strdup(ctx, c->identity);
    reply->started = answer_time(ctx, c->started);
    reply->revision = answer_revision(ctx, &head);
    reply->joins = atomic_load(&c->desk.joins);
    reply->renewals = atomic_load(&c->desk.renewals);
    reply->refusals = c->log.refusals;
    reply->addresses = weft_array(ctx, c->address_count + 1, sizeof *reply->addresses);
    if (!reply->version || !reply->trust_domain || !reply->identity || !reply->started ||
        !reply->revision || !reply->addresses)
        return no_memory(ctx, WEFT_ENOMEM);
    for (size_t i = 0; i < c->address_count; i++) {
        reply->addresses[i] = weft_strdup(ctx, c->addresses[i]);
        if (!reply->addresses[i]) return no_memory(ctx, WEFT_ENOMEM);
        reply->n_addresses++;
    }
    return weft_ok();
}

int control_serve_admin(weft_server *server, control_admin_door *door) {
    static const weft_control_admin_service handlers = {
        .apply = apply,
        .get = get,
        .diff = diff,
        .history = history,
        .rollback = rollback,
        .create_token = create_token,
        .status = status,
        .endpoints = endpoints,
        .rotate_root = rotate_root,
        .audit = list_audit,
    };
    return weft_control_admin_service_add(server, &handlers, door);
}
