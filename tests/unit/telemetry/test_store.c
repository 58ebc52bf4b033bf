/* The store by its RPCs: what is kept once, found, counted, and taken away by age and size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "services/telemetry/service.h"
#include "weft/mem.h"

#define BEGIN (INT64_C(1700000000) * WEFT_NS_PER_S)
#define MS WEFT_NS_PER_MS

static char dir[] = "/tmp/weft-telemetry-XXXXXX";
static weft_clock_manual manual;
static tel_store *store;
static weft_ctx *ctx;
static int64_t retention;
static uint64_t max_bytes;

static void open_store(void) {
    char *why = NULL;
    const tel_store_options options = {
        .retention_ns = retention, .max_bytes = max_bytes, .clock = &manual.clock};
    const int rc = tel_store_open(dir, &options, &store, &why);
    if (rc) print_error("%s\n", why);
    assert_int_equal(rc, 0);
}

static int set_up(void **state) {
    (void)state;
    memcpy(dir + sizeof dir - 7, "XXXXXX", 6);
    if (!mkdtemp(dir)) return -1;
    weft_clock_manual_init(&manual, BEGIN);
    retention = WEFT_NS_PER_S * 3600;
    max_bytes = 64 << 20;
    ctx = weft_ctx_new(WEFT_NO_TIMEOUT);
    open_store();
    return ctx ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    static const char *const files[] = {"telemetry.db", "telemetry.db-wal", "telemetry.db-shm"};
    char path[128];
    tel_store_close(store);
    weft_ctx_free(ctx);
    for (size_t i = 0; i < 3; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", dir, files[i]);
        (void)unlink(path);
    }
    return rmdir(dir);
}

/* ---- what is put in */

typedef struct in {
    int trace, id, parent; /* 0: none */
    const char *service, *name;
    int64_t start, took; /* ns after BEGIN */
    uint8_t kind;
    bool error, sidecar;
    const char *peer, *callee;
} in;

#define SERVER OTLP__SPAN__SPAN_KIND__SPAN_KIND_SERVER
#define CLIENT OTLP__SPAN__SPAN_KIND__SPAN_KIND_CLIENT

static void number(uint8_t *id, size_t size, int value) {
    memset(id, 0, size);
    for (size_t i = 0; i < 4; i++) id[size - 1 - i] = (uint8_t)((unsigned)value >> 8 * i);
}

static char *trace_id(int value) {
    static char text[33];
    (void)snprintf(text, sizeof text, "%032x", (unsigned)value);
    return text;
}

static uint64_t put(const in *list, size_t count) {
    tel_span *spans = weft_calloc(count, sizeof *spans);
    tel_batch batch = {.spans = spans, .count = count};
    for (size_t i = 0; i < count; i++) {
        const in *s = &list[i];
        spans[i] = (tel_span){.service = s->service ? s->service : "a",
                              .name = s->name ? s->name : "p.S/M",
                              .peer = s->peer ? s->peer : "",
                              .callee = s->callee ? s->callee : "",
                              .message = "",
                              .kind = s->kind ? s->kind : SERVER,
                              .start = BEGIN + s->start,
                              .end = BEGIN + s->start + s->took,
                              .has_parent = s->parent != 0,
                              .error = s->error,
                              .sidecar = s->sidecar,
                              .grpc = -1,
                              .detail = (const uint8_t *)""};
        number(spans[i].trace, 16, s->trace);
        number(spans[i].id, 8, s->id);
        number(spans[i].parent, 8, s->parent);
    }
    assert_int_equal(tel_store_add_spans(store, &batch), 0);
    weft_free(spans);
    return batch.rejected;
}

static tel_stats stats(void) {
    tel_stats s;
    assert_int_equal(tel_store_stats(store, &s), 0);
    return s;
}

/* ---- finding */

static Telemetry__FindTracesResponse *find(const Telemetry__FindTracesRequest *want) {
    Telemetry__FindTracesResponse *r = (Telemetry__FindTracesResponse *)weft_new(
        ctx, &telemetry__find_traces_response__descriptor);
    assert_int_equal(tel_find_traces(ctx, store, want, r).code, WEFT_OK);
    return r;
}

static Telemetry__GetTraceResponse *get(int trace) {
    Telemetry__GetTraceRequest want = TELEMETRY__GET_TRACE_REQUEST__INIT;
    want.trace_id = trace_id(trace);
    Telemetry__GetTraceResponse *r =
        (Telemetry__GetTraceResponse *)weft_new(ctx, &telemetry__get_trace_response__descriptor);
    const weft_status st = tel_get_trace(ctx, store, &want, r);
    if (st.code == WEFT_NOT_FOUND) return NULL;
    assert_int_equal(st.code, WEFT_OK);
    return r;
}

/* The traces found, by their numbers. */
static const char *found(const Telemetry__FindTracesRequest *want) {
    static char list[256];
    const Telemetry__FindTracesResponse *r = find(want);
    list[0] = '\0';
    for (size_t i = 0; i < r->n_traces; i++)
        (void)snprintf(list + strlen(list), sizeof list - strlen(list), "%s%d", i ? " " : "",
                       (int)strtol(r->traces[i]->trace_id + 24, NULL, 16));
    return list;
}

static const in some[] = {
    {.trace = 1, .id = 1, .service = "order.shop", .name = "shop.Order/Place", .took = 50 * MS},
    {.trace = 1, .id = 2, .parent = 1, .service = "user.shop", .start = MS, .took = MS},
    {.trace = 2,
     .id = 1,
     .service = "user.shop",
     .name = "shop.User/Get",
     .start = 10 * MS,
     .took = MS,
     .error = true},
    {.trace = 3,
     .id = 1,
     .service = "order.shop",
     .name = "shop.Order/Get",
     .start = 20 * MS,
     .took = 9 * MS},
};

static void test_finds(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++) put(&some[i], 1);
    Telemetry__FindTracesRequest want = TELEMETRY__FIND_TRACES_REQUEST__INIT;
    assert_string_equal(found(&want), "3 2 1");
    want.service = (char *)(uintptr_t) "user";
    assert_string_equal(found(&want), "2 1");
    want.status = TELEMETRY__FIND_TRACES_REQUEST__STATUS__STATUS_ERROR;
    assert_string_equal(found(&want), "2");
    want.status = TELEMETRY__FIND_TRACES_REQUEST__STATUS__STATUS_OK;
    assert_string_equal(found(&want), "1");
    want = (Telemetry__FindTracesRequest)TELEMETRY__FIND_TRACES_REQUEST__INIT;
    want.method = (char *)(uintptr_t) "Get";
    assert_string_equal(found(&want), "3 2");
    want.method = (char *)(uintptr_t) "Order/Get";
    assert_string_equal(found(&want), "3");
    want.method = (char *)(uintptr_t) "rder/Get";
    assert_string_equal(found(&want), "");
    want.method = (char *)(uintptr_t) "";
    want.min_duration_nano = 9 * MS;
    assert_string_equal(found(&want), "3 1");
    want.from_unix_nano = BEGIN + MS;
    assert_string_equal(found(&want), "3");
    want.min_duration_nano = 0;
    want.to_unix_nano = BEGIN + 20 * MS;
    assert_string_equal(found(&want), "2");
}

static void test_pages(void **state) {
    (void)state;
    for (int i = 1; i <= 25; i++) put(&(in){.trace = i, .id = 1}, 1);
    Telemetry__FindTracesRequest want = TELEMETRY__FIND_TRACES_REQUEST__INIT;
    want.limit = 10;
    size_t all = 0;
    int pages = 0;
    for (;;) {
        const Telemetry__FindTracesResponse *r = find(&want);
        all += r->n_traces;
        pages++;
        if (!*r->next_cursor) break;
        want.cursor = r->next_cursor;
    }
    assert_int_equal(all, 25);
    assert_int_equal(pages, 3);
    want.cursor = (char *)(uintptr_t) "x";
    Telemetry__FindTracesResponse r = TELEMETRY__FIND_TRACES_RESPONSE__INIT;
    assert_int_equal(tel_find_traces(ctx, store, &want, &r).code, WEFT_INVALID_ARGUMENT);
}

static void test_summary(void **state) {
    (void)state;
    /* The child arrives first, alone. */
    put(&some[1], 1);
    assert_string_equal(get(1)->summary->service, "user.shop");
    assert_true(get(1)->spans[0]->parent_missing);
    put(&some[0], 1);
    const Telemetry__GetTraceResponse *t = get(1);
    assert_string_equal(t->summary->service, "order.shop");
    assert_string_equal(t->summary->name, "shop.Order/Place");
    assert_int_equal(t->summary->duration_nano, 50 * MS);
    assert_int_equal(t->n_spans, 2);
    assert_string_equal(t->spans[0]->span_id, "0000000000000001");
    assert_int_equal(t->spans[1]->depth, 1);
    assert_false(t->spans[1]->parent_missing);
    assert_null(get(77));
}

static void test_once(void **state) {
    (void)state;
    put(some, 4);
    put(some, 4);
    const tel_stats s = stats();
    assert_int_equal(s.traces, 3);
    assert_int_equal(s.spans, 4);
    assert_int_equal(s.repeated, 4);
    Telemetry__ListServicesResponse r = TELEMETRY__LIST_SERVICES_RESPONSE__INIT;
    assert_int_equal(tel_list_services(ctx, store, &r).code, WEFT_OK);
    assert_int_equal(r.n_services, 2);
    assert_string_equal(r.services[1]->name, "user.shop");
    assert_int_equal(r.services[1]->spans, 2);
    assert_int_equal(r.services[1]->errors, 1);
}

static void test_spans_of_a_trace(void **state) {
    (void)state;
    in *list = weft_calloc(6000, sizeof *list);
    uint64_t rejected = 0;
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 6000; i++)
            list[i] = (in){.trace = 1, .id = 1 + round * 6000 + i, .kind = CLIENT};
        rejected += put(list, 6000);
    }
    weft_free(list);
    assert_int_equal(rejected, 2000);
    assert_int_equal(get(1)->n_spans, TEL_SPANS_PER_TRACE);
}

/* ---- log records */

static void put_log(int key, const char *service, int trace, const char *body) {
    tel_log l = {.service = service,
                 .body = body,
                 .level = "info",
                 .severity = 9,
                 .time = BEGIN + key,
                 .has_trace = trace != 0,
                 .detail = (const uint8_t *)""};
    number(l.key, 16, key);
    number(l.trace, 16, trace);
    tel_batch batch = {.logs = &l, .count = 1};
    assert_int_equal(tel_store_add_logs(store, &batch), 0);
}

static Telemetry__FindLogsResponse *logs(const Telemetry__FindLogsRequest *want) {
    Telemetry__FindLogsResponse *r =
        (Telemetry__FindLogsResponse *)weft_new(ctx, &telemetry__find_logs_response__descriptor);
    assert_int_equal(tel_find_logs(ctx, store, want, r).code, WEFT_OK);
    return r;
}

static void test_logs(void **state) {
    (void)state;
    for (int i = 1; i <= 10; i++) put_log(i, i % 2 ? "order.shop" : "user.shop", i == 4, "text");
    put_log(10, "user.shop", 0, "text"); /* again */
    assert_int_equal(stats().logs, 10);
    Telemetry__FindLogsRequest want = TELEMETRY__FIND_LOGS_REQUEST__INIT;
    want.limit = 3;
    const Telemetry__FindLogsResponse *r = logs(&want);
    assert_int_equal(r->n_records, 3);
    assert_int_equal(r->records[0]->time_unix_nano, BEGIN + 8);
    assert_int_equal(r->records[2]->time_unix_nano, BEGIN + 10);
    want.service = (char *)(uintptr_t) "order";
    assert_int_equal(logs(&want)->records[2]->time_unix_nano, BEGIN + 9);
    want.service = (char *)(uintptr_t) "";
    want.after_id = r->last_id;
    assert_int_equal(logs(&want)->n_records, 0);
    put_log(11, "user.shop", 0, "more");
    assert_string_equal(logs(&want)->records[0]->body, "more");
    want = (Telemetry__FindLogsRequest)TELEMETRY__FIND_LOGS_REQUEST__INIT;
    want.trace_id = trace_id(1);
    r = logs(&want);
    assert_int_equal(r->n_records, 1);
    assert_string_equal(r->records[0]->trace_id, trace_id(1));
    want.trace_id = (char *)(uintptr_t) "zz";
    Telemetry__FindLogsResponse bad = TELEMETRY__FIND_LOGS_RESPONSE__INIT;
    assert_int_equal(tel_find_logs(ctx, store, &want, &bad).code, WEFT_INVALID_ARGUMENT);
}

/* ---- edges */

static Telemetry__ListEdgesResponse *edges(void) {
    Telemetry__ListEdgesRequest want = TELEMETRY__LIST_EDGES_REQUEST__INIT;
    Telemetry__ListEdgesResponse *r =
        (Telemetry__ListEdgesResponse *)weft_new(ctx, &telemetry__list_edges_response__descriptor);
    assert_int_equal(tel_list_edges(ctx, store, &want, r).code, WEFT_OK);
    return r;
}

/* One call between two sidecars and their apps is told five times and counted once. */
static void test_edges(void **state) {
    (void)state;
    const in call[] = {
        {.trace = 1,
         .id = 2,
         .parent = 9,
         .service = "order",
         .kind = CLIENT,
         .took = 40 * MS,
         .sidecar = true,
         .callee = "user",
         .error = true},
        {.trace = 1,
         .id = 3,
         .parent = 2,
         .service = "order",
         .kind = CLIENT,
         .took = 30 * MS,
         .sidecar = true},
        {.trace = 1,
         .id = 4,
         .parent = 3,
         .service = "user",
         .took = 20 * MS,
         .sidecar = true,
         .peer = "order"},
        {.trace = 1, .id = 5, .parent = 4, .service = "user", .took = 10 * MS},
    };
    /* The callee ends first: its spans come first. */
    put(&call[3], 1);
    put(&call[2], 1);
    put(&call[0], 2);
    assert_int_equal(tel_store_settle(store, 100), 0);
    assert_int_equal(edges()->n_edges, 1);
    weft_clock_manual_advance(&manual, TEL_SETTLE);
    assert_int_equal(tel_store_settle(store, 100), 0);
    const Telemetry__ListEdgesResponse *r = edges();
    assert_int_equal(r->n_edges, 1);
    assert_string_equal(r->edges[0]->caller, "order");
    assert_string_equal(r->edges[0]->callee, "user");
    assert_string_equal(r->edges[0]->method, "p.S/M");
    assert_int_equal(r->edges[0]->calls, 1);
    assert_int_equal(r->edges[0]->errors, 1);
    assert_int_equal(r->edges[0]->p99_nano, 40 * MS);
    assert_int_equal(r->edges[0]->mean_nano, 40 * MS);
    put(call, 4); /* sent again */
    assert_int_equal(edges()->edges[0]->calls, 1);
}

static void test_edges_of_apps(void **state) {
    (void)state;
    const in calls[] = {
        {.trace = 1, .id = 1, .service = "web", .took = MS}, /* from outside */
        {.trace = 1, .id = 2, .parent = 1, .service = "web", .kind = CLIENT},
        {.trace = 1, .id = 3, .parent = 2, .service = "user", .took = MS},  /* of web */
        {.trace = 2, .id = 4, .parent = 77, .service = "user", .took = MS}, /* of whom? */
    };
    put(&calls[2], 1);
    put(calls, 2);
    put(&calls[3], 1);
    assert_int_equal(edges()->n_edges, 1);
    weft_clock_manual_advance(&manual, TEL_SETTLE);
    assert_int_equal(tel_store_settle(store, 1), 1);
    assert_int_equal(tel_store_settle(store, 1), 1);
    assert_int_equal(tel_store_settle(store, 1), 0);
    const Telemetry__ListEdgesResponse *r = edges();
    assert_int_equal(r->n_edges, 3);
    assert_string_equal(r->edges[0]->callee, "user");
    assert_string_equal(r->edges[0]->caller, "");
    assert_string_equal(r->edges[1]->callee, "web");
    assert_string_equal(r->edges[2]->caller, "web");
    assert_string_equal(r->edges[2]->callee, "user");
}

/* ---- what goes */

static void test_age(void **state) {
    (void)state;
    for (int i = 1; i <= 100; i++) {
        put(&(in){.trace = i, .id = 1, .start = -1000 * WEFT_NS_PER_S}, 1);
        put_log(i, "a", i, "text");
        weft_clock_manual_advance(&manual, WEFT_NS_PER_S);
    }
    assert_int_equal(tel_store_trim(store, TEL_TRIM_ROWS), 0);
    assert_int_equal(stats().traces, 100);
    weft_clock_manual_advance(&manual, retention - 50 * WEFT_NS_PER_S);
    assert_int_equal(tel_store_trim(store, 10), 1); /* a piece at a time */
    assert_true(stats().traces > 90 && stats().traces < 100);
    while (tel_store_trim(store, 10) > 0) continue;
    assert_int_equal(stats().traces, 49);
    assert_int_equal(stats().logs, 49);
    assert_int_equal(stats().traces_expired, 51);
    assert_null(get(51));
    assert_non_null(get(52));
    weft_clock_manual_advance(&manual, retention);
    while (tel_store_trim(store, TEL_TRIM_ROWS) > 0) continue;
    assert_int_equal(stats().traces, 0);
    assert_int_equal(stats().oldest, 0);
    assert_int_equal(edges()->n_edges, 0);
}

/* As requests do it: every one makes room behind itself. */
static void test_size(void **state) {
    (void)state;
    tel_store_close(store);
    max_bytes = 2 << 20;
    open_store();
    char name[400];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    in batch[50];
    uint64_t most = 0;
    for (int i = 1; i <= 400; i++) {
        for (int k = 0; k < 50; k++)
            batch[k] = (in){.trace = i, .id = k + 1, .kind = CLIENT, .name = name};
        put(batch, 50);
        assert_true(tel_store_trim(store, TEL_TRIM_ROWS) >= 0);
        if (stats().bytes > most) most = stats().bytes;
    }
    assert_true(most <= max_bytes);
    const tel_stats s = stats();
    assert_true(s.traces > 20 && s.traces < 400);
    assert_int_equal(s.traces + s.traces_expired, 400);
    assert_int_equal(s.spans, s.traces * 50);
    assert_non_null(get(400)); /* the newest stay, the oldest went */
    assert_null(get(1));
    assert_null(get((int)s.traces_expired));
    assert_non_null(get((int)s.traces_expired + 1));
    char path[128];
    (void)snprintf(path, sizeof path, "%s/telemetry.db", dir);
    tel_store_close(store); /* brings the log into the file */
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    const long size = ftell(f);
    assert_int_equal(fclose(f), 0);
    assert_true(size <= (long)max_bytes + (256 << 10));
    open_store();
    assert_int_equal(stats().spans, s.spans);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_finds, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_pages, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_summary, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_spans_of_a_trace, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_logs, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_edges, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_edges_of_apps, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_age, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_size, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
