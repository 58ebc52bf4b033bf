#include "tests/unit/pb/pb_support.h"

#include <string.h>

#include "lib/pb/registry.h"

weft_registry *support_compiled(void) {
    weft_registry *registry = weft_registry_new();
    if (registry && weft_registry_add_file(registry, &weft_file_test_pb_all2_proto, NULL)) {
        weft_registry_free(registry);
        return NULL;
    }
    return registry;
}

static void add_varint(weft_buf *out, size_t value) {
    for (; value > 0x7f; value >>= 7) weft_buf_addc(out, (char)(value | 0x80));
    weft_buf_addc(out, (char)value);
}

static void add_file(weft_buf *out, const weft_file *file, weft_map *met) {
    if (weft_map_add(met, file->name, NULL)) return;
    for (size_t i = 0; i < file->dep_count; i++) add_file(out, file->deps[i], met);
    weft_buf_addc(out, 1 << 3 | 2);
    add_varint(out, file->descriptor_len);
    weft_buf_add(out, file->descriptor, file->descriptor_len);
}

void support_set(weft_buf *out, const weft_file *const *files, size_t count) {
    weft_map met;
    weft_map_init(&met, 0);
    for (size_t i = 0; i < count; i++) add_file(out, files[i], &met);
    weft_map_free(&met, NULL);
}

weft_registry *support_dynamic(void) {
    const weft_file *files[] = {&weft_file_test_pb_all2_proto};
    weft_buf set;
    weft_buf_init(&set, 0);
    support_set(&set, files, 1);
    weft_registry *registry = pb_registry_new_bare();
    if (registry && weft_registry_add_set(registry, (const uint8_t *)set.data, set.len, NULL)) {
        weft_registry_free(registry);
        registry = NULL;
    }
    weft_buf_free(&set);
    return registry;
}

void support_text(const weft_diags *diags, weft_buf *out) {
    for (const weft_diag *diag = diags->first; diag; diag = diag->next) {
        weft_diag_format(diag, out);
        weft_buf_addc(out, '\n');
    }
}
