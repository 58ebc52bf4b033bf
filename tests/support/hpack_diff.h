/* HPACK against libnghttp2, both ways, with random fields and tables of changing size. */
#ifndef TESTS_SUPPORT_HPACK_DIFF_H
#define TESTS_SUPPORT_HPACK_DIFF_H

#include <stddef.h>
#include <stdint.h>

/* Our encoder into its decoder, and its encoder into ours, until `fields` fields went each way. Returns NULL,
 * or a sentence about the first difference (static memory). */
const char *hpack_diff_encode(uint64_t seed, size_t fields);
const char *hpack_diff_decode(uint64_t seed, size_t fields);

#endif
