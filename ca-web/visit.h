/*
 * visit.h - one request on its way through the service: what a route's handler works with.
 *
 * route.c fills it: the host, origin, media type and form token have been checked and the session
 * looked up before a handler runs.
 */
#ifndef PEAL_CA_VISIT_H
#define PEAL_CA_VISIT_H

#include "ca-web/form.h"
#include "ca-web/service.h"
#include "ca-web/session.h"

enum { VISIT_PARAMS_MAX = 2, VISIT_PARAM_SIZE = 128 };

struct visit {
    struct service *service;
    const struct request *request;
    struct response *response;
    struct desk desk;
    char params[VISIT_PARAMS_MAX][VISIT_PARAM_SIZE]; /* what the route's {}s matched */
    bool api;                                        /* errors are JSON */
    struct form form, query;          /* the form is empty but for a POST of a page */
    char session[SESSION_TOKEN_SIZE]; /* the cookie that forms hang on: the session, or a stranger's
                                       */
    char csrf[CSRF_SIZE];
};

/* Counts what was not done, by why. */
void visit_refused(struct visit *v, enum outcome o);
/* API handlers: the JSON body, or an error. */
void visit_json(struct visit *v, enum outcome o);
/* Page handlers: 303 to a path of ours. */
void visit_redirect(struct visit *v, const char *path);

/* api.c */
void api_enroll(struct visit *v);
void api_renew(struct visit *v);
void api_crl(struct visit *v);
void api_events(struct visit *v);
void api_known(struct visit *v);
void api_map(struct visit *v);
void api_health(struct visit *v);
void api_metrics(struct visit *v);

/* api_v1.c */
void v1_openapi(struct visit *v);
void v1_groups(struct visit *v);
void v1_group_add(struct visit *v);
void v1_group(struct visit *v);
void v1_group_edit(struct visit *v);
void v1_authority(struct visit *v);
void v1_authority_post(struct visit *v);
void v1_spread(struct visit *v);
void v1_map(struct visit *v);
void v1_members(struct visit *v);
void v1_member(struct visit *v);
void v1_request(struct visit *v);
void v1_approve(struct visit *v);
void v1_deny(struct visit *v);
void v1_revoke(struct visit *v);
void v1_role(struct visit *v);
void v1_machine_revoke(struct visit *v);
void v1_machine_lost(struct visit *v);
void v1_invitations(struct visit *v);
void v1_invite(struct visit *v);
void v1_invitation_end(struct visit *v);

/* route.c, for api_metrics: the route's pattern, NULL past the last. */
const char *route_pattern(size_t i);
const char *route_method(size_t i);
int route_code(size_t i); /* the status codes that are counted; 0 past the last */

#endif
