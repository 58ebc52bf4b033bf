#include "tools/weft/ask.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tools/weft/connect.h"
#include "weft/num.h"
#include "weft/pb.h"
#include "weft/telemetry/v1/telemetry.weft.h"

#define COLUMNS_DEFAULT 120

weft_channel *ask_dial(const char *address) {
    if (!getenv("GRPC_VERBOSITY")) setenv("GRPC_VERBOSITY", "NONE", 0); /* we tell errors */
    const weft_dial_options options = {.size = sizeof options, .max_reply = ASK_REPLY_MAX};
    return weft_dial_with(address, &options);
}

int ask_failed(const char *address, weft_status st) {
    weft_addr addr;
    if (st.code == WEFT_UNAVAILABLE && weft_addr_parse(address, &addr, NULL) == 0) {
        const int error = connect_try(&addr, 2000);
        if (error) {
            cmd_error(
                "no weft-telemetry at %s: %s (--telemetry or WEFT_TELEMETRY says where it is)",
                address, strerror(error));
            return EXIT_UNREACHABLE;
        }
    }
    if (st.code == WEFT_UNIMPLEMENTED)
        cmd_error("what listens at %s is no weft-telemetry", address);
    else
        cmd_error("%s: %s", weft_code_name((int)st.code), weft_status_message(st));
    return st.code == WEFT_INVALID_ARGUMENT ? EXIT_USAGE : EXIT_FAILED;
}

int ask_print_json(weft_arena *arena, const ProtobufCMessage *message) {
    weft_registry *registry = weft_registry_new();
    weft_diags diags;
    weft_buf out;
    weft_buf_init(&out, 0);
    weft_diags_init(&diags, arena, 0);
    const weft_json_options options = {.size = sizeof options};
    int rc = registry ? weft_registry_add_file(registry,
                                               &weft_file_weft_telemetry_v1_telemetry_proto, &diags)
                      : WEFT_ENOMEM;
    if (!rc) rc = weft_json_encode(registry, message, &options, &out, &diags);
    if (rc) {
        weft_diags_print(&diags, stderr);
        if (!diags.count) cmd_error("%s", weft_strerror(rc));
    } else {
        puts(weft_buf_str(&out));
    }
    weft_buf_free(&out);
    weft_registry_free(registry);
    return rc ? EXIT_FAILED : EXIT_OK;
}

bool ask_utf8(void) {
    static const char *const variables[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) {
        const char *value = getenv(variables[i]);
        if (value && *value) return strcasestr(value, "UTF-8") || strcasestr(value, "UTF8");
    }
    return false;
}

unsigned ask_columns(void) {
    struct winsize size;
    int64_t columns = 0;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col) return size.ws_col;
    const char *variable = getenv("COLUMNS");
    if (variable && weft_parse_int64(variable, &columns) == 0 && columns > 0 && columns < 10000)
        return (unsigned)columns;
    return COLUMNS_DEFAULT;
}
