/* Before a request is decoded. protoc passes comments on as they are in the file, in Latin-1 or with
 * control bytes; the decode guard, rightly strict, would refuse all of it for their sake. What is no
 * text in a comment is replaced here. For what else it refuses, the file is found, so that the
 * author reads a name. */
#include <string.h>

#include "tools/codegen/cg.h"
#include "weft/pb.h"
#include "weft/utf8.h"

typedef struct span {
    uint8_t *at, *end;
} span;

static bool varint(span *in, uint64_t *value) {
    *value = 0;
    for (unsigned shift = 0; in->at < in->end && shift < 64; shift += 7) {
        uint8_t byte = *in->at++;
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) return true;
    }
    return false;
}

static bool skip(span *in, uint64_t size) {
    if (size > (uint64_t)(in->end - in->at)) return false;
    in->at += size;
    return true;
}

/* The next length-delimited field with that number; others are passed over. False at the end, and at
 * anything malformed, which the guard will report. */
static bool next(span *in, uint32_t number, span *content) {
    uint64_t tag, value;
    while (in->at < in->end && varint(in, &tag)) {
        if ((tag & 7) == 1 && skip(in, 8)) continue;
        if ((tag & 7) == 5 && skip(in, 4)) continue;
        if ((tag & 7) != 0 && (tag & 7) != 2) return false;
        if (!varint(in, &value)) return false;
        if ((tag & 7) == 0) continue;
        *content = (span){in->at, in->at};
        if (!skip(in, value)) return false;
        content->end = in->at;
        if (tag >> 3 == number) return true;
    }
    return false;
}

static void clean_text(span text) {
    while (text.at < text.end) {
        size_t good = weft_utf8_prefix(text.at, (size_t)(text.end - text.at));
        for (size_t i = 0; i < good; i++)
            if (!text.at[i]) text.at[i] = ' ';
        text.at += good;
        if (text.at < text.end) *text.at++ = '?';
    }
}

static void clean_location(span location) {
    static const uint32_t comments[] = {3, 4, 6}; /* leading, trailing, detached */
    for (size_t i = 0; i < 3; i++) {
        span all = location, text;
        while (next(&all, comments[i], &text)) clean_text(text);
    }
}

void cg_clean_comments(uint8_t *request, size_t len) {
    span all = {request, request + len}, file, info, location;
    while (next(&all, 15, &file))
        while (next(&file, 9, &info))
            while (next(&info, 1, &location)) clean_location(location);
}

/* "FILE: why" for the first file that cannot be decoded; NULL when it is none of them. */
const char *cg_broken_file(weft_arena *arena, uint8_t *request, size_t len) {
    const weft_guard_limits limits = {.max_bytes = SIZE_MAX};
    span all = {request, request + len}, file, name;
    while (next(&all, 15, &file)) {
        const char *why = NULL;
        if (!weft_guard(&google__protobuf__file_descriptor_proto__descriptor, file.at,
                        (size_t)(file.end - file.at), &limits, &why))
            continue;
        span inside = file;
        if (!next(&inside, 1, &name)) return NULL;
        clean_text(name);
        return cg_printf(arena, "%.*s: %s (look at its default values and names)",
                         (int)(name.end - name.at > 1000 ? 1000 : name.end - name.at),
                         (const char *)name.at, why ? why : "cannot be decoded");
    }
    return NULL;
}
