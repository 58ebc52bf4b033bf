/* Durations in buckets a quarter of an octave wide. */
#include <string.h>

#include "services/telemetry/telemetry.h"

#define LEAST 1024 /* ns: where bucket 1 begins; bucket 0 is all below */

/* 1024 << n/4, and a quarter of it for each further one: linear within an octave. */
static uint32_t bucket_of(int64_t ns) {
    if (ns < LEAST) return 0;
    const uint64_t value = (uint64_t)ns;
    const unsigned octave = 63u - (unsigned)__builtin_clzll(value); /* at least 10 */
    const unsigned quarter = (unsigned)(value >> (octave - 2)) & 3u;
    const uint32_t at = 1 + (octave - 10) * 4 + quarter;
    return at < TEL_BUCKETS ? at : TEL_BUCKETS - 1;
}

static int64_t upper_end(uint32_t bucket) {
    if (!bucket) return LEAST;
    const unsigned octave = 10 + (bucket - 1) / 4, quarter = (bucket - 1) % 4;
    return (INT64_C(1) << octave) + (INT64_C(1) << (octave - 2)) * (int64_t)(quarter + 1);
}

void tel_histogram_add(tel_histogram *h, int64_t ns) {
    uint32_t *count = &h->counts[bucket_of(ns)];
    if (*count < UINT32_MAX) ++*count;
}

void tel_histogram_merge(tel_histogram *to, const tel_histogram *from) {
    for (uint32_t i = 0; i < TEL_BUCKETS; i++)
        if (__builtin_add_overflow(to->counts[i], from->counts[i], &to->counts[i]))
            to->counts[i] = UINT32_MAX;
}

int64_t tel_histogram_quantile(const tel_histogram *h, double q) {
    uint64_t all = 0, below = 0;
    for (uint32_t i = 0; i < TEL_BUCKETS; i++) all += h->counts[i];
    if (!all) return 0;
    uint64_t rank = (uint64_t)(q * (double)all);
    if (rank >= all) rank = all - 1;
    for (uint32_t i = 0; i < TEL_BUCKETS; i++) {
        below += h->counts[i];
        if (below > rank) return upper_end(i);
    }
    return upper_end(TEL_BUCKETS - 1);
}

/* A bucket is its number and its count, 5 bytes, the lowest byte first. */
void tel_histogram_write(const tel_histogram *h, weft_buf *out) {
    for (uint32_t i = 0; i < TEL_BUCKETS; i++) {
        const uint32_t n = h->counts[i];
        const uint8_t bytes[5] = {(uint8_t)i, (uint8_t)n, (uint8_t)(n >> 8), (uint8_t)(n >> 16),
                                  (uint8_t)(n >> 24)};
        if (n) (void)weft_buf_add(out, bytes, sizeof bytes);
    }
}

void tel_histogram_read(tel_histogram *h, const void *data, size_t len) {
    memset(h, 0, sizeof *h);
    const uint8_t *at = data;
    for (; len >= 5 && at[0] < TEL_BUCKETS; at += 5, len -= 5)
        h->counts[at[0]] =
            (uint32_t)at[1] | (uint32_t)at[2] << 8 | (uint32_t)at[3] << 16 | (uint32_t)at[4] << 24;
}
