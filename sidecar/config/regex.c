/* Pattern → positions (Glushkov's construction) → DFA by subsets.
 *
 * The parser works bottom-up over fragments. A fragment knows whether it matches the empty text,
 * which positions can come first and which last; putting fragments together adds to the positions
 * that may follow each. The states of the DFA are sets of positions: those just read. */
#include "sidecar/config/regex.h"

#include <stdint.h>
#include <string.h>

#include "weft/mem.h"

#define WORDS ((CONFIG_REGEX_POSITIONS + 63) / 64)
#define DEPTH 60 /* nested groups */
#define STEPS 20000u
#define DEAD 0u
#define START 1u

/* Invariants: next[state * classes + class_of[byte]] < states; state 0 is dead and leads to itself.
 */
struct config_regex {
    uint8_t class_of[256];
    uint32_t classes;
    uint32_t states;
    const uint16_t *next;
    const uint8_t *accepts; /* a state */
};

typedef struct bits {
    uint64_t words[WORDS];
} bits;

typedef struct bytes {
    uint64_t words[4];
} bytes;

typedef struct fragment {
    bool empty; /* matches "" */
    bits first, last;
} fragment;

typedef struct compiler {
    const char *at, *start;
    const char *why;
    int rc;
    unsigned depth;
    unsigned steps; /* atoms read: (){9}{9}… repeats nothing very often */
    uint32_t count; /* positions used */
    bytes set[CONFIG_REGEX_POSITIONS];
    bits follow[CONFIG_REGEX_POSITIONS];
} compiler;

static void put(bits *set, uint32_t i) { set->words[i / 64] |= UINT64_C(1) << i % 64; }
static void put_byte(bytes *set, unsigned b) { set->words[b / 64] |= UINT64_C(1) << b % 64; }
static bool has_byte(const bytes *set, unsigned b) { return set->words[b / 64] >> b % 64 & 1; }
static void join(bits *to, const bits *from) {
    for (size_t i = 0; i < WORDS; i++) to->words[i] |= from->words[i];
}

static bool fail(compiler *c, int rc, const char *why) {
    if (!c->rc) {
        c->rc = rc;
        c->why = why;
    }
    return false;
}

/* Calls `body` with i = each member of `set`. */
#define EACH(i, set)                                                                             \
    for (size_t w_ = 0; w_ < WORDS; w_++)                                                        \
        for (uint64_t left_ = (set)->words[w_]; left_; left_ &= left_ - 1)                       \
            for (uint32_t i = (uint32_t)(w_ * 64 + (unsigned)__builtin_ctzll(left_)), once_ = 1; \
                 once_; once_ = 0)

/* ---- byte classes */

static void put_range(bytes *set, unsigned from, unsigned to) {
    for (unsigned b = from; b <= to; b++) put_byte(set, b);
}

static void negate(bytes *set) {
    for (size_t i = 0; i < 4; i++) set->words[i] = ~set->words[i];
    set->words['\n' / 64] &= ~(UINT64_C(1) << '\n' % 64);
}

static void put_digits(bytes *set) { put_range(set, '0', '9'); }
static void put_letters(bytes *set) {
    put_range(set, 'a', 'z');
    put_range(set, 'A', 'Z');
}

/* \d \w \s and their opposites. */
static bool perl_class(char letter, bytes *set) {
    bytes of = {{0}};
    switch (letter | 0x20) {
    case 'd':
        put_digits(&of);
        break;
    case 'w':
        put_digits(&of);
        put_letters(&of);
        put_byte(&of, '_');
        break;
    case 's':
        for (const char *p = "\t\n\f\r "; *p; p++) put_byte(&of, (unsigned char)*p);
        break;
    default:
        return false;
    }
    if (letter < 'a')
        for (size_t i = 0; i < 4; i++) of.words[i] = ~of.words[i];
    for (size_t i = 0; i < 4; i++) set->words[i] |= of.words[i];
    return true;
}

static int hex(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') return (c | 0x20) - 'a' + 10;
    return -1;
}

/* After a backslash: one byte, or -1 with the reason given. */
static int escaped(compiler *c) {
    static const char letters[] = "tnrfva", values[] = "\t\n\r\f\v\a";
    const char e = *c->at;
    if (!e) return fail(c, WEFT_EPARSE, "ends in a backslash") - 1;
    c->at++;
    const char *known = strchr(letters, e);
    if (known) return values[known - letters];
    if (e == 'x') {
        const int high = hex(c->at[0]), low = high < 0 ? -1 : hex(c->at[1]);
        if (low < 0) return fail(c, WEFT_EPARSE, "\\x must be followed by two hex digits") - 1;
        c->at += 2;
        return high * 16 + low;
    }
    if (e >= '0' && e <= '9')
        return fail(c, WEFT_EPARSE, "backreferences and octal escapes are not supported") - 1;
    if ((e | 0x20) >= 'a' && (e | 0x20) <= 'z')
        return fail(c, WEFT_EPARSE,
                    "this escape is not supported (\\d \\w \\s \\t \\n \\r \\f \\v \\xHH are)") -
               1;
    return (unsigned char)e;
}

/* "[:alpha:]" at c->at. */
static bool posix_class(compiler *c, bytes *set) {
    static const struct {
        const char *name;
        const char *ranges; /* pairs */
    } table[] = {
        {"[:alpha:]", "azAZ"},   {"[:digit:]", "09"},       {"[:alnum:]", "azAZ09"},
        {"[:upper:]", "AZ"},     {"[:lower:]", "az"},       {"[:xdigit:]", "afAF09"},
        {"[:space:]", "\t\r  "}, {"[:punct:]", "!/:@[`{~"}, {"[:word:]", "azAZ09__"},
        {"[:blank:]", "\t\t  "}, {"[:graph:]", "!~"},       {"[:print:]", " ~"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const size_t len = strlen(table[i].name);
        if (strncmp(c->at, table[i].name, len) != 0) continue;
        for (const char *p = table[i].ranges; *p; p += 2)
            put_range(set, (unsigned char)p[0], (unsigned char)p[1]);
        c->at += len;
        return true;
    }
    return fail(c, WEFT_EPARSE, "unknown class between [: and :]");
}

/* One member of a class, to its low end; *single is false for whole classes. */
static int class_member(compiler *c, bytes *set, bool *single) {
    *single = false;
    if (c->at[0] == '[' && c->at[1] == ':') return posix_class(c, set) ? 0 : -1;
    if (*c->at == '\\' && c->at[1] && perl_class(c->at[1], set)) {
        c->at += 2;
        return 0;
    }
    *single = true;
    if (*c->at == '\\') {
        c->at++;
        return escaped(c);
    }
    return (unsigned char)*c->at++;
}

/* Behind "[". */
static bool parse_class(compiler *c, bytes *set) {
    const bool inverted = *c->at == '^';
    if (inverted) c->at++;
    for (bool any = false; *c->at != ']' || !any; any = true) {
        bool single = false, single_end = false;
        if (!*c->at) return fail(c, WEFT_EPARSE, "a [ is not closed");
        const int low = class_member(c, set, &single);
        if (low < 0) return false;
        if (!single) continue;
        int high = low;
        if (c->at[0] == '-' && c->at[1] && c->at[1] != ']') {
            c->at++;
            high = class_member(c, set, &single_end);
            if (high < 0) return false;
            if (!single_end || high < low)
                return fail(c, WEFT_EPARSE, "a range in [] runs backwards");
        }
        put_range(set, (unsigned)low, (unsigned)high);
    }
    c->at++;
    if (inverted) negate(set);
    return true;
}

/* ---- fragments */

static bool leaf(compiler *c, const bytes *set, fragment *out) {
    if (c->count == CONFIG_REGEX_POSITIONS)
        return fail(c, WEFT_ELIMIT, "is too long once repetitions are written out");
    *out = (fragment){.empty = false};
    c->set[c->count] = *set;
    memset(&c->follow[c->count], 0, sizeof c->follow[0]);
    put(&out->first, c->count);
    put(&out->last, c->count);
    c->count++;
    return true;
}

static void concat(compiler *c, fragment *left, const fragment *right) {
    EACH(i, &left->last) join(&c->follow[i], &right->first);
    if (left->empty) join(&left->first, &right->first);
    if (right->empty)
        join(&left->last, &right->last);
    else
        left->last = right->last;
    left->empty = left->empty && right->empty;
}

static void loop(compiler *c, const fragment *f) {
    EACH(i, &f->last) join(&c->follow[i], &f->first);
}

static bool parse_choice(compiler *c, fragment *out);

static bool parse_group(compiler *c, fragment *out) {
    c->at++;
    if (c->at[0] == '?') {
        if (c->at[1] != ':')
            return fail(c, WEFT_EPARSE, "groups with ? other than (?: are not supported");
        c->at += 2;
    }
    if (++c->depth > DEPTH) return fail(c, WEFT_ELIMIT, "nests groups too deep");
    if (!parse_choice(c, out)) return false;
    c->depth--;
    if (*c->at != ')') return fail(c, WEFT_EPARSE, "a ( is not closed");
    c->at++;
    return true;
}

static bool parse_atom(compiler *c, fragment *out) {
    bytes set = {{0}};
    int byte;
    if (++c->steps > STEPS) return fail(c, WEFT_ELIMIT, "is too complex");
    switch (*c->at) {
    case '(':
        return parse_group(c, out);
    case '[':
        c->at++;
        return parse_class(c, &set) && leaf(c, &set, out);
    case '.':
        c->at++;
        negate(&set);
        return leaf(c, &set, out);
    case '*':
    case '+':
    case '?':
        return fail(c, WEFT_EPARSE, "a repetition has nothing to repeat");
    case '^':
        /* Matches are anchored; elsewhere it can never match. */
        if (c->at != c->start) return fail(c, WEFT_EPARSE, "^ is supported at the beginning only");
        c->at++;
        *out = (fragment){.empty = true};
        return true;
    case '$':
        if (c->at[1]) return fail(c, WEFT_EPARSE, "$ is supported at the end only");
        c->at++;
        *out = (fragment){.empty = true};
        return true;
    case '\\':
        if (c->at[1] && perl_class(c->at[1], &set)) {
            c->at += 2;
            return leaf(c, &set, out);
        }
        c->at++;
        byte = escaped(c);
        if (byte < 0) return false;
        put_byte(&set, (unsigned)(unsigned char)byte);
        return leaf(c, &set, out);
    default:
        put_byte(&set, (unsigned char)*c->at++);
        return leaf(c, &set, out);
    }
}

/* "{m}", "{m,}", "{m,n}" at c->at; false when it is none and stands for itself, as in RE2. */
static bool counted(const char *at, unsigned *min, unsigned *max, const char **end) {
    unsigned values[2] = {0, UINT32_MAX};
    const char *p = at + 1;
    for (int i = 0; i < 2; i++) {
        const char *digits = p;
        if (*p >= '0' && *p <= '9') values[i] = 0;
        for (; *p >= '0' && *p <= '9'; p++)
            if (values[i] < 10000) values[i] = values[i] * 10 + (unsigned)(*p - '0');
        if (i == 0 && p == digits) return false;
        if (i == 0 && *p != ',') {
            values[1] = values[0];
            break;
        }
        if (i == 0) p++;
    }
    if (*p != '}') return false;
    *min = values[0];
    *max = values[1];
    *end = p + 1;
    return true;
}

/* Writes an atom out `min` to `max` times by reading its text again. */
static bool repeat(compiler *c, const char *atom, unsigned min, unsigned max, fragment *out) {
    const char *end = c->at;
    fragment all = {.empty = true};
    if (max != UINT32_MAX && max < min) return fail(c, WEFT_EPARSE, "{m,n} has m above n");
    if (min > CONFIG_REGEX_POSITIONS || (max != UINT32_MAX && max > CONFIG_REGEX_POSITIONS))
        return fail(c, WEFT_ELIMIT, "repeats more than 1000 times");
    const unsigned copies = max == UINT32_MAX ? (min ? min : 1) : max;
    for (unsigned i = 0; i < copies; i++) {
        fragment one;
        c->at = atom;
        if (!parse_atom(c, &one)) return false;
        if (max == UINT32_MAX && i + 1 == copies) loop(c, &one);
        if (i >= min) one.empty = true;
        concat(c, &all, &one);
    }
    c->at = end;
    *out = all;
    return true;
}

static bool is_repetition(const char *at) {
    unsigned min, max;
    const char *end;
    return *at == '*' || *at == '+' || *at == '?' || (*at == '{' && counted(at, &min, &max, &end));
}

static bool parse_piece(compiler *c, fragment *out) {
    const char *atom = c->at;
    const uint32_t before = c->count;
    if (!parse_atom(c, out)) return false;
    if (!is_repetition(c->at)) return true;
    if (*atom == '^' || *atom == '$')
        return fail(c, WEFT_EPARSE, "a repetition has nothing to repeat");
    unsigned min = 0, max = 0;
    const char *end = c->at + 1;
    if (*c->at == '{') {
        counted(c->at, &min, &max, &end);
        const char *mark = c->at;
        c->count = before; /* the first reading was only to find its end */
        if (!repeat(c, atom, min, max, out)) return false;
        c->at = mark;
    } else {
        if (*c->at != '?') loop(c, out);
        if (*c->at != '+') out->empty = true;
    }
    c->at = end;
    if (*c->at == '?') c->at++; /* lazy: the same language */
    if (is_repetition(c->at)) return fail(c, WEFT_EPARSE, "two repetitions follow each other");
    return true;
}

static bool parse_sequence(compiler *c, fragment *out) {
    *out = (fragment){.empty = true};
    while (*c->at && *c->at != '|' && *c->at != ')') {
        fragment next;
        if (!parse_piece(c, &next)) return false;
        concat(c, out, &next);
    }
    return true;
}

static bool parse_choice(compiler *c, fragment *out) {
    if (!parse_sequence(c, out)) return false;
    while (*c->at == '|') {
        fragment other;
        c->at++;
        if (!parse_sequence(c, &other)) return false;
        out->empty = out->empty || other.empty;
        join(&out->first, &other.first);
        join(&out->last, &other.last);
    }
    return true;
}

/* ---- DFA */

typedef struct builder {
    compiler *c;
    config_regex *regex;
    const fragment *whole;
    bits *sets; /* of each state */
    uint16_t *next;
    uint8_t *accepts;
    uint16_t *table; /* hash of sets → state */
    uint32_t table_mask;
    bits of_class[256]; /* positions that read a byte of the class */
} builder;

/* Bytes no position tells apart share a class. */
static void make_classes(builder *b) {
    config_regex *regex = b->regex;
    regex->classes = 0;
    for (unsigned byte = 0; byte < 256; byte++) {
        bits readers = {{0}};
        for (uint32_t i = 0; i < b->c->count; i++)
            if (has_byte(&b->c->set[i], byte)) put(&readers, i);
        uint32_t k = 0;
        while (k < regex->classes && memcmp(&b->of_class[k], &readers, sizeof readers) != 0) k++;
        if (k == regex->classes) {
            b->of_class[k] = readers;
            regex->classes++;
        }
        regex->class_of[byte] = (uint8_t)k;
    }
}

static uint32_t hash_of(const bits *set) {
    uint64_t h = 0x9e3779b97f4a7c15u;
    for (size_t i = 0; i < WORDS; i++) h = (h ^ set->words[i]) * 0xff51afd7ed558ccdu;
    return (uint32_t)(h >> 32);
}

/* The state of a set of positions; false: too many. */
static bool state_of(builder *b, const bits *set, uint32_t *state) {
    static const bits none;
    if (memcmp(set, &none, sizeof none) == 0) {
        *state = DEAD;
        return true;
    }
    uint32_t at = hash_of(set) & b->table_mask;
    for (; b->table[at]; at = (at + 1) & b->table_mask)
        if (memcmp(&b->sets[b->table[at]], set, sizeof *set) == 0) {
            *state = b->table[at];
            return true;
        }
    if (b->regex->states == CONFIG_REGEX_STATES)
        return fail(b->c, WEFT_ELIMIT, "is too complex: it needs more than 2048 states");
    *state = b->regex->states++;
    b->table[at] = (uint16_t)*state;
    b->sets[*state] = *set;
    for (size_t i = 0; i < WORDS; i++)
        if (set->words[i] & b->whole->last.words[i]) b->accepts[*state] = 1;
    return true;
}

static bool make_states(builder *b) {
    const uint32_t classes = b->regex->classes;
    b->regex->states = START + 1;
    b->accepts[START] = b->whole->empty;
    for (uint32_t s = START; s < b->regex->states; s++) {
        bits reach = {{0}};
        if (s == START)
            reach = b->whole->first;
        else
            EACH(i, &b->sets[s]) join(&reach, &b->c->follow[i]);
        for (uint32_t k = 0; k < classes; k++) {
            bits to = reach;
            uint32_t state;
            for (size_t i = 0; i < WORDS; i++) to.words[i] &= b->of_class[k].words[i];
            if (!state_of(b, &to, &state)) return false;
            b->next[s * classes + k] = (uint16_t)state;
        }
    }
    return true;
}

static int build(builder *b, weft_arena *arena, const config_regex **out) {
    config_regex *regex = weft_arena_calloc(arena, 1, sizeof *regex);
    if (!regex) return WEFT_ENOMEM;
    b->regex = regex;
    make_classes(b);
    b->next = weft_calloc((size_t)CONFIG_REGEX_STATES * regex->classes, sizeof *b->next);
    b->table_mask = 2 * CONFIG_REGEX_STATES - 1;
    b->table = weft_calloc(b->table_mask + 1, sizeof *b->table);
    b->accepts = weft_calloc(CONFIG_REGEX_STATES, 1);
    b->sets = weft_malloc(CONFIG_REGEX_STATES * sizeof *b->sets);
    if (!b->next || !b->table || !b->accepts || !b->sets) return WEFT_ENOMEM;
    if (!make_states(b)) return b->c->rc;
    regex->next =
        weft_arena_memdup(arena, b->next, (size_t)regex->states * regex->classes * sizeof *b->next);
    regex->accepts = weft_arena_memdup(arena, b->accepts, regex->states);
    if (!regex->next || !regex->accepts) return WEFT_ENOMEM;
    *out = regex;
    return 0;
}

int config_regex_compile(weft_arena *arena, const char *pattern, const config_regex **out,
                         const char **why) {
    if (strnlen(pattern, CONFIG_REGEX_BYTES + 1) > CONFIG_REGEX_BYTES) {
        *why = "is longer than 1024 bytes";
        return WEFT_ELIMIT;
    }
    compiler *c = weft_calloc(1, sizeof *c);
    builder *b = weft_calloc(1, sizeof *b);
    int rc = c && b ? 0 : WEFT_ENOMEM;
    if (!rc) {
        fragment whole;
        c->at = c->start = pattern;
        if (parse_choice(c, &whole) && *c->at) fail(c, WEFT_EPARSE, "a ) has no ( before it");
        b->c = c;
        b->whole = &whole;
        rc = c->rc ? c->rc : build(b, arena, out);
        if (c->rc) *why = c->why;
        weft_free(b->next);
        weft_free(b->table);
        weft_free(b->accepts);
        weft_free(b->sets);
    }
    weft_free(c);
    weft_free(b);
    return rc;
}

bool config_regex_match(const config_regex *regex, const char *text, size_t len) {
    const uint16_t *next = regex->next;
    const uint32_t classes = regex->classes;
    uint32_t state = START;
    for (size_t i = 0; i < len; i++) {
        state = next[state * classes + regex->class_of[(unsigned char)text[i]]];
        if (state == DEAD) return false;
    }
    return regex->accepts[state] != 0;
}
