/*
 * page.h - the frame of every page, and the pieces that pages are made of.
 *
 * Pages work without scripts: links, forms, and a redirect after each change. All text goes through
 * html.h.
 */
#ifndef PEAL_CA_PAGE_H
#define PEAL_CA_PAGE_H

#include "ca-web/html.h"
#include "ca-web/visit.h"

/* Everything up to the inside of <main>, with title as the <h1>. */
void page_begin(struct visit *v, int status, const char *title);
void page_end(struct visit *v);

/* An error as a page of its own, or as JSON for a program; a stranger who ought to log in finds the
 * form on it. */
void page_failure(struct visit *v, enum outcome o);

/* A notice above the content: what went wrong (OUT_OK: nothing is written), or what was done. */
void page_complaint(struct visit *v, enum outcome o);
void page_notice(struct visit *v, const char *text);

/* A form that posts to `action`, with its token; ended by page_form_end's button. */
void page_form_begin(struct visit *v, const char *action, const char *css_class);
void page_form_end(struct visit *v, const char *button, const char *css_class);
struct field {
    const char *name, *label, *type; /* type of <input>; "textarea" */
    const char *value, *hint, *autocomplete;
    bool optional;
};
void page_field(struct visit *v, const struct field *field);
void page_hidden(struct visit *v, const char *name, const char *value);

void page_card_begin(struct visit *v, const char *heading);
void page_card_end(struct visit *v);
/* One <dt>/<dd> of a <dl>. */
void page_fact(struct visit *v, const char *name, const char *value);
/* A link that looks like a button. */
void page_button(struct visit *v, const char *text, const char *path);
/* A list to choose one of; choices end with {NULL}. */
struct choice {
    const char *value, *label;
};
void page_choice(struct visit *v, const char *name, const char *label, const struct choice *choices,
                 const char *chosen, const char *hint);
/* Tables that become lists of facts on a phone: each cell says its column's name. */
void page_table_begin(struct visit *v, const char *const *heads, size_t n);
void page_table_end(struct visit *v);
void page_cell_begin(struct visit *v, const char *label);
void page_cell_end(struct visit *v);
void page_cell(struct visit *v, const char *label, const char *text);
void page_cell_time(struct visit *v, const char *label, int64_t unix_s);
void page_cell_number(struct visit *v, const char *label, int64_t number);
/* Percent-encoded for a query string. */
void page_encode(char *out, size_t size, const char *text);
/* What ?done=WORD says, by a table that ends with {NULL}; other words say nothing. */
struct done {
    const char *word, *text;
};
void page_done(struct visit *v, const struct done *table);
/* Whole numbers of forms: false when empty, not a number, or outside. */
bool page_number(const char *text, int64_t least, int64_t most, int64_t *out);
/* <time>: 21 Nov 2026, 12:05 UTC. 0 writes a dash. */
void page_time(struct visit *v, int64_t unix_s);
void page_badge(struct visit *v, const char *text, const char *kind);

/* page_entry.c: log in, register, set up */
void page_start(struct visit *v);
void page_log_in(struct visit *v);
void page_log_in_code(struct visit *v);
void page_log_out(struct visit *v);
void page_register(struct visit *v);
void page_setup(struct visit *v);
void page_setup_post(struct visit *v);
void page_login_form(struct visit *v, const char *next);
/* Both forms beside each other; `next` is where one goes from there. */
void page_entry_forms(struct visit *v, enum outcome log_in, enum outcome registering,
                      const char *next);
/* A password of this account, counted and limited like a log-in. OUT_TOO_MANY has set Retry-After.
 */
enum outcome entry_password(struct visit *v, const char *name, const char *password,
                            struct account *out);
/* Begins a session and goes on to `next`, or to the groups. */
void entry_enter(struct visit *v, const struct account *account, const char *next);
extern const struct field page_field_password;
/* page_account.c: oneself: password, second factor, sessions, tokens, machines */
void page_account(struct visit *v);
void page_account_post(struct visit *v);
void page_sessions_post(struct visit *v);
void page_tokens(struct visit *v);
void page_tokens_post(struct visit *v);
void page_token_end_post(struct visit *v);
void page_factor(struct visit *v);
void page_factor_post(struct visit *v);
void page_factor_off_post(struct visit *v);
void page_machines(struct visit *v);
/* page_service.c: accounts, for service administrators */
void page_service(struct visit *v);
void page_administrators_post(struct visit *v);
/* page_groups.c: the list, making one */
extern const struct choice page_seeing[]; /* who may see whom; the second: members each other */
void page_groups(struct visit *v);
void page_new_group(struct visit *v);
void page_new_group_post(struct visit *v);
/* page_group.c: one group's requests and members */
void page_group(struct visit *v);
void page_approve_post(struct visit *v);
void page_deny_post(struct visit *v);
/* page_join.c: asking to join, and the file once one is in */
void page_join(struct visit *v);
void page_join_post(struct visit *v);
void page_blob(struct visit *v);
void page_blob_post(struct visit *v);
/* page_member.c: one member with his machines; removing the one or the other */
void page_member(struct visit *v);
void page_revoke(struct visit *v);
void page_revoke_post(struct visit *v);
void page_machine(struct visit *v);
void page_machine_post(struct visit *v);
void page_machine_lost_post(struct visit *v);
/* page_roles.c */
void page_roles(struct visit *v);
void page_roles_post(struct visit *v);
/* page_invite.c: making invitations, and using one */
void page_invitations(struct visit *v);
void page_invitations_post(struct visit *v);
void page_invitation_end_post(struct visit *v);
void page_invite(struct visit *v);
void page_invite_post(struct visit *v);
/* page_audit.c */
void page_audit(struct visit *v);
void page_audit_csv(struct visit *v);
void page_audit_json(struct visit *v);
/* page_settings.c */
void page_settings(struct visit *v);
void page_settings_post(struct visit *v);
void page_authority_post(struct visit *v);

void page_style(struct visit *v);

#endif
