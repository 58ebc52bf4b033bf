/* What the files of the server share: server.c, dispatch.c, listen.c, pool.c, health.c, reflection.c. */
#ifndef RPC_SERVER_H
#define RPC_SERVER_H

#include "internal.h"
#include "weft/map.h"
#include "weft/pb.h"

/* ---- pool: worker threads, made on demand */

typedef struct rpc_task {
    struct rpc_task *next;
    void (*run)(struct rpc_task *task);
} rpc_task;

typedef struct rpc_pool rpc_pool;

/* `shared` threads at most for short tasks; a long one (a stream) always gets a thread. */
rpc_pool *rpc_pool_new(int shared);
/* WEFT_ENOMEM: no thread could be made for it and none is there to come round to it. The queue holds what
 * its callers own: its length is bounded by max_calls. */
int rpc_pool_submit(rpc_pool *pool, rpc_task *task, bool is_long);
void rpc_pool_free(rpc_pool *pool); /* after its last task; joins. NULL allowed */

/* ---- health */

typedef struct rpc_health rpc_health;
rpc_health *rpc_health_new(void);
void rpc_health_free(rpc_health *health);
int rpc_health_set(rpc_health *health, const char *service, weft_serving serving);
/* Everything NOT_SERVING, for ever; ends the watches. */
void rpc_health_drain(rpc_health *health);
int rpc_health_serve(weft_server *server, rpc_health *health);

/* ---- reflection */

int rpc_reflection_serve(weft_server *server);

/* ---- server */

typedef struct rpc_service {
    const weft_service_info *info;
    struct rpc_entry *entries; /* in the order of info->methods */
    void *user;
    struct rpc_service *next; /* in the order of registration */
} rpc_service;

typedef struct rpc_entry {
    const weft_method *method;
    weft_handler handler;
    const rpc_service *service;
} rpc_entry;

typedef enum rpc_server_state { RPC_NEW, RPC_STARTED, RPC_DRAINING, RPC_STOPPED } rpc_server_state;

struct weft_server {
    weft_server_options options; /* defaults filled in */
    const weft_transport *transport;
    tp_server *lower;
    char *error; /* the first one */
    int error_code;
    bool unsafe;
    weft_map methods;  /* path: rpc_entry */
    weft_map services; /* name: rpc_service */
    rpc_service *first, **last;
    weft_registry *registry; /* of all services' files, for reflection */
    char **addresses;
    size_t address_count;
    rpc_pool *pool;
    rpc_health *health;
    pthread_mutex_t lock; /* below */
    pthread_cond_t cond;
    rpc_server_state state;
    bool gone;  /* the transport's last call and connection */
    bool hurry; /* cancel what is left */
    size_t calls, bytes;
    int64_t grace_end;
    bool drainer_runs;
    pthread_t drainer;
    int notify_fd; /* weft_server_main: written to when stopped; -1 */
};

void rpc_server_fail(weft_server *server, int code, const char *format, ...) WEFT_PRINTF(3, 4);
/* Drains, or if that is under way, cancels at once. */
void rpc_server_hurry(weft_server *server);

/* dispatch.c: the transport's events */
void rpc_server_on_call(void *user, tp_call *call, const tp_request *request);

#endif
