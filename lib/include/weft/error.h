/* Local errors: the outcome of misuse, I/O and parsing inside one process.
 *
 * The outcome of an RPC is a weft_status (status.h); the two are never mixed in one int. A function
 * that can fail locally returns 0 or one of these negative numbers and leaves its outputs untouched
 * unless its comment says otherwise. */
#ifndef WEFT_ERROR_H
#define WEFT_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define WEFT_MUST_USE __attribute__((warn_unused_result))
#define WEFT_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define WEFT_MUST_USE
#define WEFT_PRINTF(fmt, args)
#endif

/* X(name, number, sentence). Numbers are part of the ABI: append only. */
#define WEFT_ERRORS(X)                                   \
    X(EINVAL, 1, "invalid argument")                     \
    X(ENOMEM, 2, "out of memory")                        \
    X(ELIMIT, 3, "a configured limit was reached")       \
    X(EPARSE, 4, "malformed input")                      \
    X(EIO, 5, "input/output error")                      \
    X(ENOTFOUND, 6, "not found")                         \
    X(EEXIST, 7, "exists already")                       \
    X(ECONFLICT, 8, "changed by someone else meanwhile") \
    X(EBUSY, 9, "busy")                                  \
    X(ETIMEOUT, 10, "timed out")                         \
    X(ECLOSED, 11, "closed")                             \
    X(EAGAIN, 12, "not ready yet")                       \
    X(EUNSUPPORTED, 13, "not supported")                 \
    X(EINTERNAL, 14, "internal error")

enum weft_error {
#define X(name, number, text) WEFT_##name = -(number),
    WEFT_ERRORS(X)
#undef X
};

/* A static sentence for an error number (0 is "ok"); never NULL. Any thread. */
const char *weft_strerror(int error);

/* "WEFT_EPARSE" for -4; never NULL. Any thread. */
const char *weft_error_name(int error);

/* The weft error nearest to an errno value. Any thread. */
int weft_error_from_errno(int errno_value);

#ifdef __cplusplus
}
#endif
#endif
