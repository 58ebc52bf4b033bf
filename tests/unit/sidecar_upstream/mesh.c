#include "tests/unit/sidecar_upstream/mesh.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "sidecar/config/load.h"
#include "weft/mem.h"
#include "weft/num.h"

static const uint8_t zeros[64 << 10];

/* ---- hosts */

static void host_turn(void *user, int64_t now) {
    mesh_host *h = user;
    h2_env_set_now(h->env, now);
    if (!h->mesh->strangers) return;
    *h->mesh->strangers = 1;
    net_loop_defer(h->loop, &h->turned);
}

static void host_turned(net_task *task) {
    const mesh_host *h = WEFT_CONTAINER(task, mesh_host, turned);
    if (h->mesh->strangers) *h->mesh->strangers = 0;
}

static void host_open(mesh *m, mesh_host *h, const char *name) {
    h->mesh = m;
    net_task_init(&h->turned, host_turned);
    h->chunks = weft_chunk_pool_new(0, 0);
    h->fields = http_pool_new(0, 1);
    h->env = h2_env_new(h->chunks, h->fields, 1);
    assert_non_null(h->env);
    const net_loop_config config = {
        .sim = m->sim, .host = name, .chunks = h->chunks, .on_turn = host_turn, .user = h};
    assert_int_equal(net_loop_new(&config, &h->loop), 0);
    h2_env_set_now(h->env, net_loop_now(h->loop));
}

static void host_close(mesh_host *h) {
    net_loop_free(h->loop);
    h2_env_free(h->env);
    http_pool_free(h->fields);
    weft_chunk_pool_free(h->chunks);
}

/* ---- time */

int64_t mesh_now(const mesh *m) { return weft_now(net_sim_clock(m->sim)) - MESH_START; }

void mesh_run(mesh *m, int64_t ms) {
    (void)net_sim_run(m->sim, MESH_START + mesh_now(m) + ms * WEFT_NS_PER_MS, NULL, NULL);
}

static bool is_set(void *user) { return *(const bool *)user; }

void mesh_until(mesh *m, const bool *flag) {
    const int64_t until = MESH_START + mesh_now(m) + 60 * WEFT_NS_PER_S;
    (void)net_sim_run(m->sim, until, is_set, (void *)(uintptr_t)flag);
    assert_true(*flag);
}

uint64_t mesh_counter(mesh *m, telemetry_counter counter) {
    return worker_counters(&m->worker)[counter];
}
cluster_shared *mesh_shared(mesh *m) { return &m->shared.clusters[0]; }

/* ---- servers: connections */

static int peer_output(net_conn *conn, weft_chain *out) {
    mesh_peer *p = net_conn_user(conn);
    const int rc = wire_handler.on_output(conn, out);
    if (p->raw_len) assert_int_equal(weft_chain_add(out, p->raw, p->raw_len), 0);
    p->raw_len = 0;
    return rc;
}

static void peer_open(net_conn *conn) {
    const mesh_peer *p = net_conn_user(conn);
    if (!p->server->mute) wire_handler.on_open(conn);
}

static int peer_input(net_conn *conn, const uint8_t *data, size_t size, weft_chunk *chunk) {
    const mesh_peer *p = net_conn_user(conn);
    return p->wire.h2 ? wire_handler.on_input(conn, data, size, chunk) : 0;
}

static void peer_closed(wire *w, int error, const char *reason) {
    mesh_peer *p = (mesh_peer *)w;
    (void)error;
    (void)reason;
    p->alive = false;
}

static const wire_ops peer_ops = {.closed = peer_closed};
static net_handler peer_handler;

/* ---- servers: requests */

static void copy(const http_fields *fields, http_name name, char *out, size_t size) {
    const http_field *f = http_fields_find(fields, name);
    (void)snprintf(out, size, "%s", f ? f->value : "");
}

static void body_came(mesh_request *r, size_t size, bool end) {
    r->bytes += size;
    h2_consume(r->stream, size);
    if (!end) return;
    r->ended = true;
    if (r->server->ok) mesh_answer(r);
}

static void server_headers(h2_stream *s, h2_headers_kind kind, http_fields *fields, bool end) {
    if (kind != H2_HEADERS_REQUEST) {
        body_came(h2_stream_user(s), 0, end);
        return;
    }
    mesh_peer *p = h2_conn_user(h2_stream_conn(s));
    mesh_server *server = p->server;
    assert_true(server->request_count < MESH_REQUESTS);
    mesh_request *r = &server->requests[server->request_count++];
    *r =
        (mesh_request){.server = server, .peer = p, .stream = s, .at = mesh_now(server->host.mesh)};
    copy(fields, HTTP_NAME_PATH, r->path, sizeof r->path);
    copy(fields, HTTP_NAME_GRPC_PREVIOUS_ATTEMPTS, r->previous, sizeof r->previous);
    copy(fields, HTTP_NAME_GRPC_TIMEOUT, r->timeout, sizeof r->timeout);
    h2_stream_set_user(s, r);
    if (end) body_came(r, 0, true);
}

static void server_data(h2_stream *s, const weft_slice *data, bool end) {
    body_came(h2_stream_user(s), data->len, end);
}

static void server_reset(h2_stream *s, const h2_reset_info *info) {
    mesh_request *r = h2_stream_user(s);
    r->over = true;
    r->reset = info->code;
    h2_stream_release(s);
    r->stream = NULL;
}

static void server_goaway(h2_conn *conn, const h2_goaway_info *info) {
    mesh_peer *p = h2_conn_user(conn);
    (void)info;
    p->goaway = true;
}

static const h2_callbacks server_callbacks = {.on_headers = server_headers,
                                              .on_data = server_data,
                                              .on_reset = server_reset,
                                              .on_goaway = server_goaway,
                                              .on_want_write = wire_want_write};

static int server_accept(net_listener *listener, net_conn *conn) {
    mesh_server *s = net_listener_user(listener);
    assert_true(s->peer_count < MESH_PEERS);
    mesh_peer *p = &s->peers[s->peer_count++];
    *p = (mesh_peer){.server = s, .alive = true};
    wire_init(&p->wire, H2_SERVER, s->host.env, &s->limits, &server_callbacks, &peer_ops);
    p->wire.net = conn;
    if (s->host.mesh->tls) assert_int_equal(net_conn_set_tls(conn, s->host.mesh->tls), 0);
    net_conn_set_handler(conn, &peer_handler, p);
    return 0;
}

void mesh_listen(mesh *m, size_t server, bool on) {
    mesh_server *s = &m->servers[server];
    if (on) {
        net_why why;
        const net_listen what = {.addr = &s->addr, .fd = -1, .on_accept = server_accept, .user = s};
        assert_int_equal(net_listener_new(s->host.loop, &what, &s->listener, &why), 0);
    } else {
        net_listener_close(s->listener);
        s->listener = NULL;
        mesh_run(m, 0);
    }
}

static void server_open(mesh *m, size_t i) {
    mesh_server *s = &m->servers[i];
    char text[32];
    (void)snprintf(s->name, sizeof s->name, "s%zu", i);
    (void)snprintf(text, sizeof text, "10.0.1.%zu:80", i + 1);
    assert_int_equal(weft_addr_parse(text, &s->addr, NULL), 0);
    host_open(m, &s->host, s->name);
    h2_limits_peer(&s->limits);
    mesh_listen(m, i, true);
}

mesh_request *mesh_at(mesh *m, size_t server, size_t i) {
    mesh_server *s = &m->servers[server];
    if (i >= s->request_count)
        fail_msg("server %zu has %zu requests, not %zu", server, s->request_count, i + 1);
    return &s->requests[i];
}

/* ---- servers: answers */

static void respond(mesh_request *r, const char *http, bool end, const char *status,
                    const char *name, const char *value) {
    http_fields list;
    http_fields_init(&list, r->server->host.fields);
    assert_int_equal(http_fields_add_text(&list, ":status", http), 0);
    assert_int_equal(http_fields_add_text(&list, "content-type", "application/grpc"), 0);
    if (status) assert_int_equal(http_fields_add_text(&list, "grpc-status", status), 0);
    if (name) assert_int_equal(http_fields_add_text(&list, name, value), 0);
    assert_int_equal(h2_respond(r->stream, &list, end), 0);
    http_fields_clear(&list);
}

void mesh_headers(mesh_request *r) { respond(r, "200", false, NULL, NULL, NULL); }
void mesh_http(mesh_request *r, const char *status) { respond(r, status, true, NULL, NULL, NULL); }

void mesh_refuse(mesh_request *r, int status, const char *name, const char *value) {
    char text[8];
    (void)snprintf(text, sizeof text, "%d", status);
    respond(r, "200", true, text, name, value);
}

void mesh_data(mesh_request *r, size_t size, bool end) {
    const weft_slice slice = {zeros, size, NULL};
    assert_true(size <= sizeof zeros);
    assert_true(h2_send_data(r->stream, &slice, size ? 1 : 0, end) >= 0);
}

void mesh_trailers(mesh_request *r, int status) {
    http_fields list;
    http_fields_init(&list, r->server->host.fields);
    assert_int_equal(http_grpc_trailers(&list, status, status ? "trailers of the server" : ""), 0);
    assert_int_equal(h2_send_trailers(r->stream, &list), 0);
    http_fields_clear(&list);
}

void mesh_answer(mesh_request *r) {
    mesh_headers(r);
    mesh_data(r, 1, false);
    mesh_trailers(r, 0);
}

void mesh_reset(mesh_request *r, uint32_t code) { h2_reset(r->stream, code); }

static void send_raw(mesh_peer *p, const uint8_t *frame, size_t len) {
    memcpy(p->raw, frame, len);
    p->raw_len = len;
    net_conn_want_write(p->wire.net);
}

/* RFC 9113 sections 6.8 and 6.5: length, type, flags, stream, payload. */
void mesh_goaway(mesh_peer *p, uint32_t last) {
    uint8_t frame[17] = {0, 0, 8, 7};
    for (int i = 0; i < 4; i++) frame[9 + i] = (uint8_t)(last >> (24 - 8 * i));
    send_raw(p, frame, sizeof frame);
}

void mesh_max_streams(mesh_peer *p, uint8_t count) {
    const uint8_t frame[15] = {0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, count};
    send_raw(p, frame, sizeof frame);
}

void mesh_cut(mesh_peer *p) { net_conn_abort(p->wire.net, WEFT_EIO, "cut"); }

/* ---- the client */

static void note_fields(mesh_call *c, const http_fields *fields) {
    const http_field *http = http_fields_find(fields, HTTP_NAME_STATUS);
    const http_field *status = http_fields_find(fields, HTTP_NAME_GRPC_STATUS);
    const http_field *message = http_fields_find(fields, HTTP_NAME_GRPC_MESSAGE);
    int64_t number = 0;
    if (http_fields_find_text(fields, CALL_UNPROCESSED, strlen(CALL_UNPROCESSED)))
        c->unprocessed = true;
    if (http && weft_parse_int64(http->value, &number) >= 0) c->http = (int)number;
    if (status) c->status = http_grpc_status_parse(status->value, status->value_len);
    if (!message || message->value_len >= sizeof c->message) return;
    c->message[http_grpc_message_decode(message->value, message->value_len, c->message)] = 0;
}

static void call_over(mesh_call *c) {
    c->done = true;
    c->done_at = mesh_now(c->mesh);
    h2_stream_release(c->stream);
    c->stream = NULL;
}

static void client_headers(h2_stream *s, h2_headers_kind kind, http_fields *fields, bool end) {
    mesh_call *c = h2_stream_user(s);
    (void)kind;
    c->headers++;
    if (c->headers_at < 0) c->headers_at = mesh_now(c->mesh);
    note_fields(c, fields);
    if (end) call_over(c);
}

static void client_data(h2_stream *s, const weft_slice *data, bool end) {
    mesh_call *c = h2_stream_user(s);
    c->bytes += data->len;
    h2_consume(s, data->len);
    if (end) call_over(c);
}

static void client_reset(h2_stream *s, const h2_reset_info *info) {
    mesh_call *c = h2_stream_user(s);
    c->reset = true;
    c->reset_code = info->code;
    call_over(c);
}

static const h2_callbacks client_callbacks = {.on_headers = client_headers,
                                              .on_data = client_data,
                                              .on_reset = client_reset,
                                              .on_want_write = wire_want_write};

static void client_opened(wire *w) {
    mesh *m = WEFT_CONTAINER(w, mesh, client);
    m->client_up = true;
}

static void client_closed(wire *w, int error, const char *reason) {
    mesh *m = WEFT_CONTAINER(w, mesh, client);
    (void)error;
    (void)reason;
    m->client_up = false;
}

static const wire_ops client_ops = {.open = client_opened, .closed = client_closed};

void mesh_dial(mesh *m) {
    weft_addr to;
    net_why why;
    assert_int_equal(weft_addr_parse("10.0.0.1:80", &to, NULL), 0);
    wire_init(&m->client, H2_CLIENT, m->host.env, &m->limits, &client_callbacks, &client_ops);
    const net_dial what = {.addr = &to, .handler = &wire_handler, .user = &m->client};
    assert_int_equal(net_connect(m->host.loop, &what, &m->client.net, &why), 0);
    mesh_run(m, 0);
}

void mesh_call_begin(mesh *m, mesh_call *c, int64_t size, int end, ...) {
    http_fields list;
    va_list more;
    *c = (mesh_call){.mesh = m, .status = -1, .headers_at = -1, .done_at = -1};
    http_fields_init(&list, m->host.fields);
    assert_int_equal(http_fields_add_text(&list, ":method", "POST"), 0);
    assert_int_equal(http_fields_add_text(&list, ":scheme", "http"), 0);
    assert_int_equal(http_fields_add_text(&list, ":path", "/test.Echo/Get"), 0);
    assert_int_equal(http_fields_add_text(&list, ":authority", "echo"), 0);
    assert_int_equal(http_fields_add_text(&list, "content-type", "application/grpc"), 0);
    assert_int_equal(http_fields_add_text(&list, "te", "trailers"), 0);
    va_start(more, end);
    for (const char *name; (name = va_arg(more, const char *));)
        assert_int_equal(http_fields_add_text(&list, name, va_arg(more, const char *)), 0);
    va_end(more);
    assert_int_equal(h2_request(m->client.h2, &list, end && size < 0, c, &c->stream), 0);
    http_fields_clear(&list);
    if (size >= 0) mesh_call_send(c, (size_t)size, end);
}

void mesh_call_send(mesh_call *c, size_t size, bool end) {
    const weft_slice slice = {zeros, size, NULL};
    assert_true(size <= sizeof zeros);
    assert_true(h2_send_data(c->stream, &slice, size ? 1 : 0, end) >= 0);
}

void mesh_call_cancel(mesh_call *c) {
    h2_reset(c->stream, H2_CANCEL);
    call_over(c);
}

void mesh_unary(mesh *m, mesh_call *c) { mesh_call_begin(m, c, 20, true, NULL); }

/* ---- certificates */

#define ECHO_ID "spiffe://mesh.local/ns/shop/sa/echo"

void mesh_certify(mesh *m, int64_t lifetime) {
    const int64_t now = MESH_START + mesh_now(m);
    crypto_svid *svid = pki_svid(&m->pki, "/ns/shop/sa/echo", now, lifetime);
    tls_context_unref(m->tls);
    m->tls = pki_server(&m->pki, svid, net_sim_clock(m->sim));
    crypto_svid_unref(svid);
}

static void identify(mesh *m) {
    pki_init(&m->pki, "mesh.local", "mesh");
    mesh_certify(m, PKI_DAY);
    crypto_svid *svid = pki_svid(&m->pki, "/ns/shop/sa/user", MESH_START, PKI_DAY);
    m->shared.cluster_tls[0] = pki_client(&m->pki, svid, ECHO_ID, net_sim_clock(m->sim));
    crypto_svid_unref(svid);
}

/* ---- opening */

static void endpoints_text(const mesh *m, const mesh_config *config, weft_buf *out) {
    char own[200] = "", list[200], *rest = NULL;
    for (size_t i = 0; i < m->server_count; i++)
        (void)snprintf(own + strlen(own), sizeof own - strlen(own), "10.0.1.%zu:80 ", i + 1);
    (void)snprintf(list, sizeof list, "%s", config->endpoints ? config->endpoints : own);
    for (char *at = strtok_r(list, " ", &rest); at; at = strtok_r(NULL, " ", &rest)) {
        char *colon = strrchr(at, ':');
        assert_non_null(colon);
        *colon = 0;
        weft_buf_printf(out,
                        "        - endpoint: {address: {socket_address: {address: %s, "
                        "port_value: %s}}}\n",
                        at, colon + 1);
    }
}

static void bootstrap(const mesh *m, const mesh_config *config, weft_buf *out) {
    const char *more = config->cluster ? config->cluster : "";
    const char *name = config->name ? config->name : "echo";
    weft_buf_printf(
        out,
        "node: {id: t, cluster: test.shop}\n"
        "static_resources:\n"
        "  listeners:\n"
        "  - name: %s\n"
        "    traffic_direction: %s\n"
        "    address: {socket_address: {address: 10.0.0.1, port_value: %d}}\n"
        "    filter_chains:\n"
        "    - filters:\n"
        "      - name: hcm\n"
        "        typed_config:\n"
        "          \"@type\": type.googleapis.com/envoy.extensions.filters.network."
        "http_connection_manager.v3.HttpConnectionManager\n"
        "          stat_prefix: out\n"
        "          codec_type: HTTP2\n"
        "          route_config:\n"
        "            virtual_hosts:\n"
        "            - name: all\n"
        "              domains: [\"*\"]\n"
        "              routes: [{match: {prefix: /}, route: {%s cluster: %s}}]\n"
        "          http_filters:\n"
        "          - name: router\n"
        "            typed_config: {\"@type\": type.googleapis.com/envoy.extensions.filters.http."
        "router.v3.Router}\n"
        "  clusters:\n"
        "  - name: %s\n"
        "    type: %s\n"
        "    connect_timeout: 1s\n"
        "%s%s"
        "    load_assignment:\n"
        "      endpoints:\n"
        "      - lb_endpoints:\n",
        config->listener ? config->listener : "out", config->inbound ? "INBOUND" : "OUTBOUND",
        config->port ? config->port : 80, config->route ? config->route : "", name, name,
        config->dns ? "STRICT_DNS" : "STATIC",
        strstr(more, "http2_protocol_options") ? "" : "    http2_protocol_options: {}\n", more);
    endpoints_text(m, config, out);
}

static void parse(mesh *m, const mesh_config *config) {
    weft_buf text;
    weft_buf_init(&text, 1 << 16);
    bootstrap(m, config, &text);
    weft_arena *arena = weft_arena_new(0);
    weft_diags problems;
    weft_diags_init(&problems, arena, 0);
    const config_options options = {.size = sizeof options, .unsafe_plaintext = true};
    if (config_parse(text.data, text.len, &options, &m->snapshot, &problems)) {
        weft_diags_print(&problems, stderr);
        fail_msg("the bootstrap is wrong");
    }
    weft_arena_free(arena);
    weft_buf_free(&text);
}

void mesh_build(mesh *m, const mesh_config *config) {
    *m = (mesh){0};
    peer_handler = wire_handler;
    peer_handler.on_open = peer_open;
    peer_handler.on_input = peer_input;
    peer_handler.on_output = peer_output;
    const uint64_t seed = config->seed ? config->seed : 1;
    assert_int_equal(net_sim_new(seed, MESH_START, &m->sim), 0);
    m->server_count = config->servers ? config->servers : 1;
    parse(m, config);
    host_open(m, &m->host, "client");
    h2_limits_peer(&m->limits);
    for (size_t i = 0; i < m->server_count; i++) server_open(m, i);
    sidecar_shared *s = &m->shared;
    s->publisher = config_publisher_new();
    s->clusters = weft_calloc(m->snapshot->cluster_count, sizeof *s->clusters);
    s->cluster_tls = weft_calloc(m->snapshot->cluster_count, sizeof *s->cluster_tls);
    s->listener_tls = weft_calloc(m->snapshot->listener_count, sizeof *s->listener_tls);
    assert_true(s->publisher && s->clusters && s->cluster_tls && s->listener_tls);
    if (config->mtls) identify(m);
    config_publish(s->publisher, m->snapshot);
    s->snapshot = m->snapshot;
    s->self_id = "";
    s->drain = 5 * WEFT_NS_PER_S;
    s->spans_fd = -1;
    s->sim = m->sim;
    s->host = "sidecar";
    s->seed = seed;
}

int mesh_start(mesh *m) {
    m->worker_up = true;
    return worker_init(&m->worker, &m->shared, 0);
}

void mesh_open(mesh *m, const mesh_config *config) {
    mesh_build(m, config);
    assert_int_equal(mesh_start(m), 0);
    mesh_dial(m);
    assert_true(m->client_up);
}

config_snapshot *mesh_snapshot(mesh *m, const mesh_config *config) {
    config_snapshot *first = m->snapshot;
    parse(m, config);
    config_snapshot *made = m->snapshot;
    m->snapshot = first; /* of the shared part */
    return made;
}

void mesh_swap(mesh *m, const mesh_config *config) {
    config_snapshot *next = mesh_snapshot(m, config);
    cluster_shared *shared = config->name ? &m->more : mesh_shared(m);
    tls_context *none = NULL;
    const sidecar_turn turn = {
        .snapshot = next, .clusters = &shared, .cluster_tls = &none, .listener_tls = &none};
    config_publish(m->shared.publisher, next);
    assert_int_equal(worker_take(&m->worker, &turn), 0);
    config_unref(next);
}

/* ---- closing */

void mesh_client_leave(mesh *m) {
    if (m->client.net) net_conn_abort(m->client.net, 0, "leaving");
    for (int i = 0; i < 100 && m->worker.down_count; i++) mesh_run(m, 10);
}

static void check_idle(mesh *m) {
    assert_int_equal(m->worker.calls, 0);
    assert_int_equal(m->worker.down_count, 0);
    assert_int_equal(mesh_counter(m, TELEMETRY_ACTIVE_OUT), 0);
    for (int class = 0; class < CONFIG_CLASSES; class ++) {
        const cluster_bulkhead *b = &mesh_shared(m)->classes[class];
        assert_int_equal(cluster_gauge_now(&b->pending), 0);
        assert_int_equal(cluster_gauge_now(&b->requests), 0);
        assert_int_equal(cluster_gauge_now(&b->retries), 0);
    }
    const cluster_set *set = upstream_endpoints(m->worker.up->clusters[0]);
    for (uint32_t i = 0; i < set->count; i++) {
        assert_int_equal(set->all[i]->pending[LB_UNARY], 0);
        assert_int_equal(set->all[i]->pending[LB_STREAM], 0);
    }
}

void mesh_close(mesh *m) {
    mesh_client_leave(m);
    if (m->worker.up) check_idle(m);
    if (m->worker_up) worker_free(&m->worker);
    for (int class = 0; class < CONFIG_CLASSES; class ++)
        assert_int_equal(cluster_gauge_now(&mesh_shared(m)->classes[class].connections), 0);
    for (size_t i = 0; i < m->server_count; i++) {
        mesh_server *s = &m->servers[i];
        for (size_t k = 0; k < s->request_count; k++)
            if (s->requests[k].stream) h2_stream_release(s->requests[k].stream);
        host_close(&s->host);
    }
    host_close(&m->host);
    net_sim_free(m->sim);
    if (m->tls) {
        tls_context_unref(m->tls);
        tls_context_unref(m->shared.cluster_tls[0]);
        pki_free(&m->pki);
    }
    weft_free(m->shared.clusters);
    weft_free(m->shared.cluster_tls);
    weft_free(m->shared.listener_tls);
    config_unref(m->snapshot);
    config_publisher_free(m->shared.publisher);
}
