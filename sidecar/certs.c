#include "sidecar/certs.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "weft/log.h"
#include "weft/mem.h"

/* What the files of one transport socket hold. */
typedef struct material {
    crypto_svid *svid;
    crypto_bundle *bundle;
} material;

static void material_clear(material *m) {
    crypto_svid_unref(m->svid);
    crypto_bundle_unref(m->bundle);
}

/* Not refused: keys that are mounted into a container often have a mode that is not ours to choose. */
static void warn_if_open(const char *path) {
    struct stat info;
    if (!stat(path, &info) && info.st_mode & 077)
        weft_log(WEFT_LOG_WARN, "a private key can be read by others; chmod 600 it",
                 WEFT_S("file", path));
}

static int load_svid(const config_tls *tls, material *out, crypto_why *why) {
    crypto_certs chain = {0};
    crypto_key *key = NULL;
    int rc = crypto_certs_load(tls->cert_file, &chain, why);
    if (!rc) rc = crypto_key_load(tls->key_file, false, &key, why);
    if (!rc) warn_if_open(tls->key_file);
    /* An identity of the mesh if it is one; else a certificate with names, as at an edge. */
    const bool spiffe = !rc && *crypto_cert_get_info(chain.items[0])->spiffe;
    if (!rc) rc = crypto_svid_new(key, &chain, spiffe, &out->svid, why);
    crypto_key_unref(key);
    crypto_certs_clear(&chain);
    return rc;
}

static int load_bundle(const config_tls *tls, const char *domain, material *out, crypto_why *why) {
    crypto_certs roots = {0};
    int rc = crypto_certs_load(tls->ca_file, &roots, why);
    if (!rc) rc = crypto_bundle_new(domain, &roots, &out->bundle, why);
    crypto_certs_clear(&roots);
    return rc;
}

/* The trust domain that peers must be of when no names are given: as configured, else our own. */
static const char *domain_of(const config_tls *tls, const material *m,
                             char out[CRYPTO_DOMAIN_MAX + 1]) {
    crypto_spiffe id;
    const char *mine = m->svid ? crypto_svid_id(m->svid) : "";
    if (tls->domain) return tls->domain;
    if (crypto_spiffe_parse(mine, strlen(mine), &id, NULL)) return NULL;
    (void)snprintf(out, CRYPTO_DOMAIN_MAX + 1, "%.*s", (int)id.domain_size, id.domain);
    return out;
}

static int context(const config_tls *tls, certs *all, tls_context **out, crypto_why *why) {
    material m = {0};
    char domain[CRYPTO_DOMAIN_MAX + 1];
    int rc = tls->cert_file ? load_svid(tls, &m, why) : 0;
    const char *trusted = domain_of(tls, &m, domain);
    if (!rc && tls->ca_file) rc = load_bundle(tls, trusted, &m, why);
    if (!rc) {
        const tls_config config = {.role = tls->server ? TLS_SERVER : TLS_CLIENT,
                                   .svid = m.svid,
                                   .bundle = m.bundle,
                                   .domain = trusted,
                                   .ids = tls->ids,
                                   .id_count = tls->id_count,
                                   .dns = tls->dns,
                                   .dns_count = tls->dns_count,
                                   .any_cert = !trusted && !tls->id_count && !tls->dns_count,
                                   .no_peer_cert = tls->server && !tls->require_peer,
                                   .server_name = tls->server_name};
        rc = tls_context_new(&config, out, why);
    }
    if (!rc && m.svid && !*all->self)
        (void)snprintf(all->self, sizeof all->self, "%s", crypto_svid_id(m.svid));
    material_clear(&m);
    return rc;
}

int certs_load(const config_snapshot *snapshot, certs *out, char why[CERTS_WHY]) {
    crypto_why reason = {"out of memory"};
    *out = (certs){.listener_count = snapshot->listener_count,
                   .cluster_count = snapshot->cluster_count};
    out->listeners = weft_calloc(snapshot->listener_count + 1, sizeof(tls_context *));
    out->clusters = weft_calloc(snapshot->cluster_count + 1, sizeof(tls_context *));
    const char *kind = "", *name = "";
    int rc = out->listeners && out->clusters ? 0 : WEFT_ENOMEM;
    for (uint32_t i = 0; i < snapshot->listener_count && !rc; i++) {
        kind = "listener ";
        name = snapshot->listeners[i].name;
        if (snapshot->listeners[i].tls)
            rc = context(snapshot->listeners[i].tls, out, &out->listeners[i], &reason);
    }
    for (uint32_t i = 0; i < snapshot->cluster_count && !rc; i++) {
        kind = "cluster ";
        name = snapshot->clusters[i].name;
        if (snapshot->clusters[i].tls)
            rc = context(snapshot->clusters[i].tls, out, &out->clusters[i], &reason);
    }
    if (rc) {
        (void)snprintf(why, CERTS_WHY, "%s%s%s%s", kind, name, *name ? ": " : "", reason.text);
        certs_free(out);
    }
    return rc;
}

void certs_free(certs *c) {
    for (uint32_t i = 0; c->listeners && i < c->listener_count; i++)
        tls_context_unref(c->listeners[i]);
    for (uint32_t i = 0; c->clusters && i < c->cluster_count; i++)
        tls_context_unref(c->clusters[i]);
    weft_free(c->listeners);
    weft_free(c->clusters);
    c->listeners = c->clusters = NULL;
}
