/*
 * blob.h - the configuration blob: the one JSON file that makes a machine a member of a group, and
 * the same without its secret as it is kept in the state directory.
 *
 *   {"peal":1, "group":"lab", "group_id":<40 hex>, "group_key":<base64 of 32 bytes>, "ca":<PEM>,
 *    "user":"alice", "secret":.., "server":"https://host:8443", "server_pins":[<base64 SHA-256>..],
 *    "network":{"ipv4":"10.77.0.0/16","ipv6":"fd..::/48","domain":"lab.peal","lease_s":86400},
 *    "bootstrap":["host:port"..], "public_bootstrap":["host:port"..], "psk":false}
 *
 * Every field is checked before anything is done with it; unknown fields are left alone, since
 * later versions add some. A group has a CA, or a pre-exchanged key ("psk":true), or both.
 */
#ifndef PEAL_DAEMON_BLOB_H
#define PEAL_DAEMON_BLOB_H

#include "daemon/hostport.h"
#include "overlay/crypto/cert.h"

#include <jansson.h>

enum {
    BLOB_FILE_MAX = 64 * 1024,
    BLOB_WHY_SIZE = 256,
    BLOB_SECRET_SIZE = 257,
    BLOB_URL_SIZE = 512,
    BLOB_PINS_MAX = 8,
    BLOB_PIN_SIZE = 45, /* base64 of 32 bytes */
    BLOB_LEASE_MIN_S = 60,
    BLOB_LEASE_MAX_S = 30 * 86400,
};

/* What the group's members have in common on the wire inside. */
struct blob_network {
    struct net ipv4, ipv6; /* host bits zero */
    char domain[NAME_MAX_LEN + 1];
    uint32_t lease_s;
};

struct blob_pins {
    char v[BLOB_PINS_MAX][BLOB_PIN_SIZE]; /* none: the system's trust */
    size_t count;
};

struct blob {
    char group[LABEL_MAX + 1];
    struct id group_id;
    struct secret group_key;
    char *ca;                      /* PEM; NULL: pre-exchanged key only */
    char user[CERT_USER_MAX + 1];  /* "" in a group without service */
    char secret[BLOB_SECRET_SIZE]; /* "" once used */
    char server[BLOB_URL_SIZE];    /* "" none */
    struct blob_pins pins;
    struct blob_network network;
    struct hostports bootstrap, public_bootstrap;
    bool psk;
};

/* NULL with a sentence in why when the text is no valid blob. */
struct blob *blob_parse(const char *text, size_t len, char why[BLOB_WHY_SIZE]);
void blob_free(struct blob *b); /* wipes it */

/* The blob as JSON without its secret, for the state directory. NULL when out of memory. */
json_t *blob_json(const struct blob *b);

/* The parts that an enrolment's answer may replace. 0 or -ERR_FORMAT with a sentence in why. */
int blob_read_network(struct blob_network *out, const json_t *network,
                      char why[BLOB_WHY_SIZE]) MUST_USE;
int blob_read_pins(struct blob_pins *out, const json_t *pins, char why[BLOB_WHY_SIZE]) MUST_USE;

#endif
