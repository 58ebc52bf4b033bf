/* Names that have a number: their texts, and finding them by text through a table that is worked out at
 * compile time only as far as the hash goes: 256 slots, linear probing, filled on first use of a pool. */
#include "lib/http/names.h"

#include <pthread.h>
#include <string.h>

const name_row http_name_rows[HTTP_NAME_COUNT] = {[HTTP_NAME_OTHER] = {"", 0, 0},
#define X(id, text, kind) [HTTP_NAME_##id] = {text, sizeof text - 1, kind},
                                                  HTTP_NAMES(X)
#undef X
};

const uint8_t http_hot_places[HTTP_NAME_COUNT] = {
#define X(id) [HTTP_NAME_##id] = HTTP_HOT_##id,
    HTTP_HOT_NAMES(X)
#undef X
};

#define SLOTS 256u
_Static_assert(HTTP_NAME_COUNT < SLOTS / 2, "the table of names must stay sparse");

static uint8_t slots[SLOTS];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static unsigned hash(const char *text, size_t len) {
    const unsigned first = (unsigned char)text[0];
    const unsigned last = (unsigned char)text[len - 1];
    const unsigned middle = (unsigned char)text[len / 2];
    return (unsigned)len * 7 + first * 31 + last * 57 + middle * 101;
}

static void fill(void) {
    for (unsigned id = 1; id < HTTP_NAME_COUNT; id++) {
        unsigned at = hash(http_name_rows[id].text, http_name_rows[id].len) % SLOTS;
        while (slots[at]) at = (at + 1) % SLOTS;
        slots[at] = (uint8_t)id;
    }
}

http_name http_name_find(const char *text, size_t len) {
    if (!len) return HTTP_NAME_OTHER;
    pthread_once(&once, fill);
    for (unsigned at = hash(text, len) % SLOTS; slots[at]; at = (at + 1) % SLOTS) {
        const name_row *row = &http_name_rows[slots[at]];
        if (row->len == len && !memcmp(row->text, text, len)) return (http_name)slots[at];
    }
    return HTTP_NAME_OTHER;
}

const char *http_name_text(http_name name) { return http_name_rows[name].text; }
size_t http_name_len(http_name name) { return http_name_rows[name].len; }
unsigned http_name_kind(http_name name) { return http_name_rows[name].kind; }
