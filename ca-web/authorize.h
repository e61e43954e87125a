/*
 * authorize.h - who may do what: the one place that decides.
 *
 * Every operation asks authorize(actor, verb, object) before it looks at anything else. A verb's
 * rule is a row of the table in authorize.c; the roles that an actor holds towards an object are
 * read from the database at that moment, inside the caller's transaction where there is one, never
 * from a cache. A new role, a new verb or a token with a narrower scope is a row or a mask here,
 * nothing elsewhere.
 */
#ifndef PEAL_CA_AUTHORIZE_H
#define PEAL_CA_AUTHORIZE_H

#include <stdbool.h>
#include <stdint.h>

#include "ca-web/outcome.h"
#include "overlay/core/addr.h"

struct store;

enum actor_kind {
    ACTOR_STRANGER, /* nobody is logged in */
    ACTOR_USER,     /* a session of the user `row` */
    ACTOR_MACHINE,  /* proved itself by an enrolment secret or an enrolled key */
    ACTOR_CONSOLE,  /* the command line on the machine itself: whoever can read the master key */
};

struct actor {
    enum actor_kind kind;
    int64_t row; /* of users; a machine may be its member's; else 0 */
    char name[LABEL_MAX + 1];
    char address[ADDR_TEXT_SIZE]; /* where the request came from; "" on the console */
    bool by_token;                /* a program with an API token of the user's: */
    unsigned scopes;              /* may only what 1 << enum scope says */
    int64_t only_group;           /* and only in this group; 0: any */
};

/* What a token may be for. A verb is in one scope or in none. */
enum scope {
    SCOPE_READ,     /* members, audit log, settings */
    SCOPE_MEMBERS,  /* ask, approve, deny, remove, invite */
    SCOPE_MACHINES, /* files for one's own machines, and removing machines */
    SCOPE_MANAGE,   /* groups, settings, roles */
    SCOPE_COUNT,
    SCOPE_NONE = SCOPE_COUNT, /* no token does this */
};

/* What the verb is done to; 0 where a verb has none. */
struct object {
    int64_t group_row;
    int64_t user_row;
};

enum verb {
    VERB_REGISTER,
    VERB_SETUP,
    VERB_USER_ADD,
    VERB_USER_EDIT, /* password of the object's user */
    VERB_USER_LIST, /* every account of the service, and what was done to them */
    VERB_ADMIN_SET,
    VERB_TOKEN_MAKE,
    VERB_TOKEN_END,
    VERB_GROUP_ADD,
    VERB_GROUP_ASK,      /* to be let in; also to see that the group exists */
    VERB_GROUP_LIST,     /* every group of the service */
    VERB_MEMBER_LIST,    /* with all that is known of them */
    VERB_MEMBER_SEE,     /* who they are */
    VERB_MEMBER_REQUEST, /* for the object's user */
    VERB_MEMBER_APPROVE,
    VERB_MEMBER_DENY,
    VERB_MEMBER_REVOKE,
    VERB_MACHINE_REVOKE, /* one machine of the object's user */
    VERB_MACHINE_LOST,   /* the same, reported by himself */
    VERB_ROLE_SET,
    VERB_INVITE_LIST,
    VERB_INVITE_MAKE,
    VERB_INVITE_END,
    VERB_INVITE_USE, /* for the object's user */
    VERB_GROUP_EDIT,
    VERB_CA_ROLL, /* another CA signs, or the one before has ended */
    VERB_AUDIT_READ,
    VERB_BLOB_MAKE, /* for the object's user */
    VERB_ENROLL,
    VERB_RENEW,
    VERB_REMOVALS_TELL, /* that one knows of them */
    VERB_REMOVALS_READ, /* CRL and events: they are signed and hold no secret */
    VERB_MAP_TELL,      /* what the ring looks like to one */
    VERB_MAP_READ,
    VERB_COUNT,
};

/* OUT_OK, OUT_NOT_LOGGED_IN (a stranger who might be let through after logging in), or
 * OUT_NOT_PERMITTED. */
enum outcome authorize(struct store *s, const struct actor *actor, enum verb verb,
                       struct object object);

/* "member.approve": for the audit log. */
const char *verb_text(enum verb verb);

#endif
