// link: peal_overlay
/* The ring's lists without sessions: peers are told up by hand. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "overlay/ring.h"
#include "tests/unit/cm.h"

enum { PEERS = 64 };

static uint64_t random_state;

static void fill(void *host, void *buf, size_t len)
{
    uint8_t *p = buf;

    for (size_t i = 0; i < len; i++) {
        random_state = random_state * 6364136223846793005u + 1442695040888963407u;
        p[i] = (uint8_t)(random_state >> 56);
    }
}

static struct env env = {.now_us = SEC(100), .random = fill};

static struct id at(double f)
{
    return id_from_fraction(f);
}

struct fixture {
    struct ring ring;
    struct ring_peer peers[PEERS];
    size_t count;
};

static struct fixture *fixture_new(double self, enum overlay_state state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct id id = at(self);

    env.now_us = SEC(100);
    ring_init(&f->ring, &id, &env);
    ring_set_state(&f->ring, state);
    return f;
}

static void fixture_free(struct fixture *f)
{
    for (size_t i = 0; i < f->count; i++)
        ring_peer_clear(&f->peers[i]);
    ring_clear(&f->ring);
    free(f);
}

static struct ring_peer *up(struct fixture *f, double where)
{
    struct ring_peer *peer = &f->peers[f->count++];

    peer->id = at(where);
    peer->state = OVERLAY_MEMBER;
    peer->needed = true;
    ring_add(&f->ring, peer);
    return peer;
}

/* The peer tells its left and right neighbours, closest first; 0 ends a list. */
static void tells(struct fixture *f, struct ring_peer *peer, const double left[3],
                  const double right[3])
{
    struct ring_entry e[2 * OVERLAY_NEAR];
    struct ring_said said = {.entries = e};
    size_t n = 0;

    for (size_t i = 0; i < OVERLAY_NEAR && left[i] != 0; i++, said.counts[RING_LEFT]++)
        e[n++] = (struct ring_entry){.id = at(left[i])};
    for (size_t i = 0; i < OVERLAY_NEAR && right[i] != 0; i++, said.counts[RING_RIGHT]++)
        e[n++] = (struct ring_entry){.id = at(right[i])};
    assert_int_equal(ring_hear(&f->ring, peer, &said, true), 0);
}

static void assert_list(const struct ring_list *list, const double *expected, size_t n)
{
    assert_int_equal(list->count, n);
    for (size_t i = 0; i < n; i++) {
        struct id id = at(expected[i]);

        assert_true(id_eq(&list->id[i], &id));
    }
}

static void the_three_closest_on_each_side_are_near_also_across_zero(void **state)
{
    struct fixture *f = fixture_new(0.05, OVERLAY_MEMBER);
    static const double all[] = {0.3, 0.9, 0.1, 0.6, 0.99, 0.2, 0.97, 0.8, 0.12};

    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        up(f, all[i]);
    assert_true(ring_update(&f->ring));
    assert_list(&f->ring.near[RING_RIGHT], (double[]){0.1, 0.12, 0.2}, 3);
    assert_list(&f->ring.near[RING_LEFT], (double[]){0.99, 0.97, 0.9}, 3);
    assert_false(ring_update(&f->ring));
    ring_remove(&f->ring, ring_find(&f->ring, &f->ring.near[RING_RIGHT].id[0]));
    assert_true(ring_update(&f->ring));
    assert_list(&f->ring.near[RING_RIGHT], (double[]){0.12, 0.2, 0.3}, 3);
    fixture_free(f);
}

static void in_a_small_ring_one_node_stands_on_both_sides(void **state)
{
    struct fixture *f = fixture_new(0.5, OVERLAY_MEMBER);

    up(f, 0.1);
    up(f, 0.7);
    ring_update(&f->ring);
    assert_list(&f->ring.near[RING_RIGHT], (double[]){0.7, 0.1}, 2);
    assert_list(&f->ring.near[RING_LEFT], (double[]){0.1, 0.7}, 2);
    fixture_free(f);
}

static void one_message_adopts_a_whole_list_and_names_whom_to_connect(void **state)
{
    struct fixture *f = fixture_new(0.5, OVERLAY_MEMBER);
    struct ring_peer *peer = up(f, 0.51);
    const struct ring_candidate *c;
    size_t due = 0;

    tells(f, peer, (double[3]){0.49, 0.48, 0.47}, (double[3]){0.52, 0.53, 0.54});
    assert_true(ring_update(&f->ring));
    assert_list(&f->ring.near[RING_RIGHT], (double[]){0.51, 0.52, 0.53}, 3);
    assert_list(&f->ring.near[RING_LEFT], (double[]){0.49, 0.48, 0.47}, 3);
    /* Told to others is first-hand only. */
    assert_int_equal(f->ring.told_count[RING_RIGHT], 1);
    assert_int_equal(f->ring.told_count[RING_LEFT], 1);
    /* We are higher than three of them: they begin, unless they do not. */
    while ((c = ring_due(&f->ring)) != NULL) {
        assert_true(id_eq(&c->via, &peer->id));
        due++;
    }
    assert_int_equal(due, 2);
    env.now_us = ring_deadline(&f->ring);
    assert_in_range(env.now_us, SEC(100) + 1, SEC(101));
    while (ring_due(&f->ring) != NULL)
        due++;
    assert_int_equal(due, 5);
    fixture_free(f);
}

static void hearsay_of_a_node_that_failed_is_not_believed_for_a_while(void **state)
{
    struct fixture *f = fixture_new(0.5, OVERLAY_MEMBER);
    struct ring_peer *peer = up(f, 0.51);
    struct id dead = at(0.52);

    tells(f, peer, (double[3]){0}, (double[3]){0.52, 0.53, 0});
    ring_lost(&f->ring, &dead);
    ring_update(&f->ring);
    assert_list(&f->ring.near[RING_RIGHT], (double[]){0.51, 0.53}, 2);
    assert_false(ring_is_near(&f->ring, &dead));
    env.now_us += SEC(3); /* it is still told of: tried again, and believed when it is up */
    ring_update(&f->ring);
    assert_list(&f->ring.near[RING_RIGHT], (double[]){0.51, 0.53}, 2);
    assert_true(ring_is_near(&f->ring, &dead));
    up(f, 0.52);
    ring_update(&f->ring);
    assert_list(&f->ring.near[RING_RIGHT], (double[]){0.51, 0.52, 0.53}, 3);
    fixture_free(f);
}

/* Its session came and went, and it said nothing in it. */
static void who_closes_before_a_word_is_wanted_again(void **state)
{
    struct fixture *f = fixture_new(0.5, OVERLAY_MEMBER);
    struct ring_peer *peer = up(f, 0.51), *silent = &f->peers[f->count++];
    const struct ring_candidate *c;

    tells(f, peer, (double[3]){0}, (double[3]){0.52});
    ring_update(&f->ring);
    c = ring_due(&f->ring);
    assert_true(c != NULL && id_eq(&c->id, &(struct id[]){at(0.52)}[0]));
    silent->id = at(0.52);
    ring_add(&f->ring, silent);
    ring_update(&f->ring);
    assert_null(ring_due(&f->ring));
    ring_remove(&f->ring, silent);
    ring_released(&f->ring, &silent->id);
    ring_update(&f->ring);
    assert_true(ring_is_torn(&f->ring));
    env.now_us += SEC(1);
    assert_non_null(ring_due(&f->ring));
    fixture_free(f);
}

static void a_joining_node_is_told_with_a_flag_and_owns_nothing_yet(void **state)
{
    struct fixture *f = fixture_new(0.5, OVERLAY_MEMBER);
    struct id key = at(0.52);
    struct ring_peer *joiner = up(f, 0.52);

    joiner->state = OVERLAY_JOINING;
    ring_update(&f->ring);
    assert_int_equal(f->ring.near[RING_RIGHT].count, 0);
    joiner->welcome = true;
    ring_peer_changed(&f->ring, joiner);
    ring_update(&f->ring);
    assert_list(&f->ring.near[RING_RIGHT], (double[]){0.52}, 1);
    assert_int_equal(f->ring.told[RING_RIGHT][0].flags, RING_ENTRY_JOINING);
    assert_true(ring_owns(&f->ring, &key));
    joiner->state = OVERLAY_MEMBER;
    ring_peer_changed(&f->ring, joiner);
    ring_update(&f->ring);
    assert_int_equal(f->ring.told[RING_RIGHT][0].flags, 0);
    assert_false(ring_owns(&f->ring, &key));
    fixture_free(f);
}

static void a_joiner_is_in_when_both_its_neighbours_name_it_first(void **state)
{
    struct fixture *f = fixture_new(0.5, OVERLAY_JOINING);
    struct ring_peer *left = up(f, 0.4), *right = up(f, 0.6);

    ring_update(&f->ring);
    assert_false(ring_joined(&f->ring));
    tells(f, left, (double[3]){0.3, 0}, (double[3]){0.5, 0.6, 0});
    ring_update(&f->ring);
    assert_false(ring_joined(&f->ring));
    tells(f, right, (double[3]){0.5, 0.4, 0}, (double[3]){0.7, 0});
    ring_update(&f->ring);
    assert_true(ring_joined(&f->ring));
    /* Another joiner in between: it comes first. */
    tells(f, right, (double[3]){0.55, 0.5, 0.4}, (double[3]){0.7, 0});
    ring_update(&f->ring);
    assert_false(ring_joined(&f->ring));
    fixture_free(f);
}

static void who_is_introduced_is_opened_at_once_whatever_failed_before(void **state)
{
    struct fixture *f = fixture_new(0.5, OVERLAY_MEMBER);
    struct id id = at(0.4), via = at(0.9);
    struct endpoint ep = {.addr = addr_v4(0x01020304), .port = 5};
    const struct ring_candidate *c;

    ring_lost(&f->ring, &id);
    ring_welcome(&f->ring, &id, &via, &ep, SEC(10));
    ring_update(&f->ring);
    c = ring_due(&f->ring);
    assert_non_null(c);
    assert_true(id_eq(&c->id, &id) && id_eq(&c->via, &via) && endpoint_eq(&c->ep, &ep));
    assert_true(c->introduced);
    assert_null(ring_due(&f->ring));
    fixture_free(f);
}

static void candidates_are_bounded(void **state)
{
    struct fixture *f = fixture_new(0.5, OVERLAY_MEMBER);

    for (int i = 1; i < 400; i++) {
        struct id id = at(i / 1000.0);

        ring_hint(&f->ring, &id, NULL, NULL, 0, SEC(10));
    }
    assert_int_equal(f->ring.candidate_count, RING_CANDIDATES_MAX);
    env.now_us += SEC(11);
    ring_update(&f->ring);
    assert_int_equal(f->ring.candidate_count, 0);
    fixture_free(f);
}

/* n random places, in their order. */
static double *places(unsigned n, uint64_t seed)
{
    double *where = calloc(n, sizeof *where);

    random_state = seed;
    for (unsigned i = 0; i < n; i++) {
        uint32_t r = env_random_u32(&env);

        where[i] = r / 4294967296.0;
    }
    for (unsigned i = 1; i < n; i++) /* insertion sort: small, and no comparator */
        for (unsigned k = i; k > 0 && where[k] < where[k - 1]; k--) {
            double swap = where[k];

            where[k] = where[k - 1];
            where[k - 1] = swap;
        }
    return where;
}

static void tells_of_neighbours(struct fixture *f, struct ring_peer *peer, const double *where,
                                unsigned n, unsigned p)
{
    tells(f, peer,
          (double[3]){where[(p + n - 1) % n], where[(p + n - 2) % n], where[(p + n - 3) % n]},
          (double[3]){where[(p + 1) % n], where[(p + 2) % n], where[(p + 3) % n]});
}

/* n members at random places; the lists of `self` and of peers at random distances. */
static double estimate_of(unsigned n, unsigned peers, uint64_t seed)
{
    double *where = places(n, seed), result;
    struct id self = at(where[0]);
    struct fixture *f;

    f = fixture_new(where[0], OVERLAY_MEMBER);
    assert_true(id_eq(&f->ring.self, &self));
    for (unsigned i = 0; i < peers; i++) {
        unsigned p =
            i < 6 ? (i < 3 ? i + 1 : n - i + 2) : 7 + (unsigned)env_random_below(&env, n - 14);
        struct id id = at(where[p]);

        if (ring_find(&f->ring, &id) != NULL)
            continue;
        tells_of_neighbours(f, up(f, where[p]), where, n, p);
    }
    ring_update(&f->ring);
    result = ring_members(&f->ring);
    fixture_free(f);
    free(where);
    return result;
}

static void the_size_is_estimated_from_gaps_without_bias(void **state)
{
    static const unsigned sizes[] = {100, 1000};

    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        double sum = 0, worst = 0;

        for (uint64_t seed = 1; seed <= 200; seed++) {
            double ratio = estimate_of(sizes[i], 13, seed) / sizes[i];

            sum += ratio / 200;
            worst = fmax(worst, fabs(ratio - 1));
        }
        assert_true(fabs(sum - 1) < 0.05);
        assert_true(worst < 0.6); /* of one node alone; the means of many narrow it */
    }
}

static void connect_two(struct fixture **all, const double *where, unsigned n, unsigned i,
                        unsigned k, bool shortcut)
{
    struct ring_peer *peer;

    if (i == k || ring_find(&all[i]->ring, &all[k]->ring.self) != NULL)
        return;
    for (int way = 0; way < 2; way++) {
        unsigned from = way == 0 ? i : k, to = way == 0 ? k : i;

        peer = up(all[from], where[to]);
        peer->shortcut = shortcut;
        tells_of_neighbours(all[from], peer, where, n, to);
    }
}

/* Whose place is next after a random point: more often one behind a wide gap. */
static unsigned random_member(const double *where, unsigned n)
{
    double point = env_random_u32(&env) / 4294967296.0;
    unsigned k = 0;

    while (k < n && where[k] < point)
        k++;
    return k % n;
}

static void everybody_tells_everybody(struct fixture **all, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        ring_update(&all[i]->ring);
        (void)ring_tell_views(&all[i]->ring);
    }
    for (unsigned i = 0; i < n; i++)
        for (size_t p = 0; p < all[i]->count; p++) {
            unsigned k = 0;

            while (all[i]->peers[p].id.b[0] != all[k]->ring.self.b[0] ||
                   !id_eq(&all[i]->peers[p].id, &all[k]->ring.self))
                k++;
            ring_hear_views(&all[i]->ring, &all[i]->peers[p], all[k]->ring.told_views);
            ring_settle_views(&all[i]->ring);
        }
    env.now_us += SEC(1);
}

static double worst_error(unsigned n, uint64_t seed)
{
    double *where = places(n, seed), worst = 0;
    struct fixture **all = calloc(n, sizeof *all);

    for (unsigned i = 0; i < n; i++)
        all[i] = fixture_new(where[i], OVERLAY_MEMBER);
    for (unsigned i = 0; i < n; i++)
        for (unsigned k = 1; k <= OVERLAY_NEAR; k++)
            connect_two(all, where, n, i, (i + k) % n, false);
    for (unsigned i = 0; i < 3 * n; i++)
        connect_two(all, where, n, i / 3, random_member(where, n), true);
    for (unsigned i = 0; i <= RING_VIEWS; i++)
        everybody_tells_everybody(all, n);
    for (unsigned i = 0; i < n; i++) {
        worst = fmax(worst, fabs(ring_members(&all[i]->ring) / n - 1));
        fixture_free(all[i]);
    }
    free(all);
    free(where);
    return worst;
}

static void everybody_knows_the_size_within_15_percent(void **state)
{
    static const unsigned sizes[] = {100, 200, 400};

    for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
        for (uint64_t seed = 1; seed <= 5; seed++)
            assert_true(worst_error(sizes[i], seed) < 0.15);
}

static uint16_t view(double members)
{
    return (uint16_t)(log2(members) * 2048);
}

static void sees(struct fixture *f, struct ring_peer *peer, double own, double second, double third)
{
    ring_hear_views(&f->ring, peer, (uint16_t[RING_VIEWS]){view(own), view(second), view(third)});
    ring_settle_views(&f->ring);
}

/* A node with ten peers in a ring of about 400, by its own view; three are shortcuts. */
static struct fixture *among_ten(struct ring_peer *peers[10])
{
    struct fixture *f = fixture_new(0.5, OVERLAY_MEMBER);

    for (unsigned i = 0; i < 10; i++) {
        double where = 0.1 + 0.04 * i;

        peers[i] = up(f, where);
        peers[i]->shortcut = i < 3;
        tells(f, peers[i], (double[3]){where - 0.0025, where - 0.005, where - 0.0075},
              (double[3]){where + 0.0025, where + 0.005, where + 0.0075});
    }
    return f;
}

static bool is_about(const struct fixture *f, double members)
{
    return fabs(ring_members(&f->ring) / members - 1) < 0.02;
}

static void the_size_is_the_mean_of_means_of_what_peers_see(void **state)
{
    struct ring_peer *peers[10];
    struct fixture *f = among_ten(peers);

    for (unsigned i = 0; i < 10; i++)
        sees(f, peers[i], 500, 510, 520);
    ring_update(&f->ring);
    assert_true(ring_members(&f->ring) > 480 && ring_members(&f->ring) < 530);
    assert_true(f->ring.views[1] > view(450) && f->ring.views[1] < view(510));
    fixture_free(f);
}

static void liars_among_the_peers_do_not_move_the_size(void **state)
{
    static const double lies[] = {1.1, 4e9};
    struct ring_peer *peers[10];

    for (size_t k = 0; k < ARRAY_LEN(lies); k++) {
        struct fixture *f = among_ten(peers);

        ring_update(&f->ring);
        for (unsigned i = 0; i < 10; i++)
            if (i == 0 || i == 5)
                sees(f, peers[i], lies[k], lies[k], lies[k]);
            else
                sees(f, peers[i], 400, 400, 400);
        assert_true(is_about(f, 400));
        fixture_free(f);
    }
}

static void what_is_known_of_another_size_is_not_believed(void **state)
{
    struct ring_peer *peers[10];
    struct fixture *f = among_ten(peers);

    ring_update(&f->ring);
    for (unsigned i = 0; i < 10; i++) /* they see what we see, and remember a ring half as large */
        sees(f, peers[i], 400, 200, 200);
    assert_true(is_about(f, 400));
    for (unsigned i = 0; i < 10; i++)
        sees(f, peers[i], 400, 400, 200);
    assert_true(is_about(f, 400));
    fixture_free(f);
}

static void who_left_or_has_not_joined_is_not_asked_for_the_size(void **state)
{
    struct ring_peer *peers[10];
    struct fixture *f = among_ten(peers);

    for (unsigned i = 0; i < 10; i++) {
        sees(f, peers[i], 9000, 9000, 9000);
        if (i != 9)
            peers[i]->state = i < 5 ? OVERLAY_LEAVING : OVERLAY_JOINING;
        ring_peer_changed(&f->ring, peers[i]);
    }
    ring_update(&f->ring);
    assert_true(ring_members(&f->ring) < 9000 / 4);
    fixture_free(f);
}

static void views_are_told_when_they_moved_and_once_a_second(void **state)
{
    struct ring_peer *peers[10];
    struct fixture *f = among_ten(peers);
    uint16_t version;

    ring_update(&f->ring);
    version = ring_tell_views(&f->ring);
    assert_int_not_equal(version, 0);
    assert_memory_equal(f->ring.told_views, f->ring.views, sizeof f->ring.told_views);
    env.now_us += MSEC(500);
    for (unsigned i = 0; i < 10; i++)
        sees(f, peers[i], 600, 600, 600);
    assert_int_equal(ring_tell_views(&f->ring), version);
    env.now_us += MSEC(500);
    assert_int_not_equal(ring_tell_views(&f->ring), version);
    assert_memory_equal(f->ring.told_views, f->ring.views, sizeof f->ring.told_views);
    version = ring_tell_views(&f->ring);
    env.now_us += SEC(100);
    for (unsigned i = 0; i < 10; i++)
        sees(f, peers[i], 602, 602, 602);
    assert_int_equal(ring_tell_views(&f->ring), version);
    f->ring.views_version = UINT16_MAX;
    for (unsigned i = 0; i < 10; i++)
        sees(f, peers[i], 900, 900, 900);
    assert_int_equal(ring_tell_views(&f->ring), 1);
    fixture_free(f);
}

static void a_closed_circle_is_counted_whatever_peers_say(void **state)
{
    struct fixture *f = fixture_new(0.5, OVERLAY_MEMBER);
    struct ring_peer *left = up(f, 0.1), *right = up(f, 0.7);

    tells(f, left, (double[3]){0.7, 0.5}, (double[3]){0.5, 0.7});
    tells(f, right, (double[3]){0.5, 0.1}, (double[3]){0.1, 0.5});
    ring_update(&f->ring);
    sees(f, left, 1000, 1000, 1000);
    sees(f, right, 1000, 1000, 1000);
    assert_true(ring_members(&f->ring) == 3);
    fixture_free(f);
}

static void shortcuts_lead_past_the_near_lists_and_no_further_than_half_way(void **state)
{
    struct fixture *f = fixture_new(0.25, OVERLAY_MEMBER);
    unsigned closer_than_tenth = 0, right = 0;

    f->ring.members = 1000;
    random_state = 7;
    for (int i = 0; i < 4000; i++) {
        struct id p = ring_draw_shortcut(&f->ring);
        struct id d = id_distance(&f->ring.self, &p), r = id_sub(&p, &f->ring.self);

        assert_true(id_fraction(&d) >= 0.00799 && id_fraction(&d) <= 0.5001);
        closer_than_tenth += id_fraction(&d) < 0.0632; /* the geometric middle of 0.008 and 0.5 */
        right += id_fraction(&r) < 0.5;
    }
    assert_in_range(closer_than_tenth, 1850, 2150);
    assert_in_range(right, 1850, 2150);
    fixture_free(f);
}

static void connections_average_log_n_plus_3(void **state)
{
    struct fixture *f = fixture_new(0.25, OVERLAY_MEMBER);

    f->ring.members = 7;
    assert_true(ring_shortcuts_wanted(&f->ring) == 0);
    f->ring.members = 1024;
    assert_true(2 * OVERLAY_NEAR + 2 * ring_shortcuts_wanted(&f->ring) == 13);
    fixture_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_three_closest_on_each_side_are_near_also_across_zero),
        cmocka_unit_test(in_a_small_ring_one_node_stands_on_both_sides),
        cmocka_unit_test(one_message_adopts_a_whole_list_and_names_whom_to_connect),
        cmocka_unit_test(hearsay_of_a_node_that_failed_is_not_believed_for_a_while),
        cmocka_unit_test(who_closes_before_a_word_is_wanted_again),
        cmocka_unit_test(a_joining_node_is_told_with_a_flag_and_owns_nothing_yet),
        cmocka_unit_test(a_joiner_is_in_when_both_its_neighbours_name_it_first),
        cmocka_unit_test(who_is_introduced_is_opened_at_once_whatever_failed_before),
        cmocka_unit_test(candidates_are_bounded),
        cmocka_unit_test(the_size_is_estimated_from_gaps_without_bias),
        cmocka_unit_test(everybody_knows_the_size_within_15_percent),
        cmocka_unit_test(the_size_is_the_mean_of_means_of_what_peers_see),
        cmocka_unit_test(liars_among_the_peers_do_not_move_the_size),
        cmocka_unit_test(what_is_known_of_another_size_is_not_believed),
        cmocka_unit_test(who_left_or_has_not_joined_is_not_asked_for_the_size),
        cmocka_unit_test(views_are_told_when_they_moved_and_once_a_second),
        cmocka_unit_test(a_closed_circle_is_counted_whatever_peers_say),
        cmocka_unit_test(shortcuts_lead_past_the_near_lists_and_no_further_than_half_way),
        cmocka_unit_test(connections_average_log_n_plus_3),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
