/* The folder of an identity: see identity.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sidecar/identity/internal.h"
#include "weft/buf.h"
#include "weft/mem.h"
#include "weft/num.h"

int identity_explain(crypto_why *why, int error, const char *format, ...) {
    va_list args;
    if (!why) return error;
    va_start(args, format);
    (void)vsnprintf(why->text, sizeof why->text, format, args);
    va_end(args);
    return error;
}

void identity_state_clear(identity_state *state) {
    crypto_svid_unref(state->svid);
    crypto_bundle_unref(state->bundle);
    state->svid = NULL;
    state->bundle = NULL;
}

int identity_folder_check(const char *folder, crypto_why *why) {
    struct stat info;
    if (strlen(folder) > IDENTITY_PATH - 32)
        return identity_explain(why, WEFT_EINVAL, "the state folder's name is too long");
    if (mkdir(folder, 0700) < 0 && errno != EEXIST)
        return identity_explain(why, WEFT_EIO, "state folder %s: %s", folder, strerror(errno));
    if (lstat(folder, &info) < 0 || !S_ISDIR(info.st_mode))
        return identity_explain(why, WEFT_EINVAL, "state folder %s: not a folder", folder);
    if (info.st_uid != geteuid() || (info.st_mode & 077))
        return identity_explain(why, WEFT_EINVAL,
                                "state folder %s: a private key is in it, and others can enter; "
                                "chmod 700 %s",
                                folder, folder);
    return 0;
}

static void path_of(const char *folder, const char *name, char out[IDENTITY_PATH]) {
    (void)snprintf(out, IDENTITY_PATH, "%s/%s", folder, name);
}

/* ---- writing */

static int write_file(const char *folder, const char *name, const weft_buf *text, crypto_why *why) {
    char path[IDENTITY_PATH], beside[IDENTITY_PATH + 8];
    path_of(folder, name, path);
    if (text->error) return identity_explain(why, text->error, "%s: out of memory", path);
    (void)snprintf(beside, sizeof beside, "%s.new", path);
    (void)unlink(beside);
    const int fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    bool good = fd >= 0;
    for (size_t done = 0; good && done < text->len;) {
        const ssize_t n = write(fd, text->data + done, text->len - done);
        if (n < 0 && errno == EINTR) continue;
        good = n > 0;
        if (good) done += (size_t)n;
    }
    if (good) good = fsync(fd) == 0;
    if (fd >= 0 && close(fd) < 0) good = false;
    if (good && !rename(beside, path)) return 0;
    const int reason = errno;
    (void)unlink(beside);
    return identity_explain(why, WEFT_EIO, "%s cannot be written: %s", path, strerror(reason));
}

int identity_save_bundle(const char *folder, const identity_state *state, crypto_why *why) {
    weft_buf text;
    weft_buf_init(&text, 0);
    int error = crypto_certs_to_pem(crypto_bundle_roots(state->bundle), &text);
    if (error) (void)identity_explain(why, error, "%s", weft_strerror(error));
    if (!error) error = write_file(folder, IDENTITY_BUNDLE_FILE, &text, why);
    weft_buf_clear(&text);
    (void)weft_buf_printf(&text, "%s\n%s\n%llu\n", state->address, state->domain,
                          (unsigned long long)state->sequence);
    if (!error) error = write_file(folder, IDENTITY_CONTROL_FILE, &text, why);
    weft_buf_free(&text);
    return error;
}

int identity_save(const char *folder, const identity_state *state, crypto_why *why) {
    weft_buf text;
    int error = identity_save_bundle(folder, state, why);
    if (error) return error;
    weft_buf_init(&text, 0);
    error = crypto_key_to_pem(crypto_svid_key(state->svid), &text);
    if (!error) error = crypto_certs_to_pem(crypto_svid_chain(state->svid), &text);
    if (error) (void)identity_explain(why, error, "%s", weft_strerror(error));
    if (!error) error = write_file(folder, IDENTITY_SVID_FILE, &text, why);
    if (text.data) crypto_wipe(text.data, text.cap);
    weft_buf_free(&text);
    return error;
}

/* ---- reading */

static int read_control(const char *folder, identity_state *out, crypto_why *why) {
    char path[IDENTITY_PATH], sequence[32] = "";
    weft_buf text;
    path_of(folder, IDENTITY_CONTROL_FILE, path);
    weft_buf_init(&text, 4096);
    int error = weft_buf_read_file(&text, path);
    if (!error && (sscanf(weft_buf_str(&text), "%271s %255s %31s", out->address, out->domain,
                          sequence) != 3 ||
                   weft_parse_uint64(sequence, &out->sequence) < 0))
        error = WEFT_EPARSE;
    weft_buf_free(&text);
    if (!error) return 0;
    return identity_explain(why, error, "%s: %s", path, weft_strerror(error));
}

static int read_parts(const char *folder, identity_state *out, crypto_why *why) {
    char path[IDENTITY_PATH];
    crypto_certs chain = {0}, roots = {0};
    crypto_key *key = NULL;
    int error = read_control(folder, out, why);
    path_of(folder, IDENTITY_BUNDLE_FILE, path);
    if (!error) error = crypto_certs_load(path, &roots, why);
    if (!error) error = crypto_bundle_new(out->domain, &roots, &out->bundle, why);
    path_of(folder, IDENTITY_SVID_FILE, path);
    if (!error) error = crypto_key_load(path, true, &key, why);
    if (!error) error = crypto_certs_load(path, &chain, why);
    if (!error) error = crypto_svid_new(key, &chain, true, &out->svid, why);
    crypto_key_unref(key);
    crypto_certs_clear(&chain);
    crypto_certs_clear(&roots);
    return error;
}

int identity_load(const char *folder, int64_t now, identity_state *out, crypto_why *why) {
    identity_state state = {.sequence = 0};
    crypto_verified verified;
    char path[IDENTITY_PATH];
    path_of(folder, IDENTITY_SVID_FILE, path);
    if (access(path, F_OK) < 0)
        return identity_explain(why, WEFT_ENOTFOUND, "there is no identity in %s", folder);
    int error = read_parts(folder, &state, why);
    if (!error) {
        const crypto_expect expect = {.peer = CRYPTO_PEER_SERVER, .bundle = state.bundle};
        const crypto_verdict verdict =
            crypto_verify(crypto_svid_chain(state.svid), &expect, now, &verified, why);
        if (verdict == CRYPTO_EXPIRED)
            error =
                identity_explain(why, WEFT_ETIMEOUT, "the certificate in %s has expired", folder);
        else if (verdict != CRYPTO_VALID)
            error = WEFT_EINVAL;
    }
    if (error) {
        identity_state_clear(&state);
        return error;
    }
    state.expires = verified.expires;
    (void)snprintf(state.spiffe, sizeof state.spiffe, "%s", crypto_svid_id(state.svid));
    *out = state;
    return 0;
}
