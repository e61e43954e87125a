/*
 * pen.h - messages that wait for a certificate.
 *
 * A message with a record whose writer's certificate is not known waits here while the
 * certificate is fetched from whoever sent the message, at most PEN_WAIT_US; then it is handled
 * after all, without the records that could not be judged. At most PEN_MAX wait, the victim is the
 * oldest.
 */
#ifndef PEAL_DHT_PEN_H
#define PEAL_DHT_PEN_H

#include "dht/parcel.h"

enum { PEN_MAX = 32, PEN_ASKED_MAX = 64 };
#define PEN_WAIT_US SEC(2)
#define PEN_ASK_AGAIN_US MSEC(400)

struct penned;
struct pen_asked;
struct pen {
    struct penned **waiting; /* PEN_MAX, oldest first; NULL while none does */
    size_t count;
    struct pen_asked *asked; /* ring of what was lately asked for; only while somebody waits */
    size_t asked_next;
    usec ends_us; /* of the message that is being handled again; 0: it is new */
};

void pen_clear(struct pen *pen);
/* The message being handled needs certificates that we lack: true, and it will be handled again.
 * False: all there, or waited long enough. */
bool pen_holds(struct dht *d, const struct item *items, size_t n);
void pen_tick(struct dht *d);
usec pen_deadline(const struct pen *pen);

/* Message handlers. */
void pen_on_cert_get(struct dht *d, const struct overlay_from *from, uint64_t id, struct reader *r);
void pen_on_cert(struct dht *d, const struct overlay_from *from, uint64_t id, struct reader *r);

#endif
