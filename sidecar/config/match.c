/* What a route matches: path, headers. */
#include <string.h>

#include "sidecar/config/build.h"

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c; }

static config_text lower_text(config_build *b, const char *text) {
    char *copy = weft_arena_strdup(b->arena, text);
    if (!copy) b->rc = WEFT_ENOMEM;
    if (!copy) return (config_text){"", 0};
    for (char *p = copy; *p; p++) *p = lower(*p);
    return (config_text){copy, (uint32_t)strlen(copy)};
}

static const config_regex *take_regex(config_build *b, const char *field,
                                      const EnvoyMatcher__RegexMatcher *from) {
    const config_regex *regex = NULL;
    const char *why = "";
    build_in(b, field);
    const int rc = *from->regex ? config_regex_compile(b->arena, from->regex, &regex, &why) : 0;
    if (!*from->regex)
        build_missing(b, "regex", NULL);
    else if (rc == WEFT_ENOMEM)
        b->rc = WEFT_ENOMEM;
    else if (rc)
        build_wrong(b, "regex", NULL, "\"%.200s\" %s", from->regex, why);
    build_up(b);
    return regex;
}

/* ---- paths */

static bool check_path(config_build *b, const char *field, const char *path) {
    if (*path != '/') return build_wrong(b, field, NULL, "\"%.200s\" must begin with \"/\"", path);
    if (strpbrk(path, "?#"))
        return build_wrong(b, field, "match headers or the path alone",
                           "\"%.200s\" has a query or fragment, which paths are matched without",
                           path);
    return true;
}

static void take_path(config_build *b, const EnvoyRoute__RouteMatch *from, config_route *out) {
    const char *path = "";
    switch (from->path_specifier_case) {
    case ENVOY_ROUTE__ROUTE_MATCH__PATH_SPECIFIER_PREFIX:
        out->path_kind = CONFIG_PATH_PREFIX;
        path = from->prefix;
        if (*path) check_path(b, "prefix", path);
        break;
    case ENVOY_ROUTE__ROUTE_MATCH__PATH_SPECIFIER_PATH:
        out->path_kind = CONFIG_PATH_EXACT;
        path = from->path;
        check_path(b, "path", path);
        break;
    case ENVOY_ROUTE__ROUTE_MATCH__PATH_SPECIFIER_PATH_SEPARATED_PREFIX:
        out->path_kind = CONFIG_PATH_SEGMENTS;
        path = from->path_separated_prefix;
        if (check_path(b, "path_separated_prefix", path) && path[strlen(path) - 1] == '/')
            build_wrong(b, "path_separated_prefix", "leave it out",
                        "\"%.200s\" must not end with \"/\"", path);
        break;
    case ENVOY_ROUTE__ROUTE_MATCH__PATH_SPECIFIER_SAFE_REGEX:
        out->path_kind = CONFIG_PATH_REGEX;
        out->regex = take_regex(b, "safe_regex", from->safe_regex);
        break;
    case ENVOY_ROUTE__ROUTE_MATCH__PATH_SPECIFIER_CONNECT_MATCHER:
        build_unsupported(b, "connect_matcher", "prefix, path, safe_regex, path_separated_prefix");
        break;
    case ENVOY_ROUTE__ROUTE_MATCH__PATH_SPECIFIER_PATH_MATCH_POLICY:
        build_unsupported(b, "path_match_policy",
                          "prefix, path, safe_regex, path_separated_prefix");
        break;
    default:
        build_missing(b, "prefix", "or path, safe_regex, path_separated_prefix");
    }
    out->ignore_case = from->case_sensitive && !from->case_sensitive->value;
    if (out->ignore_case && out->path_kind == CONFIG_PATH_REGEX)
        build_wrong(b, "case_sensitive", "write [Aa] and so on", "not for safe_regex");
    out->path = out->ignore_case ? lower_text(b, path) : build_text(b, path);
}

/* ---- strings */

static void set_string(config_build *b, config_string_match *out, config_string_kind kind,
                       const char *text, bool ignore_case, const char *field) {
    if (!*text && kind != CONFIG_EXACT)
        build_wrong(b, field, "use present_match", "is empty: it matches everything");
    *out = (config_string_match){.kind = kind, .ignore_case = ignore_case};
    out->text = ignore_case ? lower_text(b, text) : build_text(b, text);
}

static void take_string(config_build *b, const EnvoyMatcher__StringMatcher *from,
                        config_string_match *out) {
    const bool fold = from->ignore_case;
    build_in(b, "string_match");
    switch (from->match_pattern_case) {
    case ENVOY_MATCHER__STRING_MATCHER__MATCH_PATTERN_EXACT:
        set_string(b, out, CONFIG_EXACT, from->exact, fold, "exact");
        break;
    case ENVOY_MATCHER__STRING_MATCHER__MATCH_PATTERN_PREFIX:
        set_string(b, out, CONFIG_PREFIX, from->prefix, fold, "prefix");
        break;
    case ENVOY_MATCHER__STRING_MATCHER__MATCH_PATTERN_SUFFIX:
        set_string(b, out, CONFIG_SUFFIX, from->suffix, fold, "suffix");
        break;
    case ENVOY_MATCHER__STRING_MATCHER__MATCH_PATTERN_CONTAINS:
        set_string(b, out, CONFIG_CONTAINS, from->contains, fold, "contains");
        break;
    case ENVOY_MATCHER__STRING_MATCHER__MATCH_PATTERN_SAFE_REGEX:
        out->kind = CONFIG_REGEX;
        out->regex = take_regex(b, "safe_regex", from->safe_regex);
        if (fold) build_wrong(b, "ignore_case", "write [Aa] and so on", "not for safe_regex");
        break;
    case ENVOY_MATCHER__STRING_MATCHER__MATCH_PATTERN_CUSTOM:
        build_unsupported(b, "custom", "exact, prefix, suffix, contains, safe_regex");
        break;
    default:
        build_missing(b, "exact", "or prefix, suffix, contains, safe_regex");
    }
    build_up(b);
}

/* ---- headers */

static bool is_token(const char *name) {
    if (*name == ':') name++;
    if (!*name) return false;
    for (; *name; name++)
        if (!strchr("!#$%&'*+-.^_`|~", *name) && !(*name >= '0' && *name <= '9') &&
            !(lower(*name) >= 'a' && lower(*name) <= 'z'))
            return false;
    return true;
}

static void take_specifier(config_build *b, const EnvoyRoute__HeaderMatcher *from,
                           config_header_match *out) {
    switch (from->header_match_specifier_case) {
    case ENVOY_ROUTE__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_EXACT_MATCH:
        set_string(b, &out->match, CONFIG_EXACT, from->exact_match, false, "exact_match");
        break;
    case ENVOY_ROUTE__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_PREFIX_MATCH:
        set_string(b, &out->match, CONFIG_PREFIX, from->prefix_match, false, "prefix_match");
        break;
    case ENVOY_ROUTE__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_SUFFIX_MATCH:
        set_string(b, &out->match, CONFIG_SUFFIX, from->suffix_match, false, "suffix_match");
        break;
    case ENVOY_ROUTE__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_CONTAINS_MATCH:
        set_string(b, &out->match, CONFIG_CONTAINS, from->contains_match, false, "contains_match");
        break;
    case ENVOY_ROUTE__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_SAFE_REGEX_MATCH:
        out->match.kind = CONFIG_REGEX;
        out->match.regex = take_regex(b, "safe_regex_match", from->safe_regex_match);
        break;
    case ENVOY_ROUTE__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_STRING_MATCH:
        take_string(b, from->string_match, &out->match);
        break;
    case ENVOY_ROUTE__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_RANGE_MATCH:
        out->kind = CONFIG_HEADER_RANGE;
        out->start = from->range_match->start;
        out->end = from->range_match->end;
        if (out->start >= out->end)
            build_wrong(b, "range_match", NULL, "holds no number: start must be below end");
        break;
    case ENVOY_ROUTE__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_PRESENT_MATCH:
        out->kind = from->present_match != from->invert_match ? CONFIG_HEADER_PRESENT
                                                              : CONFIG_HEADER_ABSENT;
        out->invert = false;
        if (from->treat_missing_header_as_empty)
            build_wrong(b, "treat_missing_header_as_empty", "remove it",
                        "contradicts present_match");
        break;
    default:
        build_missing(b, "string_match", "or range_match, present_match, safe_regex_match");
    }
}

static void take_header(config_build *b, const EnvoyRoute__HeaderMatcher *from,
                        config_header_match *out) {
    if (!*from->name)
        build_missing(b, "name", NULL);
    else if (!is_token(from->name))
        build_wrong(b, "name", NULL, "\"%.100s\" is not the name of a header", from->name);
    out->name = lower_text(b, from->name);
    out->kind = CONFIG_HEADER_STRING;
    out->invert = from->invert_match;
    out->missing_is_empty = from->treat_missing_header_as_empty;
    take_specifier(b, from, out);
}

void build_match(config_build *b, const EnvoyRoute__RouteMatch *from, config_route *out) {
    if (!from) {
        build_missing(b, "match", NULL);
        return;
    }
    build_in(b, "match");
    take_path(b, from, out);
    out->grpc_only = from->grpc != NULL;
    config_header_match *headers = build_alloc(b, from->n_headers, sizeof *headers);
    for (size_t i = 0; headers && i < from->n_headers; i++) {
        build_at(b, "headers", i);
        take_header(b, from->headers[i], &headers[i]);
        build_up(b);
    }
    out->headers = headers;
    out->header_count = headers ? (uint32_t)from->n_headers : 0;
    build_up(b);
}
