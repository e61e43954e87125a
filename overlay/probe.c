/*
 * probe.c - liveness: when a silent session is probed, and when it is given up.
 *
 * The lower id probes after `silent_us`; the other end a little later, when that fails to come. Any
 * authenticated packet from where the best path leads counts as heard. A probe goes over the best
 * path, and from the second on over every path and the ring. After three timeouts without an answer
 * (2.4 s at least) the peer is silent; when another path answered meanwhile, it takes over.
 *
 * A path through a NAT of ours is kept open: the NAT forgets us when we send nothing for a while.
 * Whatever goes out counts; when nothing did, an empty packet does.
 */
#include "overlay/session_internal.h"

/* The end that does not probe waits so much longer. */
static const usec silent_late_us = MSEC(2250);
/* A path that is heard from another address than it leads to is asked so often, by both ends. */
static const usec half_silent_us = SEC(10);
/* Data out and nothing back for so long is suspicious; the data plane reports once a second. */
static const usec data_silent_us = MSEC(1200);
/* Heard on another path, and not on the best one for so long. */
static const usec elsewhere_us = SEC(1);
/* Probing goes on at least so long: a short outage, or the next report of data, may end it. */
static const usec verdict_us = MSEC(2400);

/* On top of a round trip and a quarter: an answer that takes longer is late. */
static const usec answer_slack_us = MSEC(20);

static bool we_probe(const struct session *s)
{
    return id_cmp(&s->ss->config.node, &s->peer) < 0;
}

/*
 * When the next first probe is due. It is the best path that must not be silent: a peer that is
 * heard on another one only may have lost this one.
 */
static usec probe_due_us(const struct session *s)
{
    const struct path *best = paths_best(&s->paths);
    usec silent_us = s->silent_us + (we_probe(s) ? 0 : silent_late_us);

    if (best != NULL &&
        best->comes_from.addr.family != 0) /* the peer's probes prove its way only */
        silent_us = usec_min(silent_us, half_silent_us);
    return usec_min(session_last_reached(s) + silent_us, s->data_probe_us);
}

/* RFC 4787 REQ-5 allows a mapping no less than 2 minutes, but many live for 30 s. */
static usec keepalive_due_us(const struct session *s)
{
    return session_is_mapped(s) ? s->sent_us + s->ss->keepalive_us : USEC_NEVER;
}

usec probe_deadline(const struct session *s)
{
    return usec_min(s->probes > 0 ? s->probe_at_us : probe_due_us(s), keepalive_due_us(s));
}

enum { DOUBT = 2 /* probes under way: the first went unanswered */ };

bool session_is_doubted(const struct session *s)
{
    return s->probes >= DOUBT;
}

usec session_silent_from(const struct session *s)
{
    usec rtt_us;

    if (s->probes == 0) /* as nearly always: asked of every peer, for every message passed on */
        return USEC_NEVER;
    rtt_us = session_rtt(s);
    return s->probe_since_us +
           (rtt_us != 0 ? rtt_us + rtt_us / 4 + answer_slack_us : path_timeout_us(s));
}

static void probe_stop(struct session *s)
{
    if (session_is_doubted(s))
        session_event(s, EVENT_DATA);
    s->probes = 0;
    s->data_probe_us = USEC_NEVER;
}

/*
 * When the probe after the n-th is due: one in the first timeout, two in each of the next two (loss
 * is not death), then ever fewer until the verdict.
 */
static usec probe_interval_us(const struct session *s, unsigned n)
{
    usec timeout_us = path_timeout_us(s);

    if (n == 1)
        return timeout_us;
    return n < 5 ? timeout_us / 2 : timeout_us << (n - 5);
}

static usec probe_verdict_us(const struct session *s)
{
    usec three_us = 3 * path_timeout_us(s);

    return s->probe_since_us + (three_us > verdict_us ? three_us : verdict_us);
}

/* It may be we who are cut off from the relay, by a NAT that restarted: only its own session with
 * us can tell. */
static void ask_relay(const struct session *s)
{
    const struct path *best = paths_best(&s->paths);
    struct session *relay = best != NULL && best->addr.kind == PATH_RELAY
                                ? sessions_find(s->ss, &best->addr.via)
                                : NULL;

    if (relay != NULL)
        session_probe_now(relay);
}

/* From the second on they go every way there is: the address may be gone while the peer lives. */
static void probe_send(struct session *s)
{
    if (++s->probes == DOUBT) {
        session_event(s, EVENT_DATA);
        ask_relay(s);
    }
    s->probe_at_us =
        usec_min(s->ss->env->now_us + probe_interval_us(s, s->probes), probe_verdict_us(s));
    if (paths_best(&s->paths) != NULL)
        path_ping(s, paths_best(&s->paths), PING_ASK_ENDPOINT);
    if (s->probes > 1)
        path_ping_others(s);
}

static void probe_begin(struct session *s)
{
    s->probe_since_us = s->ss->env->now_us;
    probe_send(s);
}

/*
 * A path of ours through a NAT is silent, or led somewhere else than before: the NAT may have
 * restarted, or we are behind another one. Then all such paths are dead, and none of the peers can
 * tell us: each is asked, and sees where we are now.
 */
void sessions_suspect_nat(struct sessions *ss)
{
    if (ss->env->now_us < ss->suspected_us + SEC(SESSION_SUSPECT_S))
        return;
    ss->suspected_us = ss->env->now_us;
    for (size_t i = 0; i < ss->count; i++)
        if (session_is_mapped(ss->all[i]))
            session_probe_now(ss->all[i]);
}

static void probe_unanswered(struct session *s)
{
    if (s->probes == 2 && session_is_mapped(s))
        sessions_suspect_nat(s->ss);
    if (s->probes > 1 && path_fail_over(s, s->probe_since_us))
        probe_stop(s);
    else if (s->ss->env->now_us < probe_verdict_us(s))
        probe_send(s);
    else
        session_end(s, SESSION_END_SILENT, NULL);
}

void probe_tick(struct session *s)
{
    usec now_us = s->ss->env->now_us;

    if (s->probes > 0 && now_us >= s->probe_at_us)
        probe_unanswered(s);
    else if (s->probes == 0 && now_us >= probe_due_us(s))
        probe_begin(s);
    else if (now_us >= keepalive_due_us(s))
        session_keepalive(s);
}

void probe_heard(struct session *s, const struct path_addr *from)
{
    const struct path *best = paths_best(&s->paths);
    usec now_us = s->ss->env->now_us;

    s->heard_us = now_us;
    switch (path_shows(s, from)) {
    case SHOWS_BEST:
        probe_stop(s);
        break;
    case SHOWS_HALF:
        break;
    case SHOWS_OTHER:
        if (s->probes == 0 && now_us > best->heard_us + elsewhere_us)
            probe_begin(s); /* the peer has moved, or has lost this path */
        break;
    }
}

void probe_answered(struct session *s)
{
    probe_stop(s);
}

void session_probe_now(struct session *s)
{
    if (s->state != SESSION_UP || s->probes > 0)
        return;
    probe_begin(s);
    session_schedule(s);
}

void session_set_probe(struct session *s, uint32_t silent_us)
{
    if (s->silent_us == silent_us)
        return;
    s->silent_us = silent_us;
    session_schedule(s);
}

/* Data is back by the best path: it is alive. What was seen before the last move was another. */
static void data_back(struct session *s, usec at_us)
{
    struct path *best = paths_best(&s->paths);

    if (best == NULL || at_us <= best->heard_us || at_us <= s->paths.moved_us)
        return;
    best->heard_us = at_us;
    if (at_us > s->probe_since_us)
        probe_stop(s);
}

void session_data_seen(struct session *s, const struct data_seen *seen)
{
    usec now_us = s->ss->env->now_us;
    usec tx_us = usec_min(seen->tx_us, now_us), rx_us = usec_min(seen->rx_us, now_us);

    if (s->state != SESSION_UP)
        return;
    s->heard_us = usec_max(s->heard_us, rx_us);
    s->sent_us = usec_max(s->sent_us, tx_us);
    s->carried_us = usec_max(s->carried_us, usec_max(tx_us, rx_us));
    data_back(s, usec_min(seen->back_us, now_us));
    s->data_probe_us =
        tx_us > session_last_reached(s) ? session_last_reached(s) + data_silent_us : USEC_NEVER;
    datakey_seen(s, tx_us);
    session_schedule(s);
}
