/* SipHash-1-3: the keyed hash of map.c. https://cr.yp.to/siphash/siphash-20120918.pdf, section 2 */
#include "weft/map.h"

#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "SipHash here reads words in little-endian order"
#endif

static inline uint64_t rotl(uint64_t x, int k) { return x << k | x >> (64 - k); }

static inline void sip_round(uint64_t v[4]) {
    v[0] += v[1];
    v[1] = rotl(v[1], 13) ^ v[0];
    v[0] = rotl(v[0], 32);
    v[2] += v[3];
    v[3] = rotl(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotl(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotl(v[1], 17) ^ v[2];
    v[2] = rotl(v[2], 32);
}

uint64_t weft_siphash13(const void *data, size_t size, uint64_t key0, uint64_t key1) {
    /* "somepseudorandomlygeneratedbytes" */
    uint64_t v[4] = {
        key0 ^ UINT64_C(0x736f6d6570736575),
        key1 ^ UINT64_C(0x646f72616e646f6d),
        key0 ^ UINT64_C(0x6c7967656e657261),
        key1 ^ UINT64_C(0x7465646279746573),
    };
    const unsigned char *at = data;
    const uint64_t last = (uint64_t)size << 56;
    for (; size >= 8; at += 8, size -= 8) {
        uint64_t word = 0;
        memcpy(&word, at, 8);
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    uint64_t tail = 0;
    if (size) memcpy(&tail, at, size);
    tail |= last;
    v[3] ^= tail;
    sip_round(v);
    v[0] ^= tail;
    v[2] ^= 0xFF;
    for (int i = 0; i < 3; i++) sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}
