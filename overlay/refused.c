/*
 * refused.c - the last handshakes that were refused, and why, for people to ask. A repeated refusal
 * moves to the front and is logged once.
 */
#include <stdlib.h>
#include <string.h>

#include "overlay/session_internal.h"

static bool refused_the_same(const struct session_refused *a, const struct session_refused *b)
{
    return a->why == b->why && id_eq(&a->peer, &b->peer) && path_addr_eq(&a->from, &b->from);
}

void session_remember_refusal(struct sessions *ss, const struct path_addr *from,
                              const struct cert *who, const char *why)
{
    struct session_refused r = {
        .from = *from, .peer = who->node, .why = why, .at_us = ss->env->now_us};
    char peer[ID_TEXT_SIZE];
    size_t i = 0;

    if (ss->refused == NULL)
        ss->refused = calloc(SESSION_REFUSED_MAX, sizeof(*ss->refused));
    if (ss->refused == NULL)
        return;
    memcpy(r.user, who->user, sizeof(r.user));
    while (i < ss->refused_count && !refused_the_same(&ss->refused[i], &r))
        i++;
    if (i == ss->refused_count) {
        env_log(ss->env, LOG_LEVEL_INFO, "refused %s %s: %s", id_text(&r.peer, peer), r.user, why);
        if (ss->refused_count < SESSION_REFUSED_MAX)
            ss->refused_count++;
        else
            i--;
    }
    memmove(&ss->refused[1], &ss->refused[0], i * sizeof(r));
    ss->refused[0] = r;
}

size_t sessions_refused(const struct sessions *ss, struct session_refused *out, size_t max)
{
    size_t n = ss->refused_count < max ? ss->refused_count : max;

    if (n > 0)
        memcpy(out, ss->refused, n * sizeof(*out));
    return n;
}
