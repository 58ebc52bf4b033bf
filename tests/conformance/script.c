#include "tests/conformance/script.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/h2/hpack.h"
#include "tests/support/h2_rig.h"
#include "weft/buf.h"
#include "weft/clock.h"
#include "weft/encoding.h"

#define IDS 4096

typedef struct run {
    h2_rig rig;
    h2_conn *conn;
    weft_chain wire;
    weft_buf in;
    weft_buf log;
    size_t piece;
    bool quiet; /* the opening is not part of the outcome */
    bool gone;  /* the engine said the connection is over */
    h2_stream *streams[IDS];
    char problem[300];
} run;

static run *R;

static void note(const char *format, ...) WEFT_PRINTF(1, 2);
static void note(const char *format, ...) {
    va_list args;
    if (R->quiet) return;
    if (R->log.len) weft_buf_adds(&R->log, ", ");
    va_start(args, format);
    weft_buf_vprintf(&R->log, format, args);
    va_end(args);
}

/* ---- what callbacks say */

static void on_headers(h2_stream *s, h2_headers_kind kind, http_fields *fields, bool end) {
    static const char *const names[] = {"request", "inform", "response", "trailers"};
    (void)fields;
    R->streams[h2_stream_id(s) % IDS] = s;
    note("%s%s %u", names[kind], end && kind != H2_HEADERS_TRAILERS ? "-end" : "", h2_stream_id(s));
}

static void on_data(h2_stream *s, const weft_slice *data, bool end) {
    /* Pieces that follow each other are one event. */
    char before[64];
    const int n = snprintf(before, sizeof before, "data %u ", h2_stream_id(s));
    size_t total = data->len;
    const char *last = R->log.len ? strrchr(weft_buf_str(&R->log), ',') : NULL;
    last = last ? last + 2 : weft_buf_str(&R->log);
    if (!strncmp(last, before, (size_t)n)) {
        total += strtoul(last + n, NULL, 10);
        const size_t keep = (size_t)(last - weft_buf_str(&R->log));
        R->log.len = keep > 2 ? keep - 2 : 0;
        R->log.data[R->log.len] = '\0';
    }
    note("data%s %u %zu", end ? "-end" : "", h2_stream_id(s), total);
}

static void on_reset(h2_stream *s, const h2_reset_info *info) {
    note("%s %u %s%s", info->by_peer ? "reset" : "lost", h2_stream_id(s), h2_code_name(info->code),
         info->unprocessed ? " unprocessed" : "");
}

static void on_sent(h2_stream *s, size_t size) { note("sent %u %zu", h2_stream_id(s), size); }

static void on_goaway(h2_conn *c, const h2_goaway_info *info) {
    (void)c;
    note("goaway %u %s", info->last_stream, h2_code_name(info->code));
}

static const h2_callbacks callbacks = {.on_headers = on_headers,
                                       .on_data = on_data,
                                       .on_reset = on_reset,
                                       .on_sent = on_sent,
                                       .on_goaway = on_goaway};

/* ---- what is sent */

static uint32_t get32(const uint8_t *at) {
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void note_frame(uint8_t type, uint8_t flags, uint32_t id, const uint8_t *p, uint32_t len) {
    switch (type) {
    case 0:
        note("DATA%s %u %u", flags & 1 ? "-END" : "", id, len);
        break;
    case 1:
        note("HEADERS%s %u", flags & 1 ? "-END" : "", id);
        break;
    case 3:
        note("RST %u %s", id, h2_code_name(get32(p)));
        break;
    case 4:
        note(flags & 1 ? "SETTINGS ACK" : "SETTINGS");
        break;
    case 6:
        note(flags & 1 ? "PONG" : "PING");
        break;
    case 7:
        note("GOAWAY %u %s", get32(p), h2_code_name(get32(p + 4)));
        break;
    case 8:
        note("UPDATE %u %u", id, get32(p));
        break;
    default:
        note("FRAME %u", type);
    }
}

static void read_output(void) {
    (void)!h2_conn_output(R->conn, &R->wire);
    weft_buf all;
    weft_buf_init(&all, 0);
    for (const weft_link *at = R->wire.head; at; at = at->next) {
        weft_buf_add(&all, at->slice.data, at->slice.len);
    }
    weft_chain_clear(&R->wire);
    const uint8_t *p = (const uint8_t *)weft_buf_str(&all);
    size_t left = all.len;
    if (left >= 24 && !memcmp(p, "PRI ", 4)) {
        p += 24;
        left -= 24;
    }
    while (left >= 9) {
        const uint32_t len = get32(p) >> 8;
        if (left < 9 + len) break;
        note_frame(p[3], p[4], get32(p + 5), p + 9, len);
        p += 9 + len;
        left -= 9 + len;
    }
    if (left) note("half a frame");
    weft_buf_free(&all);
}

/* Gives the engine what the script has put together so far. */
static void deliver(void) {
    const size_t piece = R->piece ? R->piece : R->in.len;
    for (size_t at = 0; at < R->in.len && !R->gone;) {
        size_t n = R->in.len - at < piece ? R->in.len - at : piece;
        uint8_t *exact = malloc(n);
        memcpy(exact, R->in.data + at, n);
        if (h2_conn_input(R->conn, exact, n, NULL)) R->gone = true;
        free(exact);
        at += n;
    }
    weft_buf_clear(&R->in);
    read_output();
}

/* ---- steps */

static void put(const void *data, size_t len) { weft_buf_add(&R->in, data, len); }

static void put_frame(unsigned type, unsigned flags, uint32_t id, const void *data, size_t len) {
    const uint8_t head[9] = {(uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len,
                             (uint8_t)type,        (uint8_t)flags,      (uint8_t)(id >> 24),
                             (uint8_t)(id >> 16),  (uint8_t)(id >> 8),  (uint8_t)id};
    put(head, sizeof head);
    if (len) put(data, len);
}

static void put_zeros(unsigned type, unsigned flags, uint32_t id, size_t len) {
    void *zeros = calloc(1, len + 1);
    put_frame(type, flags, id, zeros, len);
    free(zeros);
}

static void put_words(unsigned type, uint32_t id, uint32_t a, uint32_t b, size_t count) {
    const uint8_t data[8] = {(uint8_t)(a >> 24), (uint8_t)(a >> 16), (uint8_t)(a >> 8), (uint8_t)a,
                             (uint8_t)(b >> 24), (uint8_t)(b >> 16), (uint8_t)(b >> 8), (uint8_t)b};
    put_frame(type, 0, id, data, 4 * count);
}

/* NAME=VALUE words as literals without indexing; '_' in a value stands for a blank, '^' for CR. */
static void put_headers(unsigned type, unsigned flags, uint32_t id, char *words) {
    weft_buf block;
    weft_buf_init(&block, 0);
    for (char *rest = words, *word; (word = strsep(&rest, " "));) {
        if (!*word) continue;
        char *value = strchr(word + 1, '=');
        if (!value) continue;
        *value++ = '\0';
        for (char *at = value; *at; at++) *at = *at == '_' ? ' ' : *at == '^' ? '\r' : *at;
        const size_t name_len = strlen(word), value_len = strlen(value);
        weft_buf_addc(&block, 0);
        weft_buf_addc(&block, (char)name_len);
        weft_buf_adds(&block, word);
        weft_buf_addc(&block, (char)(value_len < 127 ? value_len : 127));
        if (value_len >= 127) {
            weft_buf_addc(&block, (char)((value_len - 127) & 0x7f) | (char)0x80);
            weft_buf_addc(&block, (char)((value_len - 127) >> 7));
        }
        weft_buf_adds(&block, value);
    }
    put_frame(type, flags, id, block.data, block.len);
    weft_buf_free(&block);
}

#define REQUEST ":method=GET :scheme=http :path=/ :authority=a"

static void put_text_headers(unsigned flags, uint32_t id, const char *text) {
    char *copy = strdup(text);
    put_headers(1, flags, id, copy);
    free(copy);
}

static unsigned flags_of(const char *word) {
    if (*word >= '0' && *word <= '9') return (unsigned)strtoul(word, NULL, 10);
    return (strstr(word, "es") ? 1u : 0) | (strstr(word, "eh") ? 4u : 0);
}

static uint32_t number(char **rest) {
    char *word = strsep(rest, " ");
    if (!word || !*word) {
        snprintf(R->problem, sizeof R->problem, "a number is missing");
        return 0;
    }
    return (uint32_t)strtoul(word, NULL, 10);
}

static void put_hex(char *digits, int as_frame, unsigned type, unsigned flags, uint32_t id) {
    uint8_t data[4096];
    size_t len = 0;
    if (digits && weft_hex_decode(digits, strlen(digits), data, sizeof data, &len))
        snprintf(R->problem, sizeof R->problem, "bad hex %.100s", digits);
    if (as_frame) {
        put_frame(type, flags, id, data, len);
    } else {
        put(data, len);
    }
}

static void put_settings(char *words) {
    uint8_t data[60];
    size_t len = 0;
    for (char *word; (word = strsep(&words, " "));) {
        char *value = strchr(word, '=');
        if (!value) continue;
        const unsigned id = (unsigned)strtoul(word, NULL, 10);
        const uint32_t v = (uint32_t)strtoul(value + 1, NULL, 10);
        const uint8_t one[6] = {(uint8_t)(id >> 8), (uint8_t)id,       (uint8_t)(v >> 24),
                                (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
        memcpy(data + len, one, 6);
        len += 6;
    }
    put_frame(4, 0, 0, data, len);
}

/* What the peer sends; 1 when the word was one of these. */
static int peer_step(const char *word, char *rest) {
    if (!strcmp(word, "preface")) {
        put("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
    } else if (!strcmp(word, "hex")) {
        put_hex(rest, 0, 0, 0, 0);
    } else if (!strcmp(word, "frame")) {
        const unsigned type = number(&rest), flags = number(&rest), id = number(&rest);
        put_hex(rest, 1, type, flags, id);
    } else if (!strcmp(word, "long")) {
        const unsigned type = number(&rest), flags = number(&rest), id = number(&rest);
        put_zeros(type, flags, id, number(&rest));
    } else if (!strcmp(word, "head") || !strcmp(word, "cont")) {
        const unsigned flags = flags_of(strsep(&rest, " "));
        const uint32_t id = number(&rest);
        char none[] = "";
        put_headers(*word == 'h' ? 1 : 9, flags, id, rest ? rest : none);
    } else if (!strcmp(word, "get")) {
        put_text_headers(5, number(&rest), REQUEST);
    } else if (!strcmp(word, "post")) {
        put_text_headers(4, number(&rest), REQUEST);
    } else if (!strcmp(word, "ok")) {
        put_text_headers(4, number(&rest), ":status=200");
    } else if (!strcmp(word, "data")) {
        const unsigned flags = flags_of(strsep(&rest, " "));
        const uint32_t id = number(&rest);
        put_zeros(0, flags & 1, id, number(&rest));
    } else if (!strcmp(word, "settings")) {
        put_settings(rest);
    } else if (!strcmp(word, "ack")) {
        put_frame(4, 1, 0, NULL, 0);
    } else if (!strcmp(word, "ping")) {
        put_zeros(6, 0, 0, 8);
    } else if (!strcmp(word, "goaway")) {
        const uint32_t last = number(&rest);
        put_words(7, 0, last, number(&rest), 2);
    } else if (!strcmp(word, "rst") || !strcmp(word, "update")) {
        const uint32_t id = number(&rest);
        put_words(*word == 'r' ? 3 : 8, id, number(&rest), 0, 1);
    } else {
        return 0;
    }
    return 1;
}

static void send_zeros(h2_stream *s, size_t size, bool end) {
    static uint8_t zeros[1 << 20];
    const weft_slice slice = {zeros, size, NULL};
    const int64_t n = h2_send_data(s, &slice, 1, end);
    if (n < 0) note("%s", weft_error_name((int)n));
}

static void respond(h2_stream *s, bool end) {
    http_fields list;
    rig_fields(&R->rig, &list, ":status", "200", NULL);
    const int failed = h2_respond(s, &list, end);
    if (failed) note("%s", weft_error_name(failed));
    http_fields_clear(&list);
}

static void open_stream(bool end) {
    http_fields list;
    h2_stream *s = NULL;
    rig_fields(&R->rig, &list, ":method", "POST", ":scheme", "http", ":path", "/", ":authority",
               "a", NULL);
    const int failed = h2_request(R->conn, &list, end, NULL, &s);
    http_fields_clear(&list);
    if (failed) {
        note("%s", weft_error_name(failed));
    } else {
        R->streams[h2_stream_id(s) % IDS] = s;
    }
}

/* What the application does; it acts on what was delivered before. */
static int app_step(const char *word, char *rest) {
    if (!strcmp(word, "flush")) return 1;
    if (!strcmp(word, "request") || !strcmp(word, "request-end")) {
        open_stream(word[7] != '\0');
        return 1;
    }
    if (!strcmp(word, "drain")) {
        h2_conn_drain(R->conn);
        return 1;
    }
    if (!strcmp(word, "wait")) {
        rig_advance(&R->rig, number(&rest) * WEFT_NS_PER_MS);
        if (h2_conn_tick(R->conn)) R->gone = true;
        return 1;
    }
    const uint32_t id = number(&rest);
    h2_stream *s = R->streams[id % IDS];
    if (!s) {
        snprintf(R->problem, sizeof R->problem, "no stream %u for %s", id, word);
        return 1;
    }
    if (!strcmp(word, "answer") || !strcmp(word, "answer-end")) {
        respond(s, word[6] != '\0');
    } else if (!strcmp(word, "send") || !strcmp(word, "send-end")) {
        send_zeros(s, number(&rest), word[4] != '\0');
    } else if (!strcmp(word, "trailers")) {
        http_fields list;
        rig_fields(&R->rig, &list, "grpc-status", "0", NULL);
        (void)!h2_send_trailers(s, &list);
        http_fields_clear(&list);
    } else if (!strcmp(word, "reset")) {
        h2_reset(s, number(&rest));
    } else if (!strcmp(word, "consume")) {
        h2_consume(s, number(&rest));
    } else if (!strcmp(word, "release")) {
        h2_stream_release(s);
        R->streams[id % IDS] = NULL;
    } else {
        return 0;
    }
    return 1;
}

static void step(char *text) {
    while (*text == ' ') text++;
    if (!strncmp(text, "times ", 6)) {
        char *rest = text + 6;
        for (uint32_t n = number(&rest); n; n--) {
            char *copy = strdup(rest);
            step(copy);
            free(copy);
        }
        return;
    }
    char *rest = text;
    const char *word = strsep(&rest, " ");
    if (!*word) return;
    if (peer_step(word, rest)) return;
    deliver();
    if (!app_step(word, rest)) snprintf(R->problem, sizeof R->problem, "no step %s", word);
    read_output();
}

static void finish(void) {
    R->quiet = true;
    h2_conn_free(R->conn, 0);
    for (size_t i = 0; i < IDS; i++) {
        if (R->streams[i]) h2_stream_release(R->streams[i]);
    }
    weft_chain_clear(&R->wire);
    weft_buf_free(&R->in);
    rig_end(&R->rig);
}

const char *script_run(const script_case *it, size_t piece) {
    if (piece && it->flags & SCRIPT_WHOLE) return NULL;
    static run r;
    static char problem[8000];
    memset(&r, 0, sizeof r);
    R = &r;
    rig_begin(&r.rig, 1);
    r.piece = piece;
    weft_chain_init(&r.wire, r.rig.chunks);
    weft_buf_init(&r.in, 0);
    weft_buf_init(&r.log, 0);
    if (it->flags & SCRIPT_FEW_STREAMS) r.rig.limits.max_streams = 3;
    r.conn = h2_conn_new(r.rig.env, it->role, &r.rig.limits, &callbacks, NULL);
    r.quiet = true;
    if (!(it->flags & SCRIPT_RAW)) {
        char opening[] = "settings";
        if (it->role == H2_SERVER) peer_step("preface", NULL);
        step(opening);
        peer_step("ack", NULL);
        deliver();
    } else {
        read_output();
    }
    r.quiet = false;
    char *copy = strdup(it->steps);
    for (char *rest = copy, *one; (one = strsep(&rest, ";"));) {
        char *end = one + strlen(one);
        while (end > one && end[-1] == ' ') *--end = '\0';
        step(one);
    }
    deliver();
    free(copy);
    problem[0] = '\0';
    if (r.problem[0]) {
        snprintf(problem, sizeof problem, "%s", r.problem);
    } else if (strcmp(weft_buf_str(&r.log), it->outcome) != 0) {
        snprintf(problem, sizeof problem, "\n  expected: %s\n  got:      %s", it->outcome,
                 weft_buf_str(&r.log));
    }
    finish();
    weft_buf_free(&r.log);
    return problem[0] ? problem : NULL;
}
