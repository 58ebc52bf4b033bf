/* The documents beside these tests. */
#ifndef TESTS_CONTROL_MODEL_TEXTS_H
#define TESTS_CONTROL_MODEL_TEXTS_H

#include "services/control/model/model.h"

#define MODEL_FILES "tests/unit/control_model"

/* Reads a file; NULL, and said, if it cannot. Lives in `arena`. */
char *texts_read(weft_arena *arena, const char *path);

/* The set of a text, laid over `base`; NULL, and the problems printed, if there are any. */
const model_set *texts_parse(weft_arena *arena, const weft_registry *registry, const char *text,
                             const model_set *base);

/* `text` with its only `find` replaced; NULL, and said, if there is not exactly one. */
char *texts_replace(weft_arena *arena, const char *text, const char *find, const char *replace);

#endif
