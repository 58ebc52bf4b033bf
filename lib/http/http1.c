/* Tables and small texts of HTTP/1.1: limits, reason phrases, dates. */
#include <stdio.h>
#include <string.h>

#include "lib/http/http1_int.h"

static const struct {
    const char *name;
    const char *reason;
    int status;
} limit_table[HTTP1_LIMIT_COUNT] = {
#define X(name_, value, status_, text) {#name_, "too many " text, status_},
    HTTP1_LIMITS(X)
#undef X
};

const char *http1_limit_name(http1_limit limit) {
    return (unsigned)limit < HTTP1_LIMIT_COUNT ? limit_table[limit].name : "";
}

/* ---- failures */

static int fail(http1_parser *p, int error, int status, const char *reason) {
    p->failed = error;
    p->status = status;
    p->reason = reason;
    return error;
}

int h1_malformed(http1_parser *p, const char *reason) {
    if (p->counters) p->counters->malformed++;
    return fail(p, WEFT_EPARSE, 400, reason);
}

int h1_unsupported(http1_parser *p, int status, const char *reason) {
    if (p->counters) p->counters->malformed++;
    return fail(p, WEFT_EUNSUPPORTED, status, reason);
}

int h1_over(http1_parser *p, http1_limit limit) {
    if (p->counters) p->counters->limits[limit]++;
    p->limit = (int)limit;
    return fail(p, WEFT_ELIMIT, limit_table[limit].status, limit_table[limit].reason);
}

int h1_no_memory(http1_parser *p) { return fail(p, WEFT_ENOMEM, 503, "out of memory"); }

/* ---- reason phrases: RFC 9110 section 15, RFC 6585 */

static const struct {
    int status;
    const char *reason;
} reasons[] = {
    {100, "Continue"},
    {101, "Switching Protocols"},
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {203, "Non-Authoritative Information"},
    {204, "No Content"},
    {205, "Reset Content"},
    {206, "Partial Content"},
    {300, "Multiple Choices"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {305, "Use Proxy"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {402, "Payment Required"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {407, "Proxy Authentication Required"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Content"},
    {426, "Upgrade Required"},
    {428, "Precondition Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {499, "Client Closed Request"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
    {511, "Network Authentication Required"},
};

const char *http1_reason(int status) {
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (reasons[i].status == status) return reasons[i].reason;
    return "";
}

/* ---- dates */

/* Days since 1970-01-01 to a civil date: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms". */
static void civil(int64_t days, int *year, unsigned *month, unsigned *day) {
    days += 719468;
    const int64_t era = days / 146097;
    const unsigned doe = (unsigned)(days - era * 146097);
    const unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    const unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    const unsigned mp = (5 * doy + 2) / 153;
    *day = doy - (153 * mp + 2) / 5 + 1;
    *month = mp < 10 ? mp + 3 : mp - 9;
    *year = (int)(yoe + era * 400) + (*month <= 2);
}

char *http1_date(int64_t wall, char out[HTTP1_DATE]) {
    static const char day_names[7][4] = {"Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"};
    static const char month_names[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                            "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    const int64_t seconds = wall > 0 ? wall / 1000000000 : 0;
    const int64_t days = seconds / 86400;
    const unsigned rest = (unsigned)(seconds % 86400);
    int year = 0;
    unsigned month = 1, day = 1;
    civil(days, &year, &month, &day);
    (void)snprintf(out, HTTP1_DATE, "%.3s, %02u %.3s %04u %02u:%02u:%02u GMT", day_names[days % 7],
                   day % 100, month_names[month - 1], (unsigned)year % 10000, rest / 3600 % 100,
                   rest / 60 % 60, rest % 60);
    return out;
}
