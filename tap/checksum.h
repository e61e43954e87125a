/*
 * checksum.h - the Internet checksum (RFC 1071) of IPv4, ICMP, UDP and TCP.
 *
 * Partial sums are kept in the machine's byte order and may be added in any order, as long as every
 * piece starts at an even offset of the summed bytes (RFC 1071 2).
 */
#ifndef PEAL_TAP_CHECKSUM_H
#define PEAL_TAP_CHECKSUM_H

#include "overlay/core/addr.h"

uint64_t checksum_add(uint64_t sum, const void *bytes, size_t len);
/* The pseudo header of UDP and TCP (RFC 768, 9293) or of everything on IPv6 (RFC 8200 8.1). Both
 * addresses are of one family. */
uint64_t checksum_pseudo(const struct addr *src, const struct addr *dst, uint8_t proto,
                         uint32_t upper_len);
/* Stores the complement of sum. The field itself must have been zero, or left out, in the sum. */
void checksum_put(uint8_t field[2], uint64_t sum);
/* The same for UDP, whose zero means "no checksum" and is sent as all ones (RFC 768). */
void checksum_put_udp(uint8_t field[2], uint64_t sum);
/* Stores the sum itself: what a kernel expects in a field that it shall finish. */
void checksum_put_sum(uint8_t field[2], uint64_t sum);
/* True when sum, over bytes with their checksum in place, is right. */
bool checksum_ok(uint64_t sum);

#endif
