#include "tests/bench/bench.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void die(const char *format, ...) {
    va_list args;
    va_start(args, format);
    (void)fputs("bench: ", stderr);
    (void)vfprintf(stderr, format, args);
    (void)fputc('\n', stderr);
    va_end(args);
    exit(1);
}

void must(int failed, const char *what) {
    if (failed) die("%s failed", what);
}

/* ---- the engine on a loop */

static void on_turn(void *user, int64_t now) { h2_env_set_now(((bench *)user)->env, now); }

static uint8_t body_byte(size_t place) { return (uint8_t)(place * 167 + (place >> 8) * 13); }

void bench_init(bench *b, uint64_t seed) {
    memset(b, 0, sizeof *b);
    weft_rng_seed(&b->rng, seed);
    b->chunks = weft_chunk_pool_new(0, 0);
    b->fields = http_pool_new(0, weft_rng_u64(&b->rng));
    must(!b->chunks || !b->fields, "memory");
    b->env = h2_env_new(b->chunks, b->fields, weft_rng_u64(&b->rng));
    must(!b->env, "memory");
    const net_loop_config config = {.chunks = b->chunks, .on_turn = on_turn, .user = b};
    must(net_loop_new(&config, &b->loop), "a loop");
    h2_env_set_now(b->env, net_loop_now(b->loop));
    /* Nobody ticks these connections: no timeouts, no keepalive. */
    h2_limits_peer(&b->limits);
    b->limits.settings_timeout = 0;
    b->limits.header_timeout = 0;
    b->limits.ping_interval = 0;
    b->limits.ping_timeout = 0;
    b->limits.idle_timeout = 0;
    for (size_t i = 0; i < BODY_MAX / WEFT_CHUNK_SIZE; i++) {
        weft_chunk *chunk = b->body[i] = weft_chunk_new(b->chunks);
        must(!chunk, "memory");
        for (size_t k = 0; k < WEFT_CHUNK_SIZE; k++)
            chunk->data[k] = body_byte(i * WEFT_CHUNK_SIZE + k);
        chunk->used = WEFT_CHUNK_SIZE;
    }
}

static void conn_open(net_conn *net) {
    bench_conn *conn = net_conn_user(net);
    conn->h2 =
        h2_conn_new(conn->bench->env, conn->role, &conn->bench->limits, conn->callbacks, conn);
    must(!conn->h2, "memory");
    if (conn->opened) conn->opened(conn);
}

static int conn_input(net_conn *net, const uint8_t *data, size_t size, weft_chunk *chunk) {
    bench_conn *conn = net_conn_user(net);
    return h2_conn_input(conn->h2, data, size, chunk);
}

static int conn_eof(net_conn *net) {
    const bench_conn *conn = net_conn_user(net);
    const int error = h2_conn_eof(conn->h2);
    return error ? error : WEFT_ECLOSED;
}

static int conn_output(net_conn *net, weft_chain *out) {
    const bench_conn *conn = net_conn_user(net);
    const int64_t moved = h2_conn_output(conn->h2, out);
    if (moved < 0) return (int)moved;
    return h2_conn_finished(conn->h2) ? WEFT_ECLOSED : 0;
}

static void conn_close(net_conn *net, int error, const char *reason) {
    bench_conn *conn = net_conn_user(net);
    (void)error;
    conn->net = NULL;
    char why[NET_WHY_SIZE];
    const char *said = conn->h2 ? h2_conn_reason(conn->h2) : "";
    (void)snprintf(why, sizeof why, "%s", *said ? said : reason);
    if (conn->h2) h2_conn_free(conn->h2, 0);
    conn->h2 = NULL;
    conn->closed(conn, why);
}

const net_handler bench_handler = {.on_open = conn_open,
                                   .on_input = conn_input,
                                   .on_eof = conn_eof,
                                   .on_output = conn_output,
                                   .on_close = conn_close};

void bench_field(bench *b, http_fields *list, const char *name, const char *value) {
    must(http_fields_push(list,
                          http_field_intern(b->fields, name, strlen(name), value, strlen(value))),
         name);
}

void bench_field_line(bench *b, http_fields *list, const char *line) {
    const char *colon = *line ? strchr(line + 1, ':') : NULL;
    if (!colon) die("'%s' is not NAME:VALUE", line);
    const char *value = colon + 1 + strspn(colon + 1, " ");
    must(http_fields_push(list, http_field_intern(b->fields, line, (size_t)(colon - line), value,
                                                  strlen(value))),
         line);
}

weft_addr bench_addr(const char *text) {
    weft_addr addr;
    const char *why = NULL;
    if (weft_addr_parse(text, &addr, &why)) die("'%s': %s", text, why);
    return addr;
}

/* ---- bodies */

void body_read(const bench *b, body_reader *reader, const uint8_t *data, size_t len) {
    if (len > BODY_MAX - reader->have) {
        reader->wrong = true;
        return;
    }
    while (len && reader->have < BODY_HEAD) {
        reader->head[reader->have++] = *data++;
        len--;
    }
    while (len) {
        const uint32_t at = reader->have % WEFT_CHUNK_SIZE;
        const size_t room = WEFT_CHUNK_SIZE - at;
        const size_t piece = len < room ? len : room;
        if (memcmp(b->body[reader->have / WEFT_CHUNK_SIZE]->data + at, data, piece) != 0)
            reader->wrong = true;
        reader->have += (uint32_t)piece;
        data += piece;
        len -= piece;
    }
}

bool body_good(const body_reader *reader, uint64_t *number) {
    uint8_t prefix[HTTP_GRPC_PREFIX];
    if (reader->wrong || reader->have < BODY_HEAD) return false;
    http_grpc_prefix(prefix, false, reader->have - HTTP_GRPC_PREFIX);
    memcpy(number, reader->head + HTTP_GRPC_PREFIX, sizeof *number);
    return !memcmp(prefix, reader->head, sizeof prefix);
}

int64_t body_send(const bench *b, h2_stream *stream, uint32_t size, uint64_t number, bool end) {
    weft_slice slices[1 + BODY_MAX / WEFT_CHUNK_SIZE];
    uint8_t head[WEFT_SLICE_COPY];
    size_t count = 1;
    const uint32_t small = size < sizeof head ? size : (uint32_t)sizeof head;
    http_grpc_prefix(head, false, size - HTTP_GRPC_PREFIX);
    memcpy(head + HTTP_GRPC_PREFIX, &number, sizeof number);
    memcpy(head + BODY_HEAD, b->body[0]->data + BODY_HEAD, small - BODY_HEAD);
    slices[0] = (weft_slice){head, small, NULL};
    for (uint32_t at = small; at < size;) {
        weft_chunk *chunk = b->body[at / WEFT_CHUNK_SIZE];
        const uint32_t from = at % WEFT_CHUNK_SIZE;
        const uint32_t room = WEFT_CHUNK_SIZE - from;
        const uint32_t piece = size - at < room ? size - at : room;
        slices[count++] = (weft_slice){chunk->data + from, piece, chunk};
        at += piece;
    }
    return h2_send_data(stream, slices, count, end);
}

/* ---- histogram */

static uint32_t hist_bucket(uint64_t ns) {
    if (ns < HIST_SUB) return (uint32_t)ns;
    const unsigned shift = 56u - (unsigned)__builtin_clzll(ns); /* leaves 128 .. 255 */
    return (shift + 1) * HIST_SUB + (uint32_t)((ns >> shift) - HIST_SUB);
}

void hist_add(hist *h, int64_t ns) {
    const uint64_t value = ns > 0 ? (uint64_t)ns : 0;
    h->bucket[hist_bucket(value)]++;
    h->count++;
    h->sum += (double)value;
    if (value > h->max) h->max = value;
}

uint64_t hist_at(const hist *h, double share) {
    const double wanted = share * (double)h->count;
    uint64_t seen = 0;
    for (uint32_t i = 0; i < HIST_BUCKETS; i++) {
        seen += h->bucket[i];
        if (!h->bucket[i] || (double)seen < wanted) continue;
        if (i < HIST_SUB) return i;
        const unsigned shift = i / HIST_SUB - 1;
        const uint64_t top = (((uint64_t)i % HIST_SUB + HIST_SUB + 1) << shift) - 1;
        return top < h->max ? top : h->max;
    }
    return h->max;
}
