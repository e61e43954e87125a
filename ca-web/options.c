#include "ca-web/options.h"

#include <stdio.h>
#include <string.h>

static const struct option_def *option_named(const struct option_def *defs, size_t n,
                                             const char *name, size_t len)
{
    for (size_t i = 0; i < n; i++)
        if (strlen(defs[i].name) == len && !strncmp(defs[i].name, name, len))
            return &defs[i];
    return NULL;
}

/* arg is --name or --name=value; next is what follows it or NULL. Words taken, or 0. */
static int option_take(const struct option_def *defs, size_t n, const char *arg, const char *next,
                       char *why, size_t why_size)
{
    const char *name = arg + 2;
    size_t len = strcspn(name, "=");
    const char *value = name[len] == '=' ? name + len + 1 : NULL;
    const struct option_def *def = option_named(defs, n, name, len);

    if (!def)
        snprintf(why, why_size, "unknown option --%.*s", (int)len, name);
    else if (*def->value)
        snprintf(why, why_size, "option --%s is given twice", def->name);
    else if (def->flag && value)
        snprintf(why, why_size, "option --%s takes no value", def->name);
    else if (!def->flag && !value && !next)
        snprintf(why, why_size, "option --%s needs a value", def->name);
    else {
        *def->value = def->flag ? "" : value ? value : next;
        return def->flag || value ? 1 : 2;
    }
    return 0;
}

bool options_read(int argc, char **argv, const struct option_def *defs, size_t n,
                  struct words *words, char *why, size_t why_size)
{
    bool ended = false;

    *words = (struct words){0};
    for (int i = 1; i < argc;) {
        int taken = 1;
        if (!ended && !strcmp(argv[i], "--"))
            ended = true;
        else if (!ended && !strncmp(argv[i], "--", 2))
            taken = option_take(defs, n, argv[i], i + 1 < argc ? argv[i + 1] : NULL, why, why_size);
        else if (!ended && argv[i][0] == '-' && argv[i][1]) {
            snprintf(why, why_size, "unknown option %s", argv[i]);
            return false;
        } else if (words->count == OPTIONS_WORDS_MAX) {
            snprintf(why, why_size, "too many words, from \"%s\" on", argv[i]);
            return false;
        } else
            words->v[words->count++] = argv[i];
        if (!taken)
            return false;
        i += taken;
    }
    return true;
}
