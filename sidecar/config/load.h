/* From a bootstrap file, or from messages, to a snapshot. */
#ifndef SIDECAR_CONFIG_LOAD_H
#define SIDECAR_CONFIG_LOAD_H

#include <protobuf-c/protobuf-c.h>

#include "sidecar/config/config.h"
#include "weft/buf.h"
#include "weft/diag.h"

#define CONFIG_FILE_MAX (4u << 20) /* bytes of a bootstrap file */

typedef struct config_options {
    size_t size;      /* sizeof(config_options) */
    const char *file; /* name in diagnostics; NULL: none */
    /* Plaintext to and from other machines. Off: it is refused anywhere but on unix sockets and
     * loopback addresses. The flag is called --unsafe-plaintext. */
    bool unsafe_plaintext;
    /* Do not look whether files that are named exist (for tests and tools on other machines). */
    bool skip_files;
    /* Of config_registry_new, for those who load often: made and freed each time where this is NULL
     * (about a millisecond). Must outlive the snapshot. */
    const struct weft_registry *registry;
    /* A control plane says more: listeners, clusters' endpoints and virtual hosts may be missing. */
    bool dynamic;
} config_options;

/* All types a bootstrap may hold. NULL when memory is out; free with weft_registry_free. Any thread
 * may use it. */
struct weft_registry *config_registry_new(void) WEFT_MUST_USE;

/* Reads a bootstrap file, YAML or JSON, of the subset that proto/envoy shows. NULL options: the
 * defaults. On failure every problem is in `diags`, each with line, path and reason, and the result
 * is WEFT_EPARSE, WEFT_ENOTFOUND, WEFT_EIO, WEFT_ELIMIT or WEFT_ENOMEM. Blocks on the file. */
int config_load(const char *path, const config_options *options, config_snapshot **out,
                weft_diags *diags) WEFT_MUST_USE;

/* The same for a text in memory. Only looks at the file system for TLS files (see skip_files). */
int config_parse(const char *text, size_t len, const config_options *options, config_snapshot **out,
                 weft_diags *diags) WEFT_MUST_USE;

/* The same for a serialized envoy.config.bootstrap.v3.Bootstrap; unknown fields are ignored except
 * inside of what bears security (contracts.md "xDS strictness"). Diagnostics have no lines. */
int config_from_wire(const uint8_t *data, size_t len, const config_options *options,
                     config_snapshot **out, weft_diags *diags) WEFT_MUST_USE;

/* The node of the file a snapshot was made from, an envoy.config.core.v3.Node; NULL: it has none.
 * Lives as long as the snapshot. */
const ProtobufCMessage *config_node_message(const config_snapshot *snapshot);

/* What the snapshot was made from, as JSON: {"version":…,"bootstrap":{…}}. Keys are never in it:
 * TLS material comes from files only. WEFT_ENOMEM, WEFT_ELIMIT. */
int config_dump(const config_snapshot *snapshot, weft_buf *out) WEFT_MUST_USE;

#endif
