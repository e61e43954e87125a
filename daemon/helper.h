/*
 * helper.h - runs peal-https (https.h) for one request to a group's service: starts it, hands it
 * the request, bounds its time and its answer, and tells how it ended.
 *
 * The loop is never blocked, and no HTTP is parsed here. Whatever the helper does, `done` comes
 * exactly once, and never from within helper_start; unless the helper was cancelled before.
 */
#ifndef PEAL_DAEMON_HELPER_H
#define PEAL_DAEMON_HELPER_H

#include "daemon/daemon.h"

struct helper;

/* The answer is borrowed during the call; NULL: there was none that could be read. */
typedef void helper_done(void *ctx, const json_t *answer);

/* Takes request over, which may be NULL (then there is no answer). The service's address, pins and
 * our proxy are added. NULL: out of memory. */
struct helper *helper_start(struct daemon *d, const struct blob *service, json_t *request,
                            helper_done *done, void *ctx);
/* `done` will not be called. */
void helper_cancel(struct helper *h);
/* Ends all that run; their `done` is called with no answer. */
void helper_abort_all(struct daemon *d);

/* The service's "error" of an answer, or what stands for it. NULL: the answer is good. */
struct helper_error {
    const char *code, *message; /* codes as in https.h; borrowed from the answer */
};
bool helper_failed(const json_t *answer, struct helper_error *out);

#endif
