// link: peal_ca
/* A CA makes place for another: what members trust, and when; what is believed of it. */
#include "test_ca_desk.h"

#include <jansson.h>
#include <sodium.h>

#include "ca-web/rollover.h"

enum { DAY_S = 86400, LIFE_S = GROUP_CERTIFICATE_S };

/* What a member knows: as of when it was made, and what it was told since. */
struct member_view {
    struct cert_ca *ca;
    struct removed *removed;
    int64_t after;
};

struct club {
    struct bench b;
    struct group group;
    struct account owner, other;
};

static void club_open(struct club *c)
{
    bench_open(&c->b);
    c->owner = bench_user(&c->b, "owner");
    c->other = bench_user(&c->b, "other");
    c->group = bench_group(&c->b, "club", &c->owner);
    bench_member(&c->b, &c->group, &c->other);
}

static void view_open(struct club *c, struct member_view *v)
{
    struct text chain = {0};
    const char *why;

    assert_int_equal(group_chain(&c->b.desk, &c->group, &chain), OUT_OK);
    *v =
        (struct member_view){.ca = cert_ca_new(chain.p, chain.len, &why), .removed = removed_new()};
    assert_non_null(v->ca);
    text_clear(&chain);
}

static void view_close(struct member_view *v)
{
    cert_ca_free(v->ca);
    removed_free(v->removed);
}

static size_t decoded(const json_t *text, uint8_t out[REMOVAL_MAX])
{
    size_t len = 0;

    assert_int_equal(sodium_base642bin(out, REMOVAL_MAX, json_string_value(text),
                                       json_string_length(text), NULL, &len, NULL,
                                       sodium_base64_VARIANT_ORIGINAL),
                     0);
    return len;
}

/* As a watcher does it. How many messages were news. */
static unsigned view_follow(struct club *c, struct member_view *v)
{
    struct text body = {0};
    size_t count, i;
    json_t *event;
    unsigned news = 0;

    assert_int_equal(removal_events(&c->b.desk, &c->group, v->after, &body, &count), OUT_OK);
    json_t *answer = json_loadb(body.p, body.len, 0, NULL);
    json_array_foreach(json_object_get(answer, "events"), i, event)
    {
        uint8_t message[REMOVAL_MAX];
        size_t len = decoded(json_object_get(event, "removal"), message);

        news += removed_add(v->removed, v->ca, message, len) == REMOVED_NEW;
        removed_trust(v->removed, v->ca);
    }
    v->after = json_integer_value(json_object_get(answer, "number"));
    json_decref(answer);
    text_clear(&body);
    return news;
}

static struct issued enrolled(struct club *c, const struct account *user, unsigned machine)
{
    struct issued issued;
    char secret[64];

    bench_secret(&c->b, &c->group, user, secret);
    assert_int_equal(bench_enrol(&c->b, "club", user->name, secret, machine, &issued), OUT_OK);
    return issued;
}

static struct issued renewed(struct club *c, unsigned machine)
{
    struct issued issued;

    assert_int_equal(bench_renew(&c->b, "club", machine, &issued), OUT_OK);
    return issued;
}

static enum cert_verdict verdict(const struct club *c, const struct member_view *v,
                                 const struct issued *issued)
{
    struct cert cert;

    return cert_verify(v->ca, NULL, issued->der, issued->der_len, c->b.desk.now_s, true, &cert);
}

static enum removed_news crl_news(struct club *c, struct member_view *v)
{
    struct text der = {0};
    const char *why;
    int64_t number;

    assert_int_equal(removal_crl(&c->b.desk, &c->group, &der, &number), OUT_OK);
    enum removed_news news =
        removed_add_crl(v->removed, v->ca, (const uint8_t *)der.p, der.len, &why);
    text_clear(&der);
    return news;
}

static size_t trusted(const struct member_view *v)
{
    return cert_ca_trusted(v->ca);
}

static void both_are_trusted_while_the_old_one_has_certificates(void **state)
{
    struct club c;
    struct member_view early, late;

    club_open(&c);
    view_open(&c, &early);
    struct issued old = enrolled(&c, &c.owner, 1);
    assert_int_equal(rollover_begin(&c.b.desk, &c.group), OUT_OK);
    struct issued fresh = enrolled(&c, &c.owner, 2);
    assert_int_equal(verdict(&c, &early, &old), CERT_OK);
    assert_int_equal(verdict(&c, &early, &fresh), CERT_WRONG_ISSUER);
    assert_int_equal(crl_news(&c, &early), REMOVED_BAD);
    assert_int_equal(view_follow(&c, &early), 1);
    view_open(&c, &late); /* with a file made after it */
    for (struct member_view *v = &early; v; v = v == &early ? &late : NULL) {
        assert_int_equal(trusted(v), 2);
        assert_int_equal(verdict(&c, v, &old), CERT_OK);
        assert_int_equal(verdict(&c, v, &fresh), CERT_OK);
        assert_int_equal(crl_news(&c, v), REMOVED_NEW);
    }
    /* A removal of a machine with an old certificate, signed by the new CA. */
    struct cert who;
    enrolled(&c, &c.other, 3);
    assert_int_equal(cert_read(old.der, old.der_len, &who), CERT_OK);
    assert_int_equal(machine_revoke(&c.b.desk, &c.group, &who.node, ""), OUT_OK);
    assert_int_equal(view_follow(&c, &early), 1);
    assert_true(removed_lists(early.removed, &who));
    view_close(&early);
    view_close(&late);
    bench_close(&c.b);
}

static void the_old_one_ends_with_its_last_certificate(void **state)
{
    struct club c;
    struct member_view v;

    club_open(&c);
    view_open(&c, &v);
    struct issued old = enrolled(&c, &c.owner, 1);
    assert_int_equal(rollover_begin(&c.b.desk, &c.group), OUT_OK);
    c.b.desk.now_s += LIFE_S - DAY_S;
    renewed(&c, 1);
    assert_int_equal(view_follow(&c, &v), 1);
    assert_int_equal(crl_news(&c, &v), REMOVED_NEW); /* a day old: made anew, and nothing ended */
    assert_int_equal(view_follow(&c, &v), 0);
    assert_int_equal(trusted(&v), 2);
    c.b.desk.now_s += 2 * DAY_S;
    assert_int_equal(crl_news(&c, &v), REMOVED_NEW);
    assert_int_equal(view_follow(&c, &v), 1);
    assert_int_equal(trusted(&v), 1);
    struct issued fresh = renewed(&c, 1);
    assert_int_equal(verdict(&c, &v, &old), CERT_WRONG_ISSUER);
    assert_int_equal(verdict(&c, &v, &fresh), CERT_OK);
    view_close(&v);
    bench_close(&c.b);
}

static enum cert_verdict written(const struct club *c, const struct member_view *v,
                                 const struct issued *issued)
{
    struct cert cert;

    return cert_verify_written(v->ca, issued->der, issued->der_len, c->b.desk.now_s, true, &cert);
}

static void ended_by_hand_machines_renew_at_once(void **state)
{
    struct club c;
    struct member_view v;

    club_open(&c);
    view_open(&c, &v);
    assert_int_equal(rollover_end(&c.b.desk, &c.group), OUT_NOTHING_OLD);
    struct issued old = enrolled(&c, &c.owner, 1);
    assert_int_equal(rollover_begin(&c.b.desk, &c.group), OUT_OK);
    assert_int_equal(rollover_end(&c.b.desk, &c.group), OUT_OK);
    assert_int_equal(view_follow(&c, &v), 2);
    /* Lets nobody in, but tells who wrote what is still about. */
    assert_int_equal(verdict(&c, &v, &old), CERT_WRONG_ISSUER);
    assert_int_equal(written(&c, &v, &old), CERT_OK);
    c.b.desk.now_s += CERT_ENDED_S;
    assert_int_equal(written(&c, &v, &old), CERT_WRONG_ISSUER);
    c.b.desk.now_s -= CERT_ENDED_S;
    struct issued fresh = renewed(&c, 1); /* within the pause, too */
    assert_int_equal(verdict(&c, &v, &fresh), CERT_OK);
    assert_int_equal(trusted(&v), 1);
    view_close(&v);
    bench_close(&c.b);
}

static void not_more_than_members_take(void **state)
{
    struct club c;
    struct member_view v;

    club_open(&c);
    view_open(&c, &v);
    for (int i = 0; i < ROLLOVER_TRUSTED_MAX; i++)
        assert_int_equal(rollover_begin(&c.b.desk, &c.group), OUT_OK);
    assert_int_equal(rollover_begin(&c.b.desk, &c.group), OUT_FULL_AUTHORITIES);
    assert_int_equal(view_follow(&c, &v), ROLLOVER_TRUSTED_MAX);
    assert_int_equal(trusted(&v), ROLLOVER_TRUSTED_MAX + 1);
    view_close(&v);
    bench_close(&c.b);
}

static void whoever_has_the_answers_list_needs_no_other_word(void **state)
{
    struct club c;
    struct member_view v;
    uint8_t message[REMOVAL_MAX];
    json_t *list, *text;
    size_t i;

    club_open(&c);
    view_open(&c, &v);
    assert_int_equal(rollover_begin(&c.b.desk, &c.group), OUT_OK);
    assert_int_equal(rollover_end(&c.b.desk, &c.group), OUT_OK);
    assert_int_equal(rollover_begin(&c.b.desk, &c.group), OUT_OK);
    struct issued fresh = enrolled(&c, &c.owner, 1);
    list = rollover_messages(&c.b.desk, &c.group);
    json_array_foreach(list, i, text)
    {
        size_t len = decoded(text, message);

        assert_true(removed_is_succession(message, len));
        assert_int_equal(removed_add(v.removed, v.ca, message, len), REMOVED_NEW);
        removed_trust(v.removed, v.ca);
    }
    json_decref(list);
    assert_int_equal(trusted(&v), 2);
    assert_int_equal(verdict(&c, &v, &fresh), CERT_OK);
    view_close(&v);
    bench_close(&c.b);
}

static void nobody_else_names_a_successor(void **state)
{
    struct club c;
    struct member_view v, elsewhere;
    uint8_t message[REMOVAL_MAX];
    struct group other;

    club_open(&c);
    view_open(&c, &v);
    assert_int_equal(rollover_begin(&c.b.desk, &c.group), OUT_OK);
    json_t *list = rollover_messages(&c.b.desk, &c.group);
    size_t len = decoded(json_array_get(list, 0), message);
    json_decref(list);
    for (size_t i = 0; i < len; i++) {
        message[i] ^= 1;
        assert_int_equal(removed_add(v.removed, v.ca, message, len), REMOVED_BAD);
        message[i] ^= 1;
    }
    for (size_t shorter = 0; shorter < len; shorter++)
        assert_int_equal(removed_add(v.removed, v.ca, message, shorter), REMOVED_BAD);
    other = bench_group(&c.b, "elsewhere", &c.other);
    struct group mine = c.group;
    c.group = other;
    view_open(&c, &elsewhere);
    c.group = mine;
    assert_int_equal(removed_add(elsewhere.removed, elsewhere.ca, message, len), REMOVED_BAD);
    assert_int_equal(removed_add(v.removed, v.ca, message, len), REMOVED_NEW);
    assert_int_equal(trusted(&v), 1); /* until it is applied */
    struct cert nobody = {0};
    assert_false(removed_lists(v.removed, &nobody)); /* and it removes nobody */
    assert_false(removed_names(v.removed, &nobody.node));
    view_close(&v);
    view_close(&elsewhere);
    bench_close(&c.b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_are_trusted_while_the_old_one_has_certificates),
        cmocka_unit_test(the_old_one_ends_with_its_last_certificate),
        cmocka_unit_test(ended_by_hand_machines_renew_at_once),
        cmocka_unit_test(not_more_than_members_take),
        cmocka_unit_test(whoever_has_the_answers_list_needs_no_other_word),
        cmocka_unit_test(nobody_else_names_a_successor),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
