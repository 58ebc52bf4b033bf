/* The help text and the reference page of a flag table. */
#include "weft/flags.h"

#include <string.h>

#define WIDTH 80u
#define NAMES_WIDTH 30u /* names wider than this have their help start on the next line */

const char *weft_flag_value_name(const weft_flag *flag) {
    if (flag->value) return flag->type == WEFT_FLAG_BOOL ? NULL : flag->value;
    switch (flag->type) {
    case WEFT_FLAG_STRING:
    case WEFT_FLAG_LIST:
        return "TEXT";
    case WEFT_FLAG_INT:
    case WEFT_FLAG_DOUBLE:
        return "NUMBER";
    case WEFT_FLAG_DURATION:
        return "DURATION";
    case WEFT_FLAG_SIZE:
        return "SIZE";
    case WEFT_FLAG_ADDRESS:
        return "ADDRESS";
    case WEFT_FLAG_ENUM:
        return "NAME";
    case WEFT_FLAG_BOOL:
        break;
    }
    return NULL;
}

/* A switch that is on from the start is documented by the way to turn it off. */
static const char *negation(const weft_flag *flag) {
    const bool on = flag->initial && strcmp(flag->initial, "true") == 0;
    return flag->type == WEFT_FLAG_BOOL && on ? "no-" : "";
}

/* "-l, --listen ADDRESS" */
static void add_names(const weft_flag *flag, weft_buf *out) {
    const char *value = weft_flag_value_name(flag);
    if (flag->letter)
        weft_buf_printf(out, "-%c, ", flag->letter);
    else
        weft_buf_adds(out, "    ");
    weft_buf_printf(out, "--%s%s", negation(flag), flag->name);
    if (value) weft_buf_printf(out, " %s", value);
}

/* The help sentences, then what the table knows in brackets. */
static void add_description(const weft_flag *flag, weft_buf *out) {
    weft_buf range;
    weft_buf_init(&range, 4096);
    if (flag->help) weft_buf_adds(out, flag->help);
    if (weft_flag_add_range(flag, &range)) out->error = range.error;
    if (range.len) weft_buf_printf(out, " [%s]", weft_buf_str(&range));
    weft_buf_free(&range);
    if (flag->initial && *flag->initial && flag->type != WEFT_FLAG_BOOL)
        weft_buf_printf(out, " [default: %s]", flag->initial);
    if (flag->required) weft_buf_adds(out, " [required]");
    if (flag->type == WEFT_FLAG_LIST) weft_buf_adds(out, " [may be given again]");
    if (flag->env) weft_buf_printf(out, " [env: %s]", flag->env);
}

static void add_spaces(weft_buf *out, size_t count) {
    while (count--) weft_buf_addc(out, ' ');
}

/* Appends words, broken at blanks, from column `at` on; further lines begin at column `indent`. */
static void add_wrapped(weft_buf *out, const char *text, size_t at, size_t indent) {
    bool first = true;
    for (;;) {
        text += strspn(text, " \n");
        const size_t len = strcspn(text, " \n");
        if (!len) return;
        if (!first && at + 1 + len > WIDTH) {
            weft_buf_addc(out, '\n');
            add_spaces(out, indent);
            at = indent;
        } else if (!first) {
            weft_buf_addc(out, ' ');
            at++;
        }
        weft_buf_add(out, text, len);
        at += len;
        text += len;
        first = false;
    }
}

static size_t names_width(const weft_flags *flags) {
    size_t widest = strlen("-h, --help");
    for (size_t i = 0; i < flags->count; i++) {
        const weft_flag *flag = &flags->table[i];
        const char *value = weft_flag_value_name(flag);
        if (flag->hidden) continue;
        const size_t width = strlen("-x, --") + strlen(negation(flag)) + strlen(flag->name) +
                             (value ? 1 + strlen(value) : 0);
        if (width <= NAMES_WIDTH && width > widest) widest = width;
    }
    return widest;
}

static void add_help_row(const char *names, size_t column, const char *text, weft_buf *out) {
    const size_t len = strlen(names);
    weft_buf_printf(out, "  %s", names);
    if (len + 4 > column) {
        weft_buf_addc(out, '\n');
        add_spaces(out, column);
    } else {
        add_spaces(out, column - len - 2);
    }
    add_wrapped(out, text, column, column);
    weft_buf_addc(out, '\n');
}

int weft_flags_help(const weft_flags *flags, weft_buf *out) {
    const size_t column = names_width(flags) + 4;
    bool own_help = false;
    weft_buf_printf(out, "usage: %s [flags]", flags->program);
    if (flags->usage) weft_buf_printf(out, " %s", flags->usage);
    weft_buf_adds(out, "\n");
    if (flags->about) {
        weft_buf_addc(out, '\n');
        add_wrapped(out, flags->about, 0, 0);
        weft_buf_addc(out, '\n');
    }
    weft_buf_adds(out, "\nflags:\n");
    for (size_t i = 0; i < flags->count; i++) {
        const weft_flag *flag = &flags->table[i];
        weft_buf names;
        weft_buf text;
        if (!strcmp(flag->name, "help")) own_help = true;
        if (flag->hidden) continue;
        weft_buf_init(&names, 1024);
        weft_buf_init(&text, 16384);
        add_names(flag, &names);
        add_description(flag, &text);
        if (names.error || text.error) out->error = names.error ? names.error : text.error;
        add_help_row(weft_buf_str(&names), column, weft_buf_str(&text), out);
        weft_buf_free(&names);
        weft_buf_free(&text);
    }
    if (!own_help) add_help_row("-h, --help", column, "Show this text.", out);
    return out->error;
}

/* A cell of a Markdown table: '|' would end it. */
static void add_cell(weft_buf *out, const char *text, bool code) {
    if (*text) weft_buf_adds(out, code ? " `" : " ");
    for (; *text; text++) {
        if (*text == '|') weft_buf_addc(out, '\\');
        weft_buf_addc(out, *text == '\n' ? ' ' : *text);
        if (!text[1] && code) weft_buf_addc(out, '`');
    }
    weft_buf_adds(out, " |");
}

int weft_flags_markdown(const weft_flags *flags, weft_buf *out) {
    weft_buf_adds(out, "| flag | value | default | allowed | environment | meaning |\n"
                       "|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < flags->count; i++) {
        const weft_flag *flag = &flags->table[i];
        const char *value = weft_flag_value_name(flag);
        const char *initial = flag->initial ? flag->initial : "";
        weft_buf cell;
        if (flag->hidden) continue;
        weft_buf_init(&cell, 4096);
        weft_buf_addc(out, '|');
        weft_buf_printf(&cell, "--%s%s", flag->type == WEFT_FLAG_BOOL ? "[no-]" : "", flag->name);
        add_cell(out, weft_buf_str(&cell), true);
        add_cell(out, value ? value : "", false);
        add_cell(out, flag->type == WEFT_FLAG_BOOL && !*initial ? "false" : initial, true);
        if (cell.error) out->error = cell.error;
        weft_buf_clear(&cell);
        if (weft_flag_add_range(flag, &cell)) out->error = cell.error;
        if (flag->required) weft_buf_adds(&cell, cell.len ? "; required" : "required");
        add_cell(out, weft_buf_str(&cell), false);
        add_cell(out, flag->env ? flag->env : "", true);
        add_cell(out, flag->help ? flag->help : "", false);
        weft_buf_addc(out, '\n');
        weft_buf_free(&cell);
    }
    return out->error;
}
