/* SPIFFE IDs: SPIFFE-ID.md section 2. */
#include <stdio.h>
#include <string.h>

#include "lib/crypto/internal.h"

static bool is_domain_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
}

static bool is_path_char(char c) { return is_domain_char(c) || (c >= 'A' && c <= 'Z'); }

int crypto_domain_valid(const char *name) {
    const size_t size = strlen(name);
    if (!size || size > CRYPTO_DOMAIN_MAX) return 0;
    for (size_t i = 0; i < size; i++)
        if (!is_domain_char(name[i])) return 0;
    return 1;
}

static const char *check_path(const char *path, size_t size) {
    size_t segment = 0;
    for (size_t i = 1; i <= size; i++) {
        if (i < size && path[i] != '/') {
            if (!is_path_char(path[i]))
                return "its path has a character other than a-z A-Z 0-9 . - _ /";
            segment++;
            continue;
        }
        if (!segment) return "its path has an empty segment";
        const char *start = path + i - segment;
        if (!memcmp(start, "..", segment < 2 ? segment : 2) && segment <= 2)
            return "its path has a segment . or ..";
        segment = 0;
    }
    return NULL;
}

int crypto_spiffe_parse(const char *text, size_t size, crypto_spiffe *id, const char **why) {
    static const char scheme[] = "spiffe://";
    const size_t head = sizeof scheme - 1;
    const char *fault = NULL;
    crypto_spiffe found = {.text = text, .size = size};
    if (size > CRYPTO_SPIFFE_MAX) {
        fault = "it is longer than 2048 bytes";
    } else if (size < head || memcmp(text, scheme, head) != 0) {
        fault = "it does not begin with spiffe://";
    } else {
        found.domain = text + head;
        while (found.domain_size < size - head && found.domain[found.domain_size] != '/') {
            if (!is_domain_char(found.domain[found.domain_size]) && !fault)
                fault = "its trust domain has a character other than a-z 0-9 . - _";
            found.domain_size++;
        }
        found.path = found.domain + found.domain_size;
        found.path_size = size - head - found.domain_size;
        if (!found.domain_size) fault = "its trust domain is empty";
        if (found.domain_size > CRYPTO_DOMAIN_MAX) fault = "its trust domain is over 255 bytes";
        if (!fault && found.path_size) fault = check_path(found.path, found.path_size);
    }
    if (fault) {
        if (why) *why = fault;
        return WEFT_EPARSE;
    }
    *id = found;
    return 0;
}

static bool is_segment(const char *text) {
    if (!*text || !strcmp(text, ".") || !strcmp(text, "..")) return false;
    for (; *text; text++)
        if (!is_path_char(*text)) return false;
    return true;
}

int crypto_spiffe_format(const char *domain, const char *name_space, const char *service, char *out,
                         size_t size) {
    if (!crypto_domain_valid(domain) || !is_segment(name_space) || !is_segment(service))
        return WEFT_EINVAL;
    const int len = snprintf(out, size, "spiffe://%s/ns/%s/sa/%s", domain, name_space, service);
    return len < 0 || (size_t)len >= size || (size_t)len > CRYPTO_SPIFFE_MAX ? WEFT_ELIMIT : 0;
}
