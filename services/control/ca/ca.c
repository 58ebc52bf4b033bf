/* The certificate authority: see ca.h. */
#include "services/control/ca/ca.h"

#include <stdio.h>
#include <string.h>

#include "services/control/ca/folder.h"
#include "weft/mem.h"

/* ---- the bundle */

static int make_bundle(const ca *authority, const crypto_certs *given, crypto_bundle **out,
                       crypto_why *why) {
    crypto_cert *items[CA_ROOTS_MAX];
    crypto_certs roots = {.items = items};
    if (given) return crypto_bundle_new(authority->domain, given, out, why);
    for (size_t i = 0; i < authority->count; i++) items[roots.count++] = authority->roots[i].cert;
    return crypto_bundle_new(authority->domain, &roots, out, why);
}

crypto_bundle *ca_bundle(const ca *authority) { return authority->bundle; }
uint64_t ca_sequence(const ca *authority) { return authority->sequence; }
const char *ca_domain(const ca *authority) { return authority->domain; }
int64_t ca_leaf_life(const ca *authority) { return authority->leaf; }

/* ---- roots of our own */

static void root_clear(ca_root *root) {
    crypto_cert_unref(root->cert);
    crypto_key_unref(root->key);
    *root = (ca_root){0};
}

static int root_make(ca *authority, unsigned generation, int64_t now, ca_root *root,
                     crypto_why *why) {
    char name[64], id[CRYPTO_DOMAIN_MAX + 16];
    (void)snprintf(name, sizeof name, "Weft root %u", generation);
    (void)snprintf(id, sizeof id, "spiffe://%s", authority->domain);
    const crypto_issue what = {
        .role = CRYPTO_ROOT, .common_name = name, .spiffe = id, .now = now, .lifetime = CA_ROOT};
    root->generation = generation;
    int error = crypto_key_generate(CRYPTO_KEY_P256, &root->key);
    if (error) return ca_explain(why, error, "no key could be made: %s", weft_strerror(error));
    return crypto_cert_issue(&what, root->key, NULL, NULL, root->key, &root->cert, why);
}

static int begin(ca *authority, int64_t now, crypto_why *why) {
    ca_root root = {.signs = now};
    int error = root_make(authority, 1, now, &root, why);
    if (error) {
        root_clear(&root);
        return error;
    }
    authority->roots[0] = root;
    authority->count = 1;
    authority->sequence = 1;
    error = ca_folder_write_root(authority, &root, why);
    return error ? error : ca_folder_write_list(authority, why);
}

static const ca_root *signing_root(const ca *authority, int64_t now) {
    const ca_root *best = &authority->roots[0];
    for (size_t i = 1; i < authority->count; i++)
        if (authority->roots[i].signs <= now) best = &authority->roots[i];
    return best;
}

const crypto_cert *ca_signer(const ca *authority, int64_t now) {
    return authority->count ? signing_root(authority, now)->cert : authority->chain.items[0];
}

/* ---- open, free */

void ca_free(ca *authority) {
    if (!authority) return;
    for (size_t i = 0; i < CA_ROOTS_MAX; i++) root_clear(&authority->roots[i]);
    crypto_certs_clear(&authority->chain);
    crypto_key_unref(authority->key);
    crypto_bundle_unref(authority->bundle);
    weft_free(authority);
}

static int check_options(const ca_options *options, crypto_why *why) {
    if (!options->domain || !crypto_domain_valid(options->domain))
        return ca_explain(why, WEFT_EINVAL,
                          "the trust domain must be 1 to 255 characters of a-z 0-9 . - _");
    if (options->leaf && options->leaf < CA_LEAF_MIN)
        return ca_explain(why, WEFT_EINVAL, "leaf certificates must be valid for 1 s at least");
    if (options->overlap < 0 || !options->folder ||
        strlen(options->folder) >= sizeof((ca *)0)->folder)
        return ca_explain(why, WEFT_EINVAL, "the folder's name is too long");
    return 0;
}

static int open_folder(ca *authority, int64_t now, crypto_why *why) {
    crypto_certs roots = {0};
    int error = ca_folder_check(authority->folder, why);
    if (error) return error;
    const int found = ca_folder_read_intermediate(authority, &roots, why);
    if (found < 0) return found;
    if (found) {
        authority->sequence = 1;
    } else {
        error = ca_folder_read(authority, why);
        if (!error && !authority->count) error = begin(authority, now, why);
    }
    if (!error) error = make_bundle(authority, found ? &roots : NULL, &authority->bundle, why);
    crypto_certs_clear(&roots);
    if (!error && found) {
        const crypto_expect expect = {
            .peer = CRYPTO_PEER_SERVER, .bundle = authority->bundle, .any_cert = true};
        if (crypto_verify(&authority->chain, &expect, now, NULL, why) == CRYPTO_UNKNOWN_ROOT)
            error = ca_explain(why, WEFT_EINVAL, "%s: intermediate.pem is below none of roots.pem",
                               authority->folder);
    }
    return error;
}

int ca_open(const ca_options *options, int64_t now, ca **out, crypto_why *why) {
    int error = check_options(options, why);
    if (error) return error;
    ca *authority = weft_calloc(1, sizeof *authority);
    if (!authority) return ca_explain(why, WEFT_ENOMEM, "out of memory");
    (void)snprintf(authority->folder, sizeof authority->folder, "%s", options->folder);
    (void)snprintf(authority->domain, sizeof authority->domain, "%s", options->domain);
    authority->leaf = options->leaf ? options->leaf : CA_LEAF;
    authority->overlap = options->overlap ? options->overlap : CA_OVERLAP;
    error = open_folder(authority, now, why);
    if (!error && authority->count) {
        /* A folder belongs to one trust domain for good. */
        crypto_spiffe id;
        const char *text = crypto_cert_get_info(authority->roots[0].cert)->spiffe;
        if (!crypto_spiffe_parse(text, strlen(text), &id, NULL) &&
            (id.domain_size != strlen(authority->domain) ||
             memcmp(id.domain, authority->domain, id.domain_size) != 0))
            error =
                ca_explain(why, WEFT_EINVAL, "%s holds the roots of trust domain %.*s, not of %s",
                           authority->folder, (int)id.domain_size, id.domain, authority->domain);
    }
    if (error) {
        ca_free(authority);
        return error;
    }
    *out = authority;
    return 0;
}

/* ---- signing */

/* Leaf first, then what is between it and the root. */
static int chain_of(const ca *authority, crypto_cert *leaf, crypto_certs *chain) {
    const size_t count = 1 + authority->chain.count;
    crypto_cert **items = weft_calloc(count, sizeof *items);
    if (!items) {
        crypto_cert_unref(leaf);
        return WEFT_ENOMEM;
    }
    items[0] = leaf;
    for (size_t i = 1; i < count; i++) items[i] = crypto_cert_ref(authority->chain.items[i - 1]);
    *chain = (crypto_certs){.items = items, .count = count};
    return 0;
}

static int sign(ca *authority, const char *identity, const crypto_key *subject,
                const crypto_csr *csr, int64_t now, crypto_certs *chain, crypto_why *why) {
    crypto_cert *leaf = NULL;
    const crypto_issue what = {
        .role = CRYPTO_LEAF, .spiffe = identity, .now = now, .lifetime = authority->leaf};
    const crypto_key *key = authority->count ? signing_root(authority, now)->key : authority->key;
    int error = crypto_cert_issue(&what, subject, csr, ca_signer(authority, now), key, &leaf, why);
    if (error) return error;
    error = chain_of(authority, leaf, chain);
    return error ? ca_explain(why, error, "%s", weft_strerror(error)) : 0;
}

int ca_sign(ca *authority, const char *identity, const void *csr, size_t size, int64_t now,
            crypto_certs *chain, crypto_why *why) {
    crypto_csr *request = NULL;
    crypto_spiffe id;
    int error = crypto_csr_parse(csr, size, &request, why);
    if (error) return error;
    if (strcmp(crypto_csr_spiffe(request), identity) != 0) {
        error = ca_explain(why, WEFT_ECONFLICT, "the request is for %.200s, allowed is %.200s",
                           crypto_csr_spiffe(request), identity);
    } else if (crypto_spiffe_parse(identity, strlen(identity), &id, NULL) ||
               id.domain_size != strlen(authority->domain) ||
               memcmp(id.domain, authority->domain, id.domain_size) != 0) {
        error = ca_explain(why, WEFT_ECONFLICT, "%.200s is not of trust domain %s", identity,
                           authority->domain);
    } else {
        error = sign(authority, identity, NULL, request, now, chain, why);
    }
    crypto_csr_free(request);
    return error;
}

int ca_issue(ca *authority, const char *identity, int64_t now, crypto_svid **svid,
             crypto_why *why) {
    crypto_key *key = NULL;
    crypto_certs chain = {0};
    int error = crypto_key_generate(CRYPTO_KEY_P256, &key);
    if (error) return ca_explain(why, error, "no key could be made: %s", weft_strerror(error));
    error = sign(authority, identity, key, NULL, now, &chain, why);
    if (!error) error = crypto_svid_new(key, &chain, true, svid, why);
    crypto_certs_clear(&chain);
    crypto_key_unref(key);
    return error;
}

/* ---- replacing the root */

int ca_rotate(ca *authority, int64_t now, ca_rotation *out, crypto_why *why) {
    if (!authority->count)
        return ca_explain(
            why, WEFT_EUNSUPPORTED,
            "the root is kept elsewhere: put the new one beside the old into roots.pem, "
            "and restart");
    if (authority->count > 1)
        return ca_explain(why, WEFT_EBUSY, "the last replacement of the root is not over yet");
    ca_root *old = &authority->roots[0];
    ca_root *fresh = &authority->roots[1];
    crypto_bundle *bundle = NULL;
    int error = root_make(authority, old->generation + 1, now, fresh, why);
    if (error) goto fail;
    fresh->signs = now + authority->overlap;
    old->leaves = fresh->signs + authority->leaf + CRYPTO_BACKDATE;
    authority->count = 2;
    authority->sequence++;
    error = make_bundle(authority, NULL, &bundle, why);
    if (!error) error = ca_folder_write_root(authority, fresh, why);
    if (!error) error = ca_folder_write_list(authority, why);
    if (error) {
        authority->count = 1;
        authority->sequence--;
        old->leaves = 0;
        goto fail;
    }
    crypto_bundle_unref(authority->bundle);
    authority->bundle = bundle;
    *out = (ca_rotation){.signs = fresh->signs, .done = old->leaves};
    return 0;
fail:
    crypto_bundle_unref(bundle);
    root_clear(fresh);
    return error;
}

static int64_t next_of(const ca *authority) {
    int64_t next = INT64_MAX;
    for (size_t i = 0; i < authority->count; i++)
        if (authority->roots[i].leaves && authority->roots[i].leaves < next)
            next = authority->roots[i].leaves;
    return next;
}

int ca_tick(ca *authority, int64_t now, int64_t *next, crypto_why *why) {
    ca_root *old = &authority->roots[0];
    *next = next_of(authority);
    if (authority->count < 2 || !old->leaves || old->leaves > now) return 0;
    const ca_root gone = *old;
    ca before = *authority;
    crypto_bundle *bundle = NULL;
    authority->count--;
    memmove(authority->roots, authority->roots + 1, authority->count * sizeof *authority->roots);
    authority->roots[authority->count] = (ca_root){0};
    authority->sequence++;
    int error = make_bundle(authority, NULL, &bundle, why);
    if (!error) error = ca_folder_write_list(authority, why);
    if (error) {
        crypto_bundle_unref(bundle);
        *authority = before;
        return error;
    }
    crypto_bundle_unref(authority->bundle);
    authority->bundle = bundle;
    ca_folder_remove_root(authority, gone.generation);
    crypto_cert_unref(gone.cert);
    crypto_key_unref(gone.key);
    *next = next_of(authority);
    return 1;
}
