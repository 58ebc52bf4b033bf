/* From request to response. A response carries either files or the errors, never both. */
#include <string.h>

#include "tools/codegen/cg.h"
#include "weft/error.h"
#include "weft/pb.h"

void cg_add_output(cg_gen *gen, pb_response *response, const char *name, const char *content) {
    pb_output *file = cg_alloc(gen->arena, 1, sizeof(*file));
    google__protobuf__compiler__code_generator_response__file__init(file);
    file->name = cg_strdup(gen->arena, name);
    file->content = cg_strdup(gen->arena, content);
    if ((response->n_file & (response->n_file - 1)) == 0) { /* full at each power of two */
        pb_output **bigger =
            cg_alloc(gen->arena, response->n_file ? 2 * response->n_file : 1, sizeof(*bigger));
        if (response->n_file) memcpy(bigger, response->file, response->n_file * sizeof(*bigger));
        response->file = bigger;
    }
    response->file[response->n_file++] = file;
}

static void emit_file(cg_gen *gen, cg_file *file, pb_response *response) {
    static const struct {
        void (*emit)(cg_gen *gen, cg_file *file, weft_buf *out);
        const char *ending;
    } kinds[] = {{cg_emit_header, ".weft.h"}, {cg_emit_source, ".weft.c"}};
    for (size_t i = 0; i < 2; i++) {
        weft_buf out;
        weft_buf_init(&out, 0);
        kinds[i].emit(gen, file, &out);
        if (out.error == WEFT_ENOMEM) cg_out_of_memory();
        if (out.error)
            cg_report(gen, file, NULL, "split the file", "the code generated for it is too large");
        else
            cg_add_output(gen, response, cg_printf(gen->arena, "%s%s", file->base, kinds[i].ending),
                          weft_buf_str(&out));
        weft_buf_free(&out);
    }
}

static void generate(cg_gen *gen, const pb_request *request, pb_response *response) {
    cg_read_params(gen, request->parameter);
    if (gen->diags.count) return;
    cg_build(gen, request);
    if (gen->diags.count) return;
    cg_check_names(gen);
    if (gen->diags.count) return;
    for (size_t i = 0; i < gen->file_count; i++)
        if (gen->files[i].wanted && !gen->files[i].pbc.no_generate)
            emit_file(gen, &gen->files[i], response);
    if (gen->params.messages && !gen->diags.count) cg_run_protoc_gen_c(gen, response);
}

static char *all_errors(cg_gen *gen) {
    weft_buf text;
    weft_buf_init(&text, 0);
    for (const weft_diag *d = gen->diags.first; d; d = d->next) {
        weft_diag_format(d, &text);
        if (d->next) weft_buf_addc(&text, '\n');
    }
    if (gen->diags.count > gen->diags.max)
        weft_buf_printf(&text, "\n… and %zu more", gen->diags.count - gen->diags.max);
    if (text.error) cg_out_of_memory();
    char *copy = cg_strdup(gen->arena, weft_buf_str(&text));
    weft_buf_free(&text);
    return copy;
}

static const pb_request *decode(weft_arena *arena, const uint8_t *data, size_t len,
                                const char **broken, const char **why) {
    const weft_guard_limits limits = {.max_bytes = SIZE_MAX};
    uint8_t *copy = weft_arena_memdup(arena, data, len);
    if (!copy) cg_out_of_memory();
    cg_clean_comments(copy, len);
    ProtobufCMessage *request =
        weft_unpack(&google__protobuf__compiler__code_generator_request__descriptor, copy, len,
                    &limits, arena, NULL, why);
    if (!request) *broken = cg_broken_file(arena, copy, len);
    return (const pb_request *)request;
}

uint8_t *cg_plugin(weft_arena *arena, const uint8_t *data, size_t len, size_t *response_len,
                   const char **why) {
    const char *broken = NULL;
    const pb_request *request = decode(arena, data, len, &broken, why);
    if (!request && !broken) return NULL;
    cg_gen *gen = cg_alloc(arena, 1, sizeof(*gen));
    gen->arena = gen->types.arena = gen->file_names.arena = arena;
    weft_diags_init(&gen->diags, arena, 0);
    pb_response response = GOOGLE__PROTOBUF__COMPILER__CODE_GENERATOR_RESPONSE__INIT;
    response.has_supported_features = 1;
    response.supported_features =
        GOOGLE__PROTOBUF__COMPILER__CODE_GENERATOR_RESPONSE__FEATURE__FEATURE_PROTO3_OPTIONAL;
    if (request)
        generate(gen, request, &response);
    else
        weft_diag_add(&gen->diags, NULL, 0, 0, NULL, NULL, "%s", broken);
    if (gen->diags.count) {
        response.error = all_errors(gen);
        response.n_file = 0;
    }
    uint8_t *out = weft_pack(arena, &response.base, response_len);
    if (!out) cg_out_of_memory();
    return out;
}
