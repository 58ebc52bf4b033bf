/* Protocol Buffers on protobuf-c: a guard before decoding, arena allocation, a type registry, JSON,
 * YAML.
 *
 * protobuf-c's descriptors know tags and offsets but not json_name, maps, presence, syntax,
 * comments or streaming. Those come from the FileDescriptorProto that every generated .weft.c
 * embeds (weft_file) or from a FileDescriptorSet loaded at run time; a registry joins the two. A
 * type known only at run time gets a ProtobufCMessageDescriptor made for it, so a dynamic message
 * is an ordinary ProtobufCMessage. */
#ifndef WEFT_PB_H
#define WEFT_PB_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weft/arena.h"
#include "weft/buf.h"
#include "weft/diag.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- decoding what strangers sent ---- */

typedef struct weft_guard_limits {
    size_t max_bytes;   /* whole message; 0: 4 MiB, gRPC's default */
    unsigned max_depth; /* nested messages and groups; 0: 100, protobuf's default; at most 256 */
} weft_guard_limits;

/* Walks `data` with the descriptor before anything is allocated: tags and lengths in bounds, wire
 * types that fit, depth, UTF-8 of strings, no NUL byte inside a string (C would truncate it).
 * Returns 0, or WEFT_EPARSE / WEFT_ELIMIT with a static sentence in *why (may be NULL). NULL
 * limits: the defaults. Any thread, no allocation. */
int weft_guard(const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t len,
               const weft_guard_limits *limits, const char **why) WEFT_MUST_USE;

/* weft_guard, then unpack into `arena`: the message needs no free. NULL with *error one of
 * WEFT_EPARSE, WEFT_ELIMIT, WEFT_ENOMEM and a static sentence in *why (both may be NULL). Two bytes
 * on the wire can ask for a whole struct: give the arena a cap. A singular message that comes in
 * several pieces is their merge, as protobuf has it, and unknown groups are dropped;
 * protobuf_c_message_unpack alone gets both wrong. */
ProtobufCMessage *weft_unpack(const ProtobufCMessageDescriptor *type, const uint8_t *data,
                              size_t len, const weft_guard_limits *limits, weft_arena *arena,
                              int *error, const char **why) WEFT_MUST_USE;

/* An allocator over an arena; free does nothing. The struct is the caller's and must outlive its
 * use. */
ProtobufCAllocator weft_arena_allocator(weft_arena *arena);

/* A new message of `type` with its defaults, in `arena`. NULL when memory is out. Works for types
 * made at run time, too, whose descriptors have no message_init (protobuf_c_message_init would call
 * it). */
ProtobufCMessage *weft_message_new(weft_arena *arena,
                                   const ProtobufCMessageDescriptor *type) WEFT_MUST_USE;

/* A deep copy in `arena` (through the wire form). NULL when memory is out. */
ProtobufCMessage *weft_message_copy(weft_arena *arena,
                                    const ProtobufCMessage *message) WEFT_MUST_USE;

/* Serialized form in `arena`; *len receives its size. NULL when memory is out. */
uint8_t *weft_pack(weft_arena *arena, const ProtobufCMessage *message, size_t *len) WEFT_MUST_USE;

/* ---- what generated code embeds ---- */

/* One .proto file: made by protoc-gen-weft as `const weft_file <prefix>__file`. All static. */
typedef struct weft_file {
    size_t size;               /* sizeof(weft_file) the generator knew */
    const char *name;          /* "shop/product/v1/product.proto" */
    const uint8_t *descriptor; /* serialized FileDescriptorProto, without source info */
    size_t descriptor_len;
    const struct weft_file *const *deps; /* imports, `dep_count` */
    size_t dep_count;
    const ProtobufCMessageDescriptor *const *messages; /* all, nested and map entries too */
    size_t message_count;
    const ProtobufCEnumDescriptor *const *enums; /* all, nested too */
    size_t enum_count;
} weft_file;

/* ---- type registry ---- */

typedef struct weft_registry weft_registry;
typedef struct weft_type weft_type;           /* a message */
typedef struct weft_type_enum weft_type_enum; /* an enum */

typedef struct weft_type_field {
    const char *name;      /* "unit_price" */
    const char *json_name; /* "unitPrice" */
    uint32_t number;
    uint32_t kind; /* google.protobuf.FieldDescriptorProto.Type, 1–18 */
    bool repeated; /* and not a map */
    bool map;      /* `message` is then its entry type: field 1 key, field 2 value */
    bool presence; /* unset and default are different things */
    bool optional; /* proto3 `optional` */
    int oneof;     /* index of its oneof, -1: none; synthetic oneofs are not counted */
    const weft_type *message;
    const weft_type_enum *enumeration;
    const ProtobufCFieldDescriptor *pbc; /* offsets in the C struct */
} weft_type_field;

struct weft_type {
    const char *name;              /* "shop.product.v1.Product" */
    const weft_type_field *fields; /* in the order of the .proto file */
    size_t field_count;
    bool map_entry;
    bool proto3;
    const ProtobufCMessageDescriptor *pbc; /* compiled in, or made at run time */
    const char *file;
};

typedef struct weft_type_value {
    const char *name;
    int32_t number;
} weft_type_value;

struct weft_type_enum {
    const char *name;
    const weft_type_value *values; /* in file order; aliases are possible */
    size_t value_count;
    bool proto3; /* open: unknown numbers are kept */
    const ProtobufCEnumDescriptor *pbc;
};

typedef struct weft_type_method {
    const char *name;
    const char *path; /* "/shop.product.v1.ProductService/GetProduct" */
    const weft_type *input, *output;
    bool client_streaming, server_streaming;
    uint32_t idempotency; /* google.protobuf.MethodOptions.IdempotencyLevel, 0 to 2 */
} weft_type_method;

typedef struct weft_type_service {
    const char *name; /* "shop.product.v1.ProductService" */
    const weft_type_method *methods;
    size_t method_count;
    const char *file;
} weft_type_service;

/* A registry holds everything it hands out until it is freed. Adding is for one thread; a registry
 * that is no longer added to may be read from any thread. The well-known types are in every
 * registry. */
weft_registry *weft_registry_new(void) WEFT_MUST_USE;
void weft_registry_free(weft_registry *registry);

/* Adds a compiled-in file and what it imports; files already there are skipped (same name, other
 * content: WEFT_ECONFLICT; comments and JSON names that follow from the names make no difference).
 * Imports that nobody linked and nothing needs are taken out of the bytes that reflection serves. */
int weft_registry_add_file(weft_registry *registry, const weft_file *file,
                           weft_diags *diags) WEFT_MUST_USE;

/* Adds a serialized google.protobuf.FileDescriptorSet of at most 32 MiB (files in any order; all
 * imports must be in it or in the registry already). It may come from strangers. Nothing is added
 * if anything is wrong with it. Well-known types in it are skipped, whatever their version.
 * WEFT_EPARSE, WEFT_ECONFLICT, WEFT_ELIMIT, WEFT_ENOMEM. */
int weft_registry_add_set(weft_registry *registry, const uint8_t *set, size_t len,
                          weft_diags *diags) WEFT_MUST_USE;

/* By full name, without a leading dot. NULL when unknown. */
const weft_type *weft_registry_message(const weft_registry *registry, const char *full_name);
const weft_type_enum *weft_registry_enum(const weft_registry *registry, const char *full_name);
const weft_type_service *weft_registry_service(const weft_registry *registry,
                                               const char *full_name);
/* By the compiled descriptor. */
const weft_type *weft_registry_type_of(const weft_registry *registry,
                                       const ProtobufCMessageDescriptor *pbc);

size_t weft_registry_service_count(const weft_registry *registry);
const weft_type_service *weft_registry_service_at(const weft_registry *registry, size_t index);

/* The serialized FileDescriptorProto of a file by its name, or of the file that declares a symbol
 * (message, enum, service, method, field, extension), as reflection serves them. NULL when unknown.
 */
const uint8_t *weft_registry_file_bytes(const weft_registry *registry, const char *file,
                                        size_t *len);
const char *weft_registry_file_of_symbol(const weft_registry *registry, const char *symbol);
/* Imports of a file: index 0…; NULL ends. */
const char *weft_registry_file_dep(const weft_registry *registry, const char *file, size_t index);

const weft_type_field *weft_type_field_by_name(const weft_type *type, const char *name);
const weft_type_field *weft_type_field_by_json(const weft_type *type,
                                               const char *name); /* both forms */
const weft_type_field *weft_type_field_by_number(const weft_type *type, uint32_t number);
const weft_type_method *weft_type_method_by_name(const weft_type_service *service,
                                                 const char *name);

/* ---- JSON and YAML ---- */

typedef struct weft_json_options {
    size_t size;         /* sizeof(weft_json_options) */
    const char *file;    /* name in diagnostics; NULL: none */
    size_t max_bytes;    /* of the text; 0: 16 MiB */
    unsigned max_depth;  /* lists and objects in each other; 0: 100; at most 256 */
    bool ignore_unknown; /* decode: skip unknown fields instead of reporting them */
    bool proto_names;    /* encode: field names as in the .proto file */
    bool emit_defaults;  /* encode: fields without presence that hold their default, too */
    bool enum_numbers;   /* encode: enums as numbers */
    unsigned indent;     /* encode: spaces a level; 0: one line */
} weft_json_options;

/* proto3 JSON mapping (protobuf.dev/programming-guides/json), strictly. The message is allocated in
 * `arena`. On failure returns WEFT_EPARSE, WEFT_ELIMIT or WEFT_ENOMEM with every problem found in
 * `diags`, each with its path, line and column (which counts characters); *out is untouched. */
int weft_json_decode(const weft_registry *registry, const weft_type *type, const char *text,
                     size_t len, const weft_json_options *options, weft_arena *arena,
                     ProtobufCMessage **out, weft_diags *diags) WEFT_MUST_USE;

/* WEFT_EPARSE with a diagnostic when the message holds what JSON cannot say (an Any of unknown
 * type, a Timestamp out of range, invalid UTF-8). */
int weft_json_encode(const weft_registry *registry, const ProtobufCMessage *message,
                     const weft_json_options *options, weft_buf *out,
                     weft_diags *diags) WEFT_MUST_USE;

/* The same mapping over one YAML document; diagnostics carry file, line and column. Scalars without
 * quotes are what the core schema of YAML 1.2 says; quoted ones are strings. Anchors, aliases,
 * merge keys, a second document and tags beyond the core schema are refused; duplicate keys are
 * errors. */
int weft_yaml_decode(const weft_registry *registry, const weft_type *type, const char *text,
                     size_t len, const weft_json_options *options, weft_arena *arena,
                     ProtobufCMessage **out, weft_diags *diags) WEFT_MUST_USE;

/* The documents of a YAML stream, one after the other ("---" between them), so that a caller may
 * look at one before it says what type it is. Documents that say nothing are left out. They live in
 * `arena`. On failure every problem is in `diags` and the outputs are untouched. Of the options
 * `enum_numbers` and what else is about encoding is not looked at; `file` and `ignore_unknown` are
 * remembered. */
typedef struct weft_yaml_document weft_yaml_document;
int weft_yaml_documents(const char *text, size_t len, const weft_json_options *options,
                        weft_arena *arena, weft_yaml_document ***documents, size_t *count,
                        weft_diags *diags) WEFT_MUST_USE;

/* Where it begins. */
void weft_yaml_document_where(const weft_yaml_document *document, int *line, int *column);

/* The string at a path of keys, "kind" or "metadata.name", and where it is (both may be NULL). NULL
 * when there is none. Lives as long as the document. */
const char *weft_yaml_document_string(const weft_yaml_document *document, const char *path,
                                      int *line, int *column);

/* Where the value at a path is, for problems that are found once a document has been decoded. The
 * path is one of diagnostics, "spec.rules[2].name"; names match in both forms, maxRetries and
 * max_retries. What is not there is where the innermost value is that is. Returns whether all of
 * the path is there. */
bool weft_yaml_document_place(const weft_yaml_document *document, const char *path, int *line,
                              int *column);

/* As weft_yaml_decode. */
int weft_yaml_document_decode(const weft_registry *registry, const weft_type *type,
                              const weft_yaml_document *document, weft_arena *arena,
                              ProtobufCMessage **out, weft_diags *diags) WEFT_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
