/* The Huffman code of HPACK, RFC 7541 section 5.2 and appendix B. */
#ifndef LIB_H2_HUFFMAN_H
#define LIB_H2_HUFFMAN_H

#include <stddef.h>
#include <stdint.h>

/* Builds the tables; cheap after the first time. Call before anything else. Any thread. */
void huffman_init(void);

/* Room that decoding `len` bytes may need: the shortest code has 5 bits; some slack for wide stores. */
#define HUFFMAN_DECODED_MAX(len) ((size_t)(len)*8 / 5 + 8)

/* Decodes into out[HUFFMAN_DECODED_MAX(len)] and returns the length, or -1: EOS in the text, or padding that
 * is longer than 7 bits or not ones. */
long huffman_decode(const uint8_t *data, size_t len, char *out);

/* Bytes that `text` takes encoded. */
size_t huffman_size(const char *text, size_t len);

/* Encodes into out[huffman_size(text, len)]. */
void huffman_encode(const char *text, size_t len, uint8_t *out);

#endif
