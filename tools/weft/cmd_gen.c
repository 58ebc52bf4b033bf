#include "tools/codegen/gen.h"
#include "tools/weft/cmd.h"

const struct cmd cmd_gen = {
    .name = "gen",
    .usage = "--out DIR [-I DIR]... FILE...",
    .summary = "Make C messages and stubs from .proto files",
    .raw = weft_gen_main,
};
