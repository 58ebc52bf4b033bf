#include "tools/weft/term.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool term_color(int fd) {
    const char *no = getenv("NO_COLOR");
    const char *term = getenv("TERM");
    return isatty(fd) && !(no && *no) && !(term && strcmp(term, "dumb") == 0);
}

const char *term_palette(unsigned n) {
    static const char *const colors[] = {"\033[36m", "\033[35m", "\033[32m", "\033[34m",
                                         "\033[33m", "\033[96m", "\033[95m", "\033[92m"};
    return colors[n % (sizeof colors / sizeof *colors)];
}
