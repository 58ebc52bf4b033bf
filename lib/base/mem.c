/* The heap of libc behind one hook. */
#include "weft/mem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static int (*hook_allow)(size_t size, void *user);
static void *hook_user;

static int allowed(size_t size) { return !hook_allow || hook_allow(size, hook_user); }

void *weft_malloc(size_t size) {
    if (!allowed(size)) return NULL;
    return malloc(size ? size : 1);
}

void *weft_calloc(size_t count, size_t size) {
    size_t total = 0;
    if (__builtin_mul_overflow(count, size, &total) || !allowed(total)) return NULL;
    return calloc(1, total ? total : 1);
}

void *weft_realloc(void *p, size_t size) {
    if (!allowed(size)) return NULL;
    /* realloc(p, 0) frees p in glibc and then looks like a failure. */
    return realloc(p, size ? size : 1);
}

void weft_free(void *p) { free(p); }

char *weft_heap_strdup(const char *text) {
    size_t size = strlen(text) + 1;
    char *copy = weft_malloc(size);
    if (copy) memcpy(copy, text, size);
    return copy;
}

void weft_mem_hook(int (*allow)(size_t size, void *user), void *user) {
    hook_allow = allow;
    hook_user = user;
}
