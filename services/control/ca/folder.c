/* The files of the certificate authority: owner-only, each replaced as a whole. */
#include "services/control/ca/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "weft/mem.h"

int ca_explain(crypto_why *why, int error, const char *format, ...) {
    va_list args;
    if (!why) return error;
    va_start(args, format);
    (void)vsnprintf(why->text, sizeof why->text, format, args);
    va_end(args);
    return error;
}

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

int ca_write_file(const char *path, const void *data, size_t size, crypto_why *why) {
    char beside[CA_PATH + 8];
    (void)snprintf(beside, sizeof beside, "%s.new", path);
    (void)unlink(beside);
    const int fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return ca_explain(why, WEFT_EIO, "%s cannot be written: %s", beside, strerror(errno));
    int bad = write_all(fd, data, size) < 0 ? errno : 0;
    if (close(fd) < 0 && !bad) bad = errno;
    if (!bad && rename(beside, path) < 0) bad = errno;
    if (!bad) return 0;
    (void)unlink(beside);
    return ca_explain(why, WEFT_EIO, "%s cannot be written: %s", path, strerror(bad));
}

int ca_folder_check(const char *folder, crypto_why *why) {
    struct stat info;
    if (mkdir(folder, 0700) < 0 && errno != EEXIST)
        return ca_explain(why, WEFT_EIO, "folder %s cannot be made: %s", folder, strerror(errno));
    if (lstat(folder, &info) < 0)
        return ca_explain(why, WEFT_EIO, "folder %s: %s", folder, strerror(errno));
    if (!S_ISDIR(info.st_mode)) return ca_explain(why, WEFT_EINVAL, "%s is not a folder", folder);
    if (info.st_uid != geteuid())
        return ca_explain(why, WEFT_EINVAL, "folder %s belongs to someone else", folder);
    if (info.st_mode & 077)
        return ca_explain(why, WEFT_EINVAL,
                          "folder %s can be entered by others (mode %03o), and keys are in it; "
                          "chmod 700 %s",
                          folder, (unsigned)info.st_mode & 0777u, folder);
    return 0;
}

static void path_of(const ca *authority, const char *name, char out[CA_PATH]) {
    (void)snprintf(out, CA_PATH, "%s/%s", authority->folder, name);
}

static void root_path(const ca *authority, unsigned generation, const char *kind,
                      char out[CA_PATH]) {
    (void)snprintf(out, CA_PATH, "%s/root-%u.%s", authority->folder, generation, kind);
}

int ca_folder_read_intermediate(ca *authority, crypto_certs *roots, crypto_why *why) {
    char path[CA_PATH];
    path_of(authority, "intermediate.pem", path);
    if (access(path, F_OK) < 0 && errno == ENOENT) return 0;
    int error = crypto_certs_load(path, &authority->chain, why);
    if (error) return error;
    if (!crypto_cert_get_info(authority->chain.items[0])->ca)
        return ca_explain(why, WEFT_EINVAL, "%s: its first certificate is no CA's", path);
    path_of(authority, "intermediate.key", path);
    error = crypto_key_load(path, true, &authority->key, why);
    if (error) return error;
    path_of(authority, "roots.pem", path);
    error = crypto_certs_load(path, roots, why);
    return error ? error : 1;
}

/* ---- our own: "sequence <n>", then a line "root <generation> <signs> <leaves>" each */

static int read_root(ca *authority, const ca_root *line, crypto_why *why) {
    char path[CA_PATH];
    crypto_certs certs = {0};
    ca_root *root = &authority->roots[authority->count];
    *root = *line;
    root_path(authority, root->generation, "pem", path);
    int error = crypto_certs_load(path, &certs, why);
    if (error) return error;
    root->cert = crypto_cert_ref(certs.items[0]);
    crypto_certs_clear(&certs);
    authority->count++; /* ca_free has it from here on */
    root_path(authority, root->generation, "key", path);
    return crypto_key_load(path, true, &root->key, why);
}

int ca_folder_read(ca *authority, crypto_why *why) {
    char path[CA_PATH];
    weft_buf text;
    path_of(authority, "roots", path);
    weft_buf_init(&text, 4096);
    int error = weft_buf_read_file(&text, path);
    if (error == WEFT_ENOTFOUND) {
        weft_buf_free(&text);
        return 0;
    }
    if (error) (void)ca_explain(why, error, "%s: %s", path, weft_strerror(error));
    char *rest = text.data;
    char *line;
    bool good = !error;
    while (!error && good && (line = strsep(&rest, "\n"))) {
        ca_root root = {0};
        unsigned long long sequence;
        long long signs, leaves;
        if (!*line) continue;
        if (sscanf(line, "sequence %llu", &sequence) == 1) {
            authority->sequence = sequence;
        } else if (authority->count < CA_ROOTS_MAX &&
                   sscanf(line, "root %u %lld %lld", &root.generation, &signs, &leaves) == 3) {
            root.signs = signs;
            root.leaves = leaves;
            error = read_root(authority, &root, why);
        } else {
            good = false;
        }
    }
    weft_buf_free(&text);
    if (!error && (!good || !authority->count || !authority->sequence))
        error = ca_explain(why, WEFT_EPARSE, "%s is damaged: restore it from a backup", path);
    return error;
}

int ca_folder_write_root(const ca *authority, const ca_root *root, crypto_why *why) {
    char path[CA_PATH];
    weft_buf pem;
    root_path(authority, root->generation, "key", path);
    int error = crypto_key_save(root->key, path, why);
    if (error) return error;
    root_path(authority, root->generation, "pem", path);
    weft_buf_init(&pem, 0);
    error = crypto_cert_to_pem(root->cert, &pem);
    if (error)
        (void)ca_explain(why, error, "%s: %s", path, weft_strerror(error));
    else
        error = ca_write_file(path, pem.data, pem.len, why);
    weft_buf_free(&pem);
    return error;
}

int ca_folder_write_list(const ca *authority, crypto_why *why) {
    char path[CA_PATH];
    weft_buf text;
    weft_buf_init(&text, 4096);
    (void)weft_buf_printf(&text, "sequence %llu\n", (unsigned long long)authority->sequence);
    for (size_t i = 0; i < authority->count; i++)
        (void)weft_buf_printf(&text, "root %u %lld %lld\n", authority->roots[i].generation,
                              (long long)authority->roots[i].signs,
                              (long long)authority->roots[i].leaves);
    path_of(authority, "roots", path);
    int error = text.error;
    if (error)
        (void)ca_explain(why, error, "%s: %s", path, weft_strerror(error));
    else
        error = ca_write_file(path, text.data, text.len, why);
    weft_buf_free(&text);
    return error;
}

void ca_folder_remove_root(const ca *authority, unsigned generation) {
    char path[CA_PATH];
    root_path(authority, generation, "key", path);
    (void)unlink(path);
    root_path(authority, generation, "pem", path);
    (void)unlink(path);
}
