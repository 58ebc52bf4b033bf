#include "tools/weft/log_line.h"

#include <string.h>

#include "tools/weft/term.h"
#include "weft/clock.h"

/* ---- scanning --------------------------------------------------------------------------------------- */

struct scan {
    const char *text;
    size_t len, at;
};

static void blanks(struct scan *in) {
    while (in->at < in->len && (in->text[in->at] == ' ' || in->text[in->at] == '\t')) in->at++;
}

static bool take(struct scan *in, char c) {
    blanks(in);
    if (in->at >= in->len || in->text[in->at] != c) return false;
    in->at++;
    return true;
}

/* At an opening quote; moves past the closing one. */
static bool string(struct scan *in) {
    if (!take(in, '"')) return false;
    while (in->at < in->len) {
        char c = in->text[in->at++];
        if (c == '"') return true;
        if ((unsigned char)c < 0x20) return false;
        if (c == '\\' && in->at++ >= in->len) return false;
    }
    return false;
}

static bool scalar(struct scan *in) {
    static const char allowed[] = "+-.0123456789Eabcdefghijklmnopqrstuvwxyz";
    size_t from = in->at;
    while (in->at < in->len && memchr(allowed, in->text[in->at], sizeof allowed - 1)) in->at++;
    return in->at > from;
}

/* An array or object: brackets must match, which is as much as showing it needs. */
static bool nested(struct scan *in) {
    char open[64];
    size_t depth = 0;
    do {
        blanks(in);
        if (in->at >= in->len) return false;
        char c = in->text[in->at];
        if (c == '"') {
            if (!string(in)) return false;
            continue;
        }
        in->at++;
        if (c == '{' || c == '[') {
            if (depth == sizeof open) return false;
            open[depth++] = c == '{' ? '}' : ']';
        } else if (c == '}' || c == ']') {
            if (open[--depth] != c) return false;
        } else if (c == '\0') {
            return false;
        }
    } while (depth > 0);
    return true;
}

static bool value(struct scan *in) {
    blanks(in);
    if (in->at >= in->len) return false;
    char c = in->text[in->at];
    if (c == '"') return string(in);
    if (c == '{' || c == '[') return nested(in);
    return scalar(in);
}

int log_object_next(const char *line, size_t len, size_t *at, log_member *out) {
    struct scan in = {line, len, *at};
    if (*at == 0 && !take(&in, '{')) return -1;
    bool first = *at == 0;
    if (take(&in, '}')) {
        if (!first && in.at >= 2 && line[in.at - 2] == ',') return -1;
        blanks(&in);
        return in.at == len ? 0 : -1;
    }
    if (!first && !take(&in, ',')) return -1;
    blanks(&in);
    size_t key = in.at;
    if (!string(&in)) return -1;
    out->key = line + key + 1;
    out->key_len = in.at - key - 2;
    if (!take(&in, ':')) return -1;
    blanks(&in);
    size_t from = in.at;
    if (!value(&in)) return -1;
    out->value = line + from;
    out->value_len = in.at - from;
    *at = in.at;
    return 1;
}

/* ---- showing ---------------------------------------------------------------------------------------- */

static bool is(const log_member *member, const char *key) {
    return member->key_len == strlen(key) && memcmp(member->key, key, member->key_len) == 0;
}

struct parts {
    log_member time, level, message;
    bool object; /* a JSON object with a message */
};

static struct parts parts_of(const char *line, size_t len) {
    struct parts parts = {.object = false};
    log_member member;
    size_t at = 0;
    int more;
    while ((more = log_object_next(line, len, &at, &member)) > 0) {
        if (is(&member, "time")) parts.time = member;
        if (is(&member, "level")) parts.level = member;
        if (is(&member, "msg")) parts.message = member;
    }
    parts.object = more == 0 && parts.message.value && parts.message.value[0] == '"';
    return parts;
}

/* The inside of a raw JSON string, its simple escapes undone, its control characters left escaped. */
static void add_unquoted(weft_buf *out, const char *raw, size_t len) {
    for (size_t i = 1; i + 1 < len; i++) {
        if (raw[i] == '\\' && (raw[i + 1] == '"' || raw[i + 1] == '/' || raw[i + 1] == '\\'))
            weft_buf_addc(out, raw[++i]);
        else
            weft_buf_addc(out, raw[i]);
    }
}

/* "2026-01-31T23:59:59.123456Z" → "23:59:59.123"; other forms as they are. */
static void add_time(weft_buf *out, const log_member *time) {
    const char *raw = time->value;
    if (time->value_len >= 25 && raw[0] == '"' && raw[11] == 'T' && raw[20] == '.')
        weft_buf_add(out, raw + 12, 12);
    else if (raw[0] == '"')
        add_unquoted(out, raw, time->value_len);
    else
        weft_buf_add(out, raw, time->value_len);
    weft_buf_addc(out, ' ');
}

static void add_level(weft_buf *out, const log_member *level, bool color) {
    static const struct {
        const char *name, *color;
    } colors[] = {{"\"debug\"", TERM_DIM}, {"\"warn\"", TERM_YELLOW}, {"\"error\"", TERM_RED}};
    const char *on = NULL;
    for (size_t i = 0; color && i < sizeof colors / sizeof *colors; i++)
        if (level->value_len == strlen(colors[i].name) &&
            memcmp(level->value, colors[i].name, level->value_len) == 0)
            on = colors[i].color;
    if (on) weft_buf_adds(out, on);
    if (level->value[0] == '"')
        add_unquoted(out, level->value, level->value_len);
    else
        weft_buf_add(out, level->value, level->value_len);
    if (on) weft_buf_adds(out, TERM_RESET);
    for (size_t i = level->value_len; i < 7; i++) weft_buf_addc(out, ' ');
    weft_buf_addc(out, ' ');
}

static void add_member(weft_buf *out, const log_member *member, bool color) {
    bool bare = member->value[0] == '"' && member->value_len > 2;
    for (size_t i = 1; bare && i + 1 < member->value_len; i++)
        bare = member->value[i] > ' ' && !strchr("\"\\={}", member->value[i]);
    if (color) weft_buf_adds(out, TERM_DIM);
    weft_buf_addc(out, ' ');
    weft_buf_add(out, member->key, member->key_len);
    weft_buf_addc(out, '=');
    if (color) weft_buf_adds(out, TERM_RESET);
    weft_buf_add(out, member->value + (bare ? 1 : 0), member->value_len - (bare ? 2 : 0));
}

/* Length of a colour sequence (ESC [ … m) at the front, 0 if there is none. */
static size_t color_sequence(const char *text, size_t len) {
    if (len < 3 || text[0] != '\033' || text[1] != '[') return 0;
    for (size_t i = 2; i < len && i < 24; i++) {
        if (text[i] == 'm') return i + 1;
        if (text[i] != ';' && (text[i] < '0' || text[i] > '9')) return 0;
    }
    return 0;
}

static void add_plain(weft_buf *out, const char *line, size_t len, bool color) {
    bool colored = false;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)line[i];
        size_t sequence = color_sequence(line + i, len - i);
        if (sequence) {
            if (color) weft_buf_add(out, line + i, sequence);
            colored = color;
            i += sequence - 1;
        } else if ((c < 0x20 && c != '\t') || c == 0x7f) {
            weft_buf_printf(out, "\\x%02x", c);
        } else {
            weft_buf_addc(out, line[i]);
        }
    }
    if (colored) weft_buf_adds(out, TERM_RESET);
}

void log_line_text(const char *line, size_t len, bool color, weft_buf *out) {
    struct parts parts = parts_of(line, len);
    if (!parts.object) {
        add_plain(out, line, len, color);
        return;
    }
    if (parts.time.value) {
        if (color) weft_buf_adds(out, TERM_DIM);
        add_time(out, &parts.time);
        if (color) weft_buf_adds(out, TERM_RESET);
    }
    if (parts.level.value) add_level(out, &parts.level, color);
    add_unquoted(out, parts.message.value, parts.message.value_len);
    log_member member;
    size_t at = 0;
    while (log_object_next(line, len, &at, &member) > 0) {
        if (is(&member, "time") || is(&member, "level") || is(&member, "msg") ||
            is(&member, "service"))
            continue;
        if (member.value_len == 2 && member.value[0] == '"') continue;
        add_member(out, &member, color);
    }
}

void log_line_json(const char *line, size_t len, const char *service, int instance, int64_t wall_ns,
                   weft_buf *out) {
    log_member member;
    size_t at = 0, count = 0;
    int more;
    bool named = false;
    while ((more = log_object_next(line, len, &at, &member)) > 0) {
        count++;
        named = named || is(&member, "service");
    }
    char time[28];
    if (more == 0) {
        weft_buf_addc(out, '{');
        if (!named) {
            weft_buf_adds(out, "\"service\":\"");
            weft_buf_add_json(out, service, strlen(service));
            weft_buf_adds(out, count || instance >= 0 ? "\"," : "\"");
        }
        if (instance >= 0) weft_buf_printf(out, "\"instance\":%d%s", instance, count ? "," : "");
        const char *brace = memchr(line, '{', len);
        weft_buf_add(out, brace + 1, len - (size_t)(brace - line) - 1);
        return;
    }
    weft_buf_printf(out, "{\"time\":\"%s\",\"service\":\"", weft_time_format(wall_ns, time));
    weft_buf_add_json(out, service, strlen(service));
    if (instance >= 0)
        weft_buf_printf(out, "\",\"instance\":%d,\"msg\":\"", instance);
    else
        weft_buf_adds(out, "\",\"msg\":\"");
    weft_buf_add_json(out, line, len);
    weft_buf_adds(out, "\"}");
}
