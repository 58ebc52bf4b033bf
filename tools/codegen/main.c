/* protoc-gen-weft: protoc's plugin. Errors in contracts go back in the response; what is wrong
 * with the conversation itself goes to stderr with exit code 1, as plugin.proto asks. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tools/codegen/cg.h"

static int usage(void) {
    fputs("protoc-gen-weft is a plugin of protoc:\n"
          "\n"
          "    protoc -Iproto --weft_out=DIR --weft_opt=messages proto/shop/v1/user.proto\n"
          "\n"
          "For each FILE.proto it writes FILE.weft.h and FILE.weft.c: typed stubs, helpers of\n"
          "messages and the contract's descriptor. Options, each as --weft_opt=OPTION:\n"
          "\n"
          "    messages           FILE.pb-c.h and FILE.pb-c.c too, by protoc-gen-c\n"
          "    protoc_gen_c=PATH  where that is (default: protoc-gen-c in PATH)\n"
          "    prefix=NAME        front of all generated names, instead of the package\n"
          "\n"
          "\"weft gen\" runs protoc with all of this.\n",
          stdout);
    return 0;
}

static int fail(const char *what) {
    fprintf(stderr, "protoc-gen-weft: %s\n", what);
    return 1;
}

static int read_all(weft_buf *in) {
    for (;;) {
        char *to = weft_buf_reserve(in, 65536);
        if (!to) return in->error;
        ssize_t n = read(STDIN_FILENO, to, 65536);
        if (n < 0) return WEFT_EIO;
        if (n == 0) return 0;
        weft_buf_commit(in, (size_t)n);
    }
}

int main(int argc, char **argv) {
    if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) return usage();
    if (argc > 1 && strcmp(argv[1], "--version") == 0)
        return puts("protoc-gen-weft " WEFT_VERSION) < 0;
    if (argc > 1) {
        fail("takes no arguments; protoc talks to it (--help)");
        return 2;
    }
    if (isatty(STDIN_FILENO))
        return fail("is run by protoc, which writes a request to it (--help)");
    weft_buf in;
    weft_buf_init(&in, 0);
    if (read_all(&in)) return fail("cannot read the request");
    weft_arena *arena = weft_arena_new(0);
    if (!arena) cg_out_of_memory();
    size_t len = 0;
    const char *why = NULL;
    const uint8_t *response =
        cg_plugin(arena, (const uint8_t *)weft_buf_str(&in), in.len, &len, &why);
    if (!response) {
        fprintf(stderr, "protoc-gen-weft: this is no request of protoc: %s\n",
                why ? why : "malformed");
    } else if (fwrite(response, 1, len, stdout) != len || fflush(stdout) != 0) {
        response = NULL;
        fail("cannot write the response");
    }
    weft_arena_free(arena);
    weft_buf_free(&in);
    return response ? 0 : 1;
}
