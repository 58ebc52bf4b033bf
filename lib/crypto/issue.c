/* Making things: signing requests and certificates. */
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>

#include "lib/crypto/internal.h"
#include "weft/mem.h"

#define CSR_MAX 65536
#define SERIAL_BITS \
    127 /* positive, and so within 16 octets (RFC 5280 section 4.1.2.2: at most 20) */

struct crypto_csr {
    X509_REQ *request;
    EVP_PKEY *pkey;
    char *spiffe;
};

/* Ed25519 signs without a digest of ours. */
static const EVP_MD *digest_for(const EVP_PKEY *pkey) {
    return EVP_PKEY_get_base_id(pkey) == EVP_PKEY_ED25519 ? NULL : EVP_sha256();
}

static int add_name(GENERAL_NAMES *names, int type, const char *text) {
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_IA5STRING *string = ASN1_IA5STRING_new();
    if (!name || !string || !ASN1_STRING_set(string, text, -1) ||
        !sk_GENERAL_NAME_push(names, name)) {
        GENERAL_NAME_free(name);
        ASN1_IA5STRING_free(string);
        return 0;
    }
    GENERAL_NAME_set0_value(name, type, string);
    return 1;
}

/* ---- requests */

int crypto_csr_make(const crypto_key *key, const char *spiffe, weft_buf *der) {
    crypto_spiffe id;
    if (crypto_spiffe_parse(spiffe, strlen(spiffe), &id, NULL)) return WEFT_EINVAL;
    X509_REQ *request = X509_REQ_new();
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    STACK_OF(X509_EXTENSION) *extensions = NULL;
    int error = WEFT_ENOMEM;
    if (!request || !names || !add_name(names, GEN_URI, spiffe) ||
        !X509V3_add1_i2d(&extensions, NID_subject_alt_name, names, 1, X509V3_ADD_DEFAULT) ||
        !X509_REQ_set_version(request, 0) || !X509_REQ_set_pubkey(request, key->pkey) ||
        !X509_REQ_add_extensions(request, extensions) ||
        !X509_REQ_sign(request, key->pkey, digest_for(key->pkey)))
        goto done;
    const int size = i2d_X509_REQ(request, NULL);
    unsigned char *to = size > 0 ? (unsigned char *)weft_buf_reserve(der, (size_t)size) : NULL;
    if (to) {
        weft_buf_commit(der, (size_t)i2d_X509_REQ(request, &to));
        error = 0;
    }
done:
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
    GENERAL_NAMES_free(names);
    X509_REQ_free(request);
    ERR_clear_error();
    return error;
}

static X509_REQ *read_request(const void *data, size_t size) {
    const unsigned char *at = data;
    if (size > 11 && !memcmp(data, "-----BEGIN ", 11)) {
        BIO *bio = BIO_new_mem_buf(data, (int)size);
        X509_REQ *request = bio ? PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL) : NULL;
        BIO_free(bio);
        return request;
    }
    X509_REQ *request = d2i_X509_REQ(NULL, &at, (long)size);
    if (request && at != (const unsigned char *)data + size) {
        X509_REQ_free(request);
        return NULL;
    }
    return request;
}

/* NULL and csr->spiffe set, or what is wrong. */
static const char *read_request_name(crypto_csr *csr) {
    STACK_OF(X509_EXTENSION) *extensions = X509_REQ_get_extensions(csr->request);
    GENERAL_NAMES *names = X509V3_get_d2i(extensions, NID_subject_alt_name, NULL, NULL);
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
    const char *fault = NULL;
    size_t uris = 0;
    for (int i = 0; i < sk_GENERAL_NAME_num(names) && !fault; i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type != GEN_URI) {
            fault = "it asks for a name that is no URI";
            break;
        }
        const char *text = (const char *)ASN1_STRING_get0_data(name->d.uniformResourceIdentifier);
        const size_t size = (size_t)ASN1_STRING_length(name->d.uniformResourceIdentifier);
        crypto_spiffe id;
        if (uris++) {
            fault = "it asks for more than one URI";
        } else if (!crypto_spiffe_parse(text, size, &id, &fault)) {
            csr->spiffe = weft_malloc(size + 1);
            if (!id.path_size) fault = "it asks for the ID of a trust domain, not of a workload";
            if (!csr->spiffe) {
                fault = "out of memory";
            } else {
                memcpy(csr->spiffe, text, size);
                csr->spiffe[size] = '\0';
            }
        }
    }
    GENERAL_NAMES_free(names);
    if (!fault && !uris) fault = "it asks for no SPIFFE ID (a URI in subjectAltName)";
    return fault;
}

int crypto_csr_parse(const void *data, size_t size, crypto_csr **out, crypto_why *why) {
    if (size > CSR_MAX) return crypto_explain(why, WEFT_ELIMIT, "CSR: larger than 64 KiB");
    crypto_csr *csr = weft_calloc(1, sizeof *csr);
    if (!csr) return crypto_explain(why, WEFT_ENOMEM, "CSR: out of memory");
    const char *fault = NULL;
    csr->request = read_request(data, size);
    if (!csr->request)
        fault = "it is no PKCS#10 request in DER or PEM";
    else if (!(csr->pkey = X509_REQ_get_pubkey(csr->request)))
        fault = "its key cannot be read";
    else if ((fault = crypto_pkey_fault(csr->pkey)))
        ;
    else if (X509_REQ_verify(csr->request, csr->pkey) != 1)
        fault = "its signature is wrong: the asker has not proved to hold the key";
    else
        fault = read_request_name(csr);
    if (fault) {
        crypto_csr_free(csr);
        return crypto_explain(why, WEFT_EPARSE, "CSR: %s", fault);
    }
    ERR_clear_error();
    *out = csr;
    return 0;
}

void crypto_csr_free(crypto_csr *csr) {
    if (!csr) return;
    X509_REQ_free(csr->request);
    EVP_PKEY_free(csr->pkey);
    weft_free(csr->spiffe);
    weft_free(csr);
}

const char *crypto_csr_spiffe(const crypto_csr *csr) { return csr->spiffe; }
EVP_PKEY *crypto_csr_pkey(const crypto_csr *csr) { return csr->pkey; }

/* ---- certificates */

static int add_extension(X509 *x509, X509 *issuer, int nid, const char *value) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, x509, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    const int added = extension && X509_add_ext(x509, extension, -1);
    X509_EXTENSION_free(extension);
    return added;
}

static int set_serial(X509 *x509) {
    BIGNUM *number = BN_new();
    const int set = number && BN_rand(number, SERIAL_BITS, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) &&
                    BN_to_ASN1_INTEGER(number, X509_get_serialNumber(x509));
    BN_free(number);
    return set;
}

static int set_validity(X509 *x509, const crypto_issue *what, const crypto_cert *issuer) {
    int64_t begin = what->now - CRYPTO_BACKDATE;
    int64_t end = what->lifetime < INT64_MAX - what->now ? what->now + what->lifetime : INT64_MAX;
    if (issuer && end > issuer->info.not_after) end = issuer->info.not_after;
    if (issuer && begin < issuer->info.not_before) begin = issuer->info.not_before;
    return ASN1_TIME_set(X509_getm_notBefore(x509), (time_t)(begin / WEFT_NS_PER_S)) &&
           ASN1_TIME_set(X509_getm_notAfter(x509), (time_t)(end / WEFT_NS_PER_S));
}

static int set_subject(X509 *x509, const crypto_issue *what) {
    X509_NAME *name = X509_get_subject_name(x509);
    return !what->common_name ||
           X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                                      (const unsigned char *)what->common_name, -1, -1, 0);
}

static int set_names(X509 *x509, const crypto_issue *what) {
    if (!what->spiffe && !what->dns_count) return 1;
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    int set = names && (!what->spiffe || add_name(names, GEN_URI, what->spiffe));
    for (size_t i = 0; i < what->dns_count && set; i++)
        set = add_name(names, GEN_DNS, what->dns[i]);
    /* Critical where the subject is empty (RFC 5280 section 4.2.1.6). */
    set = set && X509_add1_ext_i2d(x509, NID_subject_alt_name, names, !what->common_name,
                                   X509V3_ADD_DEFAULT) == 1;
    GENERAL_NAMES_free(names);
    return set;
}

static int set_extensions(X509 *x509, X509 *issuer, const crypto_issue *what) {
    const bool leaf = what->role == CRYPTO_LEAF;
    const char *basic = leaf                        ? "critical,CA:FALSE"
                        : what->role == CRYPTO_ROOT ? "critical,CA:TRUE"
                                                    : "critical,CA:TRUE,pathlen:0";
    return add_extension(x509, issuer, NID_basic_constraints, basic) &&
           add_extension(x509, issuer, NID_key_usage,
                         leaf ? "critical,digitalSignature" : "critical,keyCertSign,cRLSign") &&
           (!leaf || add_extension(x509, issuer, NID_ext_key_usage, "serverAuth,clientAuth")) &&
           add_extension(x509, issuer, NID_subject_key_identifier, "hash") &&
           add_extension(x509, issuer, NID_authority_key_identifier, "keyid:always") &&
           set_names(x509, what);
}

/* NULL, or what is wrong with the order. */
static const char *check_order(const crypto_issue *what, const crypto_cert *issuer,
                               const crypto_key *issuer_key) {
    crypto_spiffe id;
    const char *fault = NULL;
    if (what->lifetime <= 0) return "the lifetime must be positive";
    if ((what->role == CRYPTO_ROOT) != !issuer) return "all but a root need an issuer";
    if (issuer && (!issuer->info.ca || !issuer->info.may_sign_certs))
        return "the issuer is not a CA that may sign certificates";
    if (issuer && X509_check_private_key(issuer->x509, issuer_key->pkey) != 1)
        return "the issuer's key does not belong to its certificate";
    if (issuer && issuer->info.not_after <= what->now)
        return "the issuer's certificate has expired";
    if (what->role != CRYPTO_LEAF && !(what->common_name && *what->common_name))
        return "a CA needs a common name";
    if (what->spiffe) {
        if (crypto_spiffe_parse(what->spiffe, strlen(what->spiffe), &id, &fault)) return fault;
        if ((what->role == CRYPTO_LEAF) != (id.path_size != 0))
            return "a leaf's SPIFFE ID has a path, a CA's has none";
    } else if (what->role == CRYPTO_LEAF && !what->dns_count) {
        return "a leaf needs a SPIFFE ID or a DNS name";
    }
    return NULL;
}

int crypto_cert_issue(const crypto_issue *what, const crypto_key *subject, const crypto_csr *csr,
                      const crypto_cert *issuer, const crypto_key *issuer_key, crypto_cert **cert,
                      crypto_why *why) {
    const char *fault = check_order(what, issuer, issuer_key);
    if (!fault && !subject == !csr) fault = "exactly one of key and request is needed";
    if (fault) return crypto_explain(why, WEFT_EINVAL, "certificate: cannot be issued: %s", fault);
    X509 *x509 = X509_new();
    X509 *from = issuer ? issuer->x509 : x509;
    if (!x509 || !X509_set_version(x509, X509_VERSION_3) || !set_serial(x509) ||
        !set_validity(x509, what, issuer) || !set_subject(x509, what) ||
        !X509_set_issuer_name(x509, X509_get_subject_name(from)) ||
        !X509_set_pubkey(x509, subject ? subject->pkey : csr->pkey) ||
        !set_extensions(x509, from, what) ||
        !X509_sign(x509, issuer_key->pkey, digest_for(issuer_key->pkey))) {
        X509_free(x509);
        return crypto_explain(why, WEFT_EINVAL, "certificate: cannot be issued: %s",
                              crypto_openssl_reason());
    }
    return crypto_cert_wrap(x509, cert, why);
}
