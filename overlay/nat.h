/*
 * nat.h - what is known of the NAT that we are behind, from what others report: how it maps, how it
 * filters, whether it keeps ports (RFC 4787 4 and 5, RFC 5780 4).
 *
 * A report says at which endpoint a remote that we send to sees us. Reports of several remotes tell
 * how mappings depend on the remote: all alike, endpoint-independent; else two ports of one address
 * tell whether the port counts. Remotes on our own LAN are behind the same NAT and know nothing of
 * it: they count only where nobody else reports.
 *
 * Looks at lists and keeps nothing: endpoints.c has the reports.
 */
#ifndef PEAL_OVERLAY_NAT_H
#define PEAL_OVERLAY_NAT_H

#include "overlay/overlay.h"

struct nat_report {
    struct endpoint by, us;
    bool lan; /* `by` is on a LAN of ours */
    usec since_us;
};

/* Mapping and port preservation out of n reports, for one that has `own` addresses. */
void nat_judge(const struct nat_report *v, size_t n, const struct endpoint *own, size_t own_count,
               struct overlay_nat *out);

/* The NAT has one mapping for each remote, and takes port after port: those that it is likely to
 * take next. Told from the ports that others see, which are as near to each other as no random ones
 * are. Returns how many, at most max; 0: it is not such a NAT, or too few report. */
size_t nat_predict(const struct nat_report *v, size_t n, struct endpoint *out, size_t max);

#endif
