/*
 * handshake_internal.h - what handshake.c (the packets), initiator.c and responder.c share.
 */
#ifndef PEAL_OVERLAY_HANDSHAKE_INTERNAL_H
#define PEAL_OVERLAY_HANDSHAKE_INTERNAL_H

#include "overlay/session_internal.h"

enum {
    OFFSET_SENDER = 4,
    OFFSET_RECEIVER = 8,
    HEADER1_LEN = 8,
    HEADER_LEN = 12, /* messages 2 and 3 */
};

struct noise *handshake_noise(const struct sessions *ss, bool initiator);
/* Of the Noise message in message 1: with a psk its empty payload carries a tag. */
size_t handshake_noise1_len(const struct sessions *ss);
/* Of message 1 as a whole: padded on UDP. */
size_t handshake_packet1_len(const struct sessions *ss, const struct path_addr *path);
void handshake_header_put(uint8_t *pkt, uint8_t number, uint32_t sender);
bool handshake_mac2_is_zero(const uint8_t *pkt, size_t len);

struct half_open;

/* Message 2 or 3. */
struct handshake_reply {
    uint8_t number;
    uint32_t sender, receiver; /* indices */
    uint32_t aeads;
    uint8_t flags; /* of the hello */
};
/* Header, Noise message around our hello, MACs. Returns a copy to free, NULL when it cannot be
 * made. *told_all: all our endpoints fitted. */
uint8_t *handshake_reply_make(struct sessions *ss, struct noise *noise,
                              const struct handshake_reply *r, size_t *len, bool *told_all);
/* The hello in message 2 or 3; payload keeps its bytes. False: Noise or the hello is wrong. */
bool handshake_reply_read(struct noise *noise, const uint8_t *pkt, size_t len,
                          uint8_t payload[HANDSHAKE_PACKET_MAX], struct hello *h);

/* AES when both do it well. 0: nothing in common. */
enum seal_alg handshake_aead(uint32_t common);
void handshake_refused(struct sessions *ss, const struct path_addr *from, const struct cert *who,
                       enum refusal why);

/* initiator.c: message 2 for the attempt of s; a cookie for it (true: it was). */
void initiator_message2(struct session *s, const struct path_addr *from, const uint8_t *pkt,
                        size_t len);
bool initiator_cookie(struct session *s, const uint8_t *pkt);
/* The attempt's message 3 may have arrived and is waited for; its keys count when both ends began.
 */
bool initiator_unconfirmed(const struct session *s);

/* responder.c */
void responder_message1(struct sessions *ss, const struct path_addr *from, const uint8_t *pkt,
                        size_t len);
void responder_message3(struct sessions *ss, struct half_open *ho, const struct path_addr *from,
                        const uint8_t *pkt, size_t len);

#endif
