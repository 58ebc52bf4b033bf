/* Reads the file of `weft up` (proto/weft/up/v1/up.proto, in YAML) into a plan. */
#ifndef TOOLS_WEFT_UP_FILE_H
#define TOOLS_WEFT_UP_FILE_H

#include "tools/weft/up_plan.h"

/* From text; `file` names it in diagnostics and its folder is ${file}. The plan lives in `arena`. Returns 0,
 * or WEFT_EPARSE, WEFT_ELIMIT, WEFT_ENOMEM with every problem found in `diags`. */
int up_file_parse(const char *file, const char *text, size_t len, weft_arena *arena, up_plan **out,
                  weft_diags *diags) WEFT_MUST_USE;

/* From a file of at most 1 MiB. Also WEFT_ENOTFOUND and WEFT_EIO (errno kept), without a diagnostic. */
int up_file_load(const char *file, weft_arena *arena, up_plan **out,
                 weft_diags *diags) WEFT_MUST_USE;

#endif
