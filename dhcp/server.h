/*
 * server.h - the DHCP server (RFC 2131 4.3) that answers on our own device, and for the hosts of a
 * bridged LAN.
 *
 * It owns no addresses. An address is ours to give while the group's DHT says so, and asking the
 * DHT takes time: `claim` starts it, dhcp_server_claimed() ends it, and until then the client
 * waits. So an OFFER is never made of an address that we do not hold, and a lease is never longer
 * than what the DHT granted. Clients retransmit, so silence is always a correct answer.
 *
 *   DISCOVER  claim any address (or the one the client already has), then OFFER
 *   REQUEST   selecting, init-reboot, renewing, rebinding: all ask for one address. ACK when it is
 *             that client's, or, as after our own restart, can be claimed for it; else NAK.
 *             A lease with less than three quarters left is claimed anew before the ACK.
 *   DECLINE   somebody uses the address: not given again for ten minutes
 *   RELEASE   the address goes back; an OFFER that nobody takes within a minute does too
 *   INFORM    options only
 *
 * A client is known by its identifier (option 61), or its hardware address; the identifier "type 1
 * and a hardware address" is the same as that address. All clients on the machine itself (chaddr
 * is config.own) are one, whatever identifier dhclient, udhcpc or dhcpcd invent: a node has one
 * address. Rapid commit (RFC 4039) is ignored: of several routers on a LAN each would commit one.
 *
 * Bounds: DHCP_CLIENTS_MAX clients; the victim is the one that has been without a lease longest,
 * and when all have leases the new client is dropped. DHCP_CLAIMS_MAX claims under way; a message
 * that needs one more is dropped. DHCP_DECLINED_MAX declined addresses; the victim is the oldest.
 *
 * Does no I/O: it takes and gives UDP payloads with their addresses. One thread: the caller's.
 */
#ifndef PEAL_DHCP_SERVER_H
#define PEAL_DHCP_SERVER_H

#include "dhcp/reply.h"
#include "overlay/core/env.h"

enum { DHCP_CLIENTS_MAX = 1024, DHCP_CLAIMS_MAX = 16, DHCP_DECLINED_MAX = 16 };

/* Why an address goes back to the host. */
enum dhcp_gone {
    DHCP_GONE_RELEASED,   /* the client said so */
    DHCP_GONE_EXPIRED,    /* the lease ran out */
    DHCP_GONE_NOT_WANTED, /* granted or offered, but the client went elsewhere */
    DHCP_GONE_DECLINED, /* somebody without a lease uses it: better keep it, so that nobody gets it
                         */
};

/* Why a message was dropped. */
enum dhcp_drop {
    DHCP_DROP_MALFORMED,   /* not a client's message, or without what its type needs */
    DHCP_DROP_RELAY,       /* relay agent outside the range */
    DHCP_DROP_NOT_OURS,    /* for another server, or for an address that is none of our business */
    DHCP_DROP_FULL,        /* no room for another client or claim */
    DHCP_DROP_UNAVAILABLE, /* the DHT had no answer, or no address */
    DHCP_DROP_COUNT,
};

/* A question to the DHT; borrowed during the call. */
struct dhcp_claim {
    uint32_t token;               /* for dhcp_server_claimed; never 0 */
    struct mac mac;               /* the client's; what its usual address is derived from */
    bool own;                     /* it is the machine itself */
    char hostname[LABEL_MAX + 1]; /* what it calls itself, one lower-case label; "": not said */
    struct addr wanted;           /* family 0: no wish */
    bool exact;                   /* grant `wanted` or say DHCP_CLAIM_TAKEN; else a wish only */
    const struct addr *avoid;     /* declined addresses: grant none of them */
    size_t avoid_count;
};

enum dhcp_claim_result {
    DHCP_CLAIM_GRANTED,
    DHCP_CLAIM_TAKEN,       /* exact: it is somebody else's. Otherwise: no address is left */
    DHCP_CLAIM_UNAVAILABLE, /* no answer from the DHT; try later */
};

struct dhcp_ops {
    /*
     * Claim an address, or extend the claim on one that this client has. May answer at once, by
     * calling dhcp_server_claimed() from inside; nothing else may be called from inside.
     */
    void (*claim)(void *ctx, const struct dhcp_claim *claim);
    /* The address is no longer this server's. */
    void (*gone)(void *ctx, const struct addr *addr, enum dhcp_gone why);
    void (*send)(void *ctx, const struct dhcp_reply *reply);
};

struct dhcp_server;

/* Copies the configuration. NULL when out of memory. `env` and `ops` stay the caller's and valid.
 */
struct dhcp_server *dhcp_server_new(const struct env *env, const struct dhcp_config *config,
                                    const struct dhcp_ops *ops, void *ctx);
void dhcp_server_free(struct dhcp_server *s); /* calls nobody */

/* A UDP payload that came to port 67 with these source addresses. */
void dhcp_server_input(struct dhcp_server *s, const struct mac *from_mac, const struct addr *from,
                       const uint8_t *bytes, size_t len);
/*
 * The end of a claim. `lease` only with DHCP_CLAIM_GRANTED: an address in the range, and a time of
 * at least a second. An answer that nobody waits for any more is handed back through `gone`.
 */
void dhcp_server_claimed(struct dhcp_server *s, uint32_t token, enum dhcp_claim_result result,
                         const struct dhcp_lease *lease);
/* The DHT took the address away: whoever has it gets a NAK next time. Calls nobody. */
void dhcp_server_lost(struct dhcp_server *s, const struct addr *addr);
void dhcp_server_tick(struct dhcp_server *s);
usec dhcp_server_deadline(const struct dhcp_server *s);

/* Clients that have an address. */
size_t dhcp_server_leases(const struct dhcp_server *s);
uint64_t dhcp_server_drops(const struct dhcp_server *s, enum dhcp_drop drop);
const char *dhcp_drop_text(enum dhcp_drop drop); /* "malformed", ... */

#endif
