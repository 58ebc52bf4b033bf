/* What the fuzzers of both roles share: an engine, an application that does a bit of everything, and bytes. */
#ifndef TESTS_FUZZ_FUZZ_H2_H
#define TESTS_FUZZ_FUZZ_H2_H

#include "weft/h2.h"

/* The first byte chooses limits (2 bits), whether the peer's opening is given (1 bit) and the size of pieces
 * (the rest); the second seeds the application. */
int fuzz_h2(h2_role role, const uint8_t *data, size_t size);

#endif
