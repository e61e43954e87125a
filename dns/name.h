/*
 * name.h - domain names as they stand on the wire (RFC 1035 3.1, 4.1.4), and what they mean here.
 *
 * A struct dns_name is the uncompressed form: labels with a length byte each, closed by the empty
 * one, 255 bytes at most. Case is kept as it came and ignored in every comparison (RFC 4343).
 *
 * Reading follows compression pointers only backwards, each to before the place where the last
 * run of labels began, so it ends, and on any message in at most as many steps as it has bytes.
 */
#ifndef PEAL_DNS_NAME_H
#define PEAL_DNS_NAME_H

#include "overlay/core/wire.h"

enum {
    DNS_NAME_MAX = 255, /* RFC 1035 2.3.4, with length bytes and the root's */
    DNS_LABELS_MAX = 127,
    DNS_NAMES_MAX = 16, /* names that a message under construction remembers; more stand in full */
};

struct dns_name {
    uint8_t len; /* 1 for the root */
    uint8_t b[DNS_NAME_MAX];
};

/* The name at *r, which reads the message that starts at `message`. False, and *r failed, if bad.
 */
bool dns_name_read(struct dns_name *out, struct reader *r, const uint8_t *message);

/* What a message being written offers its later names to point at. Begin with zeros. */
struct dns_names {
    uint16_t at[DNS_NAMES_MAX];
    size_t count;
};
/* Writes the name, its tail as a pointer if it stands in the message already. */
void dns_name_write(struct writer *w, struct dns_names *names, const struct dns_name *name);

bool dns_name_eq(const struct dns_name *a, const struct dns_name *b);
unsigned dns_name_labels(const struct dns_name *name); /* the root not counted */
/* `name` is `zone` or below it. */
bool dns_name_within(const struct dns_name *name, const struct dns_name *zone);
/* The last `labels` labels of a name that has at least so many. */
struct dns_name dns_name_tail(const struct dns_name *name, unsigned labels);
/* Label `i` from the left, lower case; false when it is not an LDH label. */
bool dns_name_label(const struct dns_name *name, unsigned i, char out[LABEL_MAX + 1]);

/* From dotted LDH labels without a trailing dot; "" is the root. False when it is not such a name.
 */
bool dns_name_from_text(struct dns_name *out, const char *text);
/* `label` in front of `zone`. False when the label is not LDH or the result is too long. */
bool dns_name_under(struct dns_name *out, const char *label, const struct dns_name *zone);

/*
 * Reverse names (RFC 1035 3.5, RFC 3596 2.5): in-addr.arpa and ip6.arpa. A short one names the
 * addresses that begin with its octets or nibbles: *out has them, the rest zero, and *bits says
 * how many bits are known. False for all other names, and for those that go on too long.
 */
bool dns_name_to_addr(const struct dns_name *name, struct addr *out, unsigned *bits);
/* The reverse name of the first `bits` of an address; a multiple of 8 (IPv4) or 4 (IPv6). */
struct dns_name dns_name_of_addr(const struct addr *addr, unsigned bits);

/*
 * Address-style labels: C and the last three octets, three digits each, so that c077000005 in
 * 10.0.0.0/8 or a part of it is 10.77.0.5. False when it is not one, or not in `range`.
 */
bool dns_label_to_addr(const char *label, const struct net *range, struct addr *out);

#endif
