#include "daemon/node/removal.h"

#include "daemon/node/member.h"

#include <stdlib.h>
#include <string.h>

enum { MESSAGE_SIZE = 1 + REMOVAL_MAX, HAVE_LEN = 1 + 8 + 8 + 4, PEERS_MAX = 256 };

static const usec part_wait_us = SEC(2);

void removals_init(struct removals *r, const struct node_config *config, struct env *env,
                   struct overlay *overlay, struct dht *dht)
{
    const struct bytes parts[] = {{config->overlay.group_key.b, sizeof config->overlay.group_key.b},
                                  {"removal", 7}};

    *r = (struct removals){.set = config->removed,
                           .ca = config->overlay.ca,
                           .env = env,
                           .overlay = overlay,
                           .dht = dht,
                           .key = id_hash(parts, ARRAY_LEN(parts)),
                           .spread_us = USEC_NEVER,
                           .look_us = USEC_NEVER};
    if (r->set && r->ca)
        r->look_us = env->now_us + env_jitter(env, SEC(10), 50);
    else
        r->set = NULL;
    r->grew = r->set && removed_number(r->set) > 0; /* it may list ourselves */
}

static void fetch_end(struct crl_fetch *f)
{
    free(f->bytes);
    *f = (struct crl_fetch){0};
}

void removals_clear(struct removals *r)
{
    if (r->set)
        dht_cancel(r->dht, r);
    fetch_end(&r->fetch);
}

/* --- Saying --- */

static void send_to(struct removals *r, const struct id *peer, const struct writer *w)
{
    if (!w->failed)
        (void)overlay_send(r->overlay, peer, OVERLAY_PROTO_NODE, w->start, writer_len(w));
}

static void say_have(struct removals *r, const struct id *peer)
{
    uint8_t body[HAVE_LEN];
    struct writer w = writer_of(body, sizeof body);
    size_t len;

    removed_crl(r->set, &len);
    write_u8(&w, NODE_MSG_REMOVED_HAVE);
    write_u64(&w, removed_number(r->set));
    write_u64(&w, removed_crl_number(r->set));
    write_u32(&w, (uint32_t)len);
    send_to(r, peer, &w);
}

static void ask(struct removals *r, const struct id *peer)
{
    uint8_t body[1 + 8];
    struct writer w = writer_of(body, sizeof body);

    r->asked.peer = *peer;
    r->asked.after = removed_number(r->set);
    write_u8(&w, NODE_MSG_REMOVED_ASK);
    write_u64(&w, r->asked.after);
    send_to(r, peer, &w);
}

static void ask_part(struct removals *r)
{
    struct crl_fetch *f = &r->fetch;
    uint8_t body[1 + 8 + 4];
    struct writer w = writer_of(body, sizeof body);

    f->due_us = r->env->now_us + part_wait_us;
    write_u8(&w, NODE_MSG_CRL_ASK);
    write_u64(&w, f->number);
    write_u32(&w, f->have);
    send_to(r, &f->peer, &w);
}

static size_t removal_body(uint8_t body[MESSAGE_SIZE], const struct removal *one)
{
    body[0] = NODE_MSG_REMOVAL;
    memcpy(body + 1, one->bytes, one->len);
    return 1 + (size_t)one->len;
}

/* --- Learning --- */

static void grew(struct removals *r)
{
    usec at_us = r->env->now_us + env_jitter(r->env, SEC(REMOVALS_SPREAD_S), 50);

    r->grew = true;
    r->spread_us = usec_min(r->spread_us, at_us);
}

static enum removed_news learn(struct removals *r, const uint8_t *message, size_t len)
{
    enum removed_news news = removed_add(r->set, r->ca, message, len);

    if (news == REMOVED_NEW)
        grew(r);
    else if (news == REMOVED_BAD)
        r->bad++;
    return news;
}

enum removed_news removals_told(struct removals *r, const uint8_t *message, size_t len)
{
    uint8_t body[MESSAGE_SIZE];
    enum removed_news news;

    if (!r->set)
        return REMOVED_BAD;
    news = learn(r, message, len);
    if (news != REMOVED_NEW)
        return news;
    body[0] = NODE_MSG_REMOVAL;
    memcpy(body + 1, message, len);
    (void)overlay_broadcast(r->overlay, OVERLAY_PROTO_NODE, body, 1 + len);
    (void)!dht_put(r->dht, &r->key, NULL, message, len, REMOVALS_RECORD_S, 0, NULL, r, 0);
    return news;
}

enum removed_news removals_told_crl(struct removals *r, const uint8_t *der, size_t len,
                                    const char **why)
{
    enum removed_news news;

    *why = "a group without CA has none";
    if (!r->set)
        return REMOVED_BAD;
    news = removed_add_crl(r->set, r->ca, der, len, why);
    if (news == REMOVED_NEW)
        grew(r);
    return news;
}

/* Whoever is nearer to the key than we are is among our near neighbours, if there are so few. */
static size_t count_nearer(const struct id *ids, size_t count, const struct id *us,
                           const struct id *key)
{
    size_t nearer = 0;

    for (size_t i = 0; i < count; i++)
        nearer += id_closer(key, &ids[i], us);
    return nearer;
}

bool removals_watching(const struct removals *r)
{
    struct id near[2 * OVERLAY_NEAR], left[OVERLAY_NEAR];
    size_t n, lefts;

    if (!r->set || overlay_state(r->overlay) != OVERLAY_MEMBER)
        return false;
    n = overlay_near_right(r->overlay, near);
    lefts = overlay_near_left(r->overlay, left);
    for (size_t i = 0; i < lefts; i++) { /* in a small ring the same nodes */
        bool twice = false;

        for (size_t k = 0; k < n; k++)
            twice |= id_eq(&near[k], &left[i]);
        if (!twice)
            near[n++] = left[i];
    }
    return count_nearer(near, n, overlay_id(r->overlay), &r->key) < REMOVALS_WATCHERS;
}

/* --- Messages --- */

static bool on_removal(struct removals *r, const struct overlay_from *from, struct reader *body)
{
    uint64_t before = removed_number(r->set);
    size_t len = reader_left(body);
    enum removed_news news = learn(r, read_bytes(body, len), len);

    /* One that skips numbers: what was between may be missing. */
    if (news == REMOVED_NEW && removed_number(r->set) > before + 1 && from->direct &&
        !id_eq(&from->node, &r->asked.peer)) {
        ask(r, &from->node);
    }
    return news != REMOVED_BAD;
}

static bool may_answer(struct removals *r)
{
    if (r->env->now_us - r->answers_us >= SEC(1)) {
        r->answers_us = r->env->now_us;
        r->answers = 0;
    }
    return r->answers++ < REMOVALS_ANSWERS_PER_S;
}

static bool on_ask(struct removals *r, const struct overlay_from *from, struct reader *body)
{
    uint64_t after = read_u64(body);
    const struct removal *one;
    uint8_t message[MESSAGE_SIZE];

    if (!reader_done(body))
        return false;
    for (unsigned i = 0; i < REMOVALS_PER_ANSWER; i++) {
        one = removed_after(r->set, after);
        if (!one || !may_answer(r))
            break;
        after = one->number;
        (void)overlay_send(r->overlay, &from->node, OVERLAY_PROTO_NODE, message,
                           removal_body(message, one));
    }
    if (may_answer(r))
        say_have(r, &from->node);
    return true;
}

static void fetch_start(struct removals *r, const struct id *peer, uint64_t number, uint32_t len)
{
    struct crl_fetch *f = &r->fetch;

    if (f->bytes || number <= removed_crl_number(r->set) || len == 0 || len > REMOVALS_CRL_MAX ||
        id_eq(peer, &r->liar))
        return;
    f->bytes = malloc(REMOVALS_PART);
    if (!f->bytes)
        return;
    f->size = REMOVALS_PART;
    f->peer = *peer;
    f->number = number;
    f->len = len;
    ask_part(r);
}

/* What the peer has; after an answer to us, that it has no more. */
static bool on_have(struct removals *r, const struct overlay_from *from, struct reader *body)
{
    uint64_t ours = removed_number(r->set), number = read_u64(body), crl_number = read_u64(body);
    uint32_t len = read_u32(body);

    if (!reader_done(body))
        return false;
    if (number <= ours)
        return true;
    if (!id_eq(&r->asked.peer, &from->node) || r->asked.after != ours)
        ask(r, &from->node);
    else
        fetch_start(r, &from->node, crl_number, len);
    return true;
}

static bool on_crl_ask(struct removals *r, const struct overlay_from *from, struct reader *body)
{
    uint64_t number = read_u64(body);
    uint32_t offset = read_u32(body);
    uint8_t part[1 + 8 + 4 + REMOVALS_PART];
    struct writer w = writer_of(part, sizeof part);
    size_t len, rest;
    const uint8_t *der = removed_crl(r->set, &len);

    if (!reader_done(body))
        return false;
    if (!der || number != removed_crl_number(r->set) || offset >= len || !may_answer(r))
        return true;
    rest = len - offset;
    write_u8(&w, NODE_MSG_CRL_PART);
    write_u64(&w, number);
    write_u32(&w, offset);
    write_bytes(&w, der + offset, rest < REMOVALS_PART ? rest : REMOVALS_PART);
    send_to(r, &from->node, &w);
    return true;
}

static bool fetch_room(struct crl_fetch *f, size_t len)
{
    uint8_t *grown;
    uint32_t size = f->size;

    while (size < f->have + len)
        size *= 2;
    if (size == f->size)
        return true;
    grown = realloc(f->bytes, size);
    if (!grown)
        return false;
    f->bytes = grown;
    f->size = size;
    return true;
}

static void fetch_done(struct removals *r)
{
    const char *why;
    struct crl_fetch *f = &r->fetch;

    if (removals_told_crl(r, f->bytes, f->len, &why) == REMOVED_BAD) {
        char text[ID_SHORT_SIZE];

        r->bad++;
        r->liar = f->peer;
        env_log(r->env, LOG_LEVEL_WARN, "member %s sent a list of removed members that is a %s",
                id_short(&f->peer, text), why);
    }
    fetch_end(f);
}

static bool on_crl_part(struct removals *r, const struct overlay_from *from, struct reader *body)
{
    struct crl_fetch *f = &r->fetch;
    uint64_t number = read_u64(body);
    uint32_t offset = read_u32(body);
    size_t len = reader_left(body);
    const uint8_t *bytes = read_bytes(body, len);

    if (body->failed || len == 0)
        return false;
    if (!f->bytes || !id_eq(&f->peer, &from->node) || number != f->number || offset != f->have ||
        len > f->len - f->have)
        return true; /* late, or a repetition */
    if (!fetch_room(f, len)) {
        fetch_end(f);
        return true;
    }
    memcpy(f->bytes + f->have, bytes, len);
    f->have += (uint32_t)len;
    f->tries = 0;
    if (f->have == f->len)
        fetch_done(r);
    else
        ask_part(r);
    return true;
}

bool removals_input(struct removals *r, uint8_t type, const struct overlay_from *from,
                    struct reader *body)
{
    if (!r->set)
        return false;
    if (type == NODE_MSG_REMOVAL)
        return on_removal(r, from, body);
    if (!from->direct)
        return false;
    switch (type) {
    case NODE_MSG_REMOVED_HAVE:
        return on_have(r, from, body);
    case NODE_MSG_REMOVED_ASK:
        return on_ask(r, from, body);
    case NODE_MSG_CRL_ASK:
        return on_crl_ask(r, from, body);
    case NODE_MSG_CRL_PART:
        return on_crl_part(r, from, body);
    default:
        return false;
    }
}

void removals_peer_up(struct removals *r, const struct id *peer)
{
    if (r->set && overlay_peer_removed(r->overlay, peer) > removed_number(r->set))
        ask(r, peer);
}

/* --- Time --- */

static void tell_peers(struct removals *r)
{
    struct overlay_peer_info peers[PEERS_MAX];
    size_t n = overlay_peers(r->overlay, peers, PEERS_MAX);

    for (size_t i = 0; i < n; i++)
        if (peers[i].up)
            say_have(r, &peers[i].node);
}

static void on_found(void *ctx, uint64_t token, const struct dht_result *result)
{
    struct removals *r = ctx;

    for (size_t i = 0; result->status == DHT_OK && i < result->count; i++)
        (void)learn(r, result->values[i].value, result->values[i].len);
}

static void fetch_again(struct removals *r)
{
    if (++r->fetch.tries >= REMOVALS_PART_TRIES)
        fetch_end(&r->fetch);
    else
        ask_part(r);
}

void removals_tick(struct removals *r)
{
    usec now_us = r->env->now_us;

    if (!r->set || overlay_state(r->overlay) != OVERLAY_MEMBER)
        return;
    if (now_us >= r->spread_us) {
        r->spread_us = USEC_NEVER;
        tell_peers(r);
    }
    if (now_us >= r->look_us) {
        r->look_us = now_us + env_jitter(r->env, SEC(REMOVALS_LOOK_S), 25);
        (void)!dht_get(r->dht, &r->key, DHT_ANY, on_found, r, 0);
    }
    if (r->fetch.bytes && now_us >= r->fetch.due_us)
        fetch_again(r);
}

usec removals_deadline(const struct removals *r)
{
    usec at_us = usec_min(r->spread_us, r->look_us);

    if (!r->set || overlay_state(r->overlay) != OVERLAY_MEMBER)
        return USEC_NEVER;
    return r->fetch.bytes ? usec_min(at_us, r->fetch.due_us) : at_us;
}
