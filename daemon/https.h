/*
 * https.h - between peald and its helper peal-https, which speaks HTTPS so that peald need not.
 *
 *   stdin   one line of JSON: {"what","server","server_pins":[..],"proxy","group"} and, by what:
 *             "enroll"  "user","secret","csr"
 *             "renew"   "csr"
 *             "crl"     "etag": null, or that of the list we have
 *             "known", "map"  "message": base64 of what the node signed
 *             "events"  "after": the highest number that we have
 *   stdout  one JSON object: the service's answer to enroll, renew and events as it is; for crl
 *           {"crl":<base64 of the DER>,"etag"} or {"unchanged":true}; or
 *           {"error":{"code","message"}} with one of the codes below
 *
 * One request, then it ends. A request that may be held (events) is given the time for that.
 */
#ifndef PEAL_DAEMON_HTTPS_H
#define PEAL_DAEMON_HTTPS_H

enum {
    HTTPS_REQUEST_MAX = 64 * 1024,
    HTTPS_REPLY_MAX = 64 * 1024,         /* of everything but the next two */
    HTTPS_EVENTS_MAX = 512 * 1024,       /* 256 removals with all their serials */
    HTTPS_CRL_MAX = 8 * 1024 * 1024,     /* DER */
    HTTPS_OUTPUT_MAX = 12 * 1024 * 1024, /* of the helper: a CRL in base64, and some */
    HTTPS_CONNECT_S = 10,
    HTTPS_ANSWER_S = 30, /* one try, connecting included */
    HTTPS_HOLD_S = 55,   /* so much longer when the answer may be held */
    HTTPS_TRIES = 3,
    HTTPS_TOTAL_S = 98, /* all tries; then the kernel ends it */
};

#define HTTPS_WRONG_PIN "wrong_pin"
#define HTTPS_UNREACHABLE "unreachable" /* nothing was sent */
#define HTTPS_NO_REPLY "no_reply"       /* sent, but no answer came: it may have been carried out */
#define HTTPS_REFUSED "refused"         /* the service understood and said no */
#define HTTPS_REVOKED "revoked"         /* the same, because key or member were removed */
#define HTTPS_FAILED "failed"

#endif
