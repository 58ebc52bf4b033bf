/* SHA-256 (FIPS 180-4): names content and recognises a changed migration. Not for keys or
 * signatures, which belong to lib/crypto. */
#ifndef WEFT_STORE_SHA256_H
#define WEFT_STORE_SHA256_H

#include <stddef.h>

#define STORE_SHA256_BYTES 32
#define STORE_SHA256_TEXT 65

/* The digest of `size` bytes. Any thread. */
void store_sha256(const void *data, size_t size, unsigned char out[STORE_SHA256_BYTES]);

/* The same in lower-case hex with its '\0'. */
void store_sha256_text(const void *data, size_t size, char out[STORE_SHA256_TEXT]);

#endif
