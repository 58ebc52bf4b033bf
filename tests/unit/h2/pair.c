#include "tests/unit/h2/pair.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weft/clock.h"

pair *P;

h2_stream *pair_hold(h2_stream *s) {
    assert_true(P->count < HANDLES);
    P->held[P->count++] = s;
    return s;
}

void pair_drop(h2_stream *s) {
    for (size_t i = 0; i < P->count; i++) {
        if (P->held[i] != s) continue;
        P->held[i] = P->held[--P->count];
        h2_stream_release(s);
        return;
    }
    fail_msg("released twice");
}

static void on_headers(h2_stream *s, h2_headers_kind kind, http_fields *fields, bool end) {
    if (kind == H2_HEADERS_REQUEST) {
        P->request = pair_hold(s);
        P->requests++;
        if (P->on_request) P->on_request(s, fields);
    } else if (kind == H2_HEADERS_RESPONSE) {
        P->responses++;
        P->reading = s;
    } else if (kind == H2_HEADERS_TRAILERS) {
        P->trailers++;
    }
    if (end) P->ends++;
}

static void on_data(h2_stream *s, const weft_slice *data, bool end) {
    P->received += data->len;
    if (end) P->ends++;
    if (P->on_bytes) P->on_bytes(s, data, end);
}

static void on_reset(h2_stream *s, const h2_reset_info *info) {
    P->resets++;
    P->last_reset = s;
    P->reset = *info;
}

static void on_sent(h2_stream *s, size_t size) {
    (void)s;
    P->sent += size;
}
static void on_capacity(h2_conn *c) {
    (void)c;
    P->capacity++;
}
static void on_settings(h2_conn *c) {
    (void)c;
    P->settings++;
}
static void on_goaway(h2_conn *c, const h2_goaway_info *info) {
    (void)c;
    (void)info;
    P->goaways++;
}
static void on_pong(h2_conn *c, int64_t rtt) {
    (void)c;
    P->pongs++;
    P->rtt = rtt;
}
static void on_want_write(h2_conn *c) {
    h2_end *end = h2_conn_user(c);
    assert_false(end->wanted); /* at most once until output is taken */
    end->wanted = 1;
    P->wants++;
}

const h2_callbacks pair_callbacks = {.on_headers = on_headers,
                                     .on_data = on_data,
                                     .on_reset = on_reset,
                                     .on_sent = on_sent,
                                     .on_capacity = on_capacity,
                                     .on_settings = on_settings,
                                     .on_goaway = on_goaway,
                                     .on_pong = on_pong,
                                     .on_want_write = on_want_write};

void pair_begin(pair *p) {
    memset(p, 0, sizeof *p);
    P = p;
    rig_begin(&p->rig, 5);
}

/* After limits were changed. */
void pair_join(pair *p) {
    weft_chain_init(&p->client.wire, p->rig.chunks);
    weft_chain_init(&p->server.wire, p->rig.chunks);
    p->client.conn =
        h2_conn_new(p->rig.env, H2_CLIENT, &p->rig.limits, &pair_callbacks, &p->client);
    p->server.conn =
        h2_conn_new(p->rig.env, H2_SERVER, &p->rig.limits, &pair_callbacks, &p->server);
    assert_int_equal(rig_settle(&p->client, &p->server), 0);
    assert_int_equal(p->settings, 2);
}

void pair_end(pair *p) {
    weft_chain_clear(&p->client.wire);
    weft_chain_clear(&p->server.wire);
    h2_conn_free(p->client.conn, 0);
    h2_conn_free(p->server.conn, 0);
    while (p->count) h2_stream_release(p->held[--p->count]);
    rig_end(&p->rig);
}

h2_stream *pair_ask(pair *p, bool ended) {
    http_fields list;
    h2_stream *s = NULL;
    rig_fields(&p->rig, &list, ":method", "POST", ":scheme", "http", ":path", "/a.B/C",
               ":authority", "a", NULL);
    const int failed = h2_request(p->client.conn, &list, ended, NULL, &s);
    http_fields_clear(&list);
    return failed ? NULL : pair_hold(s);
}

void pair_answer(pair *p, h2_stream *s) {
    http_fields list;
    rig_fields(&p->rig, &list, ":status", "200", NULL);
    assert_int_equal(h2_respond(s, &list, false), 0);
    http_fields_clear(&list);
}

int64_t pair_send_zeros(h2_stream *s, size_t size, bool ended) {
    static const uint8_t zeros[1 << 20];
    const weft_slice slice = {zeros, size, NULL};
    return h2_send_data(s, &slice, 1, ended);
}

int64_t pair_output(h2_end *from) {
    from->wanted = 0;
    return h2_conn_output(from->conn, &from->wire);
}

void pair_settle(pair *p) { assert_int_equal(rig_settle(&p->client, &p->server), 0); }
