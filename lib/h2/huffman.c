/* HPACK's Huffman code. The code is canonical: codes of one length follow each other in the order of their
 * symbols, and shorter ones come first. So the lengths of RFC 7541 appendix B say everything.
 *
 * Decoding looks 12 bits ahead: a row holds one or two symbols. Codes longer than that (13 to 30 bits; no
 * letter, digit or usual punctuation) are found by length. */
#include "lib/h2/huffman.h"

#include <pthread.h>
#include <string.h>

#define EOS 256
#define SYMBOLS 257
#define LOOK 12
#define LONGEST 30

static const uint8_t lengths[SYMBOLS] = {
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6,  10, 10, 12, 13, 6,  8,  11, 10, 10, 8,  11, 8,  6,  6,  6,
    5,  5,  5,  6,  6,  6,  6,  6,  6,  6,  7,  8,  15, 6,  12, 10, 13, 6,  7,  7,  7,  7,  7,  7,
    7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  8,  7,  8,  13, 19, 13, 14, 6,
    15, 5,  6,  5,  6,  5,  6,  6,  6,  5,  7,  7,  6,  6,  6,  5,  6,  7,  6,  5,  5,  6,  7,  7,
    7,  7,  7,  15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21,
    23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24,
    21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30};

/* A row of the decoding table; count 0: a longer code. */
typedef struct row {
    uint8_t symbols[2];
    uint8_t bits;  /* of all its symbols */
    uint8_t shape; /* count in the low 2 bits, bits of the first symbol above */
} row;

static uint32_t codes[SYMBOLS];      /* right-aligned */
static row rows[1u << LOOK];         /* by the next 12 bits */
static uint16_t by_code[SYMBOLS];    /* symbols in the order of their codes */
static uint32_t first[LONGEST + 2];  /* left-aligned first code of a length */
static uint16_t offset[LONGEST + 2]; /* its place in by_code */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void assign_codes(void) {
    uint32_t code = 0;
    uint16_t place = 0;
    for (unsigned bits = 1; bits <= LONGEST; bits++) {
        first[bits] = code << (32 - bits);
        offset[bits] = place;
        for (unsigned s = 0; s < SYMBOLS; s++) {
            if (lengths[s] != bits) continue;
            codes[s] = code++;
            by_code[place++] = (uint16_t)s;
        }
        code <<= 1;
    }
}

static void build(void) {
    assign_codes();
    for (unsigned s = 0; s < EOS; s++) {
        const unsigned bits = lengths[s];
        if (bits > LOOK) continue;
        row *r = &rows[codes[s] << (LOOK - bits)];
        for (unsigned left = 1u << (LOOK - bits); left; left--, r++) {
            *r = (row){{(uint8_t)s, 0}, (uint8_t)bits, (uint8_t)(1 | bits << 2)};
        }
    }
    /* A second symbol where the bits that are left hold one. */
    for (unsigned ahead = 0; ahead < 1u << LOOK; ahead++) {
        row *r = &rows[ahead];
        if (!r->shape) continue;
        const row *rest = &rows[ahead << r->bits & ((1u << LOOK) - 1)];
        const unsigned more = rest->shape >> 2;
        if (!more || r->bits + more > LOOK) continue;
        r->symbols[1] = rest->symbols[0];
        r->bits = (uint8_t)(r->bits + more);
        r->shape++;
    }
}

void huffman_init(void) { pthread_once(&once, build); }

/* One symbol of more than 12 bits at the top of `word`; *bits is its length. */
static int long_symbol(uint32_t word, unsigned *bits) {
    unsigned n = LOOK + 1;
    while (n < LONGEST && word >= first[n + 1]) n++;
    *bits = n;
    return by_code[offset[n] + ((word - first[n]) >> (32 - n))];
}

static uint64_t load64(const uint8_t *p) {
    uint64_t word;
    memcpy(&word, p, 8);
    return __builtin_bswap64(word);
}

/* The end of the text: fewer than 8 bytes from bit `at` on. */
static long decode_tail(const uint8_t *data, size_t len, size_t at, char *out, char *to) {
    uint8_t end[16];
    const size_t skip = at >> 3;
    memset(end, 0xff, sizeof end);
    if (skip < len) memcpy(end, data + skip, len - skip);
    const size_t total = (len - skip) * 8;
    size_t bit = at & 7;
    while (bit < total) {
        const uint64_t word = load64(end + (bit >> 3)) << (bit & 7);
        const row *r = &rows[word >> (64 - LOOK)];
        unsigned bits = r->shape >> 2;
        int symbol = r->symbols[0];
        if (!r->shape) symbol = long_symbol((uint32_t)(word >> 32), &bits);
        if (bit + bits > total) {
            /* Padding: at most 7 bits, all ones, that is a piece of EOS. */
            const size_t left = total - bit;
            return left < 8 && word >> (64 - left) == (1u << left) - 1 ? to - out : -1;
        }
        if (symbol == EOS) return -1;
        *to++ = (char)symbol;
        bit += bits;
    }
    return to - out;
}

long huffman_decode(const uint8_t *data, size_t len, char *out) {
    char *to = out;
    size_t at = 0; /* in bits */
    /* 57 bits at least are in a word: four looks of 12 bits, unless a long code comes. */
    while ((at >> 3) + 8 <= len) {
        uint64_t word = load64(data + (at >> 3)) << (at & 7);
        for (int look = 0; look < 4; look++) {
            const row *r = &rows[word >> (64 - LOOK)];
            if (__builtin_expect(!r->shape, 0)) {
                if (look) break; /* only a fresh word has all its bits for sure */
                unsigned bits = 0;
                const int symbol = long_symbol((uint32_t)(word >> 32), &bits);
                if (symbol == EOS) return -1;
                *to++ = (char)symbol;
                at += bits;
                break;
            }
            memcpy(to, r->symbols, 2);
            to += r->shape & 3;
            word <<= r->bits;
            at += r->bits;
        }
    }
    return decode_tail(data, len, at, out, to);
}

size_t huffman_size(const char *text, size_t len) {
    size_t bits = 0;
    for (size_t i = 0; i < len; i++) bits += lengths[(unsigned char)text[i]];
    return (bits + 7) / 8;
}

void huffman_encode(const char *text, size_t len, uint8_t *out) {
    uint64_t pending = 0;
    unsigned have = 0;
    for (size_t i = 0; i < len; i++) {
        const unsigned symbol = (unsigned char)text[i];
        pending = pending << lengths[symbol] | codes[symbol];
        for (have += lengths[symbol]; have >= 8; have -= 8) {
            *out++ = (uint8_t)(pending >> (have - 8));
        }
    }
    if (have) *out = (uint8_t)(pending << (8 - have) | 0xffu >> have);
}
