/*
 * server.h - the DNS responder at the service address: authoritative for one group.
 *
 * Its zones are the group's domain and the reverse zones of its IPv4 range and IPv6 prefix (cut at
 * the next octet or nibble below the prefix). Inside them it knows by itself
 *
 *   <domain>              SOA, NS
 *   ns.<domain>           the service address; its PTR leads back
 *   c077000005.<domain>   A 10.77.0.5, if that is in the range, whether or not anybody has it
 *
 * and everything else, one label below the domain or one address, is a question to the DHT:
 * lookup_name or lookup_addr starts it and dns_server_answered() ends it. So NXDOMAIN, NODATA (the
 * name is there, the type is not; RFC 2308 2.2) and SERVFAIL (nobody knows) are told apart. ANY
 * gets one of the name's record sets (RFC 8482 4.1). Negative answers live DNS_TTL_NEGATIVE_S, so
 * that a member who comes up is found at once.
 *
 * Names that are not the group's are refused, or with config.forward handed to the host, which asks
 * another server. It passes them under an id of its own and takes a reply only with that id and
 * the very question; sending from a fresh port to one server only is the host's part.
 *
 * Bounds: DNS_PENDING_MAX questions under way; the victim is the oldest, which gets SERVFAIL, as
 * do those that wait longer than DNS_LOOKUP_TIMEOUT or DNS_FORWARD_TIMEOUT. A client's
 * retransmission of a waiting query is not asked again. Malformed messages get no answer.
 *
 * Does no I/O. One thread: the caller's.
 */
#ifndef PEAL_DNS_SERVER_H
#define PEAL_DNS_SERVER_H

#include "dns/msg.h"
#include "overlay/core/env.h"

enum {
    DNS_PENDING_MAX = 64,
    DNS_TTL_FIXED_S = 60,  /* what the group's definition says */
    DNS_TTL_LOOKUP_S = 30, /* what the DHT says */
    DNS_TTL_NEGATIVE_S = 5,
};
#define DNS_LOOKUP_TIMEOUT SEC(2)
#define DNS_FORWARD_TIMEOUT SEC(4) /* stub resolvers ask again after 5 */

struct dns_config {
    char domain[NAME_MAX_LEN + 1]; /* "lab.peal" */
    struct net ipv4;               /* the range */
    struct net ipv6;               /* family 0: none */
    struct addr service;           /* IPv4 */
    struct addr service6;          /* family 0: none */
    bool forward;                  /* other names go to ops->forward; else they are refused */
};

/* Where a query came from; the server compares it and hands it back. */
struct dns_source {
    struct addr addr;
    uint16_t port;
    struct mac mac;
    bool tcp; /* no length prefix in the bytes either way; answers are not cut to a datagram */
};

/* What the DHT says. */
struct dns_answer {
    bool found;
    char label[LABEL_MAX + 1]; /* lookup_addr: the host's name */
    struct addr ipv4, ipv6;    /* lookup_name: its addresses; family 0: none */
};

enum dns_counter {
    DNS_COUNT_QUERIES,   /* understood, whatever the answer */
    DNS_COUNT_MALFORMED, /* dropped */
    DNS_COUNT_RESPONSE,  /* dropped: not a query */
    DNS_COUNT_DUPLICATE, /* dropped: that query is waiting already */
    DNS_COUNT_STRAY,     /* forwarded replies with a wrong id or question, dropped */
    DNS_COUNT_OVERFLOW,  /* answered SERVFAIL to make room */
    DNS_COUNT_TIMEOUT,   /* answered SERVFAIL */
    DNS_COUNTERS,
};

struct dns_ops {
    void (*reply)(void *ctx, const struct dns_source *to, const uint8_t *bytes, size_t len);
    /*
     * Start a lookup: one lower-case label, or an address in the range or prefix. Both may answer
     * at once by calling dns_server_answered() from inside; nothing else may be called from inside.
     */
    void (*lookup_name)(void *ctx, uint32_t token, const char *label);
    void (*lookup_addr)(void *ctx, uint32_t token, const struct addr *addr);
    /* Send this query to the other server; only with config.forward, may else be NULL. */
    void (*forward)(void *ctx, const uint8_t *bytes, size_t len, bool tcp);
};

struct dns_server;

/*
 * NULL when out of memory, or when `domain` is no name or too long to have names below it. `env`
 * and `ops` stay the caller's and valid.
 */
struct dns_server *dns_server_new(const struct env *env, const struct dns_config *config,
                                  const struct dns_ops *ops, void *ctx);
void dns_server_free(struct dns_server *s); /* calls nobody */

void dns_server_input(struct dns_server *s, const struct dns_source *from, const uint8_t *bytes,
                      size_t len);
/* The end of a lookup; NULL: the DHT had no answer. Unknown tokens are ignored: those timed out. */
void dns_server_answered(struct dns_server *s, uint32_t token, const struct dns_answer *answer);
/* A message from the server that `forward` sends to. */
void dns_server_forwarded(struct dns_server *s, const uint8_t *bytes, size_t len);
void dns_server_tick(struct dns_server *s);
usec dns_server_deadline(const struct dns_server *s);

uint64_t dns_server_count(const struct dns_server *s, enum dns_counter counter);
const char *dns_counter_text(enum dns_counter counter); /* "queries", ... */

#endif
