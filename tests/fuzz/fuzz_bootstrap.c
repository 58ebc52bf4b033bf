/* Bootstrap files and serialized bootstraps: whatever comes in, problems or a snapshot come out, and
 * a snapshot can be routed with, dumped, and read back as the same. The first byte says which form
 * it is. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "sidecar/config/load.h"
#include "sidecar/route/route.h"
#include "weft/pb.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool one_header(const void *user, const char *name, size_t name_len, size_t index,
                       route_text *value) {
    (void)user;
    *value = (route_text){name, name_len};
    return index < 2;
}

static void use(const config_snapshot *s) {
    static const char *const paths[] = {"/", "/a.B/C?x=y", "*",
                                        "",  "/a//b",      "/grpc.health.v1.Health/Check"};
    static const char *const hosts[] = {"product", "a.b:80", "", "[::1]:1", "."};
    for (uint32_t l = 0; l < s->listener_count; l++)
        for (size_t h = 0; h < sizeof hosts / sizeof *hosts; h++)
            for (size_t p = 0; p < sizeof paths / sizeof *paths; p++) {
                char out[ROUTE_TEXT];
                const route_request r = {.authority = {hosts[h], strlen(hosts[h])},
                                         .path = {paths[p], strlen(paths[p])},
                                         .grpc = true,
                                         .header = one_header};
                const route_result got = route_match(s->listeners[l].routes, &r);
                if (got.route && got.route->action == CONFIG_FORWARD &&
                    !route_pick(got.route, UINT64_MAX / 3))
                    abort();
                route_explain(s->listeners[l].routes, &r, &got, out);
            }
}

static void check_dump(const config_snapshot *s, const config_options *options) {
    weft_buf dump;
    config_snapshot *again = NULL;
    weft_buf_init(&dump, 0);
    /* Only names that are no UTF-8 could fail, and the guard refuses those. */
    if (config_dump(s, &dump)) abort();
    const char *from = strstr(weft_buf_str(&dump), "\"bootstrap\":") + strlen("\"bootstrap\":");
    const int rc = config_parse(from, strlen(from) - 2, options, &again, NULL);
    if (rc == 0 && strcmp(again->version, s->version) != 0) abort();
    if (rc == 0) config_unref(again);
    weft_buf_free(&dump);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static weft_registry *registry;
    if (!registry) registry = config_registry_new();
    const config_options options = {
        .size = sizeof options, .file = "fuzz", .skip_files = true, .registry = registry};
    config_snapshot *s = NULL;
    weft_diags diags;
    if (!size || !registry) return 0;
    const bool wire = data[0] == 0;
    if (wire) {
        data++;
        size--;
    }
    weft_arena *arena = weft_arena_new(0);
    if (!arena) return 0;
    weft_diags_init(&diags, arena, 0);
    const int rc = wire ? config_from_wire(data, size, &options, &s, &diags)
                        : config_parse((const char *)data, size, &options, &s, &diags);
    if (rc && !diags.count && rc != WEFT_ENOMEM) abort(); /* refused without a word */
    for (const weft_diag *d = diags.first; d; d = d->next) {
        weft_buf line;
        weft_buf_init(&line, 0);
        weft_diag_format(d, &line);
        weft_buf_free(&line);
    }
    if (!rc) {
        use(s);
        if (!wire) check_dump(s, &options);
        config_unref(s);
    }
    weft_arena_free(arena);
    return 0;
}
