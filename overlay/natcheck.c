#include "overlay/natcheck.h"

#include <string.h>

#include "overlay/overlay_internal.h"
#include "overlay/path.h"

enum { ENDPOINTS_MAX = 8 };               /* of a peer */
static const usec answer_us = MSEC(1500); /* over two or three hops */
static const usec second_us = SEC(3);     /* between two requests: it is a conversation */
static const usec lives_us[] = {SEC(30), SEC(60), SEC(120)};
/* What is learned is used with a margin, and never for longer. */
static const usec keepalive_most_us = SEC(90);

static size_t slot_of(const struct overlay *o, const struct addr *a)
{
    return siphash(o->env->hash_key, a->b, sizeof(a->b)) % NATCHECK_SENT;
}

void natcheck_sent(struct overlay *o, const struct addr *to)
{
    o->natcheck.sent_s[slot_of(o, to)] = (uint32_t)(o->env->now_us / SEC(1)) + 1;
}

/* Our NAT lets in whom we sent to lately. */
static bool is_strange(const struct overlay *o, const struct addr *a)
{
    uint32_t sent_s = o->natcheck.sent_s[slot_of(o, a)];

    return sent_s == 0 || o->env->now_us >= SEC((usec)sent_s + NATCHECK_SENT_S);
}

static struct natcheck *set_step(struct overlay *o, enum natcheck_step step, usec after_us)
{
    struct natcheck *c = &o->natcheck;

    if (c->step != step)
        c->tries = c->misses = 0;
    c->step = step;
    alarm_set(o, &c->alarm, o->env->now_us + after_us);
    return c;
}

/* Sooner where nobody could tell: others are met meanwhile. */
static void rest(struct overlay *o)
{
    bool known = o->natcheck.filtering != OVERLAY_NAT_FILTERING_UNKNOWN;
    usec after_us = known ? SEC(NATCHECK_AGAIN_S) : SEC(NATCHECK_SOON_S);

    set_step(o, NATCHECK_IDLE, env_jitter(o->env, after_us, 10));
}

static void new_id(struct overlay *o)
{
    env_random(o->env, o->natcheck.id.b, sizeof(o->natcheck.id.b));
}

static void stun_to(struct overlay *o, const struct endpoint *to, enum stun_type type,
                    const struct stun_id *id)
{
    uint8_t pkt[STUN_HEADER_LEN];

    stun_write(type, id, pkt);
    natcheck_sent(o, &to->addr);
    o->host.send(o->ctx, to, pkt, sizeof(pkt));
}

static bool may_be_sent_to(const struct endpoint *ep)
{
    return ep->addr.family == 4 && ep->port != 0 && !addr_is_multicast(&ep->addr) &&
           !addr_is_unspecified(&ep->addr) && !addr_is_loopback(&ep->addr) &&
           addr_to_v4(&ep->addr) != UINT32_MAX;
}

static const struct endpoint *direct_endpoint(const struct link *l)
{
    const struct path_addr *path = l->up ? session_path(l->session) : NULL;

    return path != NULL && path->kind == PATH_UDP && path->ep.addr.family == 4 ? &path->ep : NULL;
}

/* ---- our own questions ---- */

static bool outer_of(const struct overlay *o, struct endpoint *out)
{
    struct overlay_nat nat;

    if (!sessions_see_nat(o->sessions)) /* as nearly always, where there is none */
        return false;
    sessions_nat(o->sessions, &nat);
    if (nat.mapping == OVERLAY_NAT_MAPPING_UNKNOWN || nat.mapping == OVERLAY_NAT_MAPPING_NONE)
        return false;
    for (size_t i = 0; i < nat.reflexive_count; i++)
        if (may_be_sent_to(&nat.reflexive[i])) {
            *out = nat.reflexive[i];
            return true;
        }
    return false;
}

static void learned_life(struct overlay *o)
{
    struct natcheck *c = &o->natcheck;

    sessions_set_keepalive(o->sessions, usec_min(c->lives_us - c->lives_us / 4, keepalive_most_us));
}

static void learned_filtering(struct overlay *o, enum overlay_nat_filtering filtering)
{
    o->natcheck.filtering = filtering;
    sessions_set_filtering(o->sessions, (uint8_t)filtering);
}

static void forget(struct overlay *o)
{
    struct natcheck *c = &o->natcheck;

    learned_filtering(o, OVERLAY_NAT_FILTERING_UNKNOWN);
    c->hairpin = OVERLAY_KNOWN_NOT;
    c->lives_us = c->dies_us = 0;
    learned_life(o);
}

static void begin(struct overlay *o)
{
    struct natcheck *c = &o->natcheck;
    struct endpoint outer;

    if (!outer_of(o, &outer)) {
        forget(o);
        alarm_set(o, &c->alarm, USEC_NEVER);
        return;
    }
    if (!addr_eq(&outer.addr, &c->outer.addr))
        forget(o);
    c->outer = outer;
    c->strangers = c->spoilt = 0;
    memset(&c->got_in, 0, sizeof(c->got_in));
    set_step(o, NATCHECK_HAIRPIN, 0);
}

void natcheck_news(struct overlay *o)
{
    struct natcheck *c = &o->natcheck;
    struct endpoint outer;
    bool there = outer_of(o, &outer);

    if (there ? addr_eq(&outer.addr, &c->outer.addr) : c->outer.addr.family == 0)
        return;
    memset(&c->outer, 0, sizeof(c->outer));
    set_step(o, NATCHECK_IDLE, SEC(NATCHECK_CALM_S));
}

static void hairpin_due(struct overlay *o)
{
    struct natcheck *c = &o->natcheck;

    if (c->tries == NATCHECK_TRIES) {
        c->hairpin = OVERLAY_KNOWN_NO;
        set_step(o, NATCHECK_FILTER, 0);
        return;
    }
    if (c->tries++ == 0)
        new_id(o);
    stun_to(o, &c->outer, STUN_BINDING_INDICATION, &c->id);
    alarm_set(o, &c->alarm, o->env->now_us + SEC(1));
}

/* Who asked us, and whom it knows: the beginnings of their ids. */
struct asker {
    const struct link *link;
    const uint8_t *except;
    size_t excepts;
};

/* The neighbours in turn, from a random one on. NULL: none has a direct path. */
static struct link *some_neighbour(const struct overlay *o,
                                   bool (*ok)(const struct overlay *o, const struct link *l,
                                              const struct asker *asker),
                                   const struct asker *asker)
{
    size_t n = o->ring.count, first = n > 0 ? env_random_u32(o->env) % n : 0;

    for (size_t i = 0; i < n; i++) {
        struct link *l = link_of(o->ring.peers[(first + i) % n]);

        if (direct_endpoint(l) != NULL && ok(o, l, asker))
            return l;
    }
    return NULL;
}

static bool is_outside(const struct overlay *o, const struct link *l, const struct asker *nobody)
{
    return !sessions_on_lan(o->sessions, &direct_endpoint(l)->addr);
}

static void write_acquaintances(const struct overlay *o, struct writer *w)
{
    struct session *s;
    size_t i = 0;

    for (int n = 0; n < NATCHECK_EXCEPT_MAX && (s = sessions_next(o->sessions, &i)) != NULL; n++)
        if (session_peer(s) != NULL)
            write_bytes(w, session_peer(s)->b, NATCHECK_EXCEPT_LEN);
}

static void ask(struct overlay *o, struct link *l, const struct id *who)
{
    uint8_t body[NATCHECK_ASK_MAX];
    struct writer w = writer_of(body, sizeof(body));
    struct natcheck *c = &o->natcheck;

    new_id(o);
    c->tries++;
    c->heard = false;
    write_bytes(&w, c->id.b, STUN_ID_LEN);
    write_id(&w, who);
    if (id_is_zero(who))
        write_acquaintances(o, &w);
    (void)session_send(l->session, MSG_NAT_ASK, body, writer_len(&w));
    alarm_set(o, &c->alarm, o->env->now_us + answer_us);
}

/* How long it remembers is to be seen only where the neighbour and the stranger see one mapping. */
static void nobody_came(struct overlay *o)
{
    struct natcheck *c = &o->natcheck;
    struct overlay_nat nat;

    learned_filtering(o, OVERLAY_NAT_FILTERING_DEPENDENT);
    if (c->spoilt == 0)
        c->rung = 0;
    sessions_nat(o->sessions, &nat);
    if (nat.mapping == OVERLAY_NAT_MAPPING_INDEPENDENT)
        set_step(o, NATCHECK_OPEN, 0);
    else
        rest(o);
}

static void filter_due(struct overlay *o)
{
    static const struct id nobody;
    struct natcheck *c = &o->natcheck;

    if (c->heard && is_strange(o, &c->stranger.addr))
        c->misses++;
    if (c->misses == NATCHECK_TRIES) {
        nobody_came(o);
        return;
    }
    struct link *l = c->tries < NATCHECK_FILTER_TRIES ? some_neighbour(o, is_outside, NULL) : NULL;

    if (l == NULL) {
        rest(o);
        return;
    }
    c->neighbour = l->peer.id;
    ask(o, l, &nobody);
}

/* Two requests, so that it answers both and boxes that keep conversations for longer see one. */
static void open_due(struct overlay *o)
{
    struct natcheck *c = &o->natcheck;
    struct stun_id unheeded;

    env_random(o->env, unheeded.b, sizeof(unheeded.b));
    stun_to(o, &c->stranger, STUN_BINDING_REQUEST, &unheeded);
    c->opened_s = o->natcheck.sent_s[slot_of(o, &c->stranger.addr)];
    if (c->tries++ == 0)
        alarm_set(o, &c->alarm, o->env->now_us + second_us);
    else
        set_step(o, NATCHECK_WAIT, lives_us[c->rung]);
}

/* We were not silent towards this stranger, or nobody can ask it any more: another one will do. */
static void another_stranger(struct overlay *o)
{
    if (o->natcheck.spoilt++ < NATCHECK_SPOILT)
        set_step(o, NATCHECK_FILTER, 0);
    else
        rest(o);
}

static void ask_due(struct overlay *o)
{
    struct natcheck *c = &o->natcheck;
    struct link *l = link_find(o, &c->neighbour);

    c->misses += c->heard;
    if (c->sent_s[slot_of(o, &c->stranger.addr)] != c->opened_s || l == NULL ||
        direct_endpoint(l) == NULL) {
        another_stranger(o);
    } else if (c->tries < NATCHECK_TRIES) {
        ask(o, l, &c->stranger_id);
    } else {
        if (c->misses > 1)
            c->dies_us = lives_us[c->rung];
        rest(o);
    }
}

void natcheck_due(struct overlay *o, struct alarm *alarm)
{
    switch (o->natcheck.step) {
    case NATCHECK_IDLE:
        begin(o);
        return;
    case NATCHECK_HAIRPIN:
        hairpin_due(o);
        return;
    case NATCHECK_FILTER:
        filter_due(o);
        return;
    case NATCHECK_OPEN:
        open_due(o);
        return;
    case NATCHECK_WAIT:
        o->natcheck.heard = false;
        set_step(o, NATCHECK_ASK, 0);
        return;
    case NATCHECK_ASK:
        ask_due(o);
        return;
    }
}

/* Somebody sent who was asked to, and got in. */
static void stranger_came(struct overlay *o, const struct endpoint *from)
{
    struct natcheck *c = &o->natcheck;

    c->heard = false;
    if (is_strange(o, &from->addr) && !addr_eq(&from->addr, &c->got_in)) {
        c->got_in = from->addr;
        c->strangers++;
    }
    if (c->strangers < NATCHECK_STRANGERS) {
        filter_due(o);
        return;
    }
    learned_filtering(o, OVERLAY_NAT_FILTERING_INDEPENDENT);
    rest(o);
}

static void still_open(struct overlay *o)
{
    struct natcheck *c = &o->natcheck;

    if (c->sent_s[slot_of(o, &c->stranger.addr)] != c->opened_s) {
        another_stranger(o);
        return;
    }
    c->lives_us = lives_us[c->rung];
    learned_life(o);
    if (++c->rung < ARRAY_LEN(lives_us))
        set_step(o, NATCHECK_OPEN, 0);
    else
        rest(o);
}

void natcheck_indication(struct overlay *o, const struct endpoint *from, const struct stun_id *id)
{
    struct natcheck *c = &o->natcheck;

    if (!equal_ct(id->b, c->id.b, sizeof(id->b)))
        return;
    switch (c->step) {
    case NATCHECK_HAIRPIN:
        c->hairpin = OVERLAY_KNOWN_YES;
        set_step(o, NATCHECK_FILTER, 0);
        return;
    case NATCHECK_FILTER:
        stranger_came(o, from);
        return;
    case NATCHECK_ASK:
        still_open(o);
        return;
    case NATCHECK_IDLE:
    case NATCHECK_OPEN:
    case NATCHECK_WAIT:
        return;
    }
}

bool natcheck_asked_input(struct overlay *o, struct link *from, struct reader *r)
{
    struct natcheck *c = &o->natcheck;
    const uint8_t *id = read_bytes(r, STUN_ID_LEN);
    struct id who = read_id(r);
    struct endpoint at = read_endpoint(r);

    if (!reader_done(r))
        return false;
    if (!id_eq(&from->peer.id, &c->neighbour) || !equal_ct(id, c->id.b, STUN_ID_LEN) ||
        !may_be_sent_to(&at) || (c->step != NATCHECK_FILTER && c->step != NATCHECK_ASK))
        return true;
    c->heard = true;
    if (c->step == NATCHECK_FILTER) {
        c->stranger_id = who;
        c->stranger = at;
    }
    return true;
}

void natcheck_tell(const struct overlay *o, struct overlay_nat *out)
{
    const struct natcheck *c = &o->natcheck;

    if (out->mapping == OVERLAY_NAT_MAPPING_NONE)
        return;
    out->filtering = c->filtering;
    out->hairpin = c->hairpin;
    out->lives_us = c->lives_us;
    out->dies_us = c->dies_us;
}

/* ---- for others ---- */

/* Outside, at an address of its own, and not where the asker is. */
static bool is_stranger(const struct overlay *o, const struct link *l, const struct asker *asker)
{
    struct endpoint eps[ENDPOINTS_MAX];
    const struct endpoint *at = direct_endpoint(l);
    size_t n = session_endpoints(l->session, eps, ARRAY_LEN(eps));
    bool own = false;

    while (n-- > 0)
        own |= endpoint_eq(&eps[n], at);
    for (size_t i = 0; i < asker->excepts; i++)
        own &=
            memcmp(l->peer.id.b, asker->except + i * NATCHECK_EXCEPT_LEN, NATCHECK_EXCEPT_LEN) != 0;
    return own && l != asker->link && !addr_eq(&at->addr, &direct_endpoint(asker->link)->addr);
}

static bool ask_allowed(struct overlay *o, struct link *from)
{
    if (o->env->now_us >= from->nat_asks_us + SEC(NATCHECK_ASKS_S)) {
        from->nat_asks_us = o->env->now_us;
        from->nat_asks = 0;
    }
    if (from->nat_asks == NATCHECK_ASKS)
        return false;
    from->nat_asks++;
    return true;
}

bool natcheck_ask_input(struct overlay *o, struct link *from, struct reader *r)
{
    uint8_t body[STUN_ID_LEN + ID_LEN + NATCHECK_ENDPOINT_MAX];
    struct writer poke = writer_of(body, sizeof(body));
    const uint8_t *id = read_bytes(r, STUN_ID_LEN);
    struct id who = read_id(r);
    struct asker asker = {.link = from};

    asker.excepts = reader_left(r) / NATCHECK_EXCEPT_LEN;
    asker.except = read_bytes(r, asker.excepts * NATCHECK_EXCEPT_LEN);
    if (!reader_done(r))
        return false;
    if (direct_endpoint(from) == NULL || !ask_allowed(o, from))
        return true;
    struct link *l = id_is_zero(&who) ? some_neighbour(o, is_stranger, &asker) : link_find(o, &who);

    if (l == NULL || direct_endpoint(l) == NULL || !is_stranger(o, l, &asker))
        return true;
    write_bytes(&poke, id, STUN_ID_LEN);
    write_endpoint(&poke, direct_endpoint(from));
    (void)session_send(l->session, MSG_NAT_POKE, body, writer_len(&poke));
    poke = writer_of(body, sizeof(body));
    write_bytes(&poke, id, STUN_ID_LEN);
    write_id(&poke, &l->peer.id);
    write_endpoint(&poke, direct_endpoint(l));
    (void)session_send(from->session, MSG_NAT_ASKED, body, writer_len(&poke));
    return true;
}

bool natcheck_poke_input(struct overlay *o, struct link *from, struct reader *r)
{
    struct natcheck *c = &o->natcheck;
    const uint8_t *bytes = read_bytes(r, STUN_ID_LEN);
    struct endpoint to = read_endpoint(r);
    struct stun_id id;

    if (!reader_done(r))
        return false;
    if (o->env->now_us >= c->pokes_us + SEC(1)) {
        c->pokes_us = o->env->now_us;
        c->pokes = 0;
    }
    if (c->pokes == NATCHECK_POKES || !may_be_sent_to(&to))
        return true;
    c->pokes++;
    memcpy(id.b, bytes, sizeof(id.b));
    stun_to(o, &to, STUN_BINDING_INDICATION, &id);
    return true;
}
