// link: peal_dht_alone
/* DHTs of a group with a CA: whose records count, and whose claim wins. */
#include "tests/unit/dht_world.h"
#include "tests/unit/forge.h"

enum { GROUP = 0x11, MEMBERS = 12, SITE = 0xab };

static EVP_PKEY *ca_key;
static struct cert_ca *ca;

/* A certificate of member `n`, whose key is made of n; `version` changes its serial. */
static struct forge_der certificate(unsigned n, uint64_t enrolment, unsigned version,
                                    const char *more)
{
    EVP_PKEY *key = forge_key((uint8_t)n);
    char names[1024], serial[33];
    struct forge f;
    struct forge_der der;

    forge_member_names(names, sizeof(names), key, GROUP, enrolment, more);
    snprintf(serial, sizeof(serial), "7a%02x%02x2233445566778899aabbccddee", n, version);
    f = forge_member(key, ca_key, "ring", names);
    f.serial = serial;
    der = forge_der(&f);
    EVP_PKEY_free(key);
    return der;
}

/* Certificates outlive the nodes that borrow them at dht_new. */
static struct forge_der ders[256];

static struct overlay *add_member(struct world *w, unsigned n, uint64_t enrolment, const char *more)
{
    struct overlay *o = world_new_node(w, n);
    struct secret seed;

    memset(seed.b, (int)n, sizeof(seed.b));
    sign_keys(&o->config.pub, &o->config.sec, &seed);
    ders[n] = certificate(n, enrolment, 0, more);
    o->config.ca = ca;
    o->config.node = o->id = node_id_certified(&o->config.pub, &w->group, enrolment);
    o->config.cert_der = ders[n].b;
    o->config.cert_len = ders[n].len;
    return o;
}

static void begin(struct world *w, uint64_t seed)
{
    world_init(w, seed);
    memset(w->group.b, GROUP, ID_LEN);
    w->wall_s = FORGE_NOT_BEFORE + 86400 - 1000;
}

/* Enrolment numbers fall as n grows. Who was removed is known to all but one. */
static void begin_knowing(struct world *w, uint64_t seed, const struct removed *removed,
                          unsigned all_but)
{
    begin(w, seed);
    for (unsigned n = 1; n <= MEMBERS; n++) {
        struct overlay *o = add_member(w, n, 1000 - n, "");

        o->config.removed = n - 1 == all_but ? NULL : removed;
        world_join(o, 0);
        world_run(w, MSEC(100));
    }
    world_run(w, SEC(5));
}

static void begin_with_members(struct world *w, uint64_t seed)
{
    begin_knowing(w, seed, NULL, 0);
}

static enum dht_status create_for(struct overlay *o, const struct id *key, const struct id *owner)
{
    assert_int_equal(dht_create(o->dht, key, owner, "mine", 4, 3600, DHT_KEEP, world_done, o, 0),
                     0);
    assert_true(world_run_until_done(o->world, o, o->done + 1, SEC(60)));
    return o->status;
}

static enum dht_status create_now(struct overlay *o, const struct id *key)
{
    return create_for(o, key, NULL);
}

static enum dht_status get_now(struct overlay *o, const struct id *key, enum dht_mode mode)
{
    assert_int_equal(dht_get(o->dht, key, mode, world_done, o, 0), 0);
    assert_true(world_run_until_done(o->world, o, o->done + 1, SEC(60)));
    return o->status;
}

static void certificates_are_fetched_from_whoever_has_them(void **state)
{
    struct world w;
    struct overlay *late;

    begin_with_members(&w, 1);
    for (unsigned i = 0; i < MEMBERS; i++) {
        struct id key = world_key(i);

        assert_int_equal(create_now(w.nodes[i], &key), DHT_OK);
    }
    for (unsigned i = 0; i < MEMBERS; i++) {
        struct id key = world_key(i);
        struct overlay *o = w.nodes[(i + 5) % MEMBERS];

        assert_int_equal(get_now(o, &key, i % 2 ? DHT_ANY : DHT_MAJORITY), DHT_OK);
        assert_int_equal(o->value.enrolment, 1000 - i - 1);
    }
    /* A joiner is handed records of writers that it has never met, also of one who is gone. */
    world_crash(w.nodes[2]);
    world_run(&w, SEC(10));
    late = add_member(&w, 99, 5000, "");
    world_join(late, 0);
    world_run(&w, SEC(5));
    assert_true(dht_ready(late->dht));
    assert_true(dht_records(late->dht) > 0);
    assert_int_equal(world_counted(late, "waiting_timeout"), 0);
    assert_int_equal(world_counted(late, "drop_forged"), 0);
    world_clear(&w);
}

static bool drop_certificates(struct world *w, const struct overlay *from, const uint8_t *body,
                              size_t len)
{
    return body[0] != 20;
}

static void without_its_certificate_nobody_stores_a_record(void **state)
{
    struct world w;
    struct id key = world_key(1);

    begin_with_members(&w, 2);
    w.hook = drop_certificates;
    assert_int_not_equal(create_now(w.nodes[0], &key), DHT_OK);
    world_run(&w, SEC(20));
    for (unsigned i = 1; i < MEMBERS; i++)
        assert_int_equal(dht_records(w.nodes[i]->dht), 0);
    w.hook = NULL;
    assert_int_equal(create_now(w.nodes[0], &key), DHT_OK);
    world_clear(&w);
}

static void the_lower_enrolment_keeps_the_key_after_a_partition(void **state)
{
    struct world w;

    begin_with_members(&w, 3);
    world_split(&w, 2);
    world_run(&w, SEC(20));
    for (unsigned i = 0; i < MEMBERS; i++) {
        struct id key = world_key(i / 2);

        assert_int_equal(create_now(w.nodes[i], &key), DHT_OK);
    }
    world_merge(&w);
    world_run(&w, SEC(60));
    for (unsigned i = 0; i < MEMBERS; i++) {
        struct id key = world_key(i / 2);
        struct dht_value v;

        assert_int_equal(dht_kept(w.nodes[i]->dht, &key, &v), i % 2 == 1);
        assert_int_equal(w.nodes[i]->lost, i % 2 == 0);
        assert_int_equal(get_now(w.nodes[i], &key, DHT_MAJORITY), DHT_OK);
        assert_true(id_eq(&w.nodes[i]->value.owner, &w.nodes[i | 1]->id));
    }
    world_clear(&w);
}

static bool host_name_is_key_1(const struct id *key, const struct cert *cert)
{
    struct id one = world_key(1);

    return id_eq(key, &one) && strcmp(cert->host, "alice-ws") == 0;
}

static void a_name_in_a_certificate_wins_against_any_claim(void **state)
{
    struct world w;
    struct id key = world_key(1), other = world_key(2);
    struct overlay *bound;

    begin_with_members(&w, 4);
    assert_int_equal(create_now(w.nodes[MEMBERS - 1], &key), DHT_OK);
    assert_int_equal(create_now(w.nodes[MEMBERS - 1], &other), DHT_OK);
    for (unsigned i = 0; i < MEMBERS; i++)
        w.nodes[i]->bound = host_name_is_key_1;
    bound = add_member(&w, 50, 9999, ",URI:peal:host:alice-ws");
    bound->bound = host_name_is_key_1;
    world_join(bound, 0);
    world_run(&w, SEC(5));
    assert_int_equal(create_now(bound, &other), DHT_TAKEN);
    assert_int_equal(create_now(bound, &key), DHT_OK);
    world_run(&w, SEC(60));
    assert_int_equal(w.nodes[MEMBERS - 1]->lost, 1);
    assert_true(id_eq(&w.nodes[MEMBERS - 1]->lost_to, &bound->id));
    assert_int_equal(get_now(w.nodes[0], &key, DHT_MAJORITY), DHT_OK);
    assert_true(id_eq(&w.nodes[0]->value.owner, &bound->id));
    assert_int_equal(create_now(w.nodes[MEMBERS - 1], &key), DHT_TAKEN);
    world_clear(&w);
}

static void records_of_a_removed_member_are_dropped_everywhere(void **state)
{
    struct world w;
    struct id key = world_key(1), other = world_key(2);
    struct cert cert;
    struct removed *removed = removed_new();
    struct forge_der message;

    begin_knowing(&w, 5, removed, 3);
    assert_int_equal(create_now(w.nodes[3], &key), DHT_OK);
    assert_int_equal(create_now(w.nodes[4], &other), DHT_OK);
    assert_int_equal(cert_read(ders[4].b, ders[4].len, &cert), CERT_OK);
    message = forge_removal(ca_key, &cert.group, 7, &cert);
    assert_int_equal(removed_add(removed, ca, message.b, message.len), REMOVED_NEW);
    for (unsigned i = 0; i < MEMBERS; i++)
        dht_removed(w.nodes[i]->dht);
    assert_int_equal(get_now(w.nodes[5], &other, DHT_ANY), DHT_OK);
    assert_int_not_equal(get_now(w.nodes[5], &key, DHT_MAJORITY), DHT_OK);
    assert_int_not_equal(create_now(w.nodes[3], &key), DHT_OK);
    assert_int_equal(create_now(w.nodes[6], &key), DHT_OK);
    world_clear(&w);
    removed_free(removed);
}

static void a_renewed_certificate_leaves_records_valid(void **state)
{
    struct world w;
    struct id key = world_key(1);
    struct forge_der renewed;
    struct dht_value first, v;

    begin_with_members(&w, 6);
    assert_int_equal(create_now(w.nodes[3], &key), DHT_OK);
    assert_true(dht_kept(w.nodes[3]->dht, &key, &first));
    renewed = certificate(4, 1000 - 4, 1, "");
    dht_set_cert(w.nodes[3]->dht, renewed.b, renewed.len);
    assert_int_equal(get_now(w.nodes[9], &key, DHT_MAJORITY), DHT_OK);
    world_run(&w, SEC(2500)); /* renewed with the new one */
    assert_true(dht_kept(w.nodes[3]->dht, &key, &v));
    assert_int_equal(v.sequence, first.sequence + 1);
    assert_int_equal(get_now(w.nodes[8], &key, DHT_MAJORITY), DHT_OK);
    assert_int_equal(w.nodes[8]->value.sequence, v.sequence);
    world_clear(&w);
}

static void members_of_a_site_share_what_it_owns(void **state)
{
    static const char names[] = ",URI:peal:site:abababababababababababababababababababab";
    struct world w;
    struct id key = world_key(1), site;
    struct overlay *a, *b;

    memset(site.b, SITE, ID_LEN);
    begin_with_members(&w, 7);
    a = add_member(&w, 60, 60, names);
    b = add_member(&w, 61, 61, names);
    world_join(a, 0);
    world_join(b, 0);
    world_run(&w, SEC(5));
    assert_int_equal(create_for(a, &key, &site), DHT_OK);
    assert_int_equal(create_for(w.nodes[0], &key, NULL), DHT_TAKEN);
    assert_true(id_eq(&w.nodes[0]->value.owner, &site));
    assert_int_not_equal(create_for(w.nodes[0], &key, &site), DHT_OK); /* not in its certificate */
    assert_int_equal(create_for(b, &key, &site), DHT_OK);              /* takes it over */
    assert_int_equal(get_now(w.nodes[0], &key, DHT_MAJORITY), DHT_OK);
    assert_true(id_eq(&w.nodes[0]->value.owner, &site));
    assert_true(id_eq(&w.nodes[0]->value.writer, &b->id));
    world_clear(&w);
}

static void a_shown_lease_is_checked_against_the_session(void **state)
{
    struct world w;
    struct id key = world_key(1);
    struct cert own, other;
    struct dht_value v;
    uint8_t bytes[DHT_RECORD_MAX];
    int len;

    begin_with_members(&w, 8);
    assert_int_equal(create_now(w.nodes[0], &key), DHT_OK);
    assert_int_equal(cert_read(ders[1].b, ders[1].len, &own), CERT_OK);
    assert_int_equal(cert_read(ders[2].b, ders[2].len, &other), CERT_OK);
    assert_int_equal(dht_record_export(w.nodes[1]->dht, &key, bytes, sizeof(bytes)),
                     -ERR_NOT_FOUND);
    assert_int_equal(dht_record_export(w.nodes[0]->dht, &key, bytes, 10), -ERR_RANGE);
    len = dht_record_export(w.nodes[0]->dht, &key, bytes, sizeof(bytes));
    assert_true(len > 0);
    assert_int_equal(dht_record_check(w.nodes[5]->dht, &own, bytes, (size_t)len, &v), 0);
    assert_true(id_eq(&v.key, &key) && id_eq(&v.owner, &w.nodes[0]->id));
    assert_int_equal(v.enrolment, 999);
    assert_int_equal(dht_record_check(w.nodes[5]->dht, &other, bytes, (size_t)len, &v),
                     -ERR_CRYPTO);
    for (size_t n = 0; n < (size_t)len; n++)
        assert_int_equal(dht_record_check(w.nodes[5]->dht, &own, bytes, n, &v), -ERR_FORMAT);
    for (size_t bit = 0; bit < (size_t)len * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_not_equal(dht_record_check(w.nodes[5]->dht, &own, bytes, (size_t)len, &v), 0);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    world_clear(&w);
}

static int setup(void **state)
{
    char names[128], pem[FORGE_PEM_SIZE];
    struct forge f;
    const char *why;

    CHECK(crypto_start() == 0);
    ca_key = forge_key(255);
    f = forge_ca(ca_key, "ring", names, sizeof(names), GROUP);
    ca = cert_ca_new(pem, forge_pem(&f, pem, sizeof(pem)), &why);
    return ca == NULL;
}

static int teardown(void **state)
{
    cert_ca_free(ca);
    EVP_PKEY_free(ca_key);
    return 0;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(certificates_are_fetched_from_whoever_has_them),
        cmocka_unit_test(without_its_certificate_nobody_stores_a_record),
        cmocka_unit_test(the_lower_enrolment_keeps_the_key_after_a_partition),
        cmocka_unit_test(a_name_in_a_certificate_wins_against_any_claim),
        cmocka_unit_test(records_of_a_removed_member_are_dropped_everywhere),
        cmocka_unit_test(a_renewed_certificate_leaves_records_valid),
        cmocka_unit_test(members_of_a_site_share_what_it_owns),
        cmocka_unit_test(a_shown_lease_is_checked_against_the_session),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
