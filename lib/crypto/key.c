/* Private keys. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/crypto/internal.h"
#include "weft/mem.h"

#define KEY_FILE_MAX 65536
#define RSA_BITS_MIN 2048

static int wrap(EVP_PKEY *pkey, crypto_key **out) {
    crypto_key *key = weft_calloc(1, sizeof *key);
    if (!key) {
        EVP_PKEY_free(pkey);
        return WEFT_ENOMEM;
    }
    atomic_init(&key->refs, 1);
    key->pkey = pkey;
    *out = key;
    return 0;
}

int crypto_key_generate(crypto_key_kind kind, crypto_key **key) {
    EVP_PKEY *pkey =
        kind == CRYPTO_KEY_ED25519 ? EVP_PKEY_Q_keygen(NULL, NULL, "ED25519") : EVP_EC_gen("P-256");
    if (!pkey) {
        ERR_clear_error();
        return WEFT_EIO;
    }
    return wrap(pkey, key);
}

crypto_key *crypto_key_ref(crypto_key *key) {
    atomic_fetch_add_explicit(&key->refs, 1, memory_order_relaxed);
    return key;
}

void crypto_key_unref(crypto_key *key) {
    if (!key || atomic_fetch_sub_explicit(&key->refs, 1, memory_order_acq_rel) != 1) return;
    EVP_PKEY_free(key->pkey); /* wipes it */
    weft_free(key);
}

const char *crypto_pkey_fault(EVP_PKEY *pkey) {
    char group[32] = "";
    size_t size = 0;
    switch (pkey ? EVP_PKEY_get_base_id(pkey) : 0) {
    case EVP_PKEY_ED25519:
        return NULL;
    case EVP_PKEY_EC:
        if (EVP_PKEY_get_group_name(pkey, group, sizeof group, &size) == 1 &&
            (!strcmp(group, "prime256v1") || !strcmp(group, "secp384r1") ||
             !strcmp(group, "secp521r1")))
            return NULL;
        return "its curve is none of P-256, P-384, P-521";
    case EVP_PKEY_RSA:
        return EVP_PKEY_get_bits(pkey) >= RSA_BITS_MIN ? NULL : "its RSA key has under 2048 bits";
    default:
        return "its key is none of EC, Ed25519, RSA";
    }
}

/* ---- PEM */

int crypto_key_to_pem(const crypto_key *key, weft_buf *out) {
    BIO *bio = BIO_new(BIO_s_secmem());
    int error = WEFT_ENOMEM;
    char *text;
    if (bio && PEM_write_bio_PKCS8PrivateKey(bio, key->pkey, NULL, NULL, 0, NULL, NULL)) {
        const long size = BIO_get_mem_data(bio, &text);
        if (size > 0) error = weft_buf_add(out, text, (size_t)size);
    }
    BIO_free(bio);
    ERR_clear_error();
    return error;
}

/* A passphrase is never asked for on the terminal. */
static int no_passphrase(char *buf, int size, int writing, void *user) {
    (void)buf, (void)size, (void)writing;
    *(bool *)user = true;
    return -1;
}

int crypto_key_from_pem(const char *pem, size_t size, crypto_key **key, crypto_why *why) {
    if (size > KEY_FILE_MAX) return crypto_explain(why, WEFT_ELIMIT, "key: larger than 64 KiB");
    bool wanted = false;
    BIO *bio = BIO_new_mem_buf(pem, (int)size);
    if (!bio) return crypto_explain(why, WEFT_ENOMEM, "key: out of memory");
    EVP_PKEY *pkey = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, &wanted);
    BIO_free(bio);
    if (!pkey) {
        return crypto_explain(why, WEFT_EPARSE, "key: %s",
                              wanted ? "is under a passphrase; store it without (openssl pkey)"
                                     : "no private key in PEM (PKCS#8) found");
    }
    const char *fault = crypto_pkey_fault(pkey);
    if (fault) {
        EVP_PKEY_free(pkey);
        return crypto_explain(why, WEFT_EPARSE, "key: %s", fault);
    }
    const int error = wrap(pkey, key);
    return error ? crypto_explain(why, error, "key: out of memory") : 0;
}

/* ---- files */

static int write_all(int fd, const char *data, size_t size) {
    while (size) {
        const ssize_t n = write(fd, data, size);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return -1;
        data += n;
        size -= (size_t)n;
    }
    return fsync(fd);
}

int crypto_key_save(const crypto_key *key, const char *path, crypto_why *why) {
    uint8_t nonce[8];
    char tail[24];
    weft_buf pem, name;
    weft_buf_init(&pem, KEY_FILE_MAX);
    weft_buf_init(&name, 4096);
    int error = crypto_random(nonce, sizeof nonce);
    if (!error) error = crypto_key_to_pem(key, &pem);
    (void)snprintf(tail, sizeof tail, ".%02x%02x%02x%02x.tmp", nonce[0], nonce[1], nonce[2],
                   nonce[3]);
    if (!error) error = weft_buf_adds(&name, path);
    if (!error) error = weft_buf_adds(&name, tail);
    if (error) {
        (void)crypto_explain(why, error, "%s: %s", path, weft_strerror(error));
        goto done;
    }
    const int fd = open(name.data, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        error = crypto_explain(why, weft_error_from_errno(errno), "%s: cannot store the key: %s",
                               path, strerror(errno));
        goto done;
    }
    const int failed = write_all(fd, pem.data, pem.len) || rename(name.data, path);
    const int code = errno;
    (void)close(fd);
    if (failed) {
        (void)unlink(name.data);
        error = crypto_explain(why, weft_error_from_errno(code), "%s: cannot store the key: %s",
                               path, strerror(code));
    }
done:
    crypto_wipe(pem.data, pem.cap);
    weft_buf_free(&pem);
    weft_buf_free(&name);
    return error;
}

static int check_owner(int fd, const char *path, crypto_why *why) {
    struct stat info;
    if (fstat(fd, &info)) return crypto_explain(why, WEFT_EIO, "%s: %s", path, strerror(errno));
    if (info.st_uid != geteuid() && info.st_uid != 0)
        return crypto_explain(why, WEFT_EINVAL, "%s: the key belongs to uid %lu, not to us (%lu)",
                              path, (unsigned long)info.st_uid, (unsigned long)geteuid());
    if (info.st_mode & 077)
        return crypto_explain(why, WEFT_EINVAL,
                              "%s: the key is open to others (mode %04o); chmod 600 it", path,
                              (unsigned)info.st_mode & 07777u);
    return 0;
}

int crypto_key_load(const char *path, bool owner_only, crypto_key **key, crypto_why *why) {
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return crypto_explain(why, weft_error_from_errno(errno), "%s: %s", path, strerror(errno));
    int error = owner_only ? check_owner(fd, path, why) : 0;
    char *text = NULL;
    if (error) goto done;
    text = weft_malloc(KEY_FILE_MAX);
    if (!text) {
        error = crypto_explain(why, WEFT_ENOMEM, "%s: out of memory", path);
        goto done;
    }
    size_t size = 0;
    ssize_t n;
    while ((n = read(fd, text + size, KEY_FILE_MAX - size)) > 0) size += (size_t)n;
    if (n < 0) {
        error = crypto_explain(why, WEFT_EIO, "%s: %s", path, strerror(errno));
        goto done;
    }
    crypto_why inner = {""};
    error = crypto_key_from_pem(text, size, key, &inner);
    if (error) (void)crypto_explain(why, error, "%s: %.300s", path, inner.text);
done:
    crypto_wipe(text, text ? KEY_FILE_MAX : 0);
    weft_free(text);
    (void)close(fd);
    return error;
}
