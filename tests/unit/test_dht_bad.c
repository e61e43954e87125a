// link: peal_dht_alone
/* Bad input, lies and floods from members: counted and dropped, within the bounds. */
#include "dht/parcel.h"
#include "tests/unit/dht_world.h"

static void inject(struct overlay *to, const struct overlay *from, const void *body, size_t len)
{
    struct overlay_from f = {.node = from->id, .direct = true};

    dht_message(to->dht, &f, body, len);
}

/* One message of each type as members really send them. */
static struct sample {
    uint8_t body[OVERLAY_BODY_MAX];
    size_t len;
} samples[PARCEL_TYPES];

static bool collect(struct world *w, const struct overlay *from, const uint8_t *body, size_t len)
{
    struct sample *s = &samples[body[0]];

    if (s->len < len) {
        memcpy(s->body, body, len);
        s->len = len;
    }
    return true;
}

static void make_samples(struct world *w)
{
    static const uint8_t large[DHT_VALUE_MAX];
    struct id list = world_key(1000);

    w->hook = collect;
    world_grow(w, 12, MSEC(300));
    for (unsigned i = 0; i < 36; i++) {
        struct overlay *o = w->nodes[i % w->count];
        struct id key = world_key(i / 2);

        (void)!dht_create(o->dht, &key, NULL, large, i == 5 ? DHT_VALUE_MAX : 20, 100, DHT_KEEP,
                          NULL, NULL, 0);
        (void)!dht_put(o->dht, &list, NULL, large, 30, 100, DHT_KEEP, NULL, NULL, 0);
        (void)!dht_get(o->dht, &list, DHT_MAJORITY, NULL, NULL, 0);
        (void)!dht_watch(o->dht, &list, world_done, o, 0);
        world_run(w, MSEC(500));
    }
    world_run(w, SEC(60));
    world_grow(w, 10, MSEC(300));
    world_split(w, 2);
    world_run(w, SEC(10));
    for (unsigned i = 0; i < 10; i++) {
        struct id key = world_key(50);

        (void)!dht_create(w->nodes[i]->dht, &key, NULL, "x", 1, 100, 0, NULL, NULL, 0);
    }
    world_run(w, SEC(10));
    world_merge(w);
    world_run(w, SEC(20));
    w->hook = NULL;
    for (unsigned type = PARCEL_PART; type <= PARCEL_LOST; type++)
        assert_true(samples[type].len > 0);
}

static void a_truncated_message_is_counted_and_not_answered(void **state)
{
    struct world w;
    struct overlay *o, *peer;

    world_init(&w, 1);
    make_samples(&w);
    o = w.nodes[0];
    peer = w.nodes[1];
    world_run(&w, SEC(30));
    for (unsigned type = 0; type < PARCEL_TYPES; type++)
        for (size_t len = 0; type != PARCEL_PART && len < samples[type].len; len++) {
            uint64_t before = world_counted(o, "drop_malformed"), sent = o->sent;

            inject(o, peer, samples[type].body, len);
            assert_int_equal(world_counted(o, "drop_malformed"), before + 1);
            assert_int_equal(o->sent, sent);
        }
    world_clear(&w);
}

static void an_answer_that_nobody_asked_for_is_dropped(void **state)
{
    static const uint8_t answers[] = {PARCEL_VERDICT, PARCEL_VALUES, PARCEL_WATCHED, PARCEL_COPIED,
                                      PARCEL_PAGE};
    struct world w;
    struct overlay *o;

    world_init(&w, 2);
    world_grow(&w, 3, MSEC(100));
    world_run(&w, SEC(10));
    o = w.nodes[0];
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        struct sample *s = &samples[answers[i]];
        uint64_t before = world_counted(o, "drop_unasked"), sent = o->sent;
        size_t records = dht_records(o->dht);

        inject(o, w.nodes[1], s->body, s->len);
        assert_int_equal(world_counted(o, "drop_unasked"), before + 1);
        assert_int_equal(o->sent, sent);
        assert_int_equal(dht_records(o->dht), records);
    }
    world_clear(&w);
}

/* A record as `writer` would sign it; broken: somebody else's signature. */
static struct record record_by(const struct overlay *writer, unsigned key, uint32_t sequence,
                               const uint8_t *value, size_t len)
{
    struct record rec = {.kind = RECORD_CREATE, .epoch = 1, .duration_s = 3600};

    rec.key = world_key(key);
    rec.owner = rec.writer = writer->id;
    rec.sequence = sequence;
    rec.value = value;
    rec.len = (uint16_t)len;
    memcpy(rec.credential, writer->config.pub.b, CREDENTIAL_LEN);
    record_sign(&rec, &writer->config.overlay, &writer->config.sec);
    return rec;
}

static void inject_item(struct overlay *to, const struct overlay *from, enum parcel_type type,
                        const struct record *rec)
{
    struct parcel p;

    parcel_start(&p, type, 77);
    if (type != PARCEL_LOST)
        write_u8(&p.w, 0);
    if (type == PARCEL_COPY || type == PARCEL_LOST) {
        parcel_items(&p);
        assert_true(parcel_item(&p, rec, 3600, 0));
    } else {
        write_u8(&p.w, 0);
        write_u32(&p.w, 3600);
        record_write(&p.w, rec);
    }
    inject(to, from, p.bytes, writer_len(&p.w));
}

static void a_record_that_its_writer_did_not_sign_is_not_stored(void **state)
{
    static const enum parcel_type ways[] = {PARCEL_STORE, PARCEL_GRANT, PARCEL_COPY, PARCEL_LOST};
    struct world w;
    struct overlay *o, *liar;

    world_init(&w, 3);
    world_grow(&w, 3, MSEC(100));
    world_run(&w, SEC(10));
    o = w.nodes[0];
    liar = w.nodes[1];
    for (unsigned key = 0; key < 20; key++)
        for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
            struct record rec = record_by(liar, key, 1, (const uint8_t *)"a", 1);

            switch (key % 4) {
            case 0:
                rec.value = (const uint8_t *)"b";
                break;
            case 1:
                rec.owner = o->id;
                break;
            case 2: /* the victim's name, the liar's key */
                rec.owner = rec.writer = w.nodes[2]->id;
                record_sign(&rec, &w.group, &liar->config.sec);
                break;
            case 3:
                rec.sequence++;
                break;
            }
            inject_item(o, liar, ways[i], &rec);
        }
    world_run(&w, SEC(1));
    assert_true(world_counted(o, "drop_forged") > 0);
    for (unsigned i = 0; i < w.count; i++)
        assert_int_equal(dht_records(w.nodes[i]->dht), 0);
    world_clear(&w);
}

static void a_lie_about_a_lost_lease_only_makes_its_owner_look(void **state)
{
    struct world w;
    struct id key = world_key(1);
    struct overlay *owner, *liar;
    struct record rec;
    struct dht_value v;

    world_init(&w, 4);
    world_grow(&w, 8, MSEC(100));
    world_run(&w, SEC(5));
    owner = w.nodes[2];
    liar = w.nodes[5];
    assert_int_equal(
        dht_create(owner->dht, &key, NULL, "a", 1, 3600, DHT_KEEP, world_done, owner, 0), 0);
    world_run(&w, SEC(3));
    rec = record_by(liar, 1, 9, (const uint8_t *)"b", 1);
    for (unsigned i = 0; i < 10; i++) {
        inject_item(owner, liar, PARCEL_LOST, &rec);
        world_run(&w, SEC(1));
    }
    assert_int_equal(owner->lost, 0);
    assert_true(dht_kept(owner->dht, &key, &v));
    assert_true(v.remaining_s > 3580);
    world_clear(&w);
}

static void floods_stay_within_the_bounds(void **state)
{
    enum { FLOOD = 8000 };
    static uint8_t value[DHT_VALUE_MAX];
    struct world w;
    struct overlay *o, *liar;
    struct dht_held held;
    size_t live = 0;

    world_init(&w, 5);
    world_grow(&w, 1, 0);
    o = w.nodes[0];
    o->config.memory_max = 256 * 1024;
    dht_free(o->dht);
    world_start(o);
    liar = world_new_node(&w, 99);
    liar->on = false;
    liar->noticed = true;
    world_join(o, 0);
    world_run(&w, SEC(2));
    for (unsigned n = 0; n < FLOOD; n++) {
        struct record rec = record_by(liar, n, 1, value, n % DHT_VALUE_MAX);
        struct parcel part;

        inject_item(o, liar, PARCEL_STORE, &rec);
        inject_item(o, liar, PARCEL_GRANT, &rec);
        parcel_start(&part, PARCEL_PART, n);
        write_u8(&part.w, 0);
        write_bytes(&part.w, value, 1000);
        inject(o, liar, part.bytes, writer_len(&part.w));
        assert_true(dht_memory(o->dht) <= 256 * 1024 / 4);
    }
    for (size_t i = 0; dht_held_next(o->dht, &i, &held);)
        live++;
    assert_int_equal(dht_records(o->dht), live);
    assert_true(world_counted(o, "quota_refused") > FLOOD / 2);
    /* Everybody else is served as before. */
    assert_int_equal(
        dht_create(o->dht, &(struct id){{9}}, NULL, value, DHT_VALUE_MAX, 60, 0, world_done, o, 0),
        0);
    world_run(&w, SEC(2));
    assert_int_equal(o->done, 1);
    assert_int_equal(o->status, DHT_OK);
    world_clear(&w);
}

static void values_outside_the_overlays_limits_are_refused(void **state)
{
    static const uint8_t value[300];
    struct world w;
    struct id key = world_key(1);
    struct overlay *strict, *lax;
    struct record rec;

    world_init(&w, 6);
    strict = world_new_node(&w, 1);
    strict->config.value_max = 256;
    strict->config.duration_max_s = 3600;
    world_join(strict, 0);
    lax = world_new_node(&w, 2);
    world_join(lax, 0);
    world_run(&w, SEC(8));
    assert_int_equal(dht_create(strict->dht, &key, NULL, value, 257, 60, 0, world_done, strict, 0),
                     -ERR_RANGE);
    assert_int_equal(
        dht_create(strict->dht, &key, NULL, value, 256, 3601, 0, world_done, strict, 0),
        -ERR_RANGE);
    assert_int_equal(dht_create(strict->dht, &key, NULL, value, 256, 9, 0, world_done, strict, 0),
                     -ERR_RANGE);
    rec = record_by(lax, 1, 1, value, 257);
    inject_item(strict, lax, PARCEL_COPY, &rec);
    assert_int_equal(dht_records(strict->dht), 0);
    rec = record_by(lax, 1, 1, value, 256);
    inject_item(strict, lax, PARCEL_COPY, &rec);
    assert_int_equal(dht_records(strict->dht), 1);
    world_clear(&w);
}

static void operations_are_bounded(void **state)
{
    struct world w;
    struct overlay *o;
    unsigned n = 0;

    world_init(&w, 7);
    o = world_add(&w);
    while (dht_get(o->dht, &(struct id){{(uint8_t)n}}, DHT_ANY, world_done, o, n) == 0)
        n++;
    assert_int_equal(n, DHT_OPS_MAX);
    world_run(&w, SEC(1));
    assert_int_equal(o->done, n);
    assert_int_equal(dht_get(o->dht, &(struct id){{1}}, DHT_ANY, NULL, o, 0), 0);
    world_clear(&w);
}

static void nobody_is_called_back_after_a_cancel(void **state)
{
    struct world w;
    struct id key = world_key(1);
    struct overlay *o;

    world_init(&w, 8);
    o = world_add(&w);
    assert_int_equal(dht_watch(o->dht, &key, world_done, o, 0), 0);
    assert_int_equal(dht_get(o->dht, &key, DHT_ANY, world_done, o, 0), 0);
    assert_int_equal(dht_create(o->dht, &key, NULL, "a", 1, 60, DHT_KEEP, world_done, o, 0), 0);
    dht_cancel(o->dht, o);
    world_run(&w, SEC(10));
    assert_int_equal(o->done, 0);
    assert_int_equal(dht_records(o->dht), 1);
    world_clear(&w);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_truncated_message_is_counted_and_not_answered),
        cmocka_unit_test(an_answer_that_nobody_asked_for_is_dropped),
        cmocka_unit_test(a_record_that_its_writer_did_not_sign_is_not_stored),
        cmocka_unit_test(a_lie_about_a_lost_lease_only_makes_its_owner_look),
        cmocka_unit_test(floods_stay_within_the_bounds),
        cmocka_unit_test(values_outside_the_overlays_limits_are_refused),
        cmocka_unit_test(operations_are_bounded),
        cmocka_unit_test(nobody_is_called_back_after_a_cancel),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
