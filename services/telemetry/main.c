/* weft-telemetry --state DIR --listen ADDRESS: takes OTLP, answers queries. A thread of its own takes away what is
 * too old. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "services/telemetry/service.h"
#include "weft/flags.h"
#include "weft/log.h"
#include "weft/mem.h"
#include "weft/num.h"

#define LOOK_EVERY 1 /* s, for what has become too old */

typedef struct settings {
    const char *state;
    int64_t retention;
    uint64_t max_size;
} settings;

typedef struct program {
    tel_store *store;
    pthread_t keeper;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stop;
} program;

static void *keep(void *user) {
    program *p = user;
    (void)pthread_mutex_lock(&p->lock);
    while (!p->stop) {
        (void)pthread_mutex_unlock(&p->lock);
        const int more = tel_store_trim(p->store, TEL_TRIM_ROWS);
        const int late = tel_store_settle(p->store, TEL_TRIM_ROWS);
        if (more < 0 || late < 0)
            weft_log(WEFT_LOG_ERROR, "cannot tidy the store",
                     WEFT_S("detail", weft_store_message()));
        (void)pthread_mutex_lock(&p->lock);
        struct timespec until;
        (void)clock_gettime(CLOCK_REALTIME, &until);
        if (more > 0 || late > 0)
            until.tv_nsec += 10000000; /* let requests pass */
        else
            until.tv_sec += LOOK_EVERY;
        if (until.tv_nsec >= WEFT_NS_PER_S) {
            until.tv_nsec -= WEFT_NS_PER_S;
            until.tv_sec++;
        }
        if (!p->stop) (void)pthread_cond_timedwait(&p->wake, &p->lock, &until);
    }
    (void)pthread_mutex_unlock(&p->lock);
    return NULL;
}

static const char usage[] =
    "usage: weft-telemetry --state DIR [--retention DURATION] [--max-size SIZE] [server flags]\n"
    "       weft-telemetry --server-help   the server flags: --listen and others\n\n"
    "Receives traces and logs as OTLP over gRPC, keeps them in DIR/telemetry.db and answers\n"
    "weft trace and weft logs.\n\n"
    "  --state DIR            where the database is; made when it is not there\n"
    "                         (WEFT_STATE_DIR)\n"
    "  --retention DURATION   how long traces and logs are kept, from their arrival (72h)\n"
    "  --max-size SIZE        of the database; over it what came first goes first (1GiB)\n\n"
    "example: weft-telemetry --state /var/lib/weft/telemetry --listen 127.0.0.1:4317\n";

static int wrong(const char *flag, const char *value, const char *rule) {
    fprintf(stderr, "weft-telemetry: %s: \"%s\" is not %s\n", flag, value, rule);
    return 2;
}

/* The value of `name` if argv[*i] is that flag, in either form; "" when it is missing. */
static const char *value_of(const char *name, int argc, char **argv, int *i) {
    const size_t len = strlen(name);
    if (strncmp(argv[*i], name, len) != 0) return NULL;
    if (argv[*i][len] == '=') return argv[*i] + len + 1;
    if (argv[*i][len] == '\0') return *i + 1 < argc ? argv[++*i] : "";
    return NULL;
}

/* Takes our flags out; 0, or the exit code. What is left is the server's. */
static int parse(settings *set, int *argc, char **argv) {
    int kept = 1;
    for (int i = 1; i < *argc; i++) {
        const char *v;
        if ((v = value_of("--state", *argc, argv, &i))) {
            set->state = v;
        } else if ((v = value_of("--retention", *argc, argv, &i))) {
            if (weft_parse_duration(v, &set->retention) || set->retention < WEFT_NS_PER_S)
                return wrong("--retention", v, "a duration of at least 1s");
        } else if ((v = value_of("--max-size", *argc, argv, &i))) {
            if (weft_parse_size(v, &set->max_size) || set->max_size < TEL_MAX_BYTES_MIN)
                return wrong("--max-size", v, "a size of at least 1MiB");
        } else {
            argv[kept++] = argv[i];
        }
    }
    argv[kept] = NULL;
    *argc = kept;
    return 0;
}

static int run(program *p, const settings *set, int argc, char **argv) {
    char *why = NULL;
    const tel_store_options options = {.retention_ns = set->retention, .max_bytes = set->max_size};
    if (mkdir(set->state, 0700) && errno != EEXIST) {
        fprintf(stderr, "weft-telemetry: --state %s: %s\n", set->state, strerror(errno));
        return 1;
    }
    const int rc = tel_store_open(set->state, &options, &p->store, &why);
    if (rc) {
        fprintf(stderr, "weft-telemetry: %s\n", why ? why : weft_strerror(rc));
        weft_free(why);
        return 1;
    }
    weft_server *server = weft_server_new();
    int code = 1;
    if (!server || tel_serve(server, p->store) || pthread_create(&p->keeper, NULL, keep, p)) {
        fputs("weft-telemetry: cannot start: out of memory\n", stderr);
        weft_server_free(server);
    } else {
        code = weft_server_main(server, argc, argv);
        tel_store_stop(p->store);
        (void)pthread_mutex_lock(&p->lock);
        p->stop = true;
        (void)pthread_cond_signal(&p->wake);
        (void)pthread_mutex_unlock(&p->lock);
        (void)pthread_join(p->keeper, NULL);
    }
    tel_store_close(p->store);
    return code;
}

int main(int argc, char **argv) {
    program p = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};
    settings set = {.state = getenv("WEFT_STATE_DIR")};
    char help[] = "--help";
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) return fputs(usage, stdout) < 0;
        if (!strcmp(argv[i], "--server-help")) argv[i] = help;
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "--version") || !strcmp(argv[i], "-V"))
            return weft_server_main(weft_server_new(), argc, argv);
    }
    weft_log_set_service("weft-telemetry");
    const int code = parse(&set, &argc, argv);
    if (code) return code;
    if (!set.state || !*set.state) {
        fputs("weft-telemetry: --state DIR is needed: where the database is\n", stderr);
        return 2;
    }
    return run(&p, &set, argc, argv);
}
