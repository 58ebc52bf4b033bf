/* sqlite's result codes in our words: one table, one place that builds sentences. */
#include "internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char thread_message[STORE_MESSAGE];

const char *weft_store_message(void) { return thread_message; }

int store_say(int error, const char *format, ...) {
    char text[STORE_MESSAGE]; /* an argument may be the old message */
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    memcpy(thread_message, text, sizeof text);
    return error;
}

typedef struct code_row {
    int code; /* extended, or primary for all of its kind; the first match counts */
    int error;
    const char *advice; /* or NULL */
} code_row;

#define DAMAGED "the file is damaged; restore it from a backup, or move it away to start empty"
#define UNWRITABLE                                                                             \
    "the file or its directory cannot be written; check owner and mode of both (sqlite makes " \
    "-wal and -shm beside it)"

static const code_row codes[] = {
    {SQLITE_CONSTRAINT_UNIQUE, WEFT_EEXIST, NULL},
    {SQLITE_CONSTRAINT_PRIMARYKEY, WEFT_EEXIST, NULL},
    {SQLITE_CONSTRAINT_ROWID, WEFT_EEXIST, NULL},
    {SQLITE_CONSTRAINT, WEFT_EINVAL, NULL},
    {SQLITE_MISMATCH, WEFT_EINVAL, NULL},
    {SQLITE_BUSY, WEFT_EBUSY,
     "another transaction kept the file locked; shorten it or raise busy_ns"},
    {SQLITE_LOCKED, WEFT_EBUSY, NULL},
    {SQLITE_IOERR_NOMEM, WEFT_ENOMEM, NULL},
    {SQLITE_NOMEM, WEFT_ENOMEM, NULL},
    {SQLITE_FULL, WEFT_ELIMIT, "the disk is full; free space where the file is"},
    {SQLITE_TOOBIG, WEFT_ELIMIT, "a value or the SQL is longer than sqlite takes"},
    {SQLITE_CORRUPT, WEFT_EIO, DAMAGED},
    {SQLITE_NOTADB, WEFT_EIO, DAMAGED},
    {SQLITE_CANTOPEN, WEFT_EIO,
     "check that its directory exists and that both can be read and written"},
    {SQLITE_READONLY, WEFT_EIO, UNWRITABLE},
    {SQLITE_PERM, WEFT_EIO, UNWRITABLE},
    {SQLITE_IOERR, WEFT_EIO, "the disk or its file system failed"},
    {SQLITE_PROTOCOL, WEFT_EBUSY, "too many openers at once; try again"},
    {SQLITE_NOLFS, WEFT_ELIMIT, "the file system allows no file this large"},
    {SQLITE_INTERRUPT, WEFT_ECLOSED, NULL},
};

static const code_row *row_of(int code) {
    static const code_row other = {0, WEFT_EINTERNAL, NULL};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        if (codes[i].code == code || codes[i].code == (code & 0xff)) return &codes[i];
    }
    return &other;
}

int store_error(int code) {
    if (code == SQLITE_OK || code == SQLITE_ROW || code == SQLITE_DONE) return 0;
    return row_of(code)->error;
}

int store_sql_error(const store_conn *conn, int code, const char *sql) {
    const code_row *row = row_of(code);
    const bool own = (code & 0xff) == SQLITE_AUTH && conn->refused;
    const char *text = own ? conn->refused : sqlite3_errstr(code);
    if (!own && (sqlite3_extended_errcode(conn->raw) & 0xff) == (code & 0xff))
        text = sqlite3_errmsg(conn->raw);
    char system[96] = "";
    const int number = sqlite3_system_errno(conn->raw);
    const int kind = code & 0xff;
    if (number && (kind == SQLITE_IOERR || kind == SQLITE_CANTOPEN || kind == SQLITE_FULL)) {
        char buffer[80];
        (void)snprintf(system, sizeof system, " (%s)", strerror_r(number, buffer, sizeof buffer));
    }
    return store_say(row->error, "%s: %s%s%s%s%s%.160s", conn->db->path, text, system,
                     row->advice ? "; " : "", row->advice ? row->advice : "", sql ? ", in: " : "",
                     sql ? sql : "");
}

int store_tx_fail(weft_tx *tx, int error) {
    if (!tx->error) {
        tx->error = error;
        memcpy(tx->message, thread_message, sizeof tx->message);
    }
    return error;
}
