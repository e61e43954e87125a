/*
 * log.h - lines for the operator on stderr, with systemd's priorities when the journal reads them.
 *
 * Nothing secret is ever given to it: no password, token, secret, blob or cookie, and requests are
 * named by their route, not by their path (a set-up link is a path). Bytes outside 0x20..0x7e
 * become '?'. Any thread.
 */
#ifndef PEAL_CA_LOG_H
#define PEAL_CA_LOG_H

enum log_priority {
    LOG_ERROR = 3,
    LOG_WARNING = 4,
    LOG_NOTICE = 5,
    LOG_INFO = 6
}; /* sd-daemon(3) */

/* What is less urgent than `least` is dropped from now on. Called before there are threads. */
void log_limit(enum log_priority least);

void log_line(enum log_priority priority, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
