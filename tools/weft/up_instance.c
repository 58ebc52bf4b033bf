#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/weft/connect.h"
#include "tools/weft/health.h"
#include "tools/weft/process.h"
#include "tools/weft/up_env.h"
#include "tools/weft/up_mesh.h"
#include "tools/weft/up_sup.h"
#include "weft/clock.h"
#include "weft/mem.h"

#define FIRST_TRY (10 * WEFT_NS_PER_MS)
#define LONGEST_TRY (250 * WEFT_NS_PER_MS)
#define READ_CHUNK (16 * 1024)
/* What is read of the output of a process that ended, at most. */
#define READ_REST (4 * 1024 * 1024)

/* ---- preparing -------------------------------------------------------------------------------------- */

/* 0, or a negative WEFT_E… with the reason in *why. */
static int choose_address(up_sup *sup, up_instance *in, const char **why) {
    const up_service *service = in->service;
    const char *text;
    *why = "out of memory";
    if (sup->plan->sidecars && service->is_sidecar) {
        in->names.outbound = weft_arena_printf(sup->arena, "unix:%s/%s.out",
                                               sup->options->runtime_dir, in->voice.label);
        if (!in->names.outbound) return WEFT_ENOMEM;
    }
    if (sup->plan->sidecars && service->is_sidecar && service->app == UP_NONE) {
        text = in->names.outbound; /* nobody calls the command */
    } else if (!service->listen) {
        text = weft_arena_printf(sup->arena, "unix:%s/%s.sock", sup->options->runtime_dir,
                                 in->voice.label);
    } else if (strcmp(service->listen, "tcp") == 0) {
        unsigned port = connect_free_port();
        *why = "no free TCP port on 127.0.0.1";
        if (port == 0) return WEFT_EIO;
        text = weft_arena_printf(sup->arena, "127.0.0.1:%u", port);
    } else {
        in->names.listen = "";
        up_scope scope = {sup->plan, service, &in->names, sup->arena};
        text = up_expand(sup->arena, service->listen, up_scope_lookup, &scope, why);
    }
    if (!text) return WEFT_ENOMEM;
    in->names.listen = text;
    return weft_addr_parse(text, &in->addr, why);
}

/* Data directory <state>/<service>, shared by its instances; all sidecars share one. */
static int make_dir(up_sup *sup, up_instance *in) {
    in->names.dir = in->service->dir;
    if (in->names.dir) return 0;
    in->names.dir = weft_arena_printf(sup->arena, "%s/%s", sup->options->state_dir,
                                      in->service->is_sidecar ? UP_MESH_DIR : in->service->name);
    if (!in->names.dir) return WEFT_ENOMEM;
    if (mkdir(in->names.dir, 0700) < 0 && errno != EEXIST) {
        weft_buf_printf(&sup->failure, "cannot make %s: %s", in->names.dir, strerror(errno));
        return WEFT_EIO;
    }
    return 0;
}

static int prepare(up_sup *sup, up_instance *in, const up_service *service, unsigned number) {
    bool several = service->instances > 1;
    const char *label =
        several ? weft_arena_printf(sup->arena, "%s-%u", service->name, number) : service->name;
    *in =
        (up_instance){.sup = sup, .service = service, .out_fd = -1, .ready_fd = -1, .probe_fd = -1};
    in->names.number = number;
    in->names.bin = sup->options->bin_dir;
    in->voice = (up_voice){.label = label,
                           .service = service->name,
                           .instance = several ? (int)number : -1,
                           .color = (unsigned)(service - sup->plan->services)};
    weft_buf_init(&in->line, UP_LINE_MAX);
    if (!label) return WEFT_ENOMEM;
    if (strlen(label) > sup->out->width) sup->out->width = (unsigned)strlen(label);
    int rc = make_dir(sup, in);
    if (rc < 0) return rc;
    const char *why;
    rc = choose_address(sup, in, &why);
    if (rc < 0)
        weft_buf_printf(&sup->failure, "%s cannot listen on \"%s\": %s", label,
                        in->names.listen ? in->names.listen : "", why);
    return rc;
}

/* In a mesh with sidecars: the sockets of its own sidecar, one for all and one for each it uses. */
static int connect_sidecar(up_sup *sup, up_instance *in, const char **addresses) {
    const up_service *service = in->service;
    if (service->is_sidecar) return 0;
    const up_instance *sidecar = &sup->instances[sup->first[service->sidecar] + in->names.number];
    in->names.outbound = sidecar->names.outbound;
    for (size_t i = 0; i < service->use_count; i++) {
        addresses[i] =
            weft_arena_printf(sup->arena, "unix:%s/%s.%s", sup->options->runtime_dir,
                              sidecar->voice.label, sup->plan->services[service->use[i]].name);
        if (!addresses[i]) return WEFT_ENOMEM;
    }
    return 0;
}

/* Instance n of a service is given the address of instance n modulo their number of each it uses. */
static int connect_upstreams(up_sup *sup, up_instance *in) {
    const up_service *service = in->service;
    const char **addresses =
        weft_arena_calloc(sup->arena, service->use_count + 1, sizeof *addresses);
    if (!addresses) return WEFT_ENOMEM;
    in->names.upstreams = addresses;
    if (sup->plan->sidecars) return connect_sidecar(sup, in, addresses);
    for (size_t i = 0; i < service->use_count; i++) {
        size_t used = service->use[i];
        unsigned number = in->names.number % sup->plan->services[used].instances;
        addresses[i] = sup->instances[sup->first[used] + number].names.listen;
    }
    return 0;
}

int up_instances_prepare(up_sup *sup) {
    const up_plan *plan = sup->plan;
    size_t total = 0;
    for (size_t i = 0; i < plan->count; i++) total += plan->services[i].instances;
    sup->instances = weft_arena_calloc(sup->arena, total, sizeof *sup->instances);
    sup->first = weft_arena_calloc(sup->arena, plan->count + 1, sizeof *sup->first);
    if (!sup->instances || !sup->first) return WEFT_ENOMEM;
    int rc = 0;
    for (size_t i = 0; i < plan->count && rc == 0; i++) {
        sup->first[i] = sup->count;
        for (unsigned n = 0; n < plan->services[i].instances && rc == 0; n++)
            rc = prepare(sup, &sup->instances[sup->count++], &plan->services[i], n);
    }
    for (size_t i = 0; i < sup->count && rc == 0; i++)
        rc = connect_upstreams(sup, &sup->instances[i]);
    return rc == 0 && plan->sidecars ? up_mesh_prepare(sup) : rc;
}

void up_instances_free(up_sup *sup) {
    for (size_t i = 0; i < sup->count; i++) {
        weft_buf_free(&sup->instances[i].line);
        for (size_t l = 0; l < UP_LAST_LINES; l++) weft_free(sup->instances[i].last[l]);
    }
}

/* ---- environment ------------------------------------------------------------------------------------ */

static void set_own(up_instance *in, up_env *env) {
    char number[16];
    snprintf(number, sizeof number, "%u", in->names.number);
    up_env_set(env, "WEFT_SERVICE", in->service->name);
    up_env_set(env, "WEFT_NAMESPACE", in->sup->plan->mesh);
    up_env_set(env, "WEFT_INSTANCE", number);
    up_env_set(env, "WEFT_READY_FD", "3");
    if (in->service->is_sidecar) return;
    up_env_set(env, "WEFT_LISTEN", in->names.listen);
    up_env_set(env, "WEFT_STATE_DIR", in->names.dir);
    if (in->names.outbound) up_env_set(env, "WEFT_OUTBOUND", in->names.outbound);
}

static const char *const *environment(up_instance *in, weft_arena *arena) {
    const up_service *service = in->service;
    up_env env;
    up_env_begin(&env, arena, environ);
    up_scope scope = {in->sup->plan, service, &in->names, arena};
    for (size_t i = 0; i < service->env_count; i++) {
        const char *why;
        const char *value = up_expand(arena, service->env[i].value, up_scope_lookup, &scope, &why);
        if (!value) return NULL; /* checked before: memory is out */
        up_env_set(&env, service->env[i].name, value);
    }
    set_own(in, &env);
    for (size_t i = 0; i < service->use_count && !in->sup->plan->sidecars; i++) {
        const char *name = up_upstream_variable(arena, service->uses[i]);
        if (!name) return NULL;
        up_env_set(&env, name, in->names.upstreams[i]);
    }
    return up_env_end(&env);
}

/* What a command and shells are told, NULL-named at the end: the addresses of all services, or of the sidecar that
 * knows them. NULL when memory is out. */
static const up_var *command_variables(up_sup *sup) {
    const up_plan *plan = sup->plan;
    if (sup->options->variables) return sup->options->variables;
    up_var *vars = weft_arena_calloc(sup->arena, plan->count + 5, sizeof *vars);
    if (!vars) return NULL;
    size_t n = 0;
    vars[n++] = (up_var){"WEFT_NAMESPACE", plan->mesh};
    vars[n++] = (up_var){"WEFT_STATE_DIR", sup->options->state_dir};
    if (plan->sidecars) {
        const up_instance *client = &sup->instances[sup->count - 1];
        vars[n++] = (up_var){"WEFT_SERVICE", client->service->name};
        vars[n++] = (up_var){"WEFT_OUTBOUND", client->names.outbound};
        return vars;
    }
    for (size_t i = 0; i < plan->count; i++) {
        const char *name = up_upstream_variable(sup->arena, plan->services[i].name);
        if (!name) return NULL;
        vars[n++] = (up_var){name, sup->instances[sup->first[i]].names.listen};
    }
    return vars;
}

const char *const *up_command_env(up_sup *sup) {
    const up_var *vars = command_variables(sup);
    if (!vars) return NULL;
    up_env env;
    up_env_begin(&env, sup->arena, environ);
    for (; vars->name; vars++) up_env_set(&env, vars->name, vars->value);
    return up_env_end(&env);
}

static void add_export(weft_buf *out, const char *name, const char *value) {
    weft_buf_printf(out, "export %s='", name);
    for (const char *p = value; *p; p++) {
        if (*p == '\'')
            weft_buf_adds(out, "'\\''");
        else
            weft_buf_addc(out, *p);
    }
    weft_buf_adds(out, "'\n");
}

int up_write_env_file(up_sup *sup, const char *path) {
    weft_buf text;
    weft_buf_init(&text, 0);
    const up_var *vars = command_variables(sup);
    for (; vars && vars->name; vars++) add_export(&text, vars->name, vars->value);
    const char *part = weft_arena_printf(sup->arena, "%s.part", path);
    int error = text.error || !part || !vars ? ENOMEM : 0;
    int fd = error ? -1 : open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (!error && fd < 0) error = errno;
    if (fd >= 0 && write(fd, text.data, text.len) != (ssize_t)text.len) error = errno ? errno : EIO;
    if (fd >= 0 && close(fd) < 0 && !error) error = errno;
    if (!error && rename(part, path) < 0) error = errno;
    weft_buf_free(&text);
    return error;
}

/* ---- starting and stopping -------------------------------------------------------------------------- */

static void close_fd(int *fd) {
    if (*fd >= 0) close(*fd);
    *fd = -1;
}

static void forget_probe(up_instance *in) {
    if (in->probe_pid > 0) kill(in->probe_pid, SIGKILL); /* ours and not reaped: see reap() */
    in->probe_pid = 0;
    close_fd(&in->probe_fd);
}

static int run(up_instance *in, weft_arena *arena, int out_fd, int ready_fd) {
    const up_service *service = in->service;
    up_scope scope = {in->sup->plan, service, &in->names, arena};
    const char **argv = weft_arena_calloc(arena, service->command_count + 1, sizeof *argv);
    const char *const *envp = environment(in, arena);
    const char *why = NULL;
    if (!argv || !envp) return ENOMEM;
    for (size_t i = 0; i < service->command_count; i++) {
        argv[i] = up_expand(arena, service->command[i], up_scope_lookup, &scope, &why);
        if (!argv[i]) return ENOMEM;
    }
    const char *dir = service->working_dir
                          ? up_expand(arena, service->working_dir, up_scope_lookup, &scope, &why)
                          : in->sup->plan->dir;
    if (!dir) return ENOMEM;
    process_spec spec = {.argv = argv,
                         .envp = envp,
                         .dir = dir,
                         .own_group = true,
                         .out_fd = out_fd,
                         .ready_fd = ready_fd};
    const char *what;
    int error = process_start(&spec, &in->pid, &what);
    if (error == ENOENT && what == argv[0] && !strchr(what, '/'))
        snprintf(in->reason, sizeof in->reason, "cannot run %s: there is no such program in PATH",
                 what);
    else if (error)
        snprintf(in->reason, sizeof in->reason, "cannot run %s: %s", what, strerror(error));
    return error;
}

int up_instance_start(up_instance *in) {
    int out[2] = {-1, -1}, ready[2] = {-1, -1};
    int error = 0;
    in->reason[0] = '\0';
    /* A socket of ours that a killed predecessor left: not every server replaces it. */
    if (!in->service->listen) unlink(in->addr.host);
    weft_arena *arena = weft_arena_new(0);
    if (!arena) error = ENOMEM;
    if (!error && (pipe2(out, O_CLOEXEC) < 0 || pipe2(ready, O_CLOEXEC) < 0)) error = errno;
    if (!error) error = run(in, arena, out[1], ready[1]);
    weft_arena_free(arena);
    close_fd(&out[1]);
    close_fd(&ready[1]);
    if (error) {
        if (!in->reason[0])
            snprintf(in->reason, sizeof in->reason, "cannot run: %s", strerror(error));
        close_fd(&out[0]);
        close_fd(&ready[0]);
        return error;
    }
    fcntl(out[0], F_SETFL, O_NONBLOCK);
    fcntl(ready[0], F_SETFL, O_NONBLOCK);
    in->out_fd = out[0];
    in->ready_fd = ready[0];
    in->started = weft_now(NULL);
    in->try_wait = FIRST_TRY;
    bool asked = in->service->check != UP_CHECK_STARTED && in->service->check != UP_CHECK_TELLS;
    in->next_try = asked ? in->started + FIRST_TRY : 0;
    in->killed = false;
    in->state = UP_STARTING;
    return 0;
}

void up_instance_stop(up_instance *in) {
    in->state = UP_STOPPING;
    forget_probe(in);
    in->kill_at = weft_now(NULL) + in->service->grace_ns;
    process_signal_group(in->pid, SIGTERM);
}

void up_instance_kill(up_instance *in) {
    in->killed = true;
    in->kill_at = 0;
    process_signal_group(in->pid, SIGKILL);
}

void up_instance_ended(up_instance *in) {
    for (size_t reads = READ_REST / READ_CHUNK; reads > 0 && in->out_fd >= 0; reads--)
        if (up_instance_read(in) != UP_READ_MORE) break;
    up_instance_close_output(in);
    close_fd(&in->ready_fd);
    forget_probe(in);
    in->pid = 0;
    in->kill_at = 0;
    in->next_try = 0;
}

/* ---- output ----------------------------------------------------------------------------------------- */

static void take_line(up_instance *in, const char *line, size_t len) {
    if (len > 0 && line[len - 1] == '\r') len--;
    up_out_line(in->sup->out, &in->voice, line, len);
    char **slot = &in->last[in->last_count++ % UP_LAST_LINES];
    weft_free(*slot);
    size_t kept = len < 400 ? len : 400;
    *slot = weft_malloc(kept + 1);
    if (*slot) {
        memcpy(*slot, line, kept);
        (*slot)[kept] = '\0';
    }
}

void up_instance_close_output(up_instance *in) {
    if (in->line.len > 0) take_line(in, in->line.data, in->line.len);
    weft_buf_clear(&in->line);
    close_fd(&in->out_fd);
}

up_read up_instance_read(up_instance *in) {
    char chunk[READ_CHUNK];
    ssize_t n = read(in->out_fd, chunk, sizeof chunk);
    if (n < 0) return errno == EAGAIN || errno == EINTR ? UP_READ_LATER : UP_READ_END;
    if (n == 0) return UP_READ_END;
    const char *at = chunk, *end = chunk + n;
    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        size_t len = (size_t)((newline ? newline : end) - at);
        if (newline && in->line.len == 0) {
            take_line(in, at, len);
        } else {
            /* A line longer than the buffer comes out in pieces. */
            size_t room = UP_LINE_MAX - in->line.len;
            if (len > room) {
                len = room;
                newline = NULL;
            }
            weft_buf_add(&in->line, at, len);
            if (newline || in->line.len == UP_LINE_MAX || in->line.error) {
                take_line(in, in->line.data ? in->line.data : "", in->line.len);
                weft_buf_clear(&in->line);
            }
        }
        at += len + (newline ? 1 : 0);
    }
    return UP_READ_MORE;
}

void up_instance_last_lines(const up_instance *in, weft_buf *out) {
    size_t kept = in->last_count < UP_LAST_LINES ? in->last_count : UP_LAST_LINES;
    for (size_t i = in->last_count - kept; i < in->last_count; i++) {
        const char *line = in->last[i % UP_LAST_LINES];
        if (line) weft_buf_printf(out, "    %s\n", line);
    }
}

/* ---- readiness -------------------------------------------------------------------------------------- */

static void start_probe(up_instance *in) {
    if (in->probe_pid > 0) return;
    in->next_try = 0;
    int pid;
    int error = health_probe_start(in->names.listen, &pid, &in->probe_fd);
    if (error) {
        snprintf(in->reason, sizeof in->reason, "cannot ask for its health: %s", strerror(error));
        in->next_try = weft_now(NULL) + LONGEST_TRY;
        return;
    }
    in->probe_pid = pid;
    fcntl(in->probe_fd, F_SETFL, O_NONBLOCK);
}

static void become_ready(up_instance *in) {
    in->state = UP_READY;
    in->ready_at = weft_now(NULL);
    in->was_ready = true;
    in->next_try = 0;
    in->reason[0] = '\0';
    /* ready_fd stays open: a service may write to it after we found out by asking, and must not be killed by
     * SIGPIPE for it. */
    forget_probe(in);
}

void up_instance_try(up_instance *in, int64_t now) {
    int error = connect_try(&in->addr, 200);
    if (error == 0 && in->service->check == UP_CHECK_CONNECT) {
        become_ready(in);
        return;
    }
    if (error == 0) {
        start_probe(in);
        return;
    }
    snprintf(in->reason, sizeof in->reason, "nothing listens on %s: %s", in->names.listen,
             strerror(error));
    in->try_wait = in->try_wait * 3 / 2 > LONGEST_TRY ? LONGEST_TRY : in->try_wait * 3 / 2;
    in->next_try = now + in->try_wait;
}

bool up_instance_ready_event(up_instance *in) {
    char bytes[64];
    ssize_t n = read(in->ready_fd, bytes, sizeof bytes);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return false;
    if (n <= 0) close_fd(&in->ready_fd); /* the service does not use it, or no more */
    if (n <= 0 || in->state != UP_STARTING || in->service->check == UP_CHECK_STARTED) return false;
    if (in->service->check == UP_CHECK_TELLS) {
        become_ready(in);
        return true;
    }
    up_instance_try(in, weft_now(NULL));
    return in->state == UP_READY;
}

bool up_instance_probe_event(up_instance *in) {
    char text[1024];
    ssize_t n = read(in->probe_fd, text, sizeof text - 1);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return false;
    if (n <= 0) { /* it ended without an answer: killed, or memory is out */
        forget_probe(in);
        in->next_try = weft_now(NULL) + LONGEST_TRY;
        return false;
    }
    text[n] = '\0';
    for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1) {
        *end = '\0';
        if (*line == '+') {
            become_ready(in);
            return true;
        }
        snprintf(in->reason, sizeof in->reason, "%.190s", line + 1);
    }
    return false;
}
