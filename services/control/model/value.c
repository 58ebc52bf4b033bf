/* Names and durations as documents write them. */
#include <string.h>

#include "services/control/model/internal.h"
#include "weft/clock.h"

static bool lower_digit(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }
static bool letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

static bool label_valid(const char *text, size_t len) {
    if (!len || len > 63 || text[0] == '-' || text[len - 1] == '-') return false;
    for (size_t i = 0; i < len; i++)
        if (!lower_digit(text[i]) && text[i] != '-') return false;
    return true;
}

bool model_label_valid(const char *text) { return label_valid(text, strlen(text)); }

bool model_name_split(const char *text, const char *home, char service[64], char name_space[64]) {
    const char *dot = strchr(text, '.');
    const size_t len = dot ? (size_t)(dot - text) : strlen(text);
    const char *space = dot ? dot + 1 : home;
    if (!label_valid(text, len) || !model_label_valid(space)) return false;
    memcpy(service, text, len);
    service[len] = '\0';
    memcpy(name_space, space, strlen(space) + 1);
    return true;
}

bool model_domain_valid(const char *text) {
    const size_t len = strlen(text);
    if (!len || len > 255) return false;
    for (size_t i = 0; i < len; i++)
        if (!lower_digit(text[i]) && !strchr(".-_", text[i])) return false;
    return true;
}

bool model_identifier_valid(const char *text) {
    if (!letter(*text)) return false;
    for (; *text; text++)
        if (!letter(*text) && !(*text >= '0' && *text <= '9')) return false;
    return true;
}

bool model_grpc_service_valid(const char *text) {
    for (;;) {
        if (!letter(*text)) return false;
        while (letter(*text) || (*text >= '0' && *text <= '9')) text++;
        if (!*text) return true;
        if (*text++ != '.') return false;
    }
}

bool model_header_valid(const char *text) {
    if (!*text) return false;
    for (; *text; text++)
        if (!letter(*text) && !(*text >= '0' && *text <= '9') && !strchr("!#$%&'*+-.^`|~", *text))
            return false;
    return true;
}

/* ---- durations: GEP-2257, ([0-9]{1,5}(h|m|s|ms)){1,4} */

static const struct {
    const char *unit;
    int64_t ns;
} units[] = {
    {"h", 3600 * WEFT_NS_PER_S},
    {"ms", WEFT_NS_PER_MS}, /* before "m" */
    {"m", 60 * WEFT_NS_PER_S},
    {"s", WEFT_NS_PER_S},
};
#define UNITS (sizeof units / sizeof *units)

int64_t model_duration(const char *text) {
    int64_t total = 0;
    unsigned parts = 0;
    do {
        int64_t number = 0;
        unsigned digits = 0;
        for (; *text >= '0' && *text <= '9'; text++, digits++)
            if (digits < 5) number = number * 10 + (*text - '0');
        size_t i = 0;
        while (i < UNITS && strncmp(text, units[i].unit, strlen(units[i].unit)) != 0) i++;
        if (!digits || digits > 5 || i == UNITS || ++parts > 4) return -1;
        text += strlen(units[i].unit);
        total += number * units[i].ns;
    } while (*text);
    return total;
}

const char *model_duration_text(weft_arena *arena, int64_t ns) {
    static const size_t order[] = {0, 2, 3, 1};
    for (size_t i = 0; i < UNITS; i++) {
        const int64_t unit = units[order[i]].ns;
        if (ns && ns % unit) continue;
        const char *text =
            ns ? weft_arena_printf(arena, "%lld%s", (long long)(ns / unit), units[order[i]].unit)
               : "0s";
        return text ? text : "";
    }
    return "0s";
}
