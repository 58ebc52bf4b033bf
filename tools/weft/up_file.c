#include "tools/weft/up_file.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "tools/weft/dev_certs.h"
#include "tools/weft/up_mesh.h"
#include "weft/addr.h"
#include "weft/clock.h"
#include "weft/pb.h"
#include "weft/up/v1/up.pb-c.h"
#include "weft/up/v1/up.weft.h"

#define FILE_MAX (1024 * 1024)
#define DEFAULT_BACKOFF (100 * WEFT_NS_PER_MS)
#define DEFAULT_MAX_BACKOFF (10 * WEFT_NS_PER_S)
#define DEFAULT_READY (30 * WEFT_NS_PER_S)
#define DEFAULT_GRACE (10 * WEFT_NS_PER_S)
#define LONGEST (24 * 3600 * WEFT_NS_PER_S)

struct reader {
    up_plan *plan;
    weft_diags *diags;
    int rc;       /* the last error */
    size_t index; /* service being read */
};

/* Reports a problem of services[index].<field>. */
static void wrong(struct reader *in, const char *field, const char *hint, const char *text) {
    const char *path = weft_arena_printf(in->plan->arena, "services[%zu]%s%s", in->index,
                                         *field ? "." : "", field);
    in->rc = weft_diag_add(in->diags, in->plan->file, 0, 0, path, hint, "%s", text);
}

static int64_t duration(struct reader *in, const char *field,
                        const Google__Protobuf__Duration *given, int64_t standard) {
    if (!given) return standard;
    if (given->seconds < 0 || given->nanos < 0 || given->seconds >= LONGEST / WEFT_NS_PER_S) {
        wrong(in, field, NULL, "must be from 0s to a day");
        return standard;
    }
    return given->seconds * WEFT_NS_PER_S + given->nanos;
}

static void *array(struct reader *in, size_t count, size_t size) {
    void *p = weft_arena_calloc(in->plan->arena, count + 1, size);
    if (!p) in->rc = WEFT_ENOMEM;
    return p;
}

static const char *given(const char *text) { return text && *text ? text : NULL; }

static bool variable_name_valid(const char *name) {
    if (!*name || (*name >= '0' && *name <= '9')) return false;
    for (const char *p = name; *p; p++)
        if (*p != '_' && !(*p >= 'a' && *p <= 'z') && !(*p >= 'A' && *p <= 'Z') &&
            !(*p >= '0' && *p <= '9'))
            return false;
    return true;
}

static void add_variable(struct reader *in, up_service *service, const char *name,
                         const char *value) {
    static const char *const ours[] = {"WEFT_LISTEN",    "WEFT_SERVICE",  "WEFT_NAMESPACE",
                                       "WEFT_STATE_DIR", "WEFT_READY_FD", "WEFT_INSTANCE"};
    const char *field = weft_arena_printf(in->plan->arena, "env.%s", name);
    if (!variable_name_valid(name))
        wrong(in, field, "letters, digits and _, not beginning with a digit",
              "not a name of a variable");
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        if (strcmp(name, ours[i]) == 0) wrong(in, field, "remove it", "is set by weft up");
    service->env[service->env_count++] = (up_var){name, value};
}

static void read_env(struct reader *in, up_service *service, const WeftUp__File *file,
                     const WeftUp__Service *from) {
    service->env = array(in, file->n_env + from->n_env, sizeof *service->env);
    if (!service->env) return;
    for (size_t i = 0; i < file->n_env; i++)
        add_variable(in, service, file->env[i]->key, file->env[i]->value);
    for (size_t i = 0; i < from->n_env; i++)
        add_variable(in, service, from->env[i]->key, from->env[i]->value);
}

static void read_name(struct reader *in, up_service *service, const char *name) {
    static const char *const rule =
        "a DNS label: lower-case letters, digits and dashes, at most 63 characters";
    service->name = name;
    if (!*name) {
        wrong(in, "name", NULL, "every service needs a name");
        return;
    }
    if (!up_name_valid(name))
        wrong(in, "name", rule,
              weft_arena_printf(in->plan->arena, "\"%s\" is not a name of a service", name));
    if (in->plan->sidecars && up_mesh_reserved(name))
        wrong(in, "name", "rename it",
              weft_arena_printf(in->plan->arena, "\"%s\" is taken in a mesh with sidecars", name));
    for (size_t i = 0; i < in->index; i++)
        if (strcmp(in->plan->services[i].name, name) == 0)
            wrong(in, "name", "rename one",
                  weft_arena_printf(in->plan->arena, "\"%s\" is the name of services[%zu] too",
                                    name, i));
}

static void read_restart(struct reader *in, up_service *service, const WeftUp__Restart *from) {
    service->backoff_ns = DEFAULT_BACKOFF;
    service->max_backoff_ns = DEFAULT_MAX_BACKOFF;
    if (!from) return;
    switch (from->policy) {
    case WEFT_UP__RESTART__POLICY__NEVER:
        service->restart = UP_NEVER;
        break;
    case WEFT_UP__RESTART__POLICY__ALWAYS:
        service->restart = UP_ALWAYS;
        break;
    case WEFT_UP__RESTART__POLICY__ON_FAILURE:
        service->restart = UP_ON_FAILURE;
        break;
    default:
        wrong(in, "restart.policy", "ON_FAILURE, NEVER or ALWAYS", "not a restart policy");
    }
    service->backoff_ns = duration(in, "restart.backoff", from->backoff, DEFAULT_BACKOFF);
    service->max_backoff_ns = duration(
        in, "restart.maxBackoff", from->max_backoff,
        service->backoff_ns > DEFAULT_MAX_BACKOFF ? service->backoff_ns : DEFAULT_MAX_BACKOFF);
    if (service->max_backoff_ns < service->backoff_ns)
        wrong(in, "restart.maxBackoff", NULL, "must not be less than restart.backoff");
    service->max_restarts = from->max_restarts;
}

static void read_ready(struct reader *in, up_service *service, const WeftUp__Ready *from) {
    service->ready_ns = DEFAULT_READY;
    if (!from) return;
    switch (from->check) {
    case WEFT_UP__READY__CHECK__HEALTH:
        service->check = UP_CHECK_HEALTH;
        break;
    case WEFT_UP__READY__CHECK__CONNECT:
        service->check = UP_CHECK_CONNECT;
        break;
    case WEFT_UP__READY__CHECK__STARTED:
        service->check = UP_CHECK_STARTED;
        break;
    default:
        wrong(in, "ready.check", "HEALTH, CONNECT or STARTED", "not a way to check");
    }
    service->ready_ns = duration(in, "ready.timeout", from->timeout, DEFAULT_READY);
    if (service->ready_ns == 0) wrong(in, "ready.timeout", NULL, "must be more than 0s");
}

/* An address that holds variables is known only when its instance is. */
static void read_listen(struct reader *in, up_service *service, const char *listen) {
    weft_addr addr;
    const char *why = NULL;
    service->listen = given(listen);
    if (!service->listen || strcmp(service->listen, "tcp") == 0) return;
    if (service->instances > 1)
        wrong(in, "listen", "leave it out, or say tcp",
              "one address cannot serve several instances");
    if (!strstr(service->listen, "${") && weft_addr_parse(service->listen, &addr, &why) < 0)
        wrong(in, "listen", "host:port, unix:/path, or tcp for a free port", why);
}

static void read_service(struct reader *in, const WeftUp__File *file, const WeftUp__Service *from) {
    up_service *service = &in->plan->services[in->index];
    read_name(in, service, from->name);
    if (from->n_command == 0 || !*from->command[0])
        wrong(in, "command", "for example: command: [my-server, --db, \"${dir}/my.db\"]",
              "every service needs a program to run");
    service->command = array(in, from->n_command, sizeof *service->command);
    service->uses = array(in, from->n_uses, sizeof *service->uses);
    if (in->rc == WEFT_ENOMEM) return;
    for (size_t i = 0; i < from->n_command; i++) service->command[i] = from->command[i];
    service->command_count = from->n_command;
    for (size_t i = 0; i < from->n_uses; i++) service->uses[i] = from->uses[i];
    service->use_count = from->n_uses;
    read_env(in, service, file, from);
    service->instances = from->instances ? from->instances : 1;
    if (service->instances > UP_MAX_INSTANCES) wrong(in, "instances", NULL, "must be from 1 to 64");
    read_listen(in, service, from->listen);
    service->working_dir = given(from->working_dir);
    read_restart(in, service, from->restart);
    read_ready(in, service, from->ready);
    service->grace_ns = duration(in, "stopGrace", from->stop_grace, DEFAULT_GRACE);
}

static void read_mesh(struct reader *in, const WeftUp__Mesh *from) {
    up_plan *plan = in->plan;
    plan->domain = from && given(from->trust_domain) ? from->trust_domain : DEV_CERTS_DOMAIN;
    if (!from) return;
    plan->sidecars = from->sidecars;
    plan->sidecars_tcp = from->tcp;
    if (!crypto_domain_valid(plan->domain))
        in->rc = weft_diag_add(in->diags, plan->file, 0, 0, "mesh.trustDomain",
                               "a name such as mesh.local, of a-z 0-9 . - _",
                               "\"%.100s\" is not a trust domain", plan->domain);
}

static void read_plan(struct reader *in, const WeftUp__File *file) {
    up_plan *plan = in->plan;
    read_mesh(in, file->mesh);
    plan->mesh = given(file->namespace_) ? file->namespace_ : "default";
    if (!up_name_valid(plan->mesh))
        in->rc = weft_diag_add(in->diags, plan->file, 0, 0, "namespace", "a DNS label such as shop",
                               "\"%s\" is not a namespace", plan->mesh);
    if (file->n_services == 0 || file->n_services > UP_MAX_SERVICES)
        in->rc =
            weft_diag_add(in->diags, plan->file, 0, 0, "services", NULL,
                          file->n_services ? "at most %d services" : "there is no service to run",
                          UP_MAX_SERVICES);
    if (file->n_services > UP_MAX_SERVICES) return;
    plan->services = array(in, file->n_services, sizeof *plan->services);
    if (!plan->services) return;
    for (size_t i = 0; i < file->n_services && in->rc != WEFT_ENOMEM; i++) {
        in->index = i;
        read_service(in, file, file->services[i]);
        plan->count++;
    }
}

/* The folder of `file`, absolute where it can be. */
static const char *folder(weft_arena *arena, const char *file) {
    const char *slash = strrchr(file, '/');
    char *dir = slash ? weft_arena_strndup(arena, file, (size_t)(slash - file))
                      : weft_arena_strdup(arena, ".");
    if (!dir) return NULL;
    char *full = realpath(slash == file ? "/" : dir, NULL);
    char *kept = full ? weft_arena_strdup(arena, full) : dir;
    free(full);
    return kept;
}

/* Values are checked once they are messages, which know their path only. */
static void find_places(const char *text, size_t len, weft_arena *arena, weft_diags *diags) {
    weft_yaml_document **documents = NULL;
    size_t count = 0;
    if (weft_yaml_documents(text, len, NULL, arena, &documents, &count, NULL) < 0 || !count) return;
    for (weft_diag *at = diags->first; at; at = at->next)
        if (at->path && !at->line)
            (void)weft_yaml_document_place(documents[0], at->path, &at->line, &at->column);
}

int up_file_parse(const char *file, const char *text, size_t len, weft_arena *arena, up_plan **out,
                  weft_diags *diags) {
    up_plan *plan = weft_arena_calloc(arena, 1, sizeof *plan);
    weft_registry *registry = weft_registry_new();
    int rc = plan && registry ? 0 : WEFT_ENOMEM;
    if (rc == 0) {
        *plan = (up_plan){.arena = arena, .file = file, .dir = folder(arena, file)};
        rc = weft_registry_add_file(registry, &weft_file_weft_up_v1_up_proto, diags);
    }
    ProtobufCMessage *message = NULL;
    if (rc == 0) {
        const weft_type *type = weft_registry_message(registry, "weft.up.v1.File");
        const weft_json_options options = {
            .size = sizeof options, .file = file, .max_bytes = FILE_MAX};
        rc = type ? weft_yaml_decode(registry, type, text, len, &options, arena, &message, diags)
                  : WEFT_EINTERNAL;
    }
    if (rc == 0) {
        struct reader in = {.plan = plan, .diags = diags};
        read_plan(&in, (const WeftUp__File *)message);
        rc = in.rc;
        if (plan->services && rc != WEFT_ENOMEM) {
            int order = up_plan_order(plan, diags);
            int variables = order == WEFT_ENOMEM ? order : up_plan_check_variables(plan, diags);
            if (rc == 0) rc = order ? order : variables;
        }
        if (rc) find_places(text, len, arena, diags);
    }
    weft_registry_free(registry);
    if (rc == 0) *out = plan;
    return rc;
}

int up_file_load(const char *file, weft_arena *arena, up_plan **out, weft_diags *diags) {
    weft_buf text;
    weft_buf_init(&text, FILE_MAX);
    int rc = weft_buf_read_file(&text, file);
    if (rc == WEFT_ELIMIT)
        weft_diag_add(diags, file, 0, 0, NULL, NULL, "larger than %d bytes", FILE_MAX);
    if (rc == 0) rc = up_file_parse(file, weft_buf_str(&text), text.len, arena, out, diags);
    weft_buf_free(&text);
    return rc;
}
