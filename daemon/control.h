/*
 * control.h - the control socket: who may ask what, and the requests under way.
 *
 * The socket file has mode 0660. Every client is asked for its credentials by the kernel
 * (SO_PEERCRED, SO_PEERGROUPS): members of the socket's group may read; root, the user that peald
 * runs as and members of `operators` may change. There is no password and no network address.
 *
 * Limits: CONTROL_CLIENTS_MAX clients (a further one is turned away), one request of each at a
 * time, a whole request within 10 s, and CONTROL_UNSENT_MAX bytes that a client does not fetch
 * (it is cut off).
 */
#ifndef PEAL_DAEMON_CONTROL_H
#define PEAL_DAEMON_CONTROL_H

#include "daemon/protocol.h"

#include <uv.h>

struct daemon;
struct control;
struct request; /* valid until it is done, failed or cancelled */

/* Makes the socket and its directory. NULL with a sentence in why. */
struct control *control_open(struct daemon *d, const char *path, const char *operators,
                             char why[512]);
void control_close(struct control *c); /* cuts off everybody, removes the file; memory goes with the
                                         loop's next turn */
void control_set_operators(struct control *c, const char *operators);

/* Borrowed while the request is valid. */
const json_t *request_args(const struct request *r);
struct daemon *request_daemon(const struct request *r);

/* Both take the reference to the value. */
void request_item(struct request *r, json_t *item);
void request_done(struct request *r, json_t *result);
void request_fail(struct request *r, enum protocol_error e, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* For a request that is answered later: called when its client has gone; r is invalid then. */
void request_on_cancel(struct request *r, void (*cancel)(void *ctx), void *ctx);

#endif
