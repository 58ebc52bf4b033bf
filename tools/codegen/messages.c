/* Messages: protobuf-c's generator, run on the same request, changed where it would fail.
 *
 *   proto3 `optional`   it refuses the file; the oneof protoc made for the field becomes an
 *                       ordinary one
 *   keywords            it does not know restrict, nullptr and others; such fields get a '_'
 *                       (fields.c)
 *   services            left out: ours replace them, and its members named `delete` or
 *                       `register` would not compile */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/codegen/cg.h"
#include "weft/pb.h"

extern char **environ;

static void rewrite_message(pb_message *m) {
    for (size_t i = 0; i < m->n_field; i++) {
        m->field[i]->has_proto3_optional = 0;
        m->field[i]->proto3_optional = 0;
    }
    for (size_t i = 0; i < m->n_nested_type; i++) rewrite_message(m->nested_type[i]);
}

static void rewrite_file(cg_gen *gen, cg_file *file) {
    /* The model points at the request, and is not needed any more. */
    pb_file *d = (pb_file *)(uintptr_t)file->d;
    for (size_t i = 0; i < file->message_count; i++)
        for (size_t k = 0; k < file->messages[i].field_count; k++) {
            const cg_field *f = &file->messages[i].fields[k];
            ((pb_field *)(uintptr_t)f->d)->name = cg_strdup(gen->arena, f->pb_name);
        }
    for (size_t i = 0; i < d->n_message_type; i++) rewrite_message(d->message_type[i]);
    for (size_t i = 0; i < d->n_extension; i++) d->extension[i]->has_proto3_optional = 0;
    d->n_service = 0;
}

static void failed(cg_gen *gen, const char *hint, const char *what) {
    weft_diag_add(&gen->diags, NULL, 0, 0, NULL, hint, "%s", what);
}

/* A file in memory that holds the request: no pipe to fill while the other one fills. */
static int request_file(const uint8_t *data, size_t len) {
    int fd = memfd_create("request", MFD_CLOEXEC);
    for (size_t done = 0; fd >= 0 && done < len;) {
        ssize_t n = write(fd, data + done, len - done);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            close(fd);
            return -1;
        }
        done += (size_t)n;
    }
    if (fd >= 0) lseek(fd, 0, SEEK_SET);
    return fd;
}

static int start(const char *program, int in, int out, pid_t *pid) {
    posix_spawn_file_actions_t actions;
    int error = posix_spawn_file_actions_init(&actions);
    if (error) return error;
    error = posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
    if (!error) error = posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    char *argv[] = {(char *)(uintptr_t)program, NULL};
    if (!error) error = posix_spawnp(pid, program, &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    return error;
}

static void drain(int fd, weft_buf *out) {
    for (;;) {
        char *to = weft_buf_reserve(out, 65536);
        if (!to) return;
        ssize_t n = read(fd, to, 65536);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return;
        weft_buf_commit(out, (size_t)n);
    }
}

/* Runs the program; false when it did not end well, which is reported. */
static bool run(cg_gen *gen, const uint8_t *request, size_t len, weft_buf *out) {
    const char *program = gen->params.protoc_gen_c ? gen->params.protoc_gen_c : "protoc-gen-c";
    int ends[2] = {-1, -1}, status = 0;
    pid_t pid = -1;
    int in = request_file(request, len);
    int error = in < 0 || pipe2(ends, O_CLOEXEC) < 0 ? errno : start(program, in, ends[1], &pid);
    if (in >= 0) close(in);
    if (ends[1] >= 0) close(ends[1]);
    if (error) {
        failed(gen, "install protobuf-c-compiler, or say --weft_opt=protoc_gen_c=PATH",
               cg_printf(gen->arena, "cannot run %s: %s", program, strerror(error)));
    } else {
        drain(ends[0], out);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
    }
    if (ends[0] >= 0) close(ends[0]);
    if (error) return false;
    if (out->error) cg_out_of_memory();
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return true;
    failed(gen, NULL,
           WIFSIGNALED(status) ? cg_printf(gen->arena, "%s crashed on these files: %s", program,
                                           strsignal(WTERMSIG(status)))
                               : cg_printf(gen->arena, "%s failed; its words are above", program));
    return false;
}

void cg_run_protoc_gen_c(cg_gen *gen, pb_response *response) {
    for (size_t i = 0; i < gen->file_count; i++) rewrite_file(gen, &gen->files[i]);
    pb_request request = *gen->request;
    request.parameter = NULL;
    size_t len;
    uint8_t *bytes = weft_pack(gen->arena, &request.base, &len);
    if (!bytes) cg_out_of_memory();
    weft_buf out;
    weft_buf_init(&out, 0);
    if (run(gen, bytes, len, &out)) {
        const weft_guard_limits limits = {.max_bytes = SIZE_MAX};
        const pb_response *theirs = (const pb_response *)weft_unpack(
            &google__protobuf__compiler__code_generator_response__descriptor,
            (const uint8_t *)weft_buf_str(&out), out.len, &limits, gen->arena, NULL, NULL);
        if (!theirs)
            failed(gen, NULL, "protoc-gen-c answered something else than a response");
        else if (theirs->error && *theirs->error)
            failed(gen, NULL, cg_printf(gen->arena, "protoc-gen-c: %s", theirs->error));
        for (size_t i = 0; theirs && i < theirs->n_file; i++)
            if (theirs->file[i]->name && theirs->file[i]->content)
                cg_add_output(gen, response, theirs->file[i]->name, theirs->file[i]->content);
    }
    weft_buf_free(&out);
}
