/* UTF-8, strict as RFC 3629 and Unicode chapter 3: no overlong form, no surrogate, nothing above
 * U+10FFFF. All functions are pure: any thread, no allocation. */
#ifndef WEFT_UTF8_H
#define WEFT_UTF8_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* 1 when all `size` bytes are well-formed UTF-8 (the empty text is), else 0. `data` may be NULL when size
 * is 0. U+0000 is a character like any other. */
int weft_utf8_valid(const void *data, size_t size);

/* Length in bytes of the longest well-formed prefix; equals `size` when all of it is valid. */
size_t weft_utf8_prefix(const void *data, size_t size);

/* Reads the character at the front of `size` (> 0) bytes. Returns its length, 1 to 4, and stores it in
 * `*point`; or returns -n, where the first n (1 to 3) bytes are an ill-formed "maximal subpart" that one
 * U+FFFD replaces (Unicode 3.9, table 3-8), and stores 0xFFFD. */
int weft_utf8_decode(const void *data, size_t size, uint32_t *point);

/* Writes `point` and returns how many bytes that took, 1 to 4. A surrogate or a point above U+10FFFF is
 * written as U+FFFD. No '\0' is appended. */
size_t weft_utf8_encode(uint32_t point, char out[4]);

#ifdef __cplusplus
}
#endif
#endif
