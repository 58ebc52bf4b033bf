#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/weft/call.h"
#include "tools/weft/cmd.h"
#include "tools/weft/connect.h"
#include "tools/weft/contract.h"
#include "tools/weft/describe.h"
#include "tools/weft/up_plan.h"

#define REFLECTION_TIMEOUT WEFT_TIMEOUT_S(10)

static struct {
    const char *authority, *set;
    weft_flag_list headers, protos, roots;
    int64_t timeout;
    int format;
    bool emit_defaults, verbose, wait;
} opt;

/* What the user asked for. */
struct job {
    const struct cmd *cmd;
    weft_arena *arena;
    const char *address, *service, *method, *data; /* all but the first may be NULL */
    contract all;
    weft_channel *channel;
    weft_ctx *ctx; /* of reflection */
    reflection ask;
    bool reflects; /* no contract was given: the server is asked */
};

/* ---- reaching it ------------------------------------------------------------------------------------ */

/* Where weft_dial goes for a target: a declared upstream, an address, or the sidecar. 0, or WEFT_EPARSE. */
static int resolve(weft_arena *arena, const char *target, weft_addr *addr) {
    const char *variable = up_upstream_variable(arena, target);
    const char *upstream = variable ? getenv(variable) : NULL;
    if (upstream && *upstream) return weft_addr_parse(upstream, addr, NULL);
    if (weft_addr_parse(target, addr, NULL) == 0) return 0;
    const char *outbound = getenv("WEFT_OUTBOUND");
    return weft_addr_parse(outbound, addr, NULL);
}

static bool unreachable(void *user, weft_status st) {
    struct job *job = user;
    weft_addr addr;
    if (resolve(job->arena, job->address, &addr) < 0) {
        cmd_error("%s", weft_status_message(st));
        return true;
    }
    int error = connect_try(&addr, 2000);
    if (error == 0) return false;
    char text[WEFT_ADDR_TEXT];
    weft_addr_format(&addr, text);
    cmd_error(
        "cannot connect to %s: %s (is it running? weft up prints the addresses of what it runs)",
        text,
        addr.kind == WEFT_ADDR_NAME && error == EADDRNOTAVAIL ? "no such host" : strerror(error));
    return true;
}

/* What a failed question to the server means for the user. */
static int reflection_failed(struct job *job, weft_status st) {
    if (st.code == WEFT_UNAVAILABLE && unreachable(job, st)) return EXIT_UNREACHABLE;
    call_print_error(&job->all, st);
    if (st.code == WEFT_UNIMPLEMENTED)
        fprintf(
            stderr,
            "(%s does not tell its contracts by reflection: give them with --proto FILE -I DIR)\n",
            job->address);
    return EXIT_FAILED;
}

/* ---- contracts -------------------------------------------------------------------------------------- */

static int contract_failed(int rc, const weft_diags *diags) {
    weft_diags_print(diags, stderr);
    if (diags->count == 0 && rc != WEFT_EPARSE) cmd_error("%s", weft_strerror(rc));
    return EXIT_USAGE;
}

static const char *const *terminated(weft_arena *arena, const weft_flag_list *list) {
    const char **copy = weft_arena_calloc(arena, list->count + 1, sizeof *copy);
    for (size_t i = 0; copy && i < list->count; i++) copy[i] = list->items[i];
    return copy;
}

/* The services there are, from where the flags say. EXIT_OK or a code after an error was printed. */
static int learn(struct job *job) {
    weft_diags diags;
    weft_diags_init(&diags, job->arena, 0);
    int rc = contract_init(&job->all, job->arena);
    if (rc == 0 && opt.set) rc = contract_add_set_file(&job->all, opt.set, &diags);
    if (rc == 0 && opt.protos.count) {
        const char *const *files = terminated(job->arena, &opt.protos);
        const char *const *roots = terminated(job->arena, &opt.roots);
        rc = files && roots ? contract_add_protos(&job->all, files, roots, &diags) : WEFT_ENOMEM;
    }
    if (rc < 0) return contract_failed(rc, &diags);
    job->reflects = !opt.set && !opt.protos.count;
    if (!job->reflects) return EXIT_OK;
    job->ctx = weft_ctx_new(opt.timeout && opt.timeout < REFLECTION_TIMEOUT ? opt.timeout
                                                                            : REFLECTION_TIMEOUT);
    if (!job->ctx) return contract_failed(WEFT_ENOMEM, &diags);
    weft_ctx_wait_for_ready(job->ctx, opt.wait);
    for (size_t i = 0; i < opt.headers.count; i++) {
        const char *why;
        if (call_add_header(job->ctx, opt.headers.items[i], &why) == 0) continue;
        return cmd_usage_error(job->cmd, "-H '%s': %s", opt.headers.items[i], why);
    }
    reflection_begin(&job->ask, job->channel, job->ctx);
    weft_status st = reflection_list(&job->ask, &job->all);
    return weft_failed(st) ? reflection_failed(job, st) : EXIT_OK;
}

static int load_service(struct job *job, const char *name, const weft_type_service **service) {
    if (job->reflects) {
        weft_status st = reflection_load(&job->ask, &job->all, name);
        if (weft_failed(st)) return reflection_failed(job, st);
    }
    *service = weft_registry_service(job->all.registry, name);
    if (*service) return EXIT_OK;
    cmd_error("%s lists the service %s but does not describe it", job->address, name);
    return EXIT_FAILED;
}

static int no_service(struct job *job, const char *near) {
    cmd_error("there is no service \"%s\" %s %s", job->service,
              job->reflects ? "at" : "in the contracts for", job->address);
    if (near)
        fprintf(stderr, "did you mean \"%s\"?\n", near);
    else
        for (size_t i = 0; i < job->all.service_count && i < 20; i++)
            fprintf(stderr, "%s%s\n", i ? "             " : "there is     ", job->all.services[i]);
    return EXIT_USAGE;
}

/* "pkg.Service.Method" as well as "pkg.Service/Method": without a slash the last dot may be one. */
static const char *find_service(struct job *job, const char **near) {
    const char *name = contract_find_service(&job->all, job->service, near);
    if (name || job->method) return name;
    const char *dot = strrchr(job->service, '.');
    if (!dot || dot == job->service) return NULL;
    const char *front = weft_arena_strndup(job->arena, job->service, (size_t)(dot - job->service));
    if (front) name = contract_find_service(&job->all, front, NULL);
    if (name) job->method = dot + 1;
    return name;
}

static int no_method(struct job *job, const weft_type_service *service) {
    cmd_error("%s has no method \"%s\"", service->name, job->method);
    const char **names = weft_arena_calloc(job->arena, service->method_count + 1, sizeof *names);
    if (!names) return EXIT_USAGE;
    for (size_t i = 0; i < service->method_count; i++) names[i] = service->methods[i].name;
    const char *near = weft_suggest(job->method, names, service->method_count);
    if (near) {
        fprintf(stderr, "did you mean \"%s\"?\n", near);
        return EXIT_USAGE;
    }
    for (size_t i = 0; i < service->method_count && i < 40; i++)
        fprintf(stderr, "%s%s\n", i ? "          " : "it has    ", names[i]);
    return EXIT_USAGE;
}

/* ---- showing ---------------------------------------------------------------------------------------- */

/* Health and reflection, which every server has. */
static bool built_in(const char *service) { return strncmp(service, "grpc.", 5) == 0; }

static int list_one(struct job *job, const char *name, weft_buf *out) {
    const weft_type_service *service;
    int code = load_service(job, name, &service);
    if (code != EXIT_OK) return code;
    if (opt.format == CMD_JSON) {
        if (out->len > 1) weft_buf_addc(out, ',');
        describe_service_json(service, out);
    } else {
        describe_service_line(service, out);
    }
    return EXIT_OK;
}

/* What is the server's own comes first. */
static int list_all(struct job *job) {
    weft_buf out;
    weft_buf_init(&out, 0);
    int code = EXIT_OK;
    if (opt.format == CMD_JSON) weft_buf_addc(&out, '[');
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < job->all.service_count && code == EXIT_OK; i++)
            if (built_in(job->all.services[i]) == (pass == 1))
                code = list_one(job, job->all.services[i], &out);
    if (opt.format == CMD_JSON) weft_buf_adds(&out, "]\n");
    if (code == EXIT_OK) fputs(weft_buf_str(&out), stdout);
    if (code == EXIT_OK && job->all.service_count == 0) fputs("no services\n", stderr);
    weft_buf_free(&out);
    return code;
}

static int show(struct job *job, const weft_type_service *service) {
    weft_buf out;
    weft_buf_init(&out, 0);
    if (opt.format == CMD_JSON) {
        describe_service_json(service, &out);
        weft_buf_addc(&out, '\n');
    } else {
        describe_service(service, job->address, &out);
    }
    fputs(weft_buf_str(&out), stdout);
    weft_buf_free(&out);
    return EXIT_OK;
}

/* ---- calling ---------------------------------------------------------------------------------------- */

static int open_input(struct job *job, json_input *input, int *fd, const char **name) {
    *fd = -1;
    *name = "request";
    if (job->data && strcmp(job->data, "-") == 0) {
        *name = "stdin";
        json_input_fd(input, STDIN_FILENO);
        return EXIT_OK;
    }
    if (job->data && job->data[0] == '@') {
        *name = job->data + 1;
        *fd = open(*name, O_RDONLY | O_CLOEXEC);
        if (*fd < 0) {
            cmd_error("cannot read %s: %s", *name, strerror(errno));
            return EXIT_USAGE;
        }
        json_input_fd(input, *fd);
        return EXIT_OK;
    }
    if (json_input_text(input, job->data ? job->data : "") < 0) {
        cmd_error("the request is too large for an argument: use @FILE");
        json_input_free(input);
        return EXIT_USAGE;
    }
    return EXIT_OK;
}

static int make_call(struct job *job, const weft_type_method *method) {
    json_input input;
    int fd;
    const char *name;
    int code = open_input(job, &input, &fd, &name);
    if (code != EXIT_OK) return code;
    call what = {.channel = job->channel,
                 .all = &job->all,
                 .method = method,
                 .input = &input,
                 .input_name = name,
                 .timeout_ns = opt.timeout ? opt.timeout : WEFT_NO_TIMEOUT,
                 .headers = terminated(job->arena, &opt.headers),
                 .verbose = opt.verbose,
                 .wait = opt.wait,
                 .emit_defaults = opt.emit_defaults,
                 .pretty = opt.format == CMD_TEXT};
    if (what.headers)
        code = call_run(&what, unreachable, job);
    else
        cmd_error("out of memory");
    json_input_free(&input);
    if (fd >= 0) close(fd);
    return what.headers ? code : EXIT_FAILED;
}

static int do_job(struct job *job) {
    int code = learn(job);
    if (code != EXIT_OK) return code;
    if (!job->service) return list_all(job);
    const char *near;
    const char *name = find_service(job, &near);
    if (!name) return no_service(job, near);
    const weft_type_service *service;
    code = load_service(job, name, &service);
    if (code != EXIT_OK) return code;
    if (!job->method) return show(job, service);
    const weft_type_method *method = weft_type_method_by_name(service, job->method);
    if (!method) return no_method(job, service);
    /* Not needed any more, and the server may want to drain. */
    reflection_end(&job->ask);
    return make_call(job, method);
}

static int run(const cmd_args *in) {
    if (in->count == 0) return cmd_usage_error(in->cmd, "call whom? Give an address or a name");
    if (in->count > 3)
        return cmd_usage_error(
            in->cmd, "one JSON argument, in single quotes; did not expect \"%s\"", in->args[3]);
    if (!*in->args[0]) return cmd_usage_error(in->cmd, "call whom? The address is empty");
    if (in->rest) return cmd_usage_error(in->cmd, "did not expect \"--\"");
    if (opt.timeout < 0) return cmd_usage_error(in->cmd, "--timeout must not be negative");
    if (opt.roots.count && !opt.protos.count)
        return cmd_usage_error(in->cmd, "-I says where imports of --proto are");
    struct job job = {.cmd = in->cmd, .arena = in->arena, .address = in->args[0]};
    if (in->count > 1) {
        const char *name = in->args[1];
        if (*name == '/') name++; /* as in a path */
        const char *slash = strchr(name, '/');
        job.service = slash ? weft_arena_strndup(in->arena, name, (size_t)(slash - name)) : name;
        job.method = slash ? slash + 1 : NULL;
        if (!job.service) return EXIT_FAILED;
    }
    if (in->count > 2) job.data = in->args[2];
    if (!getenv("GRPC_VERBOSITY"))
        setenv("GRPC_VERBOSITY", "NONE", 0); /* we tell errors ourselves */
    const weft_dial_options options = {
        .size = sizeof options, .authority = opt.authority, .max_reply = 256 << 20};
    job.channel = weft_dial_with(job.address, &options);
    int code = do_job(&job);
    if (job.ctx) reflection_end(&job.ask);
    weft_ctx_free(job.ctx);
    weft_channel_free(job.channel);
    contract_free(&job.all);
    return code;
}

static const weft_flag flags[] = {
    CMD_LIST("header", 'H', &opt.headers, "'KEY: VALUE'",
             "Metadata to send; may be given again. Values of -bin keys are base64."),
    {.name = "timeout",
     .type = WEFT_FLAG_DURATION,
     .to.duration = &opt.timeout,
     .initial = "10s",
     .min = "0",
     .max = "8760h",
     .help = "Deadline of the call, streams too; 0: none."},
    CMD_STRING("authority", 0, &opt.authority, "NAME",
               "The :authority to send. Default: from the address."),
    CMD_LIST("proto", 0, &opt.protos, "FILE",
             "Take the contract from this .proto file, not from the server; may be given again."),
    CMD_LIST("include", 'I', &opt.roots, "DIR",
             "Where --proto files and their imports are; may be given again."),
    CMD_STRING(
        "descriptor-set", 0, &opt.set, "FILE",
        "Take the contract from a file made by protoc --descriptor_set_out --include_imports."),
    CMD_BOOL("wait", 0, &opt.wait, "Wait, within --timeout, for a server that is not up yet."),
    CMD_BOOL("emit-defaults", 0, &opt.emit_defaults, "Print fields that hold their default, too."),
    CMD_OUTPUT(&opt.format,
               "text: a single reply is spread over lines; json: everything on one line each."),
    CMD_BOOL("verbose", 'v', &opt.verbose, "Print metadata, status and time on standard error."),
};

const struct cmd cmd_call = {
    .name = "call",
    .usage = "ADDRESS [SERVICE[/METHOD] [JSON]]",
    .summary = "Call a method, or show what there is to call",
    .about =
        "Calls a method of any gRPC server with JSON. ADDRESS is host:port, [v6]:port, unix:/path, "
        "unix-abstract:name, or a name whose address is in WEFT_UPSTREAM_<NAME>. Without METHOD it shows the "
        "service, without SERVICE all of them. JSON is an argument, @FILE, or - for standard input; methods "
        "that take a stream take any number of values, one after another; replies of streams are printed one "
        "a line as they come. The contract comes from the server (reflection v1 or v1alpha) unless --proto "
        "or --descriptor-set gives it. A SERVICE's package may be left out where that is clear.",
    .more =
        "Examples:\n"
        "  weft call unix:/run/shop/product.sock\n"
        "  weft call 127.0.0.1:8080 shop.product.v1.ProductService\n"
        "  weft call 127.0.0.1:8080 ProductService/GetProduct '{\"productId\": \"gel-pen-0-5-mm-3-pcs\"}'\n"
        "  weft call product ProductService/GetProduct @request.json -H 'x-user: alice' -v\n"
        "  tail -f orders.ndjson | weft call order OrderService/Import - --timeout 0\n"
        "\n"
        "Exit codes: 0 the call ended with OK; 1 it ended with another status; 2 wrong flags, JSON, service or\n"
        "method; 3 nobody could be reached at ADDRESS.\n",
    .flags = flags,
    .flag_count = WEFT_COUNT(flags),
    .run = run,
};
