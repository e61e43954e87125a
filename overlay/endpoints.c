/*
 * endpoints.c - where we are: our own candidate endpoints and the reflexive ones that peers report,
 * and who is told of them.
 *
 * Each peer with a direct path reports one endpoint, and its report counts as long as its session
 * lives: the traffic with it keeps that mapping. Behind a NAT that maps independently of the
 * endpoint they agree. What one peer alone reports is told only when no two agree: a NAT that maps
 * for each remote anew is seen differently by each, and what it maps for one peer is of use to
 * another only when it lets anybody in; the two oldest reporters will do, so that such a member
 * does not name a new endpoint with every peer it meets. It also means that a peer that lies is
 * believed only where nobody else agrees with anybody.
 */
#include <stdlib.h>
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

enum {
    REPORTS_MAX = 32, /* different endpoints compared; victim: the newest */
    ALONE_MAX = 2,    /* told of when no two peers agree */
};

struct report {
    struct endpoint us;
    uint32_t reporters;
    usec since_us; /* the oldest reporter's */
};

static bool reports(const struct sessions *ss, const struct session *s)
{
    const struct path *best = paths_best(&s->paths);

    return s->state == SESSION_UP && s->observed.addr.family != 0 && best != NULL &&
           best->addr.kind == PATH_UDP && !endpoint_among(&s->observed, ss->own, ss->own_count);
}

static void report_count(struct report *list, size_t *n, const struct session *s)
{
    size_t i = 0;

    while (i < *n && !endpoint_eq(&list[i].us, &s->observed))
        i++;
    if (i == REPORTS_MAX)
        return;
    if (i == *n)
        list[(*n)++] = (struct report){.us = s->observed, .since_us = s->up_us};
    list[i].reporters++;
    list[i].since_us = usec_min(list[i].since_us, s->up_us);
}

static int most_reporters_first(const void *a, const void *b)
{
    const struct report *x = a, *y = b;

    if (x->reporters != y->reporters)
        return x->reporters < y->reporters ? 1 : -1;
    if (x->since_us != y->since_us)
        return x->since_us > y->since_us ? 1 : -1;
    return endpoint_cmp(&x->us, &y->us);
}

static size_t seen_choose(const struct sessions *ss, struct endpoint out[SESSION_SEEN_MAX])
{
    struct report list[REPORTS_MAX];
    size_t n = 0, count = 0;

    for (size_t i = 0; i < ss->count; i++)
        if (reports(ss, ss->all[i]))
            report_count(list, &n, ss->all[i]);
    qsort(list, n, sizeof(*list), most_reporters_first);
    for (size_t i = 0; i < n && count < SESSION_SEEN_MAX; i++)
        if (list[i].reporters > 1 || (list[0].reporters == 1 && count < ALONE_MAX))
            out[count++] = list[i].us;
    return count;
}

/* Peers that have no direct path yet hear of a new reflexive address. */
static void seen_refresh(struct sessions *ss)
{
    struct endpoint seen[SESSION_SEEN_MAX];
    size_t n = seen_choose(ss, seen);

    if (n == ss->seen_count && same_endpoints(seen, ss->seen, n))
        return;
    memcpy(ss->seen, seen, n * sizeof(*seen));
    ss->seen_count = (uint8_t)n;
    for (size_t i = 0; i < ss->count; i++)
        if (ss->all[i]->state == SESSION_UP)
            path_news(ss->all[i]);
}

void session_seen_changed(struct session *s)
{
    if (s->observed.addr.family != 0)
        seen_refresh(s->ss);
}

void session_observed(struct session *s, const struct endpoint *us)
{
    if (us->addr.family == 0 || us->port == 0 || addr_is_multicast(&us->addr) ||
        addr_is_unspecified(&us->addr))
        return;
    if (endpoint_eq(us, &s->observed))
        return;
    s->observed = *us;
    seen_refresh(s->ss);
    session_event(s, EVENT_OBSERVED);
}
