#include "daemon/membership.h"

#include "daemon/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct membership {
    struct membership_config config;
    struct membership_host host;
    void *ctx;
    struct cert_ca *ca;
    struct certificate *certificate;
    struct renewal *renewal; /* NULL: no service, or no certificate that could be read */
    struct removed *removed;
    struct watch *watch;   /* NULL: no service */
    struct survey *survey; /* the same */
    bool crl_stale;        /* and that was told */
    char failure[CERTIFICATE_WHY_SIZE];
};

static struct certificate *read_certificate(const struct membership *m, const char *pem,
                                            const struct certificate_owner *who,
                                            char why[CERTIFICATE_WHY_SIZE], bool *good)
{
    struct certificate *c = malloc(sizeof *c);

    *good = c && certificate_read(c, m->ca, pem, who, why);
    if (!c)
        snprintf(why, CERTIFICATE_WHY_SIZE, "not to be kept: out of memory");
    return c;
}

/* --- The CA and its successors --- */

/* What is trusted now stands in the blob from here on. */
static bool ca_changed(struct membership *m)
{
    struct blob *b = m->config.member->blob;
    char *pem = cert_ca_pem(m->ca);
    bool changed = pem && strcmp(pem, b->ca) != 0;

    if (!changed) {
        free(pem);
        return false;
    }
    free(b->ca);
    b->ca = pem;
    return true;
}

/* Our certificate was made by a CA that is no more. */
static bool ca_left_us(const struct membership *m)
{
    const struct certificate *c = m->certificate;
    struct cert ignored;

    return c->verdict == CERT_OK &&
           cert_verify(m->ca, NULL, c->der, c->len, 0, false, &ignored) == CERT_WRONG_ISSUER;
}

static void follow_ca(struct membership *m)
{
    const struct state_member *member = m->config.member;
    size_t trusted = cert_ca_trusted(m->ca);
    int rc;

    removed_trust(m->removed, m->ca);
    if (!ca_changed(m) && cert_ca_trusted(m->ca) == trusted)
        return;
    log_write(LOG_LEVEL_INFO, member->blob->group, "certificates of %zu CA%s are accepted now%s",
              cert_ca_trusted(m->ca), cert_ca_trusted(m->ca) == 1 ? "" : "s",
              ca_left_us(m) ? "; ours is of one that has ended, and is renewed" : "");
    rc = state_save_renewal(m->config.daemon->config.state, member->blob, member->cert_pem);
    if (rc)
        log_write(LOG_LEVEL_WARN, member->blob->group, "cannot keep the group's CA: %s",
                  strerror(-rc));
    if (m->renewal && ca_left_us(m))
        renewal_now(m->renewal);
}

/* The answer may bring a newer definition of the network and newer pins than the blob has. They are
 * used from the next start on. */
static bool take_settings(struct membership *m, const json_t *answer, char why[RENEWAL_ERROR_SIZE])
{
    const json_t *network = json_object_get(answer, "network");
    const json_t *pins = json_object_get(answer, "server_pins");
    struct blob *b = m->config.member->blob;
    char reason[BLOB_WHY_SIZE];

    if ((!network || blob_read_network(&b->network, network, reason) == 0) &&
        (!pins || blob_read_pins(&b->pins, pins, reason) == 0))
        return true;
    snprintf(why, RENEWAL_ERROR_SIZE, "the service's answer is malformed: %s", reason);
    return false;
}

static bool is_newer(const struct membership *m, const struct certificate *now)
{
    const struct cert *old = membership_cert(m);

    return !old || now->cert.not_after_s > old->not_after_s || ca_left_us(m);
}

static bool keep(struct membership *m, const char *pem, char why[RENEWAL_ERROR_SIZE])
{
    struct state_member *member = m->config.member;
    char *copy = strdup(pem);
    int rc =
        copy ? state_save_renewal(m->config.daemon->config.state, member->blob, pem) : -ERR_NOMEM;

    if (rc) {
        snprintf(why, RENEWAL_ERROR_SIZE, "the new certificate cannot be kept: %s",
                 copy ? strerror(-rc) : "out of memory");
        free(copy);
        return false;
    }
    free(member->cert_pem);
    member->cert_pem = copy;
    return true;
}

static void use(struct membership *m, struct certificate *now)
{
    struct certificate *old = m->certificate;
    char until[32];
    time_t t = (time_t)now->cert.not_after_s;
    struct tm tm;

    m->certificate = now;
    m->failure[0] = '\0';
    strftime(until, sizeof until, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&t, &tm));
    log_write(LOG_LEVEL_INFO, m->config.member->blob->group,
              "our certificate was renewed and is valid until %s", until);
    renewal_set(m->renewal, &now->cert);
    m->host.certificate(m->ctx);
    free(old);
}

static bool on_renewed(void *ctx, const json_t *answer, char why[RENEWAL_ERROR_SIZE])
{
    const char *pem = json_string_value(json_object_get(answer, "certificate"));
    struct membership *m = ctx;
    const struct certificate_owner who = {.pub = m->config.pub,
                                          .user = m->config.member->blob->user,
                                          .wall_s = time(NULL),
                                          .wall_known = true};
    char reason[CERTIFICATE_WHY_SIZE];
    struct certificate *now;
    bool good;

    if (certificate_follow_ca(m->ca, answer))
        (void)ca_changed(m);
    now = read_certificate(m, pem ? pem : "", &who, reason, &good);
    if (!good)
        snprintf(why, RENEWAL_ERROR_SIZE, "the certificate that the service gave us is %s", reason);
    else if (!is_newer(m, now))
        snprintf(why, RENEWAL_ERROR_SIZE, "the service gave us the same certificate again");
    if (!good || !is_newer(m, now) || !take_settings(m, answer, why) || !keep(m, pem, why)) {
        free(now);
        return false;
    }
    use(m, now);
    return true;
}

/* --- Removals --- */

static bool on_wanted(void *ctx)
{
    struct membership *m = ctx;
    const struct node *n = m->host.node(m->ctx);

    return n && node_watches_removals(n);
}

static void on_removal(void *ctx, const uint8_t *message, size_t len)
{
    struct membership *m = ctx;
    struct node *n = m->host.node(m->ctx);

    if (n && node_removal(n, message, len) == REMOVED_BAD)
        log_write(LOG_LEVEL_WARN, m->config.member->blob->group,
                  "the service sent a removal that this group's CA did not sign");
}

static bool on_crl(void *ctx, const uint8_t *der, size_t len)
{
    struct membership *m = ctx;
    struct node *n = m->host.node(m->ctx);
    const char *why;

    if (!n || node_crl(n, der, len, &why) != REMOVED_BAD)
        return true;
    log_write(LOG_LEVEL_WARN, m->config.member->blob->group,
              "the service's list of removed members is a %s", why);
    return false;
}

bool membership_crl_stale(const struct membership *m)
{
    int64_t next_s = m->removed ? removed_crl_next_s(m->removed) : 0;

    return next_s && next_s < time(NULL);
}

/* Told once, here; status and metrics say it for as long as it is so. It stops nobody. */
static void on_checked(void *ctx)
{
    struct membership *m = ctx;
    bool stale = membership_crl_stale(m);

    if (stale && !m->crl_stale)
        log_write(LOG_LEVEL_WARN, m->config.member->blob->group,
                  "the list of removed members is out of date: the service has not signed a newer "
                  "one; nobody is cut off for that, but removals may be missing");
    m->crl_stale = stale;
}

static void on_known(void *ctx, uint64_t number, uint32_t age_s, uint8_t out[KNOWN_LEN])
{
    const struct membership *m = ctx;
    const struct known k = {.group = *cert_ca_group(m->ca),
                            .node = m->certificate->cert.node,
                            .number = number,
                            .age_s = age_s};

    known_write(&k, m->config.sec, out);
}

static bool start_watch(struct membership *m)
{
    static const struct watch_host host = {
        .wanted = on_wanted,
        .removal = on_removal,
        .crl = on_crl,
        .checked = on_checked,
        .known = on_known,
    };
    const struct blob *b = m->config.member->blob;

    m->removed = removed_new();
    if (!m->removed)
        return false;
    state_load_removed(m->config.daemon->config.state, b->group, m->ca, m->removed);
    if (!b->server[0])
        return true;
    m->watch = watch_new(m->config.daemon, b, removed_number(m->removed), &host, m);
    return m->watch != NULL;
}

static struct node *on_survey(void *ctx)
{
    struct membership *m = ctx;

    return m->host.node(m->ctx);
}

static bool start_survey(struct membership *m)
{
    static const struct survey_host host = {.node = on_survey};
    const struct blob *b = m->config.member->blob;

    if (!b->server[0])
        return true;
    m->survey = survey_new(m->config.daemon, b, cert_ca_group(m->ca), m->config.sec, &host, m);
    return m->survey != NULL;
}

struct removed *membership_removed(const struct membership *m)
{
    return m->removed;
}

void membership_keep_removed(struct membership *m)
{
    const char *group = m->config.member->blob->group;
    struct node *n = m->host.node(m->ctx);
    int rc;

    follow_ca(m);
    rc = state_save_removed(m->config.daemon->config.state, group, m->removed);

    if (rc)
        log_write(LOG_LEVEL_WARN, group, "cannot keep the list of removed members: %s",
                  strerror(-rc));
    if (m->watch && n)
        watch_learned(m->watch, removed_number(m->removed), overlay_size_estimate(node_overlay(n)));
}

void membership_look(struct membership *m)
{
    if (m->watch)
        watch_look(m->watch);
}

const struct watch *membership_watch(const struct membership *m)
{
    return m->watch;
}

static bool start_renewal(struct membership *m)
{
    static const struct renewal_host host = {.renewed = on_renewed};
    const struct blob *b = m->config.member->blob;

    if (!b->server[0] || m->certificate->verdict == CERT_MALFORMED)
        return true;
    m->renewal = renewal_new(m->config.daemon, b, m->config.sec, m->config.hostname, &host, m);
    if (m->renewal)
        renewal_set(m->renewal, &m->certificate->cert);
    return m->renewal != NULL;
}

struct membership *membership_new(const struct membership_config *config,
                                  const struct membership_host *host, void *ctx,
                                  char why[CERTIFICATE_WHY_SIZE])
{
    const struct blob *b = config->member->blob;
    const struct certificate_owner who = {.pub = config->pub,
                                          .user = b->user,
                                          .wall_s = config->wall_s,
                                          .wall_known = config->wall_known};
    struct membership *m = calloc(1, sizeof *m);
    const char *reason = "out of memory";
    bool good;

    if (m) {
        m->config = *config;
        m->host = *host;
        m->ctx = ctx;
        m->ca = cert_ca_new(b->ca, strlen(b->ca), &reason);
    }
    if (m && m->ca) {
        m->certificate = read_certificate(m, config->member->cert_pem, &who, m->failure, &good);
        if (m->certificate && start_renewal(m) && start_watch(m) && start_survey(m))
            return m;
        reason = "out of memory";
    }
    snprintf(why, CERTIFICATE_WHY_SIZE, "%s", reason);
    membership_free(m);
    return NULL;
}

void membership_free(struct membership *m)
{
    if (!m)
        return;
    survey_free(m->survey);
    watch_free(m->watch);
    renewal_free(m->renewal);
    removed_free(m->removed);
    free(m->certificate);
    cert_ca_free(m->ca);
    free(m);
}

const char *membership_failure(const struct membership *m)
{
    return m->failure[0] ? m->failure : NULL;
}

void membership_fill(const struct membership *m, struct overlay_config *c)
{
    c->ca = m->ca;
    c->cert_der = m->certificate->der;
    c->cert_len = m->certificate->len;
    c->node = m->certificate->cert.node;
}

const struct cert *membership_cert(const struct membership *m)
{
    return m->certificate->verdict == CERT_MALFORMED ? NULL : &m->certificate->cert;
}

size_t membership_authorities(const struct membership *m)
{
    return cert_ca_trusted(m->ca);
}

const struct renewal *membership_renewal(const struct membership *m)
{
    return m->renewal;
}

void membership_hurry(struct membership *m, int64_t gap_s)
{
    if (m->renewal)
        renewal_hurry(m->renewal, gap_s);
    if (m->watch)
        watch_hurry(m->watch);
}

void membership_reload(struct membership *m)
{
    membership_hurry(m, 0);
    if (m->survey)
        survey_look(m->survey);
}
