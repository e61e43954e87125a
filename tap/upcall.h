/*
 * upcall.h - what a worker hands to the control thread: a ring of items with one writer and one
 * reader, no lock, and a bell that wakes the reader.
 *
 * A full ring drops the newest item. Each kind has a share of the ring beyond which it is refused,
 * so that a flood of one kind leaves room for those that matter more: what strangers can send in
 * any number, and frames that wait for a session, never fill it.
 *
 * Waking: the writer rings after a round of items, and the bell's descriptor is readable until the
 * reader found all rings empty.
 */
#ifndef PEAL_TAP_UPCALL_H
#define PEAL_TAP_UPCALL_H

#include <stdatomic.h>

#include "tap/plane.h"

enum { UPCALL_RING_BYTES = 256 * 1024 }; /* of each worker; memory is touched as it fills */

struct bell {
    int fd; /* eventfd */
    _Atomic bool rung;
};

int bell_init(struct bell *b) MUST_USE; /* 0 or -errno */
void bell_close(struct bell *b);
void bell_ring(struct bell *b); /* any thread */
/* Silences it, before the reader looks for what came meanwhile. */
void bell_answer(struct bell *b);

struct upcall; /* one ring */

struct upcall *upcall_new(void); /* NULL when out of memory */
void upcall_free(struct upcall *u);

/* The writer: copies the item and its bytes. False when they do not fit into the share of its kind.
 */
bool upcall_put(struct upcall *u, const struct plane_item *item) MUST_USE;
/* The reader: the oldest item; its bytes lie in the ring until the next call. False when empty. */
bool upcall_take(struct upcall *u, struct plane_item *item) MUST_USE;

/* Order (fence.h). The reader: all that was taken has been dealt with. */
void upcall_settle(struct upcall *u);
/* The writer: up to where that is so; and up to where it wrote. */
size_t upcall_settled(const struct upcall *u);
size_t upcall_written(const struct upcall *u);

#endif
