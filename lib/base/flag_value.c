/* One flag, one text: parse, check against the row, store. */
#include "weft/flags.h"

#include <string.h>

#include "weft/num.h"

/* A parsed value of any type. Numbers of every type are also compared as such. */
typedef struct flag_value {
    int64_t i;  /* int, duration, bool, enum */
    uint64_t u; /* size, length of a string */
    double d;
    weft_addr address;
} flag_value;

static const char *expected(const weft_flag *flag) {
    switch (flag->type) {
    case WEFT_FLAG_INT:
        return weft_num_expected(WEFT_NUM_INT64);
    case WEFT_FLAG_DOUBLE:
        return weft_num_expected(WEFT_NUM_DOUBLE);
    case WEFT_FLAG_BOOL:
        return weft_num_expected(WEFT_NUM_BOOL);
    case WEFT_FLAG_DURATION:
        return weft_num_expected(WEFT_NUM_DURATION);
    case WEFT_FLAG_SIZE:
        return weft_num_expected(WEFT_NUM_SIZE);
    case WEFT_FLAG_ADDRESS:
        return "an address";
    case WEFT_FLAG_STRING:
    case WEFT_FLAG_LIST:
    case WEFT_FLAG_ENUM:
        break;
    }
    return "a text";
}

static size_t choices_count(const weft_flag *flag) {
    size_t count = 0;
    while (flag->choices && flag->choices[count]) count++;
    return count;
}

/* The text as a value of the type, whatever the range. `*detail` gets the reason of a bad address. */
static int convert(const weft_flag *flag, const char *text, flag_value *value,
                   const char **detail) {
    int truth = 0;
    int rc = 0;
    switch (flag->type) {
    case WEFT_FLAG_STRING:
    case WEFT_FLAG_LIST:
        value->u = strlen(text);
        return 0;
    case WEFT_FLAG_INT:
        return weft_parse_int64(text, &value->i);
    case WEFT_FLAG_DOUBLE:
        return weft_parse_double(text, &value->d);
    case WEFT_FLAG_BOOL:
        rc = weft_parse_bool(text, &truth);
        value->i = truth;
        return rc;
    case WEFT_FLAG_DURATION:
        return weft_parse_duration(text, &value->i);
    case WEFT_FLAG_SIZE:
        return weft_parse_size(text, &value->u);
    case WEFT_FLAG_ADDRESS:
        return weft_addr_parse(text, &value->address, detail);
    case WEFT_FLAG_ENUM:
        for (size_t i = 0; i < choices_count(flag); i++) {
            if (strcmp(flag->choices[i], text) != 0) continue;
            value->i = (int64_t)i;
            return 0;
        }
        return WEFT_EPARSE;
    }
    return WEFT_EPARSE;
}

/* Reads an end of the range; strings and lists measure in bytes. */
static int convert_limit(const weft_flag *flag, const char *text, flag_value *value) {
    const char *ignored = NULL;
    if (flag->type == WEFT_FLAG_STRING || flag->type == WEFT_FLAG_LIST)
        return weft_parse_size(text, &value->u);
    return convert(flag, text, value, &ignored);
}

static int compare(const weft_flag *flag, const flag_value *a, const flag_value *b) {
    switch (flag->type) {
    case WEFT_FLAG_STRING:
    case WEFT_FLAG_LIST:
    case WEFT_FLAG_SIZE:
        return (a->u > b->u) - (a->u < b->u);
    case WEFT_FLAG_INT:
    case WEFT_FLAG_DURATION:
        return (a->i > b->i) - (a->i < b->i);
    case WEFT_FLAG_DOUBLE:
        return (a->d > b->d) - (a->d < b->d);
    case WEFT_FLAG_BOOL:
    case WEFT_FLAG_ADDRESS:
    case WEFT_FLAG_ENUM:
        break;
    }
    return 0;
}

static int in_range(const weft_flag *flag, const flag_value *value) {
    flag_value limit = {0};
    if (flag->min && !convert_limit(flag, flag->min, &limit) && compare(flag, value, &limit) < 0)
        return 0;
    if (flag->max && !convert_limit(flag, flag->max, &limit) && compare(flag, value, &limit) > 0)
        return 0;
    return 1;
}

int weft_flag_add_range(const weft_flag *flag, weft_buf *out) {
    const char *unit =
        flag->type == WEFT_FLAG_STRING || flag->type == WEFT_FLAG_LIST ? " bytes" : "";
    if (flag->type == WEFT_FLAG_ENUM) {
        const size_t count = choices_count(flag);
        for (size_t i = 0; i < count; i++) {
            if (i) weft_buf_adds(out, i + 1 < count ? ", " : " or ");
            weft_buf_adds(out, flag->choices[i]);
        }
    } else if (flag->min && flag->max) {
        weft_buf_printf(out, "%s to %s%s", flag->min, flag->max, unit);
    } else if (flag->min) {
        weft_buf_printf(out, "at least %s%s", flag->min, unit);
    } else if (flag->max) {
        weft_buf_printf(out, "at most %s%s", flag->max, unit);
    }
    return out->error;
}

/* "max-streams: "x" is not a whole number (allowed: 1 to 1000)", without its path. */
static int explain(const weft_flag *flag, const char *text, int rc, const char *detail,
                   weft_arena *arena, const char **why, const char **hint) {
    weft_buf allowed;
    weft_buf_init(&allowed, 4096);
    (void)weft_flag_add_range(flag, &allowed);
    const char *range = weft_buf_str(&allowed);
    const char *note = *range ? weft_arena_printf(arena, "; allowed: %s", range) : "";
    if (flag->type == WEFT_FLAG_ENUM) {
        const char *near = weft_suggest(text, flag->choices, choices_count(flag));
        *why = weft_arena_printf(arena, "\"%s\" is not one of %s", text, range);
        if (near) *hint = weft_arena_printf(arena, "did you mean \"%s\"?", near);
    } else if (detail) {
        *why = weft_arena_printf(arena, "\"%s\": %s", text, detail);
    } else if (rc == WEFT_ELIMIT &&
               (flag->type == WEFT_FLAG_STRING || flag->type == WEFT_FLAG_LIST)) {
        *why = weft_arena_printf(arena, "\"%s\" has %zu bytes%s", text, strlen(text),
                                 note ? note : "");
    } else if (rc == WEFT_ELIMIT) {
        *why = weft_arena_printf(arena, "%s is out of range%s", text, note ? note : "");
    } else {
        *why =
            weft_arena_printf(arena, "\"%s\" is not %s%s", text, expected(flag), note ? note : "");
    }
    weft_buf_free(&allowed);
    if (!*why) *why = "the value is not allowed, and there is no memory left to say why";
    return WEFT_EPARSE;
}

static int append_item(weft_flag_list *list, const char *text, weft_arena *arena) {
    const char **items = weft_arena_alloc(arena, (list->count + 2) * sizeof *items);
    const char *copy = items ? weft_arena_strdup(arena, text) : NULL;
    if (!copy) return WEFT_ENOMEM;
    if (list->count) memcpy(items, list->items, list->count * sizeof *items);
    items[list->count] = copy;
    items[list->count + 1] = NULL;
    *list = (weft_flag_list){items, list->count + 1};
    return 0;
}

static int store_value(const weft_flag *flag, const char *text, const flag_value *value,
                       weft_arena *arena) {
    const char *copy = NULL;
    switch (flag->type) {
    case WEFT_FLAG_STRING:
        copy = weft_arena_strdup(arena, text);
        if (!copy) return WEFT_ENOMEM;
        *flag->to.string = copy;
        break;
    case WEFT_FLAG_INT:
        *flag->to.integer = value->i;
        break;
    case WEFT_FLAG_DOUBLE:
        *flag->to.real = value->d;
        break;
    case WEFT_FLAG_BOOL:
        *flag->to.boolean = value->i != 0;
        break;
    case WEFT_FLAG_DURATION:
        *flag->to.duration = value->i;
        break;
    case WEFT_FLAG_SIZE:
        *flag->to.size = value->u;
        break;
    case WEFT_FLAG_ADDRESS:
        *flag->to.address = value->address;
        break;
    case WEFT_FLAG_ENUM:
        *flag->to.choice = (int)value->i;
        break;
    case WEFT_FLAG_LIST:
        return append_item(flag->to.list, text, arena);
    }
    return 0;
}

int weft_flag_parse(const weft_flag *flag, const char *text, weft_arena *arena, bool store,
                    const char **why, const char **hint) {
    const char *ignored = NULL;
    const char *detail = NULL;
    flag_value value = {0};
    if (!why) why = &ignored;
    if (!hint) hint = &ignored;
    *why = *hint = NULL;
    int rc = convert(flag, text, &value, &detail);
    if (!rc && !in_range(flag, &value)) rc = WEFT_ELIMIT;
    if (rc) return explain(flag, text, rc, detail, arena, why, hint);
    return store ? store_value(flag, text, &value, arena) : 0;
}

/* The ends of the range are readable, in order, and of a type that has an order. */
static const char *check_range(const weft_flag *flag) {
    flag_value min = {0};
    flag_value max = {0};
    if (!flag->min && !flag->max) return NULL;
    if (flag->type == WEFT_FLAG_BOOL || flag->type == WEFT_FLAG_ENUM ||
        flag->type == WEFT_FLAG_ADDRESS)
        return "this type has no range";
    if (flag->min && convert_limit(flag, flag->min, &min)) return "min cannot be read";
    if (flag->max && convert_limit(flag, flag->max, &max)) return "max cannot be read";
    if (flag->min && flag->max && compare(flag, &min, &max) > 0) return "min is above max";
    return NULL;
}

static const char *check_row(const weft_flag *flag) {
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789-";
    const size_t len = flag->name ? strlen(flag->name) : 0;
    if (!len || strspn(flag->name, allowed) != len || flag->name[0] == '-')
        return "a name is made of lower-case letters, digits and '-'";
    if (!strncmp(flag->name, "no-", 3)) return "a name must not begin with no-";
    const unsigned char letter = (unsigned char)flag->letter;
    if (letter && !((letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z')))
        return "a short name is a letter";
    if (!flag->to.string) return "there is no target";
    if ((flag->type == WEFT_FLAG_ENUM) != (choices_count(flag) > 0))
        return "choices belong to an enum, and an enum needs them";
    return check_range(flag);
}

int weft_flags_check(const weft_flags *flags, weft_diags *problems) {
    int rc = 0;
    for (size_t i = 0; i < flags->count; i++) {
        const weft_flag *flag = &flags->table[i];
        const char *why = check_row(flag);
        for (size_t j = 0; j < i && !why; j++) {
            const weft_flag *other = &flags->table[j];
            if (!strcmp(other->name ? other->name : "", flag->name)) why = "the name is taken";
            if (flag->letter && other->letter == flag->letter) why = "the letter is taken";
            if (flag->env && other->env && !strcmp(flag->env, other->env))
                why = "the variable is taken";
        }
        flag_value value = {0};
        const char *ignored = NULL;
        if (!why && flag->initial && flag->type != WEFT_FLAG_LIST &&
            (convert(flag, flag->initial, &value, &ignored) || !in_range(flag, &value)))
            why = "the initial value is not allowed";
        if (!why) continue;
        (void)weft_diag_add(problems, NULL, 0, 0, flag->name, NULL, "%s", why);
        rc = WEFT_EINVAL;
    }
    return rc;
}
