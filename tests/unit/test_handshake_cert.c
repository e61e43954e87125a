// link: peal_overlay
/* Who is let in: every verdict over a certificate ends the handshake with its reason. */
#include <stdio.h>

#include "overlay/core/wire.h"
#include "tests/unit/cm.h"
#include "tests/unit/forge.h"
#include "tests/unit/session_world.h"

enum { GROUP = 0x33, OTHER_GROUP = 0x44, CA_KEY = 90, OTHER_CA_KEY = 91 };

static struct cert_ca *ca_of(uint8_t key, uint8_t group)
{
    char names[200], pem[FORGE_PEM_SIZE];
    EVP_PKEY *pkey = forge_key(key);
    struct forge f = forge_ca(pkey, "bells", names, sizeof(names), group);
    size_t len = forge_pem(&f, pem, sizeof(pem));
    const char *why = NULL;
    struct cert_ca *ca = cert_ca_new(pem, len, &why);

    CHECK(ca != NULL);
    EVP_PKEY_free(pkey);
    return ca;
}

/* How a member differs from a good one. */
struct member {
    const char *why;      /* what the peer remembers; NULL: let in */
    const char *told;     /* what the member hears */
    uint8_t signer;       /* CA key; 0: CA_KEY */
    uint8_t group;        /* 0: GROUP */
    uint8_t cert_key;     /* the certificate's key; 0: the node's own */
    int64_t from_s, to_s; /* validity against now */
    bool wrong_node;      /* names an id that does not follow from the key */
    bool bare;            /* shows no certificate */
};

static struct forge_der certificate_of(const struct member *m, uint8_t key, uint64_t enrolment,
                                       struct id *node)
{
    EVP_PKEY *signer = forge_key(m->signer != 0 ? m->signer : CA_KEY);
    EVP_PKEY *pkey = forge_key(m->cert_key != 0 ? m->cert_key : key);
    uint8_t group = m->group != 0 ? m->group : GROUP;
    struct sign_public pub = forge_public(pkey);
    struct id group_id;
    char names[400], serial[8];

    memset(group_id.b, group, ID_LEN);
    *node = node_id_certified(&pub, &group_id, enrolment);
    forge_member_names(names, sizeof(names), pkey, group, enrolment, "");
    if (m->wrong_node)
        names[14] = names[14] == '0' ? '1' : '0'; /* the first digit after "URI:peal:node:" */
    struct forge f = forge_member(pkey, signer, "bells", names);

    snprintf(serial, sizeof(serial), "%02x01", key);
    f.serial = serial;
    if (m->to_s != 0) {
        f.not_before = FORGE_NOT_BEFORE + 100 + m->from_s;
        f.not_after = FORGE_NOT_BEFORE + 100 + m->to_s;
    }
    struct forge_der der = forge_der(&f);

    EVP_PKEY_free(signer);
    EVP_PKEY_free(pkey);
    return der;
}

static void add_member(struct world *w, const struct member *m, uint8_t key,
                       const struct cert_ca *ca, struct forge_der *der,
                       const struct removed *removed)
{
    struct world_node *n = world_add(w, key);

    *der = certificate_of(m, key, key, &n->config.node);
    n->config.ca = m->bare ? NULL : ca;
    n->config.cert_der = der->b;
    n->config.cert_len = der->len;
    n->config.removed = removed;
    world_start(n);
}

static const struct member good = {.why = NULL};

static const struct member members[] = {
    {.why = NULL},
    {"certificate expired", "the peer says our certificate expired", .from_s = -9000,
     .to_s = -1000},
    {"certificate not yet valid", "the peer says our certificate is not yet valid", .from_s = 1000,
     .to_s = 9000},
    {"certificate of another group", "the peer belongs to another group", .signer = OTHER_CA_KEY},
    {"certificate of another group", "the peer belongs to another group", .group = OTHER_GROUP},
    {"node id does not match", "the peer says our node id does not match", .wrong_node = true},
    {"certificate of another key", "the peer says our certificate is of another key",
     .cert_key = 55},
    {"no certificate shown", "the peer wants a certificate and we have none", .bare = true},
};

static void a_bad_certificate_is_refused_by_the_responder(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        struct world *w = world_new(i);
        struct cert_ca *ca = ca_of(CA_KEY, GROUP);
        struct session_refused r[4];
        struct forge_der der[2];

        add_member(w, &members[i], 1, ca, &der[0], NULL);
        add_member(w, &good, 2, ca, &der[1], NULL);
        world_open(&w->nodes[0], &w->nodes[1], false);
        world_run(w, SEC(2));
        assert_int_equal(w->nodes[1].ups, members[i].why == NULL);
        /* (One without a CA refuses us before it shows that it has no certificate.) */
        if (members[i].why != NULL && !members[i].bare) {
            assert_int_equal(sessions_refused(w->nodes[1].ss, r, 4), 1);
            assert_string_equal(r[0].why, members[i].why);
            assert_string_equal(r[0].user, "alice");
            assert_int_equal(w->nodes[0].last_down, SESSION_END_REFUSED);
            assert_string_equal(w->nodes[0].refusal, members[i].told);
            assert_int_equal(sessions_count(w->nodes[0].ss) + sessions_count(w->nodes[1].ss), 0);
        }
        world_free(w);
        cert_ca_free(ca);
    }
}

static void a_bad_certificate_is_refused_by_the_initiator(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        struct world *w = world_new(50 + i);
        struct cert_ca *ca = ca_of(CA_KEY, GROUP);
        struct session_refused r[4];
        struct forge_der der[2];

        add_member(w, &good, 1, ca, &der[0], NULL);
        add_member(w, &members[i], 2, ca, &der[1], NULL);
        world_open(&w->nodes[0], &w->nodes[1], false);
        world_run(w, SEC(2));
        assert_int_equal(w->nodes[0].ups, members[i].why == NULL);
        assert_int_equal(w->nodes[1].ups, members[i].why == NULL);
        if (members[i].why != NULL) {
            assert_int_equal(w->nodes[0].last_down, SESSION_END_REFUSED);
            assert_string_equal(w->nodes[0].refusal, members[i].why);
            assert_int_equal(sessions_refused(w->nodes[0].ss, r, 4), 1);
            assert_string_equal(r[0].why, members[i].why);
        }
        world_free(w);
        cert_ca_free(ca);
    }
}

static void without_a_known_time_dates_are_not_judged(void **state)
{
    struct world *w = world_new(100);
    struct cert_ca *ca = ca_of(CA_KEY, GROUP);
    struct forge_der der[2];
    struct cert cert;

    add_member(w, &members[1], 1, ca, &der[0], NULL);
    add_member(w, &good, 2, ca, &der[1], NULL);
    w->nodes[1].env.wall_known = false;
    world_open(&w->nodes[0], &w->nodes[1], false);
    world_run(w, SEC(2));
    assert_true(world_connected(&w->nodes[0], &w->nodes[1]));
    session_cert(world_session(&w->nodes[1], &w->nodes[0]), &cert);
    assert_string_equal(cert.user, "alice");
    world_free(w);
    cert_ca_free(ca);
}

static void repeated_refusals_are_remembered_once_and_sixteen_at_most(void **state)
{
    struct world *w = world_new(101);
    struct cert_ca *ca = ca_of(CA_KEY, GROUP);
    struct session_refused r[32];
    struct forge_der der[2];

    add_member(w, &good, 1, ca, &der[0], NULL);
    add_member(w, &members[1], 2, ca, &der[1], NULL);
    for (int i = 0; i < 3; i++) {
        world_open(&w->nodes[0], &w->nodes[1], false);
        world_run(w, SEC(2));
    }
    assert_int_equal(sessions_refused(w->nodes[0].ss, r, 32), 1);
    for (uint16_t i = 0; i < 20; i++) {
        w->nodes[1].ep.port = (uint16_t)(9000 + i);
        world_open(&w->nodes[0], &w->nodes[1], false);
        world_run(w, SEC(2));
    }
    assert_int_equal(sessions_refused(w->nodes[0].ss, r, 32), 16);
    assert_int_equal(r[0].from.ep.port, 9019);
    assert_int_equal(r[15].from.ep.port, 9004);
    world_free(w);
    cert_ca_free(ca);
}

/* A certificate that runs out while the session is up: the next hourly handshake says no. */
static void an_expired_certificate_ends_the_session_at_the_next_hour(void **state)
{
    const struct member short_lived = {.from_s = -100, .to_s = 1800};
    struct world *w = world_new(102);
    struct cert_ca *ca = ca_of(CA_KEY, GROUP);
    struct forge_der der[2];

    add_member(w, &short_lived, 1, ca, &der[0], NULL);
    add_member(w, &good, 2, ca, &der[1], NULL);
    world_open(&w->nodes[0], &w->nodes[1], false);
    world_run(w, SEC(2000));
    assert_true(world_connected(&w->nodes[0], &w->nodes[1]));
    w->nodes[0].env.wall_s += 5000;
    w->nodes[1].env.wall_s += 5000;
    world_run(w, SEC(2000));
    assert_int_equal(sessions_count(w->nodes[0].ss), 0);
    assert_int_equal(w->nodes[0].last_down, SESSION_END_REFUSED);
    assert_string_equal(w->nodes[0].refusal, "the peer says our certificate expired");
    assert_int_equal(w->nodes[1].last_down, SESSION_END_REFUSED);
    assert_string_equal(w->nodes[1].refusal, "certificate expired");
    world_free(w);
    cert_ca_free(ca);
}

static void a_removed_members_sessions_end_at_once_and_it_is_not_let_in_again(void **state)
{
    struct world *w = world_new(103);
    struct cert_ca *ca = ca_of(CA_KEY, GROUP);
    struct removed *removed = removed_new();
    EVP_PKEY *signer = forge_key(CA_KEY);
    struct forge_der der[3], message;
    struct cert who;

    for (uint8_t i = 0; i < 3; i++)
        add_member(w, &good, (uint8_t)(1 + i), ca, &der[i], i == 1 ? removed : NULL);
    assert_int_equal(cert_read(der[0].b, der[0].len, &who), CERT_OK);
    message = forge_removal(signer, &who.group, 7, &who);
    EVP_PKEY_free(signer);
    world_open(&w->nodes[0], &w->nodes[1], false);
    world_open(&w->nodes[2], &w->nodes[1], false);
    world_run(w, SEC(1));
    assert_int_equal(sessions_count(w->nodes[1].ss), 2);
    assert_int_equal(session_crl_number(world_session(&w->nodes[2], &w->nodes[1])), 0);
    assert_int_equal(removed_add(removed, ca, message.b, message.len), REMOVED_NEW);
    sessions_removed(w->nodes[1].ss);
    world_run(w, MSEC(1));
    assert_int_equal(sessions_count(w->nodes[1].ss), 1);
    assert_int_equal(w->nodes[1].last_down, SESSION_END_REFUSED);
    assert_string_equal(w->nodes[1].refusal, "certificate revoked");
    world_run(w, SEC(20));
    world_open(&w->nodes[0], &w->nodes[1], false);
    world_run(w, SEC(1));
    assert_string_equal(w->nodes[0].refusal, "the peer says our certificate is revoked");
    assert_int_equal(sessions_count(w->nodes[1].ss), 1);
    assert_null(world_open(&w->nodes[1], &w->nodes[0], true));
    session_close(world_session(&w->nodes[2], &w->nodes[1]));
    world_open(&w->nodes[2], &w->nodes[1], false);
    world_run(w, SEC(1));
    assert_int_equal(session_crl_number(world_session(&w->nodes[2], &w->nodes[1])), 7);
    world_free(w);
    removed_free(removed);
    cert_ca_free(ca);
}

static void an_attempt_to_reach_a_removed_member_ends_too(void **state)
{
    struct world *w = world_new(104);
    struct cert_ca *ca = ca_of(CA_KEY, GROUP);
    struct removed *removed = removed_new();
    EVP_PKEY *signer = forge_key(CA_KEY);
    struct forge_der der[2], message;
    struct cert who;

    add_member(w, &good, 1, ca, &der[0], NULL);
    add_member(w, &good, 2, ca, &der[1], removed);
    assert_int_equal(cert_read(der[0].b, der[0].len, &who), CERT_OK);
    message = forge_removal(signer, &who.group, 7, &who);
    EVP_PKEY_free(signer);
    w->udp_cut = true;
    assert_non_null(world_open(&w->nodes[1], &w->nodes[0], true));
    assert_int_equal(removed_add(removed, ca, message.b, message.len), REMOVED_NEW);
    sessions_removed(w->nodes[1].ss);
    world_run(w, MSEC(1));
    assert_int_equal(sessions_count(w->nodes[1].ss), 0);
    assert_int_equal(w->nodes[1].last_down, SESSION_END_REFUSED);
    world_free(w);
    removed_free(removed);
    cert_ca_free(ca);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bad_certificate_is_refused_by_the_responder),
        cmocka_unit_test(a_bad_certificate_is_refused_by_the_initiator),
        cmocka_unit_test(without_a_known_time_dates_are_not_judged),
        cmocka_unit_test(repeated_refusals_are_remembered_once_and_sixteen_at_most),
        cmocka_unit_test(a_removed_members_sessions_end_at_once_and_it_is_not_let_in_again),
        cmocka_unit_test(an_attempt_to_reach_a_removed_member_ends_too),
        cmocka_unit_test(an_expired_certificate_ends_the_session_at_the_next_hour),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
