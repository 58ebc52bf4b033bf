#include "tools/weft/dev_certs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "tools/weft/folder.h"
#include "tools/weft/up_plan.h"
#include "weft/clock.h"

const char *dev_cert_what_name(dev_cert_what what) {
    static const char *const names[] = {"made", "kept", "renewed"};
    return names[what];
}

static int because(crypto_why *why, int rc, const char *format, ...) WEFT_PRINTF(3, 4);
static int because(crypto_why *why, int rc, const char *format, ...) {
    va_list args;
    va_start(args, format);
    if (why) vsnprintf(why->text, sizeof why->text, format, args);
    va_end(args);
    return rc;
}

static int no_memory(crypto_why *why) { return because(why, WEFT_ENOMEM, "out of memory"); }

static int save_cert(const crypto_cert *cert, const char *path, crypto_why *why) {
    weft_buf pem;
    weft_buf_init(&pem, 0);
    int rc = crypto_cert_to_pem(cert, &pem);
    int error = rc ? 0 : folder_write_file(path, pem.data, pem.len, 0644);
    weft_buf_free(&pem);
    if (rc) return no_memory(why);
    return error ? because(why, WEFT_EIO, "cannot write %s: %s", path, strerror(error)) : 0;
}

static bool exists(const char *path) { return access(path, F_OK) == 0; }

/* Fills names and paths. */
static int name_files(dev_certs *certs, const char *name, dev_cert *out, crypto_why *why) {
    *out = (dev_cert){.name = weft_arena_strdup(certs->arena, name),
                      .cert_file = weft_arena_printf(certs->arena, "%s/%s.pem", certs->dir, name),
                      .key_file = weft_arena_printf(certs->arena, "%s/%s.key", certs->dir, name)};
    return out->name && out->cert_file && out->key_file ? 0 : no_memory(why);
}

/* ---- the authority ---------------------------------------------------------------------------------- */

/* The key first: a run that was interrupted after it goes on with it. */
static int make_ca(dev_certs *certs, crypto_why *why) {
    int rc = 0;
    if (exists(certs->ca.key_file)) {
        rc = crypto_key_load(certs->ca.key_file, true, &certs->key, why);
    } else {
        rc = crypto_key_generate(CRYPTO_KEY_P256, &certs->key);
        if (rc) return because(why, rc, "cannot make a key: %s", weft_strerror(rc));
        rc = crypto_key_save(certs->key, certs->ca.key_file, why);
    }
    if (rc) return rc;
    const crypto_issue what = {
        .role = CRYPTO_ROOT,
        .common_name = weft_arena_printf(certs->arena, "Weft development CA of %s", certs->domain),
        .spiffe = certs->ca.id,
        .now = certs->now,
        .lifetime = DEV_CERTS_CA_TTL};
    rc = crypto_cert_issue(&what, certs->key, NULL, NULL, certs->key, &certs->root, why);
    return rc ? rc : save_cert(certs->root, certs->ca.cert_file, why);
}

static int load_ca(dev_certs *certs, crypto_why *why) {
    const dev_cert *ca = &certs->ca;
    crypto_certs found = {0};
    int rc = crypto_certs_load(ca->cert_file, &found, why);
    if (rc) return rc;
    certs->root = crypto_cert_ref(found.items[0]);
    crypto_certs_clear(&found);
    if (!exists(ca->key_file))
        return because(why, WEFT_EINVAL,
                       "%s has no key %s: put it back, or remove %s to begin with a new CA",
                       ca->cert_file, ca->key_file, certs->dir);
    rc = crypto_key_load(ca->key_file, true, &certs->key, why);
    if (rc) return rc;
    const crypto_cert_info *info = crypto_cert_get_info(certs->root);
    char until[28];
    if (strcmp(info->spiffe, ca->id) != 0)
        return because(why, WEFT_EINVAL,
                       "%s is the CA of %s, not of %s: choose another folder or trust domain",
                       ca->cert_file, *info->spiffe ? info->spiffe : info->subject, ca->id);
    if (certs->now >= info->not_after)
        return because(why, WEFT_EINVAL, "%s expired at %s: remove %s to begin with a new CA",
                       ca->cert_file, weft_time_format(info->not_after, until), certs->dir);
    crypto_svid *pair = NULL;
    const crypto_certs chain = {.items = &certs->root, .count = 1};
    rc = crypto_svid_new(certs->key, &chain, false, &pair, why);
    crypto_svid_unref(pair);
    return rc == WEFT_EINVAL
               ? because(why, rc, "%s does not belong to %s", ca->key_file, ca->cert_file)
               : rc;
}

int dev_certs_open(dev_certs *certs, crypto_why *why) {
    certs->lock = -1;
    certs->key = NULL;
    certs->root = NULL;
    certs->bundle = NULL;
    if (!crypto_domain_valid(certs->domain))
        return because(why, WEFT_EINVAL,
                       "\"%.100s\" is not a trust domain: a-z 0-9 . - _ are allowed",
                       certs->domain);
    int error = folder_make(certs->dir);
    if (error)
        return because(why, WEFT_EIO, "cannot make the folder %s: %s", certs->dir, strerror(error));
    certs->lock = open(certs->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (certs->lock < 0 || flock(certs->lock, LOCK_EX) < 0)
        return because(why, WEFT_EIO, "cannot use the folder %s: %s", certs->dir, strerror(errno));
    int rc = name_files(certs, "ca", &certs->ca, why);
    certs->ca.id = weft_arena_printf(certs->arena, "spiffe://%s", certs->domain);
    if (rc || !certs->ca.id) return no_memory(why);
    certs->ca.what = exists(certs->ca.cert_file) ? DEV_CERT_KEPT : DEV_CERT_MADE;
    rc = certs->ca.what == DEV_CERT_KEPT ? load_ca(certs, why) : make_ca(certs, why);
    if (rc) return rc;
    certs->ca.not_after = crypto_cert_get_info(certs->root)->not_after;
    const crypto_certs roots = {.items = &certs->root, .count = 1};
    return crypto_bundle_new(certs->domain, &roots, &certs->bundle, why);
}

void dev_certs_close(dev_certs *certs) {
    crypto_bundle_unref(certs->bundle);
    crypto_cert_unref(certs->root);
    crypto_key_unref(certs->key);
    if (certs->lock >= 0) close(certs->lock);
    certs->lock = -1;
    certs->bundle = NULL;
    certs->root = NULL;
    certs->key = NULL;
}

/* ---- services --------------------------------------------------------------------------------------- */

/* True when what is on disk serves on; whatever is wrong with it, a new one mends it. */
static bool leaf_is_good(const dev_certs *certs, dev_cert *leaf) {
    crypto_certs chain = {0};
    crypto_key *key = NULL;
    crypto_svid *pair = NULL;
    bool good = false;
    if (crypto_certs_load(leaf->cert_file, &chain, NULL) ||
        crypto_key_load(leaf->key_file, true, &key, NULL) ||
        crypto_svid_new(key, &chain, true, &pair, NULL))
        goto end;
    const crypto_expect expect = {
        .peer = CRYPTO_PEER_SERVER, .bundle = certs->bundle, .ids = &leaf->id, .id_count = 1};
    if (crypto_verify(&chain, &expect, certs->now, NULL, NULL) != CRYPTO_VALID) goto end;
    const crypto_cert_info *info = crypto_cert_get_info(chain.items[0]);
    leaf->not_after = info->not_after;
    good = certs->now < info->not_before + (info->not_after - info->not_before) / 2;
end:
    crypto_svid_unref(pair);
    crypto_key_unref(key);
    crypto_certs_clear(&chain);
    return good;
}

static int make_leaf(dev_certs *certs, dev_cert *leaf, crypto_why *why) {
    crypto_key *key = NULL;
    crypto_cert *cert = NULL;
    const crypto_issue what = {.role = CRYPTO_LEAF,
                               .common_name = leaf->name,
                               .spiffe = leaf->id,
                               .now = certs->now,
                               .lifetime = certs->ttl};
    int rc = crypto_key_generate(CRYPTO_KEY_P256, &key);
    if (rc) return because(why, rc, "cannot make a key: %s", weft_strerror(rc));
    rc = crypto_cert_issue(&what, key, NULL, certs->root, certs->key, &cert, why);
    if (rc == 0) rc = crypto_key_save(key, leaf->key_file, why);
    if (rc == 0) rc = save_cert(cert, leaf->cert_file, why);
    if (rc == 0) leaf->not_after = crypto_cert_get_info(cert)->not_after;
    crypto_cert_unref(cert);
    crypto_key_unref(key);
    return rc;
}

int dev_certs_leaf(dev_certs *certs, const char *service, dev_cert *out, crypto_why *why) {
    char id[CRYPTO_SPIFFE_MAX + 1];
    if (!up_name_valid(service))
        return because(why, WEFT_EINVAL,
                       "\"%.100s\" is not a name of a service: a DNS label such as order", service);
    if (strcmp(service, "ca") == 0)
        return because(why, WEFT_EINVAL,
                       "a service cannot be called \"ca\": its files are the CA's");
    if (crypto_spiffe_format(certs->domain, certs->name_space, service, id, sizeof id))
        return because(why, WEFT_EINVAL, "\"%.100s\" is not a namespace: a DNS label such as shop",
                       certs->name_space);
    int rc = name_files(certs, service, out, why);
    if (rc) return rc;
    out->id = weft_arena_strdup(certs->arena, id);
    if (!out->id) return no_memory(why);
    out->what = exists(out->cert_file) ? DEV_CERT_RENEWED : DEV_CERT_MADE;
    if (out->what == DEV_CERT_RENEWED && leaf_is_good(certs, out)) {
        out->what = DEV_CERT_KEPT;
        return 0;
    }
    return make_leaf(certs, out, why);
}
