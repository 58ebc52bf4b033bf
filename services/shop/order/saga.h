/* A small engine for sagas: steps that call other services, written down before they are tried,
 * undone in reverse when one is refused.
 *
 *     place:  reserve (undo: release)  ->  charge (undo: refund)  ->  commit
 *
 * EXECUTING runs the steps in order. A step that is refused turns the saga to COMPENSATING,
 * which undoes the steps that are done, last first. COMPLETED and FAILED are the ends. A step
 * whose outcome is not known (no answer, or an answer that proves nothing) is tried again with
 * the same key until it is known; nothing is ever guessed. An undo that is refused parks the
 * saga: it is shown, and tried again at the next start.
 *
 * Who works on a saga holds its lease and checks it in every transaction, so two threads, or two
 * instances of the service, never work on one saga at once, and one that overslept cannot write.
 *
 * The engine knows nothing of orders: a saga's kind brings its steps and says what else to
 * write. */
#ifndef SHOP_ORDER_SAGA_H
#define SHOP_ORDER_SAGA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weft/rpc.h"
#include "weft/store.h"

#define SAGA_STEPS_MAX 8

typedef enum saga_state {
    SAGA_EXECUTING = 1,
    SAGA_COMPENSATING = 2,
    SAGA_COMPLETED = 3, /* every step done */
    SAGA_FAILED = 4     /* one refused, the others undone */
} saga_state;

typedef enum saga_step_state {
    STEP_PENDING = 0,
    STEP_STARTED = 1, /* tried at least once, outcome not known */
    STEP_DONE = 2,
    STEP_REFUSED = 3,
    STEP_UNDOING = 4, /* as STARTED, for the undo */
    STEP_UNDONE = 5
} saga_step_state;

/* A saga as read from the database. Lives in the context it was read with. */
typedef struct saga {
    const char *id;
    const char *subject; /* what it is about: the order */
    const struct saga_kind *kind;
    saga_state state;
    bool parked;
    int failures;     /* tries without outcome in a row */
    int64_t next_try; /* wall ns; nobody tries earlier */
    /* The refusal, once there is one; `failed_step` is -1 before. */
    int failed_step;
    int code;
    const char *message;
    struct {
        saga_step_state state;
        int64_t tries;      /* of the step or of its undo, whichever `state` is about */
        const char *result; /* what the step left for others, "" if nothing: a payment's id */
    } steps[SAGA_STEPS_MAX];
} saga;

/* A step or its undo: one call that is safe to repeat with `key`. `user` is the engine's.
 * *result may be set to text that lives in the context. */
typedef weft_status (*saga_action)(void *user, weft_ctx *ctx, const saga *s, const char *key,
                                   const char **result);

typedef struct saga_step {
    const char *name; /* "reserve" */
    saga_action act;
    saga_action undo; /* NULL: nothing to undo */
} saga_step;

typedef struct saga_kind {
    const char *name; /* "place" */
    const saga_step *steps;
    size_t count;
    /* A refusal parks the saga instead of undoing what is done: for a saga that is itself an
     * undo. */
    bool forward_only;
    /* In the transaction that makes the news durable: something happened ("reserve: done"); the
     * saga ended. Errors are remembered by the transaction. */
    void (*news)(void *user, weft_tx *tx, const saga *s, const char *what);
    void (*ended)(void *user, weft_ctx *ctx, weft_tx *tx, const saga *s);
} saga_kind;

/* Tables saga and saga_step. */
extern const char saga_schema[];

typedef struct saga_engine saga_engine;
typedef struct saga_options {
    const char *service; /* for fault points */
    weft_db *db;
    const weft_clock *clock;
    int64_t lease_ns;              /* how long a dead worker keeps its sagas */
    int threads;                   /* that resume unfinished sagas */
    const saga_kind *const *kinds; /* then NULL */
    void *user;
} saga_options;

/* NULL when memory is out. Stop ends the threads (work in hand stays unfinished) and frees the
 * engine; NULL is allowed. */
saga_engine *saga_engine_new(const saga_options *options);
int saga_engine_start(saga_engine *engine) WEFT_MUST_USE;
void saga_engine_stop(saga_engine *engine);

/* Writes a new saga down, in the caller's transaction, for the caller to follow. Errors are
 * remembered by it. */
void saga_begin(const saga_engine *engine, weft_tx *tx, const saga_kind *kind, const char *id,
                const char *subject);

/* Works on a saga, or waits for whoever does, until it has ended, the context is nearly over or
 * `most_ns` have passed. What is not ended then, the engine's threads go on with. */
void saga_follow(saga_engine *engine, weft_ctx *ctx, const char *id, int64_t most_ns);

/* Waits until a transaction of this engine was committed after `*seen` was last set, but at most
 * 100 ms (another instance may be at work), or until the context is over: then false. Start with
 * *seen = 0. */
bool saga_await(saga_engine *engine, const weft_ctx *ctx, uint64_t *seen);

/* ---- inside the engine: saga_rows.c */

/* WEFT_ENOTFOUND, WEFT_ENOMEM or the database's error. */
int saga_load(const saga_engine *engine, weft_ctx *ctx, const char *id, saga *out) WEFT_MUST_USE;
/* Writes all of it. */
void saga_store(weft_tx *tx, const saga *s, int64_t now);
/* Ids of at most `max` unfinished sagas that are due, in the context; returns how many, or a
 * negative error. */
int saga_due(weft_db *db, weft_ctx *ctx, int64_t now, const char **ids, int max) WEFT_MUST_USE;
int saga_unpark(weft_db *db) WEFT_MUST_USE;

/* ---- inside the engine: saga_worker.c */

struct saga_workers *saga_workers_start(saga_engine *engine, int threads);
void saga_workers_stop(struct saga_workers *workers);

/* ---- inside the engine: saga.c */

typedef enum saga_pass {
    SAGA_ENDED,
    SAGA_BUSY, /* someone else holds the lease */
    SAGA_LATER /* not before next_try; also after an error of the database */
} saga_pass;
/* Works on the saga as far as it goes now; not before its next_try unless told `now`. *next_try
 * is set for SAGA_LATER. */
saga_pass saga_work(saga_engine *engine, weft_ctx *ctx, const char *id, bool now,
                    int64_t *next_try);
const saga_options *saga_engine_options(const saga_engine *engine);

#endif
