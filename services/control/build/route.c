/* Route configurations: GRPCRoutes of a service in the order in which they match. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "services/control/build/make.h"
#include "weft/clock.h"

#define ROUTES_MAX 10000u /* of one service */

/* One match of one rule; match NULL: every call. */
typedef struct entry {
    const model_document *document;
    const WeftMesh__GRPCRouteRule *rule;
    const WeftMesh__GRPCRouteMatch *match;
    size_t service_len, method_len, headers;
    size_t place; /* as written in the document */
    size_t rule_index;
} entry;

/* Gateway API, GRPCRouteRule.matches: the most specific first. */
static int by_precedence(const void *a, const void *b) {
    const entry *x = a, *y = b;
    if (x->service_len != y->service_len) return x->service_len > y->service_len ? -1 : 1;
    if (x->method_len != y->method_len) return x->method_len > y->method_len ? -1 : 1;
    if (x->headers != y->headers) return x->headers > y->headers ? -1 : 1;
    int order = strcmp(x->document->name_space, y->document->name_space);
    if (!order) order = strcmp(x->document->name, y->document->name);
    if (order) return order;
    return x->place < y->place ? -1 : x->place > y->place;
}

/* ---- what a route matches */

static const char *escaped(make *m, const char *text) {
    char *out = make_alloc(m, strlen(text) * 2 + 1, 1), *p = out;
    if (!out) return "";
    for (; *text; text++) {
        if (!isalnum((unsigned char)*text) && *text != '_') *p++ = '\\';
        *p++ = *text;
    }
    return out;
}

static EnvoyMatcher__RegexMatcher *regex(make *m, char *pattern) {
    MAKE(m, EnvoyMatcher__RegexMatcher, matcher, envoy_matcher__regex_matcher);
    MAKE(m, EnvoyMatcher__RegexMatcher__GoogleRE2, re2, envoy_matcher__regex_matcher__google_re2);
    matcher->engine_type_case = ENVOY_MATCHER__REGEX_MATCHER__ENGINE_TYPE_GOOGLE_RE2;
    matcher->google_re2 = re2;
    matcher->regex = pattern;
    return matcher;
}

/* Patterns match whole texts; ^ and $ at their ends say what holds anyway, and could not be inside. */
static const char *pattern_part(make *m, const char *text) {
    if (*text == '^') text++;
    size_t len = strlen(text);
    if (len && text[len - 1] == '$') {
        size_t slashes = 0;
        while (slashes + 1 < len && text[len - 2 - slashes] == '\\') slashes++;
        if (slashes % 2 == 0) len--;
    }
    return len ? make_text(m, "(?:%.*s)", (int)len, text) : "[^/]+";
}

static void match_path(make *m, const WeftMesh__GRPCMethodMatch *from,
                       EnvoyRoute__RouteMatch *out) {
    const bool exact = !from || from->type == WEFT_MESH__GRPCMETHOD_MATCH__TYPE__Exact;
    if (!from || (!*from->service && !*from->method)) {
        out->path_specifier_case = ENVOY_ROUTE__ROUTE_MATCH__PATH_SPECIFIER_PREFIX;
        out->prefix = make_copy(m, "/");
    } else if (exact && *from->service && *from->method) {
        out->path_specifier_case = ENVOY_ROUTE__ROUTE_MATCH__PATH_SPECIFIER_PATH;
        out->path = make_text(m, "/%s/%s", from->service, from->method);
    } else if (exact && *from->service) {
        out->path_specifier_case = ENVOY_ROUTE__ROUTE_MATCH__PATH_SPECIFIER_PREFIX;
        out->prefix = make_text(m, "/%s/", from->service);
    } else {
        const char *service = exact ? escaped(m, from->service) : pattern_part(m, from->service);
        const char *method = exact ? escaped(m, from->method) : pattern_part(m, from->method);
        out->path_specifier_case = ENVOY_ROUTE__ROUTE_MATCH__PATH_SPECIFIER_SAFE_REGEX;
        out->safe_regex = regex(m, make_text(m, "/%s/%s", *service ? service : "[^/]+", method));
    }
}

static EnvoyRoute__HeaderMatcher *match_header(make *m, const WeftMesh__GRPCHeaderMatch *from) {
    MAKE(m, EnvoyRoute__HeaderMatcher, out, envoy_route__header_matcher);
    out->name = make_copy(m, from->name);
    for (char *p = out->name; *p; p++) *p = (char)tolower((unsigned char)*p);
    if (from->type == WEFT_MESH__GRPCHEADER_MATCH__TYPE__Exact) {
        out->header_match_specifier_case =
            ENVOY_ROUTE__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_EXACT_MATCH;
        out->exact_match = make_copy(m, from->value);
    } else {
        out->header_match_specifier_case =
            ENVOY_ROUTE__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_SAFE_REGEX_MATCH;
        out->safe_regex_match = regex(m, make_copy(m, from->value));
    }
    return out;
}

static EnvoyRoute__RouteMatch *match_of(make *m, const WeftMesh__GRPCRouteMatch *from) {
    MAKE(m, EnvoyRoute__RouteMatch, out, envoy_route__route_match);
    match_path(m, from ? from->method : NULL, out);
    if (!from || !from->n_headers) return out;
    EnvoyRoute__HeaderMatcher **list = make_alloc(m, from->n_headers, sizeof *list);
    for (size_t i = 0; list && i < from->n_headers; i++)
        list[i] = match_header(m, from->headers[i]);
    out->headers = list;
    out->n_headers = list ? from->n_headers : 0;
    return out;
}

/* ---- what it does */

static int64_t duration(const char *text) { return text && *text ? model_duration(text) : 0; }

static EnvoyRoute__RetryPolicy *retry_of(make *m, const WeftMesh__Retry *from, int64_t one,
                                         int64_t timeout) {
    static const struct {
        WeftMesh__Retry__Code code;
        const char *text;
    } names[] = {
        {WEFT_MESH__RETRY__CODE__CANCELLED, "cancelled"},
        {WEFT_MESH__RETRY__CODE__DEADLINE_EXCEEDED, "deadline-exceeded"},
        {WEFT_MESH__RETRY__CODE__RESOURCE_EXHAUSTED, "resource-exhausted"},
        {WEFT_MESH__RETRY__CODE__ABORTED, "aborted"},
        {WEFT_MESH__RETRY__CODE__INTERNAL, "internal"},
        {WEFT_MESH__RETRY__CODE__UNAVAILABLE, "unavailable"},
    };
    const uint32_t attempts = from->_attempts_case ? from->attempts : 2;
    if (!attempts && m->node->kind == CONTROL_NODE_GRPC) return NULL; /* refused there (gRFC A44) */
    MAKE(m, EnvoyRoute__RetryPolicy, out, envoy_route__retry_policy);
    char *on = make_copy(m, from->n_codes ? "" : "unavailable");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        for (size_t k = 0; k < from->n_codes; k++)
            if (from->codes[k] == names[i].code)
                on = make_text(m, "%s%s%s", on, *on ? "," : "", names[i].text);
    out->retry_on = on;
    out->num_retries = make_u32(m, attempts);
    if (!one) one = duration(from->per_try_timeout); /* the route's own goes before */
    if (timeout && one > timeout) one = timeout;
    if (one) out->per_try_timeout = make_duration(m, one);
    if (from->backoff && (*from->backoff->base_ || *from->backoff->max)) {
        MAKE(m, EnvoyRoute__RetryPolicy__RetryBackOff, backoff,
             envoy_route__retry_policy__retry_back_off);
        const int64_t base =
            *from->backoff->base_ ? duration(from->backoff->base_) : 25 * WEFT_NS_PER_MS;
        backoff->base_interval = make_duration(m, base);
        backoff->max_interval =
            make_duration(m, *from->backoff->max ? duration(from->backoff->max) : 10 * base);
        out->retry_back_off = backoff;
    }
    return out;
}

static void add_times(make *m, const WeftMesh__GRPCRouteRule *rule, const make_target *target,
                      EnvoyRoute__RouteAction *out) {
    const WeftMesh__ServiceSpec *spec = target->spec;
    const WeftMesh__RouteTimeouts *times = rule ? rule->timeouts : NULL;
    const WeftMesh__Retry *retry = rule && rule->retry ? rule->retry : spec ? spec->retry : NULL;
    int64_t timeout = times && *times->request ? duration(times->request)
                      : spec                   ? duration(spec->timeout)
                                               : 0;
    const int64_t one = times ? duration(times->backend_request) : 0;
    /* What is tried once has one limit. */
    if (!retry && one && (!timeout || one < timeout)) timeout = one;
    if (retry) out->retry_policy = retry_of(m, retry, one, timeout);
    if (m->node->kind == CONTROL_NODE_SIDECAR) {
        out->timeout = make_duration(m, timeout); /* 0s: Envoy's default would be 15 s */
    } else if (timeout) {
        MAKE(m, EnvoyRoute__RouteAction__MaxStreamDuration, most,
             envoy_route__route_action__max_stream_duration);
        most->max_stream_duration = make_duration(m, timeout);
        out->max_stream_duration = most;
    }
}

/* With several backends; those without weight are left out. */
static void add_weighted(make *m, const entry *from, EnvoyRoute__RouteAction *out) {
    const WeftMesh__GRPCRouteRule *rule = from->rule;
    MAKE(m, EnvoyRoute__WeightedCluster, all, envoy_route__weighted_cluster);
    EnvoyRoute__WeightedCluster__ClusterWeight **list =
        make_alloc(m, rule->n_backend_refs, sizeof *list);
    uint32_t total = 0;
    size_t count = 0;
    for (size_t i = 0; list && i < rule->n_backend_refs; i++) {
        const WeftMesh__GRPCBackendRef *one = rule->backend_refs[i];
        const uint32_t weight = one->_weight_case ? one->weight : 1;
        if (!weight) continue;
        MAKE(m, EnvoyRoute__WeightedCluster__ClusterWeight, share,
             envoy_route__weighted_cluster__cluster_weight);
        share->name = make_copy(
            m, make_need_cluster(m, one->name,
                                 *one->namespace_ ? one->namespace_ : from->document->name_space,
                                 one->subset));
        share->weight = make_u32(m, weight);
        list[count++] = share;
        total += weight;
    }
    if (count == 1) {
        out->cluster_specifier_case = ENVOY_ROUTE__ROUTE_ACTION__CLUSTER_SPECIFIER_CLUSTER;
        out->cluster = list[0]->name;
        return;
    }
    all->clusters = list;
    all->n_clusters = count;
    all->total_weight = make_u32(m, total); /* gRPC takes it for 100 when it is not given */
    out->cluster_specifier_case = ENVOY_ROUTE__ROUTE_ACTION__CLUSTER_SPECIFIER_WEIGHTED_CLUSTERS;
    out->weighted_clusters = all;
}

/* `from` NULL: every call to the service itself. */
static EnvoyRoute__Route *route_of(make *m, const entry *from, const make_target *target) {
    MAKE(m, EnvoyRoute__Route, out, envoy_route__route);
    MAKE(m, EnvoyRoute__RouteAction, action, envoy_route__route_action);
    const WeftMesh__GRPCRouteRule *rule = from ? from->rule : NULL;
    out->match = match_of(m, from ? from->match : NULL);
    out->action_case = ENVOY_ROUTE__ROUTE__ACTION_ROUTE;
    out->route = action;
    if (rule && *rule->name)
        out->name = make_text(m, "%s/%s", from->document->name, rule->name);
    else if (rule)
        out->name = make_text(m, "%s/rules[%zu]", from->document->name, from->rule_index);
    else
        out->name = make_copy(m, target->full);
    if (rule && rule->n_backend_refs) {
        add_weighted(m, from, action);
    } else {
        action->cluster_specifier_case = ENVOY_ROUTE__ROUTE_ACTION__CLUSTER_SPECIFIER_CLUSTER;
        action->cluster =
            make_copy(m, make_need_cluster(m, target->service, target->name_space, ""));
    }
    if (rule && rule->priority == WEFT_MESH__GRPCROUTE_RULE__PRIORITY__critical)
        action->priority = ENVOY_CORE__ROUTING_PRIORITY__HIGH;
    add_times(m, rule, target, action);
    return out;
}

/* ---- the routes of a service */

static bool is_parent(const model_document *d, const make_target *target) {
    const WeftMesh__GRPCRouteSpec *spec = ((const WeftMesh__GRPCRoute *)d->message)->spec;
    for (size_t i = 0; spec && i < spec->n_parent_refs; i++) {
        const WeftMesh__ParentReference *one = spec->parent_refs[i];
        const char *space = *one->namespace_ ? one->namespace_ : d->name_space;
        if (!strcmp(one->name, target->service) && !strcmp(space, target->name_space)) return true;
    }
    return false;
}

static size_t entries_of(const model_document *d, entry *out) {
    const WeftMesh__GRPCRouteSpec *spec = ((const WeftMesh__GRPCRoute *)d->message)->spec;
    size_t count = 0;
    for (size_t r = 0; r < spec->n_rules; r++) {
        const WeftMesh__GRPCRouteRule *rule = spec->rules[r];
        for (size_t i = 0; i < (rule->n_matches ? rule->n_matches : 1); i++, count++) {
            const WeftMesh__GRPCRouteMatch *match = rule->n_matches ? rule->matches[i] : NULL;
            const WeftMesh__GRPCMethodMatch *method = match ? match->method : NULL;
            if (!out) continue;
            out[count] = (entry){.document = d,
                                 .rule = rule,
                                 .match = match,
                                 .service_len = method ? strlen(method->service) : 0,
                                 .method_len = method ? strlen(method->method) : 0,
                                 .headers = match ? match->n_headers : 0,
                                 .place = count,
                                 .rule_index = r};
        }
    }
    return count;
}

/* Routes written in `space` for the target; those of the caller's namespace go before the service's. */
static entry *gather(make *m, const make_target *target, const char *space, size_t *count) {
    size_t room = 0, used = 0;
    for (int pass = 0; pass < 2; pass++) {
        entry *list = pass ? make_alloc(m, room, sizeof *list) : NULL;
        if (pass && (!list || !room)) break;
        for (size_t i = 0; i < m->set->count; i++) {
            const model_document *d = m->set->documents[i];
            if (d->kind != MODEL_GRPC_ROUTE || strcmp(d->name_space, space) != 0 ||
                !is_parent(d, target))
                continue;
            if (pass)
                used += entries_of(d, list + used);
            else
                room += entries_of(d, NULL);
        }
        if (room > ROUTES_MAX) m->rc = WEFT_ELIMIT;
        if (m->rc) break;
        *count = used;
        if (pass) return list;
    }
    *count = 0;
    return NULL;
}

static EnvoyRoute__VirtualHost *host_of(make *m, const make_target *target, bool any) {
    MAKE(m, EnvoyRoute__VirtualHost, out, envoy_route__virtual_host);
    size_t count = 0, names = 0;
    entry *entries = gather(m, target, m->name_space, &count);
    if (!count && strcmp(m->name_space, target->name_space) != 0)
        entries = gather(m, target, target->name_space, &count);
    if (count) qsort(entries, count, sizeof *entries, by_precedence);
    EnvoyRoute__Route **routes = make_alloc(m, count + 1, sizeof *routes);
    char **domains = make_alloc(m, 2, sizeof *domains);
    if (!routes || !domains) return out;
    for (size_t i = 0; i < count; i++) routes[i] = route_of(m, &entries[i], target);
    if (!count) routes[count++] = route_of(m, NULL, target);
    if (any)
        domains[names++] = make_copy(m, "*");
    else if (!strcmp(target->name_space, m->name_space))
        domains[names++] = make_copy(m, target->service);
    if (!any) domains[names++] = make_copy(m, target->full);
    out->name = make_copy(m, target->full);
    out->domains = domains;
    out->n_domains = names;
    out->routes = routes;
    out->n_routes = count;
    return out;
}

static void add_table(make *m, const char *name, EnvoyRoute__VirtualHost **hosts, size_t count) {
    MAKE(m, EnvoyRoute__RouteConfiguration, out, envoy_route__route_configuration);
    out->name = make_copy(m, name);
    out->virtual_hosts = hosts;
    out->n_virtual_hosts = count;
    out->ignore_port_in_host_matching = true;
    make_add(m, CONTROL_RDS, out->name, out);
}

void make_outbound_routes(make *m) {
    EnvoyRoute__VirtualHost **hosts = make_alloc(m, m->target_count, sizeof *hosts);
    for (size_t i = 0; hosts && i < m->target_count; i++)
        hosts[i] = host_of(m, &m->targets[i], false);
    if (hosts) add_table(m, CONTROL_LISTENER_OUTBOUND, hosts, m->target_count);
}

void make_target_routes(make *m, const make_target *target) {
    add_table(m, target->full, make_list(m, host_of(m, target, true)), 1);
}

void make_inbound_routes(make *m) {
    MAKE(m, EnvoyRoute__VirtualHost, host, envoy_route__virtual_host);
    MAKE(m, EnvoyRoute__Route, route, envoy_route__route);
    MAKE(m, EnvoyRoute__RouteAction, action, envoy_route__route_action);
    route->name = make_copy(m, CONTROL_LISTENER_INBOUND);
    route->match = match_of(m, NULL);
    route->action_case = ENVOY_ROUTE__ROUTE__ACTION_ROUTE;
    route->route = action;
    action->cluster_specifier_case = ENVOY_ROUTE__ROUTE_ACTION__CLUSTER_SPECIFIER_CLUSTER;
    action->cluster = make_copy(m, CONTROL_CLUSTER_APP);
    action->timeout = make_duration(m, 0);
    host->name = make_text(m, "%s.%s", m->node->service, m->name_space);
    host->n_domains = 1;
    host->domains = make_list(m, make_copy(m, "*"));
    host->n_routes = 1;
    host->routes = make_list(m, route);
    add_table(m, CONTROL_LISTENER_INBOUND, make_list(m, host), 1);
}
