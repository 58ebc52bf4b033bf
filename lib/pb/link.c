/* Fields and methods of a batch find their types; every rule a field must keep is checked here. */
#include "registry.h"

#include <stdlib.h>
#include <string.h>

#define RELATIVE_MAX 100000u

/* ---- names ---- */

/* What `name` means inside `scope`: from the inside out, as in C++. */
static const pb_symbol *resolve(pb_batch *batch, const char *scope, const char *name) {
    if (*name == '.') return pb_lookup(batch, name + 1);
    if (batch->relative++ >= RELATIVE_MAX)
        return NULL; /* protoc writes none: someone wastes our time */
    weft_buf full;
    weft_buf_init(&full, 8192);
    const pb_symbol *found = NULL;
    for (size_t len = strlen(scope); !found;) {
        weft_buf_clear(&full);
        if (len) weft_buf_printf(&full, "%.*s.", (int)len, scope);
        if (!weft_buf_adds(&full, name)) found = pb_lookup(batch, weft_buf_str(&full));
        if (!len) break;
        while (len && scope[len - 1] != '.') len--;
        if (len) len--; /* the dot */
    }
    weft_buf_free(&full);
    return found;
}

char *pb_json_name(weft_arena *arena, const char *name) {
    char *json = weft_arena_strdup(arena, name);
    char *out = json;
    bool upper = false;
    for (const char *at = name; json && *at; at++) {
        if (*at == '_') {
            upper = true;
            continue;
        }
        *out++ = (char)(upper && *at >= 'a' && *at <= 'z' ? *at - 'a' + 'A' : *at);
        upper = false;
    }
    if (json) *out = '\0';
    return json;
}

/* ---- one field ---- */

/* Where problems of a field are reported. */
typedef struct spot {
    pb_batch *batch;
    const pb_type *type;
    const char *path;
} spot;

#define REFUSE(s, hint, ...) \
    pb_batch_error((s)->batch, (s)->type->file, (s)->path, hint, __VA_ARGS__)

bool pb_c_type(uint32_t kind, ProtobufCType *type) {
    static const ProtobufCType types[] = {
        [KIND_DOUBLE] = PROTOBUF_C_TYPE_DOUBLE,     [KIND_FLOAT] = PROTOBUF_C_TYPE_FLOAT,
        [KIND_INT64] = PROTOBUF_C_TYPE_INT64,       [KIND_UINT64] = PROTOBUF_C_TYPE_UINT64,
        [KIND_INT32] = PROTOBUF_C_TYPE_INT32,       [KIND_FIXED64] = PROTOBUF_C_TYPE_FIXED64,
        [KIND_FIXED32] = PROTOBUF_C_TYPE_FIXED32,   [KIND_BOOL] = PROTOBUF_C_TYPE_BOOL,
        [KIND_STRING] = PROTOBUF_C_TYPE_STRING,     [KIND_MESSAGE] = PROTOBUF_C_TYPE_MESSAGE,
        [KIND_BYTES] = PROTOBUF_C_TYPE_BYTES,       [KIND_UINT32] = PROTOBUF_C_TYPE_UINT32,
        [KIND_ENUM] = PROTOBUF_C_TYPE_ENUM,         [KIND_SFIXED32] = PROTOBUF_C_TYPE_SFIXED32,
        [KIND_SFIXED64] = PROTOBUF_C_TYPE_SFIXED64, [KIND_SINT32] = PROTOBUF_C_TYPE_SINT32,
        [KIND_SINT64] = PROTOBUF_C_TYPE_SINT64,
    };
    if (kind < KIND_DOUBLE || kind > KIND_SINT64 || kind == KIND_GROUP) return false;
    *type = types[kind];
    return true;
}

static void link_number(const spot *s, const field_proto *proto, weft_type_field *field) {
    const int32_t n = proto->number;
    if (!proto->has_number || n < 1 || n > PB_NUMBER_MAX)
        REFUSE(s, NULL, "field number %d is not in 1 to %d", n, PB_NUMBER_MAX);
    else if (n >= 19000 && n <= 19999)
        REFUSE(s, NULL, "field number %d is reserved for protobuf itself (19000 to 19999)", n);
    field->number = (uint32_t)n;
}

/* The type of a field: its kind and what it refers to. */
static void link_kind(const spot *s, const field_proto *proto, weft_type_field *field) {
    const bool named = proto->type_name && *proto->type_name;
    field->kind = proto->has_type ? (uint32_t)proto->type : 0;
    ProtobufCType unused;
    if (field->kind == KIND_GROUP) {
        REFUSE(s, "use a message field", "groups are not supported");
        return;
    }
    if (field->kind ? !pb_c_type(field->kind, &unused) : !named) {
        REFUSE(s, NULL, "%d is no type of a field", (int)field->kind);
        return;
    }
    const bool refers = !field->kind || field->kind == KIND_MESSAGE || field->kind == KIND_ENUM;
    if (!refers) return;
    if (!named) {
        REFUSE(s, NULL, "the field does not say which message or enum it holds");
        return;
    }
    const pb_symbol *symbol = resolve(s->batch, s->type->type.name, proto->type_name);
    const char *shown = proto->type_name + (*proto->type_name == '.');
    if (!symbol || !symbol->object) {
        REFUSE(s, NULL, "the type \"%s\" is not declared", shown);
    } else if (symbol->kind == PB_MESSAGE && field->kind != KIND_ENUM) {
        field->kind = KIND_MESSAGE;
        field->message = &((const pb_type *)symbol->object)->type;
    } else if (symbol->kind == PB_ENUM && field->kind != KIND_MESSAGE) {
        field->kind = KIND_ENUM;
        field->enumeration = &((const pb_enum *)symbol->object)->type;
        if (s->type->type.proto3 && !field->enumeration->proto3)
            REFUSE(s, NULL, "a proto3 message cannot hold the proto2 enum \"%s\"", shown);
    } else {
        REFUSE(s, NULL, "\"%s\" is not %s", shown,
               field->kind == KIND_ENUM ? "an enum" : "a message or enum");
    }
}

static void link_label(const spot *s, const field_proto *proto, weft_type_field *field) {
    const int label = proto->has_label ? (int)proto->label : 1;
    const bool proto3 = s->type->type.proto3;
    if (label < 1 || label > 3) REFUSE(s, NULL, "%d is no label of a field", label);
    if (label == 2 && proto3) REFUSE(s, NULL, "proto3 has no required fields");
    field->repeated = label == 3;
    field->oneof = -1;
    field->optional = proto->has_proto3_optional && proto->proto3_optional;
    if (field->optional && !proto3) REFUSE(s, NULL, "proto3_optional is set in a proto2 file");
    if (field->optional && !proto->has_oneof_index)
        REFUSE(s, "make the descriptor with a protoc that knows proto3 optional",
               "a proto3 optional field needs a oneof of its own");
    if (proto->has_oneof_index) {
        if (proto->oneof_index < 0 || (size_t)proto->oneof_index >= s->type->proto->n_oneof_decl)
            REFUSE(s, NULL, "oneof %d does not exist", proto->oneof_index);
        else if (!field->optional)
            field->oneof = proto->oneof_index;
        if (label != 1) REFUSE(s, NULL, "a member of a oneof cannot be repeated or required");
    }
    field->map = field->repeated && field->message && field->message->map_entry;
    if (field->map) field->repeated = false;
    if (field->message && field->message->map_entry && !field->map)
        REFUSE(s, NULL, "a map entry can only be the type of a repeated field");
    field->presence = label != 3 && (!proto3 || field->message || proto->has_oneof_index);
}

static void link_field(pb_batch *batch, const pb_type *type, const field_proto *proto,
                       weft_type_field *field) {
    spot s = {.batch = batch, .type = type, .path = type->type.name};
    if (!pb_is_identifier(proto->name)) {
        REFUSE(&s, NULL, "\"%s\" is no name for a field", proto->name ? proto->name : "");
        return;
    }
    s.path = weft_arena_printf(batch->scratch, "%s.%s", type->type.name, proto->name);
    if (!s.path) {
        batch->fatal = WEFT_ENOMEM;
        return;
    }
    if (pb_lookup(batch, s.path)) REFUSE(&s, NULL, "a type and a field have the same name");
    if (proto->extendee && *proto->extendee) REFUSE(&s, NULL, "an extension among the fields");
    field->name = pb_keep_text(batch, proto->name);
    field->json_name = proto->json_name && *proto->json_name
                           ? pb_keep_text(batch, proto->json_name)
                           : pb_json_name(batch->arena, proto->name);
    if (!field->json_name) batch->fatal = WEFT_ENOMEM;
    if (field->name && field->json_name && !strcmp(field->json_name, field->name))
        field->json_name = field->name;
    link_number(&s, proto, field);
    link_kind(&s, proto, field);
    link_label(&s, proto, field);
}

/* ---- one message ---- */

static int compare_number(const void *a, const void *b) {
    const weft_type_field *x = *(const weft_type_field *const *)a;
    const weft_type_field *y = *(const weft_type_field *const *)b;
    return (x->number > y->number) - (x->number < y->number);
}

static int compare_name(const void *a, const void *b) {
    const pb_name *x = a, *y = b;
    const int order = strcmp(x->name, y->name);
    if (order) return order;
    /* A field's own name before another's JSON name, then the order of declaration. */
    const bool own_x = x->name == x->field->name, own_y = y->name == y->field->name;
    if (own_x != own_y) return own_x ? -1 : 1;
    return (x->field > y->field) - (x->field < y->field);
}

static void index_fields(pb_batch *batch, pb_type *t) {
    const size_t n = t->type.field_count;
    t->sorted = pb_keep(batch, n, sizeof *t->sorted);
    t->names = pb_keep(batch, n * 2, sizeof *t->names);
    if (batch->fatal) return;
    size_t names = 0;
    for (size_t i = 0; i < n; i++) {
        const weft_type_field *f = &t->fields[i];
        t->sorted[i] = f;
        t->names[names++] = (pb_name){f->name, f};
        if (f->json_name != f->name) t->names[names++] = (pb_name){f->json_name, f};
    }
    qsort(t->sorted, n, sizeof *t->sorted, compare_number);
    qsort(t->names, names, sizeof *t->names, compare_name);
    size_t kept = 0;
    for (size_t i = 0; i < names; i++) {
        const pb_name *name = &t->names[i], *before = kept ? &t->names[kept - 1] : NULL;
        if (!before || strcmp(before->name, name->name) != 0)
            t->names[kept++] = *name;
        else if (name->name == name->field->name) /* two own names: own names sort first */
            pb_batch_error(batch, t->file, t->type.name, NULL, "two fields are called \"%s\"",
                           name->name);
    }
    t->name_count = kept;
    for (size_t i = 1; i < n; i++)
        if (t->sorted[i]->number == t->sorted[i - 1]->number)
            pb_batch_error(batch, t->file, t->type.name, NULL, "%s and %s have the same number %u",
                           t->sorted[i - 1]->name, t->sorted[i]->name, t->sorted[i]->number);
}

/* Which oneof a field of the descriptor is in, or -1. */
static int oneof_of(const message_proto *proto, size_t field) {
    const field_proto *f = proto->field[field];
    return f->has_oneof_index && f->oneof_index >= 0 && (size_t)f->oneof_index < proto->n_oneof_decl
               ? f->oneof_index
               : -1;
}

/* Oneofs that stand for one proto3 `optional` field each come after the others. */
static void link_oneofs(pb_batch *batch, pb_type *t) {
    const message_proto *proto = t->proto;
    const size_t n = proto->n_oneof_decl;
    const char **names = pb_keep(batch, n, sizeof *names);
    uint32_t(*members)[2] =
        weft_arena_calloc(batch->scratch, n, sizeof *members); /* all, optional */
    if (!names || !members) {
        batch->fatal = WEFT_ENOMEM;
        return;
    }
    for (size_t i = 0; i < t->type.field_count; i++) {
        const int oneof = oneof_of(proto, i);
        if (oneof < 0) continue;
        members[oneof][0]++;
        members[oneof][1] += t->fields[i].optional;
    }
    bool synthetic = false;
    for (size_t i = 0; i < n && !batch->fatal; i++) {
        const char *name = proto->oneof_decl[i]->name;
        if (!pb_is_identifier(name))
            pb_batch_error(batch, t->file, t->type.name, NULL, "\"%s\" is no name for a oneof",
                           name ? name : "");
        else if (!members[i][0])
            pb_batch_error(batch, t->file, t->type.name, NULL, "the oneof \"%s\" has no members",
                           name);
        else if (members[i][1] && members[i][0] > 1)
            pb_batch_error(batch, t->file, t->type.name, NULL,
                           "the oneof \"%s\" holds an optional field and others", name);
        else if (members[i][1])
            synthetic = true;
        else if (synthetic)
            pb_batch_error(batch, t->file, t->type.name, NULL,
                           "the oneof \"%s\" comes after one made for an optional field", name);
        else
            names[t->oneof_count++] = pb_keep_text(batch, name);
    }
    t->oneofs = names;
}

static void check_map_entry(pb_batch *batch, const pb_type *t) {
    const weft_type *type = &t->type;
    const weft_type_field *key = type->field_count == 2 ? t->sorted[0] : NULL;
    const weft_type_field *value = key ? t->sorted[1] : NULL;
    bool good = t->nested && key && key->number == 1 && value->number == 2 && !key->repeated &&
                !value->repeated && !value->map && key->oneof < 0 && value->oneof < 0 &&
                !key->optional && !value->optional && !strcmp(key->name, "key") &&
                !strcmp(value->name, "value") && t->proto->n_oneof_decl == 0;
    for (size_t i = 0; i < type->field_count && good; i++)
        good = !t->proto->field[i]->has_label || (int)t->proto->field[i]->label == 1;
    if (good) switch (key->kind) {
        case KIND_DOUBLE:
        case KIND_FLOAT:
        case KIND_BYTES:
        case KIND_ENUM:
        case KIND_MESSAGE:
            good = false;
            break;
        default:
            break;
        }
    if (!good)
        pb_batch_error(
            batch, t->file, type->name, NULL,
            "a map entry must hold a key of an integer, bool or string type and a value");
}

/* The compiled struct must be the one that the embedded contract describes. */
static void join_compiled(pb_batch *batch, pb_type *t) {
    const ProtobufCMessageDescriptor *pbc = t->type.pbc;
    bool same = pbc->n_fields == t->type.field_count;
    for (size_t i = 0; i < t->type.field_count && same; i++) {
        weft_type_field *f = &t->fields[i];
        ProtobufCType want = PROTOBUF_C_TYPE_INT32;
        f->pbc = protobuf_c_message_descriptor_get_field(pbc, f->number);
        same = f->pbc && pb_c_type(f->kind, &want) && f->pbc->type == want &&
               (f->pbc->label == PROTOBUF_C_LABEL_REPEATED) == (f->repeated || f->map);
        if (same && f->message) same = f->pbc->descriptor == f->message->pbc;
        if (same && (f->oneof >= 0 || f->optional))
            same = f->pbc->flags & PROTOBUF_C_FIELD_FLAG_ONEOF;
    }
    if (!same)
        pb_batch_error(batch, t->file, t->type.name, "generate and compile the messages again",
                       "the embedded contract and the compiled code disagree");
}

static void link_type(pb_batch *batch, pb_type *t) {
    const message_proto *proto = t->proto;
    const size_t before = batch->errors;
    t->fields = pb_keep(batch, proto->n_field, sizeof *t->fields);
    if (!t->fields) return;
    t->type.fields = t->fields;
    t->type.field_count = proto->n_field;
    for (size_t i = 0; i < proto->n_field && !batch->fatal; i++)
        link_field(batch, t, proto->field[i], &t->fields[i]);
    if (batch->errors != before || batch->fatal) return;
    link_oneofs(batch, t);
    if (!batch->fatal) index_fields(batch, t);
    if (batch->errors != before || batch->fatal) return;
    if (t->type.map_entry) check_map_entry(batch, t);
    if (t->file->compiled) join_compiled(batch, t);
}

/* ---- services ---- */

static const weft_type *method_type(pb_batch *batch, const pb_service *s, const char *path,
                                    const char *name, const char *what) {
    const pb_symbol *symbol = name && *name ? resolve(batch, s->type.name, name) : NULL;
    if (symbol && symbol->kind == PB_MESSAGE) return &((const pb_type *)symbol->object)->type;
    pb_batch_error(batch, s->file, path, NULL, "the %s type \"%s\" is not a declared message", what,
                   name ? name + (*name == '.') : "");
    return NULL;
}

static void link_service(pb_batch *batch, pb_service *s) {
    const service_proto *proto = s->proto;
    weft_type_method *methods = pb_keep(batch, proto->n_method, sizeof *methods);
    weft_map met;
    weft_map_init(&met, 0);
    for (size_t i = 0; i < proto->n_method && !batch->fatal; i++) {
        const Google__Protobuf__MethodDescriptorProto *m = proto->method[i];
        if (!pb_is_identifier(m->name)) {
            pb_batch_error(batch, s->file, s->type.name, NULL, "\"%s\" is no name for a method",
                           m->name ? m->name : "");
            continue;
        }
        const char *name = pb_keep_text(batch, m->name);
        const char *path = weft_arena_printf(batch->arena, "/%s/%s", s->type.name, m->name);
        if (!name || !path) {
            batch->fatal = WEFT_ENOMEM;
            break;
        }
        const int rc = weft_map_add(&met, name, NULL);
        if (rc == WEFT_EEXIST)
            pb_batch_error(batch, s->file, s->type.name, NULL, "two methods are called \"%s\"",
                           name);
        else if (rc)
            batch->fatal = rc;
        methods[i] = (weft_type_method){
            .name = name,
            .path = path,
            .input = method_type(batch, s, path, m->input_type, "request"),
            .output = method_type(batch, s, path, m->output_type, "response"),
            .client_streaming = m->has_client_streaming && m->client_streaming,
            .server_streaming = m->has_server_streaming && m->server_streaming,
            .idempotency = m->options && m->options->has_idempotency_level
                               ? (uint32_t)m->options->idempotency_level
                               : 0,
        };
    }
    weft_map_free(&met, NULL);
    s->type.methods = methods;
    s->type.method_count = proto->n_method;
}

void pb_link(pb_batch *batch) {
    for (size_t i = 0; i < batch->type_count && !batch->fatal; i++)
        link_type(batch, batch->types[i]);
    for (size_t i = 0; i < batch->type_count && !batch->fatal && !batch->errors; i++)
        pb_check_wellknown(batch, batch->types[i]);
    for (size_t i = 0; i < batch->service_count && !batch->fatal; i++)
        link_service(batch, batch->services[i]);
}
