/* The model of a request: what is declared, under which C names. protoc has checked its own
 * request; what is checked here is what a hostile or hand-made one could break: missing and odd
 * names, dangling types. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tools/codegen/cg.h"

bool cg_is_identifier(const char *text) {
    if (!text || !*text || (*text >= '0' && *text <= '9')) return false;
    for (; *text; text++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_", *text))
            return false;
    return true;
}

static bool is_dotted(const char *text) {
    char part[512];
    for (;;) {
        size_t len = strcspn(text, ".");
        if (len >= sizeof(part)) return false;
        memcpy(part, text, len);
        part[len] = '\0';
        if (!cg_is_identifier(part)) return false;
        if (!text[len]) return true;
        text += len + 1;
    }
}

/* A relative path that stays below the output folder and fits between the quotes of an #include. */
static bool is_file_name(const char *name) {
    if (!name || !*name || *name == '/') return false;
    for (const char *p = name; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == '"' || *p == '\\' || *p == 0x7f) return false;
    if (strstr(name, "*/") || strstr(name, "/*") ||
        strstr(name, "?"
                     "?/"))
        return false;
    for (const char *p = name; *p;) {
        size_t len = strcspn(p, "/");
        if (len == 0 || (len == 1 && p[0] == '.') || (len == 2 && p[0] == '.' && p[1] == '.'))
            return false;
        p += len + (p[len] == '/');
    }
    return true;
}

void cg_report(cg_gen *gen, const cg_file *file, const char *path, const char *hint,
               const char *format, ...) {
    va_list args;
    va_start(args, format);
    char *text = weft_arena_vprintf(gen->arena, format, args);
    va_end(args);
    if (!text) cg_out_of_memory();
    cg_place place = cg_place_of(file, path);
    weft_diag_add(&gen->diags, place.file, place.line, place.column, NULL, hint, "%s", text);
}

const cg_type *cg_find_type(const cg_gen *gen, const char *name) {
    return name && *name == '.' ? cg_table_get(&gen->types, name + 1) : NULL;
}

static const char *join(cg_gen *gen, const char *scope, const char *name) {
    return *scope ? cg_printf(gen->arena, "%s.%s", scope, name) : name;
}

static bool good_name(cg_gen *gen, const cg_file *file, const char *path, const char *what,
                      const char *name) {
    if (cg_is_identifier(name)) return true;
    cg_report(gen, file, path, NULL, "a %s without a proper name", what);
    return false;
}

static void add_type(cg_gen *gen, const cg_file *file, const char *path, const char *full_name,
                     cg_message *message, cg_enum *enumeration) {
    cg_type *type = cg_alloc(gen->arena, 1, sizeof(*type));
    *type = (cg_type){message, enumeration};
    if (!cg_table_put(&gen->types, full_name, type))
        cg_report(gen, file, path, NULL, "type %s is declared twice", full_name);
}

/* "outer__inner" below the file's stem. */
static const char *our_name(cg_gen *gen, const cg_file *file, const char *full_name) {
    const char *rest = full_name + (*file->package ? strlen(file->package) + 1 : 0);
    const char *name = cg_snake_path(gen->arena, rest, "__");
    return *file->stem ? cg_printf(gen->arena, "%s_%s", file->stem, name) : name;
}

static void build_enum(cg_gen *gen, cg_file *file, const pb_enum *d, const char *path,
                       const char *scope) {
    if (!good_name(gen, file, path, "enum", d->name)) return;
    cg_enum *e = &file->enums[file->enum_count++];
    e->d = d;
    e->file = file;
    e->path = path;
    e->full_name = join(gen, scope, d->name);
    e->c_type = cg_pbc_full(gen->arena, file, e->full_name, cg_pbc_camel);
    e->c_lower = cg_pbc_full(gen->arena, file, e->full_name, cg_pbc_lower);
    e->c_upper = cg_pbc_full(gen->arena, file, e->full_name, cg_pbc_upper);
    e->name = our_name(gen, file, e->full_name);
    for (size_t i = 0; i < d->n_value; i++)
        good_name(gen, file, cg_printf(gen->arena, "%s,2,%zu", path, i), "value",
                  d->value[i]->name);
    add_type(gen, file, path, e->full_name, NULL, e);
}

static void build_message(cg_gen *gen, cg_file *file, const pb_message *d, const char *path,
                          const cg_message *parent) {
    if (!good_name(gen, file, path, "message", d->name)) return;
    cg_message *m = &file->messages[file->message_count++];
    m->d = d;
    m->file = file;
    m->parent = parent;
    m->path = path;
    m->full_name = join(gen, parent ? parent->full_name : file->package, d->name);
    m->c_type = cg_pbc_full(gen->arena, file, m->full_name, cg_pbc_camel);
    m->c_lower = cg_pbc_full(gen->arena, file, m->full_name, cg_pbc_lower);
    m->c_upper = cg_pbc_full(gen->arena, file, m->full_name, cg_pbc_upper);
    m->name = our_name(gen, file, m->full_name);
    m->map_entry = d->options && d->options->map_entry;
    m->base = cg_base_field(gen, d);
    if (!cg_is_identifier(m->base) || cg_is_keyword(m->base)) {
        cg_report(gen, file, path, "choose another base_field_name",
                  "\"%s\" cannot be a member's name", m->base);
        m->base = "base";
    }
    add_type(gen, file, path, m->full_name, m, NULL);
    for (size_t i = 0; i < d->n_nested_type; i++)
        build_message(gen, file, d->nested_type[i], cg_printf(gen->arena, "%s,3,%zu", path, i), m);
    for (size_t i = 0; i < d->n_enum_type; i++)
        build_enum(gen, file, d->enum_type[i], cg_printf(gen->arena, "%s,4,%zu", path, i),
                   m->full_name);
}

static void count_types(const pb_message *d, size_t *messages, size_t *enums) {
    ++*messages;
    *enums += d->n_enum_type;
    for (size_t i = 0; i < d->n_nested_type; i++) count_types(d->nested_type[i], messages, enums);
}

static void build_types(cg_gen *gen, cg_file *file) {
    size_t messages = 0, enums = file->d->n_enum_type;
    for (size_t i = 0; i < file->d->n_message_type; i++)
        count_types(file->d->message_type[i], &messages, &enums);
    file->messages = cg_alloc(gen->arena, messages + 1, sizeof(*file->messages));
    file->enums = cg_alloc(gen->arena, enums + 1, sizeof(*file->enums));
    for (size_t i = 0; i < file->d->n_message_type; i++)
        build_message(gen, file, file->d->message_type[i], cg_printf(gen->arena, "4,%zu", i), NULL);
    for (size_t i = 0; i < file->d->n_enum_type; i++)
        build_enum(gen, file, file->d->enum_type[i], cg_printf(gen->arena, "5,%zu", i),
                   file->package);
}

/* ---- services -------------------------------------------------------------------------------- */

static const cg_message *method_type(cg_gen *gen, const cg_file *file, const char *path,
                                     const char *name) {
    const cg_type *type = cg_find_type(gen, name);
    if (!type || !type->message) {
        cg_report(gen, file, path, NULL, "no message %s in the request",
                  name ? name : "without a name");
        return NULL;
    }
    if (type->message->file->pbc.no_generate)
        cg_report(gen, file, path, "take that option out, or use another message",
                  "%s has no C type: %s says no_generate", type->message->full_name,
                  type->message->file->d->name);
    return type->message;
}

static void build_method(cg_gen *gen, cg_service *service, size_t index) {
    const pb_method *d = service->d->method[index];
    const char *path = cg_printf(gen->arena, "%s,2,%zu", service->path, index);
    if (!good_name(gen, service->file, path, "method", d->name)) return;
    cg_method *m = &service->methods[service->method_count];
    m->d = d;
    m->path = path;
    m->full_name = join(gen, service->full_name, d->name);
    m->member = cg_snake(gen->arena, d->name);
    m->name = cg_printf(gen->arena, "%s_%s", service->stem, m->member);
    if (cg_is_keyword(m->member)) m->member = cg_printf(gen->arena, "%s_", m->member);
    m->c_name = cg_pbc_lower(gen->arena, d->name);
    m->input = method_type(gen, service->file, path, d->input_type);
    m->output = method_type(gen, service->file, path, d->output_type);
    m->kind = (d->client_streaming ? 1 : 0) | (d->server_streaming ? 2 : 0);
    m->deprecated = (d->options && d->options->deprecated) ||
                    (service->d->options && service->d->options->deprecated);
    if (m->input && m->output) service->method_count++;
}

static void build_services(cg_gen *gen, cg_file *file) {
    file->services = cg_alloc(gen->arena, file->d->n_service + 1, sizeof(*file->services));
    for (size_t i = 0; i < file->d->n_service; i++) {
        const pb_service *d = file->d->service[i];
        const char *path = cg_printf(gen->arena, "6,%zu", i);
        if (!good_name(gen, file, path, "service", d->name)) continue;
        cg_service *s = &file->services[file->service_count++];
        s->d = d;
        s->file = file;
        s->path = path;
        s->full_name = join(gen, file->package, d->name);
        s->c_type = cg_pbc_full(gen->arena, file, s->full_name, cg_pbc_camel);
        s->c_lower = cg_pbc_full(gen->arena, file, s->full_name, cg_pbc_lower);
        s->c_upper = cg_pbc_full(gen->arena, file, s->full_name, cg_pbc_upper);
        s->stem = cg_service_stem(gen->arena, file->stem, d->name);
        s->name = cg_printf(gen->arena, "%s_service", s->stem);
        s->methods = cg_alloc(gen->arena, d->n_method + 1, sizeof(*s->methods));
        for (size_t k = 0; k < d->n_method; k++) build_method(gen, s, k);
    }
}

/* ---- files ----------------------------------------------------------------------------------- */

static bool build_file(cg_gen *gen, const pb_file *d) {
    cg_file *file = &gen->files[gen->file_count];
    file->d = d;
    if (!is_file_name(d->name)) {
        weft_diag_add(&gen->diags, NULL, 0, 0, NULL, NULL,
                      "a file whose name cannot be used: \"%s\"", d->name ? d->name : "");
        return false;
    }
    file->package = d->package ? d->package : "";
    file->proto3 = d->syntax && strcmp(d->syntax, "proto3") == 0;
    file->base = cg_strip_proto(gen->arena, d->name);
    file->ident = cg_path_ident(gen->arena, d->name);
    cg_index_locations(gen, file);
    cg_read_file_options(gen, file);
    if (*file->package && !is_dotted(file->package))
        cg_report(gen, file, "2", NULL, "\"%s\" is no package name", file->package);
    if (file->pbc.c_package && !is_dotted(file->pbc.c_package))
        cg_report(gen, file, "8", "such as \"shop\"", "c_package \"%s\" is no name in C",
                  file->pbc.c_package);
    if (!cg_table_put(&gen->file_names, d->name, file)) {
        cg_report(gen, file, NULL, NULL, "the file is in the request twice");
        return false;
    }
    gen->file_count++;
    return true;
}

static void mark_wanted(cg_gen *gen) {
    for (size_t i = 0; i < gen->request->n_file_to_generate; i++) {
        cg_file *file = cg_table_get(&gen->file_names, gen->request->file_to_generate[i]);
        if (file)
            file->wanted = true;
        else
            weft_diag_add(&gen->diags, gen->request->file_to_generate[i], 0, 0, NULL, NULL,
                          "is to be generated but not in the request");
    }
}

static void name_file(cg_gen *gen, cg_file *file) {
    file->stem =
        gen->params.prefix && file->wanted
            ? gen->params.prefix
            : cg_snake_path(gen->arena, file->pbc.c_package ? file->pbc.c_package : file->package,
                            "_");
    file->deps = cg_alloc(gen->arena, file->d->n_dependency + 1, sizeof(*file->deps));
    for (size_t i = 0; i < file->d->n_dependency; i++) {
        cg_file *dep = cg_table_get(&gen->file_names, file->d->dependency[i]);
        if (dep)
            file->deps[file->dep_count++] = dep;
        else
            cg_report(gen, file, cg_printf(gen->arena, "3,%zu", i), NULL,
                      "import %s is not in the request", file->d->dependency[i]);
    }
}

void cg_build(cg_gen *gen, const pb_request *request) {
    gen->request = request;
    gen->files = cg_alloc(gen->arena, request->n_proto_file + 1, sizeof(*gen->files));
    for (size_t i = 0; i < request->n_proto_file; i++) {
        if (!build_file(gen, request->proto_file[i]))
            memset(&gen->files[gen->file_count], 0, sizeof(cg_file));
    }
    mark_wanted(gen);
    for (size_t i = 0; i < gen->file_count; i++) name_file(gen, &gen->files[i]);
    if (gen->diags.count) return;
    for (size_t i = 0; i < gen->file_count; i++) build_types(gen, &gen->files[i]);
    for (size_t i = 0; i < gen->file_count; i++) cg_build_fields(gen, &gen->files[i]);
    for (size_t i = 0; i < gen->file_count; i++) build_services(gen, &gen->files[i]);
}
