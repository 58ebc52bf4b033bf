/* What a YAML scalar without quotes is, by the core schema of YAML 1.2 (section 10.3.2). Private to
 * lib/pb. */
#ifndef PB_YAML_SCALAR_H
#define PB_YAML_SCALAR_H

#include "node.h"

/* The kind of the text; for a number, its form in the grammar of JSON (or "NaN", "Infinity",
 * "-Infinity") is written to `number`, which has room for len + PB_YAML_NUMBER bytes. */
#define PB_YAML_NUMBER 32
pb_node_kind pb_yaml_plain(const char *text, size_t len, char *number);

#endif
