/*
 * proxy.h - what is said to an HTTP proxy and what it answers: CONNECT (RFC 9110 9.3.6). Text only.
 */
#ifndef PEAL_DAEMON_PROXY_H
#define PEAL_DAEMON_PROXY_H

#include "overlay/core/addr.h"

enum {
    PROXY_REQUEST_SIZE = 2 * ENDPOINT_TEXT_SIZE + 64,
    PROXY_REPLY_MAX = 4096, /* a longer head is refused */
};

enum proxy_answer { PROXY_MORE, PROXY_OPEN, PROXY_REFUSED };

/* The request that asks for a tunnel; returns its length. */
size_t proxy_request(char out[PROXY_REQUEST_SIZE], const struct endpoint *to);
/* Reads what has come so far. *head_len: where the tunnel begins, with PROXY_OPEN. */
enum proxy_answer proxy_reply(const char *text, size_t len, size_t *head_len);
/* The number in what it said, 100 to 599; 0: that was no HTTP. */
unsigned proxy_status(const char *text, size_t len);

#endif
