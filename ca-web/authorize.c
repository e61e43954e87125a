#include "ca-web/authorize.h"

#include <string.h>

#include "ca-web/store.h"

/* What an actor is towards an object; several at once. */
enum role {
    ROLE_ANYONE = 1 << 0,
    ROLE_USER = 1 << 1, /* somebody is logged in */
    ROLE_SELF = 1 << 2, /* the object's user is the actor */
    ROLE_MEMBER = 1 << 3,
    ROLE_AUDITOR = 1 << 4,
    ROLE_APPROVER = 1 << 5,
    ROLE_ADMINISTRATOR = 1 << 6,
    ROLE_OWNER = 1 << 7,
    ROLE_SERVICE = 1 << 8, /* service administrator */
    ROLE_MACHINE = 1 << 9,
    ROLE_CONSOLE = 1 << 10,
    ROLE_SEEING = 1 << 11,   /* a member of a group whose members see each other */
    ROLE_SURVEYOR = 1 << 12, /* a machine of somebody who has a role in the group */
};

enum {
    ABOVE = ROLE_SERVICE | ROLE_CONSOLE,
    AUDITS = ROLE_AUDITOR | ROLE_ADMINISTRATOR | ROLE_OWNER | ABOVE,
    APPROVES = ROLE_APPROVER | ROLE_ADMINISTRATOR | ROLE_OWNER | ABOVE,
    ROLES_GIVEN = ROLE_AUDITOR | ROLE_APPROVER | ROLE_ADMINISTRATOR | ROLE_OWNER,
    ADMINISTERS = ROLE_ADMINISTRATOR | ROLE_OWNER | ABOVE,
};

/* Allowed for an actor with one role of `any`, or with every role of `all`. */
static const struct rule {
    const char *text;
    unsigned any, all;
    enum scope scope;
} rules[VERB_COUNT] = {
    [VERB_REGISTER] = {"user.register", ROLE_ANYONE, 0, SCOPE_NONE},
    [VERB_SETUP] = {"user.setup", ROLE_ANYONE, 0,
                    SCOPE_NONE}, /* the link's token is checked by the doer */
    [VERB_USER_ADD] = {"user.add", ABOVE, 0, SCOPE_NONE},
    [VERB_USER_EDIT] = {"user.edit", ROLE_CONSOLE, ROLE_USER | ROLE_SELF, SCOPE_NONE},
    [VERB_USER_LIST] = {"user.list", ABOVE, 0, SCOPE_NONE},
    [VERB_ADMIN_SET] = {"admin.set", ABOVE, 0, SCOPE_NONE},
    [VERB_TOKEN_MAKE] = {"token.make", 0, ROLE_USER | ROLE_SELF, SCOPE_NONE},
    [VERB_TOKEN_END] = {"token.end", 0, ROLE_USER | ROLE_SELF, SCOPE_NONE},
    [VERB_GROUP_ADD] = {"group.add", ABOVE, 0, SCOPE_MANAGE},
    [VERB_GROUP_ASK] = {"group.ask", ROLE_USER | ROLE_CONSOLE, 0, SCOPE_READ},
    [VERB_GROUP_LIST] = {"group.list", ABOVE, 0, SCOPE_READ},
    [VERB_MEMBER_LIST] = {"member.list", AUDITS | APPROVES, 0, SCOPE_READ},
    [VERB_MEMBER_SEE] = {"member.see", AUDITS | APPROVES | ROLE_SEEING, 0, SCOPE_READ},
    [VERB_MEMBER_REQUEST] = {"member.request", ROLE_CONSOLE, ROLE_USER | ROLE_SELF, SCOPE_MEMBERS},
    [VERB_MEMBER_APPROVE] = {"member.approve", APPROVES, 0, SCOPE_MEMBERS},
    [VERB_MEMBER_DENY] = {"member.deny", APPROVES, 0, SCOPE_MEMBERS},
    [VERB_MEMBER_REVOKE] = {"member.revoke", ADMINISTERS, 0, SCOPE_MEMBERS},
    [VERB_MACHINE_REVOKE] = {"machine.revoke", ADMINISTERS, ROLE_USER | ROLE_SELF | ROLE_MEMBER,
                             SCOPE_MACHINES},
    [VERB_MACHINE_LOST] = {"machine.lost", 0, ROLE_USER | ROLE_SELF | ROLE_MEMBER, SCOPE_MACHINES},
    [VERB_ROLE_SET] = {"role.set", ROLE_OWNER | ABOVE, 0, SCOPE_MANAGE},
    [VERB_INVITE_LIST] = {"invite.list", APPROVES, 0, SCOPE_READ},
    [VERB_INVITE_MAKE] = {"invite.make", APPROVES, 0, SCOPE_MEMBERS},
    [VERB_INVITE_END] = {"invite.end", APPROVES, 0, SCOPE_MEMBERS},
    [VERB_INVITE_USE] = {"invite.use", 0, ROLE_USER | ROLE_SELF,
                         SCOPE_NONE}, /* and the link's token */
    [VERB_GROUP_EDIT] = {"group.edit", ADMINISTERS, 0, SCOPE_MANAGE},
    [VERB_CA_ROLL] = {"ca.roll", ROLE_OWNER | ABOVE, 0, SCOPE_MANAGE},
    [VERB_AUDIT_READ] = {"audit.read", AUDITS, 0, SCOPE_READ},
    [VERB_BLOB_MAKE] = {"blob.make", ROLE_CONSOLE, ROLE_USER | ROLE_SELF | ROLE_MEMBER,
                        SCOPE_MACHINES},
    [VERB_ENROLL] = {"machine.enroll", ROLE_MACHINE, 0, SCOPE_NONE},
    [VERB_RENEW] = {"machine.renew", ROLE_MACHINE, 0, SCOPE_NONE},
    [VERB_REMOVALS_TELL] = {"removals.tell", ROLE_MACHINE, 0, SCOPE_NONE},
    [VERB_REMOVALS_READ] = {"removals.read", ROLE_ANYONE, 0, SCOPE_READ},
    [VERB_MAP_TELL] = {"map.tell", ROLE_SURVEYOR, 0, SCOPE_NONE},
    [VERB_MAP_READ] = {"map.read", AUDITS | APPROVES, 0, SCOPE_READ},
};

const char *verb_text(enum verb verb)
{
    CHECK((unsigned)verb < VERB_COUNT && rules[verb].text);
    return rules[verb].text;
}

static unsigned role_named(const char *name)
{
    static const struct {
        const char *name;
        unsigned role;
    } names[] = {
        {"owner", ROLE_OWNER},
        {"administrator", ROLE_ADMINISTRATOR},
        {"approver", ROLE_APPROVER},
        {"auditor", ROLE_AUDITOR},
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (!strcmp(name, names[i].name))
            return names[i].role;
    return 0;
}

static unsigned roles_in_group(struct store *s, int64_t user_row, int64_t group_row)
{
    unsigned held = 0;
    struct query q;

    q = store_ask(s, "SELECT role FROM roles WHERE group_row = ?1 AND user_row = ?2",
                  VALUES(v_int(group_row), v_int(user_row)));
    while (query_row(&q))
        held |= role_named(query_text(&q, 0));
    int64_t sees = store_int(s, -1,
                             "SELECT g.members_see FROM members m"
                             " JOIN groups g ON g.id = m.group_row WHERE m.group_row = ?1"
                             " AND m.user_row = ?2 AND m.state = 'approved'",
                             VALUES(v_int(group_row), v_int(user_row)));
    if (sees >= 0)
        held |= sees ? ROLE_MEMBER | ROLE_SEEING : ROLE_MEMBER;
    return held;
}

static unsigned roles_of(struct store *s, const struct actor *actor, struct object object)
{
    unsigned held = ROLE_ANYONE;

    switch (actor->kind) {
    case ACTOR_STRANGER:
        return held;
    case ACTOR_MACHINE: /* never its member's roles themselves: it does nothing in his name */
        if (actor->row && (roles_in_group(s, actor->row, object.group_row) & ROLES_GIVEN))
            held |= ROLE_SURVEYOR;
        return held | ROLE_MACHINE;
    case ACTOR_CONSOLE:
        return held | ROLE_CONSOLE;
    case ACTOR_USER:
        break;
    }
    held |= ROLE_USER;
    if (store_int(s, 0, "SELECT admin FROM users WHERE id = ?1", VALUES(v_int(actor->row))))
        held |= ROLE_SERVICE;
    if (object.user_row == actor->row)
        held |= ROLE_SELF;
    if (object.group_row)
        held |= roles_in_group(s, actor->row, object.group_row);
    return held;
}

/* A token never does more than it was made for, whatever its user may. */
static bool token_covers(const struct actor *actor, enum verb verb, struct object object)
{
    enum scope scope = rules[verb].scope;

    if (!actor->by_token || verb == VERB_GROUP_ASK)
        return true;
    return scope < SCOPE_COUNT && (actor->scopes & 1u << scope) &&
           (!actor->only_group || object.group_row == actor->only_group);
}

enum outcome authorize(struct store *s, const struct actor *actor, enum verb verb,
                       struct object object)
{
    CHECK((unsigned)verb < VERB_COUNT && rules[verb].text);
    const struct rule *rule = &rules[verb];
    unsigned held = roles_of(s, actor, object);

    if (!token_covers(actor, verb, object))
        return OUT_NOT_PERMITTED;
    if ((held & rule->any) || (rule->all && (held & rule->all) == rule->all))
        return OUT_OK;
    return actor->kind == ACTOR_STRANGER ? OUT_NOT_LOGGED_IN : OUT_NOT_PERMITTED;
}
