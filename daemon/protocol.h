/*
 * protocol.h - what `peal` and peald say to each other over the control socket: one JSON object a
 * line, either way.
 *
 *   request  {"command":"peers", ...arguments}
 *   reply    {"item":..} any number of times, then one of {"result":{..}} and
 *            {"error":{"code":"..","message":".."}}
 *
 * A connection may carry one request after another. The socket file is a promise only to `peal`
 * of the same version; scripts use `peal --json`.
 */
#ifndef PEAL_DAEMON_PROTOCOL_H
#define PEAL_DAEMON_PROTOCOL_H

#include <jansson.h>

#define PROTOCOL_SOCKET_DEFAULT "/run/peal/peald.sock"

enum {
    PROTOCOL_REQUEST_MAX =
        160 * 1024, /* a blob of 64 KiB with every character escaped twice over */
    PROTOCOL_REPLY_MAX = 1024 * 1024,
};

/* Why a request was refused; the word goes over the socket and into --json, the number is the
 * exit status of `peal` (peal(1), EXIT STATUS). */
enum protocol_error {
    PROTOCOL_FAILED,
    PROTOCOL_USAGE,
    PROTOCOL_UNREACHABLE, /* no daemon: said by `peal` itself */
    PROTOCOL_NOT_PERMITTED,
    PROTOCOL_NOT_JOINED, /* no such group on this machine */
    PROTOCOL_REFUSED,    /* the group's service does not take us for a member */
    PROTOCOL_TIMEOUT,    /* no answer in time */
    PROTOCOL_BAD_BLOB,
    PROTOCOL_WRONG_PIN,  /* the service's key is not the one in the blob */
    PROTOCOL_NO_SERVICE, /* the service cannot be reached */
    PROTOCOL_NOT_FOUND,  /* no member has that name, address or id */
    PROTOCOL_ERROR_COUNT,
};
const char *protocol_error_code(enum protocol_error e);
int protocol_error_exit(const char *code); /* 1 for a code of a later version */

/* Bytes outside printable ASCII become '?': what others chose to be called must not break JSON or
 * move the cursor of whoever reads it. Returns text. */
char *protocol_clean(char *text);

/* The request of one line, or NULL with a static text in why. The command's name is in it. */
json_t *protocol_parse_request(const char *line, size_t len, const char **command,
                               const char **why);

#endif
