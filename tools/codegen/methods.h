/* What is appended to a method's name, by its kind (weft_kind). NULL ends each list. */
#ifndef CODEGEN_METHODS_H
#define CODEGEN_METHODS_H

extern const char *const *const cg_method_endings[4];

#endif
