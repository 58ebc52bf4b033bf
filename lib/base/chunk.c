/* The pool of chunks and links, and chains. Chunks are allocated one by one, since they are large; links
 * come in slabs that live as long as the pool. */
#include "weft/chunk.h"

#include <assert.h>

#include "weft/mem.h"

#define LINKS_PER_SLAB 100

typedef struct link_slab {
    struct link_slab *next;
    weft_link links[LINKS_PER_SLAB];
} link_slab;

/* Invariants: stats.live + stats.kept chunks exist; stats.links links are in chains. */
struct weft_chunk_pool {
    weft_chunk *free_chunks;
    weft_link *free_links;
    link_slab *slabs;
    size_t max;
    size_t keep;
    weft_chunk_stats stats;
};

weft_chunk_pool *weft_chunk_pool_new(size_t max, size_t keep) {
    weft_chunk_pool *pool = weft_calloc(1, sizeof *pool);
    if (!pool) return NULL;
    pool->max = max ? max : 65536;
    pool->keep = keep ? keep : 64;
    return pool;
}

void weft_chunk_pool_free(weft_chunk_pool *pool) {
    if (!pool) return;
    assert(pool->stats.live == 0 && "chunks are still referenced");
    assert(pool->stats.links == 0 && "chains are not empty");
    for (weft_chunk *chunk = pool->free_chunks; chunk;) {
        weft_chunk *next = chunk->next_free;
        weft_free(chunk);
        chunk = next;
    }
    for (link_slab *slab = pool->slabs; slab;) {
        link_slab *next = slab->next;
        weft_free(slab);
        slab = next;
    }
    weft_free(pool);
}

weft_chunk_stats weft_chunk_pool_stats(const weft_chunk_pool *pool) { return pool->stats; }

weft_chunk *weft_chunk_new(weft_chunk_pool *pool) {
    weft_chunk *chunk = pool->free_chunks;
    if (chunk && pool->stats.live < pool->max) {
        pool->free_chunks = chunk->next_free;
        pool->stats.kept--;
    } else {
        chunk = pool->stats.live < pool->max ? weft_malloc(sizeof *chunk) : NULL;
        if (!chunk) {
            pool->stats.refused++;
            return NULL;
        }
        chunk->pool = pool;
    }
    chunk->refs = 1;
    chunk->used = 0;
    if (++pool->stats.live > pool->stats.peak) pool->stats.peak = pool->stats.live;
    return chunk;
}

void weft_chunk_release(weft_chunk *chunk) {
    weft_chunk_pool *pool = chunk->pool;
    assert(pool->stats.live > 0);
    pool->stats.live--;
    if (pool->stats.kept < pool->keep) {
        chunk->next_free = pool->free_chunks;
        pool->free_chunks = chunk;
        pool->stats.kept++;
    } else {
        weft_free(chunk);
    }
}

static weft_link *link_new(weft_chunk_pool *pool) {
    weft_link *link = pool->free_links;
    if (!link) {
        link_slab *slab = weft_malloc(sizeof *slab);
        if (!slab) {
            pool->stats.refused++;
            return NULL;
        }
        slab->next = pool->slabs;
        pool->slabs = slab;
        for (size_t i = 0; i < LINKS_PER_SLAB; i++) {
            slab->links[i].next = pool->free_links;
            pool->free_links = &slab->links[i];
        }
        link = pool->free_links;
    }
    pool->free_links = link->next;
    pool->stats.links++;
    return link;
}

static void link_free(weft_chunk_pool *pool, weft_link *link) {
    link->next = pool->free_links;
    pool->free_links = link;
    pool->stats.links--;
}

static void append(weft_chain *chain, weft_link *link) {
    link->next = NULL;
    if (chain->tail) {
        chain->tail->next = link;
    } else {
        chain->head = link;
    }
    chain->tail = link;
}

static void drop_head(weft_chain *chain) {
    weft_link *link = chain->head;
    chain->head = link->next;
    if (!chain->head) chain->tail = NULL;
    weft_chunk_unref(link->slice.chunk);
    link_free(chain->pool, link);
}

/* An empty piece may only be last: give it up before something else is appended. */
static void drop_empty_tail(weft_chain *chain) {
    weft_link *tail = chain->tail;
    if (!tail || tail->slice.len) return;
    weft_link *before = NULL;
    for (weft_link *at = chain->head; at != tail; at = at->next) before = at;
    if (before) {
        before->next = NULL;
    } else {
        chain->head = NULL;
    }
    chain->tail = before;
    weft_chunk_unref(tail->slice.chunk);
    link_free(chain->pool, tail);
}

void weft_chain_clear(weft_chain *chain) {
    while (chain->head) drop_head(chain);
    chain->bytes = 0;
}

uint8_t *weft_chain_grow(weft_chain *chain, size_t size) {
    assert(size <= WEFT_CHUNK_SIZE);
    (void)size;
    drop_empty_tail(chain);
    weft_chunk *chunk = weft_chunk_new(chain->pool);
    if (!chunk) return NULL;
    weft_link *link = link_new(chain->pool);
    if (!link) {
        weft_chunk_unref(chunk);
        return NULL;
    }
    link->slice = (weft_slice){chunk->data, 0, chunk};
    append(chain, link);
    return chunk->data;
}

void weft_chain_cut(weft_chain *chain, size_t bytes) {
    assert(bytes <= chain->bytes);
    weft_chain keep;
    weft_chain_init(&keep, chain->pool);
    size_t left = bytes;
    while (left && chain->head->slice.len <= left) {
        weft_link *link = chain->head;
        left -= link->slice.len;
        chain->head = link->next;
        append(&keep, link);
    }
    if (left) {
        weft_link *link = chain->head;
        chain->head = link->next;
        link->slice.len = left;
        append(&keep, link);
    }
    while (chain->head) drop_head(chain);
    chain->head = keep.head;
    chain->tail = keep.tail;
    chain->bytes = bytes;
}

int weft_chain_add(weft_chain *chain, const void *data, size_t size) {
    const uint8_t *from = data;
    const size_t before = chain->bytes;
    while (size) {
        size_t n = size < WEFT_CHUNK_SIZE ? size : WEFT_CHUNK_SIZE;
        /* Fill the tail's chunk first when it is long bytes: a copy split in two beats half a chunk. */
        weft_link *tail = chain->tail;
        if (tail && tail->slice.data + tail->slice.len ==
                        tail->slice.chunk->data + tail->slice.chunk->used) {
            size_t room = WEFT_CHUNK_SIZE - tail->slice.chunk->used;
            if (room && room < n) n = room;
        }
        uint8_t *to = weft_chain_reserve(chain, n);
        if (!to) {
            weft_chain_cut(chain, before);
            return WEFT_ENOMEM;
        }
        memcpy(to, from, n);
        weft_chain_commit(chain, n);
        from += n;
        size -= n;
    }
    return 0;
}

int weft_chain_add_slice(weft_chain *chain, const weft_slice *slice) {
    if (!slice->chunk || slice->len < WEFT_SLICE_COPY)
        return weft_chain_add(chain, slice->data, slice->len);
    weft_link *tail = chain->tail;
    if (tail && tail->slice.chunk == slice->chunk &&
        tail->slice.data + tail->slice.len == slice->data) {
        tail->slice.len += slice->len;
        chain->bytes += slice->len;
        return 0;
    }
    weft_link *link = link_new(chain->pool);
    if (!link) return WEFT_ENOMEM;
    drop_empty_tail(chain);
    weft_chunk_ref(slice->chunk);
    link->slice = *slice;
    append(chain, link);
    chain->bytes += slice->len;
    return 0;
}

void weft_chain_splice(weft_chain *to, weft_chain *from) {
    assert(to->pool == from->pool);
    drop_empty_tail(to);
    if (!from->head) return;
    if (to->tail) {
        to->tail->next = from->head;
    } else {
        to->head = from->head;
    }
    to->tail = from->tail;
    to->bytes += from->bytes;
    from->head = from->tail = NULL;
    from->bytes = 0;
}

int weft_chain_move(weft_chain *to, weft_chain *from, size_t size) {
    assert(to->pool == from->pool && size <= from->bytes);
    if (size == from->bytes && size >= WEFT_SLICE_COPY) {
        weft_chain_splice(to, from);
        return 0;
    }
    const size_t before = to->bytes;
    size_t left = size;
    for (const weft_link *at = from->head; left; at = at->next) {
        weft_slice piece = at->slice;
        if (piece.len > left) piece.len = left;
        if (piece.len && weft_chain_add_slice(to, &piece)) {
            weft_chain_cut(to, before);
            return WEFT_ENOMEM;
        }
        left -= piece.len;
    }
    weft_chain_consume(from, size);
    return 0;
}

void weft_chain_consume(weft_chain *chain, size_t size) {
    assert(size <= chain->bytes);
    chain->bytes -= size;
    while (chain->head && chain->head->slice.len <= size) {
        size -= chain->head->slice.len;
        drop_head(chain);
    }
    if (size) {
        chain->head->slice.data += size;
        chain->head->slice.len -= size;
    }
}

size_t weft_chain_iov(const weft_chain *chain, struct iovec *iov, size_t max) {
    size_t count = 0;
    for (const weft_link *at = chain->head; at && count < max; at = at->next) {
        if (!at->slice.len) continue;
        iov[count].iov_base = (void *)(uintptr_t)at->slice.data;
        iov[count].iov_len = at->slice.len;
        count++;
    }
    return count;
}
