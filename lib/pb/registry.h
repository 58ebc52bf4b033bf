/* The registry from the inside: files, symbols, and the batch in which new files are checked before
 * any of them is visible. Private to lib/pb. */
#ifndef PB_REGISTRY_H
#define PB_REGISTRY_H

#include "google/protobuf/descriptor.pb-c.h"
#include "weft/map.h"
#include "weft/pb.h"

typedef Google__Protobuf__FileDescriptorProto file_proto;
typedef Google__Protobuf__DescriptorProto message_proto;
typedef Google__Protobuf__FieldDescriptorProto field_proto;
typedef Google__Protobuf__EnumDescriptorProto enum_proto;
typedef Google__Protobuf__ServiceDescriptorProto service_proto;

/* FieldDescriptorProto.Type */
enum {
    KIND_DOUBLE = 1,
    KIND_FLOAT,
    KIND_INT64,
    KIND_UINT64,
    KIND_INT32,
    KIND_FIXED64,
    KIND_FIXED32,
    KIND_BOOL,
    KIND_STRING,
    KIND_GROUP,
    KIND_MESSAGE,
    KIND_BYTES,
    KIND_UINT32,
    KIND_ENUM,
    KIND_SFIXED32,
    KIND_SFIXED64,
    KIND_SINT32,
    KIND_SINT64
};

#define PB_NUMBER_MAX 536870911 /* 2^29 - 1 */

/* The messages whose JSON is not the plain mapping. */
typedef enum pb_wellknown {
    PB_PLAIN,
    PB_ANY,
    PB_TIMESTAMP,
    PB_DURATION,
    PB_FIELD_MASK,
    PB_STRUCT,
    PB_VALUE,
    PB_LIST_VALUE,
    PB_WRAPPER,
} pb_wellknown;

typedef struct pb_file {
    const char *name;
    const uint8_t *bytes; /* serialized FileDescriptorProto */
    size_t len;
    const char **deps;
    size_t dep_count;
    const weft_file *compiled; /* NULL: known at run time only */
    bool builtin;              /* a well-known type's: never replaced, never in conflict */
    /* While its batch is being built: */
    file_proto *proto;
    bool proto3;
    enum { PB_UNSEEN, PB_OPEN, PB_ORDERED } state;
    size_t next_dep;
    size_t next_message, next_enum; /* where in compiled's arrays the next is expected */
} pb_file;

/* A name of a field, as in the .proto file or in JSON. */
typedef struct pb_name {
    const char *name;
    const weft_type_field *field;
} pb_name;

/* What is behind a weft_type. */
typedef struct pb_type {
    weft_type type;                 /* first: a weft_type pointer points here */
    const weft_type_field **sorted; /* by number */
    pb_name *names;                 /* both forms, by name; first declared first */
    size_t name_count;
    const char **oneofs; /* names, synthetic ones not counted */
    size_t oneof_count;
    pb_wellknown wellknown;
    const pb_file *file;
    /* While its batch is being built: */
    message_proto *proto;
    const char *package;
    weft_type_field *fields; /* type.fields */
    bool nested;
} pb_type;

typedef struct pb_enum {
    weft_type_enum type; /* first */
    bool null_value;     /* google.protobuf.NullValue: JSON null */
    const pb_file *file;
    enum_proto *proto;
    const char *package;
} pb_enum;

typedef struct pb_service {
    weft_type_service type; /* first */
    const pb_file *file;
    service_proto *proto;
} pb_service;

typedef enum pb_symbol_kind {
    PB_MESSAGE,
    PB_ENUM,
    PB_ENUM_VALUE,
    PB_SERVICE,
    PB_EXTENSION,
} pb_symbol_kind;

typedef struct pb_symbol {
    pb_symbol_kind kind;
    const pb_file *file;
    void *object; /* pb_type, pb_enum, pb_service; NULL for the others */
} pb_symbol;

struct weft_registry {
    weft_map files;   /* name: pb_file */
    weft_map symbols; /* full name: pb_symbol */
    weft_map by_pbc;  /* address of a ProtobufCMessageDescriptor: pb_type */
    const pb_service **services;
    size_t service_count, service_cap;
    weft_arena **arenas;
    size_t arena_count, arena_cap;
};

/* Files on their way in. Everything that stays is in `arena`, which the registry takes over when
 * all is well; the parsed descriptors are in `scratch`. */
typedef struct pb_batch {
    weft_registry *registry;
    weft_arena *arena, *scratch;
    weft_diags *diags;
    weft_map files, symbols, by_pbc;
    pb_file **list; /* of this batch, imports before importers once ordered */
    size_t file_count;
    pb_type **types;
    size_t type_count, type_cap;
    pb_enum **enums;
    size_t enum_count, enum_cap;
    pb_service **services;
    size_t service_count, service_cap;
    bool builtin;
    size_t errors;
    size_t relative; /* type names looked up scope by scope */
    int fatal;       /* WEFT_ENOMEM, WEFT_ECONFLICT: takes precedence over WEFT_EPARSE */
} pb_batch;

#define PB_TYPE(t) ((const pb_type *)(t))
#define PB_ENUM_OF(e) ((const pb_enum *)(e))

/* An empty registry, without the well-known types. weft_registry_new is this and weft_wkt_files. */
weft_registry *pb_registry_new_bare(void);
int pb_registry_add_builtin(weft_registry *registry, const weft_file *const *files, size_t count);

/* Reports a problem in `file` at `path` (both may be NULL). */
void pb_batch_error(pb_batch *batch, const pb_file *file, const char *path, const char *hint,
                    const char *format, ...) WEFT_PRINTF(5, 6);
/* Memory of the batch; NULL sets batch->fatal. */
void *pb_keep(pb_batch *batch, size_t count, size_t size);
char *pb_keep_text(pb_batch *batch, const char *text);
/* "scope.name", or "name" when scope is empty. */
char *pb_keep_name(pb_batch *batch, const char *scope, const char *name);
/* Appends to a growing array of pointers in scratch. */
bool pb_push(pb_batch *batch, void ***array, size_t *count, size_t *cap, void *item);

/* The walks behind weft_registry_add_…; in the order in which they run. files.c: names, imports,
 * order; then declare.c: every name gets its object; link.c: fields and methods find their types;
 * dynamic.c: C layouts for types that are not compiled in. Each reports all it finds; none runs
 * after one that found something. */
void pb_files_order(pb_batch *batch);
void pb_declare(pb_batch *batch);
void pb_link(pb_batch *batch);
void pb_make_layouts(pb_batch *batch);

/* wellknown.c: what a full name stands for, and whether a linked type looks like it. */
pb_wellknown pb_wellknown_of(const char *name);
void pb_check_wellknown(pb_batch *batch, const pb_type *type);

/* C descriptor of an enum whose names and values are set. */
void pb_make_enum(pb_batch *batch, pb_enum *type);

const pb_symbol *pb_lookup(const pb_batch *batch, const char *full_name);
/* The C type of a kind. False for groups and nonsense. */
bool pb_c_type(uint32_t kind, ProtobufCType *type);
/* The lowerCamelCase of a field's name, as protoc makes it. NULL: no memory. */
char *pb_json_name(weft_arena *arena, const char *name);
bool pb_is_identifier(const char *name);
/* A default of proto2 as its C value in the batch, or NULL when the text is none. */
const void *pb_parse_default(pb_batch *batch, const weft_type_field *field, const char *text);

#endif
