/* The table of test_json. */
#ifndef TESTS_JSON_CASES_H
#define TESTS_JSON_CASES_H

#include "weft/pb.h"

typedef struct json_case {
    const char *type;
    const char *input;
    const char *output; /* what is written for it; NULL: the input */
    const char *error;  /* part of what is said; NULL: it is accepted */
    size_t count;       /* how many problems; 0: one */
    bool lossy;         /* protobuf-c does not keep it on the wire */
    const weft_json_options *options;
} json_case;

extern const json_case json_cases[];
extern const size_t json_case_count;

#endif
