/* A CodeGeneratorRequest from anyone: the generator must answer with files or with errors, the same twice,
 * and never crash. */
#include <stdlib.h>
#include <string.h>

#include "tools/codegen/cg.h"
#include "weft/pb.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The parameter that runs another program is not for a fuzzer. */
static uint8_t *without_messages(weft_arena *arena, const uint8_t *data, size_t *size) {
    const weft_guard_limits limits = {.max_bytes = SIZE_MAX};
    pb_request *request =
        (pb_request *)weft_unpack(&google__protobuf__compiler__code_generator_request__descriptor,
                                  data, *size, &limits, arena, NULL, NULL);
    if (!request) return NULL;
    if (request->parameter && strstr(request->parameter, "messages")) request->parameter = NULL;
    return weft_pack(arena, &request->base, size);
}

static void check(weft_arena *arena, const uint8_t *data, size_t size) {
    const weft_guard_limits limits = {.max_bytes = SIZE_MAX};
    pb_response *response =
        (pb_response *)weft_unpack(&google__protobuf__compiler__code_generator_response__descriptor,
                                   data, size, &limits, arena, NULL, NULL);
    if (!response) abort(); /* not UTF-8, or a NUL in it */
    if (response->error && (response->n_file || !*response->error)) abort();
    for (size_t i = 0; i < response->n_file; i++) {
        const char *name = response->file[i]->name;
        if (!name || *name == '/' || strstr(name, "../") || strchr(name, '\n')) abort();
        if (!response->file[i]->content || !*response->file[i]->content) abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    weft_arena *arena = weft_arena_new(0);
    const char *why = NULL;
    size_t len = size, out_len = 0, again_len = 0;
    const uint8_t *request = without_messages(arena, data, &len);
    if (request) {
        const uint8_t *out = cg_plugin(arena, request, len, &out_len, &why);
        const uint8_t *again = cg_plugin(arena, request, len, &again_len, &why);
        if (!out || !again || out_len != again_len || memcmp(out, again, out_len) != 0) abort();
        check(arena, out, out_len);
    }
    weft_arena_free(arena);
    return 0;
}
