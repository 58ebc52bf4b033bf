/* The audit log: who joined, who was refused and why, who changed what. Entries are moves of the head "audit"
 * in the store, so they are kept, ordered and never rewritten.
 *
 * Refusals come from strangers: at most AUDIT_REFUSALS of them a minute are recorded, the others counted, and
 * the next recorded one says how many were left out. Any thread. */
#ifndef SERVICES_CONTROL_JOIN_AUDIT_H
#define SERVICES_CONTROL_JOIN_AUDIT_H

#include <pthread.h>

#include "weft/store_revisions.h"

#define AUDIT_REFUSALS 120u /* a minute */
#define AUDIT_TEXT 1024     /* bytes of a text, with its '\0' */

typedef struct audit {
    weft_revisions *store; /* borrowed */
    const weft_clock *clock;
    pthread_mutex_t lock;
    int64_t minute;    /* monotonic ns: when the present minute began */
    unsigned recorded; /* refusals in it */
    uint64_t left_out; /* since the last recorded one */
    uint64_t refusals; /* ever, since start */
} audit;

typedef struct audit_entry {
    int64_t sequence; /* from 1 */
    int64_t time;     /* wall ns */
    char event[64];
    char actor[64];
    char text[AUDIT_TEXT];
} audit_entry;

void audit_init(audit *log, weft_revisions *store, const weft_clock *clock);
void audit_end(audit *log);

/* Records one line. `actor` is an identity, "owner" or a peer's address, cut at 63 bytes with the rest in the
 * text. Durable on return; 0 or what the store says, which is logged as well. */
int audit_add(audit *log, const char *event, const char *actor, const char *text);

/* As audit_add for what strangers can cause, under the limit. */
int audit_refusal(audit *log, const char *event, const char *actor, const char *text);

/* Entries with a sequence below `before` (0: all), newest first. */
int audit_list(audit *log, int64_t before, audit_entry *out, size_t max,
               size_t *count) WEFT_MUST_USE;

#endif
