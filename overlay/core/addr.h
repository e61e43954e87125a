/*
 * addr.h - IP addresses, prefixes, endpoints (address and port), names: text and bytes, no sockets.
 *
 * IPv4 text is dotted quad only; IPv6 after RFC 4291/5952. Names are LDH labels (RFC 1123 2.1).
 */
#ifndef PEAL_CORE_ADDR_H
#define PEAL_CORE_ADDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    ADDR_TEXT_SIZE = 46,     /* an address */
    NET_TEXT_SIZE = 50,      /* address/prefix */
    ENDPOINT_TEXT_SIZE = 56, /* 192.0.2.1:4747, [2001:db8::1]:4747 */
    LABEL_MAX = 63,          /* RFC 1035 2.3.4 */
    NAME_MAX_LEN = 253,
};

struct addr {
    uint8_t family; /* 4, 6, or 0 for none */
    uint8_t b[16];  /* network order; IPv4 in the first four, the rest zero */
};

struct net {
    struct addr addr; /* as written: host bits are kept */
    uint8_t prefix;
};

struct endpoint {
    struct addr addr;
    uint16_t port;
};

struct mac {
    uint8_t b[6];
};

bool addr_eq(const struct addr *a, const struct addr *b);
struct addr addr_v4(uint32_t host_order);
struct addr addr_v6(const uint8_t b[16]);
uint32_t addr_to_v4(const struct addr *a); /* host order; family must be 4 */
bool addr_is_loopback(const struct addr *a);
bool addr_is_link_local(const struct addr *a);
bool addr_is_private(const struct addr *a); /* RFC 1918, RFC 6598, fc00::/7 */
bool addr_is_multicast(const struct addr *a);
bool addr_is_unspecified(const struct addr *a);
char *addr_text(const struct addr *a, char out[ADDR_TEXT_SIZE]); /* "none" for family 0 */
bool addr_parse(struct addr *out, const char *text);
/* What one customer of a provider has, a /24 or a /56, as a number: for quotas. 0: family 0. */
uint64_t addr_prefix(const struct addr *a);

bool net_contains(const struct net *net, const struct addr *a);
bool net_overlaps(const struct net *a, const struct net *b);
struct addr net_first(const struct net *net); /* lowest address, host bits zero */
struct addr net_host(const struct net *net, uint32_t n); /* IPv4: lowest + n */
uint32_t net_hosts(const struct net *net); /* IPv4: number of addresses, 2^(32-prefix); 0xffffffff at most */
char *net_text(const struct net *net, char out[NET_TEXT_SIZE]);
bool net_parse(struct net *out, const char *text); /* "10.77.0.0/16"; the prefix is required */

bool endpoint_eq(const struct endpoint *a, const struct endpoint *b);
int endpoint_cmp(const struct endpoint *a, const struct endpoint *b); /* a total order */
char *endpoint_text(const struct endpoint *e, char out[ENDPOINT_TEXT_SIZE]);
bool endpoint_parse(struct endpoint *out, const char *text); /* numeric only; port 1..65535 required */

char *mac_text(const struct mac *m, char out[18]);
bool mac_parse(struct mac *out, const char *text);

/* One LDH label: letters, digits, inner hyphens, 1..63. Case is the caller's affair. */
bool label_valid(const char *text, size_t len);
/* Dotted labels, no trailing dot, 1..253. */
bool name_valid(const char *text);
/* Lower-case ASCII copy; false when it does not fit or is not a label. */
bool label_normalize(char *out, size_t size, const char *text, size_t len);

#endif
