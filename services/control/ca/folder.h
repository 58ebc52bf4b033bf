/* The files of the certificate authority. */
#ifndef SERVICES_CONTROL_CA_FOLDER_H
#define SERVICES_CONTROL_CA_FOLDER_H

#include "services/control/ca/ca.h"

#define CA_PATH 1024 /* bytes of a path, with its '\0' */

/* A root of our own. */
typedef struct ca_root {
    unsigned generation; /* from 1 */
    int64_t signs;       /* wall ns from when it signs */
    int64_t leaves;      /* wall ns when it leaves the bundle; 0: not planned */
    crypto_cert *cert;
    crypto_key *key;
} ca_root;

/* Invariants of our own: 1 <= count <= CA_ROOTS_MAX, sorted by generation, `signs` growing. Of an operator's:
 * count is 0, `chain` and `key` are set. */
struct ca {
    char folder[CA_PATH - 64];
    char domain[CRYPTO_DOMAIN_MAX + 1];
    int64_t leaf, overlap;
    uint64_t sequence;
    ca_root roots[CA_ROOTS_MAX];
    size_t count;
    crypto_certs chain; /* of the intermediate, itself first */
    crypto_key *key;
    crypto_bundle *bundle;
};

/* "<reason>" into `why`; returns `error`. */
int ca_explain(crypto_why *why, int error, const char *format, ...) WEFT_PRINTF(3, 4);

/* Writes `size` bytes, mode 0600, beside the file first and then in its place; durable. */
int ca_write_file(const char *path, const void *data, size_t size, crypto_why *why) WEFT_MUST_USE;

/* Makes the folder if needed and refuses one that others can enter. */
int ca_folder_check(const char *folder, crypto_why *why) WEFT_MUST_USE;

/* An operator's authority: 1 when there is one and it was read, 0 when there is none. */
int ca_folder_read_intermediate(ca *authority, crypto_certs *roots, crypto_why *why) WEFT_MUST_USE;

/* Our own roots: count stays 0 when there are none. */
int ca_folder_read(ca *authority, crypto_why *why) WEFT_MUST_USE;

/* Key and certificate of one root; then the list. */
int ca_folder_write_root(const ca *authority, const ca_root *root, crypto_why *why) WEFT_MUST_USE;
int ca_folder_write_list(const ca *authority, crypto_why *why) WEFT_MUST_USE;

/* Removes what is no longer in the list. */
void ca_folder_remove_root(const ca *authority, unsigned generation);

#endif
