/*
 * log.h - lines for the operator on stderr, with systemd's priorities when the journal reads them.
 *
 * Nothing secret is ever given to it: no password, token, secret, blob or cookie, and requests are
 * named by their route, not by their path (a set-up link is a path). Bytes outside 0x20..0x7e
 * become '?'. Any thread.
 *
 * With log_json each line is one JSON object: "at" (RFC 3339, UTC), "level", "message", and of a
 * request its fields.
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

void log_json(void); /* called before there are threads */

/* A request that was answered. user: "" for a stranger. */
struct log_request {
    const char *method, *route, *address, *user;
    int status;
    long ms;
};
void log_request(enum log_priority priority, const struct log_request *r);

void log_line(enum log_priority priority, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
