// link: peal_ca
#include "test_ca_desk.h"

#include "ca-web/role.h"

/* What the members' own code says of a certificate that was issued. */
static enum cert_verdict verdict(struct bench *b, const struct issued *issued,
                                 const struct cert_crl *crl, struct cert *out)
{
    struct text chain = {0};
    const char *why = NULL;

    assert_int_equal(group_chain(&b->desk, &issued->group, &chain), OUT_OK);
    struct cert_ca *ca = cert_ca_new(chain.p, chain.len, &why);
    assert_non_null(ca);
    enum cert_verdict v =
        cert_verify(ca, crl, issued->der, issued->der_len, b->desk.now_s, true, out);
    cert_ca_free(ca);
    text_clear(&chain);
    return v;
}

struct world {
    struct bench b;
    struct account owner, bob;
    struct group g;
};

static void world_open(struct world *w)
{
    bench_open(&w->b);
    w->owner = bench_user(&w->b, "owner");
    w->bob = bench_user(&w->b, "bob");
    w->g = bench_group(&w->b, "lab", &w->owner);
    bench_member(&w->b, &w->g, &w->bob);
}

static void the_certificate_binds_user_group_and_node(void **state)
{
    struct world w;
    struct issued issued;
    struct cert cert;
    char secret[64];

    world_open(&w);
    bench_secret(&w.b, &w.g, &w.bob, secret);
    assert_int_equal(bench_enrol(&w.b, "LAB", "Bob", secret, 1, &issued), OUT_OK);
    assert_int_equal(verdict(&w.b, &issued, NULL, &cert), CERT_OK);
    struct id node = node_id_certified(&cert.key, &w.g.id, 1);
    assert_int_equal(cert.enrolment, 1);
    assert_memory_equal(&cert.node, &node, sizeof node);
    assert_memory_equal(&cert.group, &w.g.id, sizeof node);
    assert_string_equal(cert.user, "bob");
    assert_int_equal(cert.not_before_s, TEST_NOW_S - 600);
    assert_int_equal(cert.not_after_s, TEST_NOW_S + 30 * 86400);
    assert_true(issued.der_len <= CERT_DER_MAX);
    bench_close(&w.b);
}

static void the_longest_names_fit_a_handshake(void **state)
{
    static const char longest[] = "a23456789012345678901234567890123456789012345678901234567890123";
    struct world w;
    struct issued issued;
    struct cert cert;
    char secret[64];

    world_open(&w);
    struct account user = bench_user(&w.b, longest);
    struct group g = bench_group(&w.b, longest, &user);
    assert_int_equal(store_run(w.b.desk.store,
                               "UPDATE groups SET next_enrolment = ?2 WHERE id = ?1",
                               VALUES(v_int(g.row), v_int(INT64_MAX - 1))),
                     1);
    bench_secret(&w.b, &g, &user, secret);
    assert_int_equal(bench_enrol(&w.b, longest, longest, secret, 1, &issued), OUT_OK);
    assert_int_equal(verdict(&w.b, &issued, NULL, &cert), CERT_OK);
    assert_int_equal(cert.enrolment, INT64_MAX - 1);
    bench_close(&w.b);
}

static void a_secret_is_bound_to_its_first_key(void **state)
{
    struct world w;
    struct issued first, again;
    char secret[64];

    world_open(&w);
    bench_secret(&w.b, &w.g, &w.bob, secret);
    assert_int_equal(bench_enrol(&w.b, "lab", "bob", secret, 1, &first), OUT_OK);
    w.b.desk.now_s += 1000;
    assert_int_equal(bench_enrol(&w.b, "lab", "bob", secret, 1, &again), OUT_OK);
    assert_int_equal(again.der_len, first.der_len);
    assert_memory_equal(again.der, first.der, first.der_len);
    for (unsigned machine = 2; machine < 50; machine++)
        assert_int_equal(bench_enrol(&w.b, "lab", "bob", secret, machine, &again), OUT_SECRET_USED);
    assert_int_equal(store_int(w.b.desk.store, 0,
                               "SELECT (SELECT count(*) FROM machines) * 100 +"
                               " (SELECT count(*) FROM certificates) * 10 +"
                               " (SELECT next_enrolment FROM groups)",
                               VALUES()),
                     112);
    bench_close(&w.b);
}

/* Ten thousand times the same secret: one machine, whatever the replays are made of. */
static void replays_enrol_nobody(void **state)
{
    struct world w;
    struct issued issued;
    struct text csr[4] = {{0}};
    char secret[64], pem[2048];

    world_open(&w);
    bench_secret(&w.b, &w.g, &w.bob, secret);
    assert_int_equal(bench_enrol(&w.b, "lab", "bob", secret, 1, &issued), OUT_OK);
    for (unsigned i = 0; i < ARRAY_LEN(csr); i++) {
        bench_csr(2 + i, pem);
        text_str(&csr[i], pem);
    }
    for (unsigned i = 0; i < 10000; i++) {
        struct desk d = w.b.desk;
        d.actor = (struct actor){.kind = ACTOR_STRANGER};
        assert_int_equal(enrol(&d, "lab", "bob", secret, csr[i % ARRAY_LEN(csr)].p, &issued),
                         OUT_SECRET_USED);
    }
    assert_int_equal(store_int(w.b.desk.store, 0, "SELECT count(*) FROM certificates", VALUES()),
                     1);
    assert_int_equal(store_int(w.b.desk.store, 0, "SELECT count(*) FROM machines", VALUES()), 1);
    for (size_t i = 0; i < ARRAY_LEN(csr); i++)
        text_clear(&csr[i]);
    bench_close(&w.b);
}

static void what_does_not_belong_together_enrols_nobody(void **state)
{
    struct world w;
    struct issued issued;
    char secret[64], other[64];

    world_open(&w);
    bench_group(&w.b, "elsewhere", &w.bob);
    bench_secret(&w.b, &w.g, &w.bob, secret);
    bench_secret(&w.b, &w.g, &w.owner, other);
    const struct {
        const char *group, *user, *secret;
    } rows[] = {
        {"lab", "bob", ""},           {"lab", "bob", "x"},
        {"lab", "bob", other},        {"lab", "owner", secret},
        {"elsewhere", "bob", secret}, {"nowhere", "bob", secret},
        {"lab", "nobody", secret},    {"", "bob", secret},
        {"lab", "", secret},          {"lab' OR 1=1 --", "bob", secret},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_int_equal(bench_enrol(&w.b, rows[i].group, rows[i].user, rows[i].secret, 1, &issued),
                         OUT_BAD_SECRET);
    assert_int_equal(store_int(w.b.desk.store, -1, "SELECT count(*) FROM machines", VALUES()), 0);
    /* None of these spent it. */
    assert_int_equal(bench_enrol(&w.b, "lab", "bob", secret, 1, &issued), OUT_OK);
    bench_close(&w.b);
}

static void a_secret_expires(void **state)
{
    struct world w;
    struct issued issued;
    char secret[64], used[64];

    world_open(&w);
    bench_secret(&w.b, &w.g, &w.bob, secret);
    bench_secret(&w.b, &w.g, &w.bob, used);
    assert_int_equal(bench_enrol(&w.b, "lab", "bob", used, 1, &issued), OUT_OK);
    w.b.desk.now_s += BLOB_LIFE_S;
    assert_int_equal(bench_enrol(&w.b, "lab", "bob", secret, 2, &issued), OUT_SECRET_EXPIRED);
    assert_int_equal(bench_enrol(&w.b, "lab", "bob", used, 1, &issued), OUT_OK);
    assert_int_equal(bench_enrol(&w.b, "lab", "bob", used, 2, &issued), OUT_SECRET_USED);
    bench_close(&w.b);
}

static void a_member_has_a_most_of_unused_secrets(void **state)
{
    struct world w;
    struct issued issued;
    char secrets[BLOB_UNUSED_MAX + 1][64];

    world_open(&w);
    for (size_t i = 0; i < ARRAY_LEN(secrets); i++) {
        w.b.desk.now_s++;
        bench_secret(&w.b, &w.g, &w.bob, secrets[i]);
    }
    assert_int_equal(bench_enrol(&w.b, "lab", "bob", secrets[0], 1, &issued), OUT_BAD_SECRET);
    assert_int_equal(bench_enrol(&w.b, "lab", "bob", secrets[1], 1, &issued), OUT_OK);
    bench_secret(&w.b, &w.g, &w.bob, secrets[0]); /* a used one does not count */
    assert_int_equal(bench_enrol(&w.b, "lab", "bob", secrets[2], 2, &issued), OUT_OK);
    bench_close(&w.b);
}

static void an_enrolled_key_keeps_its_number_and_its_owner(void **state)
{
    struct world w;
    struct issued issued;
    struct cert cert;
    char secret[64];

    world_open(&w);
    for (unsigned machine = 1; machine <= 3; machine++) {
        bench_secret(&w.b, &w.g, &w.bob, secret);
        assert_int_equal(bench_enrol(&w.b, "lab", "bob", secret, machine, &issued), OUT_OK);
        assert_int_equal(verdict(&w.b, &issued, NULL, &cert), CERT_OK);
        assert_int_equal(cert.enrolment, machine);
    }
    bench_secret(&w.b, &w.g, &w.bob, secret);
    assert_int_equal(bench_enrol(&w.b, "lab", "bob", secret, 2, &issued), OUT_OK);
    assert_int_equal(verdict(&w.b, &issued, NULL, &cert), CERT_OK);
    assert_int_equal(cert.enrolment, 2);
    bench_secret(&w.b, &w.g, &w.owner, secret);
    assert_int_equal(bench_enrol(&w.b, "lab", "owner", secret, 2, &issued), OUT_KEY_IN_USE);
    /* A refusal does not spend the secret. */
    assert_int_equal(bench_enrol(&w.b, "lab", "owner", secret, 9, &issued), OUT_OK);
    assert_int_equal(verdict(&w.b, &issued, NULL, &cert), CERT_OK);
    assert_int_equal(cert.enrolment, 4);
    bench_close(&w.b);
}

static void a_member_has_a_most_of_machines(void **state)
{
    struct world w;
    struct issued issued;
    char secret[64];

    world_open(&w);
    for (unsigned machine = 0; machine < ENROL_MACHINES_MAX; machine++) {
        bench_secret(&w.b, &w.g, &w.bob, secret);
        assert_int_equal(bench_enrol(&w.b, "lab", "bob", secret, machine, &issued), OUT_OK);
    }
    bench_secret(&w.b, &w.g, &w.bob, secret);
    assert_int_equal(bench_enrol(&w.b, "lab", "bob", secret, ENROL_MACHINES_MAX, &issued),
                     OUT_FULL);
    bench_close(&w.b);
}

static void a_request_that_is_none_is_refused(void **state)
{
    struct world w;
    struct issued issued;
    char secret[64], good[2048], bad[2048];

    world_open(&w);
    bench_secret(&w.b, &w.g, &w.bob, secret);
    bench_csr(1, good);
    size_t len = strlen(good);
    struct desk d = w.b.desk;
    d.actor.kind = ACTOR_STRANGER;
    for (size_t cut = 0; cut < len - 2; cut++) {
        memcpy(bad, good, cut);
        bad[cut] = '\0';
        assert_int_equal(enrol(&d, "lab", "bob", secret, bad, &issued), OUT_BAD_CSR);
    }
    /* A flipped bit anywhere in the body breaks the signature or the format. */
    const char *begin = strchr(good, '\n') + 1, *end = strstr(good, "\n-----END");
    for (const char *p = begin; p < end; p++) {
        if (*p == '\n')
            continue;
        strcpy(bad, good);
        bad[p - good] = *p == 'A' ? 'B' : 'A';
        enum outcome o = enrol(&d, "lab", "bob", secret, bad, &issued);
        if (o != OUT_BAD_CSR)
            fail_msg("byte %td: %s", p - good, outcome_code(o));
    }
    assert_int_equal(store_int(w.b.desk.store, -1, "SELECT count(*) FROM machines", VALUES()), 0);
    assert_int_equal(enrol(&d, "lab", "bob", secret, good, &issued), OUT_OK);
    bench_close(&w.b);
}

static void an_enrolled_key_renews(void **state)
{
    struct world w;
    struct issued issued, renewed;
    struct cert before, after;
    char secret[64];

    world_open(&w);
    bench_secret(&w.b, &w.g, &w.bob, secret);
    assert_int_equal(bench_renew(&w.b, "lab", 1, &renewed), OUT_NOT_ENROLLED);
    assert_int_equal(bench_renew(&w.b, "nowhere", 1, &renewed), OUT_NOT_ENROLLED);
    assert_int_equal(bench_enrol(&w.b, "lab", "bob", secret, 1, &issued), OUT_OK);
    assert_int_equal(verdict(&w.b, &issued, NULL, &before), CERT_OK);
    /* At once: the same again, so that a repeated request costs nothing. */
    assert_int_equal(bench_renew(&w.b, "lab", 1, &renewed), OUT_OK);
    assert_memory_equal(renewed.der, issued.der, issued.der_len);
    w.b.desk.now_s += 20 * 86400;
    assert_int_equal(bench_renew(&w.b, "lab", 1, &renewed), OUT_OK);
    assert_int_equal(verdict(&w.b, &renewed, NULL, &after), CERT_OK);
    assert_int_equal(after.not_after_s, w.b.desk.now_s + 30 * 86400);
    assert_memory_equal(&after.node, &before.node, sizeof after.node);
    assert_string_equal(after.user, "bob");
    assert_memory_not_equal(after.serial, before.serial, sizeof after.serial);
    /* A lost machine's secret still gets its newest. */
    assert_int_equal(bench_enrol(&w.b, "lab", "bob", secret, 1, &issued), OUT_OK);
    assert_memory_equal(renewed.der, issued.der, issued.der_len);
    w.b.desk.now_s = after.not_after_s + ENROL_RENEW_GRACE_S;
    assert_int_equal(bench_renew(&w.b, "lab", 1, &renewed), OUT_OK);
    assert_int_equal(verdict(&w.b, &renewed, NULL, &after), CERT_OK);
    w.b.desk.now_s = after.not_after_s + ENROL_RENEW_GRACE_S + 1;
    assert_int_equal(bench_renew(&w.b, "lab", 1, &renewed), OUT_TOO_OLD);
    bench_close(&w.b);
}

static void renewing_without_end_issues_a_bounded_number(void **state)
{
    struct world w;
    struct issued issued;
    char secret[64];

    world_open(&w);
    bench_secret(&w.b, &w.g, &w.bob, secret);
    assert_int_equal(bench_enrol(&w.b, "lab", "bob", secret, 1, &issued), OUT_OK);
    for (int i = 0; i < 100; i++) {
        w.b.desk.now_s += 120;
        assert_int_equal(bench_renew(&w.b, "lab", 1, &issued), OUT_OK);
    }
    assert_int_equal(store_int(w.b.desk.store, 0, "SELECT count(*) FROM certificates", VALUES()),
                     REMOVAL_SERIALS_MAX);
    bench_close(&w.b);
}

/* The CRL that is served now, as a member reads it. */
static struct cert_crl *crl_now(struct world *w, int64_t *number)
{
    struct text der = {0}, chain = {0};
    const char *why = NULL;

    assert_int_equal(removal_crl(&w->b.desk, &w->g, &der, number), OUT_OK);
    assert_int_equal(group_chain(&w->b.desk, &w->g, &chain), OUT_OK);
    struct cert_ca *ca = cert_ca_new(chain.p, chain.len, &why);
    assert_non_null(ca);
    struct cert_crl *crl = cert_crl_new(ca, (uint8_t *)der.p, der.len, &why);
    if (!crl)
        fail_msg("%s", why);
    cert_ca_free(ca);
    text_clear(&chain);
    text_clear(&der);
    return crl;
}

static void a_removed_member_is_out_at_every_door(void **state)
{
    struct world w;
    struct issued one, two, other, issued;
    struct cert cert;
    char secret[64], unused[64], again[64];
    int64_t number = 0;

    world_open(&w);
    bench_secret(&w.b, &w.g, &w.bob, secret);
    assert_int_equal(bench_enrol(&w.b, "lab", "bob", secret, 1, &one), OUT_OK);
    bench_secret(&w.b, &w.g, &w.bob, again);
    assert_int_equal(bench_enrol(&w.b, "lab", "bob", again, 2, &two), OUT_OK);
    bench_secret(&w.b, &w.g, &w.bob, unused);
    bench_secret(&w.b, &w.g, &w.owner, again);
    assert_int_equal(bench_enrol(&w.b, "lab", "owner", again, 3, &other), OUT_OK);
    struct cert_crl *crl = crl_now(&w, &number);
    assert_int_equal(number, 1);
    assert_int_equal(cert_crl_entries(crl), 0);
    cert_crl_free(crl);

    assert_int_equal(member_revoke(&w.b.desk, &w.g, &w.bob, "left"), OUT_OK);
    crl = crl_now(&w, &number);
    assert_int_equal(number, 3); /* two machines, two removals */
    assert_int_equal(cert_crl_number(crl), 3);
    assert_int_equal(cert_crl_entries(crl), 2);
    assert_int_equal(verdict(&w.b, &one, crl, &cert), CERT_REVOKED);
    assert_int_equal(verdict(&w.b, &two, crl, &cert), CERT_REVOKED);
    assert_int_equal(verdict(&w.b, &other, crl, &cert), CERT_OK);
    assert_int_equal(bench_enrol(&w.b, "lab", "bob", secret, 1, &issued), OUT_REVOKED);
    assert_int_equal(bench_enrol(&w.b, "lab", "bob", unused, 4, &issued), OUT_REVOKED);
    assert_int_equal(bench_renew(&w.b, "lab", 1, &issued), OUT_REVOKED);

    /* Let in again, the old machines and the old file stay out. */
    bench_member(&w.b, &w.g, &w.bob);
    assert_int_equal(bench_renew(&w.b, "lab", 1, &issued), OUT_REVOKED);
    assert_int_equal(bench_enrol(&w.b, "lab", "bob", secret, 1, &issued), OUT_REVOKED);
    assert_int_equal(bench_enrol(&w.b, "lab", "bob", unused, 4, &issued), OUT_SECRET_EXPIRED);
    bench_secret(&w.b, &w.g, &w.bob, secret);
    assert_int_equal(bench_enrol(&w.b, "lab", "bob", secret, 2, &issued), OUT_REVOKED);
    assert_int_equal(bench_enrol(&w.b, "lab", "bob", secret, 5, &issued), OUT_OK);
    assert_int_equal(verdict(&w.b, &issued, crl, &cert), CERT_OK);
    cert_crl_free(crl);
    bench_close(&w.b);
}

static struct id node_of(struct bench *b, unsigned machine)
{
    struct query q = store_ask(b->desk.store, "SELECT node FROM machines WHERE enrolment = ?1",
                               VALUES(v_int(machine)));
    struct id id = {{0}};

    assert_true(query_row(&q) && query_copy(&q, 0, id.b, ID_LEN));
    query_end(&q);
    return id;
}

static enum outcome blob_of(struct desk *d, const struct group *g, const struct account *user)
{
    static const struct server server = {.url = "https://ca.example:8443", .pins = "AAAA"};
    struct text blob = {0};
    enum outcome o = blob_make(d, g, user, &server, &blob);

    text_clear(&blob);
    return o;
}

static void who_lost_a_machine_adds_another_when_an_approver_agrees(void **state)
{
    struct world w;
    struct issued issued;
    struct member m;
    char secret[64], second[64], unused[64];

    world_open(&w);
    struct desk bob = bench_as(&w.b, &w.bob), owner = bench_as(&w.b, &w.owner);
    bench_secret(&w.b, &w.g, &w.bob, secret);
    assert_int_equal(bench_enrol(&w.b, "lab", "bob", secret, 1, &issued), OUT_OK);
    bench_secret(&w.b, &w.g, &w.bob, second);
    assert_int_equal(bench_enrol(&w.b, "lab", "bob", second, 2, &issued), OUT_OK);
    bench_secret(&w.b, &w.g, &w.bob, unused);
    struct id first = node_of(&w.b, 1);

    /* Only his own is his to report, and somebody else's nobody's. */
    assert_int_equal(machine_lost(&owner, &w.g, &first, ""), OUT_NOT_PERMITTED);
    assert_int_equal(machine_lost(&bob, &w.g, &first, "\x01"), OUT_BAD_TEXT);
    assert_int_equal(bench_renew(&w.b, "lab", 1, &issued), OUT_OK);
    assert_int_equal(machine_lost(&bob, &w.g, &first, "in a train"), OUT_OK);
    assert_int_equal(member_find(&w.b.desk, &w.g, &w.bob, &m), OUT_OK);
    assert_int_equal(m.state, MEMBER_APPROVED);
    assert_int_equal(m.further, FURTHER_ASKED);
    assert_string_equal(m.reason, "lost ws: in a train");

    /* Nothing more is enrolled, neither by him nor with what he had in hand; the other one goes on.
     */
    assert_int_equal(bench_renew(&w.b, "lab", 1, &issued), OUT_REVOKED);
    assert_int_equal(bench_renew(&w.b, "lab", 2, &issued), OUT_OK);
    assert_int_equal(bench_enrol(&w.b, "lab", "bob", second, 2, &issued), OUT_OK);
    assert_int_equal(blob_of(&bob, &w.g, &w.bob), OUT_HELD);
    assert_int_equal(blob_of(&w.b.desk, &w.g, &w.bob), OUT_HELD);
    assert_int_equal(bench_enrol(&w.b, "lab", "bob", unused, 3, &issued), OUT_HELD);
    assert_int_equal(member_approve(&bob, &w.g, &w.bob, ""), OUT_NOT_PERMITTED);
    assert_int_equal(blob_of(&owner, &w.g, &w.owner), OUT_OK); /* whom it does not concern */

    assert_int_equal(member_deny(&owner, &w.g, &w.bob, "who is this?"), OUT_OK);
    assert_int_equal(blob_of(&bob, &w.g, &w.bob), OUT_HELD);
    assert_int_equal(member_deny(&owner, &w.g, &w.bob, ""), OUT_DENY_MEMBER);
    assert_int_equal(member_request(&bob, &w.g, &w.bob, "it is me"), OUT_OK);
    assert_int_equal(member_approve(&owner, &w.g, &w.bob, "he called"), OUT_OK);
    assert_int_equal(member_request(&bob, &w.g, &w.bob, ""), OUT_ALREADY_MEMBER);
    assert_int_equal(bench_enrol(&w.b, "lab", "bob", unused, 3, &issued), OUT_SECRET_EXPIRED);
    bench_secret(&w.b, &w.g, &w.bob, secret);
    assert_int_equal(bench_enrol(&w.b, "lab", "bob", secret, 1, &issued), OUT_REVOKED);
    assert_int_equal(bench_enrol(&w.b, "lab", "bob", secret, 4, &issued), OUT_OK);

    /* The same when an administrator removes one, or he himself without a word. */
    struct id third = node_of(&w.b, 3);
    assert_int_equal(machine_revoke(&owner, &w.g, &third, ""), OUT_OK);
    assert_int_equal(blob_of(&bob, &w.g, &w.bob), OUT_HELD);
    assert_int_equal(member_approve(&owner, &w.g, &w.bob, ""), OUT_OK); /* without being asked */
    assert_int_equal(blob_of(&bob, &w.g, &w.bob), OUT_OK);
    struct id other = node_of(&w.b, 2);
    assert_int_equal(machine_revoke(&bob, &w.g, &other, ""), OUT_OK);
    assert_int_equal(blob_of(&bob, &w.g, &w.bob), OUT_HELD);

    /* Who is removed as a member and let in again is let in whole. */
    assert_int_equal(member_request(&bob, &w.g, &w.bob, ""), OUT_OK);
    assert_int_equal(member_revoke(&owner, &w.g, &w.bob, ""), OUT_OK);
    assert_int_equal(member_find(&w.b.desk, &w.g, &w.bob, &m), OUT_OK);
    assert_int_equal(m.further, FURTHER_HELD);
    bench_member(&w.b, &w.g, &w.bob);
    assert_int_equal(blob_of(&bob, &w.g, &w.bob), OUT_OK);
    assert_int_equal(store_int(w.b.desk.store, 0,
                               "SELECT count(*) FROM audit WHERE verb = 'machine.lost'"
                               " AND actor = 'bob' AND detail = 'ws: in a train'",
                               VALUES()),
                     1);
    assert_int_equal(store_int(w.b.desk.store, 0,
                               "SELECT count(*) FROM audit WHERE verb = 'member.approve'"
                               " AND object = 'bob' AND detail = 'another machine: he called'",
                               VALUES()),
                     1);
    bench_close(&w.b);
}

static void nobody_agrees_to_his_own_next_machine_but_who_is_alone(void **state)
{
    static const struct {
        const char *own, *other; /* roles; "": none beside the owner */
        bool owner;              /* is it the owner himself who lost one? */
        enum outcome want;
    } rows[] = {
        {"approver", "", false, OUT_NOT_PERMITTED},
        {"administrator", "", false, OUT_NOT_PERMITTED},
        {"owner", "", false, OUT_NOT_PERMITTED},
        {"", "", true, OUT_OK},
        {"", "auditor", true, OUT_OK},
        {"", "approver", true, OUT_NOT_PERMITTED},
        {"", "administrator", true, OUT_NOT_PERMITTED},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char secret[64];
        struct world w;
        struct issued issued;
        struct member m;

        world_open(&w);
        struct account *who = rows[i].owner ? &w.owner : &w.bob;
        struct desk self = bench_as(&w.b, who);
        const char *name = rows[i].owner ? "owner" : "bob";
        if (*rows[i].own)
            assert_int_equal(role_set(&w.b.desk, &w.g, &w.bob, rows[i].own), OUT_OK);
        if (*rows[i].other)
            assert_int_equal(role_set(&w.b.desk, &w.g, &w.bob, rows[i].other), OUT_OK);
        bench_secret(&w.b, &w.g, who, secret);
        assert_int_equal(bench_enrol(&w.b, "lab", name, secret, 1, &issued), OUT_OK);
        struct id node = node_of(&w.b, 1);
        assert_int_equal(machine_lost(&self, &w.g, &node, ""), OUT_OK);
        assert_int_equal(member_approve(&self, &w.g, who, ""), rows[i].want);
        assert_int_equal(member_find(&w.b.desk, &w.g, who, &m), OUT_OK);
        assert_int_equal(m.further, rows[i].want == OUT_OK ? FURTHER_FREE : FURTHER_ASKED);
        assert_int_equal(member_approve(&w.b.desk, &w.g, who, ""), OUT_OK);
        bench_close(&w.b);
    }
}

/* A note as long as a note may be does not keep a stolen machine in the group. */
static void a_lost_machine_goes_whatever_is_said_about_it(void **state)
{
    static const struct {
        size_t len;
        bool whole; /* in the request */
    } rows[] = {
        {0, true},
        {1, true},
        {REASON_MAX - sizeof "lost ws:", true},
        {REASON_MAX + 1 - sizeof "lost ws:", false},
        {REASON_MAX, false},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char secret[64], note[REASON_MAX + 1] = "", text[REASON_MAX + 16];
        struct world w;
        struct issued issued;
        struct member m;

        world_open(&w);
        struct desk bob = bench_as(&w.b, &w.bob);
        bench_secret(&w.b, &w.g, &w.bob, secret);
        assert_int_equal(bench_enrol(&w.b, "lab", "bob", secret, 1, &issued), OUT_OK);
        struct id node = node_of(&w.b, 1);
        memset(note, 'x', rows[i].len);
        assert_int_equal(machine_lost(&bob, &w.g, &node, note), OUT_OK);
        assert_int_equal(bench_renew(&w.b, "lab", 1, &issued), OUT_REVOKED);
        assert_int_equal(member_find(&w.b.desk, &w.g, &w.bob, &m), OUT_OK);
        assert_int_equal(m.further, FURTHER_ASKED);
        snprintf(text, sizeof text, "lost ws%s%s", rows[i].whole && *note ? ": " : "",
                 rows[i].whole ? note : "");
        assert_string_equal(m.reason, text);
        snprintf(text, sizeof text, "ws%s%s", *note ? ": " : "", note);
        assert_int_equal(store_int(w.b.desk.store, 0,
                                   "SELECT count(*) FROM audit WHERE verb = 'machine.lost'"
                                   " AND detail = ?1",
                                   VALUES(v_text(text))),
                         1);
        bench_close(&w.b);
    }
}

static void the_crl_is_signed_anew_every_day_and_forgets_the_expired(void **state)
{
    struct world w;
    struct issued issued;
    struct cert_crl *crl;
    char secret[64];
    int64_t number = 0, next = 0;

    world_open(&w);
    bench_secret(&w.b, &w.g, &w.bob, secret);
    assert_int_equal(bench_enrol(&w.b, "lab", "bob", secret, 1, &issued), OUT_OK);
    assert_int_equal(member_revoke(&w.b.desk, &w.g, &w.bob, ""), OUT_OK);
    crl = crl_now(&w, &number);
    assert_int_equal(cert_crl_entries(crl), 1);
    assert_int_equal(cert_crl_next_update_s(crl), TEST_NOW_S + CRL_LIFE_S);
    cert_crl_free(crl);
    w.b.desk.now_s += CRL_REFRESH_S - 1;
    cert_crl_free(crl_now(&w, &next));
    assert_int_equal(next, number);
    w.b.desk.now_s += 1;
    cert_crl_free(crl_now(&w, &next));
    assert_int_equal(next, number + 1);
    w.b.desk.now_s += 31 * 86400;
    crl = crl_now(&w, &next);
    assert_int_equal(cert_crl_entries(crl), 0);
    cert_crl_free(crl);
    bench_close(&w.b);
}

static void a_removal_is_signed_and_names_what_is_removed(void **state)
{
    static const char label[] = "peal removal";
    struct world w;
    struct issued issued;
    struct cert cert;
    struct text out = {0};
    char secret[64];
    size_t count = 0;
    uint8_t message[sizeof label - 1 + REMOVAL_MAX];

    world_open(&w);
    bench_secret(&w.b, &w.g, &w.bob, secret);
    assert_int_equal(bench_enrol(&w.b, "lab", "bob", secret, 1, &issued), OUT_OK);
    assert_int_equal(verdict(&w.b, &issued, NULL, &cert), CERT_OK);
    assert_int_equal(member_revoke(&w.b.desk, &w.g, &w.bob, ""), OUT_OK);
    struct query q = store_ask(w.b.desk.store, "SELECT message, number FROM removals", VALUES());
    assert_true(query_row(&q));
    size_t len = 0;
    const uint8_t *m = query_bytes(&q, 0, &len);
    assert_int_equal(query_int(&q, 1), 1);
    assert_int_equal(len, 1 + 20 + 8 + 8 + 20 + 32 + 1 + 17 + 64);
    assert_int_equal(m[0], 1);
    assert_memory_equal(m + 1, w.g.id.b, 20);
    assert_int_equal(m[1 + 20 + 7], 1);
    assert_memory_equal(m + 37, cert.node.b, 20);
    assert_memory_equal(m + 57, cert.key.b, 32);
    assert_int_equal(m[89], 1);
    assert_int_equal(m[90], cert.serial_len);
    assert_memory_equal(m + 91, cert.serial, cert.serial_len);
    struct authority a;
    struct sign_public public;
    struct sign_secret sign_key;
    int64_t row = 0;
    memcpy(message, label, sizeof label - 1);
    memcpy(message + sizeof label - 1, m, len - SIGNATURE_LEN);
    uint8_t signature[SIGNATURE_LEN];
    memcpy(signature, m + len - SIGNATURE_LEN, SIGNATURE_LEN);
    query_end(&q);
    assert_int_equal(group_authority(&w.b.desk, &w.g, &a, &row), OUT_OK);
    sign_keys(&public, &sign_key, &a.seed);
    assert_true(sign_verify(signature, message, sizeof label - 1 + len - SIGNATURE_LEN, &public));
    assert_int_equal(removal_events(&w.b.desk, &w.g, 0, &out, &count), OUT_OK);
    assert_int_equal(count, 1);
    text_clear(&out);
    assert_int_equal(removal_events(&w.b.desk, &w.g, 1, &out, &count), OUT_OK);
    assert_int_equal(count, 0);
    assert_string_equal(out.p, "{\"group\":\"lab\",\"number\":1,\"events\":[]}");
    text_clear(&out);
    bench_close(&w.b);
}

static void a_group_keeps_an_owner(void **state)
{
    struct world w;

    world_open(&w);
    assert_int_equal(member_revoke(&w.b.desk, &w.g, &w.owner, ""), OUT_LAST_OWNER);
    assert_int_equal(store_run(w.b.desk.store,
                               "INSERT INTO roles (group_row, user_row, role)"
                               " VALUES (?1, ?2, 'owner')",
                               VALUES(v_int(w.g.row), v_int(w.bob.row))),
                     1);
    assert_int_equal(member_revoke(&w.b.desk, &w.g, &w.owner, ""), OUT_OK);
    assert_int_equal(member_revoke(&w.b.desk, &w.g, &w.bob, ""), OUT_LAST_OWNER);
    bench_close(&w.b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_certificate_binds_user_group_and_node),
        cmocka_unit_test(the_longest_names_fit_a_handshake),
        cmocka_unit_test(a_secret_is_bound_to_its_first_key),
        cmocka_unit_test(replays_enrol_nobody),
        cmocka_unit_test(what_does_not_belong_together_enrols_nobody),
        cmocka_unit_test(a_secret_expires),
        cmocka_unit_test(a_member_has_a_most_of_unused_secrets),
        cmocka_unit_test(an_enrolled_key_keeps_its_number_and_its_owner),
        cmocka_unit_test(a_member_has_a_most_of_machines),
        cmocka_unit_test(a_request_that_is_none_is_refused),
        cmocka_unit_test(an_enrolled_key_renews),
        cmocka_unit_test(renewing_without_end_issues_a_bounded_number),
        cmocka_unit_test(a_removed_member_is_out_at_every_door),
        cmocka_unit_test(who_lost_a_machine_adds_another_when_an_approver_agrees),
        cmocka_unit_test(a_lost_machine_goes_whatever_is_said_about_it),
        cmocka_unit_test(nobody_agrees_to_his_own_next_machine_but_who_is_alone),
        cmocka_unit_test(the_crl_is_signed_anew_every_day_and_forgets_the_expired),
        cmocka_unit_test(a_removal_is_signed_and_names_what_is_removed),
        cmocka_unit_test(a_group_keeps_an_owner),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
