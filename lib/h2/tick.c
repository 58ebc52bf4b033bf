/* Time: the peer's first and last words, keepalive, idleness, draining. Deadlines only ever move later by
 * themselves, so nothing is recomputed while traffic flows: a tick that comes too early sets the next. */
#include "lib/h2/h2_int.h"

/* How long the final GOAWAY of a drain waits for the answer to its PING. */
#define DRAIN_WAIT WEFT_NS_PER_S

void drain_finish(h2_conn *c) {
    if (c->drain == DRAIN_FINAL || c->failed) return;
    c->drain = DRAIN_FINAL;
    c->goaway_last = c->last_peer_id;
    write_goaway(c, c->goaway_last, H2_NO_ERROR, NULL, 0);
}

void h2_conn_drain(h2_conn *c) {
    if (c->drain || c->failed) return;
    if (c->role == H2_CLIENT) {
        drain_finish(c);
        return;
    }
    c->drain = DRAIN_ANNOUNCED;
    c->drain_since = c->env->now;
    write_goaway(c, STREAM_ID_MAX, H2_NO_ERROR, NULL, 0);
    c->drain_ping = c->ping_sent < 0;
    ping_send(c);
    arm(c, c->env->now + DRAIN_WAIT);
}

static int expire(h2_conn *c, uint64_t *stat, uint32_t code, const char *text) {
    ++*stat;
    return conn_error(c, code, text);
}

/* Whether `since` + `timeout` is over; otherwise the next tick comes no later. */
static bool over(h2_conn *c, int64_t since, int64_t timeout) {
    if (since < 0 || !timeout) return false;
    if (c->env->now - since >= timeout) return true;
    arm(c, since + timeout);
    return false;
}

static int check(h2_conn *c) {
    const h2_limits *l = c->limits;
    h2_stats *stats = &c->env->stats;
    c->deadline = WEFT_NO_DEADLINE;
    if (c->env->now >= c->settings_deadline)
        return expire(c, &stats->timeout_settings, H2_SETTINGS_TIMEOUT,
                      "no SETTINGS or no ACK in time");
    arm(c, c->settings_deadline);
    if (over(c, c->partial_since, l->header_timeout))
        return expire(c, &stats->timeout_header, H2_ENHANCE_YOUR_CALM,
                      "frame not completed in time");
    if (over(c, c->ping_sent, l->ping_timeout))
        return expire(c, &stats->timeout_ping, H2_ENHANCE_YOUR_CALM, "PING not answered in time");
    if (c->drain == DRAIN_ANNOUNCED && over(c, c->drain_since, DRAIN_WAIT)) drain_finish(c);
    if (c->ping_sent < 0 && over(c, c->last_input, l->ping_interval)) {
        ping_send(c);
        arm(c, c->env->now + l->ping_interval);
    }
    if (!c->drain && over(c, c->idle_since, l->idle_timeout)) {
        stats->timeout_idle++;
        h2_conn_drain(c);
    }
    return 0;
}

int h2_conn_tick(h2_conn *c) {
    if (c->failed) return WEFT_ECLOSED;
    if (c->env->now < c->deadline) return 0;
    enter(c);
    int failed = check(c);
    if (c->failed) {
        fail_streams(c, 0);
        if (!failed) failed = WEFT_ENOMEM;
    }
    return leave(c, failed);
}
