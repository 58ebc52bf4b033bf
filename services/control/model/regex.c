/* Whether a pattern can be matched in linear time by what sidecars have: RE2's syntax without captures'
 * names, flags, Unicode tables and assertions within. Only the syntax is looked at: recursive descent,
 * bounded by GROUPS_MAX. */
#include <string.h>

#include "services/control/model/internal.h"

#define PATTERN_MAX 1024u
#define GROUPS_MAX 50u
#define REPEAT_MAX 1000u

typedef struct scan {
    const char *p, *start;
    const char *why;
    unsigned groups; /* open */
} scan;

static bool fail(scan *s, const char *why) {
    if (!s->why) s->why = why;
    return false;
}

static bool hex_digit(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* After the backslash. */
static bool take_escape(scan *s) {
    const char c = *s->p;
    if (!c) return fail(s, "ends with a backslash");
    s->p++;
    if (c >= '1' && c <= '9') return fail(s, "has a backreference (\\1), which is not supported");
    if (c == 'x') {
        if (!hex_digit(s->p[0]) || !hex_digit(s->p[1]))
            return fail(s, "has \\x without two hex digits");
        s->p += 2;
        return true;
    }
    if (strchr("dswDSWtnrfv", c)) return true;
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '0')
        return fail(s, "has an escape that is not supported (\\d \\w \\s \\t \\n \\xHH are)");
    return true;
}

/* After '['. */
static bool take_class(scan *s) {
    if (*s->p == '^') s->p++;
    bool first = true;
    for (; *s->p; first = false) {
        const char c = *s->p++;
        if (c == ']' && !first) return true;
        if (c == '[' && *s->p == ':') {
            const char *end = strstr(s->p, ":]");
            if (!end) return fail(s, "has [: without :]");
            s->p = end + 2;
            continue;
        }
        if (c == '\\' && !take_escape(s)) return false;
        if (*s->p == '-' && s->p[1] && s->p[1] != ']' && c != '\\') {
            const unsigned char low = (unsigned char)c, high = (unsigned char)s->p[1];
            if (s->p[1] != '\\' && high < low) return fail(s, "has a range that runs backwards");
        }
    }
    return fail(s, "has [ without ]");
}

static bool take_number(scan *s, unsigned *out) {
    unsigned digits = 0;
    for (*out = 0; *s->p >= '0' && *s->p <= '9'; s->p++)
        if (++digits <= 4) *out = *out * 10 + (unsigned)(*s->p - '0');
    return digits > 0;
}

/* After '{'. */
static bool take_counts(scan *s) {
    unsigned least = 0, most = 0;
    if (!take_number(s, &least)) return fail(s, "has { without a number: write \\{");
    most = least;
    if (*s->p == ',') {
        s->p++;
        if (!take_number(s, &most)) most = least;
    }
    if (*s->p++ != '}') return fail(s, "has { without }");
    if (most < least) return fail(s, "has {m,n} with n below m");
    if (most > REPEAT_MAX) return fail(s, "has {m,n} with more than 1000");
    return true;
}

static bool take_repeat(scan *s) {
    if (!strchr("*+?{", *s->p) || !*s->p) return true;
    if (*s->p++ == '{' && !take_counts(s)) return false;
    if (*s->p == '?') s->p++;
    if (*s->p && strchr("*+?{", *s->p)) return fail(s, "repeats a repetition");
    return true;
}

/* After '('. */
static bool open_group(scan *s) {
    if (++s->groups > GROUPS_MAX) return fail(s, "has groups too deep in each other");
    if (*s->p != '?') return true;
    if (s->p[1] != ':')
        return fail(s, "has (?…): only (?:…) is supported, no flags, names or look-around");
    s->p += 2;
    return true;
}

/* One atom and what repeats it. `begins`: at the start of an alternative. */
static bool take_atom(scan *s, bool begins) {
    const char c = *s->p++;
    switch (c) {
    case '(':
        return open_group(s);
    case ')':
        if (!s->groups) return fail(s, "has ) without (");
        s->groups--;
        break;
    case '[':
        if (!take_class(s)) return false;
        break;
    case '\\':
        if (!take_escape(s)) return false;
        break;
    case '*':
    case '+':
    case '?':
        return fail(s, "has nothing to repeat");
    case '{':
        return fail(s, begins ? "has nothing to repeat" : "has { without a number: write \\{");
    case '|':
        return true;
    case '^':
        return s->p - 1 == s->start || fail(s, "has ^ that is not at its start");
    case '$':
        return !*s->p || fail(s, "has $ that is not at its end");
    default:
        break;
    }
    return take_repeat(s);
}

bool model_regex_valid(const char *pattern, const char **why) {
    scan s = {.p = pattern, .start = pattern};
    bool begins = true;
    if (strlen(pattern) > PATTERN_MAX) (void)fail(&s, "is longer than 1024 bytes");
    while (!s.why && *s.p) {
        const char c = *s.p;
        if (!take_atom(&s, begins)) break;
        begins = c == '(' || c == '|';
    }
    if (!s.why && s.groups) (void)fail(&s, "has ( without )");
    *why = s.why;
    return !s.why;
}
