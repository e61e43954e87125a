/*
 * portmap.h - keeps peal-portmap (mapper.c) running and knows what it got: an endpoint of the
 * router from outside that leads to our UDP port, and which lead to TCP ports that we listen on.
 * Peers are told the first; TCP they try at the same port and at 443.
 *
 * The helper ends when no router gives a mapping; it is asked again later, and at once when the
 * machine is on another network. It takes the mapping away by itself when its standard input ends,
 * so also when peald dies.
 */
#ifndef PEAL_DAEMON_PORTMAP_H
#define PEAL_DAEMON_PORTMAP_H

#include "overlay/core/addr.h"

#include <uv.h>

enum { PORTMAP_AGAIN_S = 600, PORTMAP_TCP_MAX = 2 };

struct portmap;

/* UDP's port, and the TCP ports, PORTMAP_TCP_MAX of them at most, 0: none. `changed` is called when
 * UDP's mapping became another one; family 0: there is none. NULL: out of memory. */
struct portmap *portmap_new(uv_loop_t *loop, uint16_t port, const uint16_t tcp[PORTMAP_TCP_MAX],
                            void (*changed)(void *ctx, const struct endpoint *mapped), void *ctx);
/* The helper is told to end and is not waited for. */
void portmap_free(struct portmap *p);
/* Another network, perhaps another router: asks anew soon. */
void portmap_restart(struct portmap *p);

#endif
