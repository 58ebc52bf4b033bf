/* Regular expressions that match whole texts in time linear in the text, whatever the text: a DFA
 * made when the configuration is read. One table look-up a byte, no memory, no backtracking.
 *
 * Why not regcomp: glibc's matcher takes exponential time and memory on some patterns, and paths
 * come from strangers. Why not RE2: it is C++, and brings its runtime into the sidecar.
 *
 * Syntax: that of RE2 without what needs captures or Unicode tables. Literals, '.', [classes],
 * [^classes], [[:alpha:]] and its kin, \d \w \s \D \W \S \t \n \r \f \v \xHH, escaped punctuation,
 * ( ) (?: ), |, * + ? {m} {m,} {m,n} and their lazy forms, ^ and $ (which must be at the ends:
 * matches are anchored anyway). '.' and negated classes match one byte, not '\n'. Refused with a
 * reason: backreferences, look-around, \b, \p{…}, flags, and what needs more than 2,048 states. */
#ifndef SIDECAR_CONFIG_REGEX_H
#define SIDECAR_CONFIG_REGEX_H

#include <stdbool.h>
#include <stddef.h>

#include "weft/arena.h"

typedef struct config_regex config_regex;

#define CONFIG_REGEX_BYTES 1024u     /* longest pattern */
#define CONFIG_REGEX_POSITIONS 1000u /* characters of it once {m,n} are written out */
#define CONFIG_REGEX_STATES 2048u

/* Compiles `pattern` into `arena`. WEFT_EPARSE and WEFT_ELIMIT with a static sentence in *why, or
 * WEFT_ENOMEM. */
int config_regex_compile(weft_arena *arena, const char *pattern, const config_regex **out,
                         const char **why) WEFT_MUST_USE;

/* Whether all of `text` matches. Any thread. */
bool config_regex_match(const config_regex *regex, const char *text, size_t len);

#endif
