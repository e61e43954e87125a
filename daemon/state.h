/*
 * state.h - what peald keeps of each group it is a member of, in STATE/GROUP/ (0700, files 0600):
 *
 *   blob.json  the blob without its secret
 *   key        the seed of the node's Ed25519 key, base64; never leaves the machine
 *   cert.pem   the member certificate; none in a pre-exchanged-key group
 *   options    what was said at joining, the device's number, and whether the group was left
 *   address    the IPv4 address last held
 *   contacts   members met lately: node id and endpoint, a line each
 *   crl.der    the newest list of removed members
 *   removals   the removals we know: the signed message in base64, a line each
 *
 * A group's directory appears whole or not at all: it is written under a temporary name and
 * renamed. STATE/.public/ holds key and contacts of the public overlay's node, STATE/.pending/ the
 * keys of enrolments whose answer was lost, STATE/.lock keeps a second peald out.
 *
 * Functions return 0 or a negative number: -errno, or -ERR_FORMAT with a sentence in why.
 */
#ifndef PEAL_DAEMON_STATE_H
#define PEAL_DAEMON_STATE_H

#include "daemon/blob.h"
#include "daemon/config.h"
#include "overlay/overlay.h"

enum { STATE_WHY_SIZE = 512, STATE_CONTACTS_LEAST = 8 };

struct state_options {
    char hostname[LABEL_MAX + 1];          /* "" not said */
    char device[CONFIG_DEVICE_SIZE];       /* "" not said */
    char device_given[CONFIG_DEVICE_SIZE]; /* the free name that was taken last time */
    char bridge[CONFIG_DEVICE_SIZE];
    enum config_mode mode;
    bool left; /* `peal leave` without --purge */
};

struct state_member {
    struct blob *blob;
    struct secret seed;
    char *cert_pem; /* NULL without a CA */
    struct state_options options;
    struct addr address; /* family 0: none */
};
void state_member_clear(struct state_member *m);

/* Makes the root (0700) and takes its lock for the life of the process. -EWOULDBLOCK: another peald
 * has it. */
int state_open(const char *root) MUST_USE;

/* Names of the groups kept there, sorted. Returns how many; names beyond max are left out. */
size_t state_list(const char *root, char (*names)[LABEL_MAX + 1], size_t max);
bool state_exists(const char *root, const char *group);

int state_load(struct state_member *out, const char *root, const char *group,
               char why[STATE_WHY_SIZE]) MUST_USE;
/* A new group, or one that was left and is joined again: its directory is replaced whole. */
int state_create(const char *root, const struct state_member *m) MUST_USE;
/* After a renewal: the certificate, and what the service says now of the network and its pins. */
int state_save_renewal(const char *root, const struct blob *blob, const char *cert_pem) MUST_USE;
/* Who was removed, as the CA said it. Loading adds to `out` what verifies, and to `ca` what follows
 * it; the rest is skipped. */
int state_save_removed(const char *root, const char *group, const struct removed *r) MUST_USE;
void state_load_removed(const char *root, const char *group, struct cert_ca *ca,
                        struct removed *out);
int state_save_options(const char *root, const char *group, const struct state_options *o) MUST_USE;
int state_save_address(const char *root, const char *group, const struct addr *a) MUST_USE;
int state_save_contacts(const char *root, const char *group, const struct overlay_contact *v,
                        size_t count) MUST_USE;
/*
 * The members that are there now, and behind them of `before`, as saved last, as many of those that
 * are not as make it STATE_CONTACTS_LEAST, the latest to go first. Through two NATs both ends have
 * to send: who goes off last has to remember those who went before. Returns how many.
 */
size_t state_merge_contacts(struct overlay_contact now[OVERLAY_CONTACTS_MAX], size_t count,
                            const struct overlay_contact *before, size_t before_count);
/* Malformed lines are skipped: contacts are only hints. group NULL, in both: the public overlay. */
size_t state_load_contacts(const char *root, const char *group, struct overlay_contact *v,
                           size_t max);
int state_purge(const char *root, const char *group) MUST_USE;

/* The public overlay's key; made of `fresh` when there is none yet. */
int state_public_key(const char *root, const struct secret *fresh, struct secret *out) MUST_USE;

/* The key of an enrolment whose answer did not arrive: the service gives the same certificate for
 * the same secret only with the same key. `tag` tells enrolments apart. */
int state_pending_save(const char *root, const struct id *tag, const struct secret *seed) MUST_USE;
bool state_pending_load(const char *root, const struct id *tag, struct secret *seed);
void state_pending_drop(const char *root, const struct id *tag);

#endif
