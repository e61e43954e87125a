#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "overlay/relay.h"
#include "overlay/trail.h"

enum {
    SESSIONS_DEFAULT = 1024,
    LEGS_MAX = 4096,        /* of all channels; beyond, none are opened */
    LINKS_SPARE = 64,       /* links beyond sessions: none is expected, a full table is no crash */
    SETTLE_ROUNDS_MAX = 16, /* what is left then waits for the next tick */
};
static const usec leave_us = SEC(2);
static const usec demand_us = SEC(120); /* kept after the last packet */

/* Timers. */

void alarm_set(struct overlay *o, struct alarm *alarm, usec at_us)
{
    heap_set(&o->timers, &alarm->timer, at_us);
}

void alarm_sooner(struct overlay *o, struct alarm *alarm, usec at_us)
{
    if (at_us < alarm->timer.at_us)
        heap_set(&o->timers, &alarm->timer, at_us);
}

/* State. */

static bool move_allowed(enum overlay_state from, enum overlay_state to)
{
    switch (from) {
    case OVERLAY_ALONE:
        return true;
    case OVERLAY_JOINING:
        return to == OVERLAY_MEMBER || to == OVERLAY_LEAVING;
    case OVERLAY_MEMBER:
        return to == OVERLAY_LEAVING;
    case OVERLAY_LEAVING:
        return false;
    }
    return false;
}

void overlay_set_state(struct overlay *o, enum overlay_state to)
{
    static const char *const names[] = {"alone", "joining", "member", "leaving"};

    CHECK(move_allowed(o->ring.state, to));
    env_log(o->env, LOG_LEVEL_DEBUG, "ring: %s -> %s", names[o->ring.state], names[to]);
    ring_set_state(&o->ring, to);
    o->ring_changed = true;
}

enum overlay_state overlay_state(const struct overlay *o)
{
    return o->ring.state;
}

const struct id *overlay_id(const struct overlay *o)
{
    return &o->ring.self;
}

/* Messages of peers. */

static bool upper_input(struct overlay *o, struct link *l, struct reader *r)
{
    struct overlay_from from = {.node = l->peer.id, .key = o->ring.self, .direct = true, .hops = 1};
    uint8_t proto = read_u8(r);

    if (proto != OVERLAY_PROTO_DHT && proto != OVERLAY_PROTO_NODE)
        return false;
    overlay_counted(o, OVERLAY_COUNT_DELIVERED);
    link_came_by(l, &from);
    o->host.message(o->ctx, &from, proto, r->p, reader_left(r));
    return true;
}

static bool route_input(struct overlay *o, struct link *l, struct reader *r)
{
    return transit_input(o, l, r->p, reader_left(r));
}

static bool neighbours_input(struct overlay *o, struct link *l, struct reader *r)
{
    return link_said_input(o, l, true, r);
}

static bool roles_input(struct overlay *o, struct link *l, struct reader *r)
{
    return link_said_input(o, l, false, r);
}

static const struct message_rule {
    uint8_t type;
    uint16_t least, most;
    bool (*input)(struct overlay *o, struct link *l, struct reader *r);
} rules[] = {
    {MSG_ROUTE, ROUTE_HEADER_MIN, MESSAGE_MAX, route_input},
    {MSG_NEIGHBOURS, 7, LINK_SAID_MAX, neighbours_input},
    {MSG_ROLES, 4, 4, roles_input},
    {MSG_BROADCAST, 46, MESSAGE_MAX, broadcast_input},
    {MSG_SAID_HEARD, 2, 2, link_heard_input},
    {MSG_MEMBERS, 2 * RING_VIEWS, 2 * RING_VIEWS, link_members_input},
    {MSG_BROADCAST_HEARD, 24, 24, broadcast_heard_input},
    {MSG_RELAY_NEIGHBOURS, 2, 2 + RELAY_CANDIDATES_MAX *RELAY_ENTRY_LEN, relay_neighbours_input},
    {MSG_RELAY_OPEN, ID_LEN + 4, ID_LEN + 4, channel_open_input},
    {MSG_RELAY_INVITE, ID_LEN + 4, ID_LEN + 4, relay_invite_input},
    {MSG_RELAY_ACCEPT, ID_LEN + 8, ID_LEN + 8, relay_accept_input},
    {MSG_RELAY_END, ID_LEN + 5, ID_LEN + 5, relay_end_input},
    {MSG_RELAY_SPARE, 1, 1, channel_spare_input},
    {MSG_NAT_ASK, NATCHECK_ASK_LEN, NATCHECK_ASK_MAX, natcheck_ask_input},
    {MSG_NAT_ASKED, NATCHECK_ASK_LEN + 1, NATCHECK_ASK_LEN + NATCHECK_ENDPOINT_MAX,
     natcheck_asked_input},
    {MSG_NAT_POKE, STUN_ID_LEN + 1, STUN_ID_LEN + NATCHECK_ENDPOINT_MAX, natcheck_poke_input},
    {MSG_TRAIL_ASK, TRAIL_TOKEN_LEN, TRAIL_TOKEN_LEN, trail_ask_input},
    {MSG_UPPER, 1, 1 + OVERLAY_BODY_MAX, upper_input},
};

static const struct message_rule *rule_of(uint8_t type, size_t len)
{
    for (size_t i = 0; i < ARRAY_LEN(rules); i++)
        if (rules[i].type == type && len >= rules[i].least && len <= rules[i].most)
            return &rules[i];
    return NULL;
}

/* What sessions call. */

static void on_message(void *ctx, struct session *s, uint8_t type, const uint8_t *body, size_t len)
{
    struct overlay *o = ctx;
    struct link *l = session_user(s);
    const struct message_rule *rule = rule_of(type, len);
    struct reader r = reader_of(body, len);

    if (l == NULL || !l->up || l->session != s) {
        /* It came in the packet that brought the session up: the peer says it again. */
        overlay_counted(o, OVERLAY_COUNT_DROP_STRANGER);
        return;
    }
    if (rule == NULL || !rule->input(o, l, &r))
        overlay_counted(o, OVERLAY_COUNT_DROP_BAD);
}

static void on_send(void *ctx, const struct path_addr *to, const uint8_t *pkt, size_t len)
{
    struct overlay *o = ctx;

    switch (to->kind) {
    case PATH_UDP:
        natcheck_sent(o, &to->ep.addr);
        o->host.send(o->ctx, &to->ep, pkt, len);
        return;
    case PATH_TCP:
        o->host.tcp_send(o->ctx, to->conn, pkt, len);
        return;
    case PATH_RING:
        if (to->by_trail)
            trail_send_question(o, to, pkt, len);
        else
            carry_send(o, to, pkt, len);
        return;
    case PATH_RELAY:
        relay_send(o, to, pkt, len);
        return;
    case PATH_TUNNEL:
        if (o->host.tunnel != NULL)
            o->host.tunnel(o->ctx, &to->peer, pkt, len);
        return;
    case PATH_NONE:
        return;
    }
}

static void on_up(void *ctx, struct session *s)
{
    link_up(ctx, s);
}

static void on_down(void *ctx, struct session *s, enum session_end why)
{
    link_down(ctx, s, why);
    reflexive_news(ctx);
}

static void on_data_changed(void *ctx, struct session *s)
{
    link_data_changed(ctx, s);
    reflexive_news(ctx);
}

static void on_observed(void *ctx, struct session *s, const struct endpoint *us)
{
    struct overlay *o = ctx;
    const struct path_addr *by = session_path(s);

    if (o->host.observed != NULL && by->kind == PATH_UDP)
        o->host.observed(o->ctx, &by->ep, us);
    natcheck_news(o);
    reflexive_news(o);
}

static size_t on_ride(void *ctx, struct session *s, uint8_t *type, uint8_t body[SESSION_RIDE_MAX])
{
    struct link *l = session_user(s);

    return l != NULL && l->up && l->session == s ? link_ride(ctx, l, type, body) : 0;
}

/* Between the doors. */

static bool wants_neighbours(const struct overlay *o)
{
    return o->ring.state == OVERLAY_JOINING || o->ring.state == OVERLAY_MEMBER;
}

static void open_wanted(struct overlay *o)
{
    const struct ring_candidate *c;

    if (!wants_neighbours(o))
        return;
    while ((c = ring_due(&o->ring)) != NULL) {
        struct id id = c->id;
        bool introduced = c->introduced;
        struct link *l = link_open(o, &id, &c->via, &c->ep);

        if (l == NULL) {
            ring_lost(&o->ring, &id);
            continue;
        }
        l->mine |= OVERLAY_ROLE_NEAR;
        l->peer.welcome = introduced;
    }
}

/* Since the links were last refreshed. */
static bool has_news(struct overlay *o)
{
    const struct ring *ring = &o->ring;
    bool news = o->near_refreshed != ring->near_version ||
                o->shortcuts_refreshed != ring->shortcut_version ||
                o->state_refreshed != (uint8_t)ring->state;

    o->near_refreshed = ring->near_version;
    o->shortcuts_refreshed = ring->shortcut_version;
    o->state_refreshed = (uint8_t)ring->state;
    return news;
}

static void refresh(struct overlay *o)
{
    bool news;

    if (ring_update(&o->ring))
        o->ring_changed = true;
    open_wanted(o);
    news = has_news(o);
    for (size_t i = 0; i < o->ring.count; i++)
        link_refresh(o, link_of(o->ring.peers[i]), news);
    join_refresh(o);
}

static void ring_due_alarm(struct overlay *o, struct alarm *alarm)
{
    ring_touch(&o->ring);
}

/* Until nothing is left to do at this moment. The host is told last. */
static void settle(struct overlay *o)
{
    for (int round = 0; round < SETTLE_ROUNDS_MAX; round++) {
        bool moved = carry_run(o);

        if (!moved && !o->ring.stale)
            break;
        if (o->ring.stale)
            refresh(o);
    }
    ring_settle_views(&o->ring);
    sessions_flush(o->sessions);
    alarm_set(o, &o->ring_alarm, wants_neighbours(o) ? ring_deadline(&o->ring) : USEC_NEVER);
    if (o->ring_changed) {
        o->ring_changed = false;
        o->host.ring_changed(o->ctx);
    }
    if (o->legs_changed) {
        o->legs_changed = false;
        o->host.legs_changed(o->ctx);
    }
}

/* The doors. */

static bool input(struct overlay *o, const struct path_addr *from, uint8_t *pkt, size_t len)
{
    bool ours;

    /* Who leaves meets nobody new. */
    if (o->ring.state == OVERLAY_LEAVING && len > 1 && pkt[0] == PACKET_HANDSHAKE && pkt[1] == 1)
        return false;
    if (len > 0 && pkt[0] == PACKET_RELAY) {
        ours = len >= RELAY_HEADER_LEN && pkt[4] == o->slot;
        channel_packet(o, from, pkt, len);
    } else {
        ours = sessions_input(o->sessions, from, pkt, len);
    }
    settle(o);
    return ours;
}

bool overlay_input(struct overlay *o, const struct endpoint *from, uint8_t *pkt, size_t len)
{
    const struct path_addr path = {.kind = PATH_UDP, .ep = *from};

    return input(o, &path, pkt, len);
}

bool overlay_tcp_input(struct overlay *o, uint32_t conn, const struct endpoint *from, uint8_t *pkt,
                       size_t len)
{
    const struct path_addr path = {.kind = PATH_TCP, .ep = *from, .conn = conn};

    return input(o, &path, pkt, len);
}

bool overlay_tunnel_input(struct overlay *o, const struct id *from, uint8_t *pkt, size_t len)
{
    const struct path_addr path = {.kind = PATH_TUNNEL, .peer = *from};

    return (len == 0 || pkt[0] != PACKET_RELAY) && input(o, &path, pkt, len);
}

void overlay_tick(struct overlay *o)
{
    struct timer *t;

    sessions_tick(o->sessions);
    while ((t = heap_pop(&o->timers, o->env->now_us)) != NULL) {
        struct alarm *alarm = CONTAINER_OF(t, struct alarm, timer);

        alarm->due(o, alarm);
    }
    transit_deliver_letters(o);
    settle(o);
}

usec overlay_deadline(const struct overlay *o)
{
    if (o->letters.count > 0 || o->parcels_in.count > 0 || o->parcels_out.count > 0 ||
        o->ring.stale || o->ring_changed || o->legs_changed)
        return o->env->now_us;
    return usec_min(sessions_deadline(o->sessions), heap_deadline(&o->timers));
}

/* Making and ending. */

static void leave_due(struct overlay *o, struct alarm *alarm);

static const struct sessions_host sessions_host = {
    .send = on_send,
    .up = on_up,
    .down = on_down,
    .message = on_message,
    .data_changed = on_data_changed,
    .observed = on_observed,
    .ride = on_ride,
};

static struct sessions_config sessions_config_of(const struct overlay_config *c)
{
    return (struct sessions_config){
        .overlay = c->overlay,
        .group_key = c->group_key,
        .psk = c->psk,
        .ca = c->ca,
        .removed = c->removed,
        .pub = c->pub,
        .sec = c->sec,
        .node = c->node,
        .cert_der = c->cert_der,
        .cert_len = c->cert_len,
        .slot = c->slot,
        .aeads = c->aeads,
        .worker = c->worker,
        .port_search = c->port_search,
        .sessions_max = c->sessions_max != 0 ? c->sessions_max : SESSIONS_DEFAULT,
    };
}

static void alarm_init(struct alarm *alarm, void (*due)(struct overlay *o, struct alarm *alarm))
{
    *alarm = (struct alarm){.timer.at_us = USEC_NEVER, .due = due};
}

struct overlay *overlay_new(const struct overlay_config *config, struct env *env,
                            const struct overlay_host *host, void *ctx)
{
    struct sessions_config sc = sessions_config_of(config);
    struct overlay *o = calloc(1, sizeof *o);

    if (o == NULL)
        return NULL;
    o->env = env;
    o->host = *host;
    o->ctx = ctx;
    o->sessions = sessions_new(&sc, env, &sessions_host, o);
    secret_clear(&sc.group_key);
    sign_secret_clear(&sc.sec);
    heap_init(&o->timers);
    o->slot = config->slot;
    o->relay_refused = config->relay_refused;
    o->trails.allowed = config->trails;
    o->relay_better = config->relay_better != NULL ? config->relay_better : choose_better;
    if (o->sessions == NULL || channels_begin(o, config->relay_mbit) < 0) {
        sessions_free(o->sessions);
        free(o);
        return NULL;
    }
    ring_init(&o->ring, &config->node, env);
    table_init(&o->links, offsetof(struct link, peer.id), ID_LEN, sc.sessions_max + LINKS_SPARE,
               env->hash_key);
    table_init(&o->legs, offsetof(struct leg, rx), sizeof(uint32_t), LEGS_MAX, env->hash_key);
    queue_init(&o->letters);
    queue_init(&o->detours);
    queue_init(&o->parcels_in);
    queue_init(&o->parcels_out);
    alarm_init(&o->ring_alarm, ring_due_alarm);
    alarm_init(&o->ping_alarm, ping_due);
    alarm_init(&o->detour_alarm, detours_due);
    alarm_init(&o->leave_alarm, leave_due);
    alarm_init(&o->natcheck.alarm, natcheck_due);
    alarm_init(&o->reflexive.alarm, reflexive_due);
    alarm_init(&o->trails.alarm, trails_due);
    alarm_init(&o->join.alarm, NULL);
    alarm_init(&o->join.seek, NULL);
    alarm_init(&o->contacts.alarm, NULL);
    shortcuts_init(o);
    contacts_begin(o);
    tcp_begin(o);
    join_begin(o);
    return o;
}

static void free_links(struct overlay *o)
{
    struct link *l;
    size_t i = 0;

    while ((l = table_next(&o->links, &i)) != NULL) {
        ring_peer_clear(&l->peer);
        free(l);
    }
    table_clear(&o->links);
}

void overlay_free(struct overlay *o)
{
    struct link *l;
    void *letter;
    size_t i = 0;

    if (o == NULL)
        return;
    while ((l = table_next(&o->links, &i)) != NULL)
        relay_discard(o, l);
    heap_clear(&o->timers); /* before what the alarms stand in */
    while ((letter = queue_take(&o->letters)) != NULL)
        free(letter);
    detours_clear(o);
    carry_free(o);
    channels_clear(o);
    trails_clear(o);
    table_clear(&o->legs);
    crawl_free(o);
    broadcast_free(o);
    contacts_clear(o);
    shortcuts_clear(o);
    free_links(o);
    ring_clear(&o->ring);
    tcp_clear(o);
    free(o->pings);
    sessions_free(o->sessions);
    free(o);
}

/* Where to start from. */

int overlay_add_bootstrap(struct overlay *o, const struct endpoint *ep)
{
    return contact_add(o, CONTACT_BOOTSTRAP, NULL, ep);
}

int overlay_add_contact(struct overlay *o, const struct overlay_contact *c)
{
    return contact_add(o, CONTACT_REMEMBERED, &c->node, &c->ep);
}

void overlay_add_tunnel(struct overlay *o, const struct id *member, const struct id *end)
{
    contact_add_tunnel(o, member, end);
}

void overlay_heard_near(struct overlay *o, const struct overlay_contact *c)
{
    contact_heard_near(o, &c->node, &c->ep);
}

static int older_first(const void *a, const void *b)
{
    const struct link *x = *(struct link *const *)a, *y = *(struct link *const *)b;
    usec x_us = session_up_since(x->session), y_us = session_up_since(y->session);

    return x_us != y_us ? (x_us > y_us) - (x_us < y_us) : id_cmp(&x->peer.id, &y->peer.id);
}

size_t overlay_contacts(const struct overlay *o, struct overlay_contact *out, size_t max)
{
    struct link **links = calloc(o->ring.count + 1, sizeof *links);
    size_t n = 0;

    if (links == NULL)
        return 0;
    for (size_t i = 0; i < o->ring.count; i++)
        if (o->ring.peers[i]->state == OVERLAY_MEMBER && !o->ring.peers[i]->indirect &&
            link_of(o->ring.peers[i])->ep.addr.family != 0)
            links[n++] = link_of(o->ring.peers[i]);
    qsort(links, n, sizeof *links, older_first);
    n = n < max ? n : max;
    for (size_t i = 0; i < n; i++)
        out[i] = (struct overlay_contact){.node = links[i]->peer.id, .ep = links[i]->ep};
    free(links);
    return n;
}

void overlay_set_endpoints(struct overlay *o, const struct endpoint *eps, size_t n)
{
    if (sessions_set_endpoints(o->sessions, eps, n))
        reflexive_forget(o);
}

void overlay_set_cert(struct overlay *o, const uint8_t *der, size_t len)
{
    sessions_set_cert(o->sessions, der, len);
}

void overlay_removed(struct overlay *o)
{
    sessions_removed(o->sessions);
}

void overlay_network_changed(struct overlay *o)
{
    for (size_t i = 0; i < o->ring.count; i++)
        session_probe_now(link_of(o->ring.peers[i])->session);
    contacts_retry_all(o);
}

void overlay_awoke(struct overlay *o)
{
    o->awoke_us = o->env->now_us;
    sessions_give_up(o->sessions);
    contacts_retry_all(o);
}

/* Leaving. */

static void leave_now(struct overlay *o)
{
    if (o->left)
        return;
    o->left = true;
    for (size_t i = 0; i < o->ring.count; i++)
        session_close(link_of(o->ring.peers[i])->session);
}

static void leave_due(struct overlay *o, struct alarm *alarm)
{
    bool all_know = true;

    for (size_t i = 0; i < o->ring.count; i++)
        all_know = all_know && link_settled(link_of(o->ring.peers[i]));
    if (all_know || o->env->now_us >= o->leave_us + leave_us)
        leave_now(o);
    else
        alarm_set(o, alarm, o->env->now_us + MSEC(20));
}

void overlay_leave(struct overlay *o)
{
    if (o->ring.state == OVERLAY_LEAVING)
        return;
    overlay_set_state(o, OVERLAY_LEAVING);
    o->leave_us = o->env->now_us;
    alarm_set(o, &o->leave_alarm, o->env->now_us + MSEC(1)); /* the goodbyes go out with the tick */
}

bool overlay_left(const struct overlay *o)
{
    return o->left;
}

/* Sending. */

int overlay_route(struct overlay *o, const struct id *key, enum overlay_mode mode, uint8_t proto,
                  const void *body, size_t len)
{
    struct route_header h = route_new(&o->ring.self, key, (enum route_mode)mode, proto);

    return len > OVERLAY_BODY_MAX ? -ERR_RANGE : transit_send(o, &h, NULL, body, len);
}

int overlay_route_anew(struct overlay *o, const struct id *key, uint8_t proto, const void *body,
                       size_t len)
{
    struct route_header h = route_new(&o->ring.self, key, ROUTE_NEAREST, proto);

    return len > OVERLAY_BODY_MAX ? -ERR_RANGE : transit_anew(o, &h, body, len);
}

int overlay_pass(struct overlay *o, const struct overlay_from *from, const struct id *node,
                 uint8_t proto, const void *body, size_t len)
{
    struct route_header h = route_new(&from->node, node, ROUTE_EXACT, proto);

    h.via = from->via;
    h.hops = (uint8_t)from->hops;
    return len > OVERLAY_BODY_MAX ? -ERR_RANGE : transit_send(o, &h, NULL, body, len);
}

static int send_upper(struct overlay *o, struct link *l, uint8_t proto, const void *body,
                      size_t len)
{
    uint8_t message[1 + OVERLAY_BODY_MAX];

    message[0] = proto;
    if (len > 0)
        memcpy(message + 1, body, len);
    link_relied_on(o, l);
    return session_send(l->session, MSG_UPPER, message, 1 + len);
}

int overlay_send(struct overlay *o, const struct id *node, uint8_t proto, const void *body,
                 size_t len)
{
    struct link *l = link_find(o, node);

    if (len > OVERLAY_BODY_MAX)
        return -ERR_RANGE;
    if (l != NULL && l->up)
        return send_upper(o, l, proto, body, len);
    return overlay_route(o, node, OVERLAY_EXACT, proto, body, len);
}

int overlay_answer(struct overlay *o, const struct overlay_from *to, uint8_t proto,
                   const void *body, size_t len)
{
    struct link *l = link_find(o, &to->node);
    struct route_header from = {.source = to->node, .via = to->via};

    if (len > OVERLAY_BODY_MAX)
        return -ERR_RANGE;
    if (l != NULL && l->up)
        return send_upper(o, l, proto, body, len);
    return transit_answer(o, &from, NULL, proto, body, len);
}

int overlay_broadcast(struct overlay *o, uint8_t proto, const void *body, size_t len)
{
    return broadcast_start(o, proto, body, len);
}

/* The ring as we see it. */

static size_t copy_list(const struct ring_list *list, struct id out[OVERLAY_NEAR])
{
    memcpy(out, list->id, list->count * sizeof list->id[0]);
    return list->count;
}

size_t overlay_near_right(const struct overlay *o, struct id out[OVERLAY_NEAR])
{
    return copy_list(&o->ring.near[RING_RIGHT], out);
}

size_t overlay_near_left(const struct overlay *o, struct id out[OVERLAY_NEAR])
{
    return copy_list(&o->ring.near[RING_LEFT], out);
}

bool overlay_owns(const struct overlay *o, const struct id *key)
{
    return ring_owns(&o->ring, key);
}

double overlay_size_estimate(const struct overlay *o)
{
    return ring_members(&o->ring);
}

size_t overlay_shortcuts(const struct overlay *o)
{
    size_t n = 0;

    for (size_t i = 0; i < o->ring.count; i++)
        n += o->ring.peers[i]->shortcut;
    return n;
}

size_t overlay_connections(const struct overlay *o)
{
    return o->ring.count;
}

bool overlay_is_linked(const struct overlay *o, const struct id *node)
{
    const struct link *l = link_find(o, node);

    return l != NULL && l->up && !l->peer.indirect;
}

/* Data. */

int overlay_demand(struct overlay *o, const struct id *peer)
{
    static const struct id nobody;
    struct link *l;

    if (o->ring.state == OVERLAY_LEAVING || id_eq(peer, &o->ring.self))
        return -ERR_BAD_STATE;
    l = link_open(o, peer, &nobody, NULL);
    if (l == NULL)
        return -ERR_FULL;
    l->demand_until_us = o->env->now_us + demand_us;
    l->mine |= OVERLAY_ROLE_DEMAND;
    if (l->session != NULL)
        session_want_data(l->session);
    if (l->up) {
        link_need(o, l, OVERLAY_ROLE_DEMAND, 0);
    }
    return 0;
}

static void fill_data(const struct overlay *o, const struct link *l, struct overlay_data *out)
{
    struct session_data d;

    session_data(l->session, &d);
    *out = (struct overlay_data){.token = d.token, .peer = l->peer.id, .tx = d.tx};
    out->udp = d.path.kind == PATH_UDP;
    if (out->udp)
        out->to = d.path.ep;
    else if (d.path.kind == PATH_TCP)
        out->conn = d.path.conn;
    else if (d.path.kind == PATH_RELAY)
        relay_data(o, &d.path, out);
    else if (d.path.kind == PATH_RING)
        trail_data(o, l, out);
    out->tunnelled = d.path.kind == PATH_TUNNEL;
    if (out->tunnelled)
        out->end = d.path.peer;
    memcpy(out->rx, d.rx, sizeof out->rx);
}

bool overlay_data(const struct overlay *o, const struct id *peer, struct overlay_data *out)
{
    const struct link *l = link_find(o, peer);

    *out = (struct overlay_data){.token = 0};
    if (l == NULL || !l->up)
        return false;
    fill_data(o, l, out);
    return true;
}

bool overlay_data_next(const struct overlay *o, size_t *i, struct overlay_data *out)
{
    *out = (struct overlay_data){.token = 0};
    if (*i >= o->ring.count)
        return false;
    fill_data(o, link_of(o->ring.peers[(*i)++]), out);
    return true;
}

void overlay_data_seen(struct overlay *o, uint32_t token, const struct data_seen *seen)
{
    struct session *s = sessions_by_token(o->sessions, token);
    struct link *l = s != NULL ? session_user(s) : NULL;
    usec last_us = usec_max(seen->tx_us, seen->rx_us);

    if (s == NULL)
        return;
    session_data_seen(s, seen);
    if (session_path(s)->kind == PATH_TUNNEL && o->host.tunnel_used != NULL)
        o->host.tunnel_used(o->ctx, &session_path(s)->peer);
    if (l == NULL || !l->up)
        return;
    trail_data_seen(o, l, seen->tx_packets);
    if (last_us + demand_us <= l->demand_until_us)
        return;
    if (last_us + demand_us <= o->env->now_us)
        return;
    l->demand_until_us = last_us + demand_us;
    link_need(o, l, OVERLAY_ROLE_DEMAND, 0);
}

bool overlay_data_is_back(const struct overlay *o, const struct id *peer,
                          const struct data_way *way)
{
    const struct link *l = link_find(o, peer);
    const struct path_addr *path = l != NULL && l->up ? session_path(l->session) : NULL;

    if (path == NULL)
        return false;
    switch (path->kind) {
    case PATH_NONE:
        break;
    case PATH_UDP:
        return way->from != NULL && endpoint_eq(&path->ep, way->from);
    case PATH_TCP:
        return way->conn == path->conn;
    case PATH_RELAY:
        return way->relay != NULL && id_eq(&path->via, way->relay);
    case PATH_RING:
        return way->from == NULL && way->conn == 0 && way->relay == NULL && !way->tunnelled;
    case PATH_TUNNEL:
        return way->tunnelled;
    }
    return false;
}

void overlay_data_roamed(struct overlay *o, uint32_t token, const struct endpoint *from)
{
    struct session *s = sessions_by_token(o->sessions, token);

    if (s != NULL)
        session_data_roamed(s, from);
}

int overlay_send_data(struct overlay *o, const struct id *peer, const uint8_t *pkt, size_t len)
{
    struct link *l = link_find(o, peer);

    if (l == NULL || !l->up)
        return -ERR_BAD_STATE;
    if (!trail_send(o, l, pkt, len))
        on_send(o, session_path(l->session), pkt, len);
    return 0;
}

uint64_t overlay_peer_removed(const struct overlay *o, const struct id *peer)
{
    const struct link *l = link_find(o, peer);

    return l != NULL && l->up ? session_crl_number(l->session) : 0;
}

bool overlay_peer_cert(const struct overlay *o, const struct id *peer, struct cert *out)
{
    const struct link *l = link_find(o, peer);

    *out = (struct cert){.enrolment = 0};
    if (l == NULL || !l->up)
        return false;
    session_cert(l->session, out);
    return true;
}

/* For people. */

static void say_why(const struct overlay *o, const struct link *l, char why[96])
{
    static const char *const roles[] = {"ring neighbour", "shortcut", "traffic", "bootstrap",
                                        "relay"};
    const char *what = "no use of ours";
    const char *refusal = session_refusal(l->session);
    uint8_t all = l->mine | l->theirs;

    for (int i = 4; i >= 0; i--)
        if ((all & 1u << i) != 0)
            what = roles[i];
    if (!l->up && refusal[0] != '\0')
        snprintf(why, 96, "refused: %s", refusal);
    else if (!l->up)
        snprintf(why, 96, "opening a session over the ring for %s", what);
    else if (session_path(l->session)->kind == PATH_RELAY)
        snprintf(why, 96, "relayed: no direct address answers, this relay is the quickest (%s)",
                 what);
    else if (session_path(l->session)->kind == PATH_TUNNEL)
        snprintf(why, 96, "through the public overlay: no direct address answers yet (%s)", what);
    else if (l->peer.indirect)
        snprintf(why, 96, "over the ring%s: no direct address answers yet (%s)",
                 trail_is_proven(l) ? " by a trail" : "", what);
    else if (session_path(l->session)->kind == PATH_TCP)
        snprintf(why, 96, "over TCP: no address answers on UDP yet (%s)", what);
    else
        snprintf(why, 96, "direct: this address answered (%s)", what);
}

static void fill_info(const struct overlay *o, const struct link *l, struct overlay_peer_info *out)
{
    struct session_data d;
    struct cert cert;

    *out = (struct overlay_peer_info){.node = l->peer.id, .up = l->up};
    session_data(l->session, &d);
    out->token = d.token;
    out->udp = d.path.kind == PATH_UDP;
    out->tcp = d.path.kind == PATH_TCP;
    if (out->udp || out->tcp)
        out->endpoint = d.path.ep;
    relay_info(l, out);
    session_last_move(l->session, &out->moved);
    out->roles = l->mine | l->theirs;
    out->rtt_us = session_rtt(l->session);
    out->up_since_us = session_up_since(l->session);
    out->last_heard_us = session_last_heard(l->session);
    if (d.tx != NULL)
        out->cipher = seal_key_alg(d.tx);
    session_cert(l->session, &cert);
    memcpy(out->user, cert.user, sizeof out->user);
    say_why(o, l, out->why);
}

static int by_id(const void *a, const void *b)
{
    return id_cmp(&(*(struct link *const *)a)->peer.id, &(*(struct link *const *)b)->peer.id);
}

size_t overlay_peers(const struct overlay *o, struct overlay_peer_info *out, size_t max)
{
    struct link **links = calloc(o->links.count + 1, sizeof *links), *l;
    size_t n = 0, i = 0;

    if (links == NULL)
        return 0;
    while ((l = table_next(&o->links, &i)) != NULL)
        links[n++] = l;
    qsort(links, n, sizeof *links, by_id);
    n = n < max ? n : max;
    for (i = 0; i < n; i++)
        fill_info(o, links[i], &out[i]);
    free(links);
    return n;
}

bool overlay_peer(const struct overlay *o, const struct id *peer, struct overlay_peer_info *out)
{
    const struct link *l = link_find(o, peer);

    if (l != NULL)
        fill_info(o, l, out);
    return l != NULL;
}

size_t overlay_candidates(const struct overlay *o, const struct id *peer,
                          struct overlay_candidate *out, size_t max, struct overlay_tries *tries)
{
    const struct link *l = link_find(o, peer);

    *tries = (struct overlay_tries){.next_us = USEC_NEVER, .tcp_us = USEC_NEVER};
    if (l == NULL || !l->up)
        return 0;
    tries->ports_sent = session_searched(l->session, &tries->ports);
    if (l->tcp_at_us != 0)
        tries->tcp_us = l->tcp_at_us;
    return session_candidates(l->session, out, max, &tries->next_us);
}

size_t overlay_endpoints(const struct overlay *o, struct endpoint out[OVERLAY_ENDPOINTS_MAX])
{
    return sessions_own_endpoints(o->sessions, out);
}

size_t overlay_relays(const struct overlay *o, const struct id *peer, struct overlay_relay *out,
                      size_t max)
{
    const struct link *l = link_find(o, peer);

    return l != NULL && l->up ? relay_list(o, l, out, max) : 0;
}

bool overlay_peer_nat(const struct overlay *o, const struct id *peer, struct overlay_nat *out)
{
    const struct link *l = link_find(o, peer);

    *out = (struct overlay_nat){.mapping = OVERLAY_NAT_MAPPING_UNKNOWN};
    return l != NULL && l->up && session_peer_nat(l->session, out);
}

const char *overlay_move_text(enum overlay_move m)
{
    switch (m) {
    case OVERLAY_MOVE_FIRST:
        return "first";
    case OVERLAY_MOVE_BETTER:
        return "better";
    case OVERLAY_MOVE_SILENT:
        return "silent";
    case OVERLAY_MOVE_LOST:
        return "lost";
    case OVERLAY_MOVE_ROAMED:
        return "roamed";
    case OVERLAY_MOVE_CHOSEN:
        return "chosen";
    }
    return "unknown";
}

const char *overlay_relay_text(enum overlay_relay_state s)
{
    switch (s) {
    case OVERLAY_RELAY_IN_USE:
        return "in use";
    case OVERLAY_RELAY_STANDS_BY:
        return "stands by";
    case OVERLAY_RELAY_ASKED:
        return "asked";
    case OVERLAY_RELAY_TRIED:
        return "being tried";
    case OVERLAY_RELAY_LEFT:
        return "leaves";
    case OVERLAY_RELAY_FAILED:
        return "failed";
    }
    return "unknown";
}

const char *overlay_try_text(enum overlay_try t)
{
    switch (t) {
    case OVERLAY_TRY_IN_USE:
        return "in use";
    case OVERLAY_TRY_ANSWERED:
        return "answers";
    case OVERLAY_TRY_UNDER_WAY:
        return "being tried";
    case OVERLAY_TRY_SILENT:
        return "no answer";
    case OVERLAY_TRY_NO_NEED:
        return "not needed";
    case OVERLAY_TRY_NOT_YET:
        return "not tried yet";
    }
    return "unknown";
}

void overlay_nat(const struct overlay *o, struct overlay_nat *out)
{
    sessions_nat(o->sessions, out);
    natcheck_tell(o, out);
}

void overlay_sent(struct overlay *o, const struct addr *to)
{
    natcheck_sent(o, to);
}

void overlay_indication(struct overlay *o, const struct endpoint *from, const struct stun_id *id)
{
    natcheck_indication(o, from, id);
    sessions_flush(o->sessions);
}

void overlay_observed(struct overlay *o, const struct endpoint *by, const struct endpoint *us)
{
    sessions_observed_by(o->sessions, by, us);
    natcheck_news(o);
    reflexive_answered(o, by);
}

size_t overlay_refusals(const struct overlay *o, struct overlay_refusal *out, size_t max)
{
    struct session_refused refused[16];
    size_t n = sessions_refused(o->sessions, refused, ARRAY_LEN(refused));

    n = n < max ? n : max;
    for (size_t i = 0; i < n; i++) {
        out[i] = (struct overlay_refusal){
            .node = refused[i].peer, .why = refused[i].why, .at_us = refused[i].at_us};
        if (path_addr_is_direct(&refused[i].from))
            out[i].from = refused[i].from.ep;
        memcpy(out[i].user, refused[i].user, sizeof out[i].user);
    }
    return n;
}

bool overlay_counter(const struct overlay *o, size_t i, const char **name, uint64_t *value)
{
    static const char *const names[OVERLAY_COUNT_MAX] = {
        [OVERLAY_COUNT_ROUTED] = "routed",
        [OVERLAY_COUNT_DETOURS] = "detours",
        [OVERLAY_COUNT_DELIVERED] = "delivered",
        [OVERLAY_COUNT_DROP_BAD] = "drop_malformed",
        [OVERLAY_COUNT_DROP_NOBODY] = "drop_unreachable",
        [OVERLAY_COUNT_DROP_HOPS] = "drop_hop_limit",
        [OVERLAY_COUNT_DROP_FULL] = "drop_queue_full",
        [OVERLAY_COUNT_DROP_STRANGER] = "drop_not_member",
        [OVERLAY_COUNT_JOINS] = "introductions",
        [OVERLAY_COUNT_MERGES] = "foreign_rings",
        [OVERLAY_COUNT_REPAIRS] = "neighbours_lost",
        [OVERLAY_COUNT_BROADCASTS] = "broadcasts",
        [OVERLAY_COUNT_RELAYED] = "relayed_slowly",
        [OVERLAY_COUNT_RELAY_CHANNELS] = "relay_channels",
        [OVERLAY_COUNT_RELAY_REFUSED] = "relay_refused",
        [OVERLAY_COUNT_RELAY_WAYS] = "relay_paths",
        [OVERLAY_COUNT_RELAY_LOST] = "relay_paths_lost",
        [OVERLAY_COUNT_DROP_RELAY] = "drop_relay",
        [OVERLAY_COUNT_DROP_RELAY_RATE] = "drop_relay_rate",
        [OVERLAY_COUNT_TRAILS] = "trails",
        [OVERLAY_COUNT_TRAILS_ENDED] = "trails_ended",
        [OVERLAY_COUNT_TRAIL_NUMBERS] = "trail_numbers",
        [OVERLAY_COUNT_TRAILS_REFUSED] = "trails_refused",
    };

    if (i < OVERLAY_COUNT_MAX) {
        *name = names[i];
        *value = o->counts[i];
        return true;
    }
    i -= OVERLAY_COUNT_MAX;
    if (i >= SESSION_COUNT_MAX)
        return false;
    *name = session_count_text((enum session_count)i);
    *value = sessions_counted(o->sessions, (enum session_count)i);
    return true;
}
