/*
 * datakey.h - the data keys of one session: made on first use, renewed while in use, thrown away
 * when old, so that a key that leaks later opens minutes of traffic and not months.
 *
 * One ephemeral X25519 exchange inside control packets makes a generation:
 *
 *     initiator                                    responder
 *        | DATA_KEY_INIT  generation, index, e        |
 *        |------------------------------------------->| receives with g, sends with the one before
 *        |       DATA_KEY_REPLY  generation, index, e |
 *        |<-------------------------------------------|
 *  receives and sends with g                          |
 *        | DATA_KEY_DONE  generation                  |
 *        |------------------------------------------->| sends with g
 *
 * A packet under the new key does what DONE does. INIT and REPLY are sent again until answered.
 *
 * Where data waits before the session is up, the first keys of all come out of the handshake
 * itself, so that data follows message 3 at once: message 3 says so (hello.h, HELLO_DATA), key =
 * HKDF(Noise's export; label of the direction; handshake hash). They are as forward secret as the
 * exchange's, since Noise's ephemerals are in them and what they were made from is wiped with the
 * handshake; they are renewed and end like any other. They count as generation 0 and share their
 * receiver index with the control keys of the handshake: data packets have a type of their own, and
 * neither key opens what the other sealed. Only over ways that keep the order: a packet that
 * overtakes message 3 finds no key. Of two handshakes at once both ends can open either's, and send
 * as with control keys.
 *
 * Key of an exchange = HKDF(shared secret; label of the direction; base of the control keys that
 * INIT came under, generation, both ephemerals); base = HKDF(Noise's export; handshake hash).
 *
 * Both asking at once: the lower node id's INIT counts, the other end drops its own and answers.
 * Generations only grow: an INIT that is not above the newest agreed one is dropped, unless it
 * repeats it (then the same REPLY goes out again).
 *
 * A sending key ends 180 s after it was made; a receiving key 195 s after, because its sender made
 * its own a little later. No packet is lost: both ends hold the next key before either sends with
 * it.
 */
#ifndef PEAL_OVERLAY_DATAKEY_H
#define PEAL_OVERLAY_DATAKEY_H

#include "overlay/core/wire.h"
#include "overlay/session.h"

enum {
    DATAKEY_RX_MAX = 3, /* receiving keys at once; victim: the oldest */
    DATAKEY_RENEW_S =
        120, /* of use; the end that did not make the last generation waits 5 s more */
    DATAKEY_RENEW_LATE_S = 125,
    DATAKEY_TX_LIFE_S = 180,
    DATAKEY_RX_LIFE_S = 195,
    DATAKEY_USE_S = 10, /* in use: sent with in the last 10 s */
    DATAKEY_TRIES = 10, /* of one INIT or REPLY: at 0, .25, .75, 1.75, then every second */
};

enum datakey_state {
    DATAKEY_IDLE, /* no exchange; keys may be there or not. To ASKED when data waits or a key is old
                   */
    DATAKEY_ASKED,    /* our INIT is out. To IDLE by REPLY or after the last try, to ANSWERED by a
                         lower id's INIT */
    DATAKEY_ANSWERED, /* our REPLY is out, the new sending key waits. To IDLE by DONE, data, or
                         after the last try */
};

struct control;
struct index_ref;
struct noise_result;
struct datakeys; /* NULL in sessions that never carried data */

void datakey_free(struct datakeys *d, struct sessions *ss);
/* Makes a key when there is none to send with and none on the way. */
void datakey_want(struct session *s);
/* What the data plane saw; starts a renewal when it is time. */
void datakey_seen(struct session *s, usec last_tx_us);
/* The first keys out of a handshake that ends: into c (without memory they stay away, and what
 * comes under them is lost until the next exchange). */
void datakey_first_make(struct control *c, enum seal_alg alg, const struct noise_result *r);
/* c is adopted, to send with or only to open: so are its first data keys, if it has any. */
void datakey_first(struct session *s, struct control *c, bool send);
/* c never reached the peer: nor did the first data keys. */
void datakey_first_lost(struct session *s, const struct control *c);
/* The control keys that hold this index end: a data key that shares it keeps it. */
void datakey_inherit(struct index_ref *ref);
/* The control keys changed: an exchange that we began starts anew under them. */
void datakey_rebase(struct session *s);
void datakey_tick(struct session *s);
usec datakey_deadline(const struct datakeys *d);
void datakey_get(const struct datakeys *d, struct session_data *out);

/* Handlers; base is that of the control keys that opened the packet. False: malformed or not now.
 */
bool datakey_init_input(struct session *s, const struct secret *base, struct reader *r);
bool datakey_reply_input(struct session *s, struct reader *r);
bool datakey_done_input(struct session *s, struct reader *r);

#endif
