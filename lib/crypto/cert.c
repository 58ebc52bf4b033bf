/* Certificates and lists of them. */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lib/crypto/internal.h"
#include "weft/mem.h"

#define PEM_MAX 1048576

/* ---- reading what a certificate says */

static void name_text(const X509_NAME *name, char out[NAME_TEXT]) {
    BIO *bio = BIO_new(BIO_s_mem());
    char *text = NULL;
    long size = 0;
    /* RFC 2253 with control characters and everything beyond ASCII escaped. */
    if (bio && X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253) >= 0)
        size = BIO_get_mem_data(bio, &text);
    if (size < 0) size = 0;
    (void)snprintf(out, NAME_TEXT, "%.*s", (int)(size < NAME_TEXT ? size : NAME_TEXT - 1),
                   text ? text : "");
    BIO_free(bio);
}

static int64_t time_of(const ASN1_TIME *time, int64_t otherwise) {
    struct tm parts;
    if (!ASN1_TIME_to_tm(time, &parts)) return otherwise;
    const time_t seconds = timegm(&parts);
    if (seconds > INT64_MAX / WEFT_NS_PER_S) return INT64_MAX;
    if (seconds < INT64_MIN / WEFT_NS_PER_S) return INT64_MIN;
    return (int64_t)seconds * WEFT_NS_PER_S;
}

/* Fills spiffe and uri_sans. */
static int read_sans(crypto_cert *cert) {
    GENERAL_NAMES *names = X509_get_ext_d2i(cert->x509, NID_subject_alt_name, NULL, NULL);
    int error = 0;
    for (int i = 0; i < sk_GENERAL_NAME_num(names) && !error; i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type != GEN_URI) continue;
        const char *text = (const char *)ASN1_STRING_get0_data(name->d.uniformResourceIdentifier);
        const int size = ASN1_STRING_length(name->d.uniformResourceIdentifier);
        crypto_spiffe id;
        if (cert->info.uri_sans++ || size < 0 || crypto_spiffe_parse(text, (size_t)size, &id, NULL))
            continue;
        cert->spiffe = weft_malloc((size_t)size + 1);
        if (!cert->spiffe) {
            error = WEFT_ENOMEM;
        } else {
            memcpy(cert->spiffe, text, (size_t)size);
            cert->spiffe[size] = '\0';
        }
    }
    GENERAL_NAMES_free(names);
    if (cert->info.uri_sans > 1) {
        weft_free(cert->spiffe);
        cert->spiffe = NULL;
    }
    return error;
}

static int read_info(crypto_cert *cert) {
    crypto_cert_info *info = &cert->info;
    name_text(X509_get_subject_name(cert->x509), cert->subject);
    name_text(X509_get_issuer_name(cert->x509), cert->issuer);
    BIGNUM *number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(cert->x509), NULL);
    char *hex = number ? BN_bn2hex(number) : NULL;
    (void)snprintf(cert->serial, sizeof cert->serial, "%.40s", hex ? hex : "");
    for (char *c = cert->serial; *c; c++)
        if (*c >= 'A' && *c <= 'F') *c = (char)(*c + ('a' - 'A'));
    OPENSSL_free(hex);
    BN_free(number);
    const uint32_t flags = X509_get_extension_flags(cert->x509);
    info->ca = (flags & EXFLAG_CA) != 0;
    info->may_sign_certs =
        !(flags & EXFLAG_KUSAGE) || (X509_get_key_usage(cert->x509) & KU_KEY_CERT_SIGN);
    /* A time that cannot be read makes the certificate invalid at any time. */
    info->not_before = time_of(X509_get0_notBefore(cert->x509), INT64_MAX);
    info->not_after = time_of(X509_get0_notAfter(cert->x509), INT64_MIN);
    if (!X509_digest(cert->x509, EVP_sha256(), info->sha256, NULL)) return WEFT_ENOMEM;
    const int error = read_sans(cert);
    info->subject = cert->subject;
    info->issuer = cert->issuer;
    info->serial = cert->serial;
    info->spiffe = cert->spiffe ? cert->spiffe : "";
    return error;
}

int crypto_cert_wrap(X509 *x509, crypto_cert **out, crypto_why *why) {
    crypto_cert *cert = weft_calloc(1, sizeof *cert);
    if (!cert) {
        X509_free(x509);
        return crypto_explain(why, WEFT_ENOMEM, "certificate: out of memory");
    }
    atomic_init(&cert->refs, 1);
    cert->x509 = x509;
    const int error = read_info(cert);
    if (error) {
        crypto_cert_unref(cert);
        return crypto_explain(why, error, "certificate: out of memory");
    }
    ERR_clear_error();
    *out = cert;
    return 0;
}

crypto_cert *crypto_cert_ref(crypto_cert *cert) {
    atomic_fetch_add_explicit(&cert->refs, 1, memory_order_relaxed);
    return cert;
}

void crypto_cert_unref(crypto_cert *cert) {
    if (!cert || atomic_fetch_sub_explicit(&cert->refs, 1, memory_order_acq_rel) != 1) return;
    X509_free(cert->x509);
    weft_free(cert->spiffe);
    weft_free(cert);
}

const crypto_cert_info *crypto_cert_get_info(const crypto_cert *cert) { return &cert->info; }

const char *crypto_cert_name(const crypto_cert *cert, char out[CRYPTO_WHY_SIZE]) {
    if (cert->spiffe)
        (void)snprintf(out, CRYPTO_WHY_SIZE, "%.255s", cert->spiffe);
    else
        (void)snprintf(out, CRYPTO_WHY_SIZE, "\"%s\"", cert->subject);
    return out;
}

int crypto_cert_matches_dns(const crypto_cert *cert, const char *name) {
    return X509_check_host(cert->x509, name, strlen(name),
                           X509_CHECK_FLAG_NEVER_CHECK_SUBJECT |
                               X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS,
                           NULL) == 1;
}

/* ---- DER and PEM */

int crypto_cert_from_der(const void *der, size_t size, crypto_cert **cert, crypto_why *why) {
    if (size > CRYPTO_CERT_SIZE_MAX)
        return crypto_explain(why, WEFT_ELIMIT, "certificate: larger than 64 KiB");
    const unsigned char *at = der;
    X509 *x509 = d2i_X509(NULL, &at, (long)size);
    if (!x509 || at != (const unsigned char *)der + size) {
        X509_free(x509);
        return crypto_explain(why, WEFT_EPARSE, "certificate: malformed (%s)",
                              x509 ? "bytes after its end" : crypto_openssl_reason());
    }
    return crypto_cert_wrap(x509, cert, why);
}

int crypto_cert_to_der(const crypto_cert *cert, weft_buf *out) {
    const int size = i2d_X509(cert->x509, NULL);
    unsigned char *to = size > 0 ? (unsigned char *)weft_buf_reserve(out, (size_t)size) : NULL;
    if (!to) return out->error ? out->error : WEFT_ENOMEM;
    weft_buf_commit(out, (size_t)i2d_X509(cert->x509, &to));
    return 0;
}

int crypto_cert_to_pem(const crypto_cert *cert, weft_buf *out) {
    BIO *bio = BIO_new(BIO_s_mem());
    int error = WEFT_ENOMEM;
    char *text;
    if (bio && PEM_write_bio_X509(bio, cert->x509)) {
        const long size = BIO_get_mem_data(bio, &text);
        if (size > 0) error = weft_buf_add(out, text, (size_t)size);
    }
    BIO_free(bio);
    ERR_clear_error();
    return error;
}

/* ---- lists */

int crypto_certs_push(crypto_certs *certs, crypto_cert *cert) {
    crypto_cert **items = weft_realloc(certs->items, (certs->count + 1) * sizeof(crypto_cert *));
    if (!items) return WEFT_ENOMEM;
    certs->items = items;
    certs->items[certs->count++] = crypto_cert_ref(cert);
    return 0;
}

void crypto_certs_clear(crypto_certs *certs) {
    for (size_t i = 0; i < certs->count; i++) crypto_cert_unref(certs->items[i]);
    weft_free(certs->items);
    *certs = (crypto_certs){0};
}

static int add_pem_cert(crypto_certs *list, X509 *x509, crypto_why *why) {
    crypto_cert *cert;
    int error = crypto_cert_wrap(x509, &cert, why);
    if (error) return error;
    error = crypto_certs_push(list, cert);
    crypto_cert_unref(cert);
    return error ? crypto_explain(why, error, "certificates: out of memory") : 0;
}

int crypto_certs_from_pem(const char *pem, size_t size, crypto_certs *certs, crypto_why *why) {
    if (size > PEM_MAX) return crypto_explain(why, WEFT_ELIMIT, "certificates: larger than 1 MiB");
    BIO *bio = BIO_new_mem_buf(pem, (int)size);
    if (!bio) return crypto_explain(why, WEFT_ENOMEM, "certificates: out of memory");
    crypto_certs list = {0};
    int error = 0;
    while (!error) {
        X509 *x509 = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        if (!x509) break;
        if (list.count >= CRYPTO_CERTS_MAX) {
            X509_free(x509);
            error = crypto_explain(why, WEFT_ELIMIT, "certificates: more than %u in one file",
                                   CRYPTO_CERTS_MAX);
            break;
        }
        error = add_pem_cert(&list, x509, why);
    }
    if (!error && ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
        error = crypto_explain(why, WEFT_EPARSE, "certificates: number %zu is malformed (%s)",
                               list.count + 1, crypto_openssl_reason());
    if (!error && !list.count)
        error = crypto_explain(why, WEFT_EPARSE,
                               "certificates: none found; expected PEM (BEGIN CERTIFICATE)");
    BIO_free(bio);
    ERR_clear_error();
    if (error)
        crypto_certs_clear(&list);
    else
        *certs = list;
    return error;
}

int crypto_certs_load(const char *path, crypto_certs *certs, crypto_why *why) {
    weft_buf text;
    crypto_why inner = {""};
    weft_buf_init(&text, PEM_MAX);
    int error = weft_buf_read_file(&text, path);
    if (error) {
        (void)crypto_explain(why, error, "%s: %s", path, weft_strerror(error));
    } else {
        error = crypto_certs_from_pem(weft_buf_str(&text), text.len, certs, &inner);
        if (error) (void)crypto_explain(why, error, "%s: %.400s", path, inner.text);
    }
    weft_buf_free(&text);
    return error;
}

int crypto_certs_to_pem(const crypto_certs *certs, weft_buf *out) {
    int error = 0;
    for (size_t i = 0; i < certs->count && !error; i++)
        error = crypto_cert_to_pem(certs->items[i], out);
    return error;
}
