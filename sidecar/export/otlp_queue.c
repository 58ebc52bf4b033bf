/* When to send what, and what to do when that fails. */
#include "sidecar/export/otlp.h"
#include "weft/mem.h"
#include "weft/rng.h"
#include "weft/status.h"

/* Spans wait in `spans`; a batch that is under way, or failed and waits, is `request`. */
struct otlp_queue {
    otlp_source source;
    span_buffer *spans;
    weft_rng rng;
    int64_t oldest; /* when the first of those that wait came */
    weft_arena *arena;
    OtlpTrace__ExportTraceServiceRequest *request; /* NULL: none */
    int64_t made, again;                           /* when; when it may be sent again */
    unsigned failures;                             /* of this batch */
    uint64_t added, sent, dropped, refused, retries;
};

otlp_queue *otlp_queue_new(const otlp_source *source, size_t bytes, uint64_t seed) {
    otlp_queue *q = weft_calloc(1, sizeof *q);
    if (!q) return NULL;
    q->source = *source;
    q->spans = span_buffer_new(bytes ? bytes : OTLP_QUEUE_BYTES);
    weft_rng_seed(&q->rng, seed);
    if (!q->spans) {
        weft_free(q);
        return NULL;
    }
    return q;
}

void otlp_queue_free(otlp_queue *q) {
    if (!q) return;
    span_buffer_free(q->spans);
    weft_arena_free(q->arena);
    weft_free(q);
}

bool otlp_queue_add(otlp_queue *q, const span *s, int64_t now) {
    if (!span_buffer_stats(q->spans).waiting) q->oldest = now;
    if (!span_buffer_add(q->spans, s)) {
        q->dropped++;
        return false;
    }
    q->added++;
    return true;
}

int64_t otlp_queue_due(const otlp_queue *q, bool flush) {
    const size_t waiting = span_buffer_stats(q->spans).waiting;
    if (q->request) return flush ? 0 : q->again;
    if (!waiting) return INT64_MAX;
    return flush || waiting >= OTLP_BATCH_MAX ? 0 : q->oldest + OTLP_DELAY;
}

static bool take(void *user, const span *s) {
    otlp_queue *q = user;
    if (otlp_request_add(q->arena, q->request, s)) q->dropped++;
    return true;
}

const OtlpTrace__ExportTraceServiceRequest *otlp_queue_take(otlp_queue *q, int64_t now) {
    if (q->request) {
        q->retries++;
        return q->request;
    }
    if (!span_buffer_stats(q->spans).waiting) return NULL;
    q->arena = weft_arena_new(0);
    if (q->arena) q->request = otlp_request(q->arena, &q->source, OTLP_BATCH_MAX);
    if (!q->request) {
        weft_arena_free(q->arena);
        q->arena = NULL;
        return NULL;
    }
    (void)span_buffer_drain(q->spans, OTLP_BATCH_MAX, take, q);
    q->oldest = now;
    q->made = now;
    q->failures = 0;
    return q->request;
}

/* As OTLP says; what the collector could not take for lack of room it takes again only if it says when. */
static bool may_retry(const otlp_answer *answer) {
    switch (answer->code) {
    case WEFT_CANCELLED:
    case WEFT_DEADLINE_EXCEEDED:
    case WEFT_ABORTED:
    case WEFT_OUT_OF_RANGE:
    case WEFT_UNAVAILABLE:
    case WEFT_DATA_LOSS:
        return true;
    case WEFT_RESOURCE_EXHAUSTED:
        return answer->retry > 0;
    default:
        return false;
    }
}

/* Doubled each time, between half and all of it by chance. */
static int64_t backoff(otlp_queue *q, int64_t asked) {
    int64_t wait = OTLP_BACKOFF_MIN;
    for (unsigned i = 0; i < q->failures && wait < OTLP_BACKOFF_MAX; i++) wait *= 2;
    if (asked > wait) wait = asked;
    if (wait > OTLP_BACKOFF_MAX) wait = OTLP_BACKOFF_MAX;
    const int64_t half = wait / 2;
    return half + (int64_t)(weft_rng_u64(&q->rng) % (uint64_t)(half + 1));
}

void otlp_queue_done(otlp_queue *q, const otlp_answer *answer, int64_t now) {
    if (!q->request) return;
    const uint64_t count = otlp_request_count(q->request);
    if (answer->code == WEFT_OK) {
        const uint64_t rejected = answer->rejected > 0 ? (uint64_t)answer->rejected : 0;
        q->refused += rejected < count ? rejected : count;
        q->sent += rejected < count ? count - rejected : 0;
    } else if (may_retry(answer) && now - q->made < OTLP_BATCH_AGE) {
        q->again = now + backoff(q, answer->retry);
        q->failures++;
        return;
    } else {
        q->refused += count;
    }
    weft_arena_free(q->arena);
    q->arena = NULL;
    q->request = NULL;
}

otlp_stats otlp_queue_stats(const otlp_queue *q) {
    return (otlp_stats){.added = q->added,
                        .sent = q->sent,
                        .dropped = q->dropped,
                        .refused = q->refused,
                        .retries = q->retries,
                        .waiting = span_buffer_stats(q->spans).waiting +
                                   (q->request ? otlp_request_count(q->request) : 0)};
}
