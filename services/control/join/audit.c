/* The audit log: see audit.h. */
#include "services/control/join/audit.h"

#include <stdio.h>
#include <string.h>

#include "weft/clock.h"
#include "weft/log.h"
#include "weft/mem.h"

#define HEAD "audit"
#define TRIES 64 /* others who write at the same time */

void audit_init(audit *log, weft_revisions *store, const weft_clock *clock) {
    *log = (audit){.store = store, .clock = clock, .minute = weft_now(clock)};
    (void)pthread_mutex_init(&log->lock, NULL);
}

void audit_end(audit *log) { (void)pthread_mutex_destroy(&log->lock); }

/* Appends: a compare-and-swap from wherever the head is. */
static int append(audit *log, const char *event, const char *actor, const char *text) {
    char id[1][WEFT_BLOB_ID];
    char short_actor[64];
    weft_head head;
    weft_buf full;
    weft_buf_init(&full, 2 * AUDIT_TEXT);
    (void)snprintf(short_actor, sizeof short_actor, "%s", actor);
    (void)weft_buf_adds(&full, text);
    if (strlen(actor) >= sizeof short_actor) (void)weft_buf_printf(&full, " (%s)", actor);
    const weft_blob blob = {.data = full.data, .size = full.len};
    int error = full.error ? full.error : weft_revisions_put(log->store, &blob, 1, id);
    weft_buf_free(&full);
    if (error) return error;
    error = weft_revisions_head(log->store, HEAD, &head);
    if (error == WEFT_ENOTFOUND) head.sequence = 0;
    if (error && error != WEFT_ENOTFOUND) return error;
    for (int i = 0; i < TRIES; i++) {
        const weft_head_move move = {.size = sizeof move,
                                     .name = HEAD,
                                     .expect = head.sequence,
                                     .id = id[0],
                                     .author = short_actor,
                                     .reason = event};
        error = weft_revisions_move(log->store, &move, &head);
        if (error != WEFT_ECONFLICT) break;
    }
    return error;
}

int audit_add(audit *log, const char *event, const char *actor, const char *text) {
    if (!actor || !*actor) actor = "unknown";
    weft_log(WEFT_LOG_INFO, event, WEFT_S("actor", actor), WEFT_S("what", text));
    (void)pthread_mutex_lock(&log->lock); /* our own writers take turns */
    const int error = append(log, event, actor, text);
    (void)pthread_mutex_unlock(&log->lock);
    if (error)
        weft_log(WEFT_LOG_ERROR, "the audit log cannot be written", WEFT_S("event", event),
                 WEFT_S("why", weft_store_message()));
    return error;
}

int audit_refusal(audit *log, const char *event, const char *actor, const char *text) {
    char more[AUDIT_TEXT];
    const int64_t now = weft_now(log->clock);
    uint64_t left_out;
    (void)pthread_mutex_lock(&log->lock);
    log->refusals++;
    if (now - log->minute >= 60 * WEFT_NS_PER_S) {
        log->minute = now;
        log->recorded = 0;
    }
    const bool record = log->recorded < AUDIT_REFUSALS;
    left_out = log->left_out;
    if (record) {
        log->recorded++;
        log->left_out = 0;
    } else {
        log->left_out++;
    }
    (void)pthread_mutex_unlock(&log->lock);
    if (!record) return 0;
    if (!left_out) return audit_add(log, event, actor, text);
    (void)snprintf(more, sizeof more, "%.900s [%llu refusals before this one were not recorded]",
                   text, (unsigned long long)left_out);
    return audit_add(log, event, actor, more);
}

static int fill(audit *log, const weft_head *head, audit_entry *entry) {
    weft_buf text;
    *entry = (audit_entry){.sequence = head->sequence, .time = head->moved};
    (void)snprintf(entry->event, sizeof entry->event, "%.63s", head->reason);
    (void)snprintf(entry->actor, sizeof entry->actor, "%s", head->author);
    weft_buf_init(&text, 0);
    const int error = weft_revisions_get(log->store, head->id, &text);
    if (!error) (void)snprintf(entry->text, sizeof entry->text, "%s", weft_buf_str(&text));
    weft_buf_free(&text);
    return error;
}

int audit_list(audit *log, int64_t before, audit_entry *out, size_t max, size_t *count) {
    size_t found = 0;
    *count = 0;
    weft_head *heads = weft_calloc(max ? max : 1, sizeof *heads);
    if (!heads) return WEFT_ENOMEM;
    int error = weft_revisions_history(log->store, HEAD, before, heads, max, &found);
    for (size_t i = 0; i < found && !error; i++) error = fill(log, &heads[i], &out[i]);
    weft_free(heads);
    if (!error) *count = found;
    return error;
}
