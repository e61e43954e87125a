/*
 * metrics.h - the counters of `peal metrics` over HTTP on loopback, for Prometheus (`metrics` in
 * peald.conf). It knows one answer to any GET and speaks no more HTTP than that takes.
 *
 * Limits: METRICS_CLIENTS_MAX connections, a further one is turned away; 4 KiB and 5 s for a
 * request.
 */
#ifndef PEAL_DAEMON_METRICS_H
#define PEAL_DAEMON_METRICS_H

#include "overlay/core/addr.h"

struct daemon;
struct metrics;

/* NULL with the reason logged. */
struct metrics *metrics_open(struct daemon *d, const struct endpoint *at);
void metrics_close(struct metrics *m); /* memory goes with the loop's next turns */

#endif
