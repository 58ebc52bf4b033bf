/* The admin server: connections, requests, and which page answers. What pages say is in pages.c, how
 * workers are asked in sum.c. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "sidecar/admin/internal.h"
#include "sidecar/export/export.h"
#include "weft/mem.h"

#define OUT_HIGH 65536u /* bytes given to a connection at a time */
#define PIECE 16384u
#define REST_MAX 65536u /* bytes of pipelined requests that wait */

typedef struct page page;

/* One connection. A request is read, then answered, then the next is read: `busy` from the end of a
 * request to the end of its response; `waiting` while workers are asked. */
typedef struct client {
    weft_list link; /* in admin.clients */
    weft_list wait; /* in admin.waiting or admin.touring */
    admin *a;
    net_conn *conn;
    http1_parser parser;
    http1_writer writer;
    weft_timer timer;
    weft_buf rest; /* input behind the request that is being answered */
    weft_buf body; /* of the response */
    weft_buf head; /* "100 Continue", rarely */
    size_t sent;   /* of body */
    const page *page;
    http_fields fields; /* of the response */
    int status;
    bool busy, started, json, last, quit;
} client;

/* Invariants: sum != NULL exactly while a tour is under way; `touring` are those it is for, `waiting`
 * those for the next. */
struct admin {
    admin_config config;
    admin_worker *workers;
    char version[64];
    weft_addr addr;
    net_listener *listener;
    http_pool *pool;
    weft_list clients, waiting, touring;
    weft_timer deadline; /* of the tour */
    admin_sum *sum;
    bool unlink;
    http1_counters http;
    admin_stats stats;
};

struct page {
    const char *path;
    bool post;
    unsigned wants;                                        /* ADMIN_…: workers are asked first */
    int (*show)(client *c, admin_sum *sum, weft_buf *out); /* returns the status */
    const char *type;
    const char *help;
};

static void respond(client *c, int status, const char *type);
static void respond_text(client *c, int status, const char *text);

/* ---- pages */

static int show_live(client *c, admin_sum *sum, weft_buf *out) {
    (void)c, (void)sum;
    weft_buf_adds(out, "live\n");
    return 200;
}

static bool is_ready(const admin *a, weft_buf *reasons) {
    const admin_providers *p = &a->config.providers;
    return !p->ready || p->ready(p->user, reasons);
}

static int show_ready(client *c, admin_sum *sum, weft_buf *out) {
    (void)sum;
    if (is_ready(c->a, out)) {
        weft_buf_clear(out);
        weft_buf_adds(out, "ready\n");
        return 200;
    }
    if (!out->len) weft_buf_adds(out, "not ready\n");
    return 503;
}

static int show_metrics(client *c, admin_sum *sum, weft_buf *out) {
    const admin *a = c->a;
    const admin_providers *p = &a->config.providers;
    weft_buf reasons;
    if (export_prometheus(sum->total, out)) return 500; /* in out->error */
    weft_buf_init(&reasons, 65536);
    page_cluster_metrics(sum, out);
    const char *version[] = {"version", a->version, NULL};
    (void)export_family(out, "weft_build_info", "gauge", "What runs; always 1.");
    (void)export_sample(out, "weft_build_info", version, 1);
    (void)export_family(out, "weft_ready", "gauge", "1 while the sidecar takes traffic.");
    (void)export_sample(out, "weft_ready", NULL, is_ready(a, &reasons));
#define X(name, text)                                                                      \
    (void)export_family(out, "weft_admin_" #name "_total", "counter", "Admin: " text "."); \
    (void)export_sample(out, "weft_admin_" #name "_total", NULL, (double)a->stats.name);
    ADMIN_STATS(X)
#undef X
    if (p->metrics) p->metrics(p->user, out);
    weft_buf_free(&reasons);
    return 200;
}

static int show_config(client *c, admin_sum *sum, weft_buf *out) {
    (void)sum;
    config_publisher *publisher = c->a->config.publisher;
    config_snapshot *snapshot = publisher ? config_current(publisher) : NULL;
    if (!snapshot) {
        weft_buf_adds(out, "null\n");
        return 503;
    }
    page_config(snapshot, out);
    config_unref(snapshot);
    return 200;
}

static int show_clusters(client *c, admin_sum *sum, weft_buf *out) {
    if (c->json)
        page_clusters_json(sum, out);
    else
        page_clusters(sum, out);
    return 200;
}

static int show_certs(client *c, admin_sum *sum, weft_buf *out) {
    (void)sum;
    const admin_providers *p = &c->a->config.providers;
    admin_certs certs = {out, 0};
    weft_buf_adds(out, "{\"certificates\":[");
    if (p->certs) p->certs(p->user, &certs);
    weft_buf_adds(out, "]}\n");
    return 200;
}

static int show_version(client *c, admin_sum *sum, weft_buf *out) {
    (void)sum;
    weft_buf_printf(out, "weft-sidecar %s\n", c->a->version);
    return 200;
}

static int do_drain(client *c, admin_sum *sum, weft_buf *out) {
    (void)sum;
    const admin_providers *p = &c->a->config.providers;
    if (!p->drain) return 501;
    p->drain(p->user);
    weft_buf_adds(out, "draining\n");
    return 200;
}

static int do_quit(client *c, admin_sum *sum, weft_buf *out) {
    (void)sum;
    if (!c->a->config.providers.quit) return 501;
    c->quit = c->last = true;
    weft_buf_adds(out, "quitting\n");
    return 200;
}

static int show_list(client *c, admin_sum *sum, weft_buf *out);

#define TEXT "text/plain; charset=utf-8"
#define JSON "application/json"

static const page pages[] = {
    {"/", false, 0, show_list, TEXT, "this list"},
    {"/live", false, 0, show_live, TEXT, "200 as long as the process serves"},
    {"/ready", false, 0, show_ready, TEXT, "200, or 503 with a reason a line"},
    {"/metrics", false, ADMIN_METRICS | ADMIN_CLUSTERS, show_metrics, EXPORT_PROMETHEUS_TYPE,
     "metrics for Prometheus"},
    {"/config_dump", false, 0, show_config, JSON, "the configuration in use"},
    {"/clusters", false, ADMIN_CLUSTERS, show_clusters, TEXT,
     "endpoints, their health and load; ?format=json"},
    {"/certs", false, 0, show_certs, JSON, "who we are and whom we trust"},
    {"/version", false, 0, show_version, TEXT, "what runs"},
    {"/drain", true, 0, do_drain, TEXT, "take no new connections, finish what runs"},
    {"/quit", true, 0, do_quit, TEXT, "end in order"},
};
#define PAGES (sizeof pages / sizeof *pages)

static int show_list(client *c, admin_sum *sum, weft_buf *out) {
    (void)c, (void)sum;
    for (size_t i = 0; i < PAGES; i++)
        weft_buf_printf(out, "%-4s %-13s %s\n", pages[i].post ? "POST" : "GET", pages[i].path,
                        pages[i].help);
    return 200;
}

static void show(client *c, admin_sum *sum) {
    const int status = c->page->show(c, sum, &c->body);
    if (status == 501) {
        respond_text(c, 501, "This process offers no such thing.\n");
        return;
    }
    const char *type = c->page->type;
    if (c->page->show == show_clusters && c->json) type = JSON;
    respond(c, status, type);
}

/* ---- tours of the workers */

static void begin_tour(admin *a);

static void answer_touring(admin *a, admin_sum *sum, const char *failure) {
    for (weft_list *node; (node = weft_list_pop_front(&a->touring));) {
        client *c = WEFT_CONTAINER(node, client, wait);
        if (sum)
            show(c, sum);
        else
            respond_text(c, 503, failure);
    }
}

static void arrived(void *owner, admin_sum *sum) {
    admin *a = owner;
    a->sum = NULL;
    weft_timer_cancel(&a->deadline);
    a->stats.collect_missing += sum->missing;
    answer_touring(a, sum, NULL);
    sum_free(sum);
    begin_tour(a);
}

static void on_deadline(weft_timer *timer, int64_t now) {
    admin *a = timer->user;
    (void)now;
    a->stats.collect_timeouts++;
    /* Those that came later would wait as long. */
    weft_list_splice(&a->touring, &a->waiting);
    if (atomic_load(&a->sum->state) == SUM_LOST) {
        sum_free(a->sum);
        a->sum = NULL;
    } else {
        weft_timer_arm(net_loop_timers(a->config.loop), &a->deadline,
                       net_loop_now(a->config.loop) + ADMIN_COLLECT_TIMEOUT);
    }
    answer_touring(a, NULL, "A worker did not answer within a second.\n");
}

static void begin_tour(admin *a) {
    if (a->sum || weft_list_empty(&a->waiting)) return;
    weft_list_splice(&a->touring, &a->waiting);
    unsigned wants = 0;
    for (weft_list *node = a->touring.next; node != &a->touring; node = node->next)
        wants |= WEFT_CONTAINER(node, client, wait)->page->wants;
    if (sum_send(a->config.loop, a->workers, a->config.worker_count, wants, arrived, a, &a->sum)) {
        answer_touring(a, NULL, "Out of memory.\n");
        return;
    }
    weft_timer_arm(net_loop_timers(a->config.loop), &a->deadline,
                   net_loop_now(a->config.loop) + ADMIN_COLLECT_TIMEOUT);
}

/* ---- responses */

static void arm(client *c, int64_t wait) {
    net_loop *loop = c->a->config.loop;
    weft_timer_arm(net_loop_timers(loop), &c->timer, net_loop_now(loop) + wait);
}

static int fill_fields(client *c, const char *type) {
    char date[HTTP1_DATE];
    http_fields *f = &c->fields;
    http_fields_clear(f);
    http1_date(weft_wall(net_loop_clock(c->a->config.loop)), date);
    int rc = http_fields_add_text(f, "date", date);
    if (!rc) rc = http_fields_add_text(f, "content-type", type);
    if (!rc) rc = http_fields_add_text(f, "cache-control", "no-store");
    if (!rc) rc = http_fields_add_text(f, "x-content-type-options", "nosniff");
    if (!rc && c->status == 405)
        rc = http_fields_add_text(f, "allow", c->page->post ? "POST" : "GET, HEAD");
    return rc;
}

static void respond(client *c, int status, const char *type) {
    if (c->body.error) {
        c->a->stats.too_large++;
        respond_text(c, 500, "The answer would be too large, or memory is out.\n");
        return;
    }
    c->status = status;
    c->a->stats.requests++;
    if (status >= 400) c->a->stats.errors++;
    if (fill_fields(c, type)) {
        net_conn_abort(c->conn, WEFT_ENOMEM, NULL);
        return;
    }
    c->started = true;
    c->sent = 0;
    arm(c, ADMIN_WRITE_TIMEOUT);
    net_conn_want_write(c->conn);
}

static void respond_text(client *c, int status, const char *text) {
    weft_buf_clear(&c->body);
    weft_buf_adds(&c->body, text);
    if (c->body.error) {
        net_conn_abort(c->conn, WEFT_ENOMEM, NULL);
        return;
    }
    respond(c, status, TEXT);
}

static int read_on(client *c);

static int write_head(client *c, weft_chain *out) {
    const http1_request *r = &c->parser.request;
    const http1_reply reply = {.status = c->status,
                               .minor = r->minor,
                               .head = r->head,
                               .keep_alive = r->keep_alive && !c->last,
                               .length = (int64_t)c->body.len,
                               .fields = &c->fields};
    c->status = 0;
    return http1_write_head(&c->writer, &reply, out);
}

/* The response is out: close, or read the next request. */
static int finish(client *c, weft_chain *out) {
    const int rc = http1_write_end(&c->writer, NULL, out);
    if (rc) return rc;
    weft_timer_cancel(&c->timer);
    c->busy = c->started = false;
    weft_buf_free(&c->body);
    weft_buf_init(&c->body, ADMIN_RESPONSE_MAX);
    http_fields_clear(&c->fields);
    if (c->writer.close) {
        net_conn_close(c->conn, 0, NULL);
        return 0;
    }
    net_conn_pause(c->conn, false);
    return read_on(c);
}

static int on_output(net_conn *conn, weft_chain *out) {
    client *c = net_conn_user(conn);
    int rc = 0;
    if (c->head.len) {
        rc = weft_chain_add(out, c->head.data, c->head.len);
        weft_buf_clear(&c->head);
    }
    while (!rc && c->started && out->bytes < OUT_HIGH) {
        if (c->status) {
            rc = write_head(c, out);
            continue;
        }
        size_t n = c->body.len - c->sent;
        if (n > PIECE) n = PIECE;
        if (!n) {
            rc = finish(c, out);
            continue;
        }
        const weft_slice slice = {(const uint8_t *)c->body.data + c->sent, n, NULL};
        rc = http1_write_body(&c->writer, &slice, out);
        c->sent += n;
    }
    return rc;
}

/* ---- requests */

/* On TCP: a name in Host may have been made to point at us (DNS rebinding), and browsers send Origin. */
static bool is_foreign(const client *c) {
    const http_fields *f = &c->parser.request.fields;
    if (http_fields_find(f, HTTP_NAME_ORIGIN)) return true;
    const weft_addr_kind kind = c->a->addr.kind;
    if (c->a->config.unsafe_address || (kind != WEFT_ADDR_IPV4 && kind != WEFT_ADDR_IPV6))
        return false;
    const http_field *authority = http_fields_find(f, HTTP_NAME_AUTHORITY);
    if (!authority) return false; /* HTTP/1.0: no browser */
    char text[WEFT_ADDR_TEXT];
    const bool has_port = authority->value_len && strrchr(authority->value, ':') &&
                          strrchr(authority->value, ':') > strrchr(authority->value, ']');
    if (authority->value_len > WEFT_ADDR_HOST) return true;
    (void)snprintf(text, sizeof text, "%s%s", authority->value, has_port ? "" : ":80");
    weft_addr addr;
    if (weft_addr_parse(text, &addr, NULL)) return true;
    return addr.kind == WEFT_ADDR_NAME && strcmp(addr.host, "localhost") != 0;
}

static const page *find_page(const char *path, size_t len) {
    for (size_t i = 0; i < PAGES; i++)
        if (strlen(pages[i].path) == len && !memcmp(pages[i].path, path, len)) return &pages[i];
    return NULL;
}

static void answer(client *c) {
    const http_fields *f = &c->parser.request.fields;
    const http_field *method = http_fields_find(f, HTTP_NAME_METHOD);
    const http_field *path = http_fields_find(f, HTTP_NAME_PATH);
    const char *text = path ? path->value : "";
    const char *query = strchr(text, '?');
    c->busy = true;
    c->json = query && (strstr(query, "?format=json") || strstr(query, "&format=json"));
    c->page = find_page(text, query ? (size_t)(query - text) : strlen(text));
    net_conn_pause(c->conn, true);
    weft_timer_cancel(&c->timer);
    if (is_foreign(c)) {
        c->a->stats.foreign++;
        respond_text(c, 403,
                     "The admin answers no web pages: the request has an Origin, or a Host "
                     "that is neither an address nor localhost.\n");
        return;
    }
    if (!c->page) {
        respond_text(c, 404, "There is no such page; GET / lists those there are.\n");
        return;
    }
    const char *m = method ? method->value : "";
    if (c->page->post ? strcmp(m, "POST") != 0 : strcmp(m, "GET") != 0 && strcmp(m, "HEAD") != 0) {
        respond_text(c, 405,
                     c->page->post ? "This changes something: use POST.\n"
                                   : "This only shows something: use GET.\n");
        return;
    }
    if (!c->page->wants) {
        show(c, NULL);
        return;
    }
    weft_list_push_back(&c->a->waiting, &c->wait);
    begin_tour(c->a);
}

static void refuse(client *c) {
    char text[160];
    c->a->stats.malformed++;
    c->busy = c->last = true;
    net_conn_pause(c->conn, true);
    (void)snprintf(text, sizeof text, "Refused: %s.\n", c->parser.reason);
    c->parser.request.head = false;
    respond_text(c, c->parser.status, text);
}

/* Reads until a request is complete; what is behind it waits in `rest`. */
static int take(client *c, const uint8_t *data, size_t len) {
    const uint8_t *piece = NULL;
    size_t piece_len = 0;
    const bool was_idle = http1_parser_idle(&c->parser);
    const bool was_in_body = http1_parser_in_body(&c->parser);
    int rc = 0;
    while ((rc = http1_read(&c->parser, &data, &len, &piece, &piece_len)) > 0) {
        if (rc == HTTP1_HEAD && c->parser.request.expects && !len) {
            weft_buf_adds(&c->head, "HTTP/1.1 100 Continue\r\n\r\n");
            net_conn_want_write(c->conn);
        }
        if (rc != HTTP1_END) continue;
        if (len > REST_MAX || weft_buf_add(&c->rest, data, len)) return WEFT_ELIMIT;
        answer(c);
        return 0;
    }
    if (rc < 0) {
        refuse(c);
        return 0;
    }
    /* A deadline from the first byte on: sending one now and then does not move it. */
    if (http1_parser_in_body(&c->parser)) {
        if (!was_in_body) arm(c, ADMIN_BODY_TIMEOUT);
    } else if (was_idle) {
        const bool idle = http1_parser_idle(&c->parser);
        arm(c, idle ? ADMIN_IDLE_TIMEOUT : ADMIN_HEADER_TIMEOUT);
    }
    return 0;
}

/* After a response: what was pipelined comes first. */
static int read_on(client *c) {
    weft_buf rest = c->rest;
    weft_buf_init(&c->rest, REST_MAX);
    const int rc = take(c, (const uint8_t *)rest.data, rest.len);
    weft_buf_free(&rest);
    return rc;
}

static int on_input(net_conn *conn, const uint8_t *data, size_t size, weft_chunk *chunk) {
    client *c = net_conn_user(conn);
    (void)chunk;
    if (!c->busy) return take(c, data, size);
    /* Read in the same turn that paused it. */
    return c->last ? 0 : weft_buf_add(&c->rest, data, size);
}

static int on_eof(net_conn *conn) {
    const client *c = net_conn_user(conn);
    return c->busy ? 0 : WEFT_ECLOSED; /* a half-closed client still wants its answer */
}

static void on_timer(weft_timer *timer, int64_t now) {
    client *c = timer->user;
    (void)now;
    c->a->stats.timeouts++;
    net_conn_abort(c->conn, WEFT_ETIMEOUT, "the admin's client took too long");
}

static void drop_client(client *c) {
    weft_timer_cancel(&c->timer);
    weft_list_remove(&c->link);
    weft_list_remove(&c->wait);
    http1_parser_clear(&c->parser);
    http_fields_clear(&c->fields);
    weft_buf_free(&c->rest);
    weft_buf_free(&c->body);
    weft_buf_free(&c->head);
    c->a->stats.conns--;
    weft_free(c);
}

static void on_close(net_conn *conn, int error, const char *reason) {
    client *c = net_conn_user(conn);
    const admin *a = c->a;
    const bool quit = c->quit;
    (void)error, (void)reason;
    drop_client(c);
    if (quit) a->config.providers.quit(a->config.providers.user);
}

static void on_open(net_conn *conn) { arm(net_conn_user(conn), ADMIN_HEADER_TIMEOUT); }

static const net_handler handler = {on_open, on_input, on_eof, on_output, on_close};

/* Of connections that outlive their admin until the end of the turn. */
static int orphan_input(net_conn *conn, const uint8_t *data, size_t size, weft_chunk *chunk) {
    (void)conn, (void)data, (void)size, (void)chunk;
    return WEFT_ECLOSED;
}
static void orphan_close(net_conn *conn, int error, const char *reason) {
    (void)conn, (void)error, (void)reason;
}
static const net_handler orphan = {NULL, orphan_input, NULL, NULL, orphan_close};

static int on_accept(net_listener *listener, net_conn *conn) {
    admin *a = net_listener_user(listener);
    client *c = weft_calloc(1, sizeof *c);
    const http1_limits limits = {.body = ADMIN_REQUEST_MAX};
    if (!c) return WEFT_ENOMEM;
    c->a = a;
    c->conn = conn;
    http1_parser_init(&c->parser, a->pool, "http", &limits, &a->http);
    http_fields_init(&c->fields, a->pool);
    weft_timer_init(&c->timer, on_timer, c);
    weft_buf_init(&c->rest, REST_MAX);
    weft_buf_init(&c->body, ADMIN_RESPONSE_MAX);
    weft_buf_init(&c->head, 64);
    weft_list_init(&c->wait);
    weft_list_push_back(&a->clients, &c->link);
    net_conn_set_handler(conn, &handler, c);
    a->stats.conns++;
    return 0;
}

/* ---- the server */

static void say_why(net_why *why, const char *format, const char *text) {
    if (why) (void)snprintf(why->text, sizeof why->text, format, text);
}

int admin_check_address(const weft_addr *addr, bool unsafe, net_why *why) {
    char text[WEFT_ADDR_TEXT];
    if (unsafe || weft_addr_is_local(addr)) return 0;
    say_why(why,
            "admin address %s can be reached from other machines, and whoever reaches it may stop "
            "the sidecar: use 127.0.0.1, [::1] or unix:/path",
            weft_addr_format(addr, text));
    return WEFT_EINVAL;
}

static int start_listening(admin *a, net_why *why) {
    net_why own = {""};
    if (!why) why = &own;
    int fd = a->config.fd;
    int rc = 0;
    const bool simulated = a->config.simulated;
    if (fd < 0 && !simulated) {
        rc = net_socket_listen(a->config.addr, NULL, &fd, why);
        if (rc) return rc;
        a->unlink = true;
    }
    const net_listen listen = {.addr = simulated ? a->config.addr : NULL,
                               .fd = fd,
                               .same_uid = a->config.addr->kind == WEFT_ADDR_UNIX ||
                                           a->config.addr->kind == WEFT_ADDR_ABSTRACT,
                               .conns_max = a->config.conns_max,
                               .on_accept = on_accept,
                               .user = a};
    rc = net_listener_new(a->config.loop, &listen, &a->listener, why);
    if (!rc) a->addr = net_listener_addr(a->listener);
    if (rc && a->unlink) (void)close(fd);
    return rc;
}

int admin_new(const admin_config *config, admin **out, net_why *why) {
    int rc = admin_check_address(config->addr, config->unsafe_address, why);
    if (rc) return rc;
    if (config->worker_count > ADMIN_WORKERS_MAX) return WEFT_EINVAL;
    admin *a = weft_calloc(1, sizeof *a);
    if (!a) return WEFT_ENOMEM;
    a->config = *config;
    if (!a->config.conns_max) a->config.conns_max = ADMIN_CONNS_DEFAULT;
    weft_list_init(&a->clients);
    weft_list_init(&a->waiting);
    weft_list_init(&a->touring);
    weft_timer_init(&a->deadline, on_deadline, a);
    (void)snprintf(a->version, sizeof a->version, "%s",
                   config->version ? config->version : WEFT_VERSION);
    const size_t count = config->worker_count;
    a->workers = weft_calloc(count ? count : 1, sizeof *a->workers);
    a->pool = http_pool_new(0, config->seed);
    rc = a->workers && a->pool ? 0 : WEFT_ENOMEM;
    if (!rc && count) memcpy(a->workers, config->workers, count * sizeof *a->workers);
    if (!rc) rc = start_listening(a, why);
    a->config.addr = NULL; /* the caller's */
    if (rc) {
        admin_free(a);
        return rc;
    }
    *out = a;
    return 0;
}

void admin_free(admin *a) {
    if (!a) return;
    weft_timer_cancel(&a->deadline);
    if (a->sum) sum_abandon(a->sum);
    if (a->listener) net_listener_close(a->listener);
    if (a->unlink && a->addr.kind == WEFT_ADDR_UNIX) (void)unlink(a->addr.host);
    while (!weft_list_empty(&a->clients)) {
        client *c = WEFT_CONTAINER(weft_list_front(&a->clients), client, link);
        net_conn_abort(c->conn, WEFT_ECLOSED, "the admin ends");
        net_conn_set_handler(c->conn, &orphan, NULL);
        drop_client(c);
    }
    if (a->pool) http_pool_free(a->pool);
    weft_free(a->workers);
    weft_free(a);
}

weft_addr admin_addr(const admin *a) { return a->addr; }
const admin_stats *admin_get_stats(const admin *a) { return &a->stats; }
