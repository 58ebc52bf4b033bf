/* The tables against both roles: as a whole, in pieces of one byte, and of seven. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "tests/conformance/cases.h"

static const script_case *chosen[1000];
static size_t chosen_count;

static void run_case(void **state) {
    static const size_t pieces[] = {0, 1, 7};
    const script_case *it = *state;
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        const char *problem = script_run(it, pieces[i]);
        if (problem) fail_msg("%s, in pieces of %zu: %s", it->name, pieces[i], problem);
    }
}

int main(void) {
    struct CMUnitTest tests[1000];
    for (size_t i = 0; i < server_case_count; i++) chosen[chosen_count++] = &server_cases[i];
    for (size_t i = 0; i < client_case_count; i++) chosen[chosen_count++] = &client_cases[i];
    for (size_t i = 0; i < chosen_count; i++) {
        char *name = NULL;
        if (asprintf(&name, "%s: %s", chosen[i]->role == H2_SERVER ? "server" : "client",
                     chosen[i]->name) < 0)
            abort();
        tests[i] = (struct CMUnitTest){
            .name = name, .test_func = run_case, .initial_state = (void *)(uintptr_t)chosen[i]};
    }
    const int failed = _cmocka_run_group_tests("conformance", tests, chosen_count, NULL, NULL);
    for (size_t i = 0; i < chosen_count; i++) free((void *)(uintptr_t)tests[i].name);
    return failed;
}
