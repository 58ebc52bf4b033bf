/* Writing HTTP/1.1 responses. RFC 9112 sections 4 to 7. */
#include <stdio.h>
#include <string.h>

#include "lib/http/http1_int.h"

enum { W_NEW, W_BODY, W_ENDED };

#define LINE_ROOM 128u

/* Appends pieces and remembers the first failure, so that callers check once and cut. */
typedef struct joined {
    weft_chain *out;
    int error;
} joined;

static void add(joined *j, const char *text, size_t len) {
    if (!j->error) j->error = weft_chain_add(j->out, text, len);
}
static void adds(joined *j, const char *text) { add(j, text, strlen(text)); }

static void add_field(joined *j, const http_field *f) {
    if (f->flags & HTTP_FIELD_BAD) j->error = WEFT_EINVAL;
    add(j, f->name, f->name_len);
    add(j, ": ", 2);
    add(j, f->value, f->value_len);
    add(j, "\r\n", 2);
}

static void add_fields(joined *j, const http_fields *list, bool trailers) {
    for (uint32_t i = 0; list && i < list->count; i++) {
        const http_field *f = list->at[i];
        if (f->kind & (HTTP_HOP | HTTP_REQUEST_PSEUDO | HTTP_RESPONSE_PSEUDO)) continue;
        if (f->id == HTTP_NAME_CONTENT_LENGTH || f->name[0] == ':') continue;
        if (trailers && (f->id == HTTP_NAME_HOST || f->id == HTTP_NAME_TRAILER)) continue;
        add_field(j, f);
    }
}

int http1_write_head(http1_writer *w, const http1_reply *r, weft_chain *out) {
    if (r->status < 200 || r->status > 599 || r->length < -1) return WEFT_EINVAL;
    const size_t before = out->bytes;
    const bool never = r->status == 204 || r->status == 304;
    const bool chunked = r->length < 0 && r->minor > 0 && !never;
    http1_writer next = {
        .close = !r->keep_alive || (r->length < 0 && !chunked && !never && !r->head),
        .bodyless = never || r->head,
        .chunked = chunked && !r->head,
        .state = W_BODY,
        .left = r->length,
    };
    char text[LINE_ROOM];
    joined j = {out, 0};
    (void)snprintf(text, sizeof text, "HTTP/1.1 %d %s\r\n", r->status, http1_reason(r->status));
    adds(&j, text);
    add_fields(&j, r->fields, false);
    /* Section 6.1 and 6.2: neither with 204; a 304 could have the length, which nobody needs. */
    if (!never && r->length >= 0) {
        (void)snprintf(text, sizeof text, "content-length: %lld\r\n", (long long)r->length);
        adds(&j, text);
    } else if (chunked) {
        adds(&j, "transfer-encoding: chunked\r\n");
    }
    if (next.close)
        adds(&j, "connection: close\r\n");
    else if (r->minor == 0)
        adds(&j, "connection: keep-alive\r\n");
    add(&j, "\r\n", 2);
    if (j.error) {
        weft_chain_cut(out, before);
        return j.error;
    }
    *w = next;
    return 0;
}

int http1_write_body(http1_writer *w, const weft_slice *slice, weft_chain *out) {
    if (w->state != W_BODY) return WEFT_EINVAL;
    if (!slice->len) return 0; /* an empty chunk would be the last */
    if (w->left >= 0 && slice->len > (uint64_t)w->left) return WEFT_EINVAL;
    if (!w->bodyless) {
        const size_t before = out->bytes;
        char size[24];
        int error = 0;
        if (w->chunked) {
            (void)snprintf(size, sizeof size, "%zx\r\n", slice->len);
            error = weft_chain_add(out, size, strlen(size));
        }
        if (!error) error = weft_chain_add_slice(out, slice);
        if (!error && w->chunked) error = weft_chain_add(out, "\r\n", 2);
        if (error) {
            weft_chain_cut(out, before);
            return error;
        }
    }
    if (w->left >= 0) w->left -= (int64_t)slice->len;
    return 0;
}

int http1_write_end(http1_writer *w, const http_fields *trailers, weft_chain *out) {
    if (w->state != W_BODY || (w->left > 0 && !w->bodyless)) return WEFT_EINVAL;
    if (w->chunked) {
        const size_t before = out->bytes;
        joined j = {out, 0};
        adds(&j, "0\r\n");
        add_fields(&j, trailers, true);
        add(&j, "\r\n", 2);
        if (j.error) {
            weft_chain_cut(out, before);
            return j.error;
        }
    }
    w->state = W_ENDED;
    return 0;
}

int http1_write_continue(weft_chain *out) {
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
    return weft_chain_add(out, text, sizeof text - 1);
}
