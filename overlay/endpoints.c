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
 * believed only where nobody else agrees with anybody. Where such a NAT takes port after port, the
 * ones that it will take next are told too.
 */
#include <stdlib.h>
#include <string.h>

#include "overlay/session_internal.h"

/* There is always room for so many that others see: a machine with many bridges has more addresses
 * than fit, and what leads through its NAT is none of them. */
enum { LEARNED_TOLD = 4 };

static bool endpoint_among(const struct endpoint *ep, const struct endpoint *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (endpoint_eq(ep, &list[i]))
            return true;
    return false;
}

size_t sessions_own_endpoints(const struct sessions *ss, struct endpoint out[HELLO_ENDPOINTS_MAX])
{
    size_t learned = ss->seen_count + ss->predicted_count;
    size_t most = HELLO_ENDPOINTS_MAX - (learned < LEARNED_TOLD ? learned : LEARNED_TOLD);
    size_t n = ss->own_count < most ? ss->own_count : most;

    memcpy(out, ss->own, n * sizeof(*out));
    for (size_t i = 0; i < ss->seen_count && n < HELLO_ENDPOINTS_MAX; i++)
        out[n++] = ss->seen[i];
    for (size_t i = 0; i < ss->predicted_count && n < HELLO_ENDPOINTS_MAX; i++)
        out[n++] = ss->predicted[i];
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

bool sessions_set_endpoints(struct sessions *ss, const struct endpoint *eps, size_t n)
{
    n = n < HELLO_ENDPOINTS_MAX ? n : HELLO_ENDPOINTS_MAX;
    if (n == ss->own_count && same_endpoints(eps, ss->own, n))
        return false;
    if (n > 0)
        memcpy(ss->own, eps, n * sizeof(*eps));
    ss->own_count = (uint8_t)n;
    ss->seen_count = ss->outside_count = ss->predicted_count =
        0; /* of the network that we were in */
    ss->mapping = OVERLAY_NAT_MAPPING_UNKNOWN;
    for (size_t i = 0; i < ss->count; i++)
        session_moved(ss->all[i]);
    sessions_flush(ss);
    return true;
}

enum {
    REPORTS_MAX = 64, /* looked at; victim: the last */
    ALONE_MAX = 2,    /* told of when no two peers agree */
};

/* One endpoint and all who see us there. */
struct place {
    struct endpoint us;
    uint32_t reporters;
    usec since_us; /* the oldest reporter's */
};

static bool reports(const struct session *s)
{
    const struct path *best = paths_best(&s->paths);

    return s->state == SESSION_UP && s->observed.addr.family != 0 && best != NULL &&
           best->addr.kind == PATH_UDP;
}

bool session_is_mapped(const struct session *s)
{
    return reports(s) && !endpoint_among(&s->observed, s->ss->own, s->ss->own_count);
}

static size_t reports_collect(const struct sessions *ss, struct nat_report v[REPORTS_MAX])
{
    size_t n = 0;

    for (size_t i = 0; i < ss->outside_count; i++)
        v[n++] = ss->outside[i];
    for (size_t i = 0; i < ss->count && n < REPORTS_MAX; i++) {
        const struct session *s = ss->all[i];

        if (!reports(s))
            continue;
        v[n++] =
            (struct nat_report){.by = paths_best(&s->paths)->addr.ep,
                                .us = s->observed,
                                .lan = sessions_on_lan(ss, &paths_best(&s->paths)->addr.ep.addr),
                                .since_us = s->up_us};
    }
    return n;
}

static void place_count(struct place *list, size_t *n, const struct nat_report *r)
{
    size_t i = 0;

    while (i < *n && !endpoint_eq(&list[i].us, &r->us))
        i++;
    if (i == *n)
        list[(*n)++] = (struct place){.us = r->us, .since_us = r->since_us};
    list[i].reporters++;
    list[i].since_us = usec_min(list[i].since_us, r->since_us);
}

static int most_reporters_first(const void *a, const void *b)
{
    const struct place *x = a, *y = b;

    if (x->reporters != y->reporters)
        return x->reporters < y->reporters ? 1 : -1;
    if (x->since_us != y->since_us)
        return x->since_us > y->since_us ? 1 : -1;
    return endpoint_cmp(&x->us, &y->us);
}

static size_t seen_choose(const struct sessions *ss, const struct nat_report *v, size_t reported,
                          struct endpoint out[SESSION_SEEN_MAX])
{
    struct place list[REPORTS_MAX];
    size_t n = 0, count = 0;

    for (size_t i = 0; i < reported; i++)
        if (!endpoint_among(&v[i].us, ss->own, ss->own_count))
            place_count(list, &n, &v[i]);
    qsort(list, n, sizeof(*list), most_reporters_first);
    for (size_t i = 0; i < n && count < SESSION_SEEN_MAX; i++)
        if (list[i].reporters > 1 || (list[0].reporters == 1 && count < ALONE_MAX))
            out[count++] = list[i].us;
    return count;
}

bool sessions_see_nat(const struct sessions *ss)
{
    return ss->mapping != OVERLAY_NAT_MAPPING_UNKNOWN && ss->mapping != OVERLAY_NAT_MAPPING_NONE;
}

void sessions_nat(const struct sessions *ss, struct overlay_nat *out)
{
    struct nat_report v[REPORTS_MAX];
    size_t n = reports_collect(ss, v);

    *out = (struct overlay_nat){.keepalive_us = 0};
    nat_judge(v, n, ss->own, ss->own_count, out);
    for (size_t i = 0; i < ss->seen_count; i++)
        out->reflexive[out->reflexive_count++] = ss->seen[i];
    for (size_t i = 0; i < n && out->reflexive_count < OVERLAY_REFLEXIVE_MAX; i++)
        if (!endpoint_among(&v[i].us, out->reflexive, out->reflexive_count))
            out->reflexive[out->reflexive_count++] = v[i].us;
    if (ss->seen_count > 0) /* elsewhere than we are */
        out->keepalive_us = ss->keepalive_us;
}

void sessions_set_keepalive(struct sessions *ss, usec silent_us)
{
    ss->keepalive_us = silent_us > SEC(SESSION_KEEPALIVE_S) ? silent_us : SEC(SESSION_KEEPALIVE_S);
}

void sessions_set_filtering(struct sessions *ss, uint8_t filtering)
{
    ss->filtering = filtering;
}

uint8_t session_nat_flags(const struct sessions *ss)
{
    uint8_t filtering =
        ss->mapping == OVERLAY_NAT_MAPPING_NONE ? OVERLAY_NAT_FILTERING_NONE : ss->filtering;

    return (uint8_t)(PING_NAT | ss->mapping << PING_NAT_MAPPING_SHIFT |
                     filtering << PING_NAT_FILTERING_SHIFT);
}

void session_nat_heard(struct session *s, uint8_t flags)
{
    if ((flags & PING_NAT) != 0)
        s->peer_nat = flags;
}

bool session_peer_nat(const struct session *s, struct overlay_nat *out)
{
    unsigned mapping = (s->peer_nat & PING_NAT_MAPPING) >> PING_NAT_MAPPING_SHIFT;

    *out =
        (struct overlay_nat){.filtering = (enum overlay_nat_filtering)(
                                 (s->peer_nat & PING_NAT_FILTERING) >> PING_NAT_FILTERING_SHIFT)};
    if (mapping <= OVERLAY_NAT_MAPPING_ADDRESS_AND_PORT)
        out->mapping = (enum overlay_nat_mapping)mapping;
    return s->peer_nat != 0;
}

/* Peers that have no direct path yet hear of a new reflexive address. */
static void seen_refresh(struct sessions *ss)
{
    struct nat_report v[REPORTS_MAX];
    struct endpoint seen[SESSION_SEEN_MAX];
    size_t reported = reports_collect(ss, v), n = seen_choose(ss, v, reported, seen);

    struct overlay_nat nat = {.mapping = OVERLAY_NAT_MAPPING_UNKNOWN};

    nat_judge(v, reported, ss->own, ss->own_count, &nat);
    ss->mapping = (uint8_t)nat.mapping;
    ss->predicted_count = (uint8_t)nat_predict(v, reported, ss->predicted, SESSION_PREDICTED_MAX);
    if (n == ss->seen_count && same_endpoints(seen, ss->seen, n))
        return;
    memcpy(ss->seen, seen, n * sizeof(*seen));
    ss->seen_count = (uint8_t)n;
    for (size_t i = 0; i < ss->count; i++)
        if (ss->all[i]->state == SESSION_UP)
            path_news(ss->all[i]);
}

/* One more peer sees us where we are, as all others do. */
static bool is_no_news(const struct sessions *ss, const struct endpoint *us)
{
    return ss->mapping == OVERLAY_NAT_MAPPING_NONE && ss->predicted_count == 0 &&
           endpoint_among(us, ss->own, ss->own_count);
}

static bool is_place(const struct endpoint *us)
{
    return us->addr.family != 0 && us->port != 0 && !addr_is_multicast(&us->addr) &&
           !addr_is_unspecified(&us->addr);
}

void sessions_observed_by(struct sessions *ss, const struct endpoint *by, const struct endpoint *us)
{
    size_t i = 0;

    if (!is_place(us))
        return;
    if (ss->outside == NULL)
        ss->outside = calloc(SESSION_OUTSIDE_MAX, sizeof(*ss->outside));
    if (ss->outside == NULL)
        return;
    while (i < ss->outside_count && !endpoint_eq(&ss->outside[i].by, by))
        i++;
    if (i == ss->outside_count && ss->outside_count < SESSION_OUTSIDE_MAX)
        ss->outside_count++;
    i = i < SESSION_OUTSIDE_MAX ? i : SESSION_OUTSIDE_MAX - 1;
    memmove(&ss->outside[1], &ss->outside[0], i * sizeof(ss->outside[0]));
    ss->outside[0] = (struct nat_report){.by = *by, .us = *us, .since_us = ss->env->now_us};
    seen_refresh(ss);
    sessions_flush(ss);
}

void sessions_unobserved_by(struct sessions *ss, const struct endpoint *by)
{
    size_t i = 0;

    while (i < ss->outside_count && !endpoint_eq(&ss->outside[i].by, by))
        i++;
    if (i == ss->outside_count)
        return;
    ss->outside_count--;
    memmove(&ss->outside[i], &ss->outside[i + 1], (ss->outside_count - i) * sizeof(ss->outside[0]));
    seen_refresh(ss);
    sessions_flush(ss);
}

void session_seen_changed(struct session *s)
{
    if (s->observed.addr.family != 0)
        seen_refresh(s->ss);
}

void session_observed(struct session *s, const struct endpoint *us)
{
    if (!is_place(us) || endpoint_eq(us, &s->observed))
        return;
    bool moved = session_is_mapped(s);

    s->observed = *us;
    if (moved || !is_no_news(s->ss, us))
        seen_refresh(s->ss);
    if (moved)
        sessions_suspect_nat(s->ss);
    session_event(s, EVENT_OBSERVED);
}
