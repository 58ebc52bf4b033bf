/* The well-known messages that have a JSON form of their own, on the way out. */
#include "encode.h"
#include "scalar.h"

#include <math.h>

static const void *slot_of(const ProtobufCMessage *message, const weft_type *type,
                           uint32_t number) {
    return pb_slot(message, weft_type_field_by_number(type, number));
}

static const char *text_in(const ProtobufCMessage *message, const weft_type *type,
                           uint32_t number) {
    const char *text = *(char *const *)slot_of(message, type, number);
    return text ? text : "";
}

static void encode_time(pb_encoder *e, const weft_type *type, const ProtobufCMessage *message,
                        const pb_path *path) {
    const bool stamp = PB_TYPE(type)->wellknown == PB_TIMESTAMP;
    const int64_t seconds = *(const int64_t *)slot_of(message, type, 1);
    const int32_t nanos = *(const int32_t *)slot_of(message, type, 2);
    char text[WEFT_NUM_TEXT];
    if ((stamp ? pb_format_timestamp : pb_format_duration)(seconds, nanos, text))
        weft_buf_printf(e->out, "\"%s\"", text);
    else
        PB_CANNOT(e, path, "%lld seconds and %d nanoseconds are no %s", (long long)seconds,
                  (int)nanos, type->name);
}

/* "foo_bar.baz" to "fooBar.baz". False when it would not come back the same. */
static bool camel_path(weft_buf *out, const char *text) {
    for (const char *at = text; *at; at++) {
        if ((*at >= 'A' && *at <= 'Z') || *at == ',') return false;
        if (*at != '_') {
            weft_buf_addc(out, *at);
            continue;
        }
        at++;
        if (*at < 'a' || *at > 'z') return false;
        weft_buf_addc(out, (char)(*at - 'a' + 'A'));
    }
    return *text;
}

static void encode_mask(pb_encoder *e, const weft_type *type, const ProtobufCMessage *message,
                        const pb_path *path) {
    const weft_type_field *paths = weft_type_field_by_number(type, 1);
    char *const *array = *(char **const *)pb_slot(message, paths);
    weft_buf text;
    weft_buf_init(&text, 0);
    for (size_t i = 0; array && i < pb_count(message, paths); i++) {
        if (i) weft_buf_addc(&text, ',');
        if (!camel_path(&text, array[i]))
            PB_CANNOT(e, path, "the path \"%.100s\" of a field mask has no JSON form", array[i]);
    }
    if (text.error)
        e->context.fatal = text.error;
    else
        pb_encode_string(e, weft_buf_str(&text), path);
    weft_buf_free(&text);
}

static void encode_any_value(pb_encoder *e, const weft_type *type, const ProtobufCMessage *message,
                             const pb_path *path) {
    const weft_type_field *null = weft_type_field_by_number(type, 1);
    const weft_type_field *set = weft_type_field_by_number(type, pb_case(message, null));
    if (!set || !pb_is_set(message, set)) {
        PB_CANNOT(e, path, "a google.protobuf.Value holds nothing, not even null");
        return;
    }
    if (set->kind == KIND_DOUBLE && !isfinite(*(const double *)pb_slot(message, set)))
        PB_CANNOT(e, path, "a google.protobuf.Value holds a number that is not finite");
    pb_encode_value(e, set, pb_slot(message, set), path);
}

/* A Struct or ListValue is its only field. */
static void encode_only_field(pb_encoder *e, const weft_type *type, const ProtobufCMessage *message,
                              const pb_path *path) {
    const weft_type_field *only = weft_type_field_by_number(type, 1);
    const bool object = only->map;
    const weft_type_field *key = object ? weft_type_field_by_number(only->message, 1) : NULL;
    const weft_type_field *value = object ? weft_type_field_by_number(only->message, 2) : NULL;
    ProtobufCMessage *const *array = *(ProtobufCMessage * *const *)pb_slot(message, only);
    bool first = true;
    if (!pb_encode_open(e, object ? '{' : '[', path)) return;
    const size_t count = array ? pb_count(message, only) : 0;
    const bool *gone = object && count > 1 ? pb_superseded(e, array, count, key) : NULL;
    for (size_t i = 0; i < count && !pb_encode_over(e); i++) {
        if (gone && gone[i]) continue;
        pb_path here = {.up = path, .index = i};
        const ProtobufCMessage *held = array[i];
        if (object) {
            here.key = held ? *(char *const *)pb_slot(held, key) : NULL;
            if (!here.key) here.key = "";
            pb_encode_key(e, &first, here.key, &here);
            held = held ? *(ProtobufCMessage *const *)pb_slot(held, value) : NULL;
        } else {
            pb_encode_next(e, &first);
        }
        if (held)
            pb_encode_message(e, object ? value->message : only->message, held, &here);
        else
            PB_CANNOT(e, &here, "a google.protobuf.Value holds nothing, not even null");
    }
    pb_encode_close(e, object ? '}' : ']', first);
}

static void encode_wrapper(pb_encoder *e, const weft_type *type, const ProtobufCMessage *message,
                           const pb_path *path) {
    const weft_type_field *only = weft_type_field_by_number(type, 1);
    pb_encode_value(e, only, pb_slot(message, only), path);
}

/* The message in an Any, or NULL with the problem reported. */
static ProtobufCMessage *open_any(pb_encoder *e, const weft_type *held,
                                  const ProtobufCBinaryData *bytes, const pb_path *path) {
    const weft_guard_limits limits = {.max_bytes = bytes->len + 1, .max_depth = PB_DEPTH_MAX};
    const char *why = NULL;
    int rc = 0;
    ProtobufCMessage *inner = NULL;
    if (!pb_encode_scratch(e)) return NULL;
    inner = weft_unpack(held->pbc, bytes->data, bytes->len, &limits, e->context.nodes, &rc, &why);
    if (rc == WEFT_ENOMEM)
        e->context.fatal = rc;
    else if (!inner)
        PB_CANNOT(e, path, "what is in this google.protobuf.Any is no %s: %s", held->name, why);
    return inner;
}

static void encode_any(pb_encoder *e, const weft_type *type, const ProtobufCMessage *message,
                       const pb_path *path) {
    const char *url = text_in(message, type, 1);
    const ProtobufCBinaryData *bytes = slot_of(message, type, 2);
    const char *slash = strrchr(url, '/');
    bool first = true;
    if (!*url && !bytes->len) {
        weft_buf_adds(e->out, "{}");
        return;
    }
    const weft_type *held = slash ? weft_registry_message(e->context.registry, slash + 1) : NULL;
    if (!held) {
        PB_CANNOT(e, path,
                  "a google.protobuf.Any holds the type \"%.200s\", which is not known here",
                  slash ? slash + 1 : url);
        return;
    }
    if (!pb_encode_open(e, '{', path)) return;
    ProtobufCMessage *inner = open_any(e, held, bytes, path);
    if (!inner) return;
    pb_encode_key(e, &first, "@type", path);
    pb_encode_string(e, url, path);
    if (PB_TYPE(held)->wellknown == PB_PLAIN) {
        pb_encode_members(e, held, inner, &first, path);
    } else {
        const pb_path here = {.up = path, .key = "value"};
        pb_encode_key(e, &first, "value", &here);
        pb_encode_message(e, held, inner, &here);
    }
    pb_encode_close(e, '}', first);
}

void pb_encode_wellknown(pb_encoder *e, const weft_type *type, const ProtobufCMessage *message,
                         const pb_path *path) {
    static void (*const encoders[])(pb_encoder *, const weft_type *, const ProtobufCMessage *,
                                    const pb_path *) = {
        [PB_ANY] = encode_any,
        [PB_TIMESTAMP] = encode_time,
        [PB_DURATION] = encode_time,
        [PB_FIELD_MASK] = encode_mask,
        [PB_STRUCT] = encode_only_field,
        [PB_VALUE] = encode_any_value,
        [PB_LIST_VALUE] = encode_only_field,
        [PB_WRAPPER] = encode_wrapper,
    };
    encoders[PB_TYPE(type)->wellknown](e, type, message, path);
}
