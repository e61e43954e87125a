#include "dhcp/server.h"

#include "overlay/core/err.h"
#include "overlay/core/heap.h"
#include "overlay/core/table.h"

#include <stdlib.h>
#include <string.h>

enum { TOKEN_NONE = 0, ID_TYPE_ETHERNET = 1 };

#define CLAIM_TIMEOUT                                                                              \
    SEC(30)                /* a create in the DHT has five tries; then the client gets nothing     \
                            */
#define OFFER_HOLD SEC(60) /* RFC 2131 4.3.1: an offered address should not be offered again */
#define DECLINED_HOLD SEC(600)

enum client_state {
    CLIENT_CLAIMING,  /* new, waits for an address; -> OFFERED when granted, else forgotten */
    CLIENT_OFFERED,   /* we hold an address for it; -> BOUND by its REQUEST, forgotten after a while
                       */
    CLIENT_BOUND,     /* acknowledged; -> EXTENDING when it asks with an old lease; ends with it */
    CLIENT_EXTENDING, /* bound, being claimed anew; -> BOUND, or OFFERED of another address */
    CLIENT_STATES,
};

static const char *const state_texts[CLIENT_STATES] = {"claiming", "offered", "bound", "extending"};

static const bool state_moves[CLIENT_STATES][CLIENT_STATES] = {
    [CLIENT_CLAIMING] = {[CLIENT_OFFERED] = true, [CLIENT_BOUND] = true},
    [CLIENT_OFFERED] = {[CLIENT_OFFERED] = true, [CLIENT_BOUND] = true},
    [CLIENT_BOUND] = {[CLIENT_BOUND] = true, [CLIENT_EXTENDING] = true},
    [CLIENT_EXTENDING] = {[CLIENT_BOUND] = true, [CLIENT_OFFERED] = true},
};

/* Who a client is: unused bytes are zero, so that keys compare whole. */
struct client_key {
    enum { KEY_OWN, KEY_MAC, KEY_ID } kind;
    struct dhcp_bytes id;
};

struct client {
    struct client_key key;
    enum client_state state;
    struct timer timer; /* set with the state, see set_state */
    usec since_us;      /* of the state */

    uint32_t token; /* of the claim under way, or TOKEN_NONE */

    struct dhcp_lease lease; /* lease_s as granted; unused while CLAIMING */
    usec lease_end_us;

    /* The newest message that waits for the claim's end. */
    struct dhcp_msg request;
    struct mac from_mac;
};

struct declined {
    struct addr addr; /* family 0: free */
    usec until_us;
};

struct dhcp_server {
    const struct env *env;
    struct dhcp_config config;
    const struct dhcp_ops *ops;
    void *ctx;

    struct table clients;
    struct heap timers;
    size_t claims;
    uint32_t last_token;
    struct declined declined[DHCP_DECLINED_MAX];
    uint64_t drops[DHCP_DROP_COUNT];
};

static const char *const drop_texts[DHCP_DROP_COUNT] = {
    [DHCP_DROP_MALFORMED] = "malformed",     [DHCP_DROP_RELAY] = "relay",
    [DHCP_DROP_NOT_OURS] = "not_ours",       [DHCP_DROP_FULL] = "full",
    [DHCP_DROP_UNAVAILABLE] = "unavailable",
};

const char *dhcp_drop_text(enum dhcp_drop drop)
{
    return drop < DHCP_DROP_COUNT ? drop_texts[drop] : "unknown";
}

static void drop(struct dhcp_server *s, enum dhcp_drop why)
{
    s->drops[why]++;
    env_log(s->env, LOG_LEVEL_DEBUG, "dhcp: dropped: %s", drop_texts[why]);
}

/* ---- clients */

static usec state_end(const struct dhcp_server *s, const struct client *c)
{
    usec now = s->env->now_us;
    switch (c->state) {
    case CLIENT_CLAIMING:
        return now + CLAIM_TIMEOUT;
    case CLIENT_OFFERED:
        return usec_min(c->lease_end_us, now + OFFER_HOLD);
    case CLIENT_BOUND:
        return c->lease_end_us;
    case CLIENT_EXTENDING:
        return usec_min(c->lease_end_us, now + CLAIM_TIMEOUT);
    case CLIENT_STATES:
        break;
    }
    return USEC_NEVER;
}

static void set_state(struct dhcp_server *s, struct client *c, enum client_state state)
{
    char mac[18], addr[ADDR_TEXT_SIZE];
    CHECK(state_moves[c->state][state]);
    if (c->state != state) {
        env_log(s->env, LOG_LEVEL_DEBUG, "dhcp: %s %s: %s -> %s",
                mac_text(&c->request.header.mac, mac), addr_text(&c->lease.addr, addr),
                state_texts[c->state], state_texts[state]);
        c->since_us = s->env->now_us;
    }
    c->state = state;
    heap_set(&s->timers, &c->timer, state_end(s, c));
}

static struct client_key key_of(const struct dhcp_server *s, const struct dhcp_msg *m)
{
    struct client_key key;
    const struct dhcp_bytes *id = &m->client_id;
    const size_t mac_len = sizeof m->header.mac.b;

    memset(&key, 0, sizeof key);
    if (memcmp(&m->header.mac, &s->config.own, mac_len) == 0) {
        key.kind = KEY_OWN;
    } else if (!id->len) {
        key.kind = KEY_MAC;
        memcpy(key.id.b, m->header.mac.b, mac_len);
    } else if (id->len == 1 + mac_len && id->b[0] == ID_TYPE_ETHERNET) {
        key.kind = KEY_MAC;
        memcpy(key.id.b, id->b + 1, mac_len);
    } else {
        key.kind = KEY_ID;
        key.id.len = id->len;
        memcpy(key.id.b, id->b, id->len);
    }
    return key;
}

static struct client *client_find(const struct dhcp_server *s, const struct dhcp_msg *m)
{
    struct client_key key = key_of(s, m);
    return table_get(&s->clients, &key);
}

static void claim_over(struct dhcp_server *s, struct client *c)
{
    if (c->token == TOKEN_NONE)
        return;
    CHECK(s->claims > 0);
    s->claims--;
    c->token = TOKEN_NONE;
}

static void client_forget(struct dhcp_server *s, struct client *c)
{
    claim_over(s, c);
    heap_set(&s->timers, &c->timer, USEC_NEVER);
    CHECK(table_remove(&s->clients, &c->key) == c);
    free(c);
}

/* Forgets the client and hands its address back; a caller's last act on it. */
static void client_end(struct dhcp_server *s, struct client *c, enum dhcp_gone why)
{
    struct addr addr = c->lease.addr;
    client_forget(s, c);
    if (addr.family)
        s->ops->gone(s->ctx, &addr, why);
}

static bool client_is_victim(const struct client *c, const struct client *victim)
{
    if (c->state != CLIENT_CLAIMING && c->state != CLIENT_OFFERED)
        return false;
    /* Ties go by the key: the table's order is a keyed hash, and must not decide. */
    return !victim || c->since_us < victim->since_us ||
           (c->since_us == victim->since_us && memcmp(&c->key, &victim->key, sizeof c->key) < 0);
}

/* The client that has been without a lease longest, or NULL. */
static struct client *client_victim(const struct dhcp_server *s)
{
    struct client *c, *victim = NULL;
    for (size_t i = 0; (c = table_next(&s->clients, &i)) != NULL;) {
        if (client_is_victim(c, victim))
            victim = c;
    }
    return victim;
}

/* NULL when the table is full of leases. */
static struct client *client_add(struct dhcp_server *s, const struct dhcp_msg *m)
{
    if (s->clients.count == DHCP_CLIENTS_MAX) {
        struct client *victim = client_victim(s);
        if (!victim)
            return NULL;
        client_end(s, victim, DHCP_GONE_NOT_WANTED);
    }
    struct client *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->key = key_of(s, m);
    c->state = CLIENT_CLAIMING;
    c->since_us = s->env->now_us;
    if (table_put(&s->clients, c) != 0) {
        free(c);
        return NULL;
    }
    heap_set(&s->timers, &c->timer, state_end(s, c));
    return c;
}

static uint32_t remaining_s(const struct dhcp_server *s, const struct client *c)
{
    usec now = s->env->now_us;
    return c->lease_end_us > now ? (uint32_t)((c->lease_end_us - now) / SEC(1)) : 0;
}

/* Enough of the grant is left to answer from it. */
static bool client_is_fresh(const struct dhcp_server *s, const struct client *c)
{
    return (uint64_t)remaining_s(s, c) * 4 >= (uint64_t)c->lease.lease_s * 3;
}

/* ---- addresses */

/* A host's address: not the network's own, not the service's, not the broadcast. */
static bool addr_is_usable(const struct dhcp_server *s, uint32_t addr)
{
    const struct net *range = &s->config.range;
    struct addr a = addr_v4(addr), first = net_first(range);
    uint32_t offset = addr - addr_to_v4(&first);
    return net_contains(range, &a) && !addr_eq(&a, &s->config.service) && offset != 0 &&
           offset != net_hosts(range) - 1;
}

/* RFC 2131 table 4: the address is in option 50, or in ciaddr while renewing and rebinding. */
static uint32_t wanted_addr(const struct dhcp_msg *m)
{
    return m->requested ? m->requested : m->header.ciaddr;
}

static void declined_add(struct dhcp_server *s, const struct addr *addr)
{
    struct declined *victim = &s->declined[0];
    for (size_t i = 1; i < DHCP_DECLINED_MAX; i++) {
        if (s->declined[i].until_us < victim->until_us)
            victim = &s->declined[i];
    }
    victim->addr = *addr;
    victim->until_us = s->env->now_us + DECLINED_HOLD;
}

static size_t declined_list(const struct dhcp_server *s, struct addr out[DHCP_DECLINED_MAX])
{
    size_t count = 0;
    for (size_t i = 0; i < DHCP_DECLINED_MAX; i++) {
        if (s->declined[i].until_us > s->env->now_us)
            out[count++] = s->declined[i].addr;
    }
    return count;
}

static uint32_t held_addr(const struct client *c)
{
    return c->lease.addr.family ? addr_to_v4(&c->lease.addr) : 0;
}

static struct client *client_of_addr(const struct dhcp_server *s, const struct addr *addr)
{
    struct client *c;
    for (size_t i = 0; (c = table_next(&s->clients, &i)) != NULL;) {
        if (addr_eq(&c->lease.addr, addr))
            return c;
    }
    return NULL;
}

static struct client *client_of_token(const struct dhcp_server *s, uint32_t token)
{
    struct client *c;
    if (token == TOKEN_NONE)
        return NULL;
    for (size_t i = 0; (c = table_next(&s->clients, &i)) != NULL;) {
        if (c->token == token)
            return c;
    }
    return NULL;
}

/* ---- answers and claims */

static void send_reply(struct dhcp_server *s, const struct dhcp_msg *m, const struct mac *from_mac,
                       enum dhcp_type type, const struct dhcp_lease *lease)
{
    struct dhcp_reply reply;
    dhcp_reply_build(&reply, &s->config, m, from_mac, type, lease);
    s->ops->send(s->ctx, &reply);
}

static void client_remember(struct client *c, const struct dhcp_msg *m, const struct mac *from_mac)
{
    c->request = *m;
    c->from_mac = *from_mac;
}

/* Answers the remembered message of a client that has an address. */
static void client_answer(struct dhcp_server *s, struct client *c)
{
    struct dhcp_lease left = c->lease;
    enum dhcp_type type = DHCP_OFFER;

    left.lease_s = remaining_s(s, c);
    if (c->request.type == DHCP_REQUEST)
        type = held_addr(c) == wanted_addr(&c->request) ? DHCP_ACK : DHCP_NAK;
    if (left.lease_s == 0) {
        drop(s, DHCP_DROP_UNAVAILABLE); /* in its last second; the timer ends it */
        return;
    }
    set_state(s, c, type == DHCP_ACK ? CLIENT_BOUND : c->state);
    send_reply(s, &c->request, &c->from_mac, type, type == DHCP_NAK ? NULL : &left);
}

/* The client's first label when it is one; anything else a client calls itself is ignored. */
static void read_hostname(char out[LABEL_MAX + 1], const struct dhcp_bytes *name)
{
    const uint8_t *dot = memchr(name->b, '.', name->len);
    size_t len = dot ? (size_t)(dot - name->b) : name->len;
    while (len > 0 && name->b[len - 1] == '\0')
        len--; /* RFC 2132 2: receivers must take trailing NULs */
    if (!label_normalize(out, LABEL_MAX + 1, (const char *)name->b, len))
        out[0] = '\0';
}

static uint32_t next_token(struct dhcp_server *s)
{
    if (++s->last_token == TOKEN_NONE)
        s->last_token++;
    return s->last_token;
}

/* Starts the claim that answers c->request. The last thing a caller does. */
static void client_claim(struct dhcp_server *s, struct client *c)
{
    struct addr avoid[DHCP_DECLINED_MAX];
    struct dhcp_claim claim = {.mac = c->request.header.mac,
                               .own = c->key.kind == KEY_OWN,
                               .exact = c->request.type == DHCP_REQUEST,
                               .avoid = avoid,
                               .avoid_count = declined_list(s, avoid)};
    uint32_t wanted = held_addr(c) ? held_addr(c) : wanted_addr(&c->request);

    if (addr_is_usable(s, wanted))
        claim.wanted = addr_v4(wanted);
    read_hostname(claim.hostname, &c->request.host_name);
    c->token = claim.token = next_token(s);
    s->claims++;
    s->ops->claim(s->ctx, &claim);
}

/* A message that needs a claim: starts one for a new client, or for one whose lease has aged. */
static void client_wait(struct dhcp_server *s, struct client *c, const struct dhcp_msg *m,
                        const struct mac *from_mac)
{
    if (s->claims >= DHCP_CLAIMS_MAX || (!c && !(c = client_add(s, m)))) {
        drop(s, DHCP_DROP_FULL);
        return;
    }
    client_remember(c, m, from_mac);
    if (c->state == CLIENT_BOUND)
        set_state(s, c, CLIENT_EXTENDING);
    client_claim(s, c);
}

/* What DISCOVER and a REQUEST that may be granted have in common. */
static void client_ask(struct dhcp_server *s, struct client *c, const struct dhcp_msg *m,
                       const struct mac *from_mac)
{
    if (!c || (c->state == CLIENT_BOUND && !client_is_fresh(s, c))) {
        client_wait(s, c, m, from_mac);
        return;
    }
    client_remember(c, m, from_mac);
    if (c->state == CLIENT_OFFERED || c->state == CLIENT_BOUND)
        client_answer(s, c);
}

/* ---- messages, by type */

static void on_discover(struct dhcp_server *s, struct client *c, const struct dhcp_msg *m,
                        const struct mac *from_mac)
{
    client_ask(s, c, m, from_mac);
}

/* The client took another server's offer (RFC 2131 4.3.2). */
static void on_request_elsewhere(struct dhcp_server *s, struct client *c)
{
    drop(s, DHCP_DROP_NOT_OURS);
    if (c && c->state == CLIENT_OFFERED)
        client_end(s, c, DHCP_GONE_NOT_WANTED);
}

static bool is_for_us(const struct dhcp_server *s, const struct dhcp_msg *m)
{
    return !m->server_id || m->server_id == addr_to_v4(&s->config.service);
}

static void on_request(struct dhcp_server *s, struct client *c, const struct dhcp_msg *m,
                       const struct mac *from_mac)
{
    uint32_t wanted = wanted_addr(m);
    if (!wanted)
        drop(s, DHCP_DROP_MALFORMED);
    else if (!is_for_us(s, m))
        on_request_elsewhere(s, c);
    else if ((c && held_addr(c) && held_addr(c) != wanted) ||
             (!addr_is_usable(s, wanted) && (c || s->config.authoritative)))
        send_reply(s, m, from_mac, DHCP_NAK, NULL);
    else if (!addr_is_usable(s, wanted))
        drop(s, DHCP_DROP_NOT_OURS);
    else
        client_ask(s, c, m, from_mac);
}

static void on_decline(struct dhcp_server *s, struct client *c, const struct dhcp_msg *m,
                       const struct mac *from_mac)
{
    if (!c || !is_for_us(s, m) || !m->requested || m->requested != held_addr(c)) {
        drop(s, DHCP_DROP_NOT_OURS);
        return;
    }
    declined_add(s, &c->lease.addr);
    client_end(s, c, DHCP_GONE_DECLINED);
}

static void on_release(struct dhcp_server *s, struct client *c, const struct dhcp_msg *m,
                       const struct mac *from_mac)
{
    if (!c || !is_for_us(s, m) || !m->header.ciaddr || m->header.ciaddr != held_addr(c)) {
        drop(s, DHCP_DROP_NOT_OURS);
        return;
    }
    client_end(s, c, DHCP_GONE_RELEASED);
}

static void on_inform(struct dhcp_server *s, struct client *c, const struct dhcp_msg *m,
                      const struct mac *from_mac)
{
    if (!addr_is_usable(s, m->header.ciaddr))
        drop(s, DHCP_DROP_NOT_OURS);
    else
        send_reply(s, m, from_mac, DHCP_ACK, NULL);
}

typedef void message_handler(struct dhcp_server *s, struct client *c, const struct dhcp_msg *m,
                             const struct mac *from_mac);

static message_handler *const handlers[] = {
    [DHCP_DISCOVER] = on_discover, [DHCP_REQUEST] = on_request, [DHCP_DECLINE] = on_decline,
    [DHCP_RELEASE] = on_release,   [DHCP_INFORM] = on_inform,
};

void dhcp_server_input(struct dhcp_server *s, const struct mac *from_mac, const struct addr *from,
                       const uint8_t *bytes, size_t len)
{
    struct dhcp_msg m;
    if (!dhcp_msg_parse(&m, bytes, len)) {
        drop(s, DHCP_DROP_MALFORMED);
        return;
    }
    struct addr relay = addr_v4(m.header.giaddr);
    if (m.header.giaddr && !net_contains(&s->config.range, &relay)) {
        drop(s, DHCP_DROP_RELAY);
        return;
    }
    /* Some clients leave ciaddr out of an INFORM; its IP source says the same. */
    if (m.type == DHCP_INFORM && !m.header.ciaddr && from->family == 4)
        m.header.ciaddr = addr_to_v4(from);
    handlers[m.type](s, client_find(s, &m), &m, from_mac);
}

/* ---- the ends of claims */

static void claim_granted(struct dhcp_server *s, struct client *c, const struct dhcp_lease *lease)
{
    struct addr before = c->lease.addr;
    bool moved = !addr_eq(&before, &lease->addr);

    c->lease = *lease;
    c->lease_end_us = s->env->now_us + SEC(lease->lease_s);
    set_state(s, c, moved ? CLIENT_OFFERED : CLIENT_BOUND);
    client_answer(s, c);
    if (moved && before.family)
        s->ops->gone(s->ctx, &before, DHCP_GONE_NOT_WANTED);
}

static void claim_taken(struct dhcp_server *s, struct client *c)
{
    struct dhcp_msg m = c->request;
    struct mac from_mac = c->from_mac;

    client_forget(s, c);
    if (m.type == DHCP_REQUEST)
        send_reply(s, &m, &from_mac, DHCP_NAK, NULL);
    else
        drop(s, DHCP_DROP_UNAVAILABLE);
}

/* A lease that cannot be made longer is still good to its end. */
static void claim_unavailable(struct dhcp_server *s, struct client *c)
{
    if (c->state == CLIENT_EXTENDING) {
        set_state(s, c, CLIENT_BOUND);
        client_answer(s, c);
        return;
    }
    client_forget(s, c);
    drop(s, DHCP_DROP_UNAVAILABLE);
}

static void claim_late(struct dhcp_server *s, const struct dhcp_lease *lease)
{
    if (!client_of_addr(s, &lease->addr))
        s->ops->gone(s->ctx, &lease->addr, DHCP_GONE_NOT_WANTED);
}

void dhcp_server_claimed(struct dhcp_server *s, uint32_t token, enum dhcp_claim_result result,
                         const struct dhcp_lease *lease)
{
    struct client *c = client_of_token(s, token);
    if (result == DHCP_CLAIM_GRANTED)
        CHECK(lease->lease_s > 0 && addr_is_usable(s, addr_to_v4(&lease->addr)));
    if (!c) {
        if (result == DHCP_CLAIM_GRANTED)
            claim_late(s, lease);
        return;
    }
    claim_over(s, c);
    switch (result) {
    case DHCP_CLAIM_GRANTED:
        claim_granted(s, c, lease);
        break;
    case DHCP_CLAIM_TAKEN:
        claim_taken(s, c);
        break;
    case DHCP_CLAIM_UNAVAILABLE:
        claim_unavailable(s, c);
        break;
    }
}

void dhcp_server_lost(struct dhcp_server *s, const struct addr *addr)
{
    struct client *c = client_of_addr(s, addr);
    if (c)
        client_forget(s, c);
}

/* ---- time */

static void client_timeout(struct dhcp_server *s, struct client *c)
{
    bool expired = c->state != CLIENT_CLAIMING && c->lease_end_us <= s->env->now_us;
    if (expired) {
        client_end(s, c, DHCP_GONE_EXPIRED);
    } else if (c->state == CLIENT_EXTENDING) {
        claim_over(s, c);
        set_state(s, c, CLIENT_BOUND);
    } else {
        client_end(s, c, DHCP_GONE_NOT_WANTED);
    }
}

void dhcp_server_tick(struct dhcp_server *s)
{
    struct timer *t;
    while ((t = heap_pop(&s->timers, s->env->now_us)) != NULL)
        client_timeout(s, CONTAINER_OF(t, struct client, timer));
}

usec dhcp_server_deadline(const struct dhcp_server *s)
{
    return heap_deadline(&s->timers);
}

/* ---- the object */

struct dhcp_server *dhcp_server_new(const struct env *env, const struct dhcp_config *config,
                                    const struct dhcp_ops *ops, void *ctx)
{
    CHECK(config->range.addr.family == 4 && config->service.family == 4);
    CHECK(config->range.prefix <= 32 && config->route_count <= DHCP_ROUTES_MAX);
    struct dhcp_server *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->env = env;
    s->config = *config;
    s->ops = ops;
    s->ctx = ctx;
    table_init(&s->clients, offsetof(struct client, key), sizeof(struct client_key),
               DHCP_CLIENTS_MAX, env->hash_key);
    heap_init(&s->timers);
    return s;
}

void dhcp_server_free(struct dhcp_server *s)
{
    struct client *c;
    if (!s)
        return;
    heap_clear(&s->timers); /* writes to the timers: before they go */
    for (size_t i = 0; (c = table_next(&s->clients, &i)) != NULL;)
        free(c);
    table_clear(&s->clients);
    free(s);
}

size_t dhcp_server_leases(const struct dhcp_server *s)
{
    struct client *c;
    size_t count = 0;
    for (size_t i = 0; (c = table_next(&s->clients, &i)) != NULL;)
        count += c->state == CLIENT_BOUND || c->state == CLIENT_EXTENDING;
    return count;
}

uint64_t dhcp_server_drops(const struct dhcp_server *s, enum dhcp_drop why)
{
    return why < DHCP_DROP_COUNT ? s->drops[why] : 0;
}
