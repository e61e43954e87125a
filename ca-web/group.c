#include "ca-web/group.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char purpose_key[] = "group key";
static const char purpose_authority[] = "authority seed";

/* One host:port; the host a name, an IPv4 address or an IPv6 address in brackets. */
static bool host_port_valid(const char *text)
{
    struct endpoint numeric;
    char host[NAME_MAX_LEN + 1];
    const char *colon = strrchr(text, ':');

    if (endpoint_parse(&numeric, text))
        return true;
    if (!colon || colon == text || (size_t)(colon - text) >= sizeof host)
        return false;
    size_t digits = strspn(colon + 1, "0123456789");
    long port = strtol(colon + 1, NULL, 10);
    if (digits == 0 || digits > 5 || colon[1 + digits] != '\0' || port < 1 || port > 65535)
        return false;
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = '\0';
    /* Digits and dots that endpoint_parse refused are a broken address, not a name. */
    return name_valid(host) && strspn(host, "0123456789.") != strlen(host);
}

/* Commas or blanks between; copied to out with single commas. */
static bool endpoints_read(char out[GROUP_ENDPOINTS_SIZE], const char *text)
{
    static const char separators[] = ", \t\r\n";
    char one[NAME_MAX_LEN + 8];
    size_t count = 0, used = 0;

    out[0] = '\0';
    for (text += strspn(text, separators); *text; text += strspn(text, separators)) {
        size_t len = strcspn(text, separators);
        if (len >= sizeof one || ++count > GROUP_ENDPOINTS_MAX)
            return false;
        memcpy(one, text, len);
        one[len] = '\0';
        if (!host_port_valid(one))
            return false;
        used += (size_t)snprintf(out + used, GROUP_ENDPOINTS_SIZE - used, "%s%s",
                                 count > 1 ? "," : "", one);
        text += len;
    }
    return true;
}

/* A private range, whole, that leaves room for a service address and some hosts. */
static bool range_valid(const struct net *net)
{
    if (net->addr.family != 4 || net->prefix < GROUP_PREFIX_MIN || net->prefix > GROUP_PREFIX_MAX)
        return false;
    struct addr first = net_first(net);
    struct addr last = net_host(net, net_hosts(net) - 1);
    /* An aligned block that sticks out of a private one has a public end. */
    return addr_is_private(&first) && addr_is_private(&last);
}

static bool range_read(char out[NET_TEXT_SIZE], const char *text)
{
    struct net net;

    if (!net_parse(&net, text) || !range_valid(&net))
        return false;
    net.addr = net_first(&net);
    net_text(&net, out);
    return true;
}

/* A 10.x.0.0/16 that no other group of this service has; after 64 draws any. */
static void range_draw(struct desk *d, char out[NET_TEXT_SIZE])
{
    for (int tries = 0; tries < 64; tries++) {
        snprintf(out, NET_TEXT_SIZE, "10.%u.0.0/16", 1 + randombytes_uniform(255));
        if (!store_int(d->store, 0, "SELECT 1 FROM groups WHERE ipv4 = ?1", VALUES(v_text(out))))
            return;
    }
}

/* RFC 4193: fd, then 40 bits of SHA-256("peal ula", group id) as the global id; /48. */
static void ula_text(char out[NET_TEXT_SIZE], const struct id *group)
{
    static const char label[] = "peal ula";
    const struct bytes parts[] = {{label, sizeof label - 1}, {group->b, ID_LEN}};
    uint8_t hash[HASH_LEN], address[16] = {0xfd};

    sha256_parts(hash, parts, ARRAY_LEN(parts));
    memcpy(address + 1, hash, 5);
    struct net net = {.addr = addr_v6(address), .prefix = 48};
    net_text(&net, out);
}

static bool domain_read(char out[NAME_MAX_LEN + 1], const char *domain, const char *group)
{
    if (!domain || !*domain)
        return snprintf(out, NAME_MAX_LEN + 1, "%s.peal", group) <= NAME_MAX_LEN;
    if (!name_valid(domain))
        return false;
    size_t i = 0;
    for (; domain[i]; i++)
        out[i] = domain[i] >= 'A' && domain[i] <= 'Z' ? (char)(domain[i] + 32) : domain[i];
    out[i] = '\0';
    return true;
}

static bool given(const char *text)
{
    return text && *text;
}

/* A whole number of units of unit_s, from 1 to most; what is not given stays as it is. */
static bool duration_read(int64_t *out_s, const char *text, int64_t most, int64_t unit_s)
{
    int64_t n = 0;

    if (!given(text))
        return true;
    if (strspn(text, "0123456789") != strlen(text) || strlen(text) > 6)
        return false;
    n = strtoll(text, NULL, 10);
    *out_s = n * unit_s;
    return n >= 1 && n <= most;
}

/* Everything but the range that is drawn. */
static enum outcome group_prepare(struct group *g, const struct group_wish *wish)
{
    *g = (struct group){.lease_s = GROUP_LEASE_S,
                        .certificate_s = GROUP_CERTIFICATE_S,
                        .members_see = wish->members_see,
                        .psk = wish->psk};
    if (!label_normalize(g->name, sizeof g->name, wish->name, strlen(wish->name)))
        return OUT_BAD_NAME;
    if (given(wish->ipv4) && !range_read(g->ipv4, wish->ipv4))
        return OUT_BAD_RANGE;
    if (!domain_read(g->domain, wish->domain, g->name))
        return OUT_BAD_DOMAIN;
    if (!endpoints_read(g->bootstrap, given(wish->bootstrap) ? wish->bootstrap : "") ||
        !endpoints_read(g->public_bootstrap,
                        given(wish->public_bootstrap) ? wish->public_bootstrap : ""))
        return OUT_BAD_ENDPOINT;
    if (!duration_read(&g->lease_s, wish->lease_hours, GROUP_LEASE_HOURS_MAX, 3600) ||
        !duration_read(&g->certificate_s, wish->certificate_days, GROUP_CERTIFICATE_DAYS_MAX,
                       86400))
        return OUT_BAD_NUMBER;
    randombytes_buf(g->id.b, sizeof g->id.b);
    ula_text(g->ipv6, &g->id);
    return OUT_OK;
}

static enum outcome group_insert(struct desk *d, struct group *g)
{
    uint8_t sealed[VAULT_SECRET_LEN];
    struct secret key;

    if (!g->ipv4[0])
        range_draw(d, g->ipv4);
    randombytes_buf(key.b, sizeof key.b);
    vault_seal(d->vault, purpose_key, &g->id, key.b, sizeof key.b, sealed);
    secret_clear(&key);
    int err =
        store_run(d->store,
                  "INSERT INTO groups (name, group_id, group_key, ipv4, ipv6, domain, lease_s,"
                  " certificate_s, psk, bootstrap, public_bootstrap, made_s, members_see)"
                  " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
                  VALUES(v_text(g->name), v_bytes(g->id.b, ID_LEN), v_bytes(sealed, sizeof sealed),
                         v_text(g->ipv4), v_text(g->ipv6), v_text(g->domain), v_int(g->lease_s),
                         v_int(g->certificate_s), v_int(g->psk), v_text(g->bootstrap),
                         v_text(g->public_bootstrap), v_int(d->now_s), v_int(g->members_see)));
    if (err == -ERR_BAD_STATE)
        return OUT_GROUP_EXISTS;
    g->row = store_last_row(d->store);
    return err < 0 ? desk_failed(err) : OUT_OK;
}

enum outcome group_authority_add(struct desk *d, const struct group *g, struct authority *out)
{
    uint8_t sealed[VAULT_SECRET_LEN];

    *out = (struct authority){0};
    randombytes_buf(out->seed.b, sizeof out->seed.b);
    int len = issue_authority(out, g->name, &g->id, d->now_s);
    vault_seal(d->vault, purpose_authority, &g->id, out->seed.b, sizeof out->seed.b, sealed);
    int err = len < 0 ? len
                      : store_run(d->store,
                                  "INSERT INTO authorities"
                                  " (group_row, certificate, seed, state, made_s)"
                                  " VALUES (?1, ?2, ?3, 'signing', ?4)",
                                  VALUES(v_int(g->row), v_bytes(out->der, out->der_len),
                                         v_bytes(sealed, sizeof sealed), v_int(d->now_s)));
    return err < 0 ? desk_failed(err) : OUT_OK;
}

static enum outcome owner_insert(struct desk *d, const struct group *g, const struct account *owner)
{
    if (store_run(d->store,
                  "INSERT INTO roles (group_row, user_row, role) VALUES (?1, ?2, 'owner')",
                  VALUES(v_int(g->row), v_int(owner->row))) < 0 ||
        store_run(d->store,
                  "INSERT INTO members (group_row, user_row, state, reason, asked_s, decided_s,"
                  " decided_by) VALUES (?1, ?2, 'approved', 'owner', ?3, ?3, ?4)",
                  VALUES(v_int(g->row), v_int(owner->row), v_int(d->now_s), v_text(owner->name))) <
            0)
        return OUT_INTERNAL;
    return desk_audit(d, VERB_GROUP_ADD, g->row, g->name, g->ipv4);
}

enum outcome group_add(struct desk *d, const struct group_wish *wish, const struct account *owner,
                       struct group *out)
{
    struct authority authority = {0};
    enum outcome o = group_prepare(out, wish);

    if (o == OUT_OK)
        o = desk_open(d, VERB_GROUP_ADD, 0, 0);
    if (o != OUT_OK)
        return o;
    o = group_insert(d, out);
    if (o == OUT_OK)
        o = group_authority_add(d, out, &authority);
    authority_clear(&authority);
    if (o == OUT_OK)
        o = owner_insert(d, out, owner);
    return desk_close(d, o);
}

static void told_number(struct text *t, const char *what, int64_t before, int64_t now)
{
    if (before != now)
        text_printf(t, "%s%s %lld, was %lld", t->len ? "; " : "", what, (long long)now,
                    (long long)before);
}

static void told_text(struct text *t, const char *what, const char *before, const char *now)
{
    if (strcmp(before, now))
        text_printf(t, "%s%s %s, was %s", t->len ? "; " : "", what, *now ? now : "none",
                    *before ? before : "none");
}

/* What the settings are now that were others before, for whoever reads the log. */
static enum outcome change_audit(struct desk *d, const struct group *before,
                                 const struct group_edit *edit, const char *bootstrap,
                                 const char *public_bootstrap)
{
    struct text t = {0};

    told_number(&t, "lease hours", before->lease_s / 3600, edit->lease_hours);
    told_number(&t, "certificate days", before->certificate_s / 86400, edit->certificate_days);
    told_text(&t, "bootstrap", before->bootstrap, bootstrap);
    told_text(&t, "public bootstrap", before->public_bootstrap, public_bootstrap);
    told_text(&t, "who is a member is seen by", before->members_see ? "members" : "roles",
              edit->members_see ? "members" : "roles");
    enum outcome o = t.failed ? OUT_INTERNAL
                              : desk_audit(d, VERB_GROUP_EDIT, before->row, before->name,
                                           t.len ? t.p : "nothing changed");
    text_clear(&t);
    return o;
}

static enum outcome change_write(struct desk *d, const struct group *g,
                                 const struct group_edit *edit)
{
    char bootstrap[GROUP_ENDPOINTS_SIZE], public_bootstrap[GROUP_ENDPOINTS_SIZE];
    struct group before;

    if (edit->lease_hours < 1 || edit->lease_hours > GROUP_LEASE_HOURS_MAX ||
        edit->certificate_days < 1 || edit->certificate_days > GROUP_CERTIFICATE_DAYS_MAX)
        return OUT_BAD_NUMBER;
    if (!endpoints_read(bootstrap, edit->bootstrap) ||
        !endpoints_read(public_bootstrap, edit->public_bootstrap))
        return OUT_BAD_ENDPOINT;
    enum outcome o = group_find(d, g->name, &before);
    if (o != OUT_OK)
        return o;
    int changed =
        store_run(d->store,
                  "UPDATE groups SET lease_s = ?3, certificate_s = ?4, bootstrap = ?5,"
                  " public_bootstrap = ?6, members_see = ?7, version = version + 1"
                  " WHERE id = ?1 AND version = ?2",
                  VALUES(v_int(g->row), v_int(edit->version), v_int(edit->lease_hours * 3600),
                         v_int(edit->certificate_days * 86400), v_text(bootstrap),
                         v_text(public_bootstrap), v_int(edit->members_see)));
    if (changed != 1)
        return changed < 0 ? desk_failed(changed) : OUT_CHANGED;
    return change_audit(d, &before, edit, bootstrap, public_bootstrap);
}

enum outcome group_change(struct desk *d, const struct group *g, const struct group_edit *edit)
{
    enum outcome o = desk_open(d, VERB_GROUP_EDIT, g->row, 0);

    return o == OUT_OK ? desk_close(d, change_write(d, g, edit)) : o;
}

enum outcome group_find(struct desk *d, const char *name, struct group *out)
{
    char label[LABEL_MAX + 1];

    *out = (struct group){0};
    if (!label_normalize(label, sizeof label, name, strlen(name)))
        return OUT_NO_GROUP;
    struct query q = store_ask(d->store,
                               "SELECT id, name, group_id, ipv4, ipv6, domain, lease_s,"
                               " certificate_s, psk, bootstrap, public_bootstrap, version,"
                               " members_see FROM groups WHERE name = ?1",
                               VALUES(v_text(label)));
    if (!query_row(&q))
        return q.failed ? OUT_INTERNAL : OUT_NO_GROUP;
    out->row = query_int(&q, 0);
    query_copy_text(&q, 1, out->name, sizeof out->name);
    bool ok = query_copy(&q, 2, out->id.b, ID_LEN);
    query_copy_text(&q, 3, out->ipv4, sizeof out->ipv4);
    query_copy_text(&q, 4, out->ipv6, sizeof out->ipv6);
    query_copy_text(&q, 5, out->domain, sizeof out->domain);
    out->lease_s = query_int(&q, 6);
    out->certificate_s = query_int(&q, 7);
    out->psk = query_int(&q, 8) != 0;
    query_copy_text(&q, 9, out->bootstrap, sizeof out->bootstrap);
    query_copy_text(&q, 10, out->public_bootstrap, sizeof out->public_bootstrap);
    out->version = query_int(&q, 11);
    out->members_see = query_int(&q, 12) != 0;
    query_end(&q);
    return ok ? OUT_OK : OUT_INTERNAL;
}

enum outcome group_key(struct desk *d, const struct group *g, struct secret *out)
{
    uint8_t sealed[VAULT_SECRET_LEN];
    struct query q =
        store_ask(d->store, "SELECT group_key FROM groups WHERE id = ?1", VALUES(v_int(g->row)));
    bool ok = query_row(&q) && query_copy(&q, 0, sealed, sizeof sealed);

    query_end(&q);
    ok = ok && vault_unseal(d->vault, purpose_key, &g->id, sealed, sizeof sealed, out->b);
    return ok ? OUT_OK : OUT_INTERNAL;
}

enum outcome group_authority(struct desk *d, const struct group *g, struct authority *out,
                             int64_t *row)
{
    uint8_t sealed[VAULT_SECRET_LEN];
    bool ok = false;
    struct query q = store_ask(d->store,
                               "SELECT id, certificate, seed FROM authorities"
                               " WHERE group_row = ?1 AND state = 'signing'",
                               VALUES(v_int(g->row)));

    *out = (struct authority){0};
    *row = 0;
    if (query_row(&q)) {
        const void *der = query_bytes(&q, 1, &out->der_len);
        ok = out->der_len <= sizeof out->der && query_copy(&q, 2, sealed, sizeof sealed);
        if (ok)
            memcpy(out->der, der, out->der_len);
        *row = query_int(&q, 0);
    }
    query_end(&q);
    ok =
        ok && vault_unseal(d->vault, purpose_authority, &g->id, sealed, sizeof sealed, out->seed.b);
    return ok ? OUT_OK : OUT_INTERNAL;
}

enum outcome group_chain(struct desk *d, const struct group *g, struct text *out)
{
    char pem[2 * ISSUE_CA_DER_MAX];
    struct query q = store_ask(d->store,
                               "SELECT certificate FROM authorities"
                               " WHERE group_row = ?1 AND state <> 'retired'"
                               " ORDER BY state = 'signing' DESC, id DESC",
                               VALUES(v_int(g->row)));

    while (query_row(&q)) {
        size_t len = 0;
        const void *der = query_bytes(&q, 0, &len);
        if (der_to_pem("CERTIFICATE", der, len, pem, sizeof pem) < 0) {
            query_end(&q);
            return OUT_INTERNAL;
        }
        text_str(out, pem);
    }
    return q.failed || !out->len || out->failed ? OUT_INTERNAL : OUT_OK;
}
