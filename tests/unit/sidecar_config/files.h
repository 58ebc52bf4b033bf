/* The bootstrap files beside these tests. */
#ifndef TESTS_SIDECAR_CONFIG_FILES_H
#define TESTS_SIDECAR_CONFIG_FILES_H

#include "sidecar/config/load.h"
#include "weft/buf.h"

#define CONFIG_FILES "tests/unit/sidecar_config"

/* Reads a file; fails the test if it cannot. Free with weft_buf_free. */
void files_read(const char *path, weft_buf *out);

/* A snapshot of good/<name>.yaml, whose TLS files need not exist; prints problems and fails the test
 * if there are any. */
config_snapshot *files_good(const char *name);

/* The same for a text. */
config_snapshot *files_parse(const char *text);

#endif
