/*
 * backlog.h - how much may wait below us: what the socket sent, but the interface's queue and
 * device have not got rid of.
 *
 * The kernel takes as much as the socket's buffer holds, and a slow link needs long for that; a
 * ping through the same tunnel waits behind it. So the backlog is looked at with every batch. As in
 * CoDel (RFC 8289 3) what counts is the least that waited during an interval: a burst passes, a
 * standing queue does not. When that is worth more than TARGET at the rate that the link showed,
 * the backlog is held to LIMIT; what does not fit is dropped by whoever sends, and the senders
 * behind us slow down. That they let the link run dry for moments is no reason for more room as
 * long as it carries what it did; when it all but runs dry and carries less, or more, the limit
 * grows again, until there is none.
 *
 * Where the queue is not this machine's (a modem's, a router's) nothing is seen and nothing done.
 * No I/O here: the numbers come from the caller. One thread.
 */
#ifndef PEAL_TAP_BACKLOG_H
#define PEAL_TAP_BACKLOG_H

#include <stddef.h>

#include "overlay/core/env.h"

struct backlog {
    usec begin_us; /* of the interval; 0: none yet */
    size_t before; /* waited when it began */
    size_t sent;   /* in the interval */
    size_t least;  /* that waited in the interval */
    size_t rate;   /* bytes an interval that the held link carries */
    size_t limit;  /* BACKLOG_NO_LIMIT: none */
};

#define BACKLOG_NO_LIMIT SIZE_MAX

void backlog_init(struct backlog *b);
/* `waiting` bytes have not left yet. How many more may be sent now. */
size_t backlog_room(struct backlog *b, size_t waiting, usec now_us);
void backlog_sent(struct backlog *b, size_t sent);

#endif
