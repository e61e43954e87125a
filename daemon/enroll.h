/*
 * enroll.h - between peald and its helper peal-enroll, which speaks HTTPS so that peald need not.
 *
 *   stdin   {"server","server_pins":[..],"group","user","secret","csr","proxy"}, to the end of file
 * or line stdout  the service's answer {"certificate","chain","network","server_pins"} or
 *           {"error":{"code","message"}} with one of the codes below
 */
#ifndef PEAL_DAEMON_ENROLL_H
#define PEAL_DAEMON_ENROLL_H

enum {
    ENROLL_REQUEST_MAX = 64 * 1024,
    ENROLL_REPLY_MAX = 64 * 1024,
    ENROLL_CONNECT_S = 10,
    ENROLL_ANSWER_S = 30, /* one try, connecting included */
    ENROLL_TRIES = 3,
    ENROLL_TOTAL_S = 95, /* all tries; then the kernel ends it */
};

#define ENROLL_WRONG_PIN "wrong_pin"
#define ENROLL_UNREACHABLE "unreachable" /* nothing was sent */
#define ENROLL_NO_REPLY "no_reply" /* sent, but no answer came: it may have been carried out */
#define ENROLL_REFUSED "refused"   /* the service understood and said no */
#define ENROLL_FAILED "failed"

#endif
