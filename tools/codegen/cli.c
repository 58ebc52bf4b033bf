#include "tools/codegen/gen.h"

#include <stdio.h>
#include <string.h>

#include "tools/codegen/cg.h"
#include "tools/codegen/cli.h"

enum { TEXT, JSON };

static const char examples[] =
    "\nExamples:\n"
    "  weft gen --out gen proto                    everything below proto\n"
    "  weft gen --out gen -I proto proto/shop/v1/user.proto\n"
    "  weft gen --out gen --list proto             what would be written\n"
    "  weft gen --out gen --check proto            for CI: fails when gen is not up to date\n"
    "\nEach FILE.proto becomes FILE.pb-c.h and .c (messages) and FILE.weft.h and .c\n"
    "(stubs, helpers, descriptor). Only files whose content changed are written;\n"
    "after an error, none.\n"
    "\nExit codes: 0 done; 1 a contract is wrong, or a file cannot be written (--check:\n"
    "something would change); 2 wrong flags or arguments.\n";

/* ---- what is printed ------------------------------------------------------------------------- */

static void json_text(weft_buf *out, const char *name, const char *text) {
    weft_buf_printf(out, "\"%s\":\"", name);
    weft_buf_add_json(out, text, strlen(text));
    weft_buf_adds(out, "\"");
}

static void json_diags(weft_buf *out, const char *name, const weft_diags *diags) {
    weft_buf_printf(out, "\"%s\":[", name);
    for (const weft_diag *d = diags->first; d; d = d->next) {
        weft_buf_adds(out, d == diags->first ? "\n  {" : ",\n  {");
        if (d->file) {
            json_text(out, "file", d->file);
            weft_buf_adds(out, ",");
        }
        if (d->line) weft_buf_printf(out, "\"line\":%d,\"column\":%d,", d->line, d->column);
        json_text(out, "message", d->text);
        if (d->hint) {
            weft_buf_adds(out, ",");
            json_text(out, "hint", d->hint);
        }
        weft_buf_adds(out, "}");
    }
    weft_buf_adds(out, "]");
}

static void print_json(const cli *c, int code) {
    weft_buf out;
    weft_buf_init(&out, 0);
    weft_buf_printf(&out, "{\"ok\":%s,\n\"files\":[", code ? "false" : "true");
    for (size_t i = 0; i < c->output_count; i++) {
        weft_buf_adds(&out, i ? ",\n  {" : "\n  {");
        json_text(&out, "path", c->outputs[i].to);
        weft_buf_printf(&out, ",\"changed\":%s}", c->outputs[i].changed ? "true" : "false");
    }
    weft_buf_adds(&out, "],\n");
    json_diags(&out, "errors", &c->errors);
    weft_buf_adds(&out, ",\n");
    json_diags(&out, "warnings", &c->warnings);
    weft_buf_adds(&out, "}\n");
    if (out.error) cg_out_of_memory();
    fputs(weft_buf_str(&out), stdout);
    weft_buf_free(&out);
}

static void print_text(const cli *c, int code) {
    weft_buf line;
    weft_buf_init(&line, 0);
    for (const weft_diag *d = c->warnings.first; d; d = d->next) {
        weft_buf_clear(&line);
        weft_diag_format(d, &line);
        fprintf(stderr, "warning: %s\n", weft_buf_str(&line));
    }
    weft_buf_free(&line);
    weft_diags_print(&c->errors, stderr);
    if (code == 2) fputs("weft gen --help tells more\n", stderr);
    for (size_t i = 0; i < c->output_count && (!c->errors.count || c->check); i++)
        if (c->list || c->outputs[i].changed) puts(c->outputs[i].to);
}

/* ---- the work -------------------------------------------------------------------------------- */

static int work(cli *c, const weft_flags *flags) {
    if (!flags->args_count) {
        weft_diag_add(&c->errors, NULL, 0, 0, NULL, "such as: weft gen --out gen proto",
                      "name .proto files, or folders of them");
        return 2;
    }
    if (!*c->out) {
        weft_diag_add(&c->errors, NULL, 0, 0, "--out", NULL, "must not be empty");
        return 2;
    }
    int rc = cli_find_roots(c);
    if (!rc) rc = cli_find_inputs(c, flags->args, flags->args_count);
    if (!rc) rc = cli_make_temp(c);
    if (!rc) rc = cli_run_protoc(c);
    if (!rc) rc = cli_compare(c);
    bool changed = false;
    for (size_t i = 0; i < c->output_count && !rc; i++) changed = changed || c->outputs[i].changed;
    if (!rc && c->check && changed) {
        weft_diag_add(&c->errors, c->out, 0, 0, NULL, "run weft gen without --check",
                      "the generated code is not up to date");
        rc = 1;
    }
    if (!rc && !c->list && !c->check) rc = cli_move(c);
    return rc;
}

/* A signal that would end us waits until the temporary folder is gone. */
static int guarded(cli *c, const weft_flags *flags) {
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGHUP);
    sigprocmask(SIG_BLOCK, &ends, &c->signals);
    int rc = work(c, flags);
    cli_remove_temp(c);
    sigprocmask(SIG_SETMASK, &c->signals, NULL);
    return rc;
}

static int help(const weft_flags *flags) {
    weft_buf text;
    weft_buf_init(&text, 0);
    if (weft_flags_help(flags, &text)) cg_out_of_memory();
    printf("%s%s", weft_buf_str(&text), examples);
    weft_buf_free(&text);
    return 0;
}

static int run(cli *c, int argc, char **argv) {
    static const char *const formats[] = {"text", "json", NULL};
    const weft_flag table[] = {
        {.name = "out",
         .required = true,
         .type = WEFT_FLAG_STRING,
         .to.string = &c->out,
         .value = "DIR",
         .help = "Where the generated code goes; made if needed."},
        {.name = "import",
         .letter = 'I',
         .type = WEFT_FLAG_LIST,
         .to.list = &c->imports,
         .value = "DIR",
         .help =
             "A folder that imports begin below; may be given again. Default: the folders given as "
             "arguments, else this one."},
        {.name = "messages",
         .type = WEFT_FLAG_BOOL,
         .to.boolean = &c->messages,
         .initial = "true",
         .help = "Leave FILE.pb-c.h and FILE.pb-c.c to you; else protoc-gen-c is run for them."},
        {.name = "prefix",
         .type = WEFT_FLAG_STRING,
         .to.string = &c->prefix,
         .value = "NAME",
         .help = "Front of all generated names, instead of the package."},
        {.name = "descriptor-set",
         .type = WEFT_FLAG_STRING,
         .to.string = &c->descriptor_set,
         .value = "FILE",
         .help = "Write all descriptors and their imports there, too."},
        {.name = "list",
         .type = WEFT_FLAG_BOOL,
         .to.boolean = &c->list,
         .help = "Write nothing; print what the generated files are."},
        {.name = "check",
         .type = WEFT_FLAG_BOOL,
         .to.boolean = &c->check,
         .help = "Write nothing; fail when a file would change, and print which."},
        {.name = "output",
         .letter = 'o',
         .type = WEFT_FLAG_ENUM,
         .to.choice = &c->format,
         .choices = formats,
         .initial = "text",
         .help = "How to print files and errors: text prints the files written, json all of them."},
        {.name = "protoc",
         .type = WEFT_FLAG_STRING,
         .to.string = &c->protoc,
         .env = "PROTOC",
         .value = "PATH",
         .help = "The protoc to run. Default: beside weft, else in PATH."},
        {.name = "plugin",
         .type = WEFT_FLAG_STRING,
         .to.string = &c->plugin,
         .value = "PATH",
         .help = "The protoc-gen-weft to run. Default: likewise."},
        {.name = "protoc-gen-c",
         .type = WEFT_FLAG_STRING,
         .to.string = &c->protoc_gen_c,
         .value = "PATH",
         .help = "The protoc-gen-c to run. Default: in PATH."},
    };
    weft_flags flags = {.program = "weft gen",
                        .usage = "FILE.proto|DIR...",
                        .about = "Makes C messages, stubs and descriptors from contracts.",
                        .table = table,
                        .count = WEFT_COUNT(table)};
    int rc = weft_flags_load(&flags, c->arena, argc, (const char *const *)argv, &c->errors);
    if (rc == WEFT_ENOMEM) cg_out_of_memory();
    if (flags.help) return help(&flags);
    rc = rc ? 2 : guarded(c, &flags);
    if (c->format == JSON)
        print_json(c, rc);
    else
        print_text(c, rc);
    return rc;
}

int weft_gen_main(int argc, char **argv) {
    weft_arena *arena = weft_arena_new(0);
    if (!arena) cg_out_of_memory();
    cli c = {.arena = arena};
    weft_diags_init(&c.errors, arena, 0);
    weft_diags_init(&c.warnings, arena, 0);
    int rc = run(&c, argc, argv);
    weft_arena_free(arena);
    return rc;
}
