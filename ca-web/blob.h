/*
 * blob.h - a member's configuration blob: one JSON file with everything `peal join` needs.
 *
 * Each blob has an enrolment secret of its own, good for one machine and BLOB_LIFE_S; only its
 * SHA-256 is stored. A member may have BLOB_UNUSED_MAX unused ones; the victim of one more is the
 * oldest.
 */
#ifndef PEAL_CA_BLOB_H
#define PEAL_CA_BLOB_H

#include "ca-web/member.h"

enum {
    BLOB_LIFE_S = 30 * 86400,
    BLOB_UNUSED_MAX = 16,
    SERVER_URL_MAX = 300,
    SERVER_PINS_MAX = 4,
};

/* Where members reach this service; serve writes it at each start, blobs quote it. */
struct server {
    char url[SERVER_URL_MAX + 1]; /* https://host:port */
    char pins[256];               /* base64 SHA-256 of SPKIs, with commas between */
    bool given;                   /* the certificate and its key: not the service's own */
};
/* OUT_NO_ADDRESS before the first serve. */
enum outcome server_load(struct desk *d, struct server *out);
/* Inside a transaction, in which the pins before were read. */
enum outcome server_write(struct desk *d, const struct server *server);
/* https://host[:port], no path; out is lower-cased and without a trailing slash. */
bool server_url_read(char out[SERVER_URL_MAX + 1], const char *text);
/* The host of such a URL, without brackets. */
void server_url_host(const char *url, char *out, size_t size);

/* Appends the JSON. VERB_BLOB_MAKE; OUT_NOT_MEMBER when not approved, OUT_HELD when he
 * lost a machine and an approver has not agreed to another (member.h). */
enum outcome blob_make(struct desk *d, const struct group *g, const struct account *user,
                       const struct server *server, struct text *out);

/* SHA-256 of an enrolment secret's text. */
void blob_secret_hash(uint8_t out[HASH_LEN], const char *secret);

#endif
