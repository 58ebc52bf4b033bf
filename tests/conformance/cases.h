/* The tables of cases. */
#ifndef TESTS_CONFORMANCE_CASES_H
#define TESTS_CONFORMANCE_CASES_H

#include "tests/conformance/script.h"

extern const script_case server_cases[];
extern const size_t server_case_count;
extern const script_case client_cases[];
extern const size_t client_case_count;

#endif
