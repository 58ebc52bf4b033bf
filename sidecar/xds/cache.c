#include "sidecar/xds/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int xds_cache_read(const char *path, weft_buf *out) { return weft_buf_read_file(out, path); }

static int write_all(int fd, const char *data, size_t len) {
    while (len) {
        const ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return WEFT_EIO;
        data += n;
        len -= (size_t)n;
    }
    return fsync(fd) ? WEFT_EIO : 0;
}

/* A rename is there after a crash only once its folder is on disk. */
static int sync_folder(const char *path) {
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    const int len = slash ? (int)(slash - path) + 1 : 0;
    if (snprintf(folder, sizeof folder, "%.*s.", len, path) >= (int)sizeof folder) return WEFT_EIO;
    const int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return WEFT_EIO;
    const int rc = fsync(fd) ? WEFT_EIO : 0;
    (void)close(fd);
    return rc;
}

int xds_cache_write(const char *path, const void *data, size_t len) {
    char beside[PATH_MAX];
    if (snprintf(beside, sizeof beside, "%s.new", path) >= (int)sizeof beside) return WEFT_EIO;
    const int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) return WEFT_EIO;
    int rc = write_all(fd, data, len);
    if (close(fd) && !rc) rc = WEFT_EIO;
    if (!rc && rename(beside, path)) rc = WEFT_EIO;
    const int error = errno;
    if (rc) (void)unlink(beside);
    errno = error;
    return rc ? rc : sync_folder(path);
}
