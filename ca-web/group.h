/*
 * group.h - groups: the network definition, the group key, the CA.
 *
 * The group key and the CA's seed are sealed (vault.h) and leave this file only into a blob or into
 * a signing function. What a group is called, its id, its key and its ranges never change; the IPv6
 * range follows from the id.
 */
#ifndef PEAL_CA_GROUP_H
#define PEAL_CA_GROUP_H

#include "ca-web/account.h"
#include "ca-web/desk.h"
#include "ca-web/issue.h"

enum {
    GROUP_ENDPOINTS_MAX = 16,
    GROUP_ENDPOINTS_SIZE = GROUP_ENDPOINTS_MAX * (NAME_MAX_LEN + 7) + 1,
    GROUP_LEASE_S = 24 * 3600,
    GROUP_CERTIFICATE_S = 30 * 86400,
    GROUP_LEASE_HOURS_MAX = 168,
    GROUP_CERTIFICATE_DAYS_MAX = 366,
    GROUP_PREFIX_MIN = 8,
    GROUP_PREFIX_MAX = 28,
};

struct group {
    int64_t row;
    char name[LABEL_MAX + 1];
    struct id id;
    char ipv4[NET_TEXT_SIZE], ipv6[NET_TEXT_SIZE]; /* ranges */
    char domain[NAME_MAX_LEN + 1];
    int64_t lease_s, certificate_s;
    int64_t version;  /* of the settings: one more with each change */
    bool members_see; /* each other, on the group's page */
    bool psk;         /* the group key is the handshake's psk as well */
    char bootstrap[GROUP_ENDPOINTS_SIZE], public_bootstrap[GROUP_ENDPOINTS_SIZE]; /* a,b,c */
};

/* What somebody wants; NULL is the default. */
struct group_wish {
    const char *name;
    const char *ipv4, *domain;
    const char *bootstrap, *public_bootstrap;
    const char *lease_hours, *certificate_days; /* whole numbers */
    bool members_see, psk;
};

/* By name in any case: OUT_NO_GROUP when there is none. Authorises nothing. */
enum outcome group_find(struct desk *d, const char *name, struct group *out);

/* The owner becomes a member as well. */
enum outcome group_add(struct desk *d, const struct group_wish *wish, const struct account *owner,
                       struct group *out);

/* What may change later. Everything in it is set; machines hear of it when they enrol or renew. */
struct group_edit {
    int64_t version; /* that the change starts from: OUT_CHANGED when it is not the present one */
    int64_t lease_hours, certificate_days;
    bool members_see;
    const char *bootstrap, *public_bootstrap;
};
/* OUT_BAD_NUMBER, OUT_BAD_ENDPOINT, OUT_CHANGED. VERB_GROUP_EDIT. */
enum outcome group_change(struct desk *d, const struct group *g, const struct group_edit *edit);

/* The group key, in clear; the CA that signs now, with its row in `authorities`. The caller wipes.
 */
enum outcome group_key(struct desk *d, const struct group *g, struct secret *out);
enum outcome group_authority(struct desk *d, const struct group *g, struct authority *out,
                             int64_t *row);

/* Makes another one that signs; there must be none that does. Inside a transaction. The caller
 * wipes. */
enum outcome group_authority_add(struct desk *d, const struct group *g, struct authority *out);

/* Every CA certificate of the group that is trusted now, the signing one first, as PEM. */
enum outcome group_chain(struct desk *d, const struct group *g, struct text *out);

#endif
