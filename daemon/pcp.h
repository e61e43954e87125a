/*
 * pcp.h - the MAP request of the Port Control Protocol (RFC 6887 7.1, 11.1) as bytes. No I/O.
 *
 *   request:  version, opcode, 2 reserved, lifetime 4, client address 16
 *             nonce 12, protocol, 3 reserved, internal port 2, external port 2, external address 16
 *   response: version, opcode + R, reserved, result, lifetime 4, epoch 4, 12 reserved
 *             and the same second half, with what was granted
 */
#ifndef PEAL_DAEMON_PCP_H
#define PEAL_DAEMON_PCP_H

#include "overlay/core/addr.h"

enum {
    PCP_PORT = 5351,
    PCP_CLIENT_PORT =
        5350, /* where a router that starts says so (RFC 6887 14.1.1, RFC 6886 3.2.1) */
    PCP_MAP_LEN = 60,
    PCP_NONCE_LEN = 12,
    PCP_PROTOCOL_TCP = 6, /* IANA's protocol numbers */
    PCP_PROTOCOL_UDP = 17,
};

enum pcp_verdict {
    PCP_GRANTED,
    PCP_OTHERS,   /* not an answer to this: go on waiting */
    PCP_REFUSED,  /* the router said no */
    PCP_UNSPOKEN, /* the router speaks NAT-PMP only (RFC 6887 appendix A) */
};

struct pcp_map {
    struct addr client; /* ours, as the router sees it */
    uint8_t nonce[PCP_NONCE_LEN];
    uint8_t protocol;                      /* PCP_PROTOCOL_* */
    uint16_t internal_port, external_port; /* external: wished, 0: any */
    uint32_t lifetime_s;                   /* 0: take it away */
};

struct pcp_grant {
    struct endpoint external;
    uint32_t lifetime_s;
};

void pcp_request(uint8_t out[PCP_MAP_LEN], const struct pcp_map *m);
enum pcp_verdict pcp_response(struct pcp_grant *out, const struct pcp_map *asked,
                              const uint8_t *bytes, size_t len);

#endif
