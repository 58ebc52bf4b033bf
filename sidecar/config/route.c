/* Tables of routes and their virtual hosts. */
#include <string.h>

#include "sidecar/config/build.h"

#define ROUTES_MAX 100000u

/* The domain without port, dot at its end, and capitals; NULL, and reported, if it is not one. */
static const char *clean_domain(config_build *b, const char *domain) {
    char *text = weft_arena_strdup(b->arena, domain);
    if (!text) {
        b->rc = WEFT_ENOMEM;
        return NULL;
    }
    char *colon = strrchr(text, ':');
    const bool port = colon && colon[1] && !colon[1 + strspn(colon + 1, "0123456789")];
    if (port && colon > text && (strchr(text, ':') == colon || colon[-1] == ']')) *colon = '\0';
    size_t len = strlen(text);
    if (len > 1 && text[len - 1] == '.' && strchr(text, '*') == NULL) text[--len] = '\0';
    for (char *p = text; *p; p++)
        if (*p >= 'A' && *p <= 'Z') *p = (char)(*p - 'A' + 'a');
    const char *star = strchr(text, '*');
    const char *reason = NULL;
    if (!len)
        reason = "is empty";
    else if (len > 253)
        reason = "is longer than 253 bytes";
    else if (strpbrk(text, *text == '[' ? " /\t?#@" : " /\t?#@:"))
        reason = "has a character that no host has";
    else if (star && strchr(star + 1, '*'))
        reason = "has more than one \"*\"";
    else if (star && star != text && star[1])
        reason = "has a \"*\" inside; it may begin or end with one";
    if (!reason) return text;
    build_wrong(b, "", NULL, "the domain \"%.100s\" %s", domain, reason);
    return NULL;
}

static void take_domains(config_build *b, const EnvoyRoute__VirtualHost *from, config_vhost *out,
                         weft_map *seen) {
    config_text *domains = build_alloc(b, from->n_domains, sizeof *domains);
    if (!domains) return;
    if (!from->n_domains) build_missing(b, "domains", "\"*\" is for all");
    for (size_t i = 0; i < from->n_domains; i++) {
        build_at(b, "domains", i);
        const char *domain = clean_domain(b, from->domains[i]);
        const config_vhost *other = domain ? weft_map_get(seen, domain) : NULL;
        /* The same name with two ports is fine inside of one virtual host. */
        if (other && other != out)
            build_wrong(b, "", NULL, "the domain \"%s\" belongs to the virtual host \"%.100s\" too",
                        domain, other->name);
        else if (domain && !other)
            domains[out->domain_count++] = (config_text){domain, (uint32_t)strlen(domain)};
        if (domain && !other && weft_map_put(seen, domain, out)) b->rc = WEFT_ENOMEM;
        build_up(b);
    }
    out->domains = domains;
}

static void take_routes(config_build *b, const EnvoyRoute__VirtualHost *from, config_vhost *out) {
    config_route *routes = build_alloc(b, from->n_routes, sizeof *routes);
    const config_retry *retry = NULL;
    if (!routes) return;
    if (!from->n_routes && !b->dynamic) build_missing(b, "routes", NULL);
    if (from->retry_policy) retry = build_retry(b, from->retry_policy, NULL);
    for (size_t i = 0; i < from->n_routes; i++) {
        config_route *route = &routes[i];
        const EnvoyRoute__Route *one = from->routes[i];
        build_at(b, "routes", i);
        route->index = (uint32_t)i;
        route->id = b->routes++;
        route->vhost = out;
        route->name = *one->name ? build_copy(b, one->name)
                                 : weft_arena_printf(b->arena, "%s[%zu]", from->name, i);
        if (!route->name) b->rc = WEFT_ENOMEM;
        build_match(b, one->match, route);
        build_action(b, one, route);
        if (retry && route->retry == &config_retry_default) route->retry = retry;
        if (retry && route->timeout && route->retry == retry &&
            retry->per_try_timeout > route->timeout)
            build_wrong(b, "route.timeout", NULL,
                        "is shorter than per_try_timeout of the virtual host's retry_policy");
        build_up(b);
    }
    out->routes = routes;
    out->route_count = (uint32_t)from->n_routes;
}

static void take_vhost(config_build *b, const EnvoyRoute__VirtualHost *from, config_vhost *out,
                       weft_map *seen, weft_map *names) {
    out->name = build_copy(b, from->name);
    if (!*from->name) {
        build_missing(b, "name", NULL);
    } else {
        const int rc = weft_map_add(names, from->name, out);
        if (rc == WEFT_EEXIST)
            build_wrong(b, "name", "rename one", "\"%.100s\" is the name of another virtual host",
                        from->name);
        else if (rc)
            b->rc = rc;
    }
    take_domains(b, from, out, seen);
    take_routes(b, from, out);
    if (!b->rc) build_route_index(b, out);
}

const config_table *build_table(config_build *b, const EnvoyRoute__RouteConfiguration *from) {
    config_table *table = build_alloc(b, 1, sizeof *table);
    config_vhost *vhosts = build_alloc(b, from->n_virtual_hosts, sizeof *vhosts);
    weft_map seen, names;
    if (!table || !vhosts) return NULL;
    weft_map_init(&seen, 0);
    weft_map_init(&names, 0);
    table->name = build_copy(b, from->name);
    if (!from->n_virtual_hosts && !b->dynamic) build_missing(b, "virtual_hosts", NULL);
    if (from->validate_clusters && !from->validate_clusters->value && !b->dynamic)
        build_wrong(b, "validate_clusters", "remove it", "clusters of a file must be in it");
    for (size_t i = 0; i < from->n_virtual_hosts; i++) {
        build_at(b, "virtual_hosts", i);
        vhosts[i].index = (uint32_t)i;
        take_vhost(b, from->virtual_hosts[i], &vhosts[i], &seen, &names);
        build_up(b);
    }
    table->vhosts = vhosts;
    table->vhost_count = (uint32_t)from->n_virtual_hosts;
    if (b->routes > ROUTES_MAX)
        build_wrong(b, "", NULL, "there are more than %u routes", ROUTES_MAX);
    if (!b->rc) build_table_index(b, table);
    weft_map_free(&seen, NULL);
    weft_map_free(&names, NULL);
    return table;
}
