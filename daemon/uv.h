/*
 * uv.h - the host of the nodes: libuv's loop, the clocks, randomness, the data plane, and one timer
 * for the least of all deadlines.
 *
 * Each event enters one network with the time read once. Before the loop sleeps, what the events
 * left behind is done once for all of them: a new forwarding snapshot if any network's changed, and
 * the timer. The timer is a timerfd of CLOCK_BOOTTIME, so after a suspend it fires at once.
 */
#ifndef PEAL_DAEMON_UV_H
#define PEAL_DAEMON_UV_H

#include "daemon/netlink.h"
#include "overlay/core/env.h"
#include "tap/plane.h"

#include <uv.h>

struct host;
struct network;

/* udp_fd is taken over. NULL with the reason logged. */
struct host *host_new(uv_loop_t *loop, int udp_fd, bool udp_is_v6, unsigned workers);
/* Networks are detached before. */
void host_free(struct host *h);

/* Network `number` receives from now on. */
void host_attach(struct host *h, unsigned number, struct network *n);
void host_detach(struct host *h, unsigned number);

/* The slot of the network that a handshake, cookie, control or data packet names; 0: none. */
unsigned host_slot(const uint8_t *pkt, size_t len);

/* The clocks as they are now into a network's env; also notices suspend and clock jumps. */
void host_clock(struct host *h, struct env *env);
/* An env with this host's randomness and hash key; log and its host pointer are the caller's. */
void host_env(struct host *h, struct env *env);
usec host_now(struct host *h);

/* The subnets and families that this machine has outside the groups; NULL: not known. A packet
 * from or to an address inside a group is no packet between machines: it would be carried in
 * itself, without end. And without an address of a family the kernel would put one of ours inside.
 */
void host_set_outside(struct host *h, const struct links_outside *outside);

/* A STUN server that is asked how it sees our port; every network is told. Anybody's Binding
 * requests to our port are answered. */
void host_add_stun(struct host *h, const struct endpoint *server);
/* The same, for one answer. */
void host_ask_where(struct host *h, const struct endpoint *server);
/* Our addresses changed, or there is a new network to tell: asks them now. */
void host_ask_again(struct host *h);

struct plane *host_plane(struct host *h);
unsigned host_workers(const struct host *h);
void host_send(struct host *h, const struct endpoint *to, const uint8_t *pkt, size_t len);
void host_forward_changed(struct host *h);

/* TCP, as in daemon/tcp.h; connections of network `number`. */
struct tcp;
struct tcp *host_tcp(struct host *h);
uint32_t host_tcp_open(struct host *h, unsigned number, const struct endpoint *to);
void host_tcp_send(struct host *h, uint32_t conn, const uint8_t *pkt, size_t len);
void host_tcp_close(struct host *h, uint32_t conn); /* what was sent before goes out before */

/* Counters for metrics; names are static. False past the last. */
bool host_counter(const struct host *h, size_t i, const char **name, uint64_t *value);

#endif
