/* What tests of lib/store share: a folder of their own, short ways to run SQL, a clock that moves
 * when it is read, and faults put under sqlite. */
#ifndef TESTS_STORE_SUPPORT_H
#define TESTS_STORE_SUPPORT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>

#include <cmocka.h>

#include "weft/store.h"

typedef struct scratch {
    char dir[64];
    char path[80]; /* dir/test.db */
} scratch;

/* A fresh folder; and its removal with all files in it. */
void scratch_make(scratch *s);
void scratch_remove(scratch *s);

/* Setup and teardown of cmocka: *state is a scratch. */
int scratch_setup(void **state);
int scratch_teardown(void **state);

/* Opens with these migrations; fails the test with the sentence when it cannot. */
weft_db *open_db(const char *path, const weft_migration *migrations, size_t count);
weft_db *open_with(const char *path, const weft_db_options *options);
#define OPEN(path, list) open_db((path), (list), sizeof(list) / sizeof((list)[0]))

/* Opening must fail with `error` and a sentence that holds `part`. */
void refuse_with(const char *path, const weft_db_options *options, int error, const char *part);
#define REFUSE(path, list, error, part)                                                  \
    refuse_with((path),                                                                  \
                &(weft_db_options){.size = sizeof(weft_db_options),                      \
                                   .migrations = (list),                                 \
                                   .migration_count = sizeof(list) / sizeof((list)[0])}, \
                (error), (part))

/* A whole transaction of one statement without parameters; returns what commit does. */
int write_sql(weft_db *db, const char *sql);
int64_t number_of(weft_db *db, const char *sql);

/* SQL through sqlite itself, around lib/store. */
void raw_sql(const char *path, const char *sql);

void assert_has(const char *text, const char *part);
void must(int rc); /* 0, or fails with the thread's sentence */

/* A clock whose every reading moves it by `step`. For one thread. */
typedef struct step_clock {
    weft_clock clock;
    int64_t now, step;
} step_clock;
void step_clock_init(step_clock *c, int64_t step);

/* ---- faults */

/* Puts a counting layer under sqlite's memory; call before anything else of sqlite. */
void fault_memory_install(void);
/* The allocation with this number fails (1 is the next), in sqlite and in lib/store; 0: none. With
 * `on`, all later ones fail as well. Returns how many were made since the last call. */
int64_t fault_memory(int64_t at, bool on);

/* Makes a layer over the machine's files sqlite's default. It never really syncs: sweeps stay
 * quick. */
void fault_files_install(void);
/* The write, sync, truncate or delete with this number fails (1 is the next) with `code`, and with
 * `on` all later ones; 0: none. Returns how many were made since the last call. */
int64_t fault_files(int64_t at, int code, bool on);

#endif
