/*
 * outcome.h - how a thing that somebody asked for ended: one word, which the command line turns
 * into an exit status, the HTTP interface into a status and an error code, and a page into a
 * sentence.
 *
 * The codes are a promise to scripts and to peald; outcomes are only added.
 */
#ifndef PEAL_CA_OUTCOME_H
#define PEAL_CA_OUTCOME_H

enum outcome {
    OUT_OK,
    /* what was asked for makes no sense */
    OUT_BAD_REQUEST,
    OUT_BAD_NAME,
    OUT_BAD_EMAIL,
    OUT_BAD_PASSWORD,
    OUT_BAD_RANGE,
    OUT_BAD_DOMAIN,
    OUT_BAD_ENDPOINT,
    OUT_BAD_TEXT,
    OUT_BAD_CSR,
    OUT_BAD_URL,
    OUT_BAD_ROLE,
    OUT_BAD_NUMBER,
    OUT_TOO_LONG,
    OUT_BAD_SCOPE,
    OUT_BAD_CLOCK,
    /* who asks */
    OUT_NOT_LOGGED_IN,
    OUT_WRONG_LOGIN,
    OUT_WRONG_CODE,
    OUT_LATE_CODE,
    OUT_BAD_TOKEN,
    OUT_NOT_PERMITTED,
    OUT_BAD_CSRF,
    OUT_BAD_ORIGIN,
    OUT_TOO_MANY,
    /* what it is about */
    OUT_NO_PAGE,
    OUT_NO_USER,
    OUT_NO_GROUP,
    OUT_NO_REQUEST,
    OUT_NOT_MEMBER,
    OUT_HELD,
    OUT_NO_ADDRESS,
    OUT_NO_MACHINE,
    OUT_NO_INVITATION,
    OUT_NO_SESSION,
    OUT_NO_TOKEN,
    OUT_USER_EXISTS,
    OUT_GROUP_EXISTS,
    OUT_ALREADY_MEMBER,
    OUT_DENY_MEMBER,
    OUT_LAST_OWNER,
    OUT_LAST_ADMIN,
    OUT_CHANGED,
    OUT_NO_VERSION,
    OUT_SETUP_DONE,
    /* enrolment and renewal */
    OUT_BAD_SECRET,
    OUT_SECRET_USED,
    OUT_SECRET_EXPIRED,
    OUT_NOT_ENROLLED,
    OUT_KEY_IN_USE,
    OUT_REVOKED,
    OUT_TOO_OLD,
    OUT_FULL,
    OUT_FULL_AUTHORITIES,
    OUT_NOTHING_OLD,
    OUT_FULL_INVITATIONS,
    OUT_FULL_TOKENS,
    /* HTTP itself */
    OUT_BAD_METHOD,
    OUT_BAD_LENGTH,
    OUT_BAD_TYPE,
    OUT_BAD_HOST,
    /* ours */
    OUT_BUSY,
    OUT_INTERNAL,
    OUT_COUNT,
};

enum exit_status {
    EXIT_STATUS_OK = 0,
    EXIT_STATUS_FAILED = 1,
    EXIT_STATUS_USAGE = 2,
    EXIT_STATUS_NOT_PERMITTED = 4,
    EXIT_STATUS_NO_SUCH = 5,
};

const char *outcome_code(enum outcome o);    /* "secret_used" */
const char *outcome_message(enum outcome o); /* a sentence without the full stop */
int outcome_http(enum outcome o);            /* 409 */
enum exit_status outcome_exit(enum outcome o);

#endif
