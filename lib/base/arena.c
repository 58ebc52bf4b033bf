/* Chunked bump allocator.
 *
 * The arena and its first chunk are one heap block, so that a request with little to remember costs one
 * malloc and its reset costs none. Later chunks double up to CHUNK_MAX; a block larger than that gets a
 * chunk of its own. Under AddressSanitizer everything not handed out is poisoned. */
#include "weft/arena.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "weft/mem.h"

#if defined(__SANITIZE_ADDRESS__)
#define ARENA_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_ASAN 1
#endif
#endif
#ifdef ARENA_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(p, n) __asan_poison_memory_region((p), (n))
#define UNPOISON(p, n) __asan_unpoison_memory_region((p), (n))
#else
#define POISON(p, n) ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#endif

#define ALIGN 16u
#define CHUNK_FIRST 2048u
#define CHUNK_MAX (64u * 1024u)

/* `at` and `size` count from `bytes`; at <= size; both are multiples of ALIGN. */
typedef struct chunk {
    struct chunk *older;
    size_t size;
    size_t at;
    _Alignas(16) unsigned char bytes[];
} chunk;

typedef struct cleanup {
    struct cleanup *older;
    void (*clean)(void *user);
    void *user;
} cleanup;

/* `newest` leads through `older` to the embedded first chunk. */
struct weft_arena {
    chunk *newest;
    cleanup *cleanups;
    size_t cap; /* SIZE_MAX: none */
    size_t used;
    size_t held;
    size_t next_size;
    _Alignas(16) chunk first;
};

weft_arena *weft_arena_new(size_t cap) {
    weft_arena *arena = weft_malloc(CHUNK_FIRST);
    if (!arena) return NULL;
    *arena = (weft_arena){
        .newest = &arena->first,
        .cap = cap ? cap : SIZE_MAX,
        .held = CHUNK_FIRST,
        .next_size = (size_t)CHUNK_FIRST * 2,
    };
    arena->first.size =
        (CHUNK_FIRST - offsetof(weft_arena, first) - offsetof(chunk, bytes)) & ~(size_t)(ALIGN - 1);
    POISON(arena->first.bytes, arena->first.size);
    return arena;
}

static void run_cleanups(weft_arena *arena) {
    while (arena->cleanups) {
        cleanup *top = arena->cleanups;
        arena->cleanups = top->older;
        top->clean(top->user);
    }
}

static void release_chunks(weft_arena *arena) {
    while (arena->newest != &arena->first) {
        chunk *gone = arena->newest;
        arena->newest = gone->older;
        UNPOISON(gone->bytes, gone->size);
        weft_free(gone);
    }
}

void weft_arena_free(weft_arena *arena) {
    if (!arena) return;
    run_cleanups(arena);
    release_chunks(arena);
    UNPOISON(arena->first.bytes, arena->first.size);
    weft_free(arena);
}

void weft_arena_reset(weft_arena *arena) {
    run_cleanups(arena);
    release_chunks(arena);
    arena->first.at = 0;
    arena->used = 0;
    arena->held = CHUNK_FIRST;
    arena->next_size = (size_t)CHUNK_FIRST * 2;
    POISON(arena->first.bytes, arena->first.size);
}

/* Puts a chunk with room for `need` bytes on top. */
static int grow(weft_arena *arena, size_t need) {
    size_t total = arena->next_size;
    if (need > total - sizeof(chunk)) total = need + sizeof(chunk);
    chunk *c = weft_malloc(total);
    if (!c) return WEFT_ENOMEM;
    c->older = arena->newest;
    c->size = (total - sizeof(chunk)) & ~(size_t)(ALIGN - 1);
    c->at = 0;
    POISON(c->bytes, c->size);
    arena->newest = c;
    arena->held += total;
    if (arena->next_size < CHUNK_MAX) arena->next_size *= 2;
    return 0;
}

void *weft_arena_alloc(weft_arena *arena, size_t size) {
    if (size > SIZE_MAX / 2) return NULL;
    size_t need = size ? (size + ALIGN - 1) & ~(size_t)(ALIGN - 1) : ALIGN;
    if (need > arena->cap - arena->used) return NULL;
    if (need > arena->newest->size - arena->newest->at && grow(arena, need)) return NULL;
    chunk *c = arena->newest;
    void *block = c->bytes + c->at;
    c->at += need;
    arena->used += need;
    UNPOISON(block, size);
    return block;
}

void *weft_arena_calloc(weft_arena *arena, size_t count, size_t size) {
    size_t total = 0;
    if (__builtin_mul_overflow(count, size, &total)) return NULL;
    void *block = weft_arena_alloc(arena, total);
    if (block) memset(block, 0, total);
    return block;
}

void *weft_arena_memdup(weft_arena *arena, const void *data, size_t size) {
    void *block = weft_arena_alloc(arena, size);
    if (block && size) memcpy(block, data, size);
    return block;
}

char *weft_arena_strdup(weft_arena *arena, const char *text) {
    return weft_arena_memdup(arena, text, strlen(text) + 1);
}

char *weft_arena_strndup(weft_arena *arena, const char *text, size_t max) {
    size_t len = strnlen(text, max);
    if (len == SIZE_MAX) return NULL;
    char *copy = weft_arena_alloc(arena, len + 1);
    if (!copy) return NULL;
    memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

char *weft_arena_printf(weft_arena *arena, const char *format, ...) {
    va_list args;
    va_start(args, format);
    char *text = weft_arena_vprintf(arena, format, args);
    va_end(args);
    return text;
}

char *weft_arena_vprintf(weft_arena *arena, const char *format, va_list args) {
    char small[256];
    va_list again;
    va_copy(again, args);
    int len = vsnprintf(small, sizeof small, format, args);
    char *text = NULL;
    if (len >= 0) text = weft_arena_alloc(arena, (size_t)len + 1);
    if (text && (size_t)len < sizeof small)
        memcpy(text, small, (size_t)len + 1);
    else if (text)
        (void)vsnprintf(text, (size_t)len + 1, format, again);
    va_end(again);
    return text;
}

int weft_arena_defer(weft_arena *arena, void (*clean)(void *user), void *user) {
    cleanup *c = weft_arena_alloc(arena, sizeof *c);
    if (!c) return WEFT_ENOMEM;
    *c = (cleanup){.older = arena->cleanups, .clean = clean, .user = user};
    arena->cleanups = c;
    return 0;
}

size_t weft_arena_used(const weft_arena *arena) { return arena->used; }

size_t weft_arena_held(const weft_arena *arena) { return arena->held; }
