/* How long a route look-up takes, with 1, 100 and 1,000 routes; a table on standard output.
 *
 *   many methods    one virtual host, a route a method ("path"), a request for each in turn
 *   many services   a virtual host a service, one route each ("prefix": "/"), authorities in turn
 *   regexes         a regex a route, so that every look-up tries them in order (the worst)
 *
 * Reads nothing and writes nothing but the table; the best of five rounds counts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sidecar/config/load.h"
#include "sidecar/route/route.h"
#include "weft/clock.h"

#define LOOKUPS 400000
#define ROUNDS 5

static const char head[] =
    "static_resources:\n"
    "  listeners:\n"
    "  - name: out\n"
    "    address: {pipe: {path: /run/out.sock}}\n"
    "    filter_chains:\n"
    "    - filters:\n"
    "      - name: hcm\n"
    "        typed_config:\n"
    "          \"@type\": type.googleapis.com/envoy.extensions.filters.network."
    "http_connection_manager.v3.HttpConnectionManager\n"
    "          stat_prefix: out\n"
    "          http_filters:\n"
    "          - {name: router, typed_config: {\"@type\": "
    "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}\n"
    "          route_config:\n"
    "            virtual_hosts:\n";

typedef enum shape { METHODS, SERVICES, REGEXES } shape;

static void write_table(weft_buf *out, shape kind, int count) {
    weft_buf_adds(out, head);
    if (kind != SERVICES)
        weft_buf_adds(out, "            - name: product\n"
                           "              domains: [product]\n"
                           "              routes:\n");
    for (int i = 0; i < count; i++) {
        if (kind == SERVICES)
            weft_buf_printf(out,
                            "            - name: s%d\n"
                            "              domains: [s%d, s%d.shop]\n"
                            "              routes: [{match: {prefix: /}, "
                            "direct_response: {status: 200}}]\n",
                            i, i, i);
        else
            weft_buf_printf(out,
                            kind == METHODS
                                ? "              - {match: {path: /shop.product.v1.Product/Get%d}, "
                                  "direct_response: {status: 200}}\n"
                                : "              - {match: {safe_regex: {regex: "
                                  "'/shop\\.[a-z]+\\.v1\\.Product/Get%d'}}, "
                                  "direct_response: {status: 200}}\n",
                            i);
    }
}

static config_snapshot *load(shape kind, int count) {
    weft_buf text;
    config_snapshot *snapshot = NULL;
    weft_arena *arena = weft_arena_new(0);
    weft_diags diags;
    weft_diags_init(&diags, arena, 0);
    weft_buf_init(&text, 0);
    write_table(&text, kind, count);
    if (config_parse(weft_buf_str(&text), text.len, NULL, &snapshot, &diags)) {
        weft_diags_print(&diags, stderr);
        exit(1);
    }
    weft_arena_free(arena);
    weft_buf_free(&text);
    return snapshot;
}

/* CPU time, so that others on the machine count less. */
static int64_t cpu_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * WEFT_NS_PER_S + t.tv_nsec;
}

static double nanoseconds(const config_table *table, route_request *requests, int count) {
    double best = 1e9;
    for (int round = 0; round < ROUNDS; round++) {
        const int lookups =
            count == 1000 && table->vhosts[0].general_count > 100 ? LOOKUPS / 100 : LOOKUPS;
        const int64_t begin = cpu_now();
        for (int i = 0; i < lookups; i++)
            if (!route_match(table, &requests[i * 7 % count]).route) exit(1);
        const double took = (double)(cpu_now() - begin) / lookups;
        if (took < best) best = took;
    }
    return best;
}

static double measure(shape kind, int count, double *load_ms, size_t *bytes) {
    const int64_t begin = cpu_now();
    config_snapshot *s = load(kind, count);
    *load_ms = (double)(cpu_now() - begin) / 1e6;
    *bytes = s->bytes;
    static route_request requests[1000];
    static char texts[1000][2][64];
    for (int i = 0; i < count; i++) {
        (void)snprintf(texts[i][0], sizeof texts[i][0],
                       kind == SERVICES ? "s%d.shop:50051" : "product:50051", i);
        (void)snprintf(texts[i][1], sizeof texts[i][1], "/shop.product.v1.Product/Get%d", i);
        requests[i] = (route_request){.authority = {texts[i][0], strlen(texts[i][0])},
                                      .path = {texts[i][1], strlen(texts[i][1])},
                                      .grpc = true};
    }
    const double ns = nanoseconds(s->listeners[0].routes, requests, count);
    config_unref(s);
    return ns;
}

int main(void) {
    static const char *const names[] = {"many methods", "many services", "regexes"};
    static const int counts[] = {1, 100, 1000};
    printf("| table | routes | ns a look-up | ms to load | KiB held |\n|---|---|---|---|---|\n");
    for (int kind = METHODS; kind <= REGEXES; kind++)
        for (int i = 0; i < 3; i++) {
            double ms;
            size_t bytes;
            const double ns = measure((shape)kind, counts[i], &ms, &bytes);
            printf("| %s | %d | %.0f | %.1f | %zu |\n", names[kind], counts[i], ns, ms,
                   bytes / 1024);
        }
    return 0;
}
