/*
 * stun.h - STUN on our port: Binding requests of anybody are answered, and configured servers are
 * asked how they see us (RFC 8489; Binding over UDP without authentication, nothing else).
 *
 *    0                   1                   2                   3
 *    0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *   +---+---------------------------+-------------------------------+
 *   |0 0| message type              | length, without this header   |
 *   +---+---------------------------+-------------------------------+
 *   | magic cookie 0x2112a442                                       |
 *   +---------------------------------------------------------------+
 *   | transaction id, 96 bits                                       |
 *   +-------------------------------+-------------------------------+
 *   | attribute type                | length                        |  ...
 *   +-------------------------------+-------------------------------+
 *
 * The first byte 0x00 to 0x3f tells it from all packets of ours. An answer holds
 * XOR-MAPPED-ADDRESS and nothing else, and goes out at most STUN_ANSWERS_EACH times a second to one
 * source (IPv4 address, IPv6 /64) and STUN_ANSWERS_ALL times to all, so that forged sources turn us
 * on nobody. A request with an attribute that it requires us to understand, and we do not, gets no
 * answer. A response counts only from the server that was asked, under the transaction id that it
 * was asked with, while the question is open.
 *
 * One for the whole daemon: the port is one. A machine without I/O with the doors stun_input,
 * stun_tick and stun_deadline.
 */
#ifndef PEAL_OVERLAY_STUN_H
#define PEAL_OVERLAY_STUN_H

#include "overlay/core/addr.h"
#include "overlay/core/env.h"

enum {
    STUN_HEADER_LEN = 20,
    STUN_ID_LEN = 12,
    STUN_ANSWER_MAX = STUN_HEADER_LEN + 24, /* an IPv6 address */
    STUN_FIRST_BYTE_MAX = 0x3f,             /* RFC 8489 5: the two most significant bits are zero */
    STUN_SERVERS_MAX = 8,                   /* further ones are refused */
    STUN_ONCE_MAX = 8, /* asked for one answer; victim: the one asked longest ago */
    STUN_ANSWERS_EACH = 8,
    STUN_ANSWERS_ALL = 256,
    STUN_TRIES = 7,     /* RFC 8489 6.2.1: Rc */
    STUN_AGAIN_S = 120, /* a server that answered is asked again; and one that did not */
};

/* RFC 8489 5: the class is in bits 4 and 8, the method Binding is 1. */
enum stun_type {
    STUN_BINDING_REQUEST = 0x0001,
    STUN_BINDING_INDICATION = 0x0011,
    STUN_BINDING_SUCCESS = 0x0101,
    STUN_BINDING_ERROR = 0x0111,
};

struct stun_id {
    uint8_t b[STUN_ID_LEN];
};

struct stun_message {
    enum stun_type type;
    struct stun_id id;
    struct endpoint mapped; /* XOR-MAPPED-ADDRESS, or MAPPED-ADDRESS of an old server; family 0 */
    bool unknown;           /* an attribute that must be understood and is not ours */
};

/* False: no Binding message, or malformed (a FINGERPRINT that is there must be right). */
bool stun_read(struct stun_message *m, const uint8_t *bytes, size_t len);
/* Without attributes: STUN_HEADER_LEN bytes. */
void stun_write(enum stun_type type, const struct stun_id *id, uint8_t out[STUN_HEADER_LEN]);
/* Returns the length. */
size_t stun_write_success(const struct stun_id *id, const struct endpoint *mapped,
                          uint8_t out[STUN_ANSWER_MAX]);

struct stun_host {
    void (*send)(void *ctx, const struct endpoint *to, const uint8_t *pkt, size_t len);
    /* A server says how it sees us. */
    void (*seen)(void *ctx, const struct endpoint *server, const struct endpoint *us);
    /* An indication came from there: natcheck.h's, perhaps. May be NULL. */
    void (*indication)(void *ctx, const struct endpoint *from, const struct stun_id *id);
};

enum stun_count {
    STUN_COUNT_ANSWERED,
    STUN_COUNT_SEEN, /* answers to our questions */
    STUN_COUNT_MALFORMED,
    STUN_COUNT_UNKNOWN, /* an attribute that we would have to understand */
    STUN_COUNT_LIMITED,
    STUN_COUNT_UNASKED, /* a response to nothing that we asked there */
    STUN_COUNT_MAX,
};

struct stun;

/* NULL: out of memory. */
struct stun *stun_new(struct env *env, const struct stun_host *host, void *ctx);
void stun_free(struct stun *s);
/* Asks it from the next tick on. 0 (also when it is there already) or -ERR_FULL. */
int stun_add_server(struct stun *s, const struct endpoint *server);
/* Asks it from the next tick on, for one answer. */
void stun_ask(struct stun *s, const struct endpoint *server);
/* Our addresses changed: asks all of them from the next tick on. */
void stun_ask_again(struct stun *s);
void stun_input(struct stun *s, const struct endpoint *from, const uint8_t *pkt, size_t len);
void stun_tick(struct stun *s);
usec stun_deadline(const struct stun *s);
uint64_t stun_counted(const struct stun *s, enum stun_count c);
const char *stun_count_text(enum stun_count c);

#endif
