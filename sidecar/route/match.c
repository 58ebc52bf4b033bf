/* Virtual hosts by authority, routes by path and headers. Order of precedence: route.h. */
#include <string.h>

#include "sidecar/route/route.h"

/* Hosts longer than that match nothing (RFC 1035: 253). */
#define HOST_MAX 256

/* Values of one header that come in several fields are one value with commas between them (RFC 9110
 * section 5.3); of what does not fit here no rule holds. */
#define JOINED_MAX 4096

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c; }

/* ---- authority */

/* Lower case, without port and trailing dot, to `out`; its length, 0 when it is no host. */
static size_t clean_host(route_text authority, char out[HOST_MAX]) {
    size_t len = authority.len;
    const char *text = authority.text;
    while (len && text[len - 1] >= '0' && text[len - 1] <= '9') len--;
    /* A colon before digits begins a port, unless there are others: then it is a bare IPv6 address. */
    if (len && len < authority.len && text[len - 1] == ':' &&
        (!memchr(text, ':', len - 1) || (len > 1 && text[len - 2] == ']')))
        len--;
    else
        len = authority.len;
    if (len > 1 && text[len - 1] == '.') len--;
    if (len > HOST_MAX) return 0;
    for (size_t i = 0; i < len; i++) out[i] = lower(text[i]);
    return len;
}

const config_vhost *route_vhost(const config_table *table, route_text authority) {
    char host[HOST_MAX];
    const size_t len = clean_host(authority, host);
    const config_slot *slot = len ? config_index_find(&table->domains, host, len) : NULL;
    if (slot) return &table->vhosts[slot->items[0]];
    /* A wildcard stands for at least one character. */
    for (uint32_t i = 0; i < table->suffixes.length_count; i++) {
        const uint32_t part = table->suffixes.lengths[i];
        if (part >= len) continue;
        slot = config_index_find(&table->suffixes.index, host + len - part, part);
        if (slot) return &table->vhosts[slot->items[0]];
    }
    for (uint32_t i = 0; i < table->prefixes.length_count; i++) {
        const uint32_t part = table->prefixes.lengths[i];
        if (part >= len) continue;
        slot = config_index_find(&table->prefixes.index, host, part);
        if (slot) return &table->vhosts[slot->items[0]];
    }
    return table->any;
}

/* ---- strings */

static bool equal_folded(const char *folded, const char *text, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (folded[i] != lower(text[i])) return false;
    return true;
}

static bool equal(const char *rule, const char *text, size_t len, bool ignore_case) {
    return ignore_case ? equal_folded(rule, text, len) : memcmp(rule, text, len) == 0;
}

static bool contains(const config_string_match *m, route_text text) {
    for (size_t i = 0; i + m->text.len <= text.len; i++)
        if (equal(m->text.text, text.text + i, m->text.len, m->ignore_case)) return true;
    return false;
}

static bool match_string(const config_string_match *m, route_text text) {
    const size_t len = m->text.len;
    if (m->kind == CONFIG_REGEX) return config_regex_match(m->regex, text.text, text.len);
    if (len > text.len) return false;
    switch (m->kind) {
    case CONFIG_EXACT:
        return len == text.len && equal(m->text.text, text.text, len, m->ignore_case);
    case CONFIG_PREFIX:
        return equal(m->text.text, text.text, len, m->ignore_case);
    case CONFIG_SUFFIX:
        return equal(m->text.text, text.text + text.len - len, len, m->ignore_case);
    default:
        return contains(m, text);
    }
}

/* ---- headers */

/* A whole decimal number, as Envoy's range matcher wants it. */
static bool in_range(const config_header_match *m, route_text text) {
    const bool negative = text.len && *text.text == '-';
    size_t i = negative || (text.len && *text.text == '+');
    int64_t value = 0;
    if (i == text.len || text.len > 20) return false;
    for (; i < text.len; i++) {
        const int digit = text.text[i] - '0';
        if (digit < 0 || digit > 9 || __builtin_mul_overflow(value, 10, &value) ||
            (negative ? __builtin_sub_overflow(value, digit, &value)
                      : __builtin_add_overflow(value, digit, &value)))
            return false;
    }
    return value >= m->start && value < m->end;
}

typedef enum found { ABSENT, PRESENT, TOO_LONG } found;

/* The value of a header: the request's own memory, or joined in `room`. */
static found header_value(const route_request *request, config_text name, route_text *value,
                          char room[JOINED_MAX]) {
    route_text more;
    size_t used = 0;
    if (!request->header || !request->header(request->user, name.text, name.len, 0, value))
        return ABSENT;
    for (size_t i = 1; request->header(request->user, name.text, name.len, i, &more); i++) {
        if (i == 1) {
            if (value->len > JOINED_MAX) return TOO_LONG;
            memcpy(room, value->text, value->len);
            used = value->len;
        }
        if (more.len + 1 > JOINED_MAX - used) return TOO_LONG;
        room[used++] = ',';
        memcpy(room + used, more.text, more.len);
        used += more.len;
        *value = (route_text){room, used};
    }
    return PRESENT;
}

static bool match_header(const config_header_match *m, const route_request *request) {
    char room[JOINED_MAX];
    route_text value = {"", 0};
    const found state = header_value(request, m->name, &value, room);
    if (m->kind == CONFIG_HEADER_PRESENT) return state != ABSENT;
    if (m->kind == CONFIG_HEADER_ABSENT) return state == ABSENT;
    if (state == TOO_LONG || (state == ABSENT && !m->missing_is_empty)) return false;
    const bool hit =
        m->kind == CONFIG_HEADER_RANGE ? in_range(m, value) : match_string(&m->match, value);
    return hit != m->invert;
}

/* ---- routes */

static bool match_path(const config_route *route, route_text path) {
    const size_t len = route->path.len;
    const char *rule = route->path.text;
    if (route->path_kind == CONFIG_PATH_REGEX)
        return config_regex_match(route->regex, path.text, path.len);
    if (len > path.len || !equal(rule, path.text, len, route->ignore_case)) return false;
    switch (route->path_kind) {
    case CONFIG_PATH_EXACT:
        return len == path.len;
    case CONFIG_PATH_SEGMENTS:
        return len == path.len || path.text[len] == '/';
    default:
        return true;
    }
}

static bool match_route(const config_route *route, const route_request *request, route_text path) {
    if (route->grpc_only && !request->grpc) return false;
    if (!match_path(route, path)) return false;
    for (uint32_t i = 0; i < route->header_count; i++)
        if (!match_header(&route->headers[i], request)) return false;
    return true;
}

/* One of the ascending lists that routes are looked for in. */
typedef struct source {
    const uint32_t *at, *end;
} source;

static source source_of(const config_slot *slot) {
    return slot ? (source){slot->items, slot->items + slot->count} : (source){NULL, NULL};
}

const config_route *route_in_vhost(const config_vhost *vhost, const route_request *request) {
    route_text path = request->path;
    const char *query = memchr(path.text, '?', path.len);
    if (query) path.len = (size_t)(query - path.text);
    const char *slash = path.len > 1 ? memchr(path.text + 1, '/', path.len - 1) : NULL;
    source sources[3] = {
        source_of(config_index_find(&vhost->exact, path.text, path.len)),
        source_of(
            slash ? config_index_find(&vhost->segment, path.text, (size_t)(slash - path.text) + 1)
                  : NULL),
        {vhost->general, vhost->general + vhost->general_count},
    };
    /* Merge the three in the order written. */
    for (;;) {
        source *next = NULL;
        for (size_t i = 0; i < 3; i++)
            if (sources[i].at != sources[i].end && (!next || *sources[i].at < *next->at))
                next = &sources[i];
        if (!next) return NULL;
        const config_route *route = &vhost->routes[*next->at++];
        if (match_route(route, request, path)) return route;
    }
}

/* ---- by service */

/* "package.Service" of "/package.Service/Method"; empty when the path is of another form. */
static route_text service_of(route_text path) {
    const route_text none = {"", 0};
    if (path.len < 2 || *path.text != '/') return none;
    const char *slash = memchr(path.text + 1, '/', path.len - 1);
    if (!slash || slash == path.text + 1) return none;
    return (route_text){path.text + 1, (size_t)(slash - path.text) - 1};
}

const config_vhost *route_vhost_by_path(const config_table *table, route_text path, size_t *count) {
    const route_text service = service_of(path);
    const config_slot *slot =
        service.len ? config_index_find(&table->services, service.text, service.len) : NULL;
    *count = slot ? slot->count : 0;
    return *count == 1 ? &table->vhosts[slot->items[0]] : NULL;
}

route_result route_match(const config_table *table, const route_request *request) {
    route_result result = {ROUTE_FOUND, route_vhost(table, request->authority), NULL};
    if (!result.vhost) {
        size_t count;
        result.vhost = route_vhost_by_path(table, request->path, &count);
        if (!result.vhost) result.outcome = count ? ROUTE_AMBIGUOUS : ROUTE_NO_SERVICE;
        if (!result.vhost) return result;
    }
    result.route = route_in_vhost(result.vhost, request);
    if (!result.route) result.outcome = ROUTE_NO_RULE;
    return result;
}
