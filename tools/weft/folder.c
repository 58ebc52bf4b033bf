#include "tools/weft/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int folder_make(const char *path) {
    char part[PATH_MAX];
    if (strlen(path) >= sizeof part) return ENAMETOOLONG;
    for (const char *p = path;; p++) {
        if ((*p != '/' && *p != '\0') || p == path) {
            if (*p == '\0') return 0;
            continue;
        }
        memcpy(part, path, (size_t)(p - path));
        part[p - path] = '\0';
        if (mkdir(part, 0700) < 0 && errno != EEXIST) return errno;
        if (*p == '\0') break;
    }
    struct stat st;
    if (stat(path, &st) < 0) return errno;
    return S_ISDIR(st.st_mode) ? 0 : ENOTDIR;
}

int folder_write_file(const char *path, const void *data, size_t size, mode_t mode) {
    char part[PATH_MAX];
    if (snprintf(part, sizeof part, "%s.part", path) >= (int)sizeof part) return ENAMETOOLONG;
    unlink(part); /* its mode may be another */
    int fd = open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0) return errno;
    int error = 0;
    for (const char *at = data; size > 0 && !error;) {
        ssize_t n = write(fd, at, size);
        if (n < 0 && errno != EINTR) error = errno;
        if (n <= 0) continue;
        at += n;
        size -= (size_t)n;
    }
    if (close(fd) < 0 && !error) error = errno;
    if (!error && rename(part, path) < 0) error = errno;
    if (error) unlink(part);
    return error;
}

void folder_remove(const char *path) {
    DIR *dir = opendir(path);
    if (!dir) return;
    for (struct dirent *at; (at = readdir(dir));)
        if (strcmp(at->d_name, ".") != 0 && strcmp(at->d_name, "..") != 0)
            unlinkat(dirfd(dir), at->d_name, 0);
    closedir(dir);
    rmdir(path);
}
