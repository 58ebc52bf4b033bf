/* Messages that a peer compressed: gzip (RFC 1952) and deflate (RFC 1950), which gRPC knows. Ours are sent as
 * they are. */
#include <string.h>
#include <zlib.h>

#include "native.h"

#define ROOM_FIRST ((size_t)4096)

static voidpf zip_alloc(voidpf user, uInt items, uInt size) {
    (void)user;
    return weft_calloc(items, size);
}

static void zip_free(voidpf user, voidpf address) {
    (void)user;
    weft_free(address);
}

bool nat_knows_encoding(const http_fields *fields) {
    const http_field *field = http_fields_find(fields, HTTP_NAME_GRPC_ENCODING);
    if (!field) return false;
    return (field->value_len == 4 && memcmp(field->value, "gzip", 4) == 0) ||
           (field->value_len == 7 && memcmp(field->value, "deflate", 7) == 0);
}

/* More room for what comes out: twice as much, at most a byte more than `max`, so that too much is seen. */
static bool grow(uint8_t **out, size_t *room, size_t max) {
    size_t wanted = *room ? *room * 2 : ROOM_FIRST;
    if (wanted > max + 1) wanted = max + 1;
    uint8_t *grown = weft_realloc(*out, wanted);
    if (!grown) return false;
    *out = grown;
    *room = wanted;
    return true;
}

static int inflate_all(z_stream *zip, size_t max, uint8_t **out, size_t *len) {
    size_t room = 0;
    for (;;) {
        if (*len == room && room > max) return WEFT_ELIMIT;
        if (*len == room && !grow(out, &room, max)) return WEFT_ENOMEM;
        zip->next_out = *out + *len;
        zip->avail_out = room - *len > UINT32_MAX / 2 ? UINT32_MAX / 2 : (uInt)(room - *len);
        const uInt before = zip->avail_out;
        const int state = inflate(zip, Z_NO_FLUSH);
        *len += before - zip->avail_out;
        if (state == Z_STREAM_END) return *len > max ? WEFT_ELIMIT : 0;
        if (state == Z_MEM_ERROR) return WEFT_ENOMEM;
        if (state != Z_OK) return WEFT_EPARSE; /* Z_BUF_ERROR: it ends too early */
        if (zip->avail_out && !zip->avail_in) return WEFT_EPARSE;
    }
}

int nat_inflate(const uint8_t *data, size_t size, size_t max, uint8_t **out, size_t *len) {
    z_stream zip = {.zalloc = zip_alloc, .zfree = zip_free};
    *out = NULL;
    *len = 0;
    if (size > UINT32_MAX || max > SIZE_MAX / 4) return WEFT_ELIMIT;
    /* 32: gzip or zlib, whichever its head says. */
    if (inflateInit2(&zip, MAX_WBITS + 32) != Z_OK) return WEFT_ENOMEM;
    zip.next_in = (Bytef *)(uintptr_t)data;
    zip.avail_in = (uInt)size;
    const int error = inflate_all(&zip, max, out, len);
    (void)inflateEnd(&zip);
    if (!error) return 0;
    weft_free(*out);
    *out = NULL;
    return error;
}
