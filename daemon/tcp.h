/*
 * tcp.h - the daemon's TCP connections: overlay packets, each behind its length, for machines that
 * UDP does not reach.
 *
 * Listens on the daemon's port and on tcp_port; whoever begins with a TLS hello gets TLS, on
 * either. Connects plainly to any port but 443, which is TLS, and through an HTTP proxy where one
 * is configured, then always inside TLS. What a proxy refuses is counted, and logged when it
 * refuses otherwise than before. Connections have numbers that are never used twice; those that
 * were accepted have PATH_TCP_ACCEPTED in theirs.
 *
 * A connection is proven when a session of some network uses it as a path. Until then it is a
 * stranger's: at most TCP_STRANGERS_MAX of them, TCP_STRANGERS_PER_SOURCE of one source,
 * TCP_STRANGER_S each. One that no session uses for that long is closed, whoever opened it. What
 * is no packet closes a connection at once; nothing is ever answered here.
 *
 * Once a connection is proven and at rest the data plane has it, TLS and all: packets come and go
 * by its workers, and back here come only its end and, as items of the plane, what is no data.
 *
 * Sending never waits. Until then each connection has a queue of TCP_QUEUE_BYTES; when it is full
 * the oldest data packets go first, as they would at a router; control packets go before data.
 */
#ifndef PEAL_DAEMON_TCP_H
#define PEAL_DAEMON_TCP_H

#include "overlay/core/addr.h"

#include <uv.h>

enum {
    TCP_STRANGERS_MAX = 64, /* victim: the newest */
    TCP_STRANGERS_PER_SOURCE = 4,
    TCP_STRANGER_S = 5,
    TCP_CONNS_MAX = 512, /* in all; half of what a process may open; victim: the newest */
    TCP_QUEUE_BYTES = 256 * 1024,
};

struct tcp;
struct plane;

struct tcp_host {
    /* A packet; it may be changed. False: nobody's. */
    bool (*packet)(void *ctx, uint32_t conn, const struct endpoint *from, uint8_t *pkt, size_t len);
    /* What `owner` asked for is there. */
    void (*opened)(void *ctx, unsigned owner, uint32_t conn);
    /* Gone, or never came about. Not called for tcp_close. */
    void (*closed)(void *ctx, uint32_t conn);
    /* Some session has proven itself over it. */
    bool (*used)(void *ctx, uint32_t conn);
};
/* Callbacks may call tcp_open, tcp_send and tcp_close. */

/* NULL: out of memory, or OpenSSL cannot. */
struct tcp *tcp_new(uv_loop_t *loop, const struct tcp_host *host, void *ctx);
void tcp_free(struct tcp *t); /* at once, without goodbye */

/* Who takes over what is proven; outlives t's connections. */
void tcp_set_plane(struct tcp *t, struct plane *plane);
/* The plane says that nothing comes by it any more, perhaps since what came was no packet. */
void tcp_ended(struct tcp *t, uint32_t conn, bool garbage);

/* 0, or libuv's error. */
int tcp_listen(struct tcp *t, uint16_t port);
/* All connections opened from now on go through it. */
void tcp_set_proxy(struct tcp *t, const struct endpoint *proxy);

/* The number of the connection to come, or 0: too many, or there is no way to that address. */
uint32_t tcp_open(struct tcp *t, unsigned owner, const struct endpoint *to);
/* Best effort. Goes out with tcp_flush. */
void tcp_send(struct tcp *t, uint32_t conn, const uint8_t *pkt, size_t len);
void tcp_flush(struct tcp *t);
void tcp_close(struct tcp *t, uint32_t conn);
/* Not closed and not lost yet. */
bool tcp_exists(const struct tcp *t, uint32_t conn);

/* Packets for which there was no room in a queue here. */
uint64_t tcp_queue_full(const struct tcp *t);
/* Names are static; false past the last. */
bool tcp_counter(const struct tcp *t, size_t i, const char **name, uint64_t *value);

#endif
