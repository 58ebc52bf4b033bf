/* Addresses as users write them, wherever Weft takes one:
 *
 *     10.0.0.7:8080   inventory.local:8080   [fd00::7]:8080   unix:/run/app.sock   unix-abstract:app
 *
 * Text in, text out: nothing is resolved, opened or looked up. Pure functions: any thread. */
#ifndef WEFT_ADDR_H
#define WEFT_ADDR_H

#include <stdint.h>

#include "weft/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum weft_addr_kind {
    WEFT_ADDR_NONE, /* a zeroed address */
    WEFT_ADDR_NAME, /* a host name, to be resolved */
    WEFT_ADDR_IPV4,
    WEFT_ADDR_IPV6,
    WEFT_ADDR_UNIX,    /* a path in the file system */
    WEFT_ADDR_ABSTRACT /* a name in Linux's abstract socket namespace, unix(7) */
} weft_addr_kind;

/* A host name has at most 253 characters (RFC 1035, less the root); a socket path or name at most 107
 * bytes (sun_path, less its '\0'). */
#define WEFT_ADDR_HOST 256
#define WEFT_ADDR_TEXT (WEFT_ADDR_HOST + 16)

/* A value, copied freely. */
typedef struct weft_addr {
    weft_addr_kind kind;
    uint16_t port;             /* 0 for sockets of the file system; may be 0 to listen anywhere */
    char host[WEFT_ADDR_HOST]; /* name in lower case, literal in canonical form (RFC 5952), path, or
                                * abstract name without its leading '\0' */
} weft_addr;

/* Reads `text`. On WEFT_EPARSE (also for NULL) `*addr` is untouched and `*why` (may be NULL) points to a
 * static sentence that says what is wrong and, where it helps, what to write. "unix:///path" is taken for
 * "unix:/path", as gRPC does. */
int weft_addr_parse(const char *text, weft_addr *addr, const char **why) WEFT_MUST_USE;

/* Writes the address so that _parse reads it back, "" for WEFT_ADDR_NONE; returns out. */
char *weft_addr_format(const weft_addr *addr, char out[WEFT_ADDR_TEXT]);

/* 1 when both are the same text; two names for one host are not equal. */
int weft_addr_equal(const weft_addr *a, const weft_addr *b);

/* 1 when what is sent there cannot leave the machine whatever a resolver says: unix sockets, 127.0.0.0/8,
 * ::1 and ::ffff:127.0.0.0/104. A name never is, not even "localhost": resolve it first. */
int weft_addr_is_local(const weft_addr *addr);

#ifdef __cplusplus
}
#endif
#endif
