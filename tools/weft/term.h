/* Whether and how to colour what is printed. */
#ifndef TOOLS_WEFT_TERM_H
#define TOOLS_WEFT_TERM_H

#include <stdbool.h>

#define TERM_RESET "\033[0m"
#define TERM_BOLD "\033[1m"
#define TERM_DIM "\033[2m"
#define TERM_RED "\033[31m"
#define TERM_GREEN "\033[32m"
#define TERM_YELLOW "\033[33m"

/* True when `fd` is a terminal that shows colours and the user did not say NO_COLOR (https://no-color.org). */
bool term_color(int fd);

/* The n-th of the colours that tell services apart; any n. */
const char *term_palette(unsigned n);

#endif
