/* Classic histogram of durations, 10 µs to 100 s in steps of 1, 2.5, 5 (features.md "Observability").
 * One worker writes; whoever merges reads on that worker. */
#ifndef SIDECAR_TELEMETRY_HISTOGRAM_H
#define SIDECAR_TELEMETRY_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_BOUNDS 22u /* upper bounds; one more bucket is +Inf */

typedef struct histogram {
    uint64_t buckets[HISTOGRAM_BOUNDS + 1]; /* not cumulated */
    uint64_t count;
    uint64_t sum; /* ns; wraps after 584 years of waiting */
} histogram;

/* Upper bounds, inclusive, ns, ascending; and as Prometheus writes them ("0.00025"). */
extern const int64_t histogram_bounds[HISTOGRAM_BOUNDS];
extern const char *const histogram_labels[HISTOGRAM_BOUNDS + 1]; /* the last is "+Inf" */

/* Negative durations count as 0. */
void histogram_add(histogram *h, int64_t ns);
void histogram_merge(histogram *to, const histogram *from);

/* The duration below which a share `q` (0 … 1) lies, by linear interpolation; 0 when empty; the last
 * bound for what lies beyond it. */
int64_t histogram_quantile(const histogram *h, double q);

#endif
