#include "ca-web/outcome.h"

#include "overlay/core/err.h"

struct meaning {
    const char *code;
    int http;
    enum exit_status exit;
    const char *message;
};

static const struct meaning meanings[OUT_COUNT] = {
    [OUT_OK] = {"ok", 200, EXIT_STATUS_OK, "done"},
    [OUT_BAD_REQUEST] = {"bad_request", 400, EXIT_STATUS_USAGE, "the request is malformed"},
    [OUT_BAD_NAME] = {"bad_name", 400, EXIT_STATUS_USAGE,
                      "a name is 1 to 63 letters, digits and inner hyphens"},
    [OUT_BAD_EMAIL] = {"bad_email", 400, EXIT_STATUS_USAGE, "this is not an e-mail address"},
    [OUT_BAD_PASSWORD] = {"bad_password", 400, EXIT_STATUS_USAGE,
                          "a password has 8 to 1024 characters"},
    [OUT_BAD_RANGE] = {"bad_range", 400, EXIT_STATUS_USAGE,
                       "an IPv4 range is a private one like 10.77.0.0/16, from /8 to /28"},
    [OUT_BAD_DOMAIN] = {"bad_domain", 400, EXIT_STATUS_USAGE,
                        "a domain is dotted labels of letters, digits and hyphens"},
    [OUT_BAD_ENDPOINT] = {"bad_endpoint", 400, EXIT_STATUS_USAGE,
                          "endpoints are host:port, separated by commas, at most 16"},
    [OUT_BAD_TEXT] = {"bad_text", 400, EXIT_STATUS_USAGE,
                      "a text has at most 500 printable characters"},
    [OUT_BAD_CSR] = {"bad_csr", 400, EXIT_STATUS_USAGE,
                     "the certificate request is not a PEM PKCS#10 request for an Ed25519 key, "
                     "signed by that key"},
    [OUT_BAD_URL] = {"bad_url", 400, EXIT_STATUS_USAGE, "the service's URL is https://host:port"},
    [OUT_BAD_ROLE] = {"bad_role", 400, EXIT_STATUS_USAGE,
                      "a role is owner, administrator, approver, auditor or member"},
    [OUT_BAD_NUMBER] = {"bad_number", 400, EXIT_STATUS_USAGE,
                        "a number is missing or outside of what the field takes"},
    [OUT_TOO_LONG] = {"too_long", 409, EXIT_STATUS_FAILED,
                      "this is too long for a QR code; download it instead"},
    [OUT_BAD_SCOPE] = {"bad_scope", 400, EXIT_STATUS_USAGE,
                       "a token needs a scope: read, members, machines or manage"},
    [OUT_BAD_CLOCK] = {"bad_clock", 400, EXIT_STATUS_USAGE,
                       "the machine's clock and ours differ by more than ten minutes"},
    [OUT_NOT_LOGGED_IN] = {"not_logged_in", 401, EXIT_STATUS_NOT_PERMITTED, "log in first"},
    [OUT_WRONG_LOGIN] = {"wrong_login", 401, EXIT_STATUS_NOT_PERMITTED,
                         "name or password is wrong"},
    [OUT_WRONG_CODE] = {"wrong_code", 401, EXIT_STATUS_NOT_PERMITTED,
                        "the code is wrong, or has been used; wait for the next one"},
    [OUT_LATE_CODE] = {"late_code", 401, EXIT_STATUS_NOT_PERMITTED,
                       "that took longer than five minutes; log in again"},
    [OUT_BAD_TOKEN] = {"bad_token", 401, EXIT_STATUS_NOT_PERMITTED,
                       "the token is missing, wrong or has expired"},
    [OUT_NOT_PERMITTED] = {"not_permitted", 403, EXIT_STATUS_NOT_PERMITTED,
                           "you may not do this here"},
    [OUT_BAD_CSRF] = {"bad_csrf", 403, EXIT_STATUS_NOT_PERMITTED,
                      "this form is not from your present session; go back, reload, try again"},
    [OUT_BAD_ORIGIN] = {"bad_origin", 403, EXIT_STATUS_NOT_PERMITTED,
                        "the request comes from another site"},
    [OUT_TOO_MANY] = {"too_many", 429, EXIT_STATUS_FAILED, "too many attempts; wait a little"},
    [OUT_NO_PAGE] = {"not_found", 404, EXIT_STATUS_NO_SUCH, "there is nothing here"},
    [OUT_NO_USER] = {"no_such_user", 404, EXIT_STATUS_NO_SUCH, "there is no such user"},
    [OUT_NO_GROUP] = {"no_such_group", 404, EXIT_STATUS_NO_SUCH, "there is no such group"},
    [OUT_NO_REQUEST] = {"no_request", 404, EXIT_STATUS_NO_SUCH,
                        "this user has not asked to join the group"},
    [OUT_NOT_MEMBER] = {"not_member", 403, EXIT_STATUS_NO_SUCH,
                        "this user is not an approved member of the group"},
    [OUT_HELD] = {"needs_approval", 403, EXIT_STATUS_NOT_PERMITTED,
                  "a machine of this member was removed; an approver of the group has to agree "
                  "before another one is added"},
    [OUT_NO_ADDRESS] = {"no_address", 409, EXIT_STATUS_FAILED,
                        "the service's address is not known yet: start `peal-ca serve` once, or "
                        "give --url"},
    [OUT_NO_MACHINE] = {"no_such_machine", 404, EXIT_STATUS_NO_SUCH,
                        "there is no such machine of this member, or it was removed already"},
    [OUT_NO_INVITATION] = {"no_such_invitation", 404, EXIT_STATUS_NO_SUCH,
                           "this invitation has expired, has been used up, or never was; ask for a "
                           "new one"},
    [OUT_NO_SESSION] = {"no_such_session", 404, EXIT_STATUS_NO_SUCH,
                        "this session has ended already"},
    [OUT_NO_TOKEN] = {"no_such_token", 404, EXIT_STATUS_NO_SUCH,
                      "there is no such token, or it has ended already"},
    [OUT_USER_EXISTS] = {"user_exists", 409, EXIT_STATUS_FAILED, "this user name is taken"},
    [OUT_GROUP_EXISTS] = {"group_exists", 409, EXIT_STATUS_FAILED, "this group name is taken"},
    [OUT_ALREADY_MEMBER] = {"already_member", 409, EXIT_STATUS_OK, "already a member"},
    [OUT_DENY_MEMBER] = {"already_member", 409, EXIT_STATUS_FAILED,
                         "this user is a member already; a member is removed by revoking"},
    [OUT_LAST_OWNER] = {"last_owner", 409, EXIT_STATUS_FAILED,
                        "a group keeps at least one owner; make somebody else owner first"},
    [OUT_LAST_ADMIN] = {"last_admin", 409, EXIT_STATUS_FAILED,
                        "the service keeps at least one administrator; make another one first"},
    [OUT_CHANGED] = {"changed", 412, EXIT_STATUS_FAILED,
                     "somebody else has changed this meanwhile; look at it again"},
    [OUT_NO_VERSION] = {"no_version", 428, EXIT_STATUS_FAILED,
                        "say with If-Match which version the change starts from"},
    [OUT_SETUP_DONE] = {"setup_done", 403, EXIT_STATUS_FAILED,
                        "the set-up link has been used, or is not the newest one"},
    [OUT_BAD_SECRET] = {"bad_secret", 403, EXIT_STATUS_NOT_PERMITTED,
                        "group, user and secret do not belong together; get a new blob"},
    [OUT_SECRET_USED] = {"secret_used", 409, EXIT_STATUS_NOT_PERMITTED,
                         "this blob's secret has enrolled another machine; get a new blob"},
    [OUT_SECRET_EXPIRED] = {"secret_expired", 403, EXIT_STATUS_NOT_PERMITTED,
                            "this blob's secret has expired; get a new blob"},
    [OUT_NOT_ENROLLED] = {"not_enrolled", 403, EXIT_STATUS_NO_SUCH,
                          "this key is not enrolled in the group"},
    [OUT_KEY_IN_USE] = {"key_in_use", 409, EXIT_STATUS_NOT_PERMITTED,
                        "this key belongs to another member of the group; make a new one"},
    [OUT_REVOKED] = {"revoked", 403, EXIT_STATUS_NOT_PERMITTED,
                     "this machine or member was removed from the group"},
    [OUT_TOO_OLD] = {"too_old", 403, EXIT_STATUS_NOT_PERMITTED,
                     "the certificate expired more than 90 days ago; get a new blob"},
    [OUT_FULL] = {"too_many_machines", 409, EXIT_STATUS_FAILED,
                  "this member has as many machines as one may have; remove one first"},
    [OUT_FULL_AUTHORITIES] = {"too_many_authorities", 409, EXIT_STATUS_FAILED,
                              "Old CAs are trusted still: end them before there is another one."},
    [OUT_NOTHING_OLD] = {"no_old_authority", 409, EXIT_STATUS_FAILED, "There is no old CA to end."},
    [OUT_FULL_INVITATIONS] = {"too_many_invitations", 409, EXIT_STATUS_FAILED,
                              "the group has as many open invitations as one may have; end one "
                              "first"},
    [OUT_FULL_TOKENS] = {"too_many_tokens", 409, EXIT_STATUS_FAILED,
                         "an account has at most 32 tokens; end one first"},
    [OUT_BAD_METHOD] = {"bad_method", 405, EXIT_STATUS_FAILED, "this address takes another method"},
    [OUT_BAD_LENGTH] = {"too_large", 413, EXIT_STATUS_FAILED, "the request is longer than 64 KiB"},
    [OUT_BAD_TYPE] = {"bad_type", 415, EXIT_STATUS_FAILED,
                      "this address takes another Content-Type"},
    [OUT_BAD_HOST] = {"bad_host", 421, EXIT_STATUS_FAILED,
                      "this service does not answer under that host name (see --url)"},
    [OUT_BUSY] = {"busy", 503, EXIT_STATUS_FAILED, "the database is busy; try again"},
    [OUT_INTERNAL] = {"internal", 500, EXIT_STATUS_FAILED, "the service failed; see its log"},
};

static const struct meaning *meaning_of(enum outcome o)
{
    CHECK((unsigned)o < OUT_COUNT && meanings[o].code);
    return &meanings[o];
}

const char *outcome_code(enum outcome o)
{
    return meaning_of(o)->code;
}

const char *outcome_message(enum outcome o)
{
    return meaning_of(o)->message;
}

int outcome_http(enum outcome o)
{
    return meaning_of(o)->http;
}

enum exit_status outcome_exit(enum outcome o)
{
    return meaning_of(o)->exit;
}
