#include "daemon/join.h"

#include "daemon/certificate.h"
#include "daemon/helper.h"
#include "daemon/https.h"
#include "daemon/log.h"
#include "daemon/netlink.h"
#include "daemon/network.h"
#include "daemon/privilege.h"

#include <errno.h>
#include <net/if.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    JOIN_WHY_SIZE = 768,
    JOIN_CSR_MAX = 4096,
};

struct join {
    struct daemon *daemon;
    struct join *next;
    struct state_member member;
    struct sign_public pub;
    struct sign_secret sec;
    struct id pending_tag;
    bool key_old; /* it was not made just now: it may have been removed unheard of */
    void (*done)(void *ctx, const struct join_result *result);
    void *ctx;
};

/* --- The end of a join --- */

static void forget(struct join *j)
{
    struct join **at = &j->daemon->joins;

    while (*at && *at != j)
        at = &(*at)->next;
    if (*at)
        *at = j->next;
    state_member_clear(&j->member);
    sign_secret_clear(&j->sec);
    free(j);
}

static void fail(struct join *j, enum protocol_error error, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static void fail(struct join *j, enum protocol_error error, const char *fmt, ...)
{
    struct join_result result = {.error = error};
    char message[JOIN_WHY_SIZE];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(message, sizeof message, fmt, ap);
    va_end(ap);
    result.message = message;
    log_write(LOG_LEVEL_WARN, j->member.blob ? j->member.blob->group : NULL, "not joined: %s",
              message);
    j->done(j->ctx, &result);
    forget(j);
}

/* Everything is verified: keep it and bring the group up. */
static void complete(struct join *j)
{
    struct daemon *d = j->daemon;
    struct network *old = daemon_find(d, j->member.blob->group);
    struct join_result result = {0};
    int rc = state_create(d->config.state, &j->member);

    if (rc) {
        fail(j, PROTOCOL_FAILED, "cannot keep the group's state in %s: %s", d->config.state,
             strerror(-rc));
        return;
    }
    state_pending_drop(d->config.state, &j->pending_tag);
    if (old)
        daemon_remove(d, old);
    result.network = daemon_add(d, &j->member);
    if (!result.network) {
        fail(j, PROTOCOL_FAILED, "out of memory");
        return;
    }
    daemon_check_public(d);
    j->done(j->ctx, &result);
    forget(j);
}

/* --- The certificate --- */

/* The blob may be older than the CA that signs now. */
static void follow_ca(struct blob *b, struct cert_ca *ca, const json_t *answer)
{
    char *pem = certificate_follow_ca(ca, answer) ? cert_ca_pem(ca) : NULL;

    if (!pem)
        return;
    free(b->ca);
    b->ca = pem;
}

static bool accept_certificate(struct join *j, const json_t *answer)
{
    const char *pem = json_string_value(json_object_get(answer, "certificate"));
    struct blob *b = j->member.blob;
    const struct certificate_owner who = {
        .pub = &j->pub, .user = b->user, .wall_s = time(NULL), .wall_known = true};
    char why[CERTIFICATE_WHY_SIZE];
    const char *ca_why = "";
    struct certificate c;
    struct cert_ca *ca = cert_ca_new(b->ca, strlen(b->ca), &ca_why);
    bool good;

    if (ca)
        follow_ca(b, ca, answer);
    good = ca && certificate_read(&c, ca, pem ? pem : "", &who, why);
    cert_ca_free(ca);
    if (!good)
        fail(j, PROTOCOL_FAILED, "the certificate that the service gave us is %s",
             ca ? why : ca_why);
    return good;
}

/* The answer may bring a newer definition of the network and newer pins than the blob. */
static bool accept_settings(struct join *j, const json_t *answer)
{
    const json_t *network = json_object_get(answer, "network");
    const json_t *pins = json_object_get(answer, "server_pins");
    struct blob *b = j->member.blob;
    char why[BLOB_WHY_SIZE];

    if ((network && blob_read_network(&b->network, network, why)) ||
        (pins && blob_read_pins(&b->pins, pins, why))) {
        fail(j, PROTOCOL_FAILED, "the service's answer is malformed: %s", why);
        return false;
    }
    return true;
}

static void on_certificate(struct join *j, const json_t *answer)
{
    const char *pem = json_string_value(json_object_get(answer, "certificate"));

    if (!accept_settings(j, answer) || !accept_certificate(j, answer))
        return;
    j->member.cert_pem = strdup(pem);
    if (!j->member.cert_pem)
        fail(j, PROTOCOL_FAILED, "out of memory");
    else
        complete(j);
}

/* --- The service's answer --- */

static void enrol(struct join *j);

/* The machine was removed while it was off, or had left: it comes back as a new one. The service
 * keeps the secret unspent when it refuses a key. */
static bool try_new_key(struct join *j, const char *code)
{
    if (!j->key_old || strcmp(code, HTTPS_REVOKED) != 0)
        return false;
    j->key_old = false;
    randombytes_buf(j->member.seed.b, sizeof j->member.seed.b);
    sign_keys(&j->pub, &j->sec, &j->member.seed);
    log_write(LOG_LEVEL_INFO, j->member.blob->group,
              "the key kept from before was removed; asking with a new one");
    enrol(j);
    return true;
}

static void on_refusal(struct join *j, const struct helper_error *failure)
{
    static const struct {
        const char *code;
        enum protocol_error error;
    } known[] = {
        {HTTPS_WRONG_PIN, PROTOCOL_WRONG_PIN}, {HTTPS_UNREACHABLE, PROTOCOL_NO_SERVICE},
        {HTTPS_NO_REPLY, PROTOCOL_NO_SERVICE}, {HTTPS_REFUSED, PROTOCOL_REFUSED},
        {HTTPS_REVOKED, PROTOCOL_REFUSED},     {HTTPS_FAILED, PROTOCOL_FAILED},
    };
    enum protocol_error e = PROTOCOL_FAILED;

    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (strcmp(known[i].code, failure->code) == 0)
            e = known[i].error;
    }
    if (strcmp(failure->code, HTTPS_NO_REPLY) == 0 &&
        state_pending_save(j->daemon->config.state, &j->pending_tag, &j->member.seed) != 0)
        log_write(LOG_LEVEL_WARN, j->member.blob->group, "cannot keep the key for another try");
    fail(j, e, "%s", failure->message);
}

static void on_answer(void *ctx, const json_t *answer)
{
    struct helper_error failure;
    struct join *j = ctx;

    if (!helper_failed(answer, &failure))
        on_certificate(j, answer);
    else if (!try_new_key(j, failure.code))
        on_refusal(j, &failure);
}

static void enrol(struct join *j)
{
    const struct blob *b = j->member.blob;
    const struct config_network *section = config_network(&j->daemon->config, b->group);
    char csr[JOIN_CSR_MAX], machine[LABEL_MAX + 1];
    const char *hostname = section->hostname[0] ? section->hostname : j->member.options.hostname;
    json_t *request;

    daemon_hostname(machine);
    if (csr_make(&j->sec, hostname[0] ? hostname : machine, csr, sizeof csr) < 0) {
        fail(j, PROTOCOL_FAILED, "cannot make a certificate request");
        return;
    }
    request = json_pack("{s:s, s:s, s:s, s:s}", "what", "enroll", "user", b->user, "secret",
                        b->secret, "csr", csr);
    if (!request || !helper_start(j->daemon, b, request, on_answer, j)) {
        fail(j, PROTOCOL_FAILED, "out of memory");
        return;
    }
    log_write(LOG_LEVEL_INFO, b->group, "asking %s for a certificate", b->server);
}

/* --- Before anything is asked of anybody --- */

/* What the file says stands above what is said at joining; saying both would only confuse. */
static bool check_options(struct join *j)
{
    const struct config_network *section =
        config_network(&j->daemon->config, j->member.blob->group);
    const struct state_options *o = &j->member.options;
    const char *key = NULL;

    if (o->hostname[0] && config_network_says(section, "hostname"))
        key = "hostname";
    else if (o->device[0] && config_network_says(section, "device"))
        key = "device";
    else if (o->bridge[0] && config_network_says(section, "bridge"))
        key = "bridge";
    else if (o->mode == CONFIG_MODE_ROUTER && config_network_says(section, "mode"))
        key = "mode";
    if (!key)
        return true;
    fail(j, PROTOCOL_USAGE, "%s sets %s for [network %s] already; leave out --%s or that line",
         j->daemon->options.config_path, key, section->name, key);
    return false;
}

static bool check_device(struct join *j)
{
    const char *configured = config_network(&j->daemon->config, j->member.blob->group)->device;
    const char *device = configured[0] ? configured : j->member.options.device;
    struct network *old = daemon_find(j->daemon, j->member.blob->group);

    if (!privilege_net_admin() || access("/dev/net/tun", R_OK | W_OK) < 0) {
        fail(j, PROTOCOL_FAILED, "this peald may not make network devices (%s); start it as root",
             privilege_net_admin() ? "/dev/net/tun" : "no CAP_NET_ADMIN");
        return false;
    }
    if (!device[0] || if_nametoindex(device) == 0 ||
        (old && strcmp(network_device(old), device) == 0))
        return true;
    fail(j, PROTOCOL_FAILED, "there is a device %s already; choose another with --device", device);
    return false;
}

/* Two groups with one range would take each other's packets. */
static bool check_range(struct join *j)
{
    const struct net *range = &j->member.blob->network.ipv4;
    char device[IFNAMSIZ], text[NET_TEXT_SIZE];
    unsigned i = 0;

    for (struct network *n; (n = daemon_next(j->daemon, &i)) != NULL; i++) {
        const struct blob *b = network_blob(n);

        if (!b || strcmp(b->group, j->member.blob->group) == 0 ||
            !net_overlaps(range, &b->network.ipv4))
            continue;
        fail(j, PROTOCOL_FAILED,
             "the group's range %s overlaps that of %s, which is joined already",
             net_text(range, text), b->group);
        return false;
    }
    if (links_conflict(j->daemon->links, range, device))
        log_write(LOG_LEVEL_WARN, j->member.blob->group,
                  "the group's range %s overlaps the addresses of %s; one hides part of the other",
                  net_text(range, text), device);
    return true;
}

static bool check_free(struct join *j)
{
    const char *group = j->member.blob->group;
    struct network *old = daemon_find(j->daemon, group);
    unsigned count = 0, i = 0;

    for (const struct join *other = j->daemon->joins; other; other = other->next) {
        if (other != j && strcmp(other->member.blob->group, group) == 0) {
            fail(j, PROTOCOL_FAILED, "%s is being joined already", group);
            return false;
        }
    }
    /* One that cannot start, or whose certificate was revoked, may be joined anew. */
    if (old && network_node(old)) {
        struct node_status s;

        node_status(network_node(old), &s);
        if (s.state != NODE_REMOVED) {
            fail(j, PROTOCOL_FAILED,
                 "this machine is a member of %s already; to join anew: peal leave %s", group,
                 group);
            return false;
        }
    }
    for (; daemon_next(j->daemon, &i); i++)
        count++;
    if (!old && count >= DAEMON_NETWORKS_MAX - 1) {
        fail(j, PROTOCOL_FAILED, "%u groups are joined; there is no room for more", count);
        return false;
    }
    return true;
}

static bool certificate_still_good(const struct join *j, const struct state_member *kept,
                                   struct certificate *c)
{
    const struct blob *b = j->member.blob;
    struct sign_public pub;
    struct sign_secret sec;
    const struct certificate_owner who = {
        .pub = &pub, .user = b->user, .wall_s = time(NULL), .wall_known = true};
    char reason[CERTIFICATE_WHY_SIZE];
    const char *why = "";
    struct cert_ca *ca = cert_ca_new(b->ca, strlen(b->ca), &why);
    bool good;

    sign_keys(&pub, &sec, &kept->seed);
    sign_secret_clear(&sec);
    good = ca && certificate_read(c, ca, kept->cert_pem, &who, reason);
    cert_ca_free(ca);
    return good;
}

/* Did the CA of that time revoke it, as far as was heard? Then key and certificate are of no use.
 */
static bool certificate_removed(const struct join *j, const struct state_member *kept,
                                const struct cert *cert)
{
    const struct blob *b = kept->blob;
    const char *why = "";
    struct cert_ca *ca = b->ca ? cert_ca_new(b->ca, strlen(b->ca), &why) : NULL;
    struct removed *removed = removed_new();
    bool listed = false;

    if (ca && removed) {
        state_load_removed(j->daemon->config.state, b->group, ca, removed);
        listed = removed_lists(removed, cert);
    }
    removed_free(removed);
    cert_ca_free(ca);
    return listed;
}

/* What is not said anew is as it was said the last time. */
static void take_up_options(struct state_options *now, const struct state_options *kept)
{
    if (!now->hostname[0])
        strcpy(now->hostname, kept->hostname);
    if (!now->device[0])
        strcpy(now->device, kept->device);
    strcpy(now->device_given, kept->device_given);
}

/* A group that was left keeps its key, certificate, options and address for the next time; of a
 * machine that was removed only the options and the address: it comes back as a new one. */
static bool take_up_kept(struct join *j)
{
    const char *root = j->daemon->config.state, *group = j->member.blob->group;
    struct certificate c = {0};
    struct state_member kept;
    char why[STATE_WHY_SIZE];

    if (!state_exists(root, group) || state_load(&kept, root, group, why) != 0)
        return true; /* what cannot be read is replaced */
    if (!id_eq(&kept.blob->group_id, &j->member.blob->group_id)) {
        state_member_clear(&kept);
        fail(j, PROTOCOL_FAILED,
             "%s/%s is kept from another group of that name; forget it: peal leave %s --purge",
             root, group, group);
        return false;
    }
    j->member.address = kept.address;
    take_up_options(&j->member.options, &kept.options);
    bool good = kept.cert_pem && j->member.blob->ca && certificate_still_good(j, &kept, &c);
    bool removed = kept.cert_pem && certificate_removed(j, &kept, &c.cert);
    if (!removed)
        j->member.seed = kept.seed;
    if (good && !removed) {
        j->member.cert_pem = kept.cert_pem;
        kept.cert_pem = NULL;
    }
    state_member_clear(&kept);
    return true;
}

static bool seed_is_zero(const struct secret *seed)
{
    static const struct secret zero;

    return equal_ct(seed->b, zero.b, sizeof zero.b);
}

static void choose_key(struct join *j)
{
    const struct blob *b = j->member.blob;
    const struct bytes parts[] = {{b->group_id.b, ID_LEN}, {b->secret, strlen(b->secret)}};
    struct secret pending = {0};

    j->pending_tag = id_hash(parts, ARRAY_LEN(parts));
    /* The key that this secret was sent with once may be the only one that it is good for. */
    if (!j->member.cert_pem &&
        state_pending_load(j->daemon->config.state, &j->pending_tag, &pending))
        j->member.seed = pending;
    j->key_old = !seed_is_zero(&j->member.seed);
    if (!j->key_old)
        randombytes_buf(j->member.seed.b, sizeof j->member.seed.b);
    wipe(&pending, sizeof pending);
    sign_keys(&j->pub, &j->sec, &j->member.seed);
}

void join_start(struct daemon *d, const struct join_wish *wish,
                void (*done)(void *ctx, const struct join_result *result), void *ctx)
{
    struct join_result no_memory = {.error = PROTOCOL_FAILED, .message = "out of memory"};
    struct join *j = calloc(1, sizeof *j);
    char why[BLOB_WHY_SIZE];

    if (!j) {
        done(ctx, &no_memory);
        return;
    }
    j->daemon = d;
    j->done = done;
    j->ctx = ctx;
    j->member.options = wish->options;
    j->member.blob = blob_parse(wish->blob, wish->blob_len, why);
    if (!j->member.blob) {
        fail(j, PROTOCOL_BAD_BLOB, "the blob %s", why);
        return;
    }
    if (!check_free(j) || !check_options(j) || !check_range(j) || !take_up_kept(j) ||
        !check_device(j))
        return;
    choose_key(j);
    j->next = d->joins;
    d->joins = j;
    if (!j->member.blob->ca || j->member.cert_pem)
        complete(j);
    else if (j->member.blob->server[0] && j->member.blob->secret[0])
        enrol(j);
    else
        fail(
            j, PROTOCOL_BAD_BLOB,
            "the blob has no \"server\" and \"secret\" to get a certificate with; fetch a new one");
}

const struct blob *join_pending(const struct daemon *d, size_t i)
{
    const struct join *j = d->joins;

    while (j && i-- > 0)
        j = j->next;
    return j ? j->member.blob : NULL;
}
