/* The file in which what a control plane last said is kept: read at start, written whole or not at
 * all. Both block on the disk. */
#ifndef SIDECAR_XDS_CACHE_H
#define SIDECAR_XDS_CACHE_H

#include "weft/buf.h"

/* Appends the file. WEFT_ENOTFOUND, WEFT_EIO, WEFT_ELIMIT, WEFT_ENOMEM. */
int xds_cache_read(const char *path, weft_buf *out) WEFT_MUST_USE;

/* Writes beside it, owner-only, syncs, and renames. WEFT_EIO (errno kept), and the old file stays. */
int xds_cache_write(const char *path, const void *data, size_t len) WEFT_MUST_USE;

#endif
