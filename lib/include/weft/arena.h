/* Bump allocator for whatever dies together: a request, a parsed file, a snapshot.
 *
 * Memory comes in growing chunks from weft_malloc and goes back all at once. An arena belongs to one
 * thread at a time. Every block is aligned to 16 bytes. */
#ifndef WEFT_ARENA_H
#define WEFT_ARENA_H

#include <stdarg.h>
#include <stddef.h>

#include "weft/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_arena weft_arena;

/* A new arena that hands out at most `cap` bytes in all (0: no cap), each block counted as a multiple of
 * 16, at least 16. NULL when memory is out. */
weft_arena *weft_arena_new(size_t cap);

/* Gives everything back. NULL is allowed. Clean-ups run in reverse order of registration. */
void weft_arena_free(weft_arena *arena);

/* Forgets every block but keeps the first chunk for reuse; runs clean-ups. */
void weft_arena_reset(weft_arena *arena);

/* `size` bytes, uninitialised; size 0 gives a valid unique pointer. NULL when the cap or the memory is
 * reached; the arena stays usable. Lives until reset or free. */
void *weft_arena_alloc(weft_arena *arena, size_t size) WEFT_MUST_USE;
void *weft_arena_calloc(weft_arena *arena, size_t count, size_t size) WEFT_MUST_USE;
void *weft_arena_memdup(weft_arena *arena, const void *data, size_t size) WEFT_MUST_USE;
char *weft_arena_strdup(weft_arena *arena, const char *text) WEFT_MUST_USE;
char *weft_arena_strndup(weft_arena *arena, const char *text, size_t max) WEFT_MUST_USE;
char *weft_arena_printf(weft_arena *arena, const char *format, ...) WEFT_PRINTF(2, 3) WEFT_MUST_USE;
char *weft_arena_vprintf(weft_arena *arena, const char *format, va_list args) WEFT_MUST_USE;

/* Calls `clean(user)` at the next reset or free. WEFT_ENOMEM when it could not be registered. */
int weft_arena_defer(weft_arena *arena, void (*clean)(void *user), void *user) WEFT_MUST_USE;

/* Bytes handed out since the last reset, and bytes held from the heap. */
size_t weft_arena_used(const weft_arena *arena);
size_t weft_arena_held(const weft_arena *arena);

#ifdef __cplusplus
}
#endif
#endif
