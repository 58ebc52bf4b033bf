/* The one door to the heap for libweft, so that tests can fail every allocation in turn. */
#ifndef WEFT_MEM_H
#define WEFT_MEM_H

#include <stddef.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* As malloc, calloc, realloc and free. NULL when memory is out (or the hook says so). Any thread. */
void *weft_malloc(size_t size);
void *weft_calloc(size_t count, size_t size);
void *weft_realloc(void *p, size_t size);
void weft_free(void *p);
char *weft_heap_strdup(const char *text);

/* memcpy, worked out in line for what is mostly short: header values, small bodies. */
static inline void weft_copy(void *to, const void *from, size_t size) {
    char *out = (char *)to;
    const char *in = (const char *)from;
    if (__builtin_expect(size > 128, 0)) {
        memcpy(out, in, size);
    } else if (size >= 16) {
        /* 16 at a time; the last step overlaps the one before. */
        for (size_t i = 0; i + 16 < size; i += 16) __builtin_memcpy(out + i, in + i, 16);
        __builtin_memcpy(out + size - 16, in + size - 16, 16);
    } else if (size >= 8) {
        __builtin_memcpy(out, in, 8);
        __builtin_memcpy(out + size - 8, in + size - 8, 8);
    } else if (size >= 4) {
        __builtin_memcpy(out, in, 4);
        __builtin_memcpy(out + size - 4, in + size - 4, 4);
    } else {
        for (size_t i = 0; i < size; i++) out[i] = in[i];
    }
}

/* Test hook: called before each allocation; a false return makes that allocation fail.
 * NULL takes the hook out. Not thread-safe: set it while one thread runs. */
void weft_mem_hook(int (*allow)(size_t size, void *user), void *user);

#ifdef __cplusplus
}
#endif
#endif
