#include "daemon/node/own.h"

#include <stdio.h>
#include <string.h>

#include "daemon/node/address.h"
#include "overlay/core/err.h"

enum {
    OWN_RETRY_MIN_MS = 500,
    OWN_RETRY_MAX_MS = 15000,
    OWN_FULL_RETRY_MS = 20000,
};

enum own_token { OWN_TOKEN_ADDRESS = 1, OWN_TOKEN_NAME, OWN_TOKEN_REVERSE };

struct id own_key_ipv4(const struct id *group, const struct addr *addr)
{
    return dht_key(group, "ipv4", addr->b, 4);
}

struct id own_key_ipv6(const struct id *group, const struct addr *addr)
{
    return dht_key(group, "ipv6", addr->b, 16);
}

struct id own_key_host(const struct id *group, const char *label)
{
    return dht_key(group, "host", label, strlen(label));
}

static bool own_is_fixed(const struct own *o)
{
    return o->config->address_mode == NODE_ADDRESS_FIXED;
}

void own_init(struct own *o, const struct node_config *config, struct env *env, struct dht *dht)
{
    *o = (struct own){.config = config, .env = env, .dht = dht};
    o->wish = own_is_fixed(o) ? config->fixed : config->last;
    o->ipv6 = address_ipv6(&config->ipv6, &config->overlay.node);
    o->facts.ipv6 = o->ipv6.addr;
}

/* The address to ask for now, by the number of refusals so far. False: none is left. */
static bool own_next_address(struct own *o, struct addr *out)
{
    const struct net *range = &o->config->ipv4;
    uint32_t count = address_count(range);

    if (!o->wish_spent && o->wish.family == 4 && address_usable(range, &o->wish)) {
        *out = o->wish;
        return true;
    }
    if (own_is_fixed(o) ||
        o->address.attempt >= (count < OWN_ADDRESS_TRIES ? count : OWN_ADDRESS_TRIES))
        return false;
    *out = address_candidate(range, &o->config->overlay.node, o->address.attempt);
    return true;
}

static bool own_next_name(struct own *o, char out[NODE_HOSTNAME_SIZE])
{
    char suffix[8] = "";
    int room;

    if (o->name.attempt >= OWN_NAME_TRIES)
        return false;
    if (o->name.attempt > 0)
        snprintf(suffix, sizeof(suffix), "-%u", (unsigned)(o->name.attempt % 100) + 1);
    room = LABEL_MAX - (int)strlen(suffix);
    snprintf(out, NODE_HOSTNAME_SIZE, "%.*s%s", room, o->config->hostname, suffix);
    return true;
}

static void own_wait(struct own *o, struct own_claim *c, unsigned wait_ms)
{
    c->state = OWN_WAIT;
    c->retry_us = o->env->now_us + env_jitter(o->env, MSEC(wait_ms), 25);
}

static void own_wait_longer(struct own *o, struct own_claim *c)
{
    unsigned wait_ms = OWN_RETRY_MIN_MS << (c->failures < 5 ? c->failures : 5);

    c->failures++;
    own_wait(o, c, wait_ms < OWN_RETRY_MAX_MS ? wait_ms : OWN_RETRY_MAX_MS);
}

/* Nobody may have what we want of the range. Asked again now and then: leases end. */
static void own_address_none(struct own *o)
{
    char text[NET_TEXT_SIZE], addr[ADDR_TEXT_SIZE];

    if (!own_is_fixed(o))
        snprintf(o->reason, sizeof(o->reason), "no address is free: the range %s is full",
                 net_text(&o->config->ipv4, text));
    else if (address_usable(&o->config->ipv4, &o->wish))
        snprintf(o->reason, sizeof(o->reason), "the address %s belongs to another member",
                 addr_text(&o->wish, addr));
    else
        snprintf(o->reason, sizeof(o->reason),
                 "the address %s is not one that a member of %s may have",
                 addr_text(&o->wish, addr), net_text(&o->config->ipv4, text));
    o->address.attempt = 0;
    o->wish_spent = false;
    o->changed = true;
    own_wait(o, &o->address, OWN_FULL_RETRY_MS);
}

static void own_done(void *ctx, uint64_t token, const struct dht_result *result);

static void own_create(struct own *o, struct own_claim *c, enum own_token token)
{
    uint8_t value[FACTS_SIZE_MAX];
    size_t len = facts_write(&o->facts, value);
    int r;

    c->written = o->facts;
    if (token == OWN_TOKEN_REVERSE)
        r = dht_put(o->dht, &c->key, NULL, value, len, o->config->lease_s, DHT_KEEP, own_done, o,
                    token);
    else
        r = dht_create(o->dht, &c->key, NULL, value, len, o->config->lease_s, DHT_KEEP, own_done, o,
                       token);
    if (r < 0)
        own_wait_longer(o, c);
    else
        c->state = OWN_ASKING;
}

static void own_ask_address(struct own *o)
{
    if (!own_next_address(o, &o->facts.ipv4)) {
        o->facts.ipv4 = (struct addr){0};
        own_address_none(o);
        return;
    }
    o->address.key = own_key_ipv4(&o->config->overlay.overlay, &o->facts.ipv4);
    own_create(o, &o->address, OWN_TOKEN_ADDRESS);
}

static void own_ask_name(struct own *o)
{
    if (!own_next_name(o, o->facts.hostname)) {
        o->facts.hostname[0] = '\0';
        o->name.attempt = 0;
        own_wait(o, &o->name, OWN_FULL_RETRY_MS);
        return;
    }
    o->name.key = own_key_host(&o->config->overlay.overlay, o->facts.hostname);
    own_create(o, &o->name, OWN_TOKEN_NAME);
}

static void own_ask_reverse(struct own *o)
{
    o->reverse.key = own_key_ipv6(&o->config->overlay.overlay, &o->ipv6.addr);
    own_create(o, &o->reverse, OWN_TOKEN_REVERSE);
}

/* Refused: the next candidate at the next tick. */
static void own_refused(struct own *o, struct own_claim *c)
{
    bool was_wish = c == &o->address && !o->wish_spent && addr_eq(&o->facts.ipv4, &o->wish);

    if (was_wish)
        o->wish_spent = true;
    else
        c->attempt++;
    c->state = OWN_IDLE;
    c->held = false;
    c->failures = 0;
}

static void own_held(struct own *o, struct own_claim *c)
{
    c->state = OWN_HELD;
    c->held = true;
    c->failures = 0;
    if (c == &o->address)
        o->reason[0] = '\0';
    o->changed = true;
}

static struct own_claim *own_claim_of(struct own *o, uint64_t token)
{
    return token == OWN_TOKEN_ADDRESS ? &o->address
           : token == OWN_TOKEN_NAME  ? &o->name
                                      : &o->reverse;
}

/* Takes a record of ours off the DHT, or at least renews it no more. */
static void own_free(struct own *o, const struct id *key)
{
    if (dht_remove(o->dht, key, NULL, NULL, 0) < 0)
        dht_unkeep(o->dht, key);
}

static void own_done(void *ctx, uint64_t token, const struct dht_result *result)
{
    struct own *o = ctx;
    struct own_claim *c = own_claim_of(o, token);

    if (c->state != OWN_ASKING || !id_eq(&c->key, &result->key)) {
        if (result->status == DHT_OK && !id_eq(&c->key, &result->key))
            own_free(o, &result->key); /* granted after we had changed our mind */
        return;
    }
    switch (result->status) {
    case DHT_OK:
        own_held(o, c);
        break;
    case DHT_TAKEN:
        own_refused(o, c);
        break;
    case DHT_REFUSED:
    case DHT_BUSY:
    case DHT_NOT_FOUND:
    case DHT_NO_MAJORITY:
    case DHT_TIMEOUT:
        env_log(o->env, LOG_LEVEL_DEBUG, "claim %u: %s", (unsigned)token,
                dht_status_text(result->status));
        own_wait_longer(o, c);
        break;
    }
}

void own_lost(struct own *o, const struct id *key)
{
    struct own_claim *claims[] = {&o->address, &o->name};

    for (size_t i = 0; i < ARRAY_LEN(claims); i++) {
        if (claims[i]->state == OWN_IDLE || !id_eq(&claims[i]->key, key))
            continue;
        own_refused(o, claims[i]);
        o->changed = true;
    }
}

void own_wish(struct own *o, const struct addr *addr)
{
    if (own_is_fixed(o) || o->address.held || o->address.state == OWN_ASKING)
        return;
    o->wish = *addr;
    o->wish_spent = false;
}

void own_rename(struct own *o)
{
    if (o->name.held || o->name.state == OWN_ASKING)
        own_free(o, &o->name.key);
    o->name = (struct own_claim){.state = OWN_IDLE};
    o->changed = true;
}

void own_avoid(struct own *o)
{
    if (own_is_fixed(o) || !o->address.held)
        return;
    own_free(o, &o->address.key);
    own_refused(o, &o->address);
    o->changed = true;
}

/* The other claim ended otherwise than expected when this record was written. */
static bool own_is_outdated(const struct own *o, const struct own_claim *c)
{
    return c->state == OWN_HELD && own_has_address(o) && own_has_name(o) &&
           !facts_eq(&c->written, &o->facts);
}

/* Begins what is due; writes a record again whose value is out of date. */
static void own_step(struct own *o, struct own_claim *c, enum own_token token,
                     void (*ask)(struct own *))
{
    if (own_is_outdated(o, c))
        own_create(o, c, token);
    else if (c->state == OWN_IDLE || (c->state == OWN_WAIT && c->retry_us <= o->env->now_us))
        ask(o);
}

void own_tick(struct own *o)
{
    struct addr expected;

    if (o->config->address_mode == NODE_ADDRESS_NONE)
        return;
    /* So that the name's record, written at the same time, says the address that we expect. */
    if (o->address.state == OWN_IDLE && own_next_address(o, &expected))
        o->facts.ipv4 = expected;
    if (o->name.state == OWN_IDLE)
        (void)own_next_name(o, o->facts.hostname);
    own_step(o, &o->address, OWN_TOKEN_ADDRESS, own_ask_address);
    own_step(o, &o->name, OWN_TOKEN_NAME, own_ask_name);
    if (o->ipv6.addr.family == 6)
        own_step(o, &o->reverse, OWN_TOKEN_REVERSE, own_ask_reverse);
}

usec own_deadline(const struct own *o)
{
    const struct own_claim *claims[] = {&o->address, &o->name, &o->reverse};
    usec at_us = USEC_NEVER;

    if (o->config->address_mode == NODE_ADDRESS_NONE)
        return USEC_NEVER;
    for (size_t i = 0; i < ARRAY_LEN(claims); i++) {
        if (claims[i] == &o->reverse && o->ipv6.addr.family != 6)
            continue;
        if (claims[i]->state == OWN_IDLE || own_is_outdated(o, claims[i]))
            at_us = 0;
        else if (claims[i]->state == OWN_WAIT)
            at_us = usec_min(at_us, claims[i]->retry_us);
    }
    return at_us;
}

bool own_has_address(const struct own *o)
{
    return o->address.held;
}

bool own_has_name(const struct own *o)
{
    return o->name.held;
}

bool own_is_stuck(const struct own *o)
{
    return o->address.state == OWN_WAIT && o->reason[0] != '\0';
}
