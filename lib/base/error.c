/* Names and sentences of local errors, straight from the table in error.h. */
#include "weft/error.h"

#include <errno.h>
#include <stddef.h>

typedef struct error_row {
    const char *name;
    const char *text;
} error_row;

/* Indexed by the positive number; row 0 is success. */
static const error_row rows[] = {{"WEFT_OK", "ok"},
#define X(name, number, text) [number] = {"WEFT_" #name, text},
                                 WEFT_ERRORS(X)
#undef X
};

static const error_row *row_of(int error) {
    static const error_row unknown = {"WEFT_E?", "unknown error"};
    const int last = (int)(sizeof rows / sizeof rows[0]) - 1;
    if (error > 0 || error < -last || !rows[-error].name) return &unknown;
    return &rows[-error];
}

const char *weft_strerror(int error) { return row_of(error)->text; }

const char *weft_error_name(int error) { return row_of(error)->name; }

int weft_error_from_errno(int errno_value) {
    switch (errno_value) {
    case 0:
        return 0;
    case EINVAL:
    case EDOM:
    case ENAMETOOLONG:
        return WEFT_EINVAL;
    case ENOMEM:
        return WEFT_ENOMEM;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case ERANGE:
    case EMSGSIZE:
        return WEFT_ELIMIT;
    case ENOENT:
    case ENOTDIR:
        return WEFT_ENOTFOUND;
    case EEXIST:
        return WEFT_EEXIST;
    case EBUSY:
    case EADDRINUSE:
        return WEFT_EBUSY;
    case ETIMEDOUT:
        return WEFT_ETIMEOUT;
    case EPIPE:
    case ECONNRESET:
    case ECONNABORTED:
    case ESHUTDOWN:
    case ENOTCONN:
        return WEFT_ECLOSED;
    case EAGAIN:
    case EINPROGRESS:
    case EALREADY:
        return WEFT_EAGAIN;
    case ENOSYS:
    case ENOTSUP:
    case EAFNOSUPPORT:
    case EPROTONOSUPPORT:
        return WEFT_EUNSUPPORTED;
    default:
        return WEFT_EIO;
    }
}
