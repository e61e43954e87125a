/*
 * msg.h - the DHCP wire format (RFC 2131 2, options of RFC 2132), as a server reads and writes it.
 *
 *    0                   1                   2                   3
 *    0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *   +---------------+---------------+---------------+---------------+
 *   | op            | htype         | hlen          | hops          |
 *   +---------------+---------------+---------------+---------------+
 *   | xid                                                           |
 *   +-------------------------------+-------------------------------+
 *   | secs                          | flags                         |
 *   +-------------------------------+-------------------------------+
 *   | ciaddr: the client's address while it may be used             |
 *   | yiaddr: "your" address, in answers                            |
 *   | siaddr: next server, unused here                              |
 *   | giaddr: the relay agent                                       |
 *   | chaddr: the client's hardware address              (16 bytes) |
 *   | sname                                              (64 bytes) |
 *   | file                                              (128 bytes) |
 *   +---------------------------------------------------------------+
 *   | cookie 63 82 53 63, options ..., end                          |
 *
 * Reading keeps what a server acts on and skips every other option. An option that appears twice
 * is one long option (RFC 3396), so a fixed-size one has the wrong length then and the message is
 * malformed. Addresses are integers in host order, 0 for none: that is how the format says it.
 *
 * Says what the bytes mean, never what to do about them; that is server.h.
 */
#ifndef PEAL_DHCP_MSG_H
#define PEAL_DHCP_MSG_H

#include "overlay/core/wire.h"

enum {
    DHCP_SERVER_PORT = 67,
    DHCP_CLIENT_PORT = 68,
    DHCP_COOKIE = 0x63825363,
    DHCP_FLAG_BROADCAST = 0x8000,
    DHCP_SIZE_MIN = 300,   /* "struct bootp" with 64 bytes of vendor area: some clients drop less */
    DHCP_SIZE_USUAL = 576, /* the IP datagram every client must be able to take (RFC 2131 2) */
    DHCP_HTYPE_ETHERNET = 1,
    DHCP_OPTION_MAX = 255,
};

enum dhcp_op { DHCP_BOOTREQUEST = 1, DHCP_BOOTREPLY = 2 };

/* RFC 2132 9.6 */
enum dhcp_type {
    DHCP_DISCOVER = 1,
    DHCP_OFFER = 2,
    DHCP_REQUEST = 3,
    DHCP_DECLINE = 4,
    DHCP_ACK = 5,
    DHCP_NAK = 6,
    DHCP_RELEASE = 7,
    DHCP_INFORM = 8,
};

enum dhcp_option {
    DHCP_OPT_PAD = 0,
    DHCP_OPT_SUBNET_MASK = 1, /* RFC 2132 3.3: before the router option if both are given */
    DHCP_OPT_ROUTER = 3,
    DHCP_OPT_DNS = 6,
    DHCP_OPT_HOST_NAME = 12,
    DHCP_OPT_DOMAIN = 15,
    DHCP_OPT_MTU = 26,
    DHCP_OPT_BROADCAST = 28,
    DHCP_OPT_REQUESTED = 50,
    DHCP_OPT_LEASE_TIME = 51,
    DHCP_OPT_OVERLOAD = 52, /* options go on in file (1), sname (2), or both (3) */
    DHCP_OPT_TYPE = 53,
    DHCP_OPT_SERVER_ID = 54,
    DHCP_OPT_PARAMETERS =
        55, /* "MUST try to insert the requested options in the order requested" */
    DHCP_OPT_MESSAGE = 56,
    DHCP_OPT_MAX_SIZE = 57, /* of the IP datagram; "the minimum legal value is 576" */
    DHCP_OPT_T1 = 58,
    DHCP_OPT_T2 = 59,
    DHCP_OPT_CLIENT_ID = 61,
    DHCP_OPT_CLASSLESS_ROUTES = 121, /* RFC 3442 */
    DHCP_OPT_END = 255,
};

struct dhcp_header {
    uint8_t op; /* enum dhcp_op */
    uint32_t xid;
    uint16_t secs, flags;
    uint32_t ciaddr, yiaddr, giaddr;
    struct mac mac;
};

struct dhcp_bytes {
    uint8_t len; /* 0: the option was not there */
    uint8_t b[DHCP_OPTION_MAX];
};

/* A client's message. */
struct dhcp_msg {
    struct dhcp_header header;
    enum dhcp_type type;
    uint32_t requested, server_id;
    uint16_t max_size; /* as sent, or 0 */
    struct dhcp_bytes client_id, host_name, parameters;
};

/*
 * Reads a message from a client to a server. False, and *out is zeroed, when it is malformed, has
 * no message type (plain BOOTP) or one that servers send, or is not about an Ethernet station.
 */
bool dhcp_msg_parse(struct dhcp_msg *out, const uint8_t *bytes, size_t len);

/* The client named the option in its parameter list, or gave no list at all. */
bool dhcp_msg_wants(const struct dhcp_msg *m, enum dhcp_option code);

/* Writing: the fixed part and the cookie; options; the end and zeros up to DHCP_SIZE_MIN. */
void dhcp_write_header(struct writer *w, const struct dhcp_header *h);
/* False, and nothing is written, when the option would not leave room for the end. */
bool dhcp_write_option(struct writer *w, enum dhcp_option code, const void *value, size_t len);
bool dhcp_write_u8(struct writer *w, enum dhcp_option code, uint8_t value);
bool dhcp_write_u16(struct writer *w, enum dhcp_option code, uint16_t value);
bool dhcp_write_u32(struct writer *w, enum dhcp_option code, uint32_t value);
void dhcp_write_end(struct writer *w);

#endif
