#include "tests/support/h2_rig.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void must(int ok, const char *what) {
    if (ok) return;
    fprintf(stderr, "h2_rig: %s\n", what);
    abort();
}

void rig_begin(h2_rig *rig, uint64_t seed) {
    memset(rig, 0, sizeof *rig);
    weft_rng_seed(&rig->rng, seed);
    rig->chunks = weft_chunk_pool_new(0, 0);
    rig->fields = http_pool_new(0, seed);
    must(rig->chunks && rig->fields, "memory");
    rig->env = h2_env_new(rig->chunks, rig->fields, seed);
    must(rig->env != NULL, "memory");
    h2_limits_peer(&rig->limits);
    rig->now = 1000;
    h2_env_set_now(rig->env, rig->now);
}

void rig_check(const h2_rig *rig, size_t conns, size_t streams) {
    const h2_gauges gauges = h2_env_gauges(rig->env);
    must(gauges.conns == conns, "connections are alive");
    must(gauges.streams == streams, "streams are alive");
}

void rig_end(h2_rig *rig) {
    rig_check(rig, 0, 0);
    h2_env_free(rig->env);
    must(weft_chunk_pool_stats(rig->chunks).live == 0, "chunks are alive");
    must(weft_chunk_pool_stats(rig->chunks).links == 0, "links are alive");
    must(http_pool_get_stats(rig->fields).fields == 0, "fields are alive");
    must(http_pool_get_stats(rig->fields).interned == 0, "fields are interned");
    must(http_pool_get_stats(rig->fields).lists == 0, "lists are alive");
    http_pool_free(rig->fields);
    weft_chunk_pool_free(rig->chunks);
}

void rig_advance(h2_rig *rig, int64_t ns) {
    rig->now += ns;
    h2_env_set_now(rig->env, rig->now);
}

int64_t rig_pass(h2_end *from, h2_conn *to, size_t size, size_t piece, bool share) {
    from->wanted = 0;
    const int64_t moved = h2_conn_output(from->conn, &from->wire);
    if (moved == WEFT_ENOMEM) return moved;
    int64_t passed = 0;
    while (size && from->wire.bytes) {
        const weft_slice *head = &from->wire.head->slice;
        size_t n = head->len < size ? head->len : size;
        if (piece && n > piece) n = piece;
        int failed = 0;
        if (n) {
            /* What is not shared is copied away, so that a use after the call is seen by ASan. */
            uint8_t *copy = share ? NULL : malloc(n);
            if (copy) memcpy(copy, head->data, n);
            failed = h2_conn_input(to, copy ? copy : head->data, n, copy ? NULL : head->chunk);
            free(copy);
        }
        weft_chain_consume(&from->wire, n);
        if (failed) return failed;
        size -= n;
        passed += (int64_t)n;
    }
    return passed;
}

int rig_settle(h2_end *a, h2_end *b) {
    for (int quiet = 0; quiet < 2;) {
        const int64_t there = rig_pass(a, b->conn, SIZE_MAX, 0, true);
        if (there < 0) return (int)there;
        const int64_t back = rig_pass(b, a->conn, SIZE_MAX, 0, true);
        if (back < 0) return (int)back;
        quiet = there || back ? 0 : quiet + 1;
    }
    return 0;
}

void rig_fields(h2_rig *rig, http_fields *list, ...) {
    va_list args;
    http_fields_init(list, rig->fields);
    va_start(args, list);
    for (const char *name; (name = va_arg(args, const char *));) {
        must(http_fields_add_text(list, name, va_arg(args, const char *)) == 0, "fields");
    }
    va_end(args);
}
