/* What is not wrong but will surprise. */
#include <stdio.h>
#include <string.h>

#include "services/control/build/make.h"

typedef struct found {
    size_t all, in_subset;
} found;

static found count(const model_document *d, const WeftMesh__ServiceSpec *spec,
                   const WeftMesh__Subset *subset, const registry_view *view) {
    found f = {0};
    for (size_t i = 0; i < view->count; i++) {
        const registry_view_instance *one = &view->instances[i];
        if (strcmp(one->service, d->name) != 0 || strcmp(one->name_space, d->name_space) != 0)
            continue;
        f.all++;
        f.in_subset += make_in_subset(subset, one);
    }
    for (size_t i = 0; i < spec->n_endpoints; i++) {
        f.all++;
        f.in_subset += make_static_in_subset(subset, spec->endpoints[i]);
    }
    return f;
}

size_t control_warnings(const model_set *set, const registry_view *view, weft_diags *diags) {
    size_t warnings = 0;
    for (size_t i = 0; i < set->count; i++) {
        const model_document *d = set->documents[i];
        if (d->kind != MODEL_SERVICE) continue;
        const WeftMesh__ServiceSpec *spec = ((const WeftMesh__Service *)d->message)->spec;
        for (size_t k = 0; spec && k < spec->n_subsets; k++) {
            const WeftMesh__Subset *subset = spec->subsets[k];
            const found f = count(d, spec, subset, view);
            char path[64];
            int line = d->line, column = d->column;
            if (!f.all || f.in_subset) continue;
            (void)snprintf(path, sizeof path, "spec.subsets[%zu].labels", k);
            if (d->source) (void)weft_yaml_document_place(d->source, path, &line, &column);
            (void)weft_diag_add(diags, d->file, line, column, path,
                                "calls that a route sends there will fail",
                                "none of the %zu instances of %s.%s has the labels of \"%s\"",
                                f.all, d->name, d->name_space, subset->name);
            warnings++;
        }
    }
    return warnings;
}
