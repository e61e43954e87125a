// link: peal_dht_alone
/* The public overlay's DHT, where anybody may be a member: what it takes, from whom, and how much.
 */
#include "dht/parcel.h"
#include "dht/quota.c"
#include "tests/unit/dht_world.h"

enum {
    NODES = 8,
    VALUE_MAX = 256,
    LEASE_S = 3600,
    STORES_BURST = QUOTA_BURST / QUOTA_STORE,
};

static struct sign_public pub; /* of a group's day */
static struct sign_secret sec;
static struct id place;

static void grow(struct world *w, unsigned nodes)
{
    static const struct secret seed = {{42}};

    world_init(w, 1);
    for (unsigned i = 0; i < nodes; i++) {
        struct overlay *o = world_new_node(w, i + 1);

        o->config.rendezvous = true;
        o->config.value_max = VALUE_MAX;
        o->config.duration_max_s = LEASE_S;
        o->config.memory_max = 64 * 1024;
        world_join(o, 0);
        world_run(w, MSEC(300));
    }
    world_run(w, SEC(20));
    sign_keys(&pub, &sec, &seed);
    place = dht_rendezvous_key(&w->group, &pub);
}

static int put(struct overlay *o, uint8_t owner, const void *value, size_t len, uint32_t duration_s)
{
    const struct id id = {{owner}};

    return dht_put_rendezvous(o->dht, &pub, &sec, &id, value, len, duration_s, world_done, o, 0);
}

static void those_with_the_key_read_what_each_wrote(void **state)
{
    struct world w;

    grow(&w, NODES);
    assert_int_equal(put(w.nodes[0], 1, "one", 3, LEASE_S), 0);
    assert_int_equal(put(w.nodes[1], 2, "two", 3, LEASE_S), 0);
    world_run(&w, SEC(2));
    assert_int_equal(w.nodes[0]->status, DHT_OK);
    assert_int_equal(put(w.nodes[0], 1, "ONE", 3, LEASE_S), 0); /* takes its own place */
    world_run(&w, SEC(2));
    assert_int_equal(dht_get(w.nodes[5]->dht, &place, DHT_ANY, world_done, w.nodes[5], 0), 0);
    world_run(&w, SEC(2));
    assert_int_equal(w.nodes[5]->count, 2);
    assert_memory_equal(w.nodes[5]->bytes, "ONE", 3);
    assert_true(w.nodes[5]->value.remaining_s > LEASE_S - 10);
    world_run(&w, SEC(LEASE_S)); /* nobody renews */
    assert_int_equal(dht_get(w.nodes[5]->dht, &place, DHT_ANY, world_done, w.nodes[5], 0), 0);
    world_run(&w, SEC(5));
    assert_int_equal(w.nodes[5]->status, DHT_NOT_FOUND);
    world_clear(&w);
}

static void what_was_written_can_be_taken_away(void **state)
{
    struct world w;
    struct overlay *o;

    grow(&w, NODES);
    o = w.nodes[0];
    assert_int_equal(dht_remove_rendezvous(o->dht, &pub, &sec, world_done, o, 0), -ERR_NOT_FOUND);
    assert_int_equal(put(o, 1, "one", 3, LEASE_S), 0);
    assert_int_equal(put(w.nodes[1], 2, "two", 3, LEASE_S), 0);
    world_run(&w, SEC(2));
    assert_int_equal(dht_remove_rendezvous(o->dht, &pub, &sec, world_done, o, 0), 0);
    world_run(&w, SEC(2));
    assert_int_equal(o->status, DHT_OK);
    world_run(&w, SEC(120)); /* no holder that compares brings it back */
    assert_int_equal(dht_get(w.nodes[5]->dht, &place, DHT_ANY, world_done, w.nodes[5], 0), 0);
    world_run(&w, SEC(2));
    assert_int_equal(w.nodes[5]->count, 1);
    assert_memory_equal(w.nodes[5]->bytes, "two", 3);
    assert_int_equal(put(o, 1, "one", 3, LEASE_S), 0); /* and it can be written again */
    world_run(&w, SEC(2));
    assert_int_equal(dht_get(w.nodes[5]->dht, &place, DHT_ANY, world_done, w.nodes[5], 0), 0);
    world_run(&w, SEC(2));
    assert_int_equal(w.nodes[5]->count, 2);
    world_clear(&w);
}

static void what_is_too_long_is_not_even_sent(void **state)
{
    static const uint8_t value[VALUE_MAX + 1];
    struct world w;

    grow(&w, 1);
    assert_int_equal(put(w.nodes[0], 1, value, VALUE_MAX, LEASE_S), 0);
    assert_int_equal(put(w.nodes[0], 1, value, VALUE_MAX + 1, LEASE_S), -ERR_RANGE);
    assert_int_equal(put(w.nodes[0], 1, value, 1, LEASE_S + 1), -ERR_RANGE);
    world_clear(&w);
}

/* A lone holder, asked by a stranger. */

static struct record record_of(uint8_t kind, uint8_t owner, size_t len, uint32_t duration_s)
{
    static const uint8_t value[VALUE_MAX + 1];
    struct record rec = {.key = place,
                         .owner = {{owner}},
                         .writer = node_id_self(&pub),
                         .kind = kind,
                         .epoch = 1,
                         .sequence = 1,
                         .duration_s = duration_s,
                         .len = (uint16_t)len,
                         .value = value};

    memcpy(rec.credential, pub.b, sizeof(pub.b));
    return rec;
}

static void ask_to_store(struct overlay *o, struct record *rec, const struct sign_secret *by,
                         uint32_t connection)
{
    struct overlay_from from = {.node = {{9}}, .connection = connection, .prefix = connection};
    uint8_t body[OVERLAY_BODY_MAX];
    struct writer w = writer_of(body, sizeof(body));

    record_sign(rec, &o->world->group, by);
    write_u8(&w, PARCEL_STORE);
    write_u64(&w, 1);
    write_u8(&w, 0);
    write_u8(&w, 0);
    write_u32(&w, rec->duration_s);
    record_write(&w, rec);
    dht_message(o->dht, &from, body, writer_len(&w));
}

static void only_rendezvous_records_are_kept(void **state)
{
    struct sign_public other_pub;
    struct sign_secret other_sec;
    struct record rec;
    struct world w;

    grow(&w, 1);
    struct overlay *o = w.nodes[0];

    rec = record_of(RECORD_CREATE, 1, 10, LEASE_S);
    ask_to_store(o, &rec, &sec, 1);
    rec = record_of(RECORD_PUT, 1, VALUE_MAX + 1, LEASE_S);
    ask_to_store(o, &rec, &sec, 1);
    rec = record_of(RECORD_PUT, 1, 10, LEASE_S + 1);
    ask_to_store(o, &rec, &sec, 1);
    rec = record_of(RECORD_PUT, 1, 10, LEASE_S); /* elsewhere than where its key leads */
    rec.key.b[0] ^= 1;
    ask_to_store(o, &rec, &sec, 1);
    sign_keys(&other_pub, &other_sec, &(struct secret){{43}});
    rec = record_of(RECORD_PUT, 1, 10, LEASE_S); /* a stranger's, in a group's place */
    ask_to_store(o, &rec, &other_sec, 1);
    memcpy(rec.credential, other_pub.b, sizeof(other_pub.b));
    ask_to_store(o, &rec, &other_sec, 1);
    rec.writer = node_id_self(&other_pub);
    ask_to_store(o, &rec, &other_sec, 1);
    assert_int_equal(world_counted(o, "drop_forged"), 7);
    assert_int_equal(dht_records(o->dht), 0);
    rec = record_of(RECORD_PUT, 1, 10, LEASE_S);
    ask_to_store(o, &rec, &sec, 1);
    assert_int_equal(dht_records(o->dht), 1);
    world_clear(&w);
}

static void a_replayed_record_does_not_come_back(void **state)
{
    struct world w;

    grow(&w, 1);
    struct overlay *o = w.nodes[0];
    struct record old = record_of(RECORD_PUT, 1, 10, LEASE_S), newer = old;

    newer.sequence = 2;
    newer.len = 20;
    ask_to_store(o, &old, &sec, 1);
    ask_to_store(o, &newer, &sec, 1);
    ask_to_store(o, &old, &sec, 2);
    assert_int_equal(dht_get(o->dht, &place, DHT_ANY, world_done, o, 0), 0);
    world_run(&w, SEC(1));
    assert_int_equal(o->count, 1);
    assert_int_equal(o->value.len, 20);
    world_clear(&w);
}

static void one_connection_may_ask_for_so_much(void **state)
{
    struct world w;
    size_t before;

    grow(&w, 1);
    struct overlay *o = w.nodes[0];

    for (unsigned i = 0; i < 4 * STORES_BURST; i++) {
        struct record rec = record_of(RECORD_PUT, (uint8_t)(1 + i % 60), 10, LEASE_S);

        rec.sequence = i + 1;
        ask_to_store(o, &rec, &sec, 1);
    }
    assert_int_equal(world_counted(o, "stores"), STORES_BURST);
    before = dht_records(o->dht);
    struct record other = record_of(RECORD_PUT, 100, 10, LEASE_S);

    ask_to_store(o, &other, &sec, 2); /* that is not another's affair */
    assert_int_equal(dht_records(o->dht), before + 1);
    world_run(&w, SEC(10));
    for (unsigned i = 0; i < 4 * STORES_BURST; i++) {
        struct record rec = record_of(RECORD_PUT, 1, 10, LEASE_S);

        rec.sequence = 10000 + i;
        ask_to_store(o, &rec, &sec, 1);
    }
    assert_int_equal(world_counted(o, "stores"), STORES_BURST + 1 + 10 * QUOTA_PER_S / QUOTA_STORE);
    world_clear(&w);
}

static void one_connection_is_answered_so_often(void **state)
{
    struct overlay_from from = {.node = {{9}}, .connection = 1};
    uint8_t body[OVERLAY_BODY_MAX];
    struct writer w = writer_of(body, sizeof(body));
    struct world world;

    grow(&world, 1);
    write_u8(&w, PARCEL_GET);
    write_u64(&w, 1);
    write_u8(&w, 0);
    write_id(&w, &place);
    write_id(&w, &(struct id){{0}});
    for (unsigned i = 0; i < 2 * QUOTA_BURST; i++)
        dht_message(world.nodes[0]->dht, &from, body, writer_len(&w));
    assert_int_equal(world_counted(world.nodes[0], "gets"), QUOTA_BURST);
    assert_int_equal(world_counted(world.nodes[0], "quota_refused"), QUOTA_BURST);
    world_clear(&world);
}

static void the_connection_forgotten_is_the_one_that_asked_longest_ago(void **state)
{
    struct quotas q = {.v = NULL};
    usec now_us = SEC(1);

    for (unsigned i = 0; i < QUOTA_BURST; i++)
        assert_true(quotas_take(&q, 1, 1, now_us));
    assert_false(quotas_take(&q, 1, 1, now_us));
    for (uint32_t token = 2; token <= QUOTA_CONNECTIONS_MAX; token++)
        assert_true(quotas_take(&q, token, 1, ++now_us));
    assert_false(quotas_take(&q, 1, 1, now_us)); /* still known */
    assert_true(quotas_take(&q, 5000, 1, ++now_us));
    assert_true(quotas_take(&q, 1, 1, ++now_us));
    quotas_clear(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(those_with_the_key_read_what_each_wrote),
        cmocka_unit_test(what_was_written_can_be_taken_away),
        cmocka_unit_test(what_is_too_long_is_not_even_sent),
        cmocka_unit_test(only_rendezvous_records_are_kept),
        cmocka_unit_test(a_replayed_record_does_not_come_back),
        cmocka_unit_test(one_connection_may_ask_for_so_much),
        cmocka_unit_test(one_connection_is_answered_so_often),
        cmocka_unit_test(the_connection_forgotten_is_the_one_that_asked_longest_ago),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
