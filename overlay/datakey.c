#include "overlay/datakey.h"

#include <stdlib.h>
#include <string.h>

#include "overlay/session_internal.h"

enum { EXCHANGE_LEN = 4 + 4 + 32, CONTEXT_LEN = 32 + 4 + 32 + 32 };
static const usec retry_first_us = MSEC(250);
static const usec retry_most_us = SEC(1);

/* A receiving key and the index that leads to it. */
struct data_rx {
    struct index_ref ref;
    struct seal_key *key; /* NULL while the exchange is under way */
    usec born_us;
};

struct datakeys {
    enum datakey_state state;
    uint32_t generation; /* the newest that both ends hold, for all we know */
    uint32_t tried;      /* of our newest INIT */
    bool ours;           /* the newest is from our INIT */
    struct seal_key *tx; /* NULL: none, or too old */
    usec tx_born_us;
    usec sent_us;                       /* last packet sent, by the data plane's word */
    struct data_rx *rx[DATAKEY_RX_MAX]; /* newest first */

    /* The exchange under way. */
    struct data_rx *next_rx;        /* ASKED: the index that INIT names */
    struct dh_secret ephemeral;     /* ASKED */
    struct secret base;             /* ASKED: of the control keys that INIT went under */
    struct seal_key *next_tx;       /* ANSWERED: waits for DONE */
    uint8_t message[EXCHANGE_LEN];  /* INIT or REPLY, to be sent again */
    uint8_t answered[EXCHANGE_LEN]; /* the INIT that the newest REPLY answers */
    uint8_t tries;
    usec at_us;
};

static void rx_free(struct data_rx *rx, struct sessions *ss)
{
    if (rx == NULL)
        return;
    index_drop(ss, &rx->ref);
    seal_key_unref(rx->key);
    free(rx);
}

/* Whatever is under way is dropped. */
static void to_idle(struct datakeys *d, struct sessions *ss)
{
    rx_free(d->next_rx, ss);
    d->next_rx = NULL;
    seal_key_unref(d->next_tx);
    d->next_tx = NULL;
    dh_secret_clear(&d->ephemeral);
    secret_clear(&d->base);
    d->state = DATAKEY_IDLE;
    d->at_us = USEC_NEVER;
}

void datakey_free(struct datakeys *d, struct sessions *ss)
{
    if (d == NULL)
        return;
    to_idle(d, ss);
    seal_key_unref(d->tx);
    for (size_t i = 0; i < DATAKEY_RX_MAX; i++)
        rx_free(d->rx[i], ss);
    free(d);
}

static struct datakeys *datakeys_of(struct session *s)
{
    if (s->data == NULL)
        s->data = calloc(1, sizeof(*s->data));
    if (s->data != NULL && s->data->at_us == 0)
        s->data->at_us = USEC_NEVER;
    return s->data;
}

static struct data_rx *rx_new(struct session *s)
{
    struct data_rx *rx = calloc(1, sizeof(*rx));

    if (rx != NULL && !index_take(s->ss, &rx->ref, INDEX_DATA, s)) {
        free(rx);
        return NULL;
    }
    return rx;
}

/* The oldest of three goes; its packets were sent two generations ago. */
static void rx_push(struct session *s, struct data_rx *rx)
{
    struct datakeys *d = s->data;

    rx_free(d->rx[DATAKEY_RX_MAX - 1], s->ss);
    memmove(&d->rx[1], &d->rx[0], (DATAKEY_RX_MAX - 1) * sizeof(d->rx[0]));
    d->rx[0] = rx;
    rx->born_us = s->ss->env->now_us;
}

static void tx_set(struct session *s, struct seal_key *tx)
{
    struct datakeys *d = s->data;

    seal_key_unref(d->tx);
    d->tx = tx;
    d->tx_born_us = s->ss->env->now_us;
    session_event(s, EVENT_DATA);
}

/* Both directions' keys of one exchange. initiator, responder: the two messages as they were sent.
 */
struct pair {
    struct secret of_initiator, of_responder; /* what that end sends with */
};

static bool pair_derive(struct pair *out, const struct secret *base, const struct dh_secret *ours,
                        const uint8_t *theirs, const uint8_t *initiator, const uint8_t *responder)
{
    uint8_t context[CONTEXT_LEN];
    struct writer w = writer_of(context, sizeof(context));
    struct dh_public peer;
    struct secret shared;

    memcpy(peer.b, theirs + 8, sizeof(peer.b));
    if (!dh(&shared, ours, &peer))
        return false;
    write_bytes(&w, base->b, sizeof(base->b));
    write_bytes(&w, initiator, 4);
    write_bytes(&w, initiator + 8, 32);
    write_bytes(&w, responder + 8, 32);
    kdf(&out->of_initiator, &shared, "peal data initiator", context, sizeof(context));
    kdf(&out->of_responder, &shared, "peal data responder", context, sizeof(context));
    secret_clear(&shared);
    wipe(context, sizeof(context));
    return true;
}

static void message_make(struct session *s, uint32_t generation, uint32_t index,
                         uint8_t out[EXCHANGE_LEN], struct dh_secret *ephemeral)
{
    struct dh_public pub;
    struct secret seed;

    env_random(s->ss->env, seed.b, sizeof(seed.b));
    dh_keys(&pub, ephemeral, &seed);
    secret_clear(&seed);
    put_u32(out, generation);
    put_u32(out + 4, index);
    memcpy(out + 8, pub.b, sizeof(pub.b));
}

/* The message under way, and when it goes out again. */
static void message_send(struct session *s)
{
    struct datakeys *d = s->data;
    const struct path *best = paths_best(&s->paths);
    uint8_t type = d->state == DATAKEY_ASKED ? MSG_DATA_KEY_INIT : MSG_DATA_KEY_REPLY;

    d->at_us = s->ss->env->now_us + usec_min(retry_first_us << d->tries, retry_most_us);
    d->tries++;
    if (best != NULL)
        session_queue(s, &best->addr, type, d->message, EXCHANGE_LEN);
}

static void ask(struct session *s)
{
    struct datakeys *d = datakeys_of(s);

    if (d == NULL || d->state != DATAKEY_IDLE || s->keys == NULL)
        return;
    d->next_rx = rx_new(s);
    if (d->next_rx == NULL)
        return;
    d->tried = (d->tried > d->generation ? d->tried : d->generation) + 1;
    message_make(s, d->tried, d->next_rx->ref.index, d->message, &d->ephemeral);
    d->base = s->keys->base;
    d->state = DATAKEY_ASKED;
    d->tries = 0;
    message_send(s);
}

void datakey_want(struct session *s)
{
    if (s->data == NULL || s->data->tx == NULL)
        ask(s);
}

void datakey_rebase(struct session *s)
{
    if (s->data == NULL || s->data->state != DATAKEY_ASKED)
        return;
    to_idle(s->data, s->ss);
    ask(s);
}

/* Generation 0. */

void datakey_first_make(struct control *c, enum seal_alg alg, const struct noise_result *r)
{
    struct pair pair;
    const struct secret *tx = c->initiator ? &pair.of_initiator : &pair.of_responder;
    const struct secret *rx = c->initiator ? &pair.of_responder : &pair.of_initiator;

    kdf(&pair.of_initiator, &r->export, "peal first data initiator", r->hash, sizeof(r->hash));
    kdf(&pair.of_responder, &r->export, "peal first data responder", r->hash, sizeof(r->hash));
    c->data_tx = seal_key_new(alg, tx, seal_key_index(c->tx), 0);
    c->data_rx = seal_key_new(alg, rx, c->ref.index, SEAL_WINDOW_DATA);
    wipe(&pair, sizeof(pair));
}

/* Behind the keys of exchanges, which are newer whenever it was made. */
static void first_rx_put(struct session *s, struct data_rx *rx)
{
    struct datakeys *d = s->data;
    size_t i = 0;

    if (d->generation == 0) {
        rx_push(s, rx);
        return;
    }
    while (i < DATAKEY_RX_MAX && d->rx[i] != NULL)
        i++;
    if (i == DATAKEY_RX_MAX) {
        rx_free(rx, s->ss);
        return;
    }
    d->rx[i] = rx;
    rx->born_us = s->ss->env->now_us;
}

void datakey_first(struct session *s, struct control *c, bool send)
{
    struct datakeys *d = c->data_rx != NULL && c->data_tx != NULL ? datakeys_of(s) : NULL;
    struct data_rx *rx = d != NULL ? calloc(1, sizeof(*rx)) : NULL;

    if (rx == NULL)
        return;
    rx->key = c->data_rx;
    c->data_rx = NULL;
    first_rx_put(s, rx);
    if (send && d->generation == 0) {
        tx_set(s, c->data_tx);
        c->data_tx = NULL;
        d->ours = c->initiator;
    }
    session_event(s, EVENT_DATA);
}

void datakey_first_lost(struct session *s, const struct control *c)
{
    struct datakeys *d = s->data;

    if (d == NULL || d->generation != 0 || d->tx == NULL ||
        seal_key_index(d->tx) != seal_key_index(c->tx))
        return;
    tx_set(s, NULL);
    ask(s);
}

void datakey_inherit(struct index_ref *ref)
{
    struct session *s = ref->owner;
    struct datakeys *d = ref->index != 0 ? s->data : NULL;

    for (size_t i = 0; d != NULL && i < DATAKEY_RX_MAX; i++)
        if (d->rx[i] != NULL && d->rx[i]->key != NULL && d->rx[i]->ref.index == 0 &&
            seal_key_index(d->rx[i]->key) == ref->index) {
            (void)index_move(s->ss, &d->rx[i]->ref, ref, INDEX_DATA, s);
            return;
        }
}

/* Of the current key: when a new one should be there before it ends. */
static usec renew_at_us(const struct datakeys *d)
{
    return d->tx_born_us + (d->ours ? SEC(DATAKEY_RENEW_S) : SEC(DATAKEY_RENEW_LATE_S));
}

static bool in_use(const struct datakeys *d, usec now_us)
{
    return d->sent_us != 0 && now_us < d->sent_us + SEC(DATAKEY_USE_S);
}

static bool renewal_due(const struct datakeys *d, usec now_us)
{
    if (d->state != DATAKEY_IDLE || d->tx == NULL)
        return false;
    return seal_key_counter(d->tx) >= SEAL_COUNTER_RENEW ||
           (now_us >= renew_at_us(d) && in_use(d, now_us));
}

/* The peer sent with the new key: as good as DONE. */
static void answered_done(struct session *s)
{
    struct datakeys *d = s->data;
    struct seal_key *tx = d->next_tx;

    d->next_tx = NULL;
    to_idle(d, s->ss);
    tx_set(s, tx);
}

void datakey_seen(struct session *s, usec last_tx_us)
{
    struct datakeys *d = s->data;

    if (d == NULL)
        return;
    if (last_tx_us > d->sent_us)
        d->sent_us = last_tx_us;
    if (d->state == DATAKEY_ANSWERED && seal_key_counter(d->rx[0]->key) > 0)
        answered_done(s);
    if (renewal_due(d, s->ss->env->now_us))
        ask(s);
}

/* The last REPLY or INIT went unanswered. A peer that never confirms keeps the key before. */
static void give_up(struct session *s)
{
    to_idle(s->data, s->ss);
}

static void expire(struct session *s)
{
    struct datakeys *d = s->data;
    usec now_us = s->ss->env->now_us;

    if (d->tx != NULL && now_us >= d->tx_born_us + SEC(DATAKEY_TX_LIFE_S))
        tx_set(s, NULL);
    for (size_t i = 0; i < DATAKEY_RX_MAX; i++) {
        if (d->rx[i] == NULL || now_us < d->rx[i]->born_us + SEC(DATAKEY_RX_LIFE_S))
            continue;
        /* Those after it are older. An answer that waits for its own key waits no more. */
        if (i == 0 && d->state == DATAKEY_ANSWERED)
            to_idle(d, s->ss);
        for (size_t k = i; k < DATAKEY_RX_MAX; k++) {
            rx_free(d->rx[k], s->ss);
            d->rx[k] = NULL;
        }
        session_event(s, EVENT_DATA);
        break;
    }
}

void datakey_tick(struct session *s)
{
    struct datakeys *d = s->data;

    if (d == NULL)
        return;
    expire(s);
    if (d->state == DATAKEY_ANSWERED && seal_key_counter(d->rx[0]->key) > 0)
        answered_done(s);
    if (renewal_due(d, s->ss->env->now_us))
        ask(s);
    if (d->state == DATAKEY_IDLE || s->ss->env->now_us < d->at_us)
        return;
    if (d->tries < DATAKEY_TRIES)
        message_send(s);
    else
        give_up(s);
}

usec datakey_deadline(const struct datakeys *d)
{
    usec at_us = USEC_NEVER;

    if (d == NULL)
        return USEC_NEVER;
    at_us = usec_min(at_us, d->at_us);
    if (d->tx != NULL)
        at_us = usec_min(at_us, d->tx_born_us + SEC(DATAKEY_TX_LIFE_S));
    for (size_t i = 0; i < DATAKEY_RX_MAX; i++)
        if (d->rx[i] != NULL)
            at_us = usec_min(at_us, d->rx[i]->born_us + SEC(DATAKEY_RX_LIFE_S));
    return at_us;
}

void datakey_get(const struct datakeys *d, struct session_data *out)
{
    if (d == NULL)
        return;
    out->tx = d->tx;
    for (size_t i = 0; i < DATAKEY_RX_MAX; i++)
        out->rx[i] = d->rx[i] != NULL ? d->rx[i]->key : NULL;
}

/* A new INIT: keys, REPLY, and our own sending key put aside. */
static bool answer(struct session *s, const struct secret *base, const uint8_t *init)
{
    struct datakeys *d = s->data;
    struct dh_secret ephemeral;
    struct pair pair;

    to_idle(d, s->ss);
    struct data_rx *rx = rx_new(s);

    if (rx == NULL)
        return true;
    message_make(s, get_u32(init), rx->ref.index, d->message, &ephemeral);
    bool ok = pair_derive(&pair, base, &ephemeral, init, init, d->message);

    dh_secret_clear(&ephemeral);
    if (ok) {
        rx->key = seal_key_new(s->alg, &pair.of_initiator, rx->ref.index, SEAL_WINDOW_DATA);
        d->next_tx = seal_key_new(s->alg, &pair.of_responder, get_u32(init + 4), 0);
        wipe(&pair, sizeof(pair));
    }
    if (rx->key == NULL || d->next_tx == NULL) {
        rx_free(rx, s->ss);
        to_idle(d, s->ss);
        return ok;
    }
    memcpy(d->answered, init, EXCHANGE_LEN);
    rx_push(s, rx);
    d->generation = get_u32(init);
    d->ours = false;
    d->state = DATAKEY_ANSWERED;
    d->tries = 0;
    session_event(s, EVENT_DATA);
    message_send(s);
    return true;
}

bool datakey_init_input(struct session *s, const struct secret *base, struct reader *r)
{
    const uint8_t *init = read_bytes(r, EXCHANGE_LEN);
    struct datakeys *d = datakeys_of(s);

    if (init == NULL || d == NULL)
        return init != NULL;
    uint32_t generation = get_u32(init);

    if (d->state == DATAKEY_ANSWERED && memcmp(init, d->answered, EXCHANGE_LEN) == 0) {
        message_send(s);
        return true;
    }
    if (generation <= d->generation || generation == UINT32_MAX)
        return false;
    /* We asked as well: the lower id's question counts. */
    if (d->state == DATAKEY_ASKED && id_cmp(&s->ss->config.node, &s->peer) < 0)
        return true;
    return answer(s, base, init);
}

static void done_send(struct session *s, const uint8_t *generation)
{
    const struct path *best = paths_best(&s->paths);

    if (best != NULL)
        session_queue(s, &best->addr, MSG_DATA_KEY_DONE, generation, 4);
}

bool datakey_reply_input(struct session *s, struct reader *r)
{
    const uint8_t *reply = read_bytes(r, EXCHANGE_LEN);
    struct datakeys *d = s->data;
    struct pair pair;

    if (reply == NULL || d == NULL)
        return false;
    if (d->state != DATAKEY_ASKED || get_u32(reply) != d->tried) {
        if (d->ours && get_u32(reply) == d->generation)
            done_send(s, reply); /* our DONE was lost */
        return true;
    }
    if (!pair_derive(&pair, &d->base, &d->ephemeral, reply, d->message, reply))
        return false;
    struct data_rx *rx = d->next_rx;
    struct seal_key *tx = seal_key_new(s->alg, &pair.of_initiator, get_u32(reply + 4), 0);

    rx->key = seal_key_new(s->alg, &pair.of_responder, rx->ref.index, SEAL_WINDOW_DATA);
    wipe(&pair, sizeof(pair));
    if (tx == NULL || rx->key == NULL) {
        seal_key_unref(tx);
        to_idle(d, s->ss);
        return true;
    }
    d->next_rx = NULL;
    to_idle(d, s->ss);
    rx_push(s, rx);
    d->generation = d->tried;
    d->ours = true;
    tx_set(s, tx);
    done_send(s, reply);
    return true;
}

bool datakey_done_input(struct session *s, struct reader *r)
{
    uint32_t generation = read_u32(r);
    struct datakeys *d = s->data;

    if (d == NULL)
        return false;
    if (d->state == DATAKEY_ANSWERED && generation == d->generation)
        answered_done(s);
    return true;
}
