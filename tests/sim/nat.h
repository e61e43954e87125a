/*
 * nat.h - a NAT box as RFC 4787 describes them: how it maps inner endpoints to its own ports, whom
 * it lets in, how long a mapping lives, whether two hosts behind it reach each other by its outer
 * address.
 *
 * A table of mappings with a limit; the victim is the mapping used least lately. Knows no hosts and
 * no links: it rewrites endpoints.
 */
#ifndef PEAL_SIM_NAT_H
#define PEAL_SIM_NAT_H

#include "overlay/core/addr.h"
#include "overlay/core/env.h"
#include "tests/sim/random.h"

/* RFC 4787 4.1 for mapping, 5 for filtering: what of the remote endpoint makes a difference. */
enum nat_dependence {
    NAT_ENDPOINT_INDEPENDENT,
    NAT_ADDRESS_DEPENDENT,
    NAT_ADDRESS_AND_PORT_DEPENDENT,
};

enum nat_ports {
    NAT_PORTS_PRESERVED, /* the inner port where it is free, else the next */
    NAT_PORTS_SEQUENTIAL,
    NAT_PORTS_RANDOM,
};

enum {
    NAT_MAPPINGS_MAX = 4096,
    NAT_REMOTES_MAX = 2048 /* let in by one mapping; victim: the one sent to least lately. More than
                              a search for a port sends to */
};

struct nat_kind {
    enum nat_dependence mapping, filtering;
    enum nat_ports ports;
    bool hairpin;    /* REQ-9 */
    usec timeout_us; /* REQ-5: not less than 2 minutes; many boxes have 30 s */
};

/* Who was sent to by a mapping; forgotten with it. */
struct nat_remote {
    struct endpoint ep;
    usec sent_us;
};

struct nat_mapping {
    struct endpoint inner;
    struct endpoint remote; /* who it was made for; of no matter when endpoint-independent */
    uint16_t port;          /* outer */
    usec until_us;          /* REQ-6: outbound packets refresh it; inbound ones do not */
    struct nat_remote *remotes;
    size_t remote_count, remote_size;
};

struct nat {
    struct nat_kind kind;
    struct addr outer;
    struct random random;
    struct nat_mapping *v;
    size_t count, size;
    uint16_t next_port;
};

void nat_init(struct nat *n, const struct nat_kind *kind, const struct addr *outer,
              struct random random);
void nat_clear(struct nat *n);
/* A packet from inside to remote: its outer source. */
struct endpoint nat_outbound(struct nat *n, usec now_us, const struct endpoint *inner,
                             const struct endpoint *remote);
/* A packet from remote that arrives at one of our ports: where inside it goes. False: dropped. */
bool nat_inbound(struct nat *n, usec now_us, uint16_t port, const struct endpoint *remote,
                 struct endpoint *inner);
/* The box restarts: every mapping is gone. */
void nat_forget(struct nat *n);

#endif
