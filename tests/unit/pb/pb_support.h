/* What the tests and fuzzers of lib/pb share. */
#ifndef TESTS_PB_SUPPORT_H
#define TESTS_PB_SUPPORT_H

#include "weft/pb.h"

extern const weft_file weft_file_test_pb_all2_proto, weft_file_test_pb_all3_proto;

/* A registry in which the types of tests are compiled in, and one in which every type, well-known
 * ones too, is made at run time. NULL on failure. */
weft_registry *support_compiled(void);
weft_registry *support_dynamic(void);

/* Appends the FileDescriptorSet of a file and its imports. */
void support_set(weft_buf *out, const weft_file *const *files, size_t count);

/* All diagnostics, a line each, into `out`. */
void support_text(const weft_diags *diags, weft_buf *out);

#endif
