#include "sidecar/config/build.h"

#include <string.h>

#include "weft/clock.h"
#include "weft/num.h"

void build_at(config_build *b, const char *key, size_t index) {
    if (b->depth + 2 <= BUILD_DEPTH) {
        b->steps[b->depth] = (build_step){.key = key};
        b->steps[b->depth + 1] = (build_step){.index = index};
    }
    b->depth += 2;
}

void build_in(config_build *b, const char *key) {
    if (b->depth < BUILD_DEPTH) b->steps[b->depth] = (build_step){.key = key};
    b->depth++;
}

void build_up(config_build *b) {
    b->depth--;
    if (b->depth < BUILD_DEPTH && !b->steps[b->depth].key) b->depth--;
}

/* ---- reports */

static bool is_word(const char *key) {
    for (; *key; key++)
        if (*key != '_' && !(*key >= '0' && *key <= '9') && !(*key >= 'a' && *key <= 'z') &&
            !(*key >= 'A' && *key <= 'Z'))
            return false;
    return true;
}

static void write_path(weft_buf *out, const build_step *steps, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (!steps[i].key)
            weft_buf_printf(out, "[%zu]", steps[i].index);
        else if (is_word(steps[i].key))
            weft_buf_printf(out, "%s%s", out->len ? "." : "", steps[i].key);
        else
            weft_buf_printf(out, "[\"%.200s\"]", steps[i].key);
    }
}

/* `field` may have parts, "a.b", and an index, "a[3]". */
static size_t add_field(weft_arena *arena, build_step *steps, size_t count, const char *field) {
    char *text = weft_arena_strdup(arena, field);
    while (text && *text && count < BUILD_DEPTH) {
        char *end = text + strcspn(text, ".[]");
        const char stop = *end;
        *end = '\0';
        if (*text >= '0' && *text <= '9') {
            uint64_t index = 0;
            if (weft_parse_uint64(text, &index)) index = 0;
            steps[count++] = (build_step){.index = (size_t)index};
        } else if (*text) {
            steps[count++] = (build_step){.key = text};
        }
        text = stop ? end + 1 : end;
    }
    return count;
}

static void report(config_build *b, const char *field, const char *hint, const char *text) {
    build_step steps[BUILD_DEPTH];
    const size_t depth = b->depth < BUILD_DEPTH ? b->depth : BUILD_DEPTH;
    memcpy(steps, b->steps, depth * sizeof *steps);
    const size_t count = add_field(b->scratch, steps, depth, field);
    int line = 0, column = 0;
    if (b->place) config_place_find(b->place, steps, count, &line, &column);
    weft_buf path;
    weft_buf_init(&path, 4096);
    write_path(&path, steps, count);
    (void)weft_diag_add(b->diags, b->file, line, column, path.len ? weft_buf_str(&path) : NULL,
                        hint, "%s", text);
    weft_buf_free(&path);
    if (!b->rc) b->rc = WEFT_EPARSE;
}

bool build_wrong(config_build *b, const char *field, const char *hint, const char *format, ...) {
    va_list args;
    va_start(args, format);
    const char *text = weft_arena_vprintf(b->scratch, format, args);
    va_end(args);
    report(b, field, hint, text ? text : "is wrong");
    return false;
}

bool build_missing(config_build *b, const char *field, const char *hint) {
    return build_wrong(b, field, hint, "is missing");
}

bool build_unsupported(config_build *b, const char *field, const char *hint) {
    return build_wrong(b, field, hint, "not supported");
}

/* ---- memory */

void *build_alloc(config_build *b, size_t count, size_t size) {
    void *p = weft_arena_calloc(b->arena, count ? count : 1, size);
    if (!p) b->rc = WEFT_ENOMEM;
    return p;
}

const char *build_copy(config_build *b, const char *text) {
    const char *copy = weft_arena_strdup(b->arena, text);
    if (!copy) b->rc = WEFT_ENOMEM;
    return copy ? copy : "";
}

config_text build_text(config_build *b, const char *text) {
    return (config_text){build_copy(b, text), (uint32_t)strlen(text)};
}

bool build_given(const char *text) { return text && *text; }

/* ---- values */

int64_t build_duration(config_build *b, const char *field, const Google__Protobuf__Duration *given,
                       int64_t standard, int64_t min, int64_t max) {
    char low[WEFT_NUM_TEXT], high[WEFT_NUM_TEXT];
    if (!given) return standard;
    const bool in_range = given->seconds >= 0 && given->nanos >= 0 &&
                          given->nanos < WEFT_NS_PER_S &&
                          given->seconds <= BUILD_LONGEST / WEFT_NS_PER_S;
    const int64_t ns = in_range ? given->seconds * WEFT_NS_PER_S + given->nanos : -1;
    if (ns >= min && ns <= max) return ns;
    weft_format_duration(min, low);
    weft_format_duration(max, high);
    build_wrong(b, field, NULL, "must be from %s to %s", low, high);
    return standard;
}

void build_no_timeout(config_build *b, const char *field, const Google__Protobuf__Duration *given) {
    if (given && (given->seconds || given->nanos))
        build_unsupported(b, field, "0s, or remove it; timeout and max_stream_duration are");
}

uint32_t build_u32(config_build *b, const char *field, const Google__Protobuf__UInt32Value *given,
                   uint32_t standard, uint32_t min, uint32_t max) {
    if (!given) return standard;
    if (given->value >= min && given->value <= max) return given->value;
    build_wrong(b, field, NULL, "must be from %u to %u, not %u", min, max, given->value);
    return standard;
}

/* ---- typed extensions */

const char *build_any_type(const Google__Protobuf__Any *any) {
    const char *slash = any && any->type_url ? strrchr(any->type_url, '/') : NULL;
    return slash ? slash + 1 : "";
}

void build_refuse_unknown(config_build *b, const ProtobufCMessage *message) {
    const ProtobufCMessageDescriptor *type = message->descriptor;
    for (unsigned i = 0; i < message->n_unknown_fields; i++)
        build_wrong(b, "", "what bears security is refused if it is not understood",
                    "field %u of %s is not known", message->unknown_fields[i].tag, type->name);
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        const char *at = (const char *)message + field->offset;
        if (field->type != PROTOBUF_C_TYPE_MESSAGE) continue;
        const char *quantifier = (const char *)message + field->quantifier_offset;
        if (field->label == PROTOBUF_C_LABEL_REPEATED) {
            size_t count;
            ProtobufCMessage *const *list;
            memcpy(&count, quantifier, sizeof count);
            memcpy(&list, at, sizeof list);
            for (size_t k = 0; k < count; k++) build_refuse_unknown(b, list[k]);
            continue;
        }
        uint32_t arm;
        memcpy(&arm, quantifier, sizeof arm);
        if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF && arm != field->id) continue;
        const ProtobufCMessage *held;
        memcpy(&held, at, sizeof held);
        if (held) build_refuse_unknown(b, held);
    }
}

static bool bears_security(const ProtobufCMessageDescriptor *type) {
    return !strncmp(type->name, "envoy.extensions.transport_sockets.",
                    sizeof "envoy.extensions.transport_sockets." - 1);
}

ProtobufCMessage *build_any(config_build *b, const char *field, const Google__Protobuf__Any *any,
                            const ProtobufCMessageDescriptor *type, bool quiet) {
    if (!any || !build_given(any->type_url)) {
        if (!quiet) build_missing(b, field, NULL);
        return NULL;
    }
    const char *given = build_any_type(any);
    if (strcmp(given, type->name) != 0) {
        const char *hint = weft_arena_printf(b->scratch, "supported: %s", type->name);
        if (!quiet) build_wrong(b, field, hint, "\"%.200s\" is not supported here", given);
        return NULL;
    }
    int error = 0;
    const char *why = "";
    const uint8_t *data = any->value.len ? any->value.data : (const uint8_t *)"";
    ProtobufCMessage *message =
        weft_unpack(type, data, any->value.len, NULL, b->arena, &error, &why);
    if (!message && error == WEFT_ENOMEM) b->rc = WEFT_ENOMEM;
    if (!message && error != WEFT_ENOMEM) build_wrong(b, field, NULL, "%s", why);
    if (message && bears_security(type)) {
        build_in(b, field);
        build_refuse_unknown(b, message);
        build_up(b);
    }
    return message;
}
