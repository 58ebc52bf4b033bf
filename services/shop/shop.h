/* What the services of the shop share: one process, one database, one way to check fields, to
 * page through lists, to do a thing once, and to be killed at a known point. Rules that users
 * see: shop/user/v1/user.proto.
 *
 * A handler reads: check the fields, then one transaction. Text that ends up in a reply lives in
 * the call's context. Everything here may be called from any thread, with a context or
 * transaction of that thread. */
#ifndef SHOP_SHOP_H
#define SHOP_SHOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "google/protobuf/timestamp.pb-c.h"
#include "shop/common/v1/money.pb-c.h"
#include "weft/rpc.h"
#include "weft/store.h"

/* ---- a service ----------------------------------------------------------------------------- */

typedef struct shop shop;

/* One of the services: a row of the table in main.c. */
typedef struct shop_info {
    const char *name;  /* "product": subcommand, discovery name, stem of the database file */
    const char *about; /* a phrase for --help */
    const weft_migration *migrations;
    size_t migration_count;
    /* Fills a new database, in the transaction that marks it as filled. NULL: starts empty.
     * Errors are remembered by the transaction. */
    void (*seed)(const shop *self, weft_tx *tx);
    /* Adds the handlers; before the server starts. Returns what <service>_service_add returned. */
    int (*serve)(shop *self, weft_server *server);
    /* Background work: begins after serve; ends when the server has drained. NULL: none. */
    int (*start)(shop *self);
    void (*stop)(shop *self);
} shop_info;

extern const shop_info shop_user, shop_product, shop_order, shop_payment, shop_inventory;

/* A running service: what weft_ctx_service returns in its handlers. */
struct shop {
    const shop_info *info;
    weft_db *db;
    const weft_clock *clock;
    int64_t lease_ns; /* how long an order belongs to the thread that works on it */
    void *own;        /* the service's own state */
};

static inline shop *shop_of(const weft_ctx *ctx) { return (shop *)weft_ctx_service(ctx); }

/* Opens `path` with the service's migrations and seeds it if it is new. On failure *why is a
 * weft_free-able sentence. */
int shop_open(shop *self, const char *path, char **why) WEFT_MUST_USE;

/* Every service's first migration: the tables that this header's functions use. */
#define SHOP_MIGRATION_COMMON \
    { "common", shop_common_schema }
extern const char shop_common_schema[];

/* ---- checks: OK, or INVALID_ARGUMENT "<field>: <rule>" ------------------------------------- */

/* Returns from the calling function when `expression` failed. */
#define SHOP_TRY(expression)                          \
    do {                                              \
        const weft_status shop_try_ = (expression);   \
        if (weft_failed(shop_try_)) return shop_try_; \
    } while (0)

#define SHOP_QUANTITY_MAX 1000             /* of one product in one order */
#define SHOP_LINES_MAX 50                  /* of one order */
#define SHOP_STOCK_MAX INT64_C(1000000000) /* of one product */
#define SHOP_RESTOCK_MAX INT64_C(1000000)
#define SHOP_PRICE_MAX INT64_C(100000000)     /* of one product, minor units */
#define SHOP_TOP_UP_MAX INT64_C(1000000000)   /* minor units */
#define SHOP_MONEY_MAX INT64_C(1000000000000) /* any amount */
#define SHOP_REQUEST_MAX (64 * 1024)          /* bytes of a request that changes something */

weft_status shop_check_id(weft_ctx *ctx, const char *field, const char *id);
weft_status shop_check_product_id(weft_ctx *ctx, const char *field, const char *id);
weft_status shop_check_key(weft_ctx *ctx, const char *key);
/* `min` and `max` count characters, not bytes; control characters are refused. */
weft_status shop_check_text(weft_ctx *ctx, const char *field, const char *text, size_t min,
                            size_t max);
weft_status shop_check_email(weft_ctx *ctx, const char *field, const char *email);
weft_status shop_check_currency(weft_ctx *ctx, const char *field, const char *code);
weft_status shop_check_range(weft_ctx *ctx, const char *field, int64_t value, int64_t min,
                             int64_t max);
/* `money` may be NULL: "<field>: is required". */
weft_status shop_check_money(weft_ctx *ctx, const char *field, const Shop__Money *money,
                             int64_t min, int64_t max);
/* 0 (unspecified) is allowed when `optional`. */
weft_status shop_check_enum(weft_ctx *ctx, const char *field, const ProtobufCEnumDescriptor *type,
                            int value, bool optional);

/* ---- values -------------------------------------------------------------------------------- */

/* `prefix`, "-" and 19 characters: 9 of milliseconds, 10 random, in Crockford's base 32, so that
 * ids sort by time. NULL when the context's memory is out. */
char *shop_new_id(weft_ctx *ctx, const char *prefix);

/* a * b and a + b, false when that overflows or leaves 0 … SHOP_MONEY_MAX. */
bool shop_multiply(int64_t a, int64_t b, int64_t *product);
bool shop_add(int64_t a, int64_t b, int64_t *sum);

/* "12.99 EUR", in the context; for sentences. Never NULL. */
const char *shop_money_text(weft_ctx *ctx, int64_t minor_units, const char *currency_code);

int64_t shop_now(const weft_ctx *ctx); /* wall ns, of the service's clock */

/* Parts of replies; false when the context's memory is out. Columns are those of `row`. */
bool shop_set_text(weft_ctx *ctx, char **field, const char *text);
bool shop_set_money(weft_ctx *ctx, Shop__Money **field, int64_t minor_units, const char *currency);
bool shop_set_time(weft_ctx *ctx, Google__Protobuf__Timestamp **field, int64_t wall_ns);

/* RESOURCE_EXHAUSTED: the reply does not fit into the call's memory. */
weft_status shop_no_memory(weft_ctx *ctx);

/* ---- pages --------------------------------------------------------------------------------- */

typedef struct shop_page {
    const char *list;     /* which list: names it and its filters */
    const char *after;    /* key of the last item of the page before; "" at the beginning */
    int64_t after_number; /* the same as a number, 0 when it is none */
    size_t size;          /* most items to return */
    size_t count;         /* items so far */
} shop_page;

/* Checks page_size and page_token; `list` tells lists and their filters apart. */
weft_status shop_page_open(weft_ctx *ctx, int32_t page_size, const char *page_token,
                           const char *list, shop_page *page);
/* Ask the database for page->size + 1 rows, and add one by one: false when the page is full, so
 * there are more: then *next_token is set to continue after `last`. NULL in *next_token: memory
 * is out. */
bool shop_page_more(weft_ctx *ctx, shop_page *page, const char *last, char **next_token);

/* ---- transactions -------------------------------------------------------------------------- */

/* INTERNAL, or UNAVAILABLE when the database was busy. Logs the cause, which callers are not
 * shown. */
weft_status shop_store_status(weft_ctx *ctx, int error, const char *detail);

/* For reading. On OK end with shop_end_read. */
weft_status shop_begin_read(weft_ctx *ctx, weft_tx **tx);
/* Ends the transaction; its error, if it had one, else `st`. */
weft_status shop_end_read(weft_ctx *ctx, weft_tx *tx, weft_status st);

/* ---- once: idempotency keys -------------------------------------------------------------------
 * The record of a decided call (key, method, request, answer) is written in the transaction of
 * its effect. */

/* Does the work: checks the state, changes it, fills the reply. A failure rolls everything back.
 * Errors of statements are remembered by the transaction and need no check. */
typedef weft_status (*shop_effect)(weft_ctx *ctx, weft_tx *tx, const void *request, void *reply);

/* A call that changes something: answers from the record if there is one, else runs `effect` and
 * records its answer. Failures are not recorded: they changed nothing, and may succeed when
 * repeated. */
weft_status shop_once(weft_ctx *ctx, const char *key, const ProtobufCMessage *request,
                      ProtobufCMessage *reply, shop_effect effect);

/* The same for the steps of a saga: a refusal (FAILED_PRECONDITION, NOT_FOUND, ALREADY_EXISTS,
 * OUT_OF_RANGE) is recorded too. Else a repeat that was overtaken by the caller's decision to
 * undo could still take effect. */
weft_status shop_decide(weft_ctx *ctx, const char *key, const ProtobufCMessage *request,
                        ProtobufCMessage *reply, shop_effect effect);

/* The parts of shop_once, for a call that is answered long after it was accepted. */
typedef enum shop_known {
    SHOP_NEW,      /* no record */
    SHOP_ANSWERED, /* reply or status is filled in */
    SHOP_OPEN,     /* accepted, not answered yet; `subject` says what it works on */
    SHOP_REFUSED   /* the key belongs to another request, or the database failed: see *st */
} shop_known;
shop_known shop_recall(weft_ctx *ctx, weft_tx *tx, const char *key, const ProtobufCMessage *request,
                       ProtobufCMessage *reply, const char **subject, weft_status *st);
/* Records an accepted call; WEFT_EEXIST when the key was taken meanwhile. */
weft_status shop_accept(weft_ctx *ctx, weft_tx *tx, const char *key,
                        const ProtobufCMessage *request, const char *subject);
/* Records the answer of the accepted calls about `subject`; errors are remembered by the
 * transaction. */
void shop_answer(weft_tx *tx, const char *subject, const void *reply, size_t len);

/* ---- fault points: for tests of crashes -------------------------------------------------------
 * WEFT_SHOP_CRASH="order:after-reserve,…" makes the process die by SIGKILL when it reaches such
 * a point; WEFT_SHOP_FAIL="inventory:before-commit-stock,…" makes the call there fail with
 * FAILED_PRECONDITION. Without these variables the points do nothing. `weft-shop fault-points`
 * lists them; they are the table in fault.c. */

/* Reads the variables. false for a name that is no fault point, with *bad naming it. */
bool shop_fault_init(const char **bad);
/* Dies if armed; true if it is to fail. The point is "<service>:<moment>-<action>". */
bool shop_fault(const char *service, const char *moment, const char *action);
/* The same for the method of a call, "GetUser" as "get-user". */
bool shop_fault_method(const weft_ctx *ctx, const char *moment);
const char *shop_fault_name(size_t index); /* NULL past the end */

#endif
