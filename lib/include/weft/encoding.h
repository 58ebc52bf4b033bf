/* Hex and base64 (RFC 4648), strict. Pure functions: any thread, no allocation.
 *
 * Decoding fails with WEFT_EPARSE on any character outside the alphabet (blanks and line feeds included), a
 * length no encoder makes, or leftover bits that are not zero, and with WEFT_ELIMIT when `cap` is too small;
 * what `out` then holds is unspecified and `*written` is untouched. Input and output may be the same
 * memory when decoding, never when encoding. */
#ifndef WEFT_ENCODING_H
#define WEFT_ENCODING_H

#include <stddef.h>
#include <stdint.h>

#include "weft/error.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes to allow for the text of `n` bytes, with its '\0'. */
#define WEFT_HEX_TEXT(n) ((size_t)(n)*2 + 1)
#define WEFT_BASE64_TEXT(n) (((size_t)(n) + 2) / 3 * 4 + 1)

/* Bytes to allow for what `n` characters of base64 decode to. */
#define WEFT_BASE64_BYTES(n) ((size_t)(n) / 4 * 3 + 2)

/* Writes lower-case hex and a '\0' into out[WEFT_HEX_TEXT(size)]; returns the length, 2 * size. */
size_t weft_hex_encode(const void *data, size_t size, char *out);

/* Decodes `size` characters, upper or lower case, into at most `cap` bytes. */
int weft_hex_decode(const char *text, size_t size, void *out, size_t cap,
                    size_t *written) WEFT_MUST_USE;

/* Which base64. A decoder takes the set of what it accepts; an encoder uses the URL alphabet if
 * WEFT_BASE64_URL is in the set, and '=' if WEFT_BASE64_PAD is. */
typedef enum weft_base64 {
    WEFT_BASE64_STD = 1,   /* alphabet with + and / (RFC 4648 section 4) */
    WEFT_BASE64_URL = 2,   /* alphabet with - and _ (section 5) */
    WEFT_BASE64_PAD = 4,   /* '=' to a multiple of 4 */
    WEFT_BASE64_NOPAD = 8, /* no '=' */

    /* "-bin" metadata: send without padding, accept both (gRPC over HTTP2, "Custom-Metadata"). */
    WEFT_BASE64_BIN_SEND = WEFT_BASE64_STD | WEFT_BASE64_NOPAD,
    WEFT_BASE64_BIN_ACCEPT = WEFT_BASE64_STD | WEFT_BASE64_PAD | WEFT_BASE64_NOPAD,
    /* JSON: send standard with padding, accept every form (protobuf JSON mapping, "bytes"). */
    WEFT_BASE64_JSON_SEND = WEFT_BASE64_STD | WEFT_BASE64_PAD,
    WEFT_BASE64_JSON_ACCEPT = WEFT_BASE64_BIN_ACCEPT | WEFT_BASE64_URL,
    /* JWS (RFC 7515 section 2). */
    WEFT_BASE64_JWS = WEFT_BASE64_URL | WEFT_BASE64_NOPAD
} weft_base64;

/* Writes base64 and a '\0' into out[WEFT_BASE64_TEXT(size)]; returns the length. */
size_t weft_base64_encode(weft_base64 kind, const void *data, size_t size, char *out);

/* Decodes `size` characters into at most `cap` bytes (WEFT_BASE64_BYTES(size) is always enough). */
int weft_base64_decode(weft_base64 accept, const char *text, size_t size, void *out, size_t cap,
                       size_t *written) WEFT_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
