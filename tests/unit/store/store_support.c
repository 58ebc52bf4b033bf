/* Shared by the tests of lib/store. */
#include "store_support.h"

#include <dirent.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "weft/mem.h"

void scratch_make(scratch *s) {
    const char *tmp = getenv("TMPDIR");
    (void)snprintf(s->dir, sizeof s->dir, "%.40s/weft-store-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(s->dir));
    (void)snprintf(s->path, sizeof s->path, "%s/test.db", s->dir);
}

void scratch_remove(scratch *s) {
    DIR *dir = opendir(s->dir);
    if (!dir) return;
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        (void)unlinkat(dirfd(dir), e->d_name, e->d_type == DT_DIR ? AT_REMOVEDIR : 0);
    }
    (void)closedir(dir);
    (void)rmdir(s->dir);
}

int scratch_setup(void **state) {
    scratch *s = malloc(sizeof *s);
    assert_non_null(s);
    scratch_make(s);
    *state = s;
    return 0;
}

int scratch_teardown(void **state) {
    scratch_remove(*state);
    free(*state);
    return 0;
}

weft_db *open_with(const char *path, const weft_db_options *options) {
    weft_db *db = NULL;
    char *why = NULL;
    if (weft_db_open(path, options, &db, &why) != 0) fail_msg("%s", why ? why : "(no sentence)");
    assert_null(why);
    return db;
}

weft_db *open_db(const char *path, const weft_migration *migrations, size_t count) {
    const weft_db_options options = {
        .size = sizeof options, .migrations = migrations, .migration_count = count};
    return open_with(path, &options);
}

void refuse_with(const char *path, const weft_db_options *options, int error, const char *part) {
    weft_db *db = NULL;
    char *why = NULL;
    int rc = weft_db_open(path, options, &db, &why);
    if (rc != error)
        fail_msg("expected %s, got %s: %s", weft_error_name(error), rc ? weft_error_name(rc) : "0",
                 why ? why : "");
    assert_null(db);
    assert_non_null(why);
    assert_has(why, part);
    weft_free(why);
}

int write_sql(weft_db *db, const char *sql) {
    weft_tx *tx = NULL;
    int rc = weft_tx_begin(db, WEFT_WRITE, &tx);
    if (rc) return rc;
    rc = weft_tx_exec(tx, sql, "");
    if (rc) {
        weft_tx_rollback(tx);
        return rc;
    }
    return weft_tx_commit(tx);
}

int64_t number_of(weft_db *db, const char *sql) {
    weft_tx *tx = NULL;
    must(weft_tx_begin(db, WEFT_READ, &tx));
    weft_stmt *row = weft_tx_query(tx, sql, "");
    int64_t number = weft_stmt_row(row) ? weft_stmt_int(row, 0) : -1;
    must(weft_tx_commit(tx));
    return number;
}

void raw_sql(const char *path, const char *sql) {
    sqlite3 *raw = NULL;
    char *error = NULL;
    assert_int_equal(sqlite3_open(path, &raw), SQLITE_OK);
    if (sqlite3_exec(raw, sql, NULL, NULL, &error) != SQLITE_OK) fail_msg("%s: %s", sql, error);
    assert_int_equal(sqlite3_close(raw), SQLITE_OK);
}

void assert_has(const char *text, const char *part) {
    if (!strstr(text, part)) fail_msg("\"%s\" does not say \"%s\"", text, part);
}

void must(int rc) {
    if (rc) fail_msg("%s: %s", weft_error_name(rc), weft_store_message());
}

static int64_t step_now(void *user) {
    step_clock *c = user;
    return c->now += c->step;
}

void step_clock_init(step_clock *c, int64_t step) {
    *c = (step_clock){.clock = {step_now, step_now, c}, .now = WEFT_NS_PER_S, .step = step};
}

/* ---- memory */

static sqlite3_mem_methods real_memory;
static int64_t memory_count, memory_at;
static bool memory_on;

static bool memory_fails(void) {
    memory_count++;
    return memory_at && (memory_count == memory_at || (memory_on && memory_count > memory_at));
}

static void *fault_malloc(int size) { return memory_fails() ? NULL : real_memory.xMalloc(size); }

static void *fault_realloc(void *p, int size) {
    return memory_fails() ? NULL : real_memory.xRealloc(p, size);
}

static int allow_own(size_t size, void *user) {
    (void)size;
    (void)user;
    return !memory_fails();
}

void fault_memory_install(void) {
    assert_int_equal(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real_memory), SQLITE_OK);
    sqlite3_mem_methods faulty = real_memory;
    faulty.xMalloc = fault_malloc;
    faulty.xRealloc = fault_realloc;
    assert_int_equal(sqlite3_config(SQLITE_CONFIG_MALLOC, &faulty), SQLITE_OK);
    weft_mem_hook(allow_own, NULL);
}

int64_t fault_memory(int64_t at, bool on) {
    const int64_t made = memory_count;
    memory_count = 0;
    memory_at = at;
    memory_on = on;
    return made;
}

/* ---- files */

typedef struct fault_file {
    sqlite3_file base;
    sqlite3_file *real;
} fault_file;

static sqlite3_vfs fault_vfs;
static int64_t file_count, file_at;
static int file_code;
static bool file_on;

static int file_fault(void) {
    file_count++;
    const bool fails = file_at && (file_count == file_at || (file_on && file_count > file_at));
    return fails ? file_code : SQLITE_OK;
}

#define REAL(f) (((fault_file *)(f))->real)
#define METHODS(f) (REAL(f)->pMethods)

static int f_close(sqlite3_file *f) { return METHODS(f)->xClose(REAL(f)); }
static int f_read(sqlite3_file *f, void *to, int size, sqlite3_int64 at) {
    return METHODS(f)->xRead(REAL(f), to, size, at);
}
static int f_write(sqlite3_file *f, const void *from, int size, sqlite3_int64 at) {
    int code = file_fault();
    if (!code) return METHODS(f)->xWrite(REAL(f), from, size, at);
    /* Half of it arrives, as when a disk fills up. */
    (void)METHODS(f)->xWrite(REAL(f), from, size / 2, at);
    return code == SQLITE_FULL ? SQLITE_FULL : SQLITE_IOERR_WRITE;
}
static int f_truncate(sqlite3_file *f, sqlite3_int64 size) {
    return file_fault() ? SQLITE_IOERR_TRUNCATE : METHODS(f)->xTruncate(REAL(f), size);
}
static int f_sync(sqlite3_file *f, int flags) {
    (void)f;
    (void)flags;
    return file_fault() ? SQLITE_IOERR_FSYNC : SQLITE_OK; /* nobody pulls the plug here */
}
static int f_size(sqlite3_file *f, sqlite3_int64 *size) {
    return METHODS(f)->xFileSize(REAL(f), size);
}
static int f_lock(sqlite3_file *f, int kind) { return METHODS(f)->xLock(REAL(f), kind); }
static int f_unlock(sqlite3_file *f, int kind) { return METHODS(f)->xUnlock(REAL(f), kind); }
static int f_reserved(sqlite3_file *f, int *out) {
    return METHODS(f)->xCheckReservedLock(REAL(f), out);
}
static int f_control(sqlite3_file *f, int op, void *arg) {
    return METHODS(f)->xFileControl(REAL(f), op, arg);
}
static int f_sector(sqlite3_file *f) { return METHODS(f)->xSectorSize(REAL(f)); }
static int f_device(sqlite3_file *f) { return METHODS(f)->xDeviceCharacteristics(REAL(f)); }
static int f_shm_map(sqlite3_file *f, int region, int size, int extend, void volatile **out) {
    return METHODS(f)->xShmMap(REAL(f), region, size, extend, out);
}
static int f_shm_lock(sqlite3_file *f, int offset, int n, int flags) {
    return METHODS(f)->xShmLock(REAL(f), offset, n, flags);
}
static void f_shm_barrier(sqlite3_file *f) { METHODS(f)->xShmBarrier(REAL(f)); }
static int f_shm_unmap(sqlite3_file *f, int remove) {
    return METHODS(f)->xShmUnmap(REAL(f), remove);
}

static const sqlite3_io_methods fault_methods = {
    .iVersion = 2,
    .xClose = f_close,
    .xRead = f_read,
    .xWrite = f_write,
    .xTruncate = f_truncate,
    .xSync = f_sync,
    .xFileSize = f_size,
    .xLock = f_lock,
    .xUnlock = f_unlock,
    .xCheckReservedLock = f_reserved,
    .xFileControl = f_control,
    .xSectorSize = f_sector,
    .xDeviceCharacteristics = f_device,
    .xShmMap = f_shm_map,
    .xShmLock = f_shm_lock,
    .xShmBarrier = f_shm_barrier,
    .xShmUnmap = f_shm_unmap,
};

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out) {
    sqlite3_vfs *real = vfs->pAppData;
    fault_file *f = (fault_file *)file;
    f->real = (sqlite3_file *)(f + 1);
    int code = real->xOpen(real, name, f->real, flags, out);
    f->base.pMethods = f->real->pMethods ? &fault_methods : NULL;
    return code;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync) {
    sqlite3_vfs *real = vfs->pAppData;
    return file_fault() ? SQLITE_IOERR_DELETE : real->xDelete(real, name, sync);
}

void fault_files_install(void) {
    sqlite3_vfs *real = sqlite3_vfs_find("unix");
    assert_non_null(real);
    fault_vfs = *real; /* the functions that are not replaced do not look at their vfs */
    fault_vfs.zName = "fault";
    fault_vfs.pNext = NULL;
    fault_vfs.pAppData = real;
    fault_vfs.szOsFile = (int)sizeof(fault_file) + real->szOsFile;
    fault_vfs.xOpen = vfs_open;
    fault_vfs.xDelete = vfs_delete;
    assert_int_equal(sqlite3_vfs_register(&fault_vfs, 1), SQLITE_OK);
}

int64_t fault_files(int64_t at, int code, bool on) {
    const int64_t made = file_count;
    file_count = 0;
    file_at = at;
    file_code = code;
    file_on = on;
    return made;
}
