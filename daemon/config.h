/*
 * config.h - peald.conf: one [daemon] section and a [network NAME] section for each group whose
 * blob is overridden. The keys are the table in config.c; the manual page peald.conf(5) explains
 * them.
 *
 * Reading is strict: an unknown section, key or value is an error with its file and line, because a
 * misspelt key that is silently ignored is a machine that behaves otherwise than its owner thinks.
 */
#ifndef PEAL_DAEMON_CONFIG_H
#define PEAL_DAEMON_CONFIG_H

#include "daemon/hostport.h"
#include "overlay/core/env.h"
#include "overlay/core/err.h"

enum {
    CONFIG_WHY_SIZE = 512,
    CONFIG_LINE_MAX = 2048,
    CONFIG_NETWORKS_MAX = 63, /* receiver indices have as many slots */
    CONFIG_KEYS_MAX = 24,
    CONFIG_WORKERS_MAX = 16,
    CONFIG_PATH_SIZE = 1024,
    CONFIG_DEVICE_SIZE = 16, /* IFNAMSIZ */
    CONFIG_USER_SIZE = 64,
    CONFIG_MTU_DEFAULT = 1400,
};

enum config_public { CONFIG_PUBLIC_AUTO, CONFIG_PUBLIC_YES, CONFIG_PUBLIC_NO };
enum config_address { CONFIG_ADDRESS_AUTO, CONFIG_ADDRESS_DHCP, CONFIG_ADDRESS_FIXED };
enum config_mode { CONFIG_MODE_WORKSTATION, CONFIG_MODE_ROUTER };

/* What a file says in so many words, per key of a section's table; NULL: it does not. */
struct config_words {
    char *v[CONFIG_KEYS_MAX];
};

struct config_network {
    char name[LABEL_MAX + 1];
    char device[CONFIG_DEVICE_SIZE];
    char hostname[LABEL_MAX + 1];
    enum config_address address;
    struct addr fixed;
    enum config_mode mode;
    char bridge[CONFIG_DEVICE_SIZE];
    bool gateway;
    char full_tunnel[NAME_MAX_LEN + 1]; /* "" no; "yes" any gateway; else a member's name */
    uint16_t mtu;
    bool map;                    /* we survey the ring for its service */
    bool public_relay;           /* our data may go through the public overlay */
    struct endpoint dns_forward; /* family 0: foreign names are refused */
    struct config_words words;
};

struct config {
    uint16_t port; /* 0: any */
    bool tcp;
    uint16_t tcp_port; /* 0: none */
    enum config_public public_node;
    struct hostports bootstrap;
    char state[CONFIG_PATH_SIZE];
    char socket[CONFIG_PATH_SIZE];
    char operators[CONFIG_USER_SIZE];
    struct hostports stun;
    struct hostports proxy; /* at most one */
    bool port_mapping, port_search, lan_discovery;
    unsigned workers; /* 0: by the number of cores */
    bool relay;
    uint32_t relay_mbit;
    struct endpoint metrics; /* family 0: off */
    enum log_level log_level;
    struct config_words words;

    struct config_network *networks;
    size_t networks_count;
};

/* Defaults only. */
void config_init(struct config *c);
void config_clear(struct config *c);

/* Reads `path` over the defaults. 0; -ENOENT when there is no such file; -ERR_FORMAT with
 * "file:line: what is wrong" in why; another -errno when it cannot be read. c is to be cleared in
 * any case. */
int config_read(struct config *c, const char *path, char why[CONFIG_WHY_SIZE]) MUST_USE;
/* The same from text; `name` stands for the file in messages. */
int config_parse(struct config *c, const char *text, const char *name,
                 char why[CONFIG_WHY_SIZE]) MUST_USE;

/* The section of a group, or the defaults when there is none. Borrowed. */
const struct config_network *config_network(const struct config *c, const char *name);
/* The file itself says something for this key of that section. */
bool config_network_says(const struct config_network *n, const char *key);

/* Calls `each` with "key" or "NAME.key" for every key whose words differ between two readings;
 * `live` tells whether a running daemon can take it up. */
void config_changes(const struct config *old, const struct config *now,
                    void (*each)(void *ctx, const char *key, bool live), void *ctx);

/* Calls `each` with "key" or "NAME.key" for what the file says and this version only reads and
 * checks. */
void config_without_effect(const struct config *c, void (*each)(void *ctx, const char *key),
                           void *ctx);

#endif
