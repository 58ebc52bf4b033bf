/* What the load generator and the backend of the benchmarks share: a loop with the HTTP/2 engine on it,
 * the content of bodies, a histogram.
 *
 * A body is `size` bytes of DATA: the prefix of a gRPC message (5 bytes), the number of the call (8 bytes),
 * then bytes that depend on their place. The backend answers a request with a body of the same size and
 * number, so a reply that belongs to another call, or lost a byte, is noticed. One thread. */
#ifndef TESTS_BENCH_BENCH_H
#define TESTS_BENCH_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weft/h2.h"
#include "weft/http_grpc.h"
#include "weft/net.h"
#include "weft/rng.h"

#define BODY_HEAD 13u          /* prefix and number */
#define BODY_MAX (1024u << 10) /* bytes of DATA of a body */

/* Prints to standard error and exits 1. */
__attribute__((format(printf, 1, 2), noreturn)) void die(const char *format, ...);
/* Dies when `failed`, saying that `what` failed. */
void must(int failed, const char *what);

/* ---- the engine on a loop */

typedef struct bench {
    net_loop *loop;
    weft_chunk_pool *chunks;
    http_pool *fields;
    h2_env *env;
    h2_limits limits;
    weft_rng rng;
    weft_chunk *body[BODY_MAX / WEFT_CHUNK_SIZE]; /* the bytes of a body by place, full chunks */
} bench;

/* Makes a loop and an engine whose limits no benchmark meets; dies if it cannot. */
void bench_init(bench *b, uint64_t seed);

typedef struct bench_conn {
    bench *bench;
    net_conn *net; /* NULL: over */
    h2_conn *h2;   /* NULL: not open */
    const h2_callbacks *callbacks;
    h2_role role;
    void (*opened)(struct bench_conn *conn);                     /* h2 is there; may be NULL */
    void (*closed)(struct bench_conn *conn, const char *reason); /* the last call */
} bench_conn;

/* For net_connect and net_conn_set_handler; their user is a bench_conn filled by the caller. */
extern const net_handler bench_handler;

/* Appends an interned field; dies if it cannot. */
void bench_field(bench *b, http_fields *list, const char *name, const char *value);

/* Appends "name: value" as given on a command line; dies if there is no colon. */
void bench_field_line(bench *b, http_fields *list, const char *line);

/* `text` as an address; dies if it is none. */
weft_addr bench_addr(const char *text);

/* ---- bodies */

/* What was seen of a body that comes in pieces. Zeroed: nothing. */
typedef struct body_reader {
    uint32_t have;
    bool wrong; /* a byte of the pattern differed, or it is longer than BODY_MAX */
    uint8_t head[BODY_HEAD];
} body_reader;

void body_read(const bench *b, body_reader *reader, const uint8_t *data, size_t len);
/* After the last piece: true when it is a whole body; *number is the call's. */
bool body_good(const body_reader *reader, uint64_t *number);
/* Sends a body of `size` (BODY_HEAD .. BODY_MAX) bytes. As h2_send_data returns. */
int64_t body_send(const bench *b, h2_stream *stream, uint32_t size, uint64_t number, bool end);

/* ---- histogram of nanoseconds: 128 buckets to each power of two, so within 0.8 % */

#define HIST_SUB 128u
#define HIST_BUCKETS (58u * HIST_SUB)
typedef struct hist {
    uint64_t count;
    uint64_t max;
    double sum;
    uint32_t bucket[HIST_BUCKETS];
} hist;

void hist_add(hist *h, int64_t ns);
/* The least value that `share` (0 .. 1) of the values do not exceed; 0 when there is none. */
uint64_t hist_at(const hist *h, double share);

#endif
