#include "ca-web/mail.h"

#include <stdio.h>
#include <string.h>

#include "ca-web/blob.h"
#include "ca-web/log.h"

static bool configured(struct desk *d)
{
    char from[EMAIL_MAX + 1];
    return store_get_meta(d->store, "mail_from", from, sizeof from) && *from;
}

static void queue(struct desk *d, const char *to, const char *subject, const char *body)
{
    int put = store_run(
        d->store,
        "INSERT INTO mails (recipient, subject, body, made_s, next_s)"
        " SELECT ?1, ?2, ?3, ?4, ?4 WHERE (SELECT count(*) FROM mails) < ?5",
        VALUES(v_text(to), v_text(subject), v_text(body), v_int(d->now_s), v_int(MAILS_MAX)));
    if (put != 1)
        log_line(LOG_WARNING, "mail: a notice is dropped, too many wait");
}

/* "https://host:port/groups/NAME" */
static void group_link(struct desk *d, const struct group *g, char *out, size_t size)
{
    struct server server = {0};

    (void)!server_load(d, &server);
    snprintf(out, size, "%s/groups/%s", server.url, g->name);
}

void mail_request(struct desk *d, const struct group *g, const char *user, enum mail_wish wish)
{
    const char *asks =
        wish == MAIL_TO_JOIN ? "asks to join" : "asks to add a machine, after one was removed, to";
    char subject[4 * LABEL_MAX], body[SERVER_URL_MAX + 4 * LABEL_MAX + 128];
    char link[SERVER_URL_MAX + LABEL_MAX + 16], to[MAIL_DECIDERS_MAX][EMAIL_MAX + 1];
    size_t count = 0;

    if (!configured(d))
        return;
    struct query q = store_ask(d->store,
                               "SELECT u.email FROM roles r JOIN users u ON u.id = r.user_row"
                               " WHERE r.group_row = ?1 AND r.role <> 'auditor'"
                               " ORDER BY u.id LIMIT ?2",
                               VALUES(v_int(g->row), v_int(MAIL_DECIDERS_MAX)));
    while (query_row(&q))
        query_copy_text(&q, 0, to[count++], sizeof to[0]);
    group_link(d, g, link, sizeof link);
    snprintf(subject, sizeof subject, "%s %s %s", user, asks, g->name);
    snprintf(body, sizeof body, "%s %s the group %s. Approve or deny it here:\n\n%s\n", user, asks,
             g->name, link);
    for (size_t i = 0; i < count; i++)
        queue(d, to[i], subject, body);
}

void mail_decision(struct desk *d, const struct group *g, const struct account *user,
                   enum verb verb, enum mail_wish wish)
{
    char subject[2 * LABEL_MAX], body[SERVER_URL_MAX + 2 * LABEL_MAX + 128];
    char link[SERVER_URL_MAX + LABEL_MAX + 16];
    const char *approved =
        wish == MAIL_TO_JOIN ? "You are a member of" : "You may add another machine to";
    const char *what = verb == VERB_MEMBER_APPROVE  ? approved
                       : verb == VERB_MEMBER_DENY   ? "Your request was denied by"
                       : verb == VERB_MEMBER_REVOKE ? "You were removed from"
                                                    : "A machine of yours was removed from";

    if (!configured(d))
        return;
    group_link(d, g, link, sizeof link);
    snprintf(subject, sizeof subject, "%s %s", what, g->name);
    snprintf(body, sizeof body, "%s the group %s. More is here:\n\n%s\n", what, g->name, link);
    queue(d, user->email, subject, body);
}
