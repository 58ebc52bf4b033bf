/* What the files of sidecar/admin share. */
#ifndef SIDECAR_ADMIN_INTERNAL_H
#define SIDECAR_ADMIN_INTERNAL_H

#include <stdatomic.h>

#include "sidecar/admin/admin.h"
#include "weft/http1.h"
#include "weft/list.h"

/* ---- what a tour brings home: sum.c */

typedef struct sum_endpoint {
    char text[WEFT_ADDR_TEXT];
    char *host;
    uint32_t weight, priority;
    uint32_t seen, healthy, draining; /* how many workers have it, say so */
    uint32_t connections;
    uint32_t pending[LB_KINDS];
    uint64_t requests, failures;
    double cost[LB_KINDS]; /* ns, the mean of the workers that know one */
    uint32_t known[LB_KINDS];
} sum_endpoint;

typedef struct sum_class {
    config_thresholds limits;
    uint32_t connections, pending, requests, retries;
    uint64_t refused[4]; /* in that order */
} sum_class;

typedef struct sum_cluster {
    char *name;
    const char *policy;
    sum_class classes[CONFIG_CLASSES];
    uint64_t budget_left, budget_refused;
    bool panic;
    sum_endpoint *endpoints;
    size_t count, cap;
} sum_cluster;

enum { SUM_TRAVELS, SUM_ABANDONED, SUM_LOST };

/* Belongs to whoever's loop it is posted to. `state` alone is shared: the admin went away
 * (_ABANDONED: whoever has it frees it), or a worker found no way to post it (_LOST: the admin does). */
struct admin_sum {
    _Atomic int state;
    unsigned wants;
    net_loop *home;
    void (*arrived)(void *owner, admin_sum *sum);
    void *owner; /* only touched at home, and not if abandoned */
    admin_worker *workers;
    size_t worker_count, next;
    telemetry *total; /* NULL: not wanted, or no memory */
    sum_cluster *clusters;
    size_t count, cap, hint;
    uint64_t missing;
};

/* Sends a new sum on its way; `arrived` is called at home from a later turn, and owns it. WEFT_ENOMEM. */
int sum_send(net_loop *home, const admin_worker *workers, size_t count, unsigned wants,
             void (*arrived)(void *owner, admin_sum *sum), void *owner,
             admin_sum **out) WEFT_MUST_USE;
void sum_free(admin_sum *sum);
/* The owner goes away while it travels. */
void sum_abandon(admin_sum *sum);

/* ---- pages: into `out`, whose error says what is missing */

void page_config(const config_snapshot *snapshot, weft_buf *out);
void page_clusters(const admin_sum *sum, weft_buf *out);
void page_clusters_json(const admin_sum *sum, weft_buf *out);
void page_cluster_metrics(const admin_sum *sum, weft_buf *out);

struct admin_certs {
    weft_buf *out;
    size_t count;
};

/* "key": "text" with both escaped; `comma` first. */
void json_text(weft_buf *out, bool comma, const char *key, const char *text);

#endif
