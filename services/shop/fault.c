/* Fault points. The table is the documentation: tests take the names from `weft-shop
 * fault-points`. */
#include <ctype.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/shop/shop.h"
#include "weft/log.h"
#include "weft/stub.h"

/* In a service that is called: "before" is inside the transaction, ahead of its commit; "after"
 * is when it is durable (or read) and the caller has no answer yet. In order: "before" is when a
 * step is written down as begun and nothing was sent; "after" is when the answer came and is not
 * written down yet. accept: the order's own first transaction; finish: its last one. */
static const char *const points[] = {
    "user:after-get-user",
    "product:after-batch-get-products",
    "inventory:before-reserve-stock",
    "inventory:after-reserve-stock",
    "inventory:before-commit-stock",
    "inventory:after-commit-stock",
    "inventory:before-release-stock",
    "inventory:after-release-stock",
    "inventory:before-return-stock",
    "inventory:after-return-stock",
    "payment:before-charge",
    "payment:after-charge",
    "payment:before-refund",
    "payment:after-refund",
    "order:before-accept",
    "order:after-accept",
    "order:before-reserve",
    "order:after-reserve",
    "order:before-charge",
    "order:after-charge",
    "order:before-commit",
    "order:after-commit",
    "order:before-undo-charge",
    "order:after-undo-charge",
    "order:before-undo-reserve",
    "order:after-undo-reserve",
    "order:before-finish",
    "order:after-finish",
    "order:before-refund",
    "order:after-refund",
    "order:before-return",
    "order:after-return",
};
#define POINTS (sizeof points / sizeof points[0])

static unsigned char crash[POINTS], fail[POINTS]; /* written before threads start */
static bool armed;

const char *shop_fault_name(size_t index) { return index < POINTS ? points[index] : NULL; }

static bool arm(const char *variable, unsigned char *set, const char **bad) {
    const char *list = getenv(variable);
    while (list && *list) {
        const size_t len = strcspn(list, ",");
        size_t i = 0;
        while (i < POINTS && (strncmp(points[i], list, len) != 0 || points[i][len])) i++;
        if (i == POINTS) {
            *bad = list;
            return false;
        }
        set[i] = 1;
        armed = true;
        list += len + (list[len] == ',');
    }
    return true;
}

bool shop_fault_init(const char **bad) {
    return arm("WEFT_SHOP_CRASH", crash, bad) && arm("WEFT_SHOP_FAIL", fail, bad);
}

bool shop_fault(const char *service, const char *moment, const char *action) {
    if (!armed) return false;
    char name[80];
    (void)snprintf(name, sizeof name, "%s:%s-%s", service, moment, action);
    for (size_t i = 0; i < POINTS; i++) {
        if (strcmp(points[i], name) != 0) continue;
        if (crash[i]) {
            weft_log(WEFT_LOG_WARN, "fault point: dying", WEFT_S("point", name));
            (void)raise(SIGKILL);
        }
        if (fail[i]) weft_log(WEFT_LOG_WARN, "fault point: failing", WEFT_S("point", name));
        return fail[i];
    }
    return false;
}

/* "ReserveStock" is "reserve-stock" in the table. */
bool shop_fault_method(const weft_ctx *ctx, const char *moment) {
    if (!armed) return false;
    char action[48];
    size_t len = 0;
    for (const char *c = weft_ctx_method(ctx)->name; *c && len + 2 < sizeof action; c++) {
        if (isupper((unsigned char)*c) && len > 0) action[len++] = '-';
        action[len++] = (char)tolower((unsigned char)*c);
    }
    action[len] = '\0';
    return shop_fault(shop_of(ctx)->info->name, moment, action);
}
