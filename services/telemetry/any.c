/* A value of OTLP as text. */
#include <string.h>

#include "services/telemetry/telemetry.h"
#include "weft/encoding.h"
#include "weft/num.h"

static void add_quoted(const char *text, weft_buf *out) {
    weft_buf_addc(out, '"');
    weft_buf_add_json(out, text, strlen(text));
    weft_buf_addc(out, '"');
}

static void add_bytes(const ProtobufCBinaryData *bytes, weft_buf *out) {
    weft_buf_addc(out, '"');
    char *at = weft_buf_reserve(out, WEFT_BASE64_TEXT(bytes->len));
    if (at)
        weft_buf_commit(out,
                        weft_base64_encode(WEFT_BASE64_JSON_SEND, bytes->data, bytes->len, at));
    weft_buf_addc(out, '"');
}

/* Nesting is bounded by the decoder's limit. */
static void add_json(const Otlp__AnyValue *v, weft_buf *out) {
    char number[WEFT_NUM_TEXT];
    switch (v ? v->value_case : OTLP__ANY_VALUE__VALUE__NOT_SET) {
    case OTLP__ANY_VALUE__VALUE_STRING_VALUE:
        add_quoted(v->string_value, out);
        break;
    case OTLP__ANY_VALUE__VALUE_BOOL_VALUE:
        weft_buf_adds(out, v->bool_value ? "true" : "false");
        break;
    case OTLP__ANY_VALUE__VALUE_INT_VALUE:
        (void)weft_format_int64(v->int_value, number);
        weft_buf_adds(out, number);
        break;
    case OTLP__ANY_VALUE__VALUE_DOUBLE_VALUE:
        (void)weft_format_double(v->double_value, number);
        weft_buf_adds(out, number);
        break;
    case OTLP__ANY_VALUE__VALUE_BYTES_VALUE:
        add_bytes(&v->bytes_value, out);
        break;
    case OTLP__ANY_VALUE__VALUE_ARRAY_VALUE:
        weft_buf_addc(out, '[');
        for (size_t i = 0; i < v->array_value->n_values; i++) {
            if (i) weft_buf_addc(out, ',');
            add_json(v->array_value->values[i], out);
        }
        weft_buf_addc(out, ']');
        break;
    case OTLP__ANY_VALUE__VALUE_KVLIST_VALUE:
        weft_buf_addc(out, '{');
        for (size_t i = 0; i < v->kvlist_value->n_values; i++) {
            if (i) weft_buf_addc(out, ',');
            add_quoted(v->kvlist_value->values[i]->key, out);
            weft_buf_addc(out, ':');
            add_json(v->kvlist_value->values[i]->value, out);
        }
        weft_buf_addc(out, '}');
        break;
    default:
        weft_buf_adds(out, "null");
    }
}

void tel_any_text(const Otlp__AnyValue *value, weft_buf *out) {
    if (value && value->value_case == OTLP__ANY_VALUE__VALUE_STRING_VALUE)
        weft_buf_adds(out, value->string_value);
    else
        add_json(value, out);
}
