/* Hashes, random bytes, and how failures are put into words. */
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/crypto/internal.h"

int crypto_sha256(const void *data, size_t size, uint8_t out[CRYPTO_SHA256_SIZE]) {
    if (EVP_Digest(data, size, out, NULL, EVP_sha256(), NULL)) return 0;
    ERR_clear_error();
    return WEFT_ENOMEM;
}

int crypto_hmac_sha256(const void *key, size_t key_size, const void *data, size_t size,
                       uint8_t out[CRYPTO_SHA256_SIZE]) {
    unsigned written = CRYPTO_SHA256_SIZE;
    if (key_size > INT32_MAX) return WEFT_EINVAL;
    /* A NULL key means "the last one" to OpenSSL. */
    if (HMAC(EVP_sha256(), key ? key : "", (int)key_size, data, size, out, &written)) return 0;
    ERR_clear_error();
    return WEFT_ENOMEM;
}

int crypto_random(void *out, size_t size) {
    if (size > INT32_MAX) return WEFT_EINVAL;
    if (RAND_bytes(out, (int)size) == 1) return 0;
    ERR_clear_error();
    return WEFT_EIO;
}

int crypto_equal(const void *a, const void *b, size_t size) {
    return CRYPTO_memcmp(a, b, size) == 0;
}

void crypto_wipe(void *data, size_t size) {
    if (data) OPENSSL_cleanse(data, size);
}

int crypto_explain(crypto_why *why, int error, const char *format, ...) {
    if (why) {
        va_list args;
        va_start(args, format);
        (void)vsnprintf(why->text, sizeof why->text, format, args);
        va_end(args);
    }
    ERR_clear_error();
    return error;
}

const char *crypto_openssl_reason(void) {
    const unsigned long code = ERR_peek_last_error();
    const char *text = code ? ERR_reason_error_string(code) : NULL;
    return text ? text : "";
}

const char *crypto_time_text(int64_t wall, char out[TIME_TEXT]) {
    (void)weft_time_format(wall, out);
    /* Certificates have seconds. */
    char *dot = strchr(out, '.');
    if (dot) memcpy(dot, "Z", 2);
    return out;
}
