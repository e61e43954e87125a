/*
 * options.h - words and options of a command line. Options may stand anywhere among the words, as
 * `--x v` or `--x=v`; `--` ends them.
 */
#ifndef PEAL_CA_OPTIONS_H
#define PEAL_CA_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

enum { OPTIONS_WORDS_MAX = 8 };

struct option_def {
    const char *name;   /* without the dashes */
    bool flag;          /* takes no value */
    const char **value; /* set to the value, or to "" for a flag */
};

struct words {
    const char *v[OPTIONS_WORDS_MAX];
    size_t count;
};

/* False, and a sentence in why, for an unknown option, a missing or superfluous value, an option
 * given twice, too many words. */
bool options_read(int argc, char **argv, const struct option_def *defs, size_t n,
                  struct words *words, char *why, size_t why_size);

#endif
