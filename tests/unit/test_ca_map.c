// link: peal_ca
/* The map of a ring: who may send one, which is kept, what no reader takes, and what the page and
 * the API make of it. */
#include "test_ca_desk.h"

#include "ca-web/answer.h"
#include "ca-web/chart.h"
#include "ca-web/map.h"
#include "ca-web/role.h"
#include "overlay/crypto/cert.h"

enum { OWNERS = 1, AUDITORS = 2, MEMBERS = 3 }; /* machines */

struct club {
    struct bench b;
    struct group group;
    struct account owner, auditor, member;
};

static void club_open(struct club *c)
{
    const struct account *of[] = {NULL, &c->owner, &c->auditor, &c->member};
    struct issued issued;
    char secret[64];

    bench_open(&c->b);
    c->owner = bench_user(&c->b, "owner");
    c->auditor = bench_user(&c->b, "auditor");
    c->member = bench_user(&c->b, "member");
    c->group = bench_group(&c->b, "club", &c->owner);
    bench_member(&c->b, &c->group, &c->auditor);
    bench_member(&c->b, &c->group, &c->member);
    assert_int_equal(role_set(&c->b.desk, &c->group, &c->auditor, "auditor"), OUT_OK);
    for (unsigned i = OWNERS; i <= MEMBERS; i++) {
        bench_secret(&c->b, &c->group, of[i], secret);
        assert_int_equal(bench_enrol(&c->b, "club", of[i]->name, secret, i, &issued), OUT_OK);
    }
}

static void keys_of(unsigned machine, struct sign_public *public, struct sign_secret *secret)
{
    const struct secret seed = {{(uint8_t)machine, 0, 7}};

    sign_keys(public, secret, &seed);
}

static struct id node_of(struct club *c, unsigned machine)
{
    struct sign_public public;
    struct sign_secret secret;
    struct id node = {{0}};

    keys_of(machine, &public, &secret);
    struct query q = store_ask(c->b.desk.store, "SELECT node FROM machines WHERE key = ?1",
                               VALUES(v_bytes(public.b, sizeof public.b)));
    assert_true(query_row(&q) && query_copy(&q, 0, node.b, ID_LEN));
    query_end(&q);
    return node;
}

static int by_id(const void *a, const void *b)
{
    return id_cmp(&((const struct ringmap_node *)a)->node, &((const struct ringmap_node *)b)->node);
}

/* The three machines and one that nobody knows; each names those beside it. */
static void ring_make(struct club *c, unsigned machine, int64_t at_s, struct ringmap *m)
{
    *m = (struct ringmap){.group = c->group.id, .node = node_of(c, machine), .at_s = at_s};
    for (unsigned i = OWNERS; i <= MEMBERS; i++)
        m->nodes[m->count++].node = node_of(c, i);
    memset(m->nodes[m->count++].node.b, 0x80, ID_LEN);
    m->members = (uint32_t)m->count;
    qsort(m->nodes, m->count, sizeof m->nodes[0], by_id);
    for (size_t i = 0; i < m->count; i++) {
        struct ringmap_node *n = &m->nodes[i];

        n->flags = RINGMAP_ANSWERED | RINGMAP_CONSISTENT;
        n->count[0] = n->count[1] = 1;
        n->near[0][0] = (uint16_t)((i + m->count - 1) % m->count);
        n->near[1][0] = (uint16_t)((i + 1) % m->count);
    }
}

static enum outcome told(struct club *c, const uint8_t *message, size_t len)
{
    struct desk d = c->b.desk;

    d.actor = (struct actor){.kind = ACTOR_STRANGER};
    return map_told(&d, &c->group, message, len);
}

static enum outcome tell(struct club *c, unsigned machine, int64_t at_s)
{
    static uint8_t message[RINGMAP_MAX];
    static struct ringmap m;
    struct sign_public public;
    struct sign_secret secret;

    keys_of(machine, &public, &secret);
    ring_make(c, machine, at_s, &m);
    return told(c, message, ringmap_write(&m, &secret, message));
}

/* Whose map it is that is shown; at_s 0: there is none. */
static int64_t shown(struct club *c, struct id *by)
{
    struct map m;
    int64_t at_s = 0;

    assert_int_equal(map_read(&c->b.desk, &c->group, &m), OUT_OK);
    if (m.ring) {
        at_s = m.ring->at_s;
        *by = m.ring->node;
    }
    map_clear(&m);
    return at_s;
}

static void machines_of_those_with_a_role_are_listened_to_and_the_newest_map_is_kept(void **state)
{
    const int64_t now = TEST_NOW_S;
    struct club c;
    struct id by, owners, auditors;

    club_open(&c);
    owners = node_of(&c, OWNERS);
    auditors = node_of(&c, AUDITORS);
    assert_int_equal(shown(&c, &by), 0);
    assert_int_equal(tell(&c, MEMBERS, now), OUT_NOT_PERMITTED);
    assert_int_equal(shown(&c, &by), 0);
    assert_int_equal(tell(&c, OWNERS, now - 10), OUT_OK);
    assert_int_equal(shown(&c, &by), now - 10);
    assert_true(id_eq(&by, &owners));
    assert_int_equal(tell(&c, AUDITORS, now), OUT_OK);
    assert_int_equal(tell(&c, OWNERS, now), OUT_OK); /* no newer, and no harm */
    assert_int_equal(tell(&c, OWNERS, now - 10), OUT_OK);
    assert_int_equal(shown(&c, &by), now);
    assert_true(id_eq(&by, &auditors));
    assert_int_equal(tell(&c, OWNERS, now + CERT_CLOCK_SLACK_S + 1), OUT_BAD_CLOCK);
    assert_int_equal(tell(&c, OWNERS, now - CERT_CLOCK_SLACK_S - 1), OUT_BAD_CLOCK);
    /* The role goes, and with the machine what it said. */
    assert_int_equal(role_set(&c.b.desk, &c.group, &c.auditor, "member"), OUT_OK);
    assert_int_equal(tell(&c, AUDITORS, now + 1), OUT_NOT_PERMITTED);
    assert_int_equal(shown(&c, &by), now);
    assert_int_equal(machine_revoke(&c.b.desk, &c.group, &auditors, ""), OUT_OK);
    assert_int_equal(shown(&c, &by), 0);
    assert_int_equal(store_int(c.b.desk.store, 0, "SELECT count(*) FROM maps", VALUES()), 1);
    bench_close(&c.b);
}

/* A machine has none of its member's roles but the one to send maps. */
static void a_machine_of_an_owner_may_not_do_what_he_may(void **state)
{
    struct club c;

    club_open(&c);
    const struct actor machine = {.kind = ACTOR_MACHINE, .row = c.owner.row};
    const struct object object = {.group_row = c.group.row, .user_row = c.owner.row};

    for (int verb = 0; verb < VERB_COUNT; verb++) {
        const struct actor plain = {.kind = ACTOR_MACHINE};
        enum outcome o = authorize(c.b.desk.store, &machine, (enum verb)verb, object);

        if (verb == VERB_MAP_TELL)
            assert_int_equal(o, OUT_OK);
        else
            assert_int_equal(o, authorize(c.b.desk.store, &plain, (enum verb)verb, object));
    }
    bench_close(&c.b);
}

static void what_is_forged_or_cut_is_refused(void **state)
{
    static uint8_t message[RINGMAP_MAX];
    static struct ringmap m;
    struct sign_public public;
    struct sign_secret secret;
    struct club c;
    struct id by;

    club_open(&c);
    keys_of(OWNERS, &public, &secret);
    ring_make(&c, OWNERS, TEST_NOW_S, &m);
    size_t len = ringmap_write(&m, &secret, message);
    for (size_t cut = 0; cut < len; cut++)
        assert_int_equal(told(&c, message, cut), OUT_BAD_REQUEST);
    for (size_t i = 0; i < len; i++) {
        message[i] ^= 1;
        enum outcome o = told(&c, message, len);
        assert_true(o == OUT_BAD_REQUEST || o == OUT_NOT_ENROLLED);
        message[i] ^= 1;
    }
    keys_of(AUDITORS, &public, &secret); /* in another's name */
    len = ringmap_write(&m, &secret, message);
    assert_int_equal(told(&c, message, len), OUT_NOT_ENROLLED);
    assert_int_equal(shown(&c, &by), 0);
    bench_close(&c.b);
}

/* Signed by who may, and yet no map. */
static void a_map_that_makes_no_sense_is_refused(void **state)
{
    static uint8_t message[RINGMAP_MAX];
    static struct ringmap m;
    struct sign_public public;
    struct sign_secret secret;
    struct club c;

    club_open(&c);
    keys_of(OWNERS, &public, &secret);
    for (int wrong = 0; wrong <= 10; wrong++) {
        ring_make(&c, OWNERS, TEST_NOW_S, &m);
        switch (wrong) {
        case 0: /* itself */
            m.nodes[1].near[0][0] = 1;
            break;
        case 1: /* what is not there */
            m.nodes[1].near[1][0] = (uint16_t)m.count;
            break;
        case 2: /* the same twice */
            m.nodes[1].count[0] = 2;
            m.nodes[1].near[0][1] = m.nodes[1].near[0][0];
            break;
        case 3:
            m.nodes[2].flags = RINGMAP_FLAGS + 1;
            break;
        case 4:
            m.nodes[2].path = RINGMAP_PATHS;
            break;
        case 5: /* not sorted */
            m.nodes[0].node = m.nodes[3].node;
            break;
        case 6: /* twice */
            m.nodes[2].node = m.nodes[3].node;
            break;
        case 7: /* without the surveyor */
            m.node.b[19] ^= 1;
            break;
        case 8:
            m.count = 0;
            break;
        case 9: /* another group's */
            m.group.b[0] ^= 1;
            break;
        case 10:
            m.at_s = -1;
            break;
        }
        assert_int_equal(told(&c, message, ringmap_write(&m, &secret, message)), OUT_BAD_REQUEST);
    }
    assert_int_equal(tell(&c, OWNERS, TEST_NOW_S), OUT_OK);
    bench_close(&c.b);
}

/* The most that a map can hold is a request's base64, and comes back as it was. */
static void the_largest_map_fits_a_request(void **state)
{
    static uint8_t message[RINGMAP_MAX];
    static struct ringmap m, read;
    struct sign_public public;
    struct sign_secret secret;

    assert_true((RINGMAP_MAX + 2) / 3 * 4 + 4096 <= 64 * 1024);
    keys_of(1, &public, &secret);
    m = (struct ringmap){.at_s = 5, .cut = true, .members = 5000, .count = RINGMAP_NODES_MAX};
    for (size_t i = 0; i < m.count; i++) {
        m.nodes[i].node.b[0] = (uint8_t)(i >> 8);
        m.nodes[i].node.b[1] = (uint8_t)i;
        m.nodes[i].path = (uint8_t)(i % RINGMAP_PATHS);
        m.nodes[i].count[1] = RINGMAP_NEAR;
        for (size_t k = 0; k < RINGMAP_NEAR; k++)
            m.nodes[i].near[1][k] = (uint16_t)((i + k + 1) % m.count);
    }
    m.node = m.nodes[700].node;
    size_t len = ringmap_write(&m, &secret, message);
    assert_int_equal(len, RINGMAP_MAX);
    assert_true(ringmap_read(&read, message, len));
    assert_true(ringmap_signed_by(message, len, &public));
    assert_int_equal(read.count, m.count);
    assert_int_equal(read.members, 5000);
    assert_true(read.cut);
    for (size_t i = 0; i < m.count; i++) {
        assert_true(id_eq(&read.nodes[i].node, &m.nodes[i].node));
        assert_int_equal(read.nodes[i].near[1][2], m.nodes[i].near[1][2]);
        assert_int_equal(read.nodes[i].path, m.nodes[i].path);
    }
    assert_int_equal(ringmap_find(&read, &m.node), 700);
}

static void the_page_and_the_api_show_it_with_names(void **state)
{
    struct response response = {0};
    struct text json = {0};
    struct visit v = {.response = &response};
    struct club c;
    struct map m;

    club_open(&c);
    v.desk = c.b.desk;
    chart_card(&v, &c.group);
    assert_int_equal(response.body.len, 0); /* nothing is said while there is none */
    assert_int_equal(tell(&c, OWNERS, TEST_NOW_S), OUT_OK);
    v.desk.now_s += CHART_OLD_S + 61;
    chart_card(&v, &c.group);
    assert_non_null(strstr(response.body.p, "<svg class=\"chart\""));
    assert_non_null(strstr(response.body.p, "(21 min ago)"));
    assert_non_null(strstr(response.body.p, ">old<"));
    assert_non_null(strstr(response.body.p, "ws of owner"));
    assert_non_null(strstr(response.body.p, ">auditor<"));
    assert_non_null(strstr(response.body.p, ">80808080<"));
    assert_non_null(strstr(response.body.p, ">unknown<"));
    assert_null(strstr(response.body.p, "<script"));
    assert_int_equal(map_read(&c.b.desk, &c.group, &m), OUT_OK);
    assert_int_equal(answer_json(&json, answer_map(&c.group, &m), JSON_COMPACT), OUT_OK);
    assert_non_null(strstr(json.p, "\"schema\":\"peal.ca-map/1\""));
    assert_non_null(strstr(json.p, "\"user\":\"auditor\""));
    assert_non_null(strstr(json.p, "\"hostname\":null"));
    map_clear(&m);
    /* Who runs nothing in the group does not get it. */
    struct desk d = bench_as(&c.b, &c.member);
    assert_int_equal(map_read(&d, &c.group, &m), OUT_NOT_PERMITTED);
    assert_null(m.ring);
    text_clear(&json);
    text_clear(&response.body);
    bench_close(&c.b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(machines_of_those_with_a_role_are_listened_to_and_the_newest_map_is_kept),
        cmocka_unit_test(a_machine_of_an_owner_may_not_do_what_he_may),
        cmocka_unit_test(what_is_forged_or_cut_is_refused),
        cmocka_unit_test(a_map_that_makes_no_sense_is_refused),
        cmocka_unit_test(the_largest_map_fits_a_request),
        cmocka_unit_test(the_page_and_the_api_show_it_with_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
