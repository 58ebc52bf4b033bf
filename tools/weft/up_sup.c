#include "tools/weft/up_sup.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/weft/process.h"
#include "weft/clock.h"
#include "weft/flags.h"
#include "weft/mem.h"
#include "weft/num.h"

/* Ready that long, an instance has recovered: restarts count from zero again. */
#define RECOVERED (10 * WEFT_NS_PER_S)
#define COMMAND_GRACE (10 * WEFT_NS_PER_S)

static double seconds_since(int64_t then) {
    return (double)(weft_now(NULL) - then) / (double)WEFT_NS_PER_S;
}

/* What goes as it should is not told by `weft run`: its command is what people look at. Failures are told at the
 * end. */
static bool silent(const up_sup *sup, const char *event) {
    static const char *const usual[] = {"started", "ready", "stopped", "failed"};
    for (size_t i = 0; sup->options->run && i < WEFT_COUNT(usual); i++)
        if (strcmp(event, usual[i]) == 0) return true;
    return false;
}

static void event(up_instance *in, const char *name, const char *text) {
    if (silent(in->sup, name) && !in->restarts) return;
    up_out_event(in->sup->out, name, in->voice.label, in->names.listen, "%s %s", in->voice.label,
                 text);
}

/* ---- stopping --------------------------------------------------------------------------------------- */

static int64_t command_grace(const up_sup *sup) {
    return sup->options->command_grace_ns ? sup->options->command_grace_ns : COMMAND_GRACE;
}

static void begin_stop(up_sup *sup) {
    if (sup->stopping) return;
    sup->stopping = true;
    sup->began = weft_now(NULL);
    if (sup->command_pid > 0 && sup->command_kill_at == 0) {
        kill(sup->command_pid, SIGTERM);
        sup->command_kill_at = weft_now(NULL) + command_grace(sup);
    }
}

/* The first failure is the one that is told; it stops everything. */
static void fail(up_sup *sup, up_instance *in, const char *what) {
    if (!sup->stopping || sup->failure.len == 0) {
        weft_buf_printf(&sup->failure, "%s %s", in->voice.label, what);
        if (in->last_count) {
            weft_buf_adds(&sup->failure, "; its last lines:\n");
            up_instance_last_lines(in, &sup->failure);
        }
    }
    sup->code = 1;
    event(in, "failed", what);
    begin_stop(sup);
}

/* A service stops when nothing that uses it is left, and the command has ended. */
static bool may_stop(const up_sup *sup, const up_instance *in) {
    if (sup->command_pid > 0) return false;
    size_t index = (size_t)(in->service - sup->plan->services);
    for (size_t i = 0; i < sup->count; i++) {
        const up_instance *other = &sup->instances[i];
        if (other->state == UP_ENDED || other->state == UP_DONE) continue;
        for (size_t u = 0; u < other->service->use_count; u++)
            if (other->service->use[u] == index) return false;
    }
    return true;
}

static void advance_stop(up_sup *sup) {
    for (size_t i = 0; i < sup->count; i++) {
        up_instance *in = &sup->instances[i];
        if (in->state == UP_WAITING || in->state == UP_BACKOFF) in->state = UP_ENDED;
    }
    for (size_t i = 0; i < sup->count; i++) {
        up_instance *in = &sup->instances[i];
        if ((in->state != UP_STARTING && in->state != UP_READY) || !may_stop(sup, in)) continue;
        up_instance_stop(in);
        if (sup->signals > 1) up_instance_kill(in);
    }
}

static bool finished(const up_sup *sup) {
    if (!sup->stopping || sup->command_pid > 0) return false;
    for (size_t i = 0; i < sup->count; i++)
        if (sup->instances[i].state != UP_ENDED && sup->instances[i].state != UP_DONE) return false;
    return true;
}

/* ---- starting --------------------------------------------------------------------------------------- */

static bool usable(const up_sup *sup, size_t service) {
    for (unsigned n = 0; n < sup->plan->services[service].instances; n++) {
        const up_instance *in = &sup->instances[sup->first[service] + n];
        if (!in->was_ready && in->state != UP_DONE) return false;
    }
    return true;
}

static void became_ready(up_instance *in) {
    char text[64];
    if (in->sup->announced || in->restarts)
        snprintf(text, sizeof text, "is ready again");
    else
        snprintf(text, sizeof text, "is ready after %.2f s", seconds_since(in->started));
    event(in, "ready", text);
}

static void start(up_instance *in) {
    int error = up_instance_start(in);
    if (error) {
        in->state = UP_ENDED;
        fail(in->sup, in, in->reason);
        return;
    }
    process_guard_add(in->sup->guard, in->pid);
    event(in, "started", "starts");
    if (in->service->check == UP_CHECK_STARTED) {
        in->state = UP_READY;
        in->was_ready = true;
        in->ready_at = in->started;
    }
}

/* Services of the file. */
static size_t own_services(const up_plan *plan) { return plan->count - plan->sidecar_count; }

static void announce(up_sup *sup) {
    up_out *out = sup->out;
    const size_t count = own_services(sup->plan);
    up_out_event(out, "up", NULL, NULL, "%s is up: %zu service%s ready in %.2f s", sup->plan->mesh,
                 count, count == 1 ? "" : "s", seconds_since(sup->began));
    if (out->json) return;
    for (size_t i = 0; i < sup->count; i++) {
        const up_instance *in = &sup->instances[i];
        if (in->service->check != UP_CHECK_STARTED && !in->service->is_sidecar)
            up_out_event(out, "", NULL, NULL, "  %-*s  %s", (int)out->width, in->voice.label,
                         in->names.listen);
    }
    up_out_event(out, "", NULL, NULL, "  data in %s", sup->options->state_dir);
    if (sup->plan->sidecars)
        up_out_event(out, "", NULL, NULL, "  calls go through sidecars, as spiffe://%s/ns/%s/sa/…",
                     sup->plan->domain, sup->plan->mesh);
    if (sup->options->command) return;
    const char *last =
        sup->instances[sup->first[sup->plan->order[sup->plan->count - 1]]].names.listen;
    up_out_event(out, "", NULL, NULL, "try   weft call %s", last);
    if (sup->options->env_file)
        up_out_event(out, "", NULL, NULL, "or    . %s && weft call %s", sup->options->env_file,
                     sup->plan->services[sup->plan->order[sup->plan->count - 1]].name);
    up_out_event(out, "", NULL, NULL, "ctrl-C stops everything in order");
}

static void start_command(up_sup *sup) {
    const char *const *envp = up_command_env(sup);
    const char *what = sup->options->command[0];
    process_spec spec = {.argv = sup->options->command, .envp = envp, .out_fd = -1, .ready_fd = -1};
    int error = envp ? process_start(&spec, &sup->command_pid, &what) : ENOMEM;
    if (!error) return;
    weft_buf_printf(&sup->failure, "cannot run %s: %s", what, strerror(error));
    sup->code = error == ENOENT ? 127 : 126;
    begin_stop(sup);
}

static void all_ready(up_sup *sup) {
    sup->announced = true;
    if (sup->options->env_file) {
        int error = up_write_env_file(sup, sup->options->env_file);
        if (error) {
            weft_buf_printf(&sup->failure, "cannot write %s: %s", sup->options->env_file,
                            strerror(error));
            sup->code = 1;
            begin_stop(sup);
            return;
        }
    }
    if (!sup->options->run) announce(sup);
    if (sup->options->command) start_command(sup);
}

static void advance_start(up_sup *sup) {
    size_t ready = 0, done = 0, apps = 0;
    for (size_t i = 0; i < sup->count && !sup->stopping; i++) {
        up_instance *in = &sup->instances[i];
        if (!in->service->is_sidecar) apps++;
        bool may = in->state == UP_WAITING;
        for (size_t u = 0; may && u < in->service->use_count; u++)
            may = usable(sup, in->service->use[u]);
        if (may) start(in);
        if (in->state == UP_READY) ready++;
        if (in->state == UP_DONE) done++;
    }
    if (!sup->stopping && !sup->announced && ready + done == sup->count) all_ready(sup);
    if (!sup->stopping && sup->announced && done == apps && !sup->options->command) {
        up_out_event(sup->out, "", NULL, NULL, "every service has ended by itself");
        begin_stop(sup);
    }
}

/* ---- children that ended ---------------------------------------------------------------------------- */

static void restart_later(up_instance *in, const char *how) {
    int64_t now = weft_now(NULL);
    if (in->ready_at && now - in->ready_at > RECOVERED) in->restarts = 0;
    in->ready_at = 0;
    const up_service *service = in->service;
    if (service->max_restarts && in->restarts >= service->max_restarts) {
        char text[160];
        in->state = UP_ENDED;
        snprintf(text, sizeof text, "ended: %s, after %u restarts in a row", how, in->restarts);
        fail(in->sup, in, text);
        return;
    }
    int64_t wait = service->backoff_ns;
    for (unsigned i = 0; i < in->restarts && wait < service->max_backoff_ns; i++) wait *= 2;
    if (wait > service->max_backoff_ns) wait = service->max_backoff_ns;
    in->restarts++;
    in->restart_at = now + wait;
    in->state = UP_BACKOFF;
    char text[160], delay[WEFT_NUM_TEXT];
    weft_format_duration(wait, delay);
    snprintf(text, sizeof text, "ended: %s; it starts again in %s", how, delay);
    event(in, "restarting", text);
}

static void instance_ended(up_instance *in, int status) {
    char how[64], text[160];
    up_state before = in->state;
    bool killed = in->killed;
    process_describe(status, how);
    up_instance_ended(in);
    if (before == UP_STOPPING) {
        in->state = UP_ENDED;
        snprintf(text, sizeof text,
                 killed ? "was killed: it had not stopped in time" : "stopped (%s)", how);
        event(in, "stopped", text);
        return;
    }
    bool fine = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (in->sup->stopping) {
        in->state = UP_ENDED;
        snprintf(text, sizeof text, "ended before it was told to: %s", how);
        event(in, "stopped", text);
    } else if (!in->was_ready) {
        in->state = UP_ENDED;
        snprintf(text, sizeof text, "ended before it was ready: %s", how);
        fail(in->sup, in, text);
    } else if (fine && in->service->restart != UP_ALWAYS) {
        in->state = UP_DONE;
        snprintf(text, sizeof text, "ended by itself: %s", how);
        event(in, "done", text);
    } else if (in->service->restart == UP_NEVER) {
        in->state = UP_ENDED;
        snprintf(text, sizeof text, "ended: %s", how);
        fail(in->sup, in, text);
    } else {
        restart_later(in, how);
    }
}

static void command_ended(up_sup *sup, int status) {
    sup->command_pid = 0;
    sup->command_kill_at = 0;
    sup->command_code = process_exit_code(status);
    if (sup->failure.len == 0) sup->code = sup->command_code;
    begin_stop(sup);
}

/* Reaps whatever has ended: instances, probes, the command, and orphans that became ours. The group of an
 * instance is killed before its leader is reaped, while the number cannot be another's. */
static void reap(up_sup *sup) {
    siginfo_t info;
    while (info.si_pid = 0,
           waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid > 0) {
        pid_t pid = info.si_pid;
        up_instance *in = NULL;
        for (size_t i = 0; i < sup->count; i++) {
            if (sup->instances[i].pid == pid) in = &sup->instances[i];
            if (sup->instances[i].probe_pid == pid) sup->instances[i].probe_pid = 0;
        }
        if (in) kill(-pid, SIGKILL);
        int status;
        if (waitpid(pid, &status, 0) != pid) continue;
        if (in) process_guard_remove(sup->guard, pid);
        if (in) instance_ended(in, status);
        if (pid == sup->command_pid) command_ended(sup, status);
    }
}

/* ---- events ----------------------------------------------------------------------------------------- */

static void kill_everything(up_sup *sup) {
    if (sup->command_pid > 0) kill(sup->command_pid, SIGKILL);
    for (size_t i = 0; i < sup->count; i++)
        if (sup->instances[i].pid > 0) {
            if (sup->instances[i].state != UP_STOPPING) up_instance_stop(&sup->instances[i]);
            up_instance_kill(&sup->instances[i]);
        }
}

static void stop_signal(up_sup *sup, const struct signalfd_siginfo *info) {
    sup->signals++;
    /* From a terminal the command has got it, too. */
    if (sup->command_pid > 0 && info->ssi_code != SI_KERNEL)
        kill(sup->command_pid, (int)info->ssi_signo);
    if (sup->signals == 1) {
        if (!sup->options->run)
            up_out_event(sup->out, "stopping", NULL, NULL, "stopping (once more kills)");
        if (sup->command_pid > 0) sup->command_kill_at = weft_now(NULL) + command_grace(sup);
        if (sup->options->run && !sup->announced) sup->code = 128 + (int)info->ssi_signo;
        begin_stop(sup);
    } else if (!sup->options->run || sup->command_pid <= 0) {
        kill_everything(sup);
    }
}

/* `weft run` stands in the place of its command: what is sent to one is meant for the other. */
static void pass_on(up_sup *sup, const struct signalfd_siginfo *info) {
    if (sup->command_pid > 0 && info->ssi_code != SI_KERNEL)
        kill(sup->command_pid, (int)info->ssi_signo);
}

static void on_signals(up_sup *sup) {
    struct signalfd_siginfo info;
    while (read(sup->signal_fd, &info, sizeof info) == (ssize_t)sizeof info)
        if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT ||
            (info.ssi_signo == SIGHUP && !sup->options->run))
            stop_signal(sup, &info);
        else if (info.ssi_signo != SIGCHLD)
            pass_on(sup, &info);
    reap(sup);
}

static void instance_timers(up_instance *in, int64_t now) {
    if (in->state == UP_STOPPING && in->kill_at && now >= in->kill_at) up_instance_kill(in);
    if (in->state == UP_BACKOFF && now >= in->restart_at) start(in);
    if (in->state != UP_STARTING) return;
    if (in->next_try && now >= in->next_try) {
        up_instance_try(in, now);
        if (in->state == UP_READY) became_ready(in);
    }
    if (in->state == UP_STARTING && now >= in->started + in->service->ready_ns) {
        char text[400], limit[WEFT_NUM_TEXT];
        weft_format_duration(in->service->ready_ns, limit);
        snprintf(text, sizeof text, "is not ready after %s%s%s", limit, in->reason[0] ? ": " : "",
                 in->reason);
        if (!in->was_ready) {
            fail(in->sup, in, text);
        } else {
            event(in, "unready", text);
            up_instance_kill(in);
            in->started = now; /* said once; its end restarts it */
        }
    }
}

static int64_t sooner(int64_t a, int64_t b) { return b && b < a ? b : a; }

/* Milliseconds until the next timer, rounded up; -1: none. */
static int next_timeout(const up_sup *sup) {
    int64_t next = sooner(INT64_MAX, sup->command_kill_at);
    for (size_t i = 0; i < sup->count; i++) {
        const up_instance *in = &sup->instances[i];
        if (in->state == UP_STOPPING) next = sooner(next, in->kill_at);
        if (in->state == UP_BACKOFF) next = sooner(next, in->restart_at);
        if (in->state != UP_STARTING) continue;
        next = sooner(next, in->next_try);
        next = sooner(next, in->started + in->service->ready_ns);
    }
    if (next == INT64_MAX) return -1;
    int64_t wait = next - weft_now(NULL);
    if (wait <= 0) return 0;
    return wait > 3600 * WEFT_NS_PER_S ? 3600 * 1000
                                       : (int)((wait + WEFT_NS_PER_MS - 1) / WEFT_NS_PER_MS);
}

static void instance_events(up_instance *in, const struct pollfd *output,
                            const struct pollfd *ready, const struct pollfd *probe) {
    /* A descriptor may have been closed, and its number reused, by an event before this one. */
    if (output->revents && output->fd == in->out_fd && up_instance_read(in) == UP_READ_END)
        up_instance_close_output(in);
    if (ready->revents && ready->fd == in->ready_fd && up_instance_ready_event(in))
        became_ready(in);
    if (probe->revents && probe->fd == in->probe_fd && up_instance_probe_event(in))
        became_ready(in);
}

static void turn(up_sup *sup, struct pollfd *fds) {
    bool full = up_out_full(sup->out);
    fds[0] = (struct pollfd){.fd = sup->signal_fd, .events = POLLIN};
    fds[1] = (struct pollfd){.fd = sup->out->queue.len ? sup->out->fd : -1, .events = POLLOUT};
    for (size_t i = 0; i < sup->count; i++) {
        const up_instance *in = &sup->instances[i];
        fds[2 + 3 * i] = (struct pollfd){.fd = full ? -1 : in->out_fd, .events = POLLIN};
        fds[3 + 3 * i] = (struct pollfd){.fd = in->ready_fd, .events = POLLIN};
        fds[4 + 3 * i] = (struct pollfd){.fd = in->probe_fd, .events = POLLIN};
    }
    if (poll(fds, 2 + 3 * sup->count, next_timeout(sup)) < 0 && errno != EINTR) return;
    if (up_out_write(sup->out) < 0 && !sup->stopping) {
        weft_buf_adds(&sup->failure, "nobody reads the output any more");
        sup->code = 1;
        begin_stop(sup);
    }
    for (size_t i = 0; i < sup->count; i++)
        instance_events(&sup->instances[i], &fds[2 + 3 * i], &fds[3 + 3 * i], &fds[4 + 3 * i]);
    if (fds[0].revents) on_signals(sup);
    int64_t now = weft_now(NULL);
    for (size_t i = 0; i < sup->count; i++) instance_timers(&sup->instances[i], now);
    if (sup->command_kill_at && now >= sup->command_kill_at) {
        kill(sup->command_pid, SIGKILL);
        sup->command_kill_at = 0;
    }
}

static int open_signals(bool run) {
    static const int passed[] = {SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH};
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; run && i < WEFT_COUNT(passed); i++) sigaddset(&set, passed[i]);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0) return -1;
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Tells the failure last and on standard error, where it is not lost among the lines of services. */
static void tell(up_sup *sup) {
    up_out_flush(sup->out, 2000);
    if (sup->failure.len == 0) return;
    bool newline = sup->failure.data[sup->failure.len - 1] == '\n';
    fprintf(stderr, "error: %s%s", sup->failure.data, newline ? "" : "\n");
}

int up_run(const up_plan *plan, const up_options *options) {
    up_sup sup = {.plan = plan, .options = options, .out = options->out};
    weft_buf_init(&sup.failure, 64 * 1024);
    sup.arena = weft_arena_new(0);
    sup.began = weft_now(NULL);
    sup.signal_fd = open_signals(options->run);
    sup.guard = process_guard_start();
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    int rc = sup.arena && sup.signal_fd >= 0 ? up_instances_prepare(&sup) : WEFT_ENOMEM;
    struct pollfd *fds =
        rc == 0 ? weft_arena_calloc(sup.arena, 2 + 3 * sup.count, sizeof *fds) : NULL;
    if (!fds) {
        sup.code = 1;
        if (sup.failure.len == 0) weft_buf_adds(&sup.failure, weft_strerror(rc ? rc : WEFT_ENOMEM));
    }
    while (fds && !finished(&sup)) {
        if (!sup.stopping) advance_start(&sup);
        if (sup.stopping) advance_stop(&sup);
        if (!finished(&sup)) turn(&sup, fds);
    }
    if (sup.guard >= 0) close(sup.guard);
    process_kill_all();
    if (fds && !options->run)
        up_out_event(sup.out, "down", NULL, NULL, "everything has stopped after %.2f s",
                     seconds_since(sup.began));
    tell(&sup);
    if (sup.signal_fd >= 0) close(sup.signal_fd);
    up_instances_free(&sup);
    weft_buf_free(&sup.failure);
    weft_arena_free(sup.arena);
    return sup.code;
}
