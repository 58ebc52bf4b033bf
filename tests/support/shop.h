/* The shop as five processes in a folder of their own, for integration tests. */
#ifndef TESTS_SUPPORT_SHOP_H
#define TESTS_SUPPORT_SHOP_H

#include <stdbool.h>
#include <stddef.h>

#include "tests/support/proc.h"
#include "weft/rpc.h"

enum { SHOP_USER, SHOP_PRODUCT, SHOP_ORDER, SHOP_PAYMENT, SHOP_INVENTORY, SHOP_SERVICES };
extern const char *const shop_names[SHOP_SERVICES];

typedef struct shop_mesh {
    char dir[128];
    const char *lease; /* of orders, "1s"; NULL: the default */
    proc services[SHOP_SERVICES];
    weft_channel *to[SHOP_SERVICES];
} shop_mesh;

/* Makes the folder and starts all five. false: the reason is on standard error. */
bool shop_mesh_open(shop_mesh *mesh);
/* Starts one that is not running, with WEFT_SHOP_CRASH and WEFT_SHOP_FAIL set if not NULL. */
bool shop_mesh_start(shop_mesh *mesh, int service, const char *crash, const char *fail);
/* SIGTERM to all, order first; true when each ended with code 0. The databases stay. */
bool shop_mesh_stop(shop_mesh *mesh);
/* Stops what runs, frees the channels, removes the folder. Shows the logs when `failed`. */
void shop_mesh_close(shop_mesh *mesh, bool failed);

/* The rows of a service's database as text, table by table; the caller frees it. Without what
 * tells nothing: leases, and the record of keys unless `with_keys`. */
char *shop_mesh_dump(const shop_mesh *mesh, int service, bool with_keys);

#endif
