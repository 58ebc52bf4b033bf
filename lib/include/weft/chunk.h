/* Pooled 16 KiB chunks of bytes, shared by reference, and chains of pieces of them.
 *
 * What a connection receives and what it will send are pieces (weft_slice) of refcounted chunks. Bytes
 * that arrive on one connection can wait in, and leave through, another without being copied. Nothing is
 * held while nothing is buffered: an empty chain owns no memory.
 *
 * A chunk is filled front to back: `used` only grows, bytes below it never change while anyone refers to
 * them, and whoever holds the piece that ends at `used` may append. So a chunk may be in several chains.
 *
 * A pool and all its chunks and chains belong to one thread. */
#ifndef WEFT_CHUNK_H
#define WEFT_CHUNK_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

#include "weft/error.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes in a chunk: one TLS record (RFC 8446 section 5.1), one HTTP/2 frame of default size. */
#define WEFT_CHUNK_SIZE 16384u

typedef struct weft_chunk_pool weft_chunk_pool;

typedef struct weft_chunk {
    struct weft_chunk_pool *pool;
    struct weft_chunk *next_free; /* private to the pool */
    uint32_t refs;
    uint32_t used; /* bytes filled, <= WEFT_CHUNK_SIZE */
    uint8_t data[WEFT_CHUNK_SIZE];
} weft_chunk;

/* A piece of bytes. `chunk` NULL: borrowed memory that lives as long as whoever passed it says. */
typedef struct weft_slice {
    const uint8_t *data;
    size_t len;
    weft_chunk *chunk;
} weft_slice;

/* Private to chains. */
typedef struct weft_link {
    struct weft_link *next;
    weft_slice slice; /* holds a reference to its chunk, which is never NULL */
} weft_link;

/* Invariants: bytes is the sum of the pieces' lengths; head == NULL <=> tail == NULL; an empty piece can
 * only be the last. A chain must not be copied while it is not empty. */
typedef struct weft_chain {
    weft_link *head;
    weft_link *tail;
    size_t bytes;
    weft_chunk_pool *pool;
} weft_chain;

typedef struct weft_chunk_stats {
    size_t live;      /* chunks someone refers to */
    size_t links;     /* pieces in chains */
    size_t kept;      /* free chunks kept for reuse */
    size_t peak;      /* most chunks ever live */
    uint64_t refused; /* allocations refused: the maximum, or no memory */
} weft_chunk_stats;

/* A pool of at most `max` live chunks (0: 65,536, that is 1 GiB) that keeps at most `keep` free ones
 * (0: 64). NULL when memory is out. _free asserts that no chunk is live. */
weft_chunk_pool *weft_chunk_pool_new(size_t max, size_t keep);
void weft_chunk_pool_free(weft_chunk_pool *pool);
weft_chunk_stats weft_chunk_pool_stats(const weft_chunk_pool *pool);

/* An empty chunk with one reference, or NULL (at the maximum, or no memory; counted). */
weft_chunk *weft_chunk_new(weft_chunk_pool *pool);
void weft_chunk_release(weft_chunk *chunk); /* private: the last reference is gone */
static inline void weft_chunk_ref(weft_chunk *chunk) { chunk->refs++; }
static inline void weft_chunk_unref(weft_chunk *chunk) {
    if (--chunk->refs == 0) weft_chunk_release(chunk);
}

/* An empty chain; nothing is allocated. _clear drops all pieces. */
static inline void weft_chain_init(weft_chain *chain, weft_chunk_pool *pool) {
    chain->head = chain->tail = NULL;
    chain->bytes = 0;
    chain->pool = pool;
}
void weft_chain_clear(weft_chain *chain);

/* Private: the slow half of _reserve. */
uint8_t *weft_chain_grow(weft_chain *chain, size_t size);

/* Room for `size` (1 .. WEFT_CHUNK_SIZE) bytes in one piece at the end; NULL when the pool refuses. Fill it,
 * then _commit what was used (0 is fine) before anything else is done to the chain. */
static inline uint8_t *weft_chain_reserve(weft_chain *chain, size_t size) {
    weft_link *tail = chain->tail;
    if (tail) {
        weft_chunk *chunk = tail->slice.chunk;
        uint8_t *end = chunk->data + chunk->used;
        if (tail->slice.data + tail->slice.len == end && WEFT_CHUNK_SIZE - chunk->used >= size)
            return end;
    }
    return weft_chain_grow(chain, size);
}
static inline void weft_chain_commit(weft_chain *chain, size_t size) {
    weft_link *tail = chain->tail;
    tail->slice.len += size;
    tail->slice.chunk->used += (uint32_t)size;
    chain->bytes += size;
}

/* Appends a copy of `size` bytes, any number. WEFT_ENOMEM leaves the chain as it was. */
int weft_chain_add(weft_chain *chain, const void *data, size_t size) WEFT_MUST_USE;

/* Appends a piece by reference (a new reference to slice->chunk is taken), or a copy where there is no
 * chunk or the piece is so short (< WEFT_SLICE_COPY) that a copy is cheaper. WEFT_ENOMEM as above. */
#define WEFT_SLICE_COPY 512u
int weft_chain_add_slice(weft_chain *chain, const weft_slice *slice) WEFT_MUST_USE;

/* Moves all of `from` (the same pool) to the end of `to`; never fails. */
void weft_chain_splice(weft_chain *to, weft_chain *from);

/* Moves the first `size` (<= from->bytes) bytes. WEFT_ENOMEM (a piece had to be split, or copied) moves
 * nothing. */
int weft_chain_move(weft_chain *to, weft_chain *from, size_t size) WEFT_MUST_USE;

/* Drops the first `size` (<= chain->bytes) bytes: they were sent. */
void weft_chain_consume(weft_chain *chain, size_t size);

/* Keeps the first `bytes` (<= chain->bytes) and drops the rest: undoes appends. */
void weft_chain_cut(weft_chain *chain, size_t bytes);

/* Describes the first pieces for writev; returns how many of `max` were filled. */
size_t weft_chain_iov(const weft_chain *chain, struct iovec *iov, size_t max);

#ifdef __cplusplus
}
#endif
#endif
