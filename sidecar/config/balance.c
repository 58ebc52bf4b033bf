/* Balancing policies and circuit breaker thresholds. */
#include <string.h>

#include "envoy/extensions/load_balancing_policies/least_request/v3/least_request.pb-c.h"
#include "envoy/extensions/load_balancing_policies/random/v3/random.pb-c.h"
#include "envoy/extensions/load_balancing_policies/ring_hash/v3/ring_hash.pb-c.h"
#include "envoy/extensions/load_balancing_policies/round_robin/v3/round_robin.pb-c.h"
#include "sidecar/config/build.h"
#include "weft/clock.h"
#include "weft/sidecar/v1/balancing.pb-c.h"

#define MS WEFT_NS_PER_MS
#define S WEFT_NS_PER_S

static void check_choices(config_build *b, const char *field,
                          const Google__Protobuf__UInt32Value *count) {
    if (count && count->value != 2)
        build_wrong(b, field, "2, or remove it", "%u choices are not supported", count->value);
}

/* ---- load_balancing_policy */

static void take_peak_ewma(config_build *b, const WeftSidecar__PeakEwma *from,
                           config_balance *out) {
    out->default_rtt =
        build_duration(b, "default_rtt", from->default_rtt, out->default_rtt, 1000, 60 * S);
    out->decay = build_duration(b, "decay", from->decay, out->decay, MS, 3600 * S);
    out->failure_penalty = build_duration(b, "failure_penalty", from->failure_penalty,
                                          out->failure_penalty, 0, 60 * S);
}

/* One entry of the list; true when it is a policy that we have. */
static bool take_policy(config_build *b, const EnvoyCore__TypedExtensionConfig *from,
                        config_balance *out) {
    static const struct {
        const ProtobufCMessageDescriptor *type;
        config_policy policy;
    } table[] = {
        {&weft_sidecar__peak_ewma__descriptor, CONFIG_PEAK_EWMA},
        {&envoy_lb_rr__round_robin__descriptor, CONFIG_ROUND_ROBIN},
        {&envoy_lb_lr__least_request__descriptor, CONFIG_LEAST_REQUEST},
        {&envoy_lb_random__random__descriptor, CONFIG_RANDOM},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        ProtobufCMessage *held =
            build_any(b, "typed_config", from->typed_config, table[i].type, true);
        if (!held) continue;
        out->policy = table[i].policy;
        build_in(b, "typed_config");
        if (out->policy == CONFIG_PEAK_EWMA)
            take_peak_ewma(b, (const WeftSidecar__PeakEwma *)held, out);
        if (out->policy == CONFIG_LEAST_REQUEST)
            check_choices(b, "choice_count", ((const EnvoyLbLr__LeastRequest *)held)->choice_count);
        build_up(b);
        return true;
    }
    return false;
}

static void take_policies(config_build *b, const EnvoyCluster__LoadBalancingPolicy *from,
                          config_balance *out) {
    bool found = false;
    build_in(b, "load_balancing_policy");
    for (size_t i = 0; i < from->n_policies && !found; i++) {
        const EnvoyCore__TypedExtensionConfig *one = from->policies[i]->typed_extension_config;
        build_at(b, "policies", i);
        build_in(b, "typed_extension_config");
        if (!one || !one->typed_config)
            build_missing(b, one ? "typed_config" : "", NULL);
        else
            found = take_policy(b, one, out);
        build_up(b);
        build_up(b);
    }
    if (!found)
        build_wrong(b, "policies", "PeakEwma, RoundRobin, LeastRequest, Random",
                    "none of these policies is supported");
    build_up(b);
}

/* ---- lb_policy */

static void take_policy_name(config_build *b, const EnvoyCluster__Cluster *from,
                             config_balance *out) {
    switch (from->lb_policy) {
    case ENVOY_CLUSTER__CLUSTER__LB_POLICY__ROUND_ROBIN:
        out->policy = CONFIG_ROUND_ROBIN;
        break;
    case ENVOY_CLUSTER__CLUSTER__LB_POLICY__LEAST_REQUEST:
        out->policy = CONFIG_LEAST_REQUEST;
        break;
    case ENVOY_CLUSTER__CLUSTER__LB_POLICY__RANDOM:
        out->policy = CONFIG_RANDOM;
        break;
    case ENVOY_CLUSTER__CLUSTER__LB_POLICY__LOAD_BALANCING_POLICY_CONFIG:
        build_missing(b, "load_balancing_policy", "lb_policy says that it is there");
        break;
    default:
        build_wrong(b, "lb_policy",
                    "ROUND_ROBIN, LEAST_REQUEST and RANDOM are; PeakEwma in load_balancing_policy",
                    "not supported");
    }
}

/* The arm of lb_config must belong to lb_policy. */
static void check_config_arm(config_build *b, const EnvoyCluster__Cluster *from) {
    static const struct {
        unsigned arm;
        EnvoyCluster__Cluster__LbPolicy policy;
        const char *field;
    } table[] = {
        {23, ENVOY_CLUSTER__CLUSTER__LB_POLICY__RING_HASH, "ring_hash_lb_config"},
        {52, ENVOY_CLUSTER__CLUSTER__LB_POLICY__MAGLEV, "maglev_lb_config"},
        {34, ENVOY_CLUSTER__CLUSTER__LB_POLICY__CLUSTER_PROVIDED, "original_dst_lb_config"},
        {37, ENVOY_CLUSTER__CLUSTER__LB_POLICY__LEAST_REQUEST, "least_request_lb_config"},
        {56, ENVOY_CLUSTER__CLUSTER__LB_POLICY__ROUND_ROBIN, "round_robin_lb_config"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].arm == (unsigned)from->lb_config_case && table[i].policy != from->lb_policy)
            build_wrong(b, table[i].field, "remove it", "contradicts lb_policy");
    if (from->lb_config_case == ENVOY_CLUSTER__CLUSTER__LB_CONFIG_LEAST_REQUEST_LB_CONFIG)
        check_choices(b, "least_request_lb_config.choice_count",
                      from->least_request_lb_config->choice_count);
}

void build_balance(config_build *b, const EnvoyCluster__Cluster *from, config_cluster *out) {
    out->balance =
        (config_balance){.default_rtt = 30 * MS, .decay = 10 * S, .failure_penalty = 5 * S};
    if (from->load_balancing_policy)
        take_policies(b, from->load_balancing_policy, &out->balance);
    else
        take_policy_name(b, from, &out->balance);
    check_config_arm(b, from);
}

/* ---- thresholds */

static void take_budget(config_build *b,
                        const EnvoyCluster__CircuitBreakers__Thresholds__RetryBudget *from,
                        config_thresholds *out) {
    build_in(b, "retry_budget");
    if (from->budget_percent) {
        out->budget_percent = from->budget_percent->value;
        if (!(out->budget_percent >= 0 && out->budget_percent <= 100))
            build_wrong(b, "budget_percent", NULL, "must be from 0 to 100");
    }
    out->budget_floor = build_u32(b, "min_retry_concurrency", from->min_retry_concurrency,
                                  out->budget_floor, 0, 1000000);
    build_up(b);
}

static void take_thresholds(config_build *b, const EnvoyCluster__CircuitBreakers__Thresholds *from,
                            config_thresholds *out) {
    out->max_connections =
        build_u32(b, "max_connections", from->max_connections, 1024, 0, UINT32_MAX);
    out->max_pending =
        build_u32(b, "max_pending_requests", from->max_pending_requests, 1024, 0, UINT32_MAX);
    out->max_requests = build_u32(b, "max_requests", from->max_requests, 1024, 0, UINT32_MAX);
    out->max_retries =
        build_u32(b, "max_retries", from->max_retries, UINT32_MAX, 0, UINT32_MAX - 1);
    if (from->retry_budget) take_budget(b, from->retry_budget, out);
    if (from->retry_budget && from->max_retries)
        build_wrong(b, "max_retries", "remove one", "contradicts retry_budget");
}

void build_thresholds(config_build *b, const EnvoyCluster__CircuitBreakers *from,
                      config_cluster *out) {
    bool seen[CONFIG_CLASSES] = {false};
    for (int i = 0; i < CONFIG_CLASSES; i++)
        out->thresholds[i] = (config_thresholds){.max_connections = 1024,
                                                 .max_pending = 1024,
                                                 .max_requests = 1024,
                                                 .max_retries = UINT32_MAX,
                                                 .budget_percent = 20,
                                                 .budget_floor = 10};
    if (!from) return;
    build_in(b, "circuit_breakers");
    for (size_t i = 0; i < from->n_thresholds; i++) {
        const EnvoyCluster__CircuitBreakers__Thresholds *one = from->thresholds[i];
        build_at(b, "thresholds", i);
        const config_class class = one->priority == ENVOY_CORE__ROUTING_PRIORITY__HIGH
                                       ? CONFIG_CLASS_CRITICAL
                                       : CONFIG_CLASS_NORMAL;
        if (one->priority > ENVOY_CORE__ROUTING_PRIORITY__HIGH || (int)one->priority < 0)
            build_wrong(b, "priority", "DEFAULT or HIGH", "not a priority");
        else if (seen[class])
            build_wrong(b, "priority", NULL, "this priority has thresholds already");
        seen[class] = true;
        take_thresholds(b, one, &out->thresholds[class]);
        build_up(b);
    }
    build_up(b);
}
