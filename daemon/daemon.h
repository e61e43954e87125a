/*
 * daemon.h - the daemon as a whole: its settings, its loop, the groups it is a member of, and the
 * order in which they start and end.
 *
 * Everything here runs on the control thread. Groups are numbered from 0; the number is the
 * network's in the forwarding snapshot, and number + 1 is its slot, the top byte of its receiver
 * indices. The public overlay's node is one more network without a device.
 */
#ifndef PEAL_DAEMON_DAEMON_H
#define PEAL_DAEMON_DAEMON_H

#include "daemon/config.h"
#include "daemon/state.h"

#include <uv.h>

enum { DAEMON_NETWORKS_MAX = 63, DAEMON_ENDPOINTS_MAX = 8 /* as LINKS_ADDRS_MAX */ };

struct host;
struct links;
struct control;
struct network;
struct join;
struct helper;
struct metrics;
struct resolver;
struct lan;
struct portmap;

/* What the command line says above the file. */
struct daemon_options {
    const char *config_path;
    bool config_required;       /* --config was given: its absence is an error */
    const char *state, *socket; /* NULL: not said */
    int port;                   /* -1: not said */
};

struct daemon {
    uv_loop_t loop;
    struct daemon_options options;
    struct config config;
    struct host *host;
    struct links *links;
    struct control *control;
    struct metrics *metrics;                         /* NULL: off */
    struct lan *lan;                                 /* NULL: off */
    struct resolver *proxy;                          /* finds the HTTP proxy; NULL: none */
    struct network *networks[DAEMON_NETWORKS_MAX];   /* by number; NULL: free */
    struct resolver *stun_names;                     /* of STUN servers */
    struct join *joins;                              /* enrolments under way */
    struct helper *helpers;                          /* requests to groups' services under way */
    struct endpoint endpoints[DAEMON_ENDPOINTS_MAX]; /* our interface addresses with the port */
    size_t endpoints_count;
    uint32_t lives;          /* of nodes: how many there were */
    struct endpoint mapped;  /* what a router maps to our port; family 0: nothing */
    struct portmap *portmap; /* NULL: off */
    uint16_t port;
    usec started_us;
    uv_timer_t stop_timer;
    uint64_t stop_at_ms; /* of the loop's clock: no longer than this */
    bool stopping;
};

/* Config file and command line together. 0 or -ERR_FORMAT with a sentence in why. */
int daemon_read_config(const struct daemon_options *options, struct config *out,
                       char why[CONFIG_WHY_SIZE]) MUST_USE;

/* Everything from the lock on the state directory to the groups that were joined; config is taken
 * over. 0, or -1 with the reason logged. */
int daemon_start(struct daemon *d, const struct daemon_options *options,
                 struct config *config) MUST_USE;
/* Says goodbye everywhere, waits for it at most 2.5 s, then ends the loop. A second call ends it at
 * once. */
void daemon_stop(struct daemon *d);
/* Devices, sockets and files away; after the loop has ended. False: a name lookup or a helper is
 * still under way in a thread or process that nobody will wait for. */
bool daemon_close(struct daemon *d);

/* Reads the file again and takes up what can be. For people: the keys applied and those that wait
 * for a restart, as two arrays of the object given back; NULL with a sentence in why when the file
 * is wrong (nothing is changed then). */
json_t *daemon_reload(struct daemon *d, char why[CONFIG_WHY_SIZE]);

/* The next network at or after *number, the public node included; NULL past the last. */
struct network *daemon_next(const struct daemon *d, unsigned *number);
struct network *daemon_find(const struct daemon *d, const char *name); /* NULL: not joined */
/* Brings a group up from what was stored; takes *member over. NULL: no number is free, or out of
 * memory. */
struct network *daemon_add(struct daemon *d, struct state_member *member);
/* Device, sessions and node away. */
void daemon_remove(struct daemon *d, struct network *n);
struct network *daemon_public(const struct daemon *d); /* NULL: we run no public node */
/* Starts or ends the public overlay's node as config and blobs ask for, and tells a running one
 * where others are. */
void daemon_check_public(struct daemon *d);

/* This machine's name as a label. */
void daemon_hostname(char out[LABEL_MAX + 1]);

#endif
