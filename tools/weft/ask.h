/* Asking weft-telemetry: what `weft trace` and `weft logs` share. */
#ifndef TOOLS_WEFT_ASK_H
#define TOOLS_WEFT_ASK_H

#include "tools/weft/cmd.h"
#include "weft/rpc.h"

#define ASK_TIMEOUT WEFT_TIMEOUT_S(10)
#define ASK_REPLY_MAX ((size_t)256 << 20)

#define ASK_TELEMETRY(to_)                                                                     \
    {                                                                                          \
        .name = "telemetry", .type = WEFT_FLAG_STRING, .to.string = (to_), .value = "ADDRESS", \
        .env = "WEFT_TELEMETRY", .initial = "127.0.0.1:4317",                                  \
        .help = "Where weft-telemetry listens."                                                \
    }

/* Never NULL. */
weft_channel *ask_dial(const char *address);

/* Prints what a failed call means for the user; returns the exit code. */
int ask_failed(const char *address, weft_status st);

/* Prints a message of the query API as JSON, one line. */
int ask_print_json(weft_arena *arena, const ProtobufCMessage *message);

/* Whether the terminal's characters are UTF-8, and how many columns standard output has (120 when it is none). */
bool ask_utf8(void);
unsigned ask_columns(void);

#endif
