#include "daemon/node/lookup.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "daemon/node/member.h"
#include "daemon/node/own.h"
#include "overlay/core/err.h"

void lookups_init(struct lookups *ls, struct env *env, struct overlay *overlay, struct dht *dht)
{
    *ls = (struct lookups){.env = env, .overlay = overlay, .dht = dht};
}

void lookups_clear(struct lookups *ls)
{
    free(ls->v);
    ls->v = NULL;
}

static void lookup_end(struct lookup *l, const struct node_lookup_result *result)
{
    struct lookup ended = *l;

    *l = (struct lookup){0};
    ended.done(ended.ctx, result);
}

static void lookup_ask_id(struct lookups *ls, struct lookup *l)
{
    uint8_t body[5] = {NODE_MSG_MEMBER_ASK};

    put_u32(body + 1, l->number);
    l->retry_us = ls->env->now_us + LOOKUP_TRY_US;
    (void)overlay_send(ls->overlay, &l->node, OVERLAY_PROTO_NODE, body, sizeof(body));
}

static struct lookup *lookup_by_number(struct lookups *ls, uint32_t number)
{
    for (size_t i = 0; ls->v && i < LOOKUPS_MAX; i++)
        if (ls->v[i].used && ls->v[i].number == number)
            return &ls->v[i];
    return NULL;
}

static void on_record(void *ctx, uint64_t token, const struct dht_result *result)
{
    struct lookup *l = lookup_by_number(ctx, (uint32_t)token);
    struct node_lookup_result out = {0};
    struct facts facts;

    if (!l)
        return;
    out.timed_out = result->status == DHT_TIMEOUT;
    if (result->status == DHT_OK && result->count > 0 &&
        facts_read(&facts, result->values[0].value, result->values[0].len)) {
        out.found = true;
        out.node = result->values[0].owner;
        out.remaining_s = result->values[0].remaining_s;
        memcpy(out.hostname, facts.hostname, sizeof(out.hostname));
        out.ipv4 = facts.ipv4;
        out.ipv6 = facts.ipv6;
    }
    lookup_end(l, &out);
}

/* "alice" or "alice.lab.peal" with the group's domain, any case. */
static bool lookup_label(const struct node_config *config, const char *what,
                         char out[NODE_HOSTNAME_SIZE])
{
    size_t len = strlen(what), domain_len = strlen(config->domain);

    if (len > domain_len + 1 && what[len - domain_len - 1] == '.' &&
        strcasecmp(what + len - domain_len, config->domain) == 0)
        len -= domain_len + 1;
    return label_normalize(out, NODE_HOSTNAME_SIZE, what, len);
}

static bool lookup_key(const struct node_config *config, const char *what, struct id *key)
{
    char label[NODE_HOSTNAME_SIZE];
    struct addr addr;

    if (addr_parse(&addr, what))
        *key = addr.family == 4 ? own_key_ipv4(&config->overlay.overlay, &addr)
                                : own_key_ipv6(&config->overlay.overlay, &addr);
    else if (lookup_label(config, what, label))
        *key = own_key_host(&config->overlay.overlay, label);
    else
        return false;
    return true;
}

int lookup_start(struct lookups *ls, const struct node_config *config, const char *what,
                 void (*done)(void *ctx, const struct node_lookup_result *r), void *ctx)
{
    struct lookup *l = NULL;
    struct id key, node;
    bool by_id = id_parse(&node, what);
    int r;

    if (!by_id && !lookup_key(config, what, &key))
        return -ERR_FORMAT;
    if (!ls->v)
        ls->v = calloc(LOOKUPS_MAX, sizeof(*ls->v));
    for (size_t i = 0; ls->v && i < LOOKUPS_MAX && !l; i++)
        if (!ls->v[i].used)
            l = &ls->v[i];
    if (!l)
        return -ERR_FULL;
    *l = (struct lookup){.used = true,
                         .by_id = by_id,
                         .number = env_random_u32(ls->env),
                         .until_us = ls->env->now_us + LOOKUP_US,
                         .retry_us = USEC_NEVER,
                         .done = done,
                         .ctx = ctx};
    if (by_id) {
        l->node = node;
        lookup_ask_id(ls, l);
        return 0;
    }
    r = dht_get(ls->dht, &key, DHT_ANY, on_record, ls, l->number);
    if (r < 0)
        *l = (struct lookup){0};
    return r;
}

bool lookups_reply(struct lookups *ls, const struct id *from, uint32_t number,
                   const struct facts *facts)
{
    struct lookup *l = lookup_by_number(ls, number);
    struct node_lookup_result out = {.found = true, .node = *from};

    if (!l || !l->by_id || !id_eq(&l->node, from))
        return false;
    memcpy(out.hostname, facts->hostname, sizeof(out.hostname));
    out.ipv4 = facts->ipv4;
    out.ipv6 = facts->ipv6;
    lookup_end(l, &out);
    return true;
}

void lookups_tick(struct lookups *ls)
{
    struct node_lookup_result none = {.timed_out = true};

    for (size_t i = 0; ls->v && i < LOOKUPS_MAX; i++) {
        struct lookup *l = &ls->v[i];

        if (!l->used)
            continue;
        if (l->until_us <= ls->env->now_us)
            lookup_end(l, &none);
        else if (l->retry_us <= ls->env->now_us)
            lookup_ask_id(ls, l);
    }
}

usec lookups_deadline(const struct lookups *ls)
{
    usec at_us = USEC_NEVER;

    for (size_t i = 0; ls->v && i < LOOKUPS_MAX; i++)
        if (ls->v[i].used)
            at_us = usec_min(at_us, usec_min(ls->v[i].until_us, ls->v[i].retry_us));
    return at_us;
}
