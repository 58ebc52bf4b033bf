/* Escaping for JSON and for terminals. */
#include "text.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "weft/utf8.h"

/* The escape of one ASCII character in `out`; its length, or 0 when it stands for itself. */
static size_t json_escape_ascii(unsigned char c, char out[6]) {
    static const char hex[] = "0123456789abcdef";
    static const char shorts[] = "\"\"\\\\\bb\ff\nn\rr\tt"; /* pairs: character, letter */
    if (c >= 0x20 && c != '"' && c != '\\') return 0;
    out[0] = '\\';
    for (size_t i = 0; i + 1 < sizeof shorts; i += 2) {
        if ((unsigned char)shorts[i] != c) continue;
        out[1] = shorts[i + 1];
        return 2;
    }
    memcpy(out + 1, "u00", 3);
    out[4] = hex[c >> 4];
    out[5] = hex[c & 15];
    return 6;
}

size_t base_json_escape(const char *text, size_t size, char *out, size_t room, size_t *written) {
    size_t in = 0;
    size_t at = 0;
    while (in < size) {
        const unsigned char c = (unsigned char)text[in];
        char unit[6];
        size_t len = 0;
        size_t took = 1;
        if (c < 0x80) {
            len = json_escape_ascii(c, unit);
            if (!len) {
                unit[0] = (char)c;
                len = 1;
            }
        } else {
            uint32_t point = 0;
            int n = weft_utf8_decode(text + in, size - in, &point);
            took = (size_t)(n < 0 ? -n : n);
            len = weft_utf8_encode(point, unit);
        }
        if (len > room - at) break;
        memcpy(out + at, unit, len);
        at += len;
        in += took;
    }
    *written = at;
    return in;
}

int base_add_printable(weft_buf *out, const char *text, int multiline) {
    size_t left = strlen(text);
    while (left) {
        uint32_t point = 0;
        int n = weft_utf8_decode(text, left, &point);
        size_t took = (size_t)(n < 0 ? -n : n);
        if (multiline && (point == '\n' || point == '\t')) {
            weft_buf_addc(out, (char)point);
        } else if (point < 0x20 || (point >= 0x7F && point < 0xA0)) {
            weft_buf_printf(out, "\\x%02x", (unsigned)point);
        } else {
            char unit[4];
            weft_buf_add(out, unit, weft_utf8_encode(point, unit));
        }
        text += took;
        left -= took;
    }
    return out->error;
}
