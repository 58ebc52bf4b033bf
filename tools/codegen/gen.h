/* `weft gen`: from .proto files to messages, stubs and descriptors in one command. */
#ifndef CODEGEN_GEN_H
#define CODEGEN_GEN_H

/* Parses its own flags; argv[0] is the command's name. Runs protoc with our plugin and writes
 * what changed. Returns 0; 1 when a contract is wrong or a file cannot be written; 2 for wrong
 * flags or arguments. On failure nothing was written. */
int weft_gen_main(int argc, char **argv);

#endif
