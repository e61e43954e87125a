/*
 * sibling.h - one more UDP socket on the address of another, so that each worker has its own: the
 * kernel shares out what arrives by its source, and a peer's packets stay with one worker
 * (SO_REUSEPORT, socket(7)). Replies leave from the same port, whoever sends them.
 *
 * The first socket is bound alone, so that a second daemon on the port still fails; only then is it
 * opened to siblings, which must be of the same user.
 */
#ifndef PEAL_TAP_SIBLING_H
#define PEAL_TAP_SIBLING_H

#include "overlay/core/err.h"

/* `fd` is bound; buffers are made as large as its. The caller closes what comes back. -errno when
 * the kernel cannot: then `fd` is to be shared. */
int sibling_open(int fd) MUST_USE;

#endif
