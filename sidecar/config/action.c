/* What a route does: clusters, answers, timeouts, retries. */
#include <string.h>

#include "sidecar/config/build.h"
#include "weft/clock.h"
#include "weft/status.h"

#define MS WEFT_NS_PER_MS
#define BODY_MAX 4096
#define RETRIES_MAX 20
#define STATUSES_MAX 64

/* ---- retries */

const config_retry config_retry_default = {
    .conditions = CONFIG_RETRY_CONNECT_FAILURE | CONFIG_RETRY_REFUSED,
    .codes = 1u << WEFT_UNAVAILABLE,
    .max_retries = 2,
    .backoff_base = 25 * MS,
    .backoff_max = 250 * MS,
    .replay_bytes = 64u << 10,
    .peek = 10 * MS,
};

static const struct {
    const char *name;
    uint32_t conditions, codes;
} conditions[] = {
    {"connect-failure", CONFIG_RETRY_CONNECT_FAILURE, 0},
    {"refused-stream", CONFIG_RETRY_REFUSED, 0},
    {"reset", CONFIG_RETRY_RESET, 0},
    {"reset-before-request", CONFIG_RETRY_RESET_UNSENT, 0},
    {"5xx", CONFIG_RETRY_5XX | CONFIG_RETRY_RESET, 0},
    {"gateway-error", CONFIG_RETRY_GATEWAY, 0},
    {"retriable-4xx", CONFIG_RETRY_4XX, 0},
    {"retriable-status-codes", CONFIG_RETRY_STATUSES, 0},
    {"cancelled", 0, 1u << WEFT_CANCELLED},
    {"deadline-exceeded", 0, 1u << WEFT_DEADLINE_EXCEEDED},
    {"internal", 0, 1u << WEFT_INTERNAL},
    {"resource-exhausted", 0, 1u << WEFT_RESOURCE_EXHAUSTED},
    {"unavailable", 0, 1u << WEFT_UNAVAILABLE},
    {"aborted", 0, 1u << WEFT_ABORTED}, /* ours */
};
#define CONDITION_COUNT (sizeof conditions / sizeof *conditions)

static void take_condition(config_build *b, const char *name, config_retry *out) {
    const char *names[CONDITION_COUNT];
    for (size_t i = 0; i < CONDITION_COUNT; i++) {
        names[i] = conditions[i].name;
        if (strcmp(name, names[i]) != 0) continue;
        out->conditions |= conditions[i].conditions;
        out->codes |= conditions[i].codes;
        return;
    }
    const char *near = weft_suggest(name, names, CONDITION_COUNT);
    const char *hint = near ? weft_arena_printf(b->scratch, "did you mean \"%s\"?", near) : NULL;
    build_wrong(b, "retry_on", hint, "the condition \"%.100s\" is not supported", name);
}

static void take_conditions(config_build *b, const char *text, config_retry *out) {
    char *copy = weft_arena_strdup(b->scratch, text), *rest = NULL;
    bool any = false;
    if (!copy) b->rc = WEFT_ENOMEM;
    for (char *one = copy ? strtok_r(copy, ", ", &rest) : NULL; one;
         one = strtok_r(NULL, ", ", &rest)) {
        take_condition(b, one, out);
        any = true;
    }
    if (!any) build_missing(b, "retry_on", "\"unavailable\", for example");
}

static void take_statuses(config_build *b, const EnvoyRoute__RetryPolicy *from, config_retry *out) {
    const bool wanted = out->conditions & CONFIG_RETRY_STATUSES;
    uint16_t *statuses = build_alloc(b, from->n_retriable_status_codes, sizeof *statuses);
    if (!statuses) return;
    if (wanted != (from->n_retriable_status_codes > 0))
        build_wrong(b, "retriable_status_codes", NULL, "%s",
                    wanted ? "is missing: retry_on has \"retriable-status-codes\""
                           : "has no effect without \"retriable-status-codes\" in retry_on");
    if (from->n_retriable_status_codes > STATUSES_MAX)
        build_wrong(b, "retriable_status_codes", NULL, "has more than %d", STATUSES_MAX);
    for (size_t i = 0; i < from->n_retriable_status_codes; i++) {
        const uint32_t status = from->retriable_status_codes[i];
        build_at(b, "retriable_status_codes", i);
        if (status < 200 || status > 599)
            build_wrong(b, "", NULL, "%u is not from 200 to 599", status);
        build_up(b);
        statuses[i] = (uint16_t)status;
    }
    out->statuses = statuses;
    out->status_count = (uint32_t)from->n_retriable_status_codes;
}

const config_retry *build_retry(config_build *b, const EnvoyRoute__RetryPolicy *from,
                                const config_route *route) {
    config_retry *out = build_alloc(b, 1, sizeof *out);
    if (!out) return &config_retry_default;
    *out = config_retry_default;
    out->declared = true;
    out->codes = 0;
    build_in(b, "retry_policy");
    take_conditions(b, from->retry_on, out);
    take_statuses(b, from, out);
    out->max_retries = build_u32(b, "num_retries", from->num_retries, 1, 0, RETRIES_MAX);
    out->per_try_timeout =
        build_duration(b, "per_try_timeout", from->per_try_timeout, 0, 0, BUILD_LONGEST);
    if (route && route->timeout && out->per_try_timeout > route->timeout)
        build_wrong(b, "per_try_timeout", NULL, "is longer than the timeout of the route");
    if (from->retry_back_off) {
        build_in(b, "retry_back_off");
        if (!from->retry_back_off->base_interval) build_missing(b, "base_interval", NULL);
        out->backoff_base = build_duration(b, "base_interval", from->retry_back_off->base_interval,
                                           out->backoff_base, MS, 3600 * WEFT_NS_PER_S);
        out->backoff_max = build_duration(b, "max_interval", from->retry_back_off->max_interval,
                                          10 * out->backoff_base, MS, 10 * 3600 * WEFT_NS_PER_S);
        if (out->backoff_max < out->backoff_base)
            build_wrong(b, "max_interval", NULL, "is shorter than base_interval");
        build_up(b);
    }
    build_up(b);
    return out;
}

/* ---- clusters */

/* Stands for clusters that are not looked for. */
static const config_cluster some_cluster = {.name = ""};

const config_cluster *build_find_cluster(config_build *b, const char *field, const char *name) {
    if (b->partial) {
        if (!*name) build_missing(b, field, NULL);
        if (*name && b->wanted && weft_map_put(b->wanted, name, NULL)) b->rc = WEFT_ENOMEM;
        return &some_cluster;
    }
    if (!*name) {
        build_missing(b, field, NULL);
        return NULL;
    }
    const char *key = weft_arena_printf(b->scratch, "c/%s", name);
    const uintptr_t at = key ? (uintptr_t)weft_map_get(&b->names, key) : 0;
    if (at) return &b->clusters[at - 1];
    const uint32_t count = b->snapshot->cluster_count;
    const char **names = weft_arena_calloc(b->scratch, count + 1, sizeof *names);
    for (uint32_t i = 0; names && i < count; i++) names[i] = b->clusters[i].name;
    const char *near = names ? weft_suggest(name, names, count) : NULL;
    const char *hint = near ? weft_arena_printf(b->scratch, "did you mean \"%s\"?", near)
                            : "add it to static_resources.clusters";
    build_wrong(b, field, hint, "there is no cluster \"%.200s\"", name);
    return NULL;
}

static void take_weighted(config_build *b, const EnvoyRoute__WeightedCluster *from,
                          config_route *out) {
    uint64_t total = 0;
    build_in(b, "weighted_clusters");
    config_share *shares = build_alloc(b, from->n_clusters, sizeof *shares);
    for (size_t i = 0; shares && i < from->n_clusters; i++) {
        const EnvoyRoute__WeightedCluster__ClusterWeight *one = from->clusters[i];
        build_at(b, "clusters", i);
        shares[i].cluster = build_find_cluster(b, "name", one->name);
        shares[i].weight = one->weight ? one->weight->value : 0;
        if (!one->weight) build_missing(b, "weight", NULL);
        total += shares[i].weight;
        shares[i].upto = (uint32_t)total;
        build_up(b);
    }
    if (!from->n_clusters)
        build_missing(b, "clusters", NULL);
    else if (!total || total > UINT32_MAX)
        build_wrong(b, "clusters", NULL, "the sum of weights is %llu, it must be from 1 to %u",
                    (unsigned long long)total, UINT32_MAX);
    if (from->total_weight && from->total_weight->value != total)
        build_wrong(b, "total_weight", "remove it", "is %u, but the sum of weights is %llu",
                    from->total_weight->value, (unsigned long long)total);
    build_up(b);
    out->shares = shares;
    out->share_count = (uint32_t)from->n_clusters;
    out->total_weight = (uint32_t)total;
}

static void take_cluster(config_build *b, const EnvoyRoute__RouteAction *from, config_route *out) {
    config_share *share;
    switch (from->cluster_specifier_case) {
    case ENVOY_ROUTE__ROUTE_ACTION__CLUSTER_SPECIFIER_CLUSTER:
        share = build_alloc(b, 1, sizeof *share);
        if (!share) return;
        *share = (config_share){
            .cluster = build_find_cluster(b, "cluster", from->cluster), .weight = 1, .upto = 1};
        out->shares = share;
        out->share_count = out->total_weight = 1;
        break;
    case ENVOY_ROUTE__ROUTE_ACTION__CLUSTER_SPECIFIER_WEIGHTED_CLUSTERS:
        take_weighted(b, from->weighted_clusters, out);
        break;
    case ENVOY_ROUTE__ROUTE_ACTION__CLUSTER_SPECIFIER_CLUSTER_HEADER:
        build_unsupported(b, "cluster_header", "cluster, weighted_clusters");
        break;
    case ENVOY_ROUTE__ROUTE_ACTION__CLUSTER_SPECIFIER_CLUSTER_SPECIFIER_PLUGIN:
        build_unsupported(b, "cluster_specifier_plugin", "cluster, weighted_clusters");
        break;
    case ENVOY_ROUTE__ROUTE_ACTION__CLUSTER_SPECIFIER_INLINE_CLUSTER_SPECIFIER_PLUGIN:
        build_unsupported(b, "inline_cluster_specifier_plugin", "cluster, weighted_clusters");
        break;
    default:
        build_missing(b, "cluster", "or weighted_clusters");
    }
}

/* ---- actions */

static void take_forward(config_build *b, const EnvoyRoute__RouteAction *from, config_route *out) {
    out->action = CONFIG_FORWARD;
    build_in(b, "route");
    take_cluster(b, from, out);
    out->timeout = build_duration(b, "timeout", from->timeout, 0, 0, BUILD_LONGEST);
    build_no_timeout(b, "idle_timeout", from->idle_timeout);
    if (from->priority == ENVOY_CORE__ROUTING_PRIORITY__HIGH)
        out->priority = CONFIG_CLASS_CRITICAL;
    else if (from->priority != ENVOY_CORE__ROUTING_PRIORITY__DEFAULT)
        build_wrong(b, "priority", "DEFAULT or HIGH", "not a priority");
    const EnvoyRoute__RouteAction__MaxStreamDuration *most = from->max_stream_duration;
    if (most) {
        build_in(b, "max_stream_duration");
        out->max_stream_duration = build_duration(b, "max_stream_duration",
                                                  most->max_stream_duration, 0, 0, BUILD_LONGEST);
        out->grpc_timeout_capped = most->grpc_timeout_header_max != NULL;
        out->grpc_timeout_max = build_duration(b, "grpc_timeout_header_max",
                                               most->grpc_timeout_header_max, 0, 0, BUILD_LONGEST);
        build_up(b);
    }
    if (from->retry_policy) out->retry = build_retry(b, from->retry_policy, out);
    build_up(b);
}

static void take_reply(config_build *b, const EnvoyRoute__DirectResponseAction *from,
                       config_route *out) {
    out->action = CONFIG_REPLY;
    build_in(b, "direct_response");
    if (from->status < 200 || from->status > 599)
        build_wrong(b, "status", NULL, "must be from 200 to 599, not %u", from->status);
    out->reply_status = from->status;
    const EnvoyCore__DataSource *body = from->body;
    if (body && body->specifier_case != ENVOY_CORE__DATA_SOURCE__SPECIFIER_INLINE_STRING)
        build_unsupported(b, "body", "inline_string is");
    else if (body && strlen(body->inline_string) > BODY_MAX)
        build_wrong(b, "body.inline_string", NULL, "is longer than %d bytes", BODY_MAX);
    else if (body)
        out->reply_body = build_text(b, body->inline_string);
    build_up(b);
}

void build_action(config_build *b, const EnvoyRoute__Route *from, config_route *out) {
    out->retry = &config_retry_default;
    out->priority = CONFIG_CLASS_NORMAL;
    out->reply_body = (config_text){"", 0};
    switch (from->action_case) {
    case ENVOY_ROUTE__ROUTE__ACTION_ROUTE:
        take_forward(b, from->route, out);
        break;
    case ENVOY_ROUTE__ROUTE__ACTION_DIRECT_RESPONSE:
        take_reply(b, from->direct_response, out);
        break;
    case ENVOY_ROUTE__ROUTE__ACTION_REDIRECT:
        build_unsupported(b, "redirect", "route, direct_response");
        break;
    case ENVOY_ROUTE__ROUTE__ACTION_FILTER_ACTION:
        build_unsupported(b, "filter_action", "route, direct_response");
        break;
    case ENVOY_ROUTE__ROUTE__ACTION_NON_FORWARDING_ACTION:
        build_unsupported(b, "non_forwarding_action", "it is for gRPC servers without a proxy");
        break;
    default:
        build_missing(b, "route", "or direct_response");
    }
}
