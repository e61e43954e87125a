/*
 * log.h - peald's log: one line an event on stderr, with systemd's <N> priorities when stderr is
 * the journal (JOURNAL_STREAM names it; sd-daemon(3)), else with the time of day and the level.
 *
 * Never carries secrets, blobs or inner packets. Bytes outside printable ASCII become '?', so
 * nothing that a peer sent can forge a line. Only the control thread logs.
 */
#ifndef PEAL_DAEMON_LOG_H
#define PEAL_DAEMON_LOG_H

#include "overlay/core/env.h"

void log_start(void);
void log_set_level(enum log_level level);
enum log_level log_get_level(void);

/* group: put before the text with a colon; NULL for what concerns the whole daemon. */
void log_write(enum log_level level, const char *group, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
