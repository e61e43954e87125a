/*
 * reply.h - one answer of the DHCP server: which options it carries, how long it may be, and to
 * whom it goes.
 *
 * Options (RFC 2131 4.3.1 and table 3): always the message type, the server's identifier, the
 * client's own identifier (RFC 6842) and, with an address, lease time, T1 and T2; then those that
 * the client listed, in its order, as far as they are configured and fit. The router option and
 * routes are never invented: this network is nobody's default route unless somebody says so.
 *
 * Size: at most what the client can take (option 57, or 576 with headers) and the device's MTU;
 * an option that does not fit is left out. At least 300 bytes.
 *
 * Address (RFC 2131 4.1): to the relay agent if there was one; NAK to everybody; to ciaddr if the
 * client has it; to everybody if it asked for that with the broadcast flag; else to the address
 * it gets, by its hardware address, without ARP.
 */
#ifndef PEAL_DHCP_REPLY_H
#define PEAL_DHCP_REPLY_H

#include "dhcp/msg.h"

enum { DHCP_ROUTES_MAX = 16, DHCP_REPLY_MAX = 1472 };

struct dhcp_route {
    struct net to;
    struct addr via; /* family 0: on the link (RFC 3442: router 0.0.0.0) */
};

struct dhcp_config {
    struct net range;    /* IPv4, with the prefix that clients get as their mask */
    struct addr service; /* our identifier and the clients' DNS server */
    struct mac own;      /* the device's own address: see server.h; zero: none */
    bool authoritative;  /* NAK requests for addresses outside the range; not on a shared LAN */
    uint16_t mtu;        /* 0: not given */
    char domain[NAME_MAX_LEN + 1]; /* "": not given */
    struct addr router;            /* family 0: none */
    struct dhcp_route routes[DHCP_ROUTES_MAX];
    size_t route_count;
};

/* An address with the time it is ours to give. */
struct dhcp_lease {
    struct addr addr;
    uint32_t lease_s;
    char hostname[LABEL_MAX + 1]; /* what the client is called; "": not given */
};

/* A UDP payload and where it goes. */
struct dhcp_reply {
    struct mac dst_mac;
    struct addr src, dst;
    uint16_t src_port, dst_port;
    size_t len;
    uint8_t bytes[DHCP_REPLY_MAX];
};

/*
 * `lease` for DHCP_OFFER and DHCP_ACK; NULL for DHCP_NAK and the DHCP_ACK of an INFORM. `from_mac`
 * is the sender of the frame that carried the request: the relay agent, where there is one.
 */
void dhcp_reply_build(struct dhcp_reply *out, const struct dhcp_config *config,
                      const struct dhcp_msg *request, const struct mac *from_mac,
                      enum dhcp_type type, const struct dhcp_lease *lease);

#endif
