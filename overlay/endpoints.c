/*
 * endpoints.c - where we are: our own candidate endpoints and the reflexive ones that peers report,
 * and who is told of them.
 */
#include <string.h>

#include "overlay/session_internal.h"

static bool endpoint_among(const struct endpoint *ep, const struct endpoint *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (endpoint_eq(ep, &list[i]))
            return true;
    return false;
}

size_t sessions_own_endpoints(const struct sessions *ss, struct endpoint out[HELLO_ENDPOINTS_MAX])
{
    size_t n = ss->own_count;

    memcpy(out, ss->own, n * sizeof(*out));
    for (size_t i = 0; i < ss->seen_count && n < HELLO_ENDPOINTS_MAX; i++)
        out[n++] = ss->seen[i];
    return n;
}

void session_tell_endpoints(struct session *s)
{
    struct endpoint eps[HELLO_ENDPOINTS_MAX];
    uint8_t body[1 + HELLO_ENDPOINTS_MAX * 19];
    struct writer w = writer_of(body, sizeof(body));
    const struct path *best = paths_best(&s->paths);
    size_t n = sessions_own_endpoints(s->ss, eps);

    if (s->state != SESSION_UP || best == NULL)
        return;
    write_u8(&w, (uint8_t)n);
    for (size_t i = 0; i < n; i++)
        write_endpoint(&w, &eps[i]);
    session_queue(s, &best->addr, MSG_ENDPOINTS, body, writer_len(&w));
}

/* We may be somewhere else now: how does the peer see us? */
static void session_moved(struct session *s)
{
    struct path *best = paths_best(&s->paths);

    if (s->state != SESSION_UP || best == NULL)
        return;
    memset(&s->observed, 0, sizeof(s->observed));
    session_tell_endpoints(s);
    path_ping(s, best, PING_ASK_ENDPOINT);
}

static bool same_endpoints(const struct endpoint *a, const struct endpoint *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!endpoint_eq(&a[i], &b[i]))
            return false;
    return true;
}

void sessions_set_endpoints(struct sessions *ss, const struct endpoint *eps, size_t n)
{
    n = n < HELLO_ENDPOINTS_MAX ? n : HELLO_ENDPOINTS_MAX;
    if (n == ss->own_count && same_endpoints(eps, ss->own, n))
        return;
    if (n > 0)
        memcpy(ss->own, eps, n * sizeof(*eps));
    ss->own_count = (uint8_t)n;
    ss->seen_count = 0; /* of the network that we were in */
    for (size_t i = 0; i < ss->count; i++)
        session_moved(ss->all[i]);
    sessions_flush(ss);
}

/* Peers that have no direct path yet hear of a new reflexive address. */
static void seen_add(struct sessions *ss, const struct endpoint *us)
{
    if (endpoint_among(us, ss->own, ss->own_count) || endpoint_among(us, ss->seen, ss->seen_count))
        return;
    if (ss->seen_count < SESSION_SEEN_MAX)
        ss->seen_count++;
    memmove(&ss->seen[1], &ss->seen[0], (ss->seen_count - 1u) * sizeof(*us));
    ss->seen[0] = *us;
    for (size_t i = 0; i < ss->count; i++) {
        const struct path *best = paths_best(&ss->all[i]->paths);

        if (best != NULL && best->addr.kind == PATH_RING)
            session_tell_endpoints(ss->all[i]);
    }
}

void session_observed(struct session *s, const struct endpoint *us)
{
    if (us->addr.family == 0 || us->port == 0 || addr_is_multicast(&us->addr) ||
        addr_is_unspecified(&us->addr))
        return;
    if (endpoint_eq(us, &s->observed))
        return;
    s->observed = *us;
    seen_add(s->ss, us);
    session_event(s, EVENT_OBSERVED);
}
