#include "daemon/node/rendezvous.h"

#include <stdlib.h>
#include <string.h>

#include "overlay/core/wire.h"
#include "overlay/crypto/box.h"

enum {
    BODY_LEN = 1 + 2 * ID_LEN,
    VALUE_LEN = BODY_LEN + BOX_EXTRA_LEN,
    LOOK_DOUBLINGS_MAX = 5, /* 2 s to above 60 s */
    JITTER = 20,            /* per cent */
};

struct rendezvous_group {
    struct rendezvous *all;
    uint32_t token;
    struct secret key, own; /* the group's; our own, that makes the owner id */
    struct id member;       /* we, in the group */
    bool lonely, hidden;
    uint8_t looks; /* in vain, since we are lonely */
    uint64_t day;  /* that we published for last */
    usec publish_us, look_us;
};

/* What a day makes of the group's key. */
struct day {
    struct sign_public pub;
    struct sign_secret sec;
    struct secret seal;
};

static void day_keys(struct day *out, const struct secret *group_key, uint64_t day)
{
    struct secret seed;
    uint8_t number[8];

    put_u64(number, day);
    kdf(&seed, group_key, "peal rendezvous", number, sizeof(number));
    sign_keys(&out->pub, &out->sec, &seed);
    kdf(&out->seal, group_key, "peal rendezvous seal", number, sizeof(number));
    secret_clear(&seed);
}

static void day_clear(struct day *d)
{
    sign_secret_clear(&d->sec);
    secret_clear(&d->seal);
}

static struct id owner_of(const struct rendezvous_group *g, uint64_t day)
{
    struct secret hidden;
    struct bytes part = {hidden.b, sizeof(hidden.b)};
    struct id owner;
    uint8_t number[8];

    put_u64(number, day);
    kdf(&hidden, &g->own, "peal rendezvous owner", number, sizeof(number));
    owner = id_hash(&part, 1);
    secret_clear(&hidden);
    return owner;
}

static void value_seal(uint8_t out[VALUE_LEN], const struct id *end, const struct id *member,
                       const struct id *owner, const struct secret *key,
                       const uint8_t nonce[BOX_NONCE_LEN])
{
    uint8_t body[BODY_LEN];
    struct writer w = writer_of(body, sizeof(body));

    write_u8(&w, RENDEZVOUS_VERSION);
    write_id(&w, end);
    write_id(&w, member);
    box_seal(out, nonce, body, sizeof(body), &(struct bytes){owner->b, ID_LEN}, key);
}

static bool value_open(struct id *end, struct id *member, const uint8_t *value, size_t len,
                       const struct id *owner, const struct secret *key)
{
    uint8_t body[BODY_LEN];
    struct reader r;
    bool known;

    if (len != VALUE_LEN || !box_open(body, value, len, &(struct bytes){owner->b, ID_LEN}, key))
        return false;
    r = reader_of(body, sizeof(body));
    known = read_u8(&r) == RENDEZVOUS_VERSION;
    *end = read_id(&r);
    *member = read_id(&r);
    return reader_done(&r) && known && !id_is_zero(end) && !id_is_zero(member);
}

/* Publishing. */

static void on_published(void *ctx, uint64_t token, const struct dht_result *result)
{
    struct rendezvous_group *g = ctx;
    usec now_us = g->all->env->now_us;

    if (result->status == DHT_OK)
        g->all->published++;
    if (result->status == DHT_TIMEOUT)
        g->publish_us = now_us + env_jitter(g->all->env, SEC(RENDEZVOUS_RETRY_S), JITTER);
    g->look_us = usec_min(g->look_us, now_us);
}

static void on_taken_back(void *ctx, uint64_t token, const struct dht_result *result)
{
    struct rendezvous_group *g = ctx;

    if (result->status == DHT_OK)
        g->all->hidden++;
}

static void take_back(struct rendezvous_group *g)
{
    struct rendezvous *r = g->all;
    struct day keys;
    int rc;

    day_keys(&keys, &g->key, g->day);
    rc = dht_remove_rendezvous(r->dht, &keys.pub, &keys.sec, on_taken_back, g, 0);
    day_clear(&keys);
    g->publish_us =
        rc == 0 || rc == -ERR_NOT_FOUND ? USEC_NEVER : r->env->now_us + SEC(RENDEZVOUS_RETRY_S);
}

static void publish(struct rendezvous_group *g, uint64_t day)
{
    struct rendezvous *r = g->all;
    struct id owner = owner_of(g, day);
    uint8_t value[VALUE_LEN], nonce[BOX_NONCE_LEN];
    struct day keys;
    int rc;

    day_keys(&keys, &g->key, day);
    env_random(r->env, nonce, sizeof(nonce));
    value_seal(value, &r->self, &g->member, &owner, &keys.seal, nonce);
    rc = dht_put_rendezvous(r->dht, &keys.pub, &keys.sec, &owner, value, sizeof(value),
                            RENDEZVOUS_LEASE_S, on_published, g, 0);
    day_clear(&keys);
    g->day = day;
    g->publish_us =
        r->env->now_us +
        env_jitter(r->env, SEC(rc == 0 ? RENDEZVOUS_AGAIN_S : RENDEZVOUS_RETRY_S), JITTER);
}

/* Looking. The token of a question is the day. */

static void take(struct rendezvous_group *g, const struct dht_value *v, const struct day *keys)
{
    struct rendezvous *r = g->all;
    struct id end, member;

    if (!value_open(&end, &member, v->value, v->len, &v->owner, &keys->seal)) {
        r->refused++;
    } else if (!id_eq(&end, &r->self) && !id_eq(&member, &g->member)) {
        r->found++;
        r->met(r->ctx, g->token, &end, &member);
    }
}

/* Of many each member takes others, so that not all of them ask the same few. */
static void on_found(void *ctx, uint64_t token, const struct dht_result *result)
{
    struct rendezvous_group *g = ctx;
    size_t n = result->count, first;
    struct day keys;

    if (n == 0)
        return;
    day_keys(&keys, &g->key, token);
    first = env_random_below(g->all->env, n);
    for (size_t i = 0; i < n && i <= OVERLAY_TUNNELS_MAX; i++)
        take(g, &result->values[(first + i) % n], &keys);
    day_clear(&keys);
}

static void look_at(struct rendezvous_group *g, uint64_t day)
{
    struct rendezvous *r = g->all;
    struct day keys;
    struct id key;

    day_keys(&keys, &g->key, day);
    key = dht_rendezvous_key(&r->overlay, &keys.pub);
    day_clear(&keys);
    (void)!dht_get(r->dht, &key, DHT_ANY, on_found, g, day);
}

static void look(struct rendezvous_group *g, uint64_t wall_s)
{
    const struct env *env = g->all->env;
    uint64_t day = wall_s / RENDEZVOUS_DAY_S, second = wall_s % RENDEZVOUS_DAY_S;
    usec wait_us = SEC(RENDEZVOUS_LOOK_CONNECTED_S);

    look_at(g, day);
    if (second < RENDEZVOUS_SKEW_S)
        look_at(g, day - 1);
    if (second >= RENDEZVOUS_DAY_S - RENDEZVOUS_SKEW_S)
        look_at(g, day + 1);
    if (g->lonely) {
        wait_us = usec_min(SEC(RENDEZVOUS_LOOK_FIRST_S) << g->looks, SEC(RENDEZVOUS_LOOK_LAST_S));
        if (g->looks < LOOK_DOUBLINGS_MAX)
            g->looks++;
    }
    g->look_us = env->now_us + env_jitter(env, wait_us, JITTER);
}

/* The groups. */

void rendezvous_init(struct rendezvous *r, const struct node_config *config, struct env *env,
                     struct dht *dht,
                     void (*met)(void *ctx, uint32_t token, const struct id *end,
                                 const struct id *member),
                     void *ctx)
{
    *r = (struct rendezvous){.env = env,
                             .dht = dht,
                             .overlay = config->overlay.overlay,
                             .self = config->overlay.node,
                             .met = met,
                             .ctx = ctx};
}

static void drop(struct rendezvous *r, size_t i)
{
    struct rendezvous_group *g = r->groups[i];

    if (g == NULL)
        return;
    dht_cancel(r->dht, g);
    wipe(g, sizeof(*g));
    free(g);
    r->groups[i] = NULL;
}

void rendezvous_clear(struct rendezvous *r)
{
    for (size_t i = 0; i < RENDEZVOUS_GROUPS_MAX; i++)
        drop(r, i);
}

static size_t place_of(const struct rendezvous *r, uint32_t token)
{
    size_t i = 0;

    while (i < RENDEZVOUS_GROUPS_MAX && (r->groups[i] == NULL || r->groups[i]->token != token))
        i++;
    return i;
}

int rendezvous_add(struct rendezvous *r, const struct node_meeting *m)
{
    size_t i = 0;
    struct rendezvous_group *g;

    rendezvous_remove(r, m->token);
    while (i < RENDEZVOUS_GROUPS_MAX && r->groups[i] != NULL)
        i++;
    if (i == RENDEZVOUS_GROUPS_MAX)
        return -ERR_FULL;
    g = calloc(1, sizeof(*g));
    if (g == NULL)
        return -ERR_NOMEM;
    g->all = r;
    g->token = m->token;
    g->key = m->group_key;
    g->member = m->member;
    memcpy(g->own.b, m->sec.b, sizeof(g->own.b)); /* its seed */
    g->lonely = true;
    g->look_us = USEC_NEVER; /* when we are published */
    g->publish_us = r->env->now_us;
    r->groups[i] = g;
    return 0;
}

void rendezvous_remove(struct rendezvous *r, uint32_t token)
{
    size_t i = place_of(r, token);

    if (i < RENDEZVOUS_GROUPS_MAX)
        drop(r, i);
}

void rendezvous_set_lonely(struct rendezvous *r, uint32_t token, bool lonely)
{
    size_t i = place_of(r, token);
    struct rendezvous_group *g = i < RENDEZVOUS_GROUPS_MAX ? r->groups[i] : NULL;

    if (g == NULL || g->lonely == lonely)
        return;
    g->lonely = lonely;
    g->looks = 0;
    if (lonely)
        g->look_us = usec_min(g->look_us, r->env->now_us);
}

void rendezvous_set_hidden(struct rendezvous *r, uint32_t token, bool hidden)
{
    size_t i = place_of(r, token);
    struct rendezvous_group *g = i < RENDEZVOUS_GROUPS_MAX ? r->groups[i] : NULL;
    usec now_us = r->env->now_us;

    if (g == NULL || g->hidden == hidden)
        return;
    g->hidden = hidden;
    g->publish_us = now_us + (hidden ? env_jitter(r->env, SEC(RENDEZVOUS_HIDE_S), JITTER) : 0);
    g->look_us = usec_min(g->look_us, now_us + SEC(RENDEZVOUS_LOOK_CONNECTED_S));
}

void rendezvous_peer_up(struct rendezvous *r)
{
    for (size_t i = 0; i < RENDEZVOUS_GROUPS_MAX; i++) {
        struct rendezvous_group *g = r->groups[i];

        if (g == NULL || !g->lonely || g->looks == 0)
            continue;
        g->looks = 0;
        g->look_us = usec_min(g->look_us,
                              r->env->now_us + env_jitter(r->env, SEC(RENDEZVOUS_SOON_S), JITTER));
    }
}

static void group_tick(struct rendezvous_group *g, uint64_t wall_s)
{
    usec now_us = g->all->env->now_us;
    uint64_t day = wall_s / RENDEZVOUS_DAY_S;

    if (g->publish_us <= now_us && g->hidden)
        take_back(g);
    else if (g->publish_us <= now_us)
        publish(g, day);
    if (g->look_us <= now_us)
        look(g, wall_s);
}

static bool is_date_known(const struct rendezvous *r)
{
    return r->env->wall_known && r->env->wall_s >= RENDEZVOUS_DAY_S;
}

void rendezvous_tick(struct rendezvous *r)
{
    r->looked_us = r->env->now_us;
    if (!is_date_known(r))
        return;
    for (size_t i = 0; i < RENDEZVOUS_GROUPS_MAX; i++)
        if (r->groups[i] != NULL)
            group_tick(r->groups[i], (uint64_t)r->env->wall_s);
}

usec rendezvous_deadline(const struct rendezvous *r)
{
    usec at_us = USEC_NEVER;

    for (size_t i = 0; i < RENDEZVOUS_GROUPS_MAX; i++)
        if (r->groups[i] != NULL)
            at_us = usec_min(at_us, usec_min(r->groups[i]->publish_us, r->groups[i]->look_us));
    if (at_us != USEC_NEVER && !is_date_known(r))
        return r->looked_us + SEC(1);
    return at_us;
}
