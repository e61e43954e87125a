/*
 * frame.h - packets in a stream: each behind its length in two bytes, big-endian (design 3). Cuts
 * what a stream brings, in whatever pieces, back into packets. No I/O.
 *
 *   +--------+--------+-----------------+
 *   |     length      | packet ...
 *   +--------+--------+-----------------+
 *
 * A length of 0 or above FRAME_PACKET_MAX is no mistake of ours: the stream is garbage from there
 * on, for ever.
 */
#ifndef PEAL_DAEMON_FRAME_H
#define PEAL_DAEMON_FRAME_H

#include "overlay/core/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FRAME_HEADER_LEN = STREAM_HEADER_LEN, FRAME_PACKET_MAX = STREAM_PACKET_MAX };

struct frames {
    size_t len; /* of what of a packet has come */
    bool garbage;
    uint8_t bytes[FRAME_HEADER_LEN + FRAME_PACKET_MAX];
};

/* Takes bytes up to the end of a packet and moves *bytes and *len past them. The packet and its
 * length when one is whole; it may be changed and is gone with the next call. NULL: more is needed,
 * or the stream is garbage. */
uint8_t *frames_next(struct frames *f, const uint8_t **bytes, size_t *len, size_t *packet_len);
bool frames_garbage(const struct frames *f);
/* What came of the packet that is not whole yet. Borrowed. */
const uint8_t *frames_begun(const struct frames *f, size_t *len);

#endif
