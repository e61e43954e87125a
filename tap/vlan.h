/*
 * vlan.h - VLAN tags (IEEE 802.1Q 9): taken off a frame, so that the rest of this room sees
 * ordinary frames only, and put on again.
 *
 * A tag is four bytes between the addresses and the type: its own type, then priority and VLAN.
 * Of nested ones (802.1ad: a service tag around a customer's) two are carried; what is behind them
 * is looked at as it is, so a frame with a third one has no type that anybody knows.
 */
#ifndef PEAL_TAP_VLAN_H
#define PEAL_TAP_VLAN_H

#include "tap/eth.h"

enum {
    VLAN_TAG_LEN = 4,
    VLAN_TAGS_MAX = 2,
    VLAN_LEN_MAX = VLAN_TAGS_MAX * VLAN_TAG_LEN,
};

struct vlan_tags {
    size_t len;
    uint8_t bytes[VLAN_LEN_MAX]; /* outermost first; zero behind len */
};

/* The frame's addresses move up to its type: without tags it begins tags->len bytes later. */
void vlan_pull(struct vlan_tags *tags, uint8_t *frame, size_t len);
/* The inverse: returns where the frame begins now, tags->len bytes earlier, which are overwritten.
 */
uint8_t *vlan_push(const struct vlan_tags *tags, uint8_t *frame);
bool vlan_eq(const struct vlan_tags *a, const struct vlan_tags *b);

#endif
