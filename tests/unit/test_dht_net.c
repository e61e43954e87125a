// link: peal_dht_alone
/* Several DHTs on one ring: claims, lookups, and what churn and partitions do to them. */
#include "dht/parcel.h"
#include "tests/unit/dht_check.h"

static int create(struct overlay *o, const struct id *key, const char *text, unsigned flags)
{
    return dht_create(o->dht, key, NULL, text, strlen(text), 3600, flags, world_done, o, 1);
}

static int get(struct overlay *o, const struct id *key, enum dht_mode mode)
{
    return dht_get(o->dht, key, mode, world_done, o, 2);
}

static enum dht_status create_now(struct overlay *o, const struct id *key, const char *text,
                                  unsigned flags)
{
    assert_int_equal(create(o, key, text, flags), 0);
    assert_true(world_run_until_done(o->world, o, o->done + 1, SEC(60)));
    return o->status;
}

static enum dht_status get_now(struct overlay *o, const struct id *key, enum dht_mode mode)
{
    assert_int_equal(get(o, key, mode), 0);
    assert_true(world_run_until_done(o->world, o, o->done + 1, SEC(60)));
    return o->status;
}

static void a_ring_of_one_answers_itself_at_once(void **state)
{
    struct world w;
    struct id key = world_key(1);
    struct overlay *o;

    world_init(&w, 1);
    o = world_add(&w);
    assert_int_equal(get_now(o, &key, DHT_ANY), DHT_NOT_FOUND);
    assert_int_equal(create_now(o, &key, "10.77.0.5", DHT_KEEP), DHT_OK);
    assert_int_equal(get_now(o, &key, DHT_MAJORITY), DHT_OK);
    assert_true(id_eq(&o->value.owner, &o->id));
    assert_int_equal(o->value.len, 9);
    assert_memory_equal(o->bytes, "10.77.0.5", 9);
    assert_true(w.now_us - SEC(1000) <= MSEC(10));
    assert_int_equal(dht_records(o->dht), 1);
    world_clear(&w);
}

static void everybody_finds_what_one_has_created(void **state)
{
    static const size_t sizes[] = {2, 3, 4, 5, 8, 20, 60};

    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct world w;
        struct id key = world_key(7);

        world_init(&w, sizes[i]);
        world_grow(&w, sizes[i], MSEC(100));
        world_run(&w, SEC(3));
        assert_int_equal(create_now(w.nodes[0], &key, "x", 0), DHT_OK);
        for (size_t n = 0; n < w.count; n++) {
            assert_int_equal(get_now(w.nodes[n], &key, n % 2 ? DHT_ANY : DHT_MAJORITY), DHT_OK);
            assert_true(id_eq(&w.nodes[n]->value.owner, &w.nodes[0]->id));
        }
        world_clear(&w);
    }
}

static unsigned owners_of(const struct world *w, const struct id *key, struct id *owner)
{
    unsigned owners = 0;

    for (size_t n = 0; n < w->count; n++) {
        struct dht_held held;

        if (!w->nodes[n]->on || !world_holds(w->nodes[n], key, &held))
            continue;
        if (owners == 0 || !id_eq(owner, &held.v.owner))
            owners++;
        *owner = held.v.owner;
    }
    return owners;
}

static void of_many_claims_at_once_one_is_granted(void **state)
{
    static const size_t sizes[] = {1, 2, 3, 5, 7, 12, 40};

    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        for (uint64_t seed = 1; seed <= 5; seed++) {
            struct world w;
            struct id key = world_key(3);
            unsigned ok = 0;

            world_init(&w, seed);
            w.loss_percent = seed == 5 ? 10 : 0;
            world_grow(&w, sizes[i], MSEC(50));
            world_run(&w, SEC(5));
            for (size_t n = 0; n < w.count; n++)
                assert_int_equal(create(w.nodes[n], &key, "mine", DHT_KEEP), 0);
            world_run(&w, SEC(90));
            for (size_t n = 0; n < w.count; n++) {
                assert_int_equal(w.nodes[n]->done, 1);
                ok += w.nodes[n]->status == DHT_OK;
                if (w.nodes[n]->status == DHT_OK || w.nodes[n]->status == DHT_BUSY)
                    continue;
                assert_int_equal(w.nodes[n]->status, DHT_TAKEN);
                assert_int_equal(w.nodes[n]->count, 1);
            }
            assert_int_equal(ok, 1);
            assert_int_equal(wrong_replicas(&w), 0);
            world_clear(&w);
        }
    }
}

/* As when twenty machines boot together: each claims while the ring is still forming. */
static void claims_during_a_join_storm_are_all_different(void **state)
{
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct world w;
        unsigned owners[8] = {0};

        world_init(&w, seed);
        for (size_t n = 0; n < 20; n++) {
            struct id key = world_key((unsigned)n % 8);

            world_add(&w);
            assert_int_equal(create(w.nodes[n], &key, "mine", DHT_KEEP), 0);
            world_run(&w, world_below(&w, MSEC(20)));
        }
        world_run(&w, SEC(90));
        for (size_t n = 0; n < w.count; n++) {
            struct id key = world_key((unsigned)n % 8);
            struct dht_value v;

            assert_int_equal(w.nodes[n]->done, 1);
            owners[n % 8] += dht_kept(w.nodes[n]->dht, &key, &v);
        }
        for (size_t k = 0; k < 8; k++)
            assert_int_equal(owners[k], 1);
        assert_int_equal(wrong_replicas(&w), 0);
        world_clear(&w);
    }
}

static bool stores_of_the_first_are_lost(struct world *w, const struct overlay *from,
                                         const uint8_t *body, size_t len)
{
    return from != w->nodes[0] || body[0] != PARCEL_STORE;
}

/* What was promised to one is not granted to another by those who hold the points by then. */
static void a_claim_under_way_is_known_to_who_comes_between(void **state)
{
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct id key = world_key((unsigned)seed);
        struct overlay *rival;
        struct world w;

        world_init(&w, seed);
        world_grow(&w, 6, MSEC(100));
        world_run(&w, SEC(10));
        w.hook = stores_of_the_first_are_lost;
        assert_int_equal(create(w.nodes[0], &key, "mine", 0), 0);
        world_run(&w, SEC(1));
        world_grow(&w, 24, MSEC(50));
        world_run(&w, SEC(1));
        rival = w.nodes[w.count - 1];
        assert_int_equal(create(rival, &key, "mine", 0), 0);
        world_run(&w, SEC(2));
        assert_true(rival->done == 0 || rival->status == DHT_BUSY);
        assert_int_equal(world_counted(w.nodes[0], "stores"), 0);
        world_clear(&w);
    }
}

/* Whoever joined beside others that are new, too, need not wait for them all. */
static void those_who_join_together_are_ready_soon(void **state)
{
    struct world w;

    world_init(&w, 11);
    world_grow(&w, 60, MSEC(5));
    world_run(&w, MSEC(2500));
    for (size_t i = 0; i < w.count; i++)
        assert_true(dht_ready(w.nodes[i]->dht));
    world_clear(&w);
}

static unsigned claims_of_the_last;

static bool pages_are_lost(struct world *w, const struct overlay *from, const uint8_t *body,
                           size_t len)
{
    claims_of_the_last += from == w->nodes[w->count - 1] && body[0] == PARCEL_GRANT;
    return body[0] != PARCEL_PAGE;
}

static void a_claim_waits_until_its_range_was_handed_over_and_a_lookup_does_not(void **state)
{
    for (int found = 0; found < 2; found++) { /* its range, before long */
        struct id key = world_key(1), other = world_key(2);
        struct overlay *o;
        struct world w;

        world_init(&w, 13);
        world_grow(&w, 6, MSEC(100));
        world_run(&w, SEC(10));
        assert_int_equal(create_now(w.nodes[0], &other, "there", 0), DHT_OK);
        w.hook = pages_are_lost;
        o = world_add(&w);
        claims_of_the_last = 0;
        assert_int_equal(create(o, &key, "mine", 0), 0);
        world_run(&w, SEC(2));
        assert_false(dht_ready(o->dht));
        assert_int_equal(get_now(o, &other, DHT_MAJORITY), DHT_OK);
        assert_int_equal(claims_of_the_last, 0);
        if (found == 1)
            w.hook = NULL;
        world_run(&w, found == 1 ? SEC(2) : SEC(8));
        assert_int_equal(o->done, 2);
        assert_int_equal(o->status, DHT_OK);
        world_clear(&w);
    }
}

/* Before the first of them comes to look around in its ring, the second one is there. */
static void who_begins_a_ring_does_not_wait_for_those_who_follow_at_once(void **state)
{
    struct world w;
    struct overlay *first;

    world_init(&w, 12);
    first = world_add(&w);
    (void)world_add(&w);
    world_update_near(first);
    dht_ring_changed(first->dht);
    world_run(&w, MSEC(500));
    for (size_t i = 0; i < w.count; i++)
        assert_true(dht_ready(w.nodes[i]->dht));
    world_clear(&w);
}

static void an_owner_without_memory_gets_its_key_again(void **state)
{
    struct world w;
    struct id key = world_key(4);
    struct overlay *o, *other;

    world_init(&w, 2);
    world_grow(&w, 8, MSEC(100));
    world_run(&w, SEC(5));
    o = w.nodes[3];
    other = w.nodes[5];
    assert_int_equal(create_now(o, &key, "old", DHT_KEEP), DHT_OK);
    assert_int_equal(o->value.epoch, 1);
    world_crash(o);
    world_run(&w, SEC(10));
    assert_int_equal(create_now(other, &key, "theirs", DHT_KEEP), DHT_TAKEN);
    o = world_again(o);
    world_run(&w, SEC(2));
    assert_int_equal(create_now(o, &key, "new", DHT_KEEP), DHT_OK);
    assert_true(o->value.epoch > 1);
    assert_int_equal(get_now(other, &key, DHT_MAJORITY), DHT_OK);
    assert_memory_equal(other->bytes, "new", 3);
    world_run(&w, SEC(130));
    assert_int_equal(wrong_replicas(&w), 0);
    world_clear(&w);
}

/* Whoever was alone and meets a ring knows its neighbours before its routes lead to them. Until
 * then they end at its own door, or at that of a member which holds other points of the key. */
static void meet_before_routes_do(uint64_t seed, bool astray)
{
    struct world w;
    struct overlay *alone;

    world_init(&w, seed);
    for (unsigned n = 0; n < 12; n++)
        world_join(world_new_node(&w, n + 500), 1);
    world_run(&w, SEC(10));
    alone = world_add(&w);
    for (unsigned i = 0; i < 20; i++) {
        struct id key = world_key(i);

        assert_int_equal(create_now(alone, &key, "value", DHT_KEEP), DHT_OK);
    }
    world_merge(&w);
    w.home_us = w.now_us + MSEC(900);
    w.astray = astray ? w.nodes[0] : NULL;
    world_run(&w, SEC(20));
    for (unsigned i = 0; i < 20; i++) {
        struct id key = world_key(i);

        assert_int_equal(get_now(w.nodes[i % 12], &key, DHT_MAJORITY), DHT_OK);
    }
    assert_int_equal(wrong_replicas(&w), 0);
    world_clear(&w);
}

static void an_offer_that_comes_home_gives_nothing_away(void **state)
{
    meet_before_routes_do(30, false);
}

static void an_offer_that_goes_astray_gives_nothing_away(void **state)
{
    meet_before_routes_do(31, true);
}

static void create_many(struct world *w, unsigned first, unsigned n)
{
    for (unsigned i = first; i < first + n; i++) {
        struct id key = world_key(i);
        struct overlay *o = w->nodes[i % w->count];

        assert_int_equal(create_now(o, &key, "value", DHT_KEEP), DHT_OK);
    }
}

static struct overlay *somebody(struct world *w)
{
    struct overlay *o;

    do
        o = w->nodes[world_below(w, w->count)];
    while (!o->on);
    return o;
}

static unsigned missing(struct world *w, unsigned first, unsigned n)
{
    unsigned bad = 0;

    for (unsigned i = first; i < first + n; i++) {
        struct id key = world_key(i);

        bad += get_now(somebody(w), &key, DHT_ANY) != DHT_OK;
    }
    return bad;
}

static void ranges_follow_those_who_join_and_leave(void **state)
{
    struct world w;

    world_init(&w, 3);
    world_grow(&w, 5, MSEC(100));
    world_run(&w, SEC(3));
    create_many(&w, 0, 60);
    world_grow(&w, 25, MSEC(300));
    assert_int_equal(missing(&w, 0, 60), 0);
    world_run(&w, SEC(120));
    assert_int_equal(wrong_replicas(&w), 0);
    for (unsigned i = 5; i < 25; i++) {
        struct overlay *o = w.nodes[i];

        dht_leave(o->dht);
        while (!dht_left(o->dht))
            world_run(&w, MSEC(10));
        world_gone(o);
        world_run(&w, MSEC(500));
    }
    assert_int_equal(missing(&w, 0, 60), 0);
    world_run(&w, SEC(120));
    assert_int_equal(wrong_replicas(&w), 0);
    world_clear(&w);
}

static void crashes_lose_nothing(void **state)
{
    struct world w;

    world_init(&w, 4);
    world_grow(&w, 40, MSEC(100));
    world_run(&w, SEC(5));
    create_many(&w, 0, 80);
    for (unsigned i = 0; i < 25; i++) {
        world_crash(somebody(&w));
        world_run(&w, SEC(10));
        assert_int_equal(missing(&w, i, 10), 0);
    }
    world_run(&w, SEC(120));
    assert_int_equal(wrong_replicas(&w), 0);
    world_clear(&w);
}

static void half_of_all_may_die_at_once(void **state)
{
    struct world w;
    unsigned at_once = 0;

    world_init(&w, 5);
    world_grow(&w, 100, MSEC(20));
    world_run(&w, SEC(10));
    create_many(&w, 0, 200);
    for (unsigned i = 0; i < 50; i++)
        world_crash(somebody(&w));
    world_run(&w, w.notice_us + SEC(1));
    at_once = missing(&w, 0, 200);
    assert_true(at_once <= 1);
    world_run(&w, SEC(30));
    for (unsigned i = 0; i < 200; i++) {
        struct id key = world_key(i);

        if (w.nodes[i % w.count]->on)
            assert_int_equal(get_now(somebody(&w), &key, DHT_ANY), DHT_OK);
    }
    world_run(&w, SEC(120));
    assert_int_equal(wrong_replicas(&w), 0);
    world_clear(&w);
}

/* It asks at the other points of its range for what those who died had: that is itself, and it has
 * no more to say. */
static void who_is_left_alone_comes_to_rest(void **state)
{
    struct world w;
    uint64_t sent;

    world_init(&w, 6);
    world_grow(&w, 12, MSEC(20));
    create_many(&w, 0, 100);
    world_run(&w, SEC(40));
    w.notice_us = MSEC(500);
    for (size_t i = 2; i < w.count; i++)
        world_crash(w.nodes[i]);
    world_run(&w, w.notice_us + MSEC(100));
    world_crash(w.nodes[1]);
    world_run(&w, w.notice_us + SEC(60));
    sent = w.nodes[0]->sent;
    world_run(&w, SEC(30));
    assert_in_range(w.nodes[0]->sent - sent, 0, 20);
    world_clear(&w);
}

/* Their neighbours see the same ids as before, and yet nothing of what those held is left: owners
 * have to see for themselves that their records still stand. */
static void most_may_crash_and_be_back_unnoticed(void **state)
{
    enum { NODES = 40, DEAD = 32, KEYS = 120 };

    for (uint64_t seed = 1; seed <= 2; seed++) {
        struct overlay *dead[DEAD];
        struct world w;

        world_init(&w, seed);
        world_grow(&w, NODES, MSEC(20));
        world_run(&w, SEC(40));
        create_many(&w, 0, KEYS);
        world_run(&w, SEC(40));
        for (size_t i = 0; i < DEAD; i++)
            world_crash(dead[i] = somebody(&w));
        world_run(&w, MSEC(500));
        for (size_t i = 0; i < DEAD; i++)
            world_again(dead[i]);
        world_run(&w, SEC(60));
        for (unsigned i = 0; i < KEYS; i++) {
            struct id key = world_key(i);

            if (w.nodes[i % NODES]->on)
                assert_int_equal(get_now(somebody(&w), &key, DHT_MAJORITY), DHT_OK);
        }
        assert_int_equal(wrong_replicas(&w), 0);
        world_clear(&w);
    }
}

static struct id psk_winner(const struct id *key, const struct id *a, const struct id *b)
{
    struct bytes for_a[] = {{key->b, ID_LEN}, {a->b, ID_LEN}};
    struct bytes for_b[] = {{key->b, ID_LEN}, {b->b, ID_LEN}};
    struct id lot_a = id_hash(for_a, 2), lot_b = id_hash(for_b, 2);

    return id_cmp(&lot_a, &lot_b) < 0 ? *a : *b;
}

static void two_owners_after_a_partition_are_settled_within_a_minute(void **state)
{
    enum { KEYS = 30 };

    for (unsigned parts = 2; parts <= 5; parts++) {
        struct world w;
        unsigned kept = 0, lost = 0, claims = 0;
        usec healed_us;

        world_init(&w, 6 + parts);
        world_grow(&w, 30, MSEC(100));
        world_run(&w, SEC(5));
        world_split(&w, parts);
        world_run(&w, SEC(20));
        /* Every key is claimed in every part, each claimant having one key. */
        for (unsigned i = 0; i < w.count; i++) {
            struct id key = world_key(i / parts);

            assert_int_equal(create(w.nodes[i], &key, "mine", DHT_KEEP), 0);
        }
        world_run(&w, SEC(30));
        for (unsigned i = 0; i < w.count; i++)
            claims += w.nodes[i]->status == DHT_OK && w.nodes[i]->done == 1;
        assert_int_equal(claims, w.count);
        world_merge(&w);
        healed_us = w.now_us;
        world_run(&w, SEC(60));
        for (unsigned i = 0; i < w.count; i++) {
            struct id key = world_key(i / parts), owner, winner = w.nodes[i]->id;
            struct dht_value v;
            bool keeps = dht_kept(w.nodes[i]->dht, &key, &v);

            for (unsigned j = i / parts * parts; j < i / parts * parts + parts && j < w.count; j++)
                winner = psk_winner(&key, &winner, &w.nodes[j]->id);
            assert_int_equal(owners_of(&w, &key, &owner), 1);
            assert_true(id_eq(&owner, &winner));
            assert_int_equal(keeps, id_eq(&winner, &w.nodes[i]->id));
            kept += keeps;
            lost += w.nodes[i]->lost;
            if (w.nodes[i]->lost > 0) {
                assert_true(parts > 2 || id_eq(&w.nodes[i]->lost_to, &winner));
                assert_true(w.nodes[i]->lost_us - healed_us <= SEC(60));
            }
        }
        assert_int_equal(kept, (w.count + parts - 1) / parts);
        assert_int_equal(kept + lost, w.count);
        world_run(&w, SEC(60));
        assert_int_equal(wrong_replicas(&w), 0);
        world_clear(&w);
    }
}

static bool third_point_is_not_stored(struct world *w, const struct overlay *from,
                                      const uint8_t *body, size_t len)
{
    return body[0] != PARCEL_STORE || body[PARCEL_HEADER_LEN] != 2;
}

/* Else the address would be nobody's, and could not be claimed, until the lease has ended. */
static void who_lost_its_key_leaves_nothing_behind_where_the_winner_does_not_stand(void **state)
{
    for (uint64_t seed = 40; seed < 50; seed++) {
        struct id key = world_key((unsigned)seed), owner;
        struct overlay *winner, *loser;
        struct world w;

        world_init(&w, seed);
        world_grow(&w, 30, MSEC(100));
        world_run(&w, SEC(5));
        world_split(&w, 2);
        world_run(&w, SEC(20));
        winner = w.nodes[0];
        loser = w.nodes[1];
        owner = psk_winner(&key, &winner->id, &loser->id);
        if (id_eq(&owner, &loser->id)) {
            loser = w.nodes[0];
            winner = w.nodes[1];
        }
        assert_int_equal(create_now(loser, &key, "theirs", DHT_KEEP), DHT_OK);
        w.hook = third_point_is_not_stored;
        assert_int_equal(create_now(winner, &key, "mine", 0), DHT_OK);
        world_run(&w, SEC(30));
        w.hook = NULL;
        world_merge(&w);
        world_run(&w, SEC(60));
        assert_int_equal(loser->lost, 1);
        assert_int_equal(owners_of(&w, &key, &owner), 1);
        assert_true(id_eq(&owner, &winner->id));
        world_clear(&w);
    }
}

static struct overlay *liar, *owner_lied_to;
static struct record lie;

static void sign_lie(const struct world *w, const struct id *key)
{
    lie = (struct record){.kind = RECORD_CREATE,
                          .key = *key,
                          .owner = liar->id,
                          .writer = liar->id,
                          .epoch = 1,
                          .sequence = 5,
                          .duration_s = 3600};
    memcpy(lie.credential, liar->config.pub.b, CREDENTIAL_LEN);
    record_sign(&lie, &w->group, &liar->config.sec);
}

static void show_lie(enum parcel_type type, uint64_t id)
{
    struct parcel p;

    parcel_start(&p, type, id);
    if (type == PARCEL_VERDICT)
        write_u8(&p.w, VERDICT_TAKEN);
    parcel_items(&p);
    assert_true(parcel_item(&p, &lie, 3600, 0));
    world_transmit(liar, owner_lied_to, &owner_lied_to->id, false, p.bytes, writer_len(&p.w));
}

/* Who holds the third point shows a record of its own, whatever is asked there. */
static bool third_point_lies(struct world *w, const struct overlay *from, const uint8_t *body,
                             size_t len)
{
    bool asks = body[0] == PARCEL_RENEW || body[0] == PARCEL_STORE || body[0] == PARCEL_GRANT;

    if (from != owner_lied_to || !asks || body[PARCEL_HEADER_LEN] != 2)
        return true;
    show_lie(PARCEL_VERDICT, get_u64(body + 1));
    return false;
}

static void a_holder_that_lies_takes_no_key_from_who_wins_it(void **state)
{
    for (int anew = 0; anew < 2; anew++) {
        struct dht_value v;
        struct world w;
        struct id key, owner;
        unsigned n = 100;

        world_init(&w, 77);
        world_grow(&w, 30, MSEC(100));
        world_run(&w, SEC(10));
        owner_lied_to = w.nodes[0];
        liar = w.nodes[1];
        do {
            key = world_key(n++);
            owner = psk_winner(&key, &owner_lied_to->id, &liar->id);
        } while (!id_eq(&owner, &owner_lied_to->id));
        assert_int_equal(create_now(owner_lied_to, &key, "mine", DHT_KEEP), DHT_OK);
        world_run(&w, SEC(10));
        sign_lie(&w, &key);
        w.hook = third_point_lies;
        if (anew == 1)
            assert_int_equal(create_now(owner_lied_to, &key, "anew", DHT_KEEP), DHT_OK);
        else
            show_lie(PARCEL_LOST, 7); /* it renews at once */
        world_run(&w, SEC(3));
        assert_int_equal(owner_lied_to->lost, 0);
        w.hook = NULL;
        assert_int_equal(create_now(liar, &key, "stolen", DHT_KEEP), DHT_TAKEN);
        world_run(&w, SEC(60));
        assert_true(dht_kept(owner_lied_to->dht, &key, &v));
        assert_int_equal(get_now(w.nodes[9], &key, DHT_MAJORITY), DHT_OK);
        assert_true(id_eq(&w.nodes[9]->value.owner, &owner_lied_to->id));
        world_clear(&w);
    }
}

static bool no_loser_is_told(struct world *w, const struct overlay *from, const uint8_t *body,
                             size_t len)
{
    return body[0] != PARCEL_LOST;
}

/* The winner stands at one point only, and the loser hears of it in one of its first answers. */
static void who_loses_its_key_while_it_claims_it_anew_leaves_nothing_behind(void **state)
{
    for (uint64_t seed = 41; seed <= 60; seed++) {
        struct overlay *winner, *loser;
        struct id key, owner, point;
        struct world w;
        struct parcel p;
        unsigned n = 300;

        world_init(&w, seed);
        world_grow(&w, 30, MSEC(100));
        world_run(&w, SEC(20));
        winner = liar = w.nodes[0];
        loser = w.nodes[1];
        do {
            key = world_key(n++);
            owner = psk_winner(&key, &winner->id, &loser->id);
        } while (!id_eq(&owner, &winner->id));
        assert_int_equal(create_now(loser, &key, "theirs", DHT_KEEP), DHT_OK);
        world_run(&w, SEC(5));
        w.hook = no_loser_is_told;
        sign_lie(&w, &key); /* it is none this time */
        parcel_start(&p, PARCEL_STORE, 99);
        write_u8(&p.w, 2);
        write_u8(&p.w, 0);
        write_u32(&p.w, 3600);
        record_write(&p.w, &lie);
        point = id_point(&key, 2, DHT_POINTS);
        assert_int_equal(overlay_route(winner, &point, OVERLAY_NEAREST, OVERLAY_PROTO_DHT, p.bytes,
                                       writer_len(&p.w)),
                         0);
        world_run(&w, SEC(1));
        w.hook = NULL;
        (void)create_now(loser, &key, "anew", DHT_KEEP);
        world_run(&w, SEC(60));
        assert_int_equal(loser->lost, 1);
        assert_int_equal(owners_of(&w, &key, &owner), 1);
        assert_true(id_eq(&owner, &winner->id));
        world_clear(&w);
    }
}

static void loss_only_delays(void **state)
{
    struct world w;

    world_init(&w, 20);
    world_grow(&w, 20, MSEC(100));
    w.loss_percent = 25;
    world_run(&w, SEC(10));
    create_many(&w, 0, 40);
    assert_true(missing(&w, 0, 40) <= 1);
    w.loss_percent = 0;
    world_run(&w, SEC(150));
    assert_int_equal(wrong_replicas(&w), 0);
    world_clear(&w);
}

static void a_list_has_one_value_per_owner(void **state)
{
    enum { OWNERS = 50 };
    struct world w;
    struct id key = world_key(9);
    uint8_t value[DHT_VALUE_MAX];

    world_init(&w, 21);
    world_grow(&w, OWNERS, MSEC(50));
    world_run(&w, SEC(5));
    for (unsigned round = 0; round < 2; round++)
        for (unsigned i = 0; i < OWNERS; i++) {
            struct overlay *o = w.nodes[i];

            memset(value, (int)(i + round), sizeof(value));
            assert_int_equal(
                dht_put(o->dht, &key, NULL, value, 100 + 15 * i, 3600, 0, world_done, o, 0), 0);
            assert_true(world_run_until_done(&w, o, o->done + 1, SEC(20)));
            assert_int_equal(o->status, DHT_OK);
        }
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(get_now(w.nodes[i], &key, i % 2 ? DHT_MAJORITY : DHT_ANY), DHT_OK);
        assert_int_equal(w.nodes[i]->count, OWNERS);
    }
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(dht_remove(w.nodes[i]->dht, &key, NULL, NULL, 0), 0);
    world_run(&w, SEC(5));
    assert_int_equal(get_now(w.nodes[20], &key, DHT_ANY), DHT_OK);
    assert_int_equal(w.nodes[20]->count, OWNERS - 10);
    world_clear(&w);
}

static void the_largest_value_travels_in_two_parts(void **state)
{
    struct world w;
    struct id key = world_key(10);
    uint8_t value[DHT_VALUE_MAX + 1];
    struct overlay *o;

    world_init(&w, 22);
    world_grow(&w, 12, MSEC(100));
    world_run(&w, SEC(5));
    o = w.nodes[0];
    for (size_t i = 0; i < sizeof(value); i++)
        value[i] = (uint8_t)(i * 7);
    assert_int_equal(dht_create(o->dht, &key, NULL, value, sizeof(value), 3600, 0, NULL, NULL, 0),
                     -ERR_RANGE);
    assert_int_equal(
        dht_create(o->dht, &key, NULL, value, DHT_VALUE_MAX, 3600, DHT_KEEP, world_done, o, 0), 0);
    assert_true(world_run_until_done(&w, o, 1, SEC(5)));
    assert_int_equal(o->status, DHT_OK);
    assert_int_equal(get_now(w.nodes[7], &key, DHT_MAJORITY), DHT_OK);
    assert_int_equal(w.nodes[7]->value.len, DHT_VALUE_MAX);
    assert_memory_equal(w.nodes[7]->bytes, value, DHT_VALUE_MAX);
    world_grow(&w, 12, MSEC(100));
    world_run(&w, SEC(60));
    assert_int_equal(wrong_replicas(&w), 0);
    world_clear(&w);
}

static void what_is_removed_is_free_at_once_and_stays_removed(void **state)
{
    struct world w;
    struct id key = world_key(11), other = world_key(12);
    struct dht_value v;

    world_init(&w, 23);
    world_grow(&w, 10, MSEC(100));
    world_run(&w, SEC(5));
    assert_int_equal(dht_remove(w.nodes[1]->dht, &key, NULL, NULL, 0), -ERR_NOT_FOUND);
    assert_int_equal(create_now(w.nodes[1], &key, "a", DHT_KEEP), DHT_OK);
    assert_int_equal(create_now(w.nodes[1], &other, "b", DHT_KEEP), DHT_OK);
    assert_true(dht_kept(w.nodes[1]->dht, &key, &v));
    assert_int_equal(dht_remove(w.nodes[1]->dht, &key, world_done, w.nodes[1], 0), 0);
    assert_false(dht_kept(w.nodes[1]->dht, &key, &v));
    world_run_until_done(&w, w.nodes[1], 3, SEC(5));
    assert_int_equal(w.nodes[1]->status, DHT_OK);
    assert_int_equal(get_now(w.nodes[2], &key, DHT_ANY), DHT_NOT_FOUND);
    assert_int_equal(create_now(w.nodes[2], &key, "c", DHT_KEEP), DHT_OK);
    dht_leave(w.nodes[1]->dht); /* and with it what it kept */
    assert_int_equal(create(w.nodes[1], &key, "d", 0), -ERR_BAD_STATE);
    while (!dht_left(w.nodes[1]->dht))
        world_run(&w, MSEC(10));
    world_gone(w.nodes[1]);
    assert_int_equal(create_now(w.nodes[3], &other, "e", DHT_KEEP), DHT_OK);
    world_run(&w, SEC(200));
    assert_int_equal(get_now(w.nodes[4], &key, DHT_MAJORITY), DHT_OK);
    assert_true(id_eq(&w.nodes[4]->value.owner, &w.nodes[2]->id));
    assert_int_equal(wrong_replicas(&w), 0);
    world_clear(&w);
}

static void a_watcher_is_told_of_changes(void **state)
{
    struct world w;
    struct id key = world_key(13);
    struct overlay *watcher, *owner;

    world_init(&w, 24);
    world_grow(&w, 10, MSEC(100));
    world_run(&w, SEC(5));
    watcher = w.nodes[2];
    owner = w.nodes[6];
    assert_int_equal(dht_watch(watcher->dht, &key, world_done, watcher, 5), 0);
    world_run(&w, SEC(3));
    assert_int_equal(watcher->done, 1);
    assert_int_equal(watcher->status, DHT_NOT_FOUND);
    assert_int_equal(create_now(owner, &key, "a", DHT_KEEP), DHT_OK);
    world_run(&w, SEC(1));
    assert_int_equal(watcher->done, 2);
    assert_memory_equal(watcher->bytes, "a", 1);
    world_run(&w, SEC(300)); /* watches are renewed */
    assert_int_equal(create_now(owner, &key, "b", DHT_KEEP), DHT_OK);
    world_run(&w, SEC(1));
    assert_int_equal(watcher->done, 3);
    assert_memory_equal(watcher->bytes, "b", 1);
    assert_int_equal(dht_remove(owner->dht, &key, NULL, NULL, 0), 0);
    world_run(&w, SEC(1));
    assert_int_equal(watcher->done, 4);
    assert_int_equal(watcher->status, DHT_NOT_FOUND);
    dht_unwatch(watcher->dht, &key, watcher);
    assert_int_equal(create_now(owner, &key, "c", DHT_KEEP), DHT_OK);
    world_run(&w, SEC(100));
    assert_int_equal(watcher->done, 4);
    world_clear(&w);
}

static void kept_leases_are_renewed_and_others_end(void **state)
{
    struct world w;
    struct id kept = world_key(14), not_kept = world_key(15);
    uint64_t sent_bytes = 0, sent = 0;
    struct dht_held held;
    uint32_t first;

    world_init(&w, 25);
    world_grow(&w, 5, MSEC(100));
    world_run(&w, SEC(5));
    for (unsigned i = 0; i < 5; i++) {
        struct id key = world_key(100 + i);

        assert_int_equal(
            dht_create(w.nodes[i]->dht, &key, NULL, "x", 1, 86400, DHT_KEEP, NULL, NULL, 0), 0);
    }
    assert_int_equal(create_now(w.nodes[0], &kept, "a", DHT_KEEP), DHT_OK);
    assert_int_equal(create_now(w.nodes[0], &not_kept, "b", 0), DHT_OK);
    assert_true(world_holds(w.nodes[0], &kept, &held));
    first = held.v.sequence;
    for (unsigned i = 0; i < w.count; i++) {
        sent -= w.nodes[i]->sent;
        sent_bytes -= w.nodes[i]->sent_bytes;
    }
    world_run(&w, SEC(3599));
    assert_true(world_holds(w.nodes[0], &kept, &held));
    assert_true(held.v.sequence > first);
    assert_true(held.v.remaining_s > 1500);
    world_run(&w, SEC(2));
    assert_int_equal(get_now(w.nodes[1], &not_kept, DHT_ANY), DHT_NOT_FOUND);
    world_run(&w, SEC(2 * 86400));
    assert_int_equal(missing(&w, 100, 5), 0);
    assert_int_equal(get_now(w.nodes[1], &kept, DHT_ANY), DHT_OK);
    assert_int_equal(wrong_replicas(&w), 0);
    for (unsigned i = 0; i < w.count; i++) {
        sent += w.nodes[i]->sent;
        sent_bytes += w.nodes[i]->sent_bytes;
    }
    /* With IP and UDP headers, the control packet's and the route's: what idle members send. */
    assert_true((sent_bytes + sent * 160) / (2 * 86400) / w.count <= 8);
    world_clear(&w);
}

static void the_same_seed_gives_the_same_run(void **state)
{
    uint64_t digests[2];

    for (unsigned run = 0; run < 2; run++) {
        struct world w;

        world_init(&w, 26);
        w.loss_percent = 5;
        world_grow(&w, 15, MSEC(100));
        create_many(&w, 0, 15);
        world_crash(w.nodes[4]);
        world_run(&w, SEC(100));
        digests[run] = w.digest;
        world_clear(&w);
    }
    assert_true(digests[0] == digests[1]);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_ring_of_one_answers_itself_at_once),
        cmocka_unit_test(everybody_finds_what_one_has_created),
        cmocka_unit_test(of_many_claims_at_once_one_is_granted),
        cmocka_unit_test(claims_during_a_join_storm_are_all_different),
        cmocka_unit_test(a_claim_under_way_is_known_to_who_comes_between),
        cmocka_unit_test(those_who_join_together_are_ready_soon),
        cmocka_unit_test(a_claim_waits_until_its_range_was_handed_over_and_a_lookup_does_not),
        cmocka_unit_test(who_begins_a_ring_does_not_wait_for_those_who_follow_at_once),
        cmocka_unit_test(an_owner_without_memory_gets_its_key_again),
        cmocka_unit_test(an_offer_that_comes_home_gives_nothing_away),
        cmocka_unit_test(an_offer_that_goes_astray_gives_nothing_away),
        cmocka_unit_test(ranges_follow_those_who_join_and_leave),
        cmocka_unit_test(crashes_lose_nothing),
        cmocka_unit_test(half_of_all_may_die_at_once),
        cmocka_unit_test(who_is_left_alone_comes_to_rest),
        cmocka_unit_test(most_may_crash_and_be_back_unnoticed),
        cmocka_unit_test(two_owners_after_a_partition_are_settled_within_a_minute),
        cmocka_unit_test(who_lost_its_key_leaves_nothing_behind_where_the_winner_does_not_stand),
        cmocka_unit_test(a_holder_that_lies_takes_no_key_from_who_wins_it),
        cmocka_unit_test(who_loses_its_key_while_it_claims_it_anew_leaves_nothing_behind),
        cmocka_unit_test(loss_only_delays),
        cmocka_unit_test(a_list_has_one_value_per_owner),
        cmocka_unit_test(the_largest_value_travels_in_two_parts),
        cmocka_unit_test(what_is_removed_is_free_at_once_and_stays_removed),
        cmocka_unit_test(a_watcher_is_told_of_changes),
        cmocka_unit_test(kept_leases_are_renewed_and_others_end),
        cmocka_unit_test(the_same_seed_gives_the_same_run),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
