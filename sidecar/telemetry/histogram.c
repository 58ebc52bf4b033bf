#include "sidecar/telemetry/histogram.h"

#define US INT64_C(1000)
#define MS (1000 * US)
#define S (1000 * MS)

const int64_t histogram_bounds[HISTOGRAM_BOUNDS] = {
    10 * US,   25 * US, 50 * US, 100 * US, 250 * US, 500 * US, 1 * MS,   2500 * US,
    5 * MS,    10 * MS, 25 * MS, 50 * MS,  100 * MS, 250 * MS, 500 * MS, 1 * S,
    2500 * MS, 5 * S,   10 * S,  25 * S,   50 * S,   100 * S,
};

const char *const histogram_labels[HISTOGRAM_BOUNDS + 1] = {
    "0.00001", "0.000025", "0.00005", "0.0001", "0.00025", "0.0005", "0.001", "0.0025",
    "0.005",   "0.01",     "0.025",   "0.05",   "0.1",     "0.25",   "0.5",   "1",
    "2.5",     "5",        "10",      "25",     "50",      "100",    "+Inf",
};

/* First bucket to look at for a duration with its highest bit at each place: that of 2^bit. */
static const uint8_t first_bucket[64] = {
    [14] = 1,  [15] = 2,  [16] = 3,  [17] = 4,  [18] = 5,  [19] = 6,  [20] = 7,  [21] = 7,
    [22] = 8,  [23] = 9,  [24] = 10, [25] = 11, [26] = 12, [27] = 13, [28] = 14, [29] = 15,
    [30] = 16, [31] = 16, [32] = 17, [33] = 18, [34] = 19, [35] = 20, [36] = 21,
};

static unsigned bucket_of(int64_t ns) {
    if (ns <= histogram_bounds[0]) return 0;
    if (ns > histogram_bounds[HISTOGRAM_BOUNDS - 1]) return HISTOGRAM_BOUNDS;
    unsigned i = first_bucket[63 - __builtin_clzll((uint64_t)ns)];
    while (i && ns <= histogram_bounds[i - 1]) i--;
    while (ns > histogram_bounds[i]) i++;
    return i;
}

void histogram_add(histogram *h, int64_t ns) {
    if (ns < 0) ns = 0;
    h->buckets[bucket_of(ns)]++;
    h->count++;
    h->sum += (uint64_t)ns;
}

void histogram_merge(histogram *to, const histogram *from) {
    for (unsigned i = 0; i <= HISTOGRAM_BOUNDS; i++) to->buckets[i] += from->buckets[i];
    to->count += from->count;
    to->sum += from->sum;
}

int64_t histogram_quantile(const histogram *h, double q) {
    const double rank = q * (double)h->count;
    double below = 0;
    if (!h->count) return 0;
    for (unsigned i = 0; i < HISTOGRAM_BOUNDS; i++) {
        const double here = (double)h->buckets[i];
        if (here > 0 && below + here >= rank) {
            const double low = i ? (double)histogram_bounds[i - 1] : 0;
            const double high = (double)histogram_bounds[i];
            return (int64_t)(low + (high - low) * (rank - below) / here);
        }
        below += here;
    }
    return histogram_bounds[HISTOGRAM_BOUNDS - 1];
}
