/* Read this first: what happens to a call, step by step.
 *
 *   inbound   from other sidecars (mTLS) to our app       outbound   from our app to other sidecars
 *
 * Before the first step the connection was accepted (worker.c), its peer's certificate judged
 * (lib/crypto), and the request's headers parsed and validated (lib/h2, lib/http). The last step
 * opens an attempt; from then on call_forward.c moves bytes. A step answers STACK_DONE when it has
 * replied itself. */
#include "sidecar/stack.h"

#include <string.h>

#include "weft/status.h"

/* ---- read: what kind of request it is, and whether there is a plan for such ones */

static plan_key key_of(const call *c) {
    http_field *authority = http_fields_find(&c->request, HTTP_NAME_AUTHORITY);
    if (!authority) authority = http_fields_find(&c->request, HTTP_NAME_HOST);
    return (plan_key){.listener = c->down->listener,
                      .authority = authority,
                      .path = http_fields_find(&c->request, HTTP_NAME_PATH),
                      .type = http_fields_find(&c->request, HTTP_NAME_CONTENT_TYPE),
                      .peer = c->down->peer_cert};
}

static stack_verdict step_read(call *c) {
    const plan_key key = key_of(c);
    c->plan = plan_find(&c->worker->plans, &key, c->view->generation);
    if (c->plan) {
        c->plan_serial = c->plan->serial;
        c->grpc = c->plan->grpc;
        c->path = c->plan->split;
        return STACK_NEXT;
    }
    c->grpc = key.type && http_grpc_content_type(key.type->value, key.type->value_len);
    if (!key.path || http_grpc_path_split(key.path->value, key.path->value_len, &c->path))
        c->path = (http_grpc_path){"", 0, "", 0};
    return STACK_NEXT;
}

/* ---- trace: continue the caller's, or begin one */

static void random_bytes(call *c, uint8_t *out, size_t size) {
    for (size_t i = 0; i < size; i += 8) {
        const uint64_t bits = weft_rng_u64(&c->worker->rng) | 1; /* never all zero */
        memcpy(out + i, &bits, 8);
    }
}

static stack_verdict step_trace(call *c) {
    const http_field *given = http_fields_find(&c->request, HTTP_NAME_TRACEPARENT);
    if (given && !http_traceparent_parse(given->value, given->value_len, &c->trace)) {
        memcpy(c->parent, c->trace.span_id, sizeof c->parent);
    } else {
        c->trace_new = true;
        random_bytes(c, c->trace.trace_id, sizeof c->trace.trace_id);
        memset(c->parent, 0, sizeof c->parent);
        c->trace.flags =
            span_sample(c->trace.trace_id, c->worker->shared->trace_ratio) ? HTTP_TRACE_SAMPLED : 0;
    }
    /* Outbound it is in our own spans only: the attempt's goes on. */
    if (c->inbound || sidecar_wants_spans(c->worker->shared))
        random_bytes(c, c->trace.span_id, sizeof c->trace.span_id);
    return STACK_NEXT;
}

/* ---- identity: who calls is what the certificate says, never what a header says */

static stack_verdict step_identity(call *c) {
    (void)http_fields_remove(&c->request, HTTP_NAME_FORWARDED_CLIENT_CERT);
    if (c->down->peer_cert && http_fields_add(&c->request, c->down->peer_cert)) {
        call_answer(c, WEFT_RESOURCE_EXHAUSTED, true, "out of memory");
        return STACK_DONE;
    }
    return STACK_NEXT;
}

/* ---- route: which rule, which cluster */

typedef struct header_reader {
    const call *call;
    bool asked;
} header_reader;

static bool header_value(const void *user, const char *name, size_t name_len, size_t index,
                         route_text *value) {
    header_reader *reader = (header_reader *)(uintptr_t)user;
    const http_fields *list = &reader->call->request;
    reader->asked = true;
    for (uint32_t i = 0; i < list->count; i++) {
        const http_field *f = list->at[i];
        if (f->name_len != name_len || memcmp(f->name, name, name_len) != 0 || index--) continue;
        *value = (route_text){f->value, f->value_len};
        return true;
    }
    return false;
}

static route_text text_of(const http_field *field) {
    return field ? (route_text){field->value, field->value_len} : (route_text){"", 0};
}

static stack_verdict reply_directly(call *c) {
    const config_route *route = c->route;
    call_answer(c, (int)http_grpc_from_http((int)route->reply_status), false, "%s",
                route->reply_body.len ? route->reply_body.text : "answered by the route");
    return STACK_DONE;
}

static stack_verdict no_route(call *c, const route_request *request, const route_result *result) {
    char why[ROUTE_TEXT];
    worker_counters(c->worker)[TELEMETRY_NO_ROUTE]++;
    (void)route_explain(c->down->listener->config->routes, request, result, why);
    call_answer(c, route_status(result), false, "%s", why);
    return STACK_DONE;
}

/* For the next call of the kind. */
static void make_plan(call *c, const plan_key *key) {
    plan *p = plan_make(&c->worker->plans, key, c->view->generation);
    if (!p) return;
    p->grpc = c->grpc;
    p->split = c->path;
    p->route = c->route;
    p->cluster = c->route->share_count == 1 ? c->route->shares[0].cluster : NULL;
    p->retry = c->retry;
    c->plan = p;
    c->plan_serial = p->serial;
}

static stack_verdict search_route(call *c) {
    const plan_key key = key_of(c);
    header_reader reader = {.call = c};
    const route_request request = {.authority = text_of(key.authority),
                                   .path = text_of(key.path),
                                   .grpc = c->grpc,
                                   .header = header_value,
                                   .user = &reader};
    const route_result result = route_match(c->down->listener->config->routes, &request);
    if (result.outcome != ROUTE_FOUND) return no_route(c, &request, &result);
    c->route = result.route;
    if (c->route->action == CONFIG_REPLY) return reply_directly(c);
    c->retry = route_retry(c->view->snapshot, c->route, request.path, NULL, NULL);
    if (!reader.asked) make_plan(c, &key);
    return STACK_NEXT;
}

static stack_verdict step_route(call *c) {
    if (c->plan) {
        c->route = c->plan->route;
        c->retry = c->plan->retry;
        c->cluster = c->plan->cluster;
    } else if (search_route(c) == STACK_DONE) {
        return STACK_DONE;
    }
    if (!c->cluster) c->cluster = route_pick(c->route, weft_rng_u64(&c->worker->rng));
    c->upstream = upstream_find(c->view->state, c->cluster);
    return STACK_NEXT;
}

/* ---- deadline: the least of the caller's, the route's, the listener's and the cluster's */

static int64_t shorter(int64_t left, int64_t limit) { return limit && limit < left ? limit : left; }

static stack_verdict step_deadline(call *c) {
    const http_field *timeout = http_fields_find(&c->request, HTTP_NAME_GRPC_TIMEOUT);
    int64_t asked = -1;
    if (timeout && http_timeout_parse(timeout->value, timeout->value_len, &asked)) asked = -1;
    int64_t left = route_timeout(c->route, asked);
    left = shorter(left, c->down->listener->config->h2.max_stream_duration);
    left = shorter(left, c->cluster->h2.max_stream_duration);
    if (left > INT64_MAX - c->started) return STACK_NEXT;
    c->deadline = c->started + left;
    c->timeout_given = left == asked;
    c->deadline_place = deadline_add(&c->worker->deadlines, c->deadline, c);
    if (c->deadline_place != DEADLINE_NONE) return STACK_NEXT;
    call_answer(c, WEFT_RESOURCE_EXHAUSTED, true, "out of memory");
    return STACK_DONE;
}

/* ---- admit: the cluster's bulkhead for this class of calls */

static stack_verdict step_admit(call *c) {
    const config_class class = c->route->priority;
    const config_thresholds *limits = &c->cluster->thresholds[class];
    cluster_shared *shared = c->upstream->shared;
    if (!cluster_gauge_take(&shared->classes[class].requests, limits->max_requests)) {
        worker_counters(c->worker)[TELEMETRY_OVERFLOW_REQUESTS]++;
        call_answer(c, WEFT_UNAVAILABLE, true,
                    "cluster %s has %u requests in flight, its limit (max_requests)",
                    c->cluster->name, limits->max_requests);
        return STACK_DONE;
    }
    c->admitted = true;
    upstream_count(c->upstream, c->started);
    return STACK_NEXT;
}

static stack_verdict step_forward(call *c) {
    call_forward(c);
    return STACK_DONE;
}

/* ---- the stacks */

static const stack_step inbound[] = {
    {"read", step_read},       {"trace", step_trace},       {"identity", step_identity},
    {"route", step_route},     {"deadline", step_deadline}, {"admit", step_admit},
    {"forward", step_forward},
};

static const stack_step outbound[] = {
    {"read", step_read},       {"trace", step_trace},       {"identity", step_identity},
    {"route", step_route},     {"deadline", step_deadline}, {"admit", step_admit},
    {"forward", step_forward},
};

void stack_run(call *c) {
    const stack_step *at = c->inbound ? inbound : outbound;
    while (at->run(c) == STACK_NEXT) at++;
}
