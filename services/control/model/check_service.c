/* Service documents. */
#include <string.h>

#include "services/control/model/internal.h"
#include "weft/addr.h"
#include "weft/clock.h"

#define MS WEFT_NS_PER_MS
#define S WEFT_NS_PER_S
#define YEAR (365 * 24 * 3600 * S)
#define USES_MAX 256u
#define SUBSETS_MAX 64u
#define ENDPOINTS_MAX 4096u
#define NAMES_MAX 1000u
#define WEIGHT_MAX ((1u << 20) - 1)
#define RETRIES_MAX 20u
#define THRESHOLD_MAX 2147483647u

static bool too_many(model_check *c, const char *field, size_t count, size_t most) {
    if (count > most) model_wrong(c, field, NULL, "has %zu, more than %zu", count, most);
    return count > most;
}

static bool repeated(model_check *c, const char *field, char *const *list, size_t at) {
    for (size_t i = 0; i < at; i++)
        if (!strcmp(list[i], list[at]))
            return !model_wrong(c, "", "remove one", "\"%.200s\" is in %s[%zu] too", list[at],
                                field, i);
    return false;
}

/* ---- whom it uses, what it exports */

static void check_uses(model_check *c, const WeftMesh__ServiceSpec *spec) {
    if (too_many(c, "uses", spec->n_uses, USES_MAX)) return;
    for (size_t i = 0; i < spec->n_uses; i++) {
        char service[64], space[64];
        const size_t mark = model_at(c, "uses", i);
        if (!model_name_split(spec->uses[i], c->document->name_space, service, space))
            model_wrong(c, "", "write \"service\" or \"service.namespace\"",
                        "\"%.150s\" is not the name of a service", spec->uses[i]);
        else if (!repeated(c, "uses", spec->uses, i))
            (void)model_take_service(c, "", space, service);
        model_up(c, mark);
    }
}

static void check_grpc_services(model_check *c, const WeftMesh__ServiceSpec *spec) {
    if (too_many(c, "grpcServices", spec->n_grpc_services, NAMES_MAX)) return;
    for (size_t i = 0; i < spec->n_grpc_services; i++) {
        const char *name = spec->grpc_services[i];
        const size_t mark = model_at(c, "grpcServices", i);
        if (!model_grpc_service_valid(name))
            model_wrong(c, "", "write \"package.Service\"",
                        "\"%.200s\" is not the name of a gRPC service", name);
        else if (!strncmp(name, "grpc.health.", 12) || !strncmp(name, "grpc.reflection.", 16))
            model_wrong(c, "", "remove it", "\"%s\" never counts: every service has it", name);
        else
            (void)repeated(c, "grpcServices", spec->grpc_services, i);
        model_up(c, mark);
    }
}

static bool method_valid(model_check *c, const char *name) {
    const char *slash = strchr(name, '/');
    char *service = slash ? weft_arena_strndup(c->arena, name, (size_t)(slash - name)) : NULL;
    return service && model_grpc_service_valid(service) && model_identifier_valid(slash + 1);
}

static void check_methods(model_check *c, const char *field, char *const *list, size_t count,
                          char *const *others, size_t other_count) {
    if (too_many(c, field, count, NAMES_MAX)) return;
    for (size_t i = 0; i < count; i++) {
        const size_t mark = model_at(c, field, i);
        if (!method_valid(c, list[i]))
            model_wrong(c, "", "write \"package.Service/Method\"", "\"%.200s\" is not a method",
                        list[i]);
        else if (!repeated(c, field, list, i))
            for (size_t k = 0; k < other_count; k++)
                if (!strcmp(list[i], others[k]))
                    model_wrong(c, "", "remove one", "\"%.200s\" is in noSideEffects[%zu] too",
                                list[i], k);
        model_up(c, mark);
    }
}

/* ---- subsets */

static void check_subset(model_check *c, const WeftMesh__ServiceSpec *spec, size_t index) {
    const WeftMesh__Subset *one = spec->subsets[index];
    if (!*one->name)
        model_wrong(c, "name", "a DNS label", "is missing");
    else if (!model_label_valid(one->name))
        model_wrong(c, "name", "1 to 63 of a-z, 0-9 and -", "\"%.100s\" is not a DNS label",
                    one->name);
    for (size_t i = 0; *one->name && i < index; i++)
        if (!strcmp(one->name, spec->subsets[i]->name))
            model_wrong(c, "name", "rename one", "\"%s\" is the name of subsets[%zu] too",
                        one->name, i);
    if (!one->n_labels)
        model_wrong(c, "labels", "{version: v2}, for example",
                    "is missing: the subset would be all of the service");
    for (size_t i = 0; i < one->n_labels; i++)
        if (!*one->labels[i]->key) model_wrong(c, "labels", NULL, "has a label without a name");
}

/* ---- balancing, retries, limits */

static void check_balancing(model_check *c, const WeftMesh__Balancing *from) {
    const size_t mark = model_in(c, "balancing");
    const bool peak = from->policy == WEFT_MESH__BALANCING__POLICY__PeakEwma;
    const struct {
        const char *field, *text;
        int64_t min, max;
    } table[] = {
        {"defaultRtt", from->default_rtt, MS, 60 * S},
        {"decay", from->decay, MS, 3600 * S},
        {"failurePenalty", from->failure_penalty, 0, 60 * S},
    };
    if ((unsigned)from->policy > WEFT_MESH__BALANCING__POLICY__Random)
        model_wrong(c, "policy", "PeakEwma, LeastRequest, RoundRobin or Random",
                    "%d is not a policy", from->policy);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (model_given(table[i].text) && !peak)
            model_wrong(c, table[i].field, "remove it", "has no effect without PeakEwma");
        else
            (void)model_take_duration(c, table[i].field, table[i].text, 0, table[i].min,
                                      table[i].max);
    model_up(c, mark);
}

static bool code_known(WeftMesh__Retry__Code code) {
    static const WeftMesh__Retry__Code known[] = {
        WEFT_MESH__RETRY__CODE__CANCELLED,          WEFT_MESH__RETRY__CODE__DEADLINE_EXCEEDED,
        WEFT_MESH__RETRY__CODE__RESOURCE_EXHAUSTED, WEFT_MESH__RETRY__CODE__ABORTED,
        WEFT_MESH__RETRY__CODE__INTERNAL,           WEFT_MESH__RETRY__CODE__UNAVAILABLE};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i] == code) return true;
    return false;
}

void model_check_retry(model_check *c, const char *field, const WeftMesh__Retry *retry,
                       int64_t timeout) {
    const size_t mark = model_in(c, field);
    if (retry->_attempts_case && retry->attempts > RETRIES_MAX)
        model_wrong(c, "attempts", NULL, "%u is not from 0 to %u", retry->attempts, RETRIES_MAX);
    for (size_t i = 0; i < retry->n_codes; i++) {
        const size_t at = model_at(c, "codes", i);
        if (!code_known(retry->codes[i]))
            model_wrong(c, "",
                        "CANCELLED, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, ABORTED, INTERNAL or "
                        "UNAVAILABLE",
                        "is not a code that can be tried again");
        for (size_t k = 0; k < i; k++)
            if (retry->codes[k] == retry->codes[i])
                model_wrong(c, "", "remove one", "is codes[%zu] too", k);
        model_up(c, at);
    }
    const int64_t one =
        model_take_duration(c, "perTryTimeout", retry->per_try_timeout, 0, MS, YEAR);
    if (timeout && one > timeout)
        model_wrong(c, "perTryTimeout", NULL, "%s is longer than the timeout of the whole call, %s",
                    retry->per_try_timeout, model_duration_text(c->arena, timeout));
    if (retry->backoff) {
        const size_t at = model_in(c, "backoff");
        const int64_t base =
            model_take_duration(c, "base", retry->backoff->base_, 25 * MS, MS, 3600 * S);
        const int64_t max =
            model_take_duration(c, "max", retry->backoff->max, 10 * base, MS, 10 * 3600 * S);
        if (max < base)
            model_wrong(c, "max", NULL, "%s is shorter than base, %s", retry->backoff->max,
                        model_duration_text(c->arena, base));
        model_up(c, at);
    }
    model_up(c, mark);
}

static void check_thresholds(model_check *c, const char *field, const WeftMesh__Thresholds *from) {
    if (!from) return;
    const size_t mark = model_in(c, field);
    const struct {
        const char *field;
        bool given;
        uint32_t value;
    } table[] = {
        {"maxConnections", from->_max_connections_case != 0, from->max_connections},
        {"maxPending", from->_max_pending_case != 0, from->max_pending},
        {"maxRequests", from->_max_requests_case != 0, from->max_requests},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].given && (!table[i].value || table[i].value > THRESHOLD_MAX))
            model_wrong(c, table[i].field, NULL, "%u is not from 1 to %u", table[i].value,
                        THRESHOLD_MAX);
    if (from->_max_retries_case && from->max_retries > THRESHOLD_MAX)
        model_wrong(c, "maxRetries", NULL, "%u is not from 0 to %u", from->max_retries,
                    THRESHOLD_MAX);
    if (from->_max_retries_case && from->retry_budget)
        model_wrong(c, "retryBudget", "remove one", "contradicts maxRetries");
    if (from->retry_budget && from->retry_budget->_percent_case &&
        from->retry_budget->percent > 100)
        model_wrong(c, "retryBudget.percent", NULL, "%u is not from 0 to 100",
                    from->retry_budget->percent);
    model_up(c, mark);
}

/* ---- endpoints */

static void check_endpoint(model_check *c, const WeftMesh__ServiceSpec *spec, size_t index) {
    const WeftMesh__Endpoint *one = spec->endpoints[index];
    const char *why = "";
    weft_addr addr, other;
    if (!*one->address)
        model_wrong(c, "address", "10.0.0.7:8443 or unix:/run/product.sock", "is missing");
    else if (weft_addr_parse(one->address, &addr, &why))
        model_wrong(c, "address", NULL, "\"%.150s\": %s", one->address, why);
    else if (addr.kind == WEFT_ADDR_NAME)
        model_wrong(c, "address", "an IP address", "\"%.150s\" is a name, not an address",
                    one->address);
    else if ((addr.kind == WEFT_ADDR_IPV4 || addr.kind == WEFT_ADDR_IPV6) && !addr.port)
        model_wrong(c, "address", NULL, "\"%.150s\" has no port", one->address);
    else
        for (size_t i = 0; i < index; i++)
            if (!weft_addr_parse(spec->endpoints[i]->address, &other, NULL) &&
                weft_addr_equal(&addr, &other))
                model_wrong(c, "address", "use weight", "\"%.150s\" is that of endpoints[%zu] too",
                            one->address, i);
    if (one->_weight_case && (!one->weight || one->weight > WEIGHT_MAX))
        model_wrong(c, "weight", NULL, "%u is not from 1 to %u", one->weight, WEIGHT_MAX);
}

void model_check_service(model_check *c, const WeftMesh__ServiceSpec *spec) {
    check_uses(c, spec);
    if (!too_many(c, "subsets", spec->n_subsets, SUBSETS_MAX))
        for (size_t i = 0; i < spec->n_subsets; i++) {
            const size_t mark = model_at(c, "subsets", i);
            check_subset(c, spec, i);
            model_up(c, mark);
        }
    check_grpc_services(c, spec);
    check_methods(c, "noSideEffects", spec->no_side_effects, spec->n_no_side_effects, NULL, 0);
    check_methods(c, "idempotent", spec->idempotent, spec->n_idempotent, spec->no_side_effects,
                  spec->n_no_side_effects);
    if (spec->balancing) check_balancing(c, spec->balancing);
    (void)model_take_duration(c, "connectTimeout", spec->connect_timeout, 0, MS, 3600 * S);
    const int64_t timeout = model_take_duration(c, "timeout", spec->timeout, 0, 0, YEAR);
    if (spec->retry) model_check_retry(c, "retry", spec->retry, timeout);
    if (spec->limits) {
        const size_t mark = model_in(c, "limits");
        check_thresholds(c, "critical", spec->limits->critical);
        check_thresholds(c, "normal", spec->limits->normal);
        model_up(c, mark);
    }
    if (too_many(c, "endpoints", spec->n_endpoints, ENDPOINTS_MAX)) return;
    for (size_t i = 0; i < spec->n_endpoints; i++) {
        const size_t mark = model_at(c, "endpoints", i);
        check_endpoint(c, spec, i);
        model_up(c, mark);
    }
}
