/* Metadata of the native transport: header fields to and from copies that any thread may read. */
#include <string.h>

#include "native.h"
#include "weft/encoding.h"

static nat_headers *headers_new(size_t count, size_t bytes, char **room, bool *failed) {
    nat_headers *made = weft_malloc(sizeof *made + count * sizeof made->at[0] + bytes);
    if (!made) {
        *failed = true;
        return NULL;
    }
    made->count = 0;
    *room = (char *)(made->at + count);
    return made;
}

nat_headers *nat_headers_copy(const tp_header *list, size_t count, bool *failed) {
    size_t bytes = 0;
    char *room = NULL;
    if (!count) return NULL;
    for (size_t i = 0; i < count; i++) bytes += list[i].key_len + list[i].value_len;
    nat_headers *made = headers_new(count, bytes, &room, failed);
    if (!made) return NULL;
    for (size_t i = 0; i < count; i++) {
        char *value = room + list[i].key_len;
        memcpy(room, list[i].key, list[i].key_len);
        if (list[i].value_len) memcpy(value, list[i].value, list[i].value_len);
        made->at[i] = (tp_header){room, list[i].key_len, value, list[i].value_len};
        room = value + list[i].value_len;
    }
    made->count = count;
    return made;
}

static bool is_bin(const char *name, size_t len) {
    return len > 4 && memcmp(name + len - 4, "-bin", 4) == 0;
}

/* What is not the application's: the protocol's own, but for what gRPC shows too. */
static bool is_shown(const http_field *field) {
    switch (field->id) {
    case HTTP_NAME_OTHER:
        return field->name[0] != ':';
    case HTTP_NAME_CONTENT_TYPE:
    case HTTP_NAME_TE:
    case HTTP_NAME_GRPC_TIMEOUT:
    case HTTP_NAME_GRPC_ENCODING:
    case HTTP_NAME_GRPC_ACCEPT_ENCODING:
    case HTTP_NAME_GRPC_MESSAGE_TYPE:
    case HTTP_NAME_GRPC_STATUS:
    case HTTP_NAME_GRPC_MESSAGE:
        return false;
    default:
        return !(field->kind & (HTTP_REQUEST_PSEUDO | HTTP_RESPONSE_PSEUDO));
    }
}

/* A "-bin" field may hold several values, joined by commas; each becomes an entry of its own. */
static size_t values_of(const http_field *field) {
    size_t count = 1;
    if (!is_bin(field->name, field->name_len)) return 1;
    for (size_t i = 0; i < field->value_len; i++) count += field->value[i] == ',';
    return count;
}

static char *take_bin(nat_headers *to, const http_field *field, const char *name, char *room) {
    const char *at = field->value, *end = at + field->value_len;
    for (;;) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        const char *stop = comma ? comma : end;
        size_t written = 0;
        while (at < stop && *at == ' ') at++;
        const size_t len = (size_t)(stop - at);
        if (weft_base64_decode(WEFT_BASE64_BIN_ACCEPT, at, len, room, WEFT_BASE64_BYTES(len),
                               &written) == 0) {
            to->at[to->count++] = (tp_header){name, field->name_len, room, written};
            room += written;
        }
        if (!comma) return room;
        at = comma + 1;
    }
}

nat_headers *nat_headers_take(const http_fields *fields, bool *failed) {
    size_t count = 0, bytes = 0;
    char *room = NULL;
    for (uint32_t i = 0; i < fields->count; i++) {
        const http_field *field = fields->at[i];
        if (!is_shown(field)) continue;
        const size_t values = values_of(field);
        count += values;
        bytes += field->name_len + field->value_len + 2 * values;
    }
    if (!count) return NULL;
    nat_headers *made = headers_new(count, bytes, &room, failed);
    for (uint32_t i = 0; made && i < fields->count; i++) {
        const http_field *field = fields->at[i];
        if (!is_shown(field)) continue;
        const char *name = memcpy(room, field->name, field->name_len);
        room += field->name_len;
        if (is_bin(name, field->name_len)) {
            room = take_bin(made, field, name, room);
            continue;
        }
        memcpy(room, field->value, field->value_len);
        made->at[made->count++] = (tp_header){name, field->name_len, room, field->value_len};
        room += field->value_len;
    }
    return made;
}

static void header_at(const void *list, size_t index, tp_header *out) {
    *out = ((const nat_headers *)list)->at[index];
}

tp_headers nat_headers_view(const nat_headers *headers) {
    return (tp_headers){.list = headers, .count = headers ? headers->count : 0, .at = header_at};
}

static http_field *field_of(const tp_header *header, http_pool *pool) {
    char few[256];
    char *text = few;
    if (!is_bin(header->key, header->key_len))
        return http_field_new(pool, header->key, header->key_len, header->value, header->value_len);
    if (WEFT_BASE64_TEXT(header->value_len) > sizeof few)
        text = weft_malloc(WEFT_BASE64_TEXT(header->value_len));
    if (!text) return NULL;
    const size_t len =
        weft_base64_encode(WEFT_BASE64_BIN_SEND, header->value, header->value_len, text);
    http_field *field = http_field_new(pool, header->key, header->key_len, text, len);
    if (text != few) weft_free(text);
    return field;
}

int nat_headers_send(const nat_headers *headers, http_fields *fields) {
    for (size_t i = 0; headers && i < headers->count; i++) {
        const int error = http_fields_push(fields, field_of(&headers->at[i], fields->pool));
        if (error < 0) return error;
    }
    return 0;
}
