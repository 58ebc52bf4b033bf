/* Inside of protoc-gen-weft: the model made from a CodeGeneratorRequest, and what comes of it.
 *
 *   plugin.c    request → response, the order of everything
 *   clean.c     comments that are no UTF-8
 *   options.c   plugin parameters, protobuf-c's options
 *   model.c     files, messages, enums, services; checks what a hostile request may break
 *   fields.c    fields and oneofs
 *   names.c     C names: protobuf-c's rules and ours
 *   clash.c     every C name once, and no keyword
 *   place.c     positions and comments from SourceCodeInfo
 *   embed.c     the FileDescriptorProto that generated code carries
 *   emit*.c     FILE.weft.h and FILE.weft.c
 *   messages.c  FILE.pb-c.[hc] through protoc-gen-c
 *
 * All memory lives in one arena until the end. When memory is out the process ends with a
 * sentence: this is a command-line tool, and nothing is written before everything is made. */
#ifndef CODEGEN_CG_H
#define CODEGEN_CG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "google/protobuf/compiler/plugin.pb-c.h"
#include "google/protobuf/descriptor.pb-c.h"
#include "weft/arena.h"
#include "weft/buf.h"
#include "weft/diag.h"

typedef Google__Protobuf__Compiler__CodeGeneratorRequest pb_request;
typedef Google__Protobuf__Compiler__CodeGeneratorResponse pb_response;
typedef Google__Protobuf__Compiler__CodeGeneratorResponse__File pb_output;
typedef Google__Protobuf__FileDescriptorProto pb_file;
typedef Google__Protobuf__DescriptorProto pb_message;
typedef Google__Protobuf__FieldDescriptorProto pb_field;
typedef Google__Protobuf__EnumDescriptorProto pb_enum;
typedef Google__Protobuf__ServiceDescriptorProto pb_service;
typedef Google__Protobuf__MethodDescriptorProto pb_method;
typedef Google__Protobuf__SourceCodeInfo__Location pb_location;

/* ---- util.c: memory that cannot fail, a string table ----------------------------------------- */

_Noreturn void cg_out_of_memory(void);
void *cg_alloc(weft_arena *arena, size_t count, size_t size); /* zeroed */
char *cg_strdup(weft_arena *arena, const char *text);
char *cg_strndup(weft_arena *arena, const char *text, size_t len);
char *cg_printf(weft_arena *arena, const char *format, ...) WEFT_PRINTF(2, 3);

/* Open addressing; keys are kept by pointer. All zero (but the arena) is an empty table. */
typedef struct cg_table {
    weft_arena *arena;
    struct cg_slot {
        const char *key;
        void *value;
    } * slots;
    size_t count, cap;
} cg_table;

void *cg_table_get(const cg_table *table, const char *key);
/* False, changing nothing, when `key` is there already. */
bool cg_table_put(cg_table *table, const char *key, void *value);

/* ---- model ----------------------------------------------------------------------------------- */

typedef struct cg_file cg_file;
typedef struct cg_message cg_message;
typedef struct cg_enum cg_enum;

typedef struct cg_place {
    const char *file;
    int line, column; /* 1-based; 0 when unknown */
} cg_place;

typedef struct cg_oneof {
    const char *name;
    bool synthetic;         /* made by protoc for a proto3 `optional` field */
    const char *c_case;     /* the case member: "_nick_case" */
    const char *c_type;     /* the case type: "Shop__User__NickCase" */
    const char *c_constant; /* front of its constants: "SHOP__USER___NICK" */
} cg_oneof;

typedef struct cg_field {
    const pb_field *d;
    const cg_message *owner;
    const char *path;    /* key of its location */
    const char *pb_name; /* what protoc-gen-c is told: keywords it does not know get a '_' */
    const char *c_name;  /* the member of the struct */
    const cg_message *message;
    const cg_enum *enumeration;
    const cg_oneof *oneof;     /* or NULL */
    bool repeated, map, bytes; /* bytes: `bytes`, and strings with string_as_bytes */
    bool deprecated;
} cg_field;

struct cg_message {
    const pb_message *d;
    cg_file *file;
    const cg_message *parent;
    const char *path;
    const char *full_name; /* "shop.v1.User" */
    const char *c_type;    /* "Shop__V1__User" */
    const char *c_lower;   /* "shop__v1__user" */
    const char *c_upper;
    const char *name; /* ours: "shop_v1_user" */
    const char *base; /* member that is the ProtobufCMessage */
    cg_field *fields;
    size_t field_count;
    cg_oneof *oneofs;
    size_t oneof_count;
    bool map_entry;
};

struct cg_enum {
    const pb_enum *d;
    cg_file *file;
    const char *path;
    const char *full_name, *c_type, *c_lower, *c_upper, *name;
};

typedef struct cg_method {
    const pb_method *d;
    const char *path;
    const char *full_name; /* "shop.v1.UserService.GetUser" */
    const char *name;      /* "shop_v1_user_get_user" */
    const char *member;    /* "get_user": in the service struct */
    const char *c_name;    /* "get_user": protobuf-c's */
    const cg_message *input, *output;
    int kind; /* weft_kind */
    bool deprecated;
} cg_method;

typedef struct cg_service {
    const pb_service *d;
    cg_file *file;
    const char *path;
    const char *full_name;
    const char *c_type, *c_lower, *c_upper; /* protobuf-c's */
    const char *stem;                       /* "shop_v1_user": front of its functions */
    const char *name;                       /* "shop_v1_user_service": the struct */
    cg_method *methods;
    size_t method_count;
} cg_service;

typedef struct cg_pbc_options { /* (pb_c_file) */
    bool no_generate, const_strings, use_oneof_field_name;
    const char *c_package; /* or NULL */
} cg_pbc_options;

struct cg_file {
    const pb_file *d;
    bool wanted; /* to generate */
    bool proto3;
    cg_pbc_options pbc;
    const char *package; /* "" when there is none */
    const char *stem;    /* front of our names: "shop_v1", "" */
    const char *ident;   /* "shop_v1_user_proto" from its path */
    const char *base;    /* path without ".proto" */
    cg_table locations;
    cg_message *messages; /* nested ones after their parents */
    size_t message_count;
    cg_enum *enums;
    size_t enum_count;
    cg_service *services;
    size_t service_count;
    cg_file **deps;
    size_t dep_count;
};

typedef struct cg_params {
    bool messages;
    const char *prefix;       /* or NULL */
    const char *protoc_gen_c; /* or NULL */
} cg_params;

typedef struct cg_type { /* what the table of types holds: one of them */
    cg_message *message;
    cg_enum *enumeration;
} cg_type;

typedef struct cg_gen {
    weft_arena *arena;
    weft_diags diags;
    cg_params params;
    const pb_request *request;
    cg_file *files;
    size_t file_count;
    cg_table types;            /* full name → cg_type */
    cg_table file_names;       /* → cg_file */
    cg_table claimed, clashes; /* clash.c */
} cg_gen;

/* ---- options.c ------------------------------------------------------------------------------- */

void cg_read_params(cg_gen *gen, const char *text);
void cg_read_file_options(cg_gen *gen, cg_file *file);
/* base_field_name, or "base". */
const char *cg_base_field(cg_gen *gen, const pb_message *message);
bool cg_string_as_bytes(cg_gen *gen, const pb_field *field);

/* ---- model.c, fields.c ----------------------------------------------------------------------- */

/* Everything that can be said about the request; problems are in gen->diags. */
void cg_build(cg_gen *gen, const pb_request *request);
/* Fields, oneofs and their types; after all types are known. */
void cg_build_fields(cg_gen *gen, cg_file *file);
bool cg_is_identifier(const char *text);
/* Reports at the location with that key in `file`. */
void cg_report(cg_gen *gen, const cg_file *file, const char *path, const char *hint,
               const char *format, ...) WEFT_PRINTF(5, 6);
/* The type with a descriptor's name (".pkg.Name"), or NULL. */
const cg_type *cg_find_type(const cg_gen *gen, const char *name);

/* ---- names.c --------------------------------------------------------------------------------- */

/* snake_case of one word: "GetHTTPRoute" → "get_http_route", "ListURLs" → "list_urls". */
char *cg_snake(weft_arena *arena, const char *name);
/* The same for each part of a dotted name, put together with `joint`. */
char *cg_snake_path(weft_arena *arena, const char *dotted, const char *joint);
char *cg_upper(weft_arena *arena, const char *name);
/* Front of a service's functions from its file's stem and its name: see names.c. */
char *cg_service_stem(weft_arena *arena, const char *file_stem, const char *service);
char *cg_path_ident(weft_arena *arena, const char *path);

/* protobuf-c's forms of one word and of a full name. */
char *cg_pbc_lower(weft_arena *arena, const char *name);
char *cg_pbc_upper(weft_arena *arena, const char *name);
char *cg_pbc_camel(weft_arena *arena, const char *name);
typedef char *(*cg_pbc_case)(weft_arena *arena, const char *name);
char *cg_pbc_full(weft_arena *arena, const cg_file *file, const char *full_name, cg_pbc_case form);
char *cg_pbc_field(weft_arena *arena, const char *name);
/* The file's name without ".proto". */
char *cg_strip_proto(weft_arena *arena, const char *path);

bool cg_is_keyword(const char *name);      /* of C17 or C++20, or a macro gcc predefines */
bool cg_is_pbc_keyword(const char *name);  /* those protobuf-c appends a '_' to */
bool cg_is_runtime_name(const char *stem); /* would mix with libweft's own functions */

/* ---- place.c --------------------------------------------------------------------------------- */

void cg_index_locations(cg_gen *gen, cg_file *file);
const pb_location *cg_location(const cg_file *file, const char *path);
cg_place cg_place_of(const cg_file *file, const char *path);
/* Writes the comment of an element, safe inside a C comment; nothing when it has none. */
void cg_emit_comment(weft_buf *out, const char *indent, const cg_file *file, const char *path);

/* ---- clean.c --------------------------------------------------------------------------------- */

/* Makes comments in a serialized request valid UTF-8 without NUL bytes, in place. */
void cg_clean_comments(uint8_t *request, size_t len);
/* "FILE: why" for the first file in it that cannot be decoded; NULL when it is none of them. */
const char *cg_broken_file(weft_arena *arena, uint8_t *request, size_t len);

/* ---- clash.c --------------------------------------------------------------------------------- */

void cg_check_names(cg_gen *gen);

/* ---- embed.c --------------------------------------------------------------------------------- */

/* What FILE.weft.c embeds; *len receives its size. */
uint8_t *cg_embedded(cg_gen *gen, cg_file *file, size_t *len);

/* ---- emit*.c --------------------------------------------------------------------------------- */

void cg_emit_header(cg_gen *gen, cg_file *file, weft_buf *out);
void cg_emit_source(cg_gen *gen, cg_file *file, weft_buf *out);
void cg_emit_message(cg_gen *gen, const cg_message *message, weft_buf *out);
void cg_emit_service(cg_gen *gen, const cg_service *service, weft_buf *out);
void cg_emit_service_source(cg_gen *gen, const cg_service *service, weft_buf *out);
/* `head` ends in "(" and `tail` begins with ")"; arguments are wrapped at 100 columns. NULL ends
 * them. */
void cg_emit_call(weft_buf *out, const char *head, const char *tail, const char *const *args);
/* Whether a helper of a message is left out, because a method's function has its name. */
bool cg_yields(const cg_gen *gen, const char *name);

/* ---- messages.c ------------------------------------------------------------------------------ */

/* Adds protoc-gen-c's files to `response`. */
void cg_run_protoc_gen_c(cg_gen *gen, pb_response *response);

/* ---- plugin.c -------------------------------------------------------------------------------- */

void cg_add_output(cg_gen *gen, pb_response *response, const char *name, const char *content);
/* The serialized response to a serialized request, in `arena`; NULL, with a sentence in *why,
 * when the request is no CodeGeneratorRequest. */
uint8_t *cg_plugin(weft_arena *arena, const uint8_t *request, size_t len, size_t *response_len,
                   const char **why);

#endif
