/*
 * dnsforward.h - carries DNS queries for names that are not the group's to the server of
 * `dns_forward` and the answers back. One connected UDP socket a query, so that the kernel draws a
 * fresh source port and drops what others send (RFC 5452 section 9).
 *
 * At most FORWARD_MAX queries at a time, FORWARD_TIMEOUT_MS each; the victim is the oldest.
 */
#ifndef PEAL_DAEMON_DNSFORWARD_H
#define PEAL_DAEMON_DNSFORWARD_H

#include "overlay/core/addr.h"

#include <uv.h>

struct dnsforward;

struct dnsforward *dnsforward_new(uv_loop_t *loop,
                                  void (*reply)(void *ctx, const uint8_t *bytes, size_t len),
                                  void *ctx); /* NULL: out of memory */
void dnsforward_free(struct dnsforward *f);
void dnsforward_query(struct dnsforward *f, const struct endpoint *server, const uint8_t *query,
                      size_t len);

#endif
