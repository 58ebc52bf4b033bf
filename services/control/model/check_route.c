/* GRPCRoute documents. Limits are those of the Gateway API. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "services/control/model/internal.h"
#include "weft/clock.h"

#define YEAR (365 * 24 * 3600 * WEFT_NS_PER_S)
#define PARENTS_MAX 32u
#define HOSTNAMES_MAX 16u
#define RULES_MAX 16u
#define MATCHES_MAX 64u
#define HEADERS_MAX 16u
#define BACKENDS_MAX 16u
#define WEIGHT_MAX 1000000u

static bool too_many(model_check *c, const char *field, size_t count, size_t most) {
    if (count > most) model_wrong(c, field, NULL, "has %zu, more than %zu", count, most);
    return count > most;
}

static bool core_group(const char *group) {
    return !*group || !strcmp(group, "core") || !strcmp(group, "weft.dev");
}

static const char *home(const model_check *c, const char *name_space) {
    return *name_space ? name_space : c->document->name_space;
}

static bool check_space(model_check *c, const char *name_space) {
    if (!*name_space || model_label_valid(name_space)) return true;
    return model_wrong(c, "namespace", "1 to 63 of a-z, 0-9 and -", "\"%.100s\" is not a DNS label",
                       name_space);
}

/* ---- parents */

static void check_parent(model_check *c, const WeftMesh__GRPCRouteSpec *spec, size_t index) {
    const WeftMesh__ParentReference *one = spec->parent_refs[index];
    bool good = true;
    if (strcmp(one->kind, "Service") != 0) {
        const bool gateway = !*one->kind || !strcmp(one->kind, "Gateway");
        good = gateway ? model_wrong(c, "kind", "write kind: Service",
                                     "%s: gateways are not supported yet",
                                     *one->kind ? "is Gateway" : "is missing, which means Gateway")
                       : model_wrong(c, "kind", "write kind: Service", "\"%.60s\" is not supported",
                                     one->kind);
    } else if (one->_group_case && !core_group(one->group)) {
        good =
            model_wrong(c, "group", "write group: \"\"", "\"%.100s\" has no Service", one->group);
    }
    if (*one->section_name)
        model_wrong(c, "sectionName", "remove it", "is not supported: services have one port");
    good = check_space(c, one->namespace_) && good;
    if (!*one->name) good = model_wrong(c, "name", NULL, "is missing");
    for (size_t i = 0; good && i < index; i++)
        if (!strcmp(one->name, spec->parent_refs[i]->name) &&
            !strcmp(home(c, one->namespace_), home(c, spec->parent_refs[i]->namespace_)))
            good = model_wrong(c, "name", "remove one", "\"%.100s\" is parentRefs[%zu] too",
                               one->name, i);
    if (good) (void)model_take_service(c, "name", home(c, one->namespace_), one->name);
}

static void check_hostnames(model_check *c, const WeftMesh__GRPCRouteSpec *spec) {
    if (too_many(c, "hostnames", spec->n_hostnames, HOSTNAMES_MAX)) return;
    for (size_t i = 0; i < spec->n_hostnames; i++) {
        const char *name = spec->hostnames[i];
        const char *rest = strncmp(name, "*.", 2) ? name : name + 2;
        const size_t len = strlen(rest);
        if (len && len <= 253 && strspn(rest, "abcdefghijklmnopqrstuvwxyz0123456789.-") == len &&
            *rest != '.' && *rest != '-')
            continue;
        const size_t mark = model_at(c, "hostnames", i);
        model_wrong(c, "", "shop.example.com or *.example.com", "\"%.100s\" is not a host name",
                    name);
        model_up(c, mark);
    }
}

/* ---- matches */

static void check_pattern(model_check *c, const char *field, const char *pattern) {
    const char *why = NULL;
    if (*pattern && !model_regex_valid(pattern, &why))
        model_wrong(c, field, NULL, "\"%.200s\" %s", pattern, why);
}

static void check_method(model_check *c, const WeftMesh__GRPCMethodMatch *from) {
    const size_t mark = model_in(c, "method");
    if ((unsigned)from->type > WEFT_MESH__GRPCMETHOD_MATCH__TYPE__RegularExpression)
        model_wrong(c, "type", "Exact or RegularExpression", "%d is not a type", from->type);
    if (!*from->service && !*from->method)
        model_wrong(c, "", "give service, method or both", "names nothing");
    if (from->type == WEFT_MESH__GRPCMETHOD_MATCH__TYPE__RegularExpression) {
        check_pattern(c, "service", from->service);
        check_pattern(c, "method", from->method);
    } else {
        if (*from->service && !model_grpc_service_valid(from->service))
            model_wrong(c, "service", "write \"package.Service\"",
                        "\"%.200s\" is not the name of a gRPC service", from->service);
        if (*from->method && !model_identifier_valid(from->method))
            model_wrong(c, "method", "\"GetProduct\", for example",
                        "\"%.200s\" is not the name of a method", from->method);
    }
    model_up(c, mark);
}

static void check_header(model_check *c, const WeftMesh__GRPCRouteMatch *match, size_t index) {
    const WeftMesh__GRPCHeaderMatch *one = match->headers[index];
    const size_t len = strlen(one->name);
    if ((unsigned)one->type > WEFT_MESH__GRPCHEADER_MATCH__TYPE__RegularExpression)
        model_wrong(c, "type", "Exact or RegularExpression", "%d is not a type", one->type);
    if (!len)
        model_wrong(c, "name", NULL, "is missing");
    else if (!model_header_valid(one->name))
        model_wrong(c, "name", NULL, "\"%.100s\" is not the name of a header", one->name);
    else if (len > 4 && !strcasecmp(one->name + len - 4, "-bin"))
        model_wrong(c, "name", "match another header", "\"%.100s\" is binary and cannot be matched",
                    one->name);
    if (!*one->value)
        model_wrong(c, "value", NULL, "is missing");
    else if (one->type == WEFT_MESH__GRPCHEADER_MATCH__TYPE__RegularExpression)
        check_pattern(c, "value", one->value);
    for (size_t i = 0; len && i < index; i++)
        if (!strcasecmp(one->name, match->headers[i]->name))
            model_wrong(c, "name", "remove one", "\"%.100s\" is headers[%zu] too", one->name, i);
}

static void check_match(model_check *c, const WeftMesh__GRPCRouteMatch *match) {
    if (match->method) check_method(c, match->method);
    if (too_many(c, "headers", match->n_headers, HEADERS_MAX)) return;
    for (size_t i = 0; i < match->n_headers; i++) {
        const size_t mark = model_at(c, "headers", i);
        check_header(c, match, i);
        model_up(c, mark);
    }
}

static bool same_text(const char *a, const char *b) { return !strcmp(a ? a : "", b ? b : ""); }

static bool same_match(const WeftMesh__GRPCRouteMatch *a, const WeftMesh__GRPCRouteMatch *b) {
    static const WeftMesh__GRPCMethodMatch all = WEFT_MESH__GRPCMETHOD_MATCH__INIT;
    const WeftMesh__GRPCMethodMatch *x = a->method ? a->method : &all;
    const WeftMesh__GRPCMethodMatch *y = b->method ? b->method : &all;
    if (x->type != y->type || !same_text(x->service, y->service) ||
        !same_text(x->method, y->method))
        return false;
    if (a->n_headers != b->n_headers) return false;
    for (size_t i = 0; i < a->n_headers; i++) {
        const WeftMesh__GRPCHeaderMatch *h = a->headers[i], *g = b->headers[i];
        if (h->type != g->type || strcasecmp(h->name, g->name) != 0 ||
            strcmp(h->value, g->value) != 0)
            return false;
    }
    return true;
}

/* A rule that an earlier one hides. `rule` is where we are. */
static void check_reached(model_check *c, const WeftMesh__GRPCRouteSpec *spec, size_t rule) {
    static const WeftMesh__GRPCRouteMatch all = WEFT_MESH__GRPCROUTE_MATCH__INIT;
    const WeftMesh__GRPCRouteRule *one = spec->rules[rule];
    const size_t count = one->n_matches ? one->n_matches : 1;
    for (size_t m = 0; m < count; m++) {
        const WeftMesh__GRPCRouteMatch *mine = one->n_matches ? one->matches[m] : &all;
        for (size_t r = 0; r <= rule; r++) {
            const WeftMesh__GRPCRouteRule *other = spec->rules[r];
            const size_t limit = r == rule ? m : other->n_matches ? other->n_matches : 1;
            for (size_t k = 0; k < limit; k++) {
                char field[48] = "";
                if (!same_match(mine, other->n_matches ? other->matches[k] : &all)) continue;
                if (one->n_matches) (void)snprintf(field, sizeof field, "matches[%zu]", m);
                model_wrong(c, field, "remove one", "is never reached: rules[%zu] matches the same",
                            r);
                r = rule;
                break;
            }
        }
    }
}

/* ---- backends */

static void check_subset(model_check *c, const WeftMesh__GRPCBackendRef *one,
                         const model_document *service) {
    const WeftMesh__ServiceSpec *spec = ((const WeftMesh__Service *)service->message)->spec;
    const size_t count = spec ? spec->n_subsets : 0;
    const char **names = weft_arena_calloc(c->arena, count + 1, sizeof *names);
    for (size_t i = 0; names && i < count; i++) {
        names[i] = spec->subsets[i]->name;
        if (!strcmp(names[i], one->subset)) return;
    }
    const char *near = names ? weft_suggest(one->subset, names, count) : NULL;
    model_wrong(c, "subset",
                near ? model_hint(c, "did you mean \"%s\"?", near)
                     : model_hint(c, "add it to subsets of Service %s/%s", service->name_space,
                                  service->name),
                "%s.%s has no subset \"%.100s\"", service->name, service->name_space, one->subset);
}

static void check_backend(model_check *c, const WeftMesh__GRPCRouteRule *rule, size_t index) {
    const WeftMesh__GRPCBackendRef *one = rule->backend_refs[index];
    bool good = check_space(c, one->namespace_);
    if (!core_group(one->group))
        good = model_wrong(c, "group", "remove it", "\"%.100s\" has no Service", one->group);
    if (*one->kind && strcmp(one->kind, "Service") != 0)
        good =
            model_wrong(c, "kind", "write kind: Service", "\"%.60s\" is not supported", one->kind);
    if (one->_weight_case && one->weight > WEIGHT_MAX)
        model_wrong(c, "weight", NULL, "%u is not from 0 to %u", one->weight, WEIGHT_MAX);
    if (one->n_filters) model_wrong(c, "filters", "remove it", "is not supported yet");
    if (!*one->name) good = model_wrong(c, "name", NULL, "is missing");
    for (size_t i = 0; good && i < index; i++) {
        const WeftMesh__GRPCBackendRef *other = rule->backend_refs[i];
        if (!strcmp(one->name, other->name) && !strcmp(one->subset, other->subset) &&
            !strcmp(home(c, one->namespace_), home(c, other->namespace_)))
            model_wrong(c, "name", "add up their weights", "is the same as backendRefs[%zu]", i);
    }
    const model_document *service =
        good ? model_take_service(c, "name", home(c, one->namespace_), one->name) : NULL;
    if (service && *one->subset) check_subset(c, one, service);
}

static void check_backends(model_check *c, const WeftMesh__GRPCRouteRule *rule) {
    uint64_t total = 0;
    if (too_many(c, "backendRefs", rule->n_backend_refs, BACKENDS_MAX)) return;
    for (size_t i = 0; i < rule->n_backend_refs; i++) {
        const WeftMesh__GRPCBackendRef *one = rule->backend_refs[i];
        const size_t mark = model_at(c, "backendRefs", i);
        check_backend(c, rule, i);
        model_up(c, mark);
        total += one->_weight_case ? one->weight : 1;
    }
    if (rule->n_backend_refs && !total)
        model_wrong(c, "backendRefs", "give one of them a weight",
                    "the sum of weights is 0: no call could be answered");
}

/* ---- rules */

static void check_times(model_check *c, const WeftMesh__GRPCRouteRule *rule) {
    int64_t request = 0;
    if (rule->timeouts) {
        const size_t mark = model_in(c, "timeouts");
        request = model_take_duration(c, "request", rule->timeouts->request, 0, 0, YEAR);
        const int64_t one =
            model_take_duration(c, "backendRequest", rule->timeouts->backend_request, 0, 0, YEAR);
        if (request && one > request)
            model_wrong(c, "backendRequest", NULL, "%s is longer than request, %s",
                        rule->timeouts->backend_request, rule->timeouts->request);
        if (one && rule->retry && *rule->retry->per_try_timeout)
            model_wrong(c, "backendRequest", "remove one", "is the same as retry.perTryTimeout");
        model_up(c, mark);
    }
    if (rule->retry) model_check_retry(c, "retry", rule->retry, request);
}

static void check_rule(model_check *c, const WeftMesh__GRPCRouteSpec *spec, size_t index) {
    const WeftMesh__GRPCRouteRule *rule = spec->rules[index];
    if (*rule->name && !model_label_valid(rule->name))
        model_wrong(c, "name", "1 to 63 of a-z, 0-9 and -", "\"%.100s\" is not a DNS label",
                    rule->name);
    for (size_t i = 0; *rule->name && i < index; i++)
        if (!strcmp(rule->name, spec->rules[i]->name))
            model_wrong(c, "name", "rename one", "\"%.100s\" is the name of rules[%zu] too",
                        rule->name, i);
    if (rule->n_filters) model_wrong(c, "filters", "remove it", "is not supported yet");
    if (rule->session_persistence)
        model_wrong(c, "sessionPersistence", "remove it", "is not supported yet");
    if ((unsigned)rule->priority > WEFT_MESH__GRPCROUTE_RULE__PRIORITY__critical)
        model_wrong(c, "priority", "normal or critical", "%d is not a priority", rule->priority);
    if (!too_many(c, "matches", rule->n_matches, MATCHES_MAX)) {
        for (size_t i = 0; i < rule->n_matches; i++) {
            const size_t mark = model_at(c, "matches", i);
            check_match(c, rule->matches[i]);
            model_up(c, mark);
        }
        check_reached(c, spec, index);
    }
    check_backends(c, rule);
    check_times(c, rule);
}

void model_check_route(model_check *c, const WeftMesh__GRPCRouteSpec *spec) {
    if (!spec->n_parent_refs)
        model_wrong(c, "parentRefs", "[{kind: Service, name: …}]",
                    "is missing: the route belongs to no service");
    if (!too_many(c, "parentRefs", spec->n_parent_refs, PARENTS_MAX))
        for (size_t i = 0; i < spec->n_parent_refs; i++) {
            const size_t mark = model_at(c, "parentRefs", i);
            check_parent(c, spec, i);
            model_up(c, mark);
        }
    check_hostnames(c, spec);
    if (!spec->n_rules)
        model_wrong(c, "rules", NULL, "is missing: no call of the service would be answered");
    if (too_many(c, "rules", spec->n_rules, RULES_MAX)) return;
    for (size_t i = 0; i < spec->n_rules; i++) {
        const size_t mark = model_at(c, "rules", i);
        check_rule(c, spec, i);
        model_up(c, mark);
    }
}
