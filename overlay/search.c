#include "overlay/search.h"

#include <stdlib.h>

#include "overlay/session_internal.h"

enum { PORT_FIRST = 1024, PORT_COUNT = 65536 - PORT_FIRST };

/* The peer's address outside with the highest port. NULL: it named none. */
static const struct endpoint *target_of(const struct session *s)
{
    const struct endpoint *best = NULL;

    for (size_t i = 0; i < s->paths.peer_ep_count; i++) {
        const struct endpoint *ep = &s->paths.peer_eps[i].ep;
        bool outside = ep->addr.family == 4 && !addr_is_private(&ep->addr) &&
                       !addr_is_loopback(&ep->addr) && !sessions_on_lan(s->ss, &ep->addr);

        if (outside && (best == NULL || ep->port > best->port))
            best = ep;
    }
    return best;
}

/* The peer's NAT has a port for each remote: it is known under more than one. */
static bool peer_has_many_ports(const struct session *s, const struct addr *target)
{
    size_t n = 0;

    for (size_t i = 0; i < s->paths.peer_ep_count; i++)
        n += addr_eq(&s->paths.peer_eps[i].ep.addr, target);
    return n > 1;
}

static bool has_one_port_for_all(const struct sessions *ss)
{
    struct overlay_nat nat;

    sessions_nat(ss, &nat);
    return nat.mapping == OVERLAY_NAT_MAPPING_NONE ||
           nat.mapping == OVERLAY_NAT_MAPPING_INDEPENDENT ||
           nat.mapping == OVERLAY_NAT_MAPPING_UNKNOWN;
}

/* Coprime to PORT_COUNT, which is 2^10 * 3^2 * 7: then no port comes twice. */
static uint32_t random_step(struct env *env)
{
    uint32_t step = env_random_u32(env) % PORT_COUNT | 1;

    while (step % 3 == 0 || step % 7 == 0)
        step += 2;
    return step;
}

static bool is_of_use(const struct session *s)
{
    const struct path *best = paths_best(&s->paths);
    const struct endpoint *target = target_of(s);

    return s->state == SESSION_UP && best != NULL && !path_addr_is_direct(&best->addr) &&
           target != NULL && peer_has_many_ports(s, &target->addr);
}

void search_begin(struct session *s)
{
    const struct endpoint *target = target_of(s);

    if (!s->ss->config.port_search || !is_of_use(s))
        return;
    s->paths.search_waits = s->ss->searching != NULL && s->ss->searching != s;
    if (s->ss->searching != NULL)
        return;
    s->paths.search = malloc(sizeof(*s->paths.search));
    if (s->paths.search == NULL)
        return;
    *s->paths.search = (struct path_search){
        .target = target->addr,
        .near = target->port - PORT_FIRST > SEARCH_BEFORE ? (uint16_t)(target->port - SEARCH_BEFORE)
                                                          : PORT_FIRST,
        .ports = has_one_port_for_all(s->ss) ? SEARCH_PORTS : SEARCH_NEAR,
        .start = env_random_u32(s->ss->env) % PORT_COUNT,
        .step = random_step(s->ss->env),
        .at_us = s->ss->env->now_us,
    };
    s->ss->searching = s;
}

static void search_end(struct session *s)
{
    free(s->paths.search);
    s->paths.search = NULL;
    s->ss->searching = NULL;
}

static struct session *next_waiting(const struct sessions *ss)
{
    for (size_t i = 0; i < ss->count; i++)
        if (ss->all[i]->paths.search_waits)
            return ss->all[i];
    return NULL;
}

void search_over(struct session *s)
{
    struct session *next;

    if (s->paths.search == NULL)
        return;
    search_end(s);
    while (s->ss->searching == NULL && (next = next_waiting(s->ss)) != NULL) {
        next->paths.search_waits = false;
        search_begin(next);
        session_schedule(next);
    }
}

static uint16_t next_port(struct path_search *p)
{
    uint32_t i = p->sent++;
    uint32_t near = (uint32_t)p->near - PORT_FIRST + i;
    uint32_t far = (p->start + (uint64_t)i * p->step) % PORT_COUNT;

    return (uint16_t)(PORT_FIRST + (i < SEARCH_NEAR ? near % PORT_COUNT : far));
}

void search_tick(struct session *s)
{
    struct path_search *p = s->paths.search;
    usec now_us = s->ss->env->now_us;

    if (p == NULL || now_us < p->at_us)
        return;
    if (p->sent >= p->ports || !is_of_use(s) ||
        (p->sent >= SEARCH_NEAR && next_waiting(s->ss) != NULL)) {
        search_over(s);
        return;
    }
    for (int i = 0; i < SEARCH_BURST && p->sent < p->ports; i++) {
        const struct path_addr to = {.kind = PATH_UDP, .ep = {p->target, next_port(p)}};
        uint8_t challenge[PATH_CHALLENGE_LEN]; /* the answer proves nothing but its coming */

        env_random(s->ss->env, challenge, sizeof(challenge));
        session_queue(s, &to, MSG_PATH_CHALLENGE, challenge, sizeof(challenge));
    }
    p->at_us = now_us + MSEC(SEARCH_GAP_MS);
}
