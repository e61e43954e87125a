#include "daemon/config.h"

#include "daemon/file.h"
#include "daemon/words.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONFIG_FILE_MAX = 256 * 1024 };

/* A value's type: reads it into `field`; on failure says in `why` what it wants to see. */
typedef bool config_read_fn(void *field, const char *value, const char **why);

enum key_use {
    KEY_AT_START,
    KEY_LIVE,   /* a running daemon takes a change up at reload */
    KEY_UNUSED, /* of the settings that people may write already; this version has no use for it */
};

struct key {
    const char *name;
    config_read_fn *read;
    size_t offset;
    enum key_use use;
};

static bool read_bool(void *field, const char *value, const char **why)
{
    *why = "yes or no";
    *(bool *)field = strcmp(value, "yes") == 0;
    return strcmp(value, "yes") == 0 || strcmp(value, "no") == 0;
}

static bool read_number(uint32_t *out, const char *value, uint32_t max)
{
    size_t len = strlen(value);

    if (len == 0 || len > 9 || strspn(value, "0123456789") != len)
        return false;
    *out = (uint32_t)strtoul(value, NULL, 10);
    return *out <= max;
}

static bool read_port(void *field, const char *value, const char **why)
{
    uint32_t port = 0;

    *why = "a port, 0 to 65535";
    if (!read_number(&port, value, 65535))
        return false;
    *(uint16_t *)field = (uint16_t)port;
    return true;
}

static bool read_tcp_port(void *field, const char *value, const char **why)
{
    uint32_t port = 0;

    *why = "a port, 1 to 65535, or nothing";
    if (value[0] && (!read_number(&port, value, 65535) || port == 0))
        return false;
    *(uint16_t *)field = (uint16_t)port;
    return true;
}

static bool read_public(void *field, const char *value, const char **why)
{
    static const char *const text[] = {"auto", "yes", "no"};

    *why = "auto, yes or no";
    for (size_t i = 0; i < ARRAY_LEN(text); i++) {
        if (strcmp(value, text[i]) == 0) {
            *(enum config_public *)field = (enum config_public)i;
            return true;
        }
    }
    return false;
}

static bool read_hostports(void *field, const char *value, const char **why)
{
    struct hostports *list = field;
    struct hostport hp;
    char *copy, *rest = NULL;
    bool ok = true;

    *why = "up to 16 of host:port, with spaces between them";
    list->count = 0;
    copy = strdup(value);
    if (!copy)
        return false;
    for (char *w = strtok_r(copy, " \t,", &rest); ok && w; w = strtok_r(NULL, " \t,", &rest))
        ok = hostport_parse(&hp, w) && hostports_add(list, &hp);
    free(copy);
    return ok;
}

static bool read_proxy(void *field, const char *value, const char **why)
{
    bool ok = read_hostports(field, value, why) && ((struct hostports *)field)->count <= 1;

    *why = "one host:port";
    return ok;
}

static bool read_path(void *field, const char *value, const char **why)
{
    *why = "an absolute path";
    if (value[0] != '/' || strlen(value) >= CONFIG_PATH_SIZE)
        return false;
    strcpy(field, value);
    return true;
}

static bool read_user_group(void *field, const char *value, const char **why)
{
    *why = "the name of a group of users";
    if (strlen(value) >= CONFIG_USER_SIZE)
        return false;
    strcpy(field, value);
    return true;
}

static bool read_workers(void *field, const char *value, const char **why)
{
    uint32_t n = 0;

    *why = "0 to 16";
    if (!read_number(&n, value, CONFIG_WORKERS_MAX))
        return false;
    *(unsigned *)field = n;
    return true;
}

static bool read_mbit(void *field, const char *value, const char **why)
{
    *why = "Mbit/s, 0 for no cap";
    return read_number(field, value, 1000000);
}

/* The list of counters is for the machine itself; another one gets it through a proxy that asks who
 * is there. */
static bool read_metrics(void *field, const char *value, const char **why)
{
    struct endpoint *ep = field;
    struct hostport hp;

    *why = "host:port on loopback, as 127.0.0.1:9747";
    memset(ep, 0, sizeof *ep);
    if (value[0] == '\0')
        return true;
    if (!hostport_parse(&hp, value))
        return false;
    if (strcmp(hp.host, "localhost") == 0)
        strcpy(hp.host, "127.0.0.1");
    return hostport_literal(&hp, ep) && addr_is_loopback(&ep->addr);
}

static bool read_level(void *field, const char *value, const char **why)
{
    static const char *const text[] = {"error", "warn", "info", "debug"};

    *why = "error, warn, info or debug";
    for (size_t i = 0; i < ARRAY_LEN(text); i++) {
        if (strcmp(value, text[i]) == 0) {
            *(enum log_level *)field = (enum log_level)i;
            return true;
        }
    }
    return false;
}

static bool read_device(void *field, const char *value, const char **why)
{
    *why = "the name of a network device, up to 15 letters, digits, - _ and .";
    if (!device_name_valid(value))
        return false;
    strcpy(field, value);
    return true;
}

static bool read_hostname(void *field, const char *value, const char **why)
{
    *why = "one label: letters, digits and inner hyphens, up to 63";
    return label_normalize(field, LABEL_MAX + 1, value, strlen(value));
}

static bool read_address(void *field, const char *value, const char **why)
{
    struct config_network *n = field;

    *why = "auto, dhcp or an IPv4 address";
    memset(&n->fixed, 0, sizeof n->fixed);
    if (strcmp(value, "auto") == 0)
        n->address = CONFIG_ADDRESS_AUTO;
    else if (strcmp(value, "dhcp") == 0)
        n->address = CONFIG_ADDRESS_DHCP;
    else
        n->address = CONFIG_ADDRESS_FIXED;
    return n->address != CONFIG_ADDRESS_FIXED ||
           (addr_parse(&n->fixed, value) && n->fixed.family == 4);
}

static bool read_mode(void *field, const char *value, const char **why)
{
    bool router = strcmp(value, "router") == 0;

    *why = "workstation or router";
    *(enum config_mode *)field = router ? CONFIG_MODE_ROUTER : CONFIG_MODE_WORKSTATION;
    return router || strcmp(value, "workstation") == 0;
}

static bool read_full_tunnel(void *field, const char *value, const char **why)
{
    *why = "no, yes or a member's name";
    if (!name_valid(value))
        return false;
    strcpy(field, strcmp(value, "no") == 0 ? "" : value);
    return true;
}

static bool read_mtu(void *field, const char *value, const char **why)
{
    uint32_t mtu = 0;

    *why = "1280 (the least that IPv6 allows) to 9000";
    if (!read_number(&mtu, value, 9000) || mtu < 1280)
        return false;
    *(uint16_t *)field = (uint16_t)mtu;
    return true;
}

static bool read_dns_forward(void *field, const char *value, const char **why)
{
    struct endpoint *ep = field;

    *why = "the address of a DNS server, or nothing";
    memset(ep, 0, sizeof *ep);
    if (value[0] == '\0' || endpoint_parse(ep, value))
        return true;
    ep->port = 53;
    return addr_parse(&ep->addr, value);
}

static const struct key daemon_keys[] = {
    {"port", read_port, offsetof(struct config, port), KEY_AT_START},
    {"tcp", read_bool, offsetof(struct config, tcp), KEY_AT_START},
    {"tcp_port", read_tcp_port, offsetof(struct config, tcp_port), KEY_AT_START},
    {"public", read_public, offsetof(struct config, public_node), KEY_AT_START},
    {"bootstrap", read_hostports, offsetof(struct config, bootstrap), KEY_LIVE},
    {"state", read_path, offsetof(struct config, state), KEY_AT_START},
    {"socket", read_path, offsetof(struct config, socket), KEY_AT_START},
    {"operators", read_user_group, offsetof(struct config, operators), KEY_LIVE},
    {"stun", read_hostports, offsetof(struct config, stun), KEY_AT_START},
    {"proxy", read_proxy, offsetof(struct config, proxy), KEY_AT_START},
    {"port_mapping", read_bool, offsetof(struct config, port_mapping), KEY_AT_START},
    {"port_search", read_bool, offsetof(struct config, port_search), KEY_AT_START},
    {"lan_discovery", read_bool, offsetof(struct config, lan_discovery), KEY_AT_START},
    {"workers", read_workers, offsetof(struct config, workers), KEY_AT_START},
    {"relay", read_bool, offsetof(struct config, relay), KEY_AT_START},
    {"relay_mbit", read_mbit, offsetof(struct config, relay_mbit), KEY_AT_START},
    {"metrics", read_metrics, offsetof(struct config, metrics), KEY_AT_START},
    {"log_level", read_level, offsetof(struct config, log_level), KEY_LIVE},
};

static const struct key network_keys[] = {
    {"device", read_device, offsetof(struct config_network, device), KEY_AT_START},
    {"hostname", read_hostname, offsetof(struct config_network, hostname), KEY_LIVE},
    {"address", read_address, 0, KEY_AT_START},
    {"mode", read_mode, offsetof(struct config_network, mode), KEY_UNUSED},
    {"bridge", read_device, offsetof(struct config_network, bridge), KEY_UNUSED},
    {"gateway", read_bool, offsetof(struct config_network, gateway), KEY_UNUSED},
    {"full_tunnel", read_full_tunnel, offsetof(struct config_network, full_tunnel), KEY_UNUSED},
    {"mtu", read_mtu, offsetof(struct config_network, mtu), KEY_AT_START},
    {"dns_forward", read_dns_forward, offsetof(struct config_network, dns_forward), KEY_LIVE},
    {"map", read_bool, offsetof(struct config_network, map), KEY_LIVE},
    {"public_relay", read_bool, offsetof(struct config_network, public_relay), KEY_AT_START},
};

_Static_assert(ARRAY_LEN(daemon_keys) <= CONFIG_KEYS_MAX, "words has room for every key");
_Static_assert(ARRAY_LEN(network_keys) <= CONFIG_KEYS_MAX, "words has room for every key");

static const struct config_network network_defaults = {.mtu = CONFIG_MTU_DEFAULT,
                                                       .public_relay = true};

void config_init(struct config *c)
{
    memset(c, 0, sizeof *c);
    c->port = 4747;
    c->tcp = true;
    c->port_mapping = true;
    c->lan_discovery = true;
    c->relay = true;
    c->log_level = LOG_LEVEL_INFO;
    strcpy(c->state, "/var/lib/peal");
    strcpy(c->socket, "/run/peal/peald.sock");
}

static void words_clear(struct config_words *w)
{
    for (size_t i = 0; i < CONFIG_KEYS_MAX; i++)
        free(w->v[i]);
}

void config_clear(struct config *c)
{
    words_clear(&c->words);
    for (size_t i = 0; i < c->networks_count; i++)
        words_clear(&c->networks[i].words);
    free(c->networks);
    memset(c, 0, sizeof *c);
}

/* Where the reading stands. inih splits lines into names and values; lines and sections are
 * counted here, because it tells its handler neither the line nor an empty section. */
struct reading {
    struct config *c;
    const char *name;
    char *why;
    const char *text; /* what is left */
    unsigned line;
    bool failed;
    enum { IN_NONE, IN_DAEMON, IN_NETWORK } section;
    size_t network; /* IN_NETWORK: its place in c->networks */
};

static void fail(struct reading *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void fail(struct reading *r, const char *fmt, ...)
{
    va_list ap;
    int len;

    if (r->failed)
        return; /* the first one counts */
    r->failed = true;
    len = snprintf(r->why, CONFIG_WHY_SIZE, "%s:%u: ", r->name, r->line);
    if (len < 0 || len >= CONFIG_WHY_SIZE)
        return; /* the file's name alone fills it */
    va_start(ap, fmt);
    vsnprintf(r->why + len, CONFIG_WHY_SIZE - (size_t)len, fmt, ap);
    va_end(ap);
}

static void enter_network(struct reading *r, const char *name, size_t len)
{
    struct config *c = r->c;
    struct config_network *grown, *n;

    if (!label_valid(name, len)) {
        fail(r, "[network %.*s]: the group's name is one label of letters, digits and hyphens",
             (int)len, name);
        return;
    }
    for (r->network = 0; r->network < c->networks_count; r->network++) {
        n = &c->networks[r->network];
        if (strlen(n->name) == len && memcmp(n->name, name, len) == 0)
            return;
    }
    if (c->networks_count == CONFIG_NETWORKS_MAX) {
        fail(r, "more than %d [network] sections", CONFIG_NETWORKS_MAX);
        return;
    }
    grown = realloc(c->networks, (c->networks_count + 1) * sizeof *grown);
    if (!grown) {
        fail(r, "out of memory");
        return;
    }
    c->networks = grown;
    n = &grown[c->networks_count++];
    *n = network_defaults;
    memcpy(n->name, name, len);
}

/* `line` starts at the bracket. */
static void enter_section(struct reading *r, const char *line)
{
    const char *end = strchr(line, ']');
    const char *name = line + 1;
    size_t len = end ? (size_t)(end - name) : 0;

    r->section = IN_NONE;
    if (!end) {
        fail(r, "no ']' at the end of the section's name");
    } else if (len == strlen("daemon") && memcmp(name, "daemon", len) == 0) {
        r->section = IN_DAEMON;
    } else if (len > strlen("network ") && memcmp(name, "network ", strlen("network ")) == 0) {
        r->section = IN_NETWORK;
        enter_network(r, name + strlen("network "), len - strlen("network "));
    } else {
        fail(r, "unknown section [%.*s]; there are [daemon] and [network NAME]", (int)len, name);
    }
}

/* inih's ini_reader, after fgets(3): one whole line, or NULL at the end and after a failure. */
static char *next_line(char *buf, int size, void *ctx)
{
    struct reading *r = ctx;
    size_t len = strcspn(r->text, "\n");
    const char *p;

    if (r->failed || r->text[0] == '\0')
        return NULL;
    r->line++;
    if (len + 2 > (size_t)size) {
        fail(r, "longer than %d characters", CONFIG_LINE_MAX);
        return NULL;
    }
    memcpy(buf, r->text, len);
    buf[len] = '\0';
    r->text += len + (r->text[len] == '\n');
    for (p = buf; isspace((unsigned char)*p); p++)
        ;
    if (*p == '[')
        enter_section(r, p);
    else if (*p && *p != '#' && *p != ';' && !strpbrk(p, "=:"))
        fail(r, "expected \"key = value\"");
    return r->failed ? NULL : buf;
}

static const struct key *find_key(const struct key *keys, size_t count, const char *name,
                                  size_t *at)
{
    for (*at = 0; *at < count; (*at)++) {
        if (strcmp(keys[*at].name, name) == 0)
            return &keys[*at];
    }
    return NULL;
}

static void unknown_key(struct reading *r, const struct key *keys, size_t count, const char *name,
                        const char *section)
{
    const char *names[CONFIG_KEYS_MAX];
    const char *meant;

    for (size_t i = 0; i < count; i++)
        names[i] = keys[i].name;
    meant = words_nearest(names, count, name);
    if (meant)
        fail(r, "unknown key \"%s\" in [%s]; did you mean \"%s\"?", name, section, meant);
    else
        fail(r, "unknown key \"%s\" in [%s]", name, section);
}

static void set_key(struct reading *r, const struct key *keys, size_t count, void *base,
                    struct config_words *words, const char *section, const char *name,
                    const char *value)
{
    const char *want = "";
    size_t at;
    const struct key *key = find_key(keys, count, name, &at);

    if (!key) {
        unknown_key(r, keys, count, name, section);
    } else if (words->v[at]) {
        fail(r, "\"%s\" stands twice in [%s]", name, section);
    } else if (!key->read((char *)base + key->offset, value, &want)) {
        fail(r, "%s = %s: expected %s", name, value, want);
    } else {
        words->v[at] = strdup(value);
        if (!words->v[at])
            fail(r, "out of memory");
    }
}

/* inih's ini_handler; the section is our own count's. */
static int handle(void *ctx, const char *section, const char *name, const char *value)
{
    struct reading *r = ctx;
    struct config_network *n;
    char title[LABEL_MAX + 16];

    (void)section;
    if (r->failed)
        return 0;
    switch (r->section) {
    case IN_NONE:
        fail(r, "\"%s\" stands before any section; put [daemon] above it", name);
        break;
    case IN_DAEMON:
        set_key(r, daemon_keys, ARRAY_LEN(daemon_keys), r->c, &r->c->words, "daemon", name, value);
        break;
    case IN_NETWORK:
        n = &r->c->networks[r->network];
        snprintf(title, sizeof title, "network %s", n->name);
        set_key(r, network_keys, ARRAY_LEN(network_keys), n, &n->words, title, name, value);
        break;
    }
    return !r->failed;
}

/* Contradictions between keys that are right one by one. */
static void check_whole(struct reading *r)
{
    for (size_t i = 0; i < r->c->networks_count; i++) {
        const struct config_network *n = &r->c->networks[i];

        if (n->mode == CONFIG_MODE_ROUTER && n->bridge[0] == '\0')
            fail(r, "[network %s] has mode = router but no bridge = DEVICE of the LAN", n->name);
        if (n->gateway && n->full_tunnel[0])
            fail(r, "[network %s] cannot both offer a full tunnel and use one", n->name);
    }
}

int config_parse(struct config *c, const char *text, const char *name, char why[CONFIG_WHY_SIZE])
{
    struct reading r = {.c = c, .name = name, .why = why, .text = text};
    int rc;

    why[0] = '\0';
    ini_inline_comment_prefixes = (char *)"#;";
    ini_allow_multiline = false;
    ini_use_stack = false;
    ini_max_line = CONFIG_LINE_MAX + 3;
    ini_initial_alloc = CONFIG_LINE_MAX + 3;
    rc = ini_parse_stream(next_line, &r, handle, &r);
    if (!r.failed && rc != 0) {
        r.line = rc > 0 ? (unsigned)rc : 0;
        fail(&r, rc > 0 ? "expected \"key = value\"" : "out of memory");
    }
    if (!r.failed)
        check_whole(&r);
    return r.failed ? -ERR_FORMAT : 0;
}

int config_read(struct config *c, const char *path, char why[CONFIG_WHY_SIZE])
{
    char *text;
    size_t len;
    int rc = file_read(path, CONFIG_FILE_MAX, &text, &len);

    if (rc) {
        snprintf(why, CONFIG_WHY_SIZE, "%s: %s", path, strerror(-rc));
        return rc;
    }
    if (strlen(text) != len) {
        snprintf(why, CONFIG_WHY_SIZE, "%s: is not text: it has a NUL byte", path);
        rc = -ERR_FORMAT;
    } else {
        rc = config_parse(c, text, path, why);
    }
    free(text);
    return rc;
}

const struct config_network *config_network(const struct config *c, const char *name)
{
    for (size_t i = 0; i < c->networks_count; i++) {
        if (strcmp(c->networks[i].name, name) == 0)
            return &c->networks[i];
    }
    return &network_defaults;
}

bool config_network_says(const struct config_network *n, const char *key)
{
    size_t at;

    return find_key(network_keys, ARRAY_LEN(network_keys), key, &at) && n->words.v[at];
}

static bool same_words(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static void section_changes(const struct key *keys, size_t count, const struct config_words *old,
                            const struct config_words *now, const char *prefix,
                            void (*each)(void *ctx, const char *key, bool live), void *ctx)
{
    char title[LABEL_MAX + 32];

    for (size_t i = 0; i < count; i++) {
        if (same_words(old->v[i], now->v[i]))
            continue;
        snprintf(title, sizeof title, "%s%s%s", prefix, prefix[0] ? "." : "", keys[i].name);
        each(ctx, title, keys[i].use == KEY_LIVE);
    }
}

void config_changes(const struct config *old, const struct config *now,
                    void (*each)(void *ctx, const char *key, bool live), void *ctx)
{
    section_changes(daemon_keys, ARRAY_LEN(daemon_keys), &old->words, &now->words, "", each, ctx);
    for (size_t i = 0; i < now->networks_count; i++) {
        const struct config_network *n = &now->networks[i];

        section_changes(network_keys, ARRAY_LEN(network_keys), &config_network(old, n->name)->words,
                        &n->words, n->name, each, ctx);
    }
    for (size_t i = 0; i < old->networks_count; i++) {
        const struct config_network *n = &old->networks[i];

        if (config_network(now, n->name) == &network_defaults)
            section_changes(network_keys, ARRAY_LEN(network_keys), &n->words,
                            &network_defaults.words, n->name, each, ctx);
    }
}

static void section_without_effect(const struct key *keys, size_t count,
                                   const struct config_words *words, const char *prefix,
                                   void (*each)(void *ctx, const char *key), void *ctx)
{
    char title[LABEL_MAX + 32];

    for (size_t i = 0; i < count; i++) {
        if (keys[i].use != KEY_UNUSED || !words->v[i])
            continue;
        snprintf(title, sizeof title, "%s%s%s", prefix, prefix[0] ? "." : "", keys[i].name);
        each(ctx, title);
    }
}

void config_without_effect(const struct config *c, void (*each)(void *ctx, const char *key),
                           void *ctx)
{
    section_without_effect(daemon_keys, ARRAY_LEN(daemon_keys), &c->words, "", each, ctx);
    for (size_t i = 0; i < c->networks_count; i++)
        section_without_effect(network_keys, ARRAY_LEN(network_keys), &c->networks[i].words,
                               c->networks[i].name, each, ctx);
}
