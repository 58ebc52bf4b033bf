/* The one door to the heap for libweft, so that tests can fail every allocation in turn. */
#ifndef WEFT_MEM_H
#define WEFT_MEM_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* As malloc, calloc, realloc and free. NULL when memory is out (or the hook says so). Any thread. */
void *weft_malloc(size_t size);
void *weft_calloc(size_t count, size_t size);
void *weft_realloc(void *p, size_t size);
void weft_free(void *p);
char *weft_heap_strdup(const char *text);

/* Test hook: called before each allocation; a false return makes that allocation fail.
 * NULL takes the hook out. Not thread-safe: set it while one thread runs. */
void weft_mem_hook(int (*allow)(size_t size, void *user), void *user);

#ifdef __cplusplus
}
#endif
#endif
