/* What connections of a worker share, limits, names of codes. */
#include "lib/h2/h2_int.h"
#include "lib/h2/huffman.h"
#include "weft/mem.h"

h2_env *h2_env_new(weft_chunk_pool *chunks, http_pool *fields, uint64_t seed) {
    h2_env *env = weft_calloc(1, sizeof *env);
    if (!env) return NULL;
    huffman_init();
    env->chunks = chunks;
    env->fields = fields;
    env->salt = seed * UINT64_C(0x9e3779b97f4a7c15) >> 20;
    return env;
}

void h2_env_free(h2_env *env) {
    if (!env) return;
    assert(env->gauges.conns == 0 && "connections are still alive");
    assert(env->gauges.streams == 0 && "streams are not released");
    http_fields list;
    http_fields_init(&list, env->fields);
    list.at = env->array;
    list.cap = env->array_cap;
    http_fields_clear(&list);
    hpack_scratch_free(&env->scratch);
    streams_free(env);
    weft_free(env);
}

void h2_env_set_now(h2_env *env, int64_t now) { env->now = now; }
h2_gauges h2_env_gauges(const h2_env *env) { return env->gauges; }
const h2_stats *h2_env_stats(const h2_env *env) { return &env->stats; }

const char *h2_code_name(uint32_t code) {
    static const char *const names[] = {
#define X(name, number) [number] = #name,
        H2_CODES(X)
#undef X
    };
    return code < sizeof names / sizeof names[0] ? names[code] : "UNKNOWN";
}

/* ---- limits */

void h2_limits_peer(h2_limits *limits) {
    *limits = (h2_limits){
        .max_streams = 1000,
        .stream_window = 256 << 10,
        .header_list_max = 60 << 10,
        .hpack_decoder_table = HPACK_TABLE_DEFAULT,
        .conn_window = 4 << 20,
        .buffered_max = 16 << 20,
        .peer_streams_default = 100,
        .hpack_encoder_table = HPACK_TABLE_DEFAULT,
        .header_fields_max = 100,
        .header_block_max = 60 << 10,
        .continuation_max = 16,
        .stream_queue_max = 16 << 20,
        .output_high = 512 << 10,
        .output_max = 8 << 20,
        .settings_max = 100,
        .ping_max = 1000,
        .priority_max = 1000,
        .window_update_max = 4000,
        .empty_data_max = 500,
        .unknown_max = 1000,
        .reset_young = 50 * WEFT_NS_PER_MS,
        .reset_min = 2000,
        .reset_percent = 95,
        .made_reset_max = 1000,
        .settings_timeout = 10 * WEFT_NS_PER_S,
        .header_timeout = 10 * WEFT_NS_PER_S,
        .ping_interval = 30 * WEFT_NS_PER_S,
        .ping_timeout = 10 * WEFT_NS_PER_S,
        .idle_timeout = 0,
    };
}

void h2_limits_stranger(h2_limits *limits) {
    h2_limits_peer(limits);
    limits->max_streams = 100;
    limits->stream_window = 64 << 10;
    limits->conn_window = 256 << 10;
    limits->buffered_max = 1 << 20;
    limits->stream_queue_max = 4 << 20;
    limits->output_high = 256 << 10;
    limits->output_max = 2 << 20;
    limits->settings_max = 20;
    limits->ping_max = 200;
    limits->priority_max = 300;
    limits->window_update_max = 1000;
    limits->empty_data_max = 100;
    limits->unknown_max = 100;
    limits->reset_young = 200 * WEFT_NS_PER_MS;
    limits->reset_min = 200;
    limits->reset_percent = 80;
    limits->made_reset_max = 100;
    limits->idle_timeout = 300 * WEFT_NS_PER_S;
}

const char *h2_limits_check(const h2_limits *l) {
    if (!l->stream_window || l->stream_window > WINDOW_MAX) return "stream_window: 1 to 2^31 - 1";
    if (l->conn_window < WINDOW_DEFAULT || l->conn_window > WINDOW_MAX)
        return "conn_window: 65535 to 2^31 - 1";
    if (l->buffered_max < l->conn_window) return "buffered_max: at least conn_window";
    if (l->hpack_encoder_table > HPACK_TABLE_MAX || l->hpack_decoder_table > HPACK_TABLE_MAX)
        return "hpack tables: at most 65536";
    if (!l->header_fields_max || l->header_fields_max > HTTP_FIELDS_MAX)
        return "header_fields_max: 1 to 1024";
    if (l->header_block_max < FRAME_MAX) return "header_block_max: at least 16384";
    if (l->output_max <= l->output_high) return "output_max: above output_high";
    if (!l->output_high) return "output_high: at least 1";
    if (l->reset_percent > 100) return "reset_percent: at most 100";
    return NULL;
}
