// link: peal_overlay
/* STUN: who is answered, how often, and whose answers count. */
#include "overlay/stun.c"

#include <stdio.h>

#include "tests/unit/cm.h"

struct sent {
    struct endpoint to;
    uint8_t bytes[STUN_ANSWER_MAX];
    size_t len;
};

static struct world {
    struct env env;
    struct stun *stun;
    struct sent last;
    size_t sent, seen, indications;
    struct endpoint us;
    uint8_t drawn;
} world;

static void on_random(void *host, void *buf, size_t len)
{
    memset(buf, ++world.drawn, len);
}

static void on_send(void *ctx, const struct endpoint *to, const uint8_t *pkt, size_t len)
{
    world.sent++;
    world.last = (struct sent){.to = *to, .len = len};
    memcpy(world.last.bytes, pkt, len);
}

static void on_seen(void *ctx, const struct endpoint *server, const struct endpoint *us)
{
    world.seen++;
    world.us = *us;
}

static void on_indication(void *ctx, const struct endpoint *from, const struct stun_id *id)
{
    world.indications++;
}

static const struct stun_host host = {
    .send = on_send, .seen = on_seen, .indication = on_indication};

static int set_up(void **state)
{
    world = (struct world){.env = {.now_us = SEC(100), .random = on_random}};
    world.stun = stun_new(&world.env, &host, NULL);
    return world.stun == NULL;
}

static int tear_down(void **state)
{
    stun_free(world.stun);
    return 0;
}

static struct endpoint ep(const char *text)
{
    struct endpoint e;

    assert_true(endpoint_parse(&e, text));
    return e;
}

static void ask_from(const char *from)
{
    struct endpoint e = ep(from);
    uint8_t pkt[STUN_HEADER_LEN];

    stun_write(STUN_BINDING_REQUEST, &(struct stun_id){{7}}, pkt);
    stun_input(world.stun, &e, pkt, sizeof(pkt));
}

static void anybody_is_told_its_address_and_nothing_else(void **state)
{
    static const struct {
        const char *from;
        size_t len;
    } rows[] = {{"192.0.2.9:53", 32}, {"[2001:db8::9]:40000", 44}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct endpoint from = ep(rows[i].from);
        struct stun_message m;

        ask_from(rows[i].from);
        assert_int_equal(world.sent, i + 1);
        assert_true(endpoint_eq(&world.last.to, &from));
        assert_int_equal(world.last.len, rows[i].len);
        assert_true(stun_read(&m, world.last.bytes, world.last.len));
        assert_int_equal(m.type, STUN_BINDING_SUCCESS);
        assert_int_equal(m.id.b[0], 7);
        assert_true(endpoint_eq(&m.mapped, &from));
    }
}

static void bad_requests_get_no_answer(void **state)
{
    static const struct {
        const char *hex;
        enum stun_count count;
    } rows[] = {
        {"", STUN_COUNT_MALFORMED},
        {"00010000", STUN_COUNT_MALFORMED},
        {"000100002112a443000000000000000000000000", STUN_COUNT_MALFORMED}, /* cookie */
        {"000100042112a442000000000000000000000000", STUN_COUNT_MALFORMED}, /* length */
        {"000300002112a442000000000000000000000000", STUN_COUNT_MALFORMED}, /* Allocate */
        {"000100042112a44200000000000000000000000000010004", STUN_COUNT_MALFORMED},
        {"000100082112a442000000000000000000000000"
         "0003000400000006",
         STUN_COUNT_UNKNOWN}, /* CHANGE-REQUEST */
        {"000100082112a442000000000000000000000000"
         "8028000400000000",
         STUN_COUNT_MALFORMED}, /* FINGERPRINT */
    };
    struct endpoint from = ep("192.0.2.9:53");

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint8_t pkt[64];
        size_t len = strlen(rows[i].hex) / 2;
        uint64_t before = stun_counted(world.stun, rows[i].count);

        assert_true(hex_parse(pkt, len, rows[i].hex));
        stun_input(world.stun, &from, pkt, len);
        assert_int_equal(stun_counted(world.stun, rows[i].count), before + 1);
    }
    assert_int_equal(world.sent, 0);
}

static void answers_are_limited_by_source_and_in_all(void **state)
{
    char text[32];

    for (int i = 0; i < 100; i++)
        ask_from("192.0.2.9:53");
    assert_int_equal(world.sent, STUN_ANSWERS_EACH);
    for (unsigned i = 0; i < 4000; i++) {
        snprintf(text, sizeof(text), "198.51.%u.%u:53", i / 250, 1 + i % 250);
        ask_from(text);
    }
    assert_int_equal(world.sent, STUN_ANSWERS_ALL);
    world.env.now_us += SEC(1);
    ask_from("192.0.2.9:53");
    assert_int_equal(world.sent, STUN_ANSWERS_ALL + 1);
}

static void a_server_is_asked_seven_times_and_again_later(void **state)
{
    struct endpoint server = ep("203.0.113.1:3478");
    usec began_us = world.env.now_us;

    assert_int_equal(stun_add_server(world.stun, &server), 0);
    assert_int_equal(stun_add_server(world.stun, &server), 0);
    while (stun_deadline(world.stun) < began_us + SEC(60)) {
        world.env.now_us = stun_deadline(world.stun);
        stun_tick(world.stun);
    }
    assert_int_equal(world.sent, STUN_TRIES);
    assert_int_equal(world.env.now_us - began_us, MSEC(39500)); /* RFC 8489 6.2.1 */
    assert_int_equal(stun_deadline(world.stun), world.env.now_us + SEC(STUN_AGAIN_S));
}

/* The question that is open, answered from there, with another id perhaps. */
static void answer_from(const char *from, uint8_t change)
{
    struct endpoint e = ep(from), us = ep("198.51.100.7:1234");
    struct stun_message m;
    uint8_t pkt[STUN_ANSWER_MAX];

    assert_true(stun_read(&m, world.last.bytes, world.last.len));
    m.id.b[11] ^= change;
    stun_input(world.stun, &e, pkt, stun_write_success(&m.id, &us, pkt));
}

static void only_the_asked_servers_answer_to_the_open_question_counts(void **state)
{
    struct endpoint server = ep("203.0.113.1:3478"), us = ep("198.51.100.7:1234");

    assert_int_equal(stun_add_server(world.stun, &server), 0);
    stun_tick(world.stun);
    assert_int_equal(world.last.len, STUN_HEADER_LEN);
    answer_from("203.0.113.1:3479", 0);
    answer_from("203.0.113.2:3478", 0);
    answer_from("203.0.113.1:3478", 1);
    assert_int_equal(world.seen, 0);
    answer_from("203.0.113.1:3478", 0);
    assert_int_equal(world.seen, 1);
    assert_true(endpoint_eq(&world.us, &us));
    answer_from("203.0.113.1:3478", 0); /* replayed */
    assert_int_equal(world.seen, 1);
    assert_int_equal(stun_counted(world.stun, STUN_COUNT_UNASKED), 4);
    stun_ask_again(world.stun);
    assert_int_equal(stun_deadline(world.stun), world.env.now_us);
}

static void more_servers_than_fit_are_refused(void **state)
{
    for (uint16_t i = 0; i <= STUN_SERVERS_MAX; i++) {
        struct endpoint server = {addr_v4(0xcb007101), (uint16_t)(3478 + i)};

        assert_int_equal(stun_add_server(world.stun, &server),
                         i < STUN_SERVERS_MAX ? 0 : -ERR_FULL);
    }
}

static void a_peer_is_asked_for_one_answer(void **state)
{
    struct endpoint server = ep("198.51.100.9:4747");
    uint8_t pkt[STUN_ANSWER_MAX];
    const struct endpoint mapped = ep("203.0.113.5:6000");
    size_t len;

    stun_ask(world.stun, &server);
    stun_ask(world.stun, &server);
    stun_tick(world.stun);
    assert_int_equal(world.sent, 1);
    len = stun_write_success(&(struct stun_id){{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}}, &mapped, pkt);
    stun_input(world.stun, &server, pkt, len);
    assert_true(endpoint_eq(&world.us, &mapped));
    assert_int_equal(stun_deadline(world.stun), USEC_NEVER);
    stun_input(world.stun, &server, pkt, len); /* the question is closed */
    assert_int_equal(world.seen, 1);
    stun_ask(world.stun, &server); /* and without an answer it ends, too */
    for (int i = 0; i < 2 * STUN_TRIES && stun_deadline(world.stun) != USEC_NEVER; i++) {
        world.env.now_us = usec_max(world.env.now_us, stun_deadline(world.stun));
        stun_tick(world.stun);
    }
    assert_int_equal(world.sent, 1 + STUN_TRIES);
    assert_int_equal(stun_deadline(world.stun), USEC_NEVER);
}

static void of_too_many_the_one_asked_longest_ago_is_forgotten(void **state)
{
    struct endpoint server = ep("192.0.2.1:3478");

    assert_int_equal(stun_add_server(world.stun, &server), 0);
    for (uint16_t i = 0; i <= STUN_ONCE_MAX; i++)
        stun_ask(world.stun, &(struct endpoint){addr_v4(0xcb007101), (uint16_t)(4000 + i)});
    stun_tick(world.stun);
    assert_int_equal(world.sent, 1 + STUN_ONCE_MAX);
    assert_int_equal(world.stun->servers[0].ep.port, 3478);
    assert_int_equal(world.stun->servers[1].ep.port, 4001);
    server = world.stun->servers[1].ep; /* now it is to be asked for good */
    for (uint16_t i = 1; i < STUN_SERVERS_MAX; i++, server.port++)
        assert_int_equal(stun_add_server(world.stun, &server), 0);
    assert_int_equal(stun_add_server(world.stun, &server), -ERR_FULL);
    assert_int_equal(world.stun->server_count, STUN_SERVERS_MAX + 1);
    stun_ask_again(world.stun);
    assert_int_equal(stun_deadline(world.stun), world.env.now_us);
}

static void an_indication_is_handed_on_and_not_answered(void **state)
{
    struct endpoint from = ep("192.0.2.9:53");
    uint8_t pkt[STUN_HEADER_LEN];

    stun_write(STUN_BINDING_INDICATION, &(struct stun_id){{9}}, pkt);
    stun_input(world.stun, &from, pkt, sizeof(pkt));
    assert_int_equal(world.indications, 1);
    assert_int_equal(world.sent, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(anybody_is_told_its_address_and_nothing_else, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(bad_requests_get_no_answer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(answers_are_limited_by_source_and_in_all, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_server_is_asked_seven_times_and_again_later, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(only_the_asked_servers_answer_to_the_open_question_counts,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(more_servers_than_fit_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_peer_is_asked_for_one_answer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(of_too_many_the_one_asked_longest_ago_is_forgotten, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(an_indication_is_handed_on_and_not_answered, set_up,
                                        tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
