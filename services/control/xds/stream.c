#include "services/control/xds/stream.h"

#include <stdio.h>
#include <string.h>

#include "services/control/xds/sub.h"
#include "weft/clock.h"
#include "weft/mem.h"

#define ACK_WAIT (XDS_STREAM_ACK_WAIT_S * WEFT_NS_PER_S)

struct xds_stream {
    const control_build_output *output;
    const char *identifier;
    xds_sub subs[CONTROL_XDS_TYPES];
};

xds_stream *xds_stream_new(const control_build_output *output, const char *identifier) {
    xds_stream *stream = weft_calloc(1, sizeof *stream);
    if (!stream) return NULL;
    stream->output = output;
    stream->identifier = identifier;
    for (int i = 0; i < CONTROL_XDS_TYPES; i++) xds_sub_init(&stream->subs[i], (control_xds_type)i);
    return stream;
}

void xds_stream_free(xds_stream *stream) {
    if (!stream) return;
    for (int i = 0; i < CONTROL_XDS_TYPES; i++) xds_sub_free(&stream->subs[i]);
    weft_free(stream);
}

/* ---- what the client says */

static control_xds_type type_of(const char *url) {
    int type = 0;
    while (type < CONTROL_XDS_TYPES && strcmp(url, xds_sub_urls[type]) != 0) type++;
    return (control_xds_type)type;
}

/* A stream's first request of a type. What the client has from an earlier stream, it is not told again. */
static int begin(xds_stream *stream, xds_sub *s, const EnvoyDiscovery__DiscoveryRequest *request,
                 const char **why) {
    const control_resources *all = &stream->output->types[s->type];
    char version[XDS_STREAM_VERSION_TEXT];
    int rc = xds_sub_names(s, request->resource_names, request->n_resource_names, why);
    if (rc) return rc;
    s->subscribed = true;
    xds_sub_version(s, all, version);
    if (strcmp(request->version_info, version) != 0) return 0;
    rc = xds_sub_know(s, all);
    if (rc) return rc;
    s->owed = false;
    (void)snprintf(s->version, sizeof s->version, "%s", version);
    (void)snprintf(s->accepted, sizeof s->accepted, "%s", version);
    return 0;
}

static bool is_stale(const xds_sub *s, const char *nonce) {
    return s->sent && strcmp(nonce, s->nonce) != 0;
}

int xds_stream_request(xds_stream *stream, const EnvoyDiscovery__DiscoveryRequest *request,
                       const char **why) {
    const control_xds_type type = type_of(request->type_url);
    *why = "";
    if (type == CONTROL_XDS_TYPES) return 0;
    xds_sub *s = &stream->subs[type];
    if (!s->subscribed) return begin(stream, s, request, why);
    if (is_stale(s, request->response_nonce)) {
        s->stale++;
        return 0;
    }
    if (s->waiting)
        xds_sub_answered(s, request->error_detail != NULL,
                         request->error_detail ? request->error_detail->message : "");
    return xds_sub_names(s, request->resource_names, request->n_resource_names, why);
}

/* ---- what it should have */

int xds_stream_set(xds_stream *stream, const control_build_output *output) {
    xds_sub *clusters = &stream->subs[CONTROL_CDS];
    const int rc =
        xds_sub_keep(clusters, &stream->output->types[CONTROL_CDS], &output->types[CONTROL_CDS]);
    if (rc) return rc;
    xds_sub_forget(&stream->subs[CONTROL_EDS], &output->types[CONTROL_EDS]);
    xds_sub_forget(&stream->subs[CONTROL_RDS], &output->types[CONTROL_RDS]);
    stream->output = output;
    return 0;
}

/* ---- what it is told */

static bool holds_up(const xds_sub *s, int64_t now) {
    return s->waiting && now < s->sent_at + ACK_WAIT;
}

/* Clusters that are gone may go once nothing else is owed, and no route was refused that would have
 * led elsewhere. */
static bool may_remove(const xds_stream *stream) {
    for (int i = 0; i < CONTROL_XDS_TYPES; i++) {
        const xds_sub *s = &stream->subs[i];
        if (!s->subscribed) continue;
        const control_resources *all = &stream->output->types[i];
        if (s->waiting || xds_sub_due(s, all, false)) return false;
        if ((i == CONTROL_LDS || i == CONTROL_RDS) && xds_sub_doubt(s, all)) return false;
    }
    return true;
}

static xds_sub *next_due(xds_stream *stream, int64_t now) {
    const bool doubt =
        xds_sub_doubt(&stream->subs[CONTROL_CDS], &stream->output->types[CONTROL_CDS]);
    for (int i = 0; i < CONTROL_XDS_TYPES; i++) {
        xds_sub *s = &stream->subs[i];
        if (!s->subscribed) continue;
        /* Clusters were refused: routes that are in force do not move to what may not be there. */
        s->hold = doubt && *s->accepted && (i == CONTROL_LDS || i == CONTROL_RDS);
        if (holds_up(s, now)) return NULL;
        if (!s->waiting && xds_sub_due(s, &stream->output->types[i], s->hold)) return s;
    }
    xds_sub *clusters = &stream->subs[CONTROL_CDS];
    if (!clusters->kept || !may_remove(stream)) return NULL;
    xds_sub_drop_kept(clusters);
    return clusters;
}

int xds_stream_next(xds_stream *stream, int64_t now, weft_arena *arena,
                    EnvoyDiscovery__DiscoveryResponse **out) {
    xds_sub *s = next_due(stream, now);
    if (!s) return 0;
    const control_resources *all = &stream->output->types[s->type];
    EnvoyDiscovery__DiscoveryResponse *response = weft_arena_alloc(arena, sizeof *response);
    EnvoyDiscovery__ControlPlane *who = weft_arena_alloc(arena, sizeof *who);
    if (!response || !who) return WEFT_ENOMEM;
    envoy_discovery__discovery_response__init(response);
    envoy_discovery__control_plane__init(who);
    who->identifier = weft_arena_strdup(arena, stream->identifier);
    response->type_url = weft_arena_strdup(arena, xds_sub_urls[s->type]);
    if (!who->identifier || !response->type_url) return WEFT_ENOMEM;
    if (*stream->identifier) response->control_plane = who;
    if (s->type == CONTROL_CDS) xds_sub_again(&stream->subs[CONTROL_EDS], s, all);
    const int rc = xds_sub_tell(s, all, arena, response);
    if (rc) return rc;
    s->sent_at = now;
    response->version_info = weft_arena_strdup(arena, s->version);
    response->nonce = weft_arena_strdup(arena, s->nonce);
    if (!response->version_info || !response->nonce) return WEFT_ENOMEM;
    *out = response;
    return 1;
}

int64_t xds_stream_wake(const xds_stream *stream) {
    int64_t wake = INT64_MAX;
    for (int i = 0; i < CONTROL_XDS_TYPES; i++) {
        const xds_sub *s = &stream->subs[i];
        if (s->waiting && s->sent_at + ACK_WAIT < wake) wake = s->sent_at + ACK_WAIT;
    }
    return wake;
}

/* ---- status */

void xds_stream_wants(const xds_stream *stream, control_xds_type type,
                      void (*each)(void *user, const char *name), void *user) {
    size_t at = 0;
    const char *name;
    while (weft_map_next(&stream->subs[type].names, &at, &name, NULL, NULL))
        if (!xds_sub_find(&stream->output->types[type], name)) each(user, name);
}

xds_stream_state xds_stream_status(const xds_stream *stream, control_xds_type type) {
    const xds_sub *s = &stream->subs[type];
    xds_stream_state state = {.subscribed = s->subscribed,
                              .wildcard = s->wildcard,
                              .names = weft_map_count(&s->names),
                              .resources = weft_map_count(&s->told),
                              .in_flight = s->waiting,
                              .refused = s->refused,
                              .reason = s->reason ? s->reason : "",
                              .sent = s->sent,
                              .acks = s->acks,
                              .nacks = s->nacks,
                              .stale = s->stale};
    memcpy(state.version, s->version, sizeof state.version);
    memcpy(state.accepted, s->accepted, sizeof state.accepted);
    return state;
}

bool xds_stream_settled(const xds_stream *stream) {
    for (int i = 0; i < CONTROL_XDS_TYPES; i++) {
        const xds_sub *s = &stream->subs[i];
        if (s->subscribed &&
            (s->waiting || s->kept || xds_sub_due(s, &stream->output->types[i], s->hold)))
            return false;
    }
    return true;
}
