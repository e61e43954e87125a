// link: peal_core m z
/* The simulator's links: what they do to packets, one kind of fault at a time; the order of events;
 * and the measured matrix. */
#include <unistd.h>

#include "tests/sim/agenda.c"
#include "tests/sim/internet.c"
#include "tests/sim/latency.c"
/* Two files of one test have a function of that name. */
#define make_room make_room_for_mapping
#include "tests/sim/nat.c"
#undef make_room
#include "tests/sim/random.c"
#include "tests/unit/cm.h"

/* Nobody's memory is counted here. */
struct account *account_enter(struct account *a)
{
    return NULL;
}

enum { HOSTS = 6, PACKETS = 2000 };
static const usec delay_us = MSEC(40);

static void never(struct world *w, struct event *e)
{
}

static struct internet links(const struct internet_faults *faults)
{
    struct internet n;

    internet_init(&n, HOSTS, random_new(1, RANDOM_LINK, 0));
    n.delay_us = delay_us;
    n.faults = *faults;
    return n;
}

static void send_numbered(struct internet *n, struct agenda *q, uint32_t from, uint32_t to,
                          usec now_us, uint32_t number)
{
    struct endpoint ep = internet_public_endpoint(n, to);

    internet_send(n, q, now_us, from, &ep, (const uint8_t *)&number, sizeof(number), never);
}

struct came {
    size_t packets;   /* that came */
    size_t twice;     /* of these, once more */
    size_t overtaken; /* by a packet that was sent later */
    usec least_us, most_us;
};

/* Sends one each millisecond from host 0 to 1 and sees what comes. */
static struct came stream(struct internet *n)
{
    static uint8_t seen[PACKETS];
    struct came came = {.least_us = USEC_NEVER};
    struct agenda q = {.count = 0};
    uint32_t last = 0;

    memset(seen, 0, sizeof(seen));
    for (uint32_t i = 0; i < PACKETS; i++)
        send_numbered(n, &q, 0, 1, MSEC(i), i);
    while (agenda_first(&q) != NULL) {
        struct event *e = agenda_first(&q);
        struct packet *p = CONTAINER_OF(e, struct packet, event);
        uint32_t number;
        usec took_us;

        memcpy(&number, p->bytes, sizeof(number));
        took_us = e->at_us - MSEC(number);
        came.packets++;
        came.twice += seen[number]++ > 0;
        came.overtaken += number < last;
        last = number > last ? number : last;
        came.least_us = usec_min(came.least_us, took_us);
        came.most_us = took_us > came.most_us ? took_us : came.most_us;
        assert_int_equal(internet_arrive(n, e->at_us, p), 1);
        assert_ptr_equal(agenda_pop(&q), e);
        free(p);
    }
    agenda_clear(&q);
    internet_clear(n);
    return came;
}

static struct came stream_with(const struct internet_faults *faults)
{
    struct internet n = links(faults);

    return stream(&n);
}

static void without_faults_all_come_once_in_order_and_in_time(void **state)
{
    struct came came = stream_with(&(struct internet_faults){.loss = 0});

    assert_int_equal(came.packets, PACKETS);
    assert_int_equal(came.twice, 0);
    assert_int_equal(came.overtaken, 0);
    assert_true(came.least_us == delay_us && came.most_us == delay_us);
}

static void loss_takes_its_share(void **state)
{
    struct came came = stream_with(&(struct internet_faults){.loss = 0.25});

    assert_in_range(came.packets, PACKETS * 70 / 100, PACKETS * 80 / 100);
    assert_int_equal(came.twice, 0);
    assert_int_equal(stream_with(&(struct internet_faults){.loss = 1}).packets, 0);
}

static void duplicates_come_once_more(void **state)
{
    struct came came = stream_with(&(struct internet_faults){.duplicate = 0.25});

    assert_in_range(came.twice, PACKETS * 20 / 100, PACKETS * 30 / 100);
    assert_int_equal(came.packets, PACKETS + came.twice);
}

static void jitter_adds_up_to_its_bound_and_changes_the_order(void **state)
{
    struct came came = stream_with(&(struct internet_faults){.jitter_us = MSEC(20)});

    assert_int_equal(came.packets, PACKETS);
    assert_true(came.least_us >= delay_us && came.most_us <= delay_us + MSEC(20));
    assert_true(came.most_us - came.least_us > MSEC(18));
    assert_true(came.overtaken > PACKETS / 2);
}

static void late_packets_are_overtaken(void **state)
{
    struct came came = stream_with(&(struct internet_faults){.late = 0.1, .late_us = SEC(1)});

    assert_int_equal(came.packets, PACKETS);
    assert_in_range(came.overtaken, PACKETS * 7 / 100, PACKETS * 13 / 100);
    assert_true(came.most_us > delay_us + MSEC(900) && came.most_us <= delay_us + SEC(1));
}

static bool passes(struct internet *n, uint32_t from, uint32_t to)
{
    struct agenda q = {.count = 0};
    struct event *e;
    bool passed;

    send_numbered(n, &q, from, to, 0, 1);
    e = agenda_first(&q);
    passed = e != NULL;
    if (passed)
        free(CONTAINER_OF(agenda_pop(&q), struct packet, event));
    agenda_clear(&q);
    return passed;
}

static void a_cut_is_one_way_and_heals(void **state)
{
    struct internet n = links(&(struct internet_faults){.loss = 0});

    internet_cut(&n, 0, 1);
    assert_false(passes(&n, 0, 1));
    assert_true(passes(&n, 1, 0));
    assert_true(passes(&n, 0, 2));
    internet_heal(&n);
    assert_true(passes(&n, 0, 1));
    internet_clear(&n);
}

static void parts_hear_only_themselves_until_they_heal(void **state)
{
    struct internet n = links(&(struct internet_faults){.loss = 0});

    for (uint32_t i = 0; i < HOSTS; i++)
        n.places[i].part = (uint8_t)(i % 3);
    for (uint32_t a = 0; a < HOSTS; a++)
        for (uint32_t b = 0; b < HOSTS; b++)
            assert_int_equal(passes(&n, a, b), a % 3 == b % 3);
    internet_cut(&n, 0, 1);
    internet_reunite(&n);
    assert_true(passes(&n, 1, 0) && passes(&n, 1, 2) && passes(&n, 2, 0));
    assert_false(passes(&n, 0, 1)); /* a cut is another fault */
    assert_true(internet_is_bad(&n));
    internet_heal(&n);
    assert_false(internet_is_bad(&n));
    assert_true(passes(&n, 0, 1));
    internet_clear(&n);
}

/* What arrives in one instant arrives as it was sent, whatever else is set and taken out between.
 */
static void events_of_one_instant_happen_in_the_order_they_were_set(void **state)
{
    static struct event v[300], moved[300];
    struct agenda q = {.count = 0};

    for (size_t i = 0; i < ARRAY_LEN(v); i++) {
        agenda_set(&q, &moved[i], SEC(1) + i % 7);
        agenda_set(&q, &v[i], SEC(2));
        agenda_set(&q, &moved[i], i % 3 == 0 ? USEC_NEVER : SEC(3));
    }
    for (size_t i = 0; i < ARRAY_LEN(v); i++)
        assert_ptr_equal(agenda_pop(&q), &v[i]);
    for (size_t i = 0; i < ARRAY_LEN(moved); i++)
        if (i % 3 != 0)
            assert_ptr_equal(agenda_pop(&q), &moved[i]);
    assert_null(agenda_first(&q));
    agenda_clear(&q);
}

/* Round trips are halved; a row's hosts are in one rack; ways may differ by direction. */
static void a_matrix_gives_half_of_its_round_trips(void **state)
{
    char path[] = "/tmp/peal-matrix-XXXXXX";
    static const char text[] = "0 30 7.5\n20 0 100\n7.5 100 0\n";
    struct latency l;
    const char *why;
    unsigned line;
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (int)strlen(text));
    close(fd);
    assert_true(latency_read(&l, path, &why, &line));
    unlink(path);
    assert_int_equal(l.rows, 3);
    assert_int_equal(latency_one_way(&l, 0, 1), MSEC(15));
    assert_int_equal(latency_one_way(&l, 1, 0), MSEC(10));
    assert_int_equal(latency_one_way(&l, 2, 0), 3750);
    assert_in_range(latency_one_way(&l, 1, 1), 1, 1000);
    latency_clear(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_faults_all_come_once_in_order_and_in_time),
        cmocka_unit_test(loss_takes_its_share),
        cmocka_unit_test(duplicates_come_once_more),
        cmocka_unit_test(jitter_adds_up_to_its_bound_and_changes_the_order),
        cmocka_unit_test(late_packets_are_overtaken),
        cmocka_unit_test(a_cut_is_one_way_and_heals),
        cmocka_unit_test(parts_hear_only_themselves_until_they_heal),
        cmocka_unit_test(events_of_one_instant_happen_in_the_order_they_were_set),
        cmocka_unit_test(a_matrix_gives_half_of_its_round_trips),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
