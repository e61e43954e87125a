/*
 * relay.h - relay packets in the data plane, private to this room: those of others go on by the
 * snapshot's legs, in the batches they came in and as joined as they came; what is inside of one
 * that ends here is for inbound.c.
 *
 * The header (8 bytes: type, zero, channel) is drawn in overlay/channel.h. Nothing is opened here.
 * What fits no leg exactly, an address that changed a moment ago for instance, is left to the
 * control thread, which knows all paths of a session and drops what is nobody's.
 */
#ifndef PEAL_TAP_RELAY_H
#define PEAL_TAP_RELAY_H

#include "tap/worker.h"

enum relay_verdict {
    RELAY_GONE,   /* forwarded, or dropped and counted */
    RELAY_INNER,  /* ours: what is behind RELAY_HEADER_LEN bytes */
    RELAY_PUBLIC, /* the same, by a leg of the public overlay */
    RELAY_UNKNOWN /* the control thread's */
};

void relay_header_put(uint8_t *packet, uint32_t channel);
/* `conn`: it came over this connection, behind its length; 0: by UDP. Forwarded packets get the
 * next header where they are and are lent to the batch: the caller flushes it before it receives
 * again.
 */
enum relay_verdict relay_in(struct worker *w, const struct endpoint *from, uint32_t conn,
                            uint8_t *packet, size_t len);

#endif
