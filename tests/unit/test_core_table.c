// link: peal_core
#include "overlay/core/err.h"
#include "overlay/core/table.h"
#include "tests/unit/aborts.h"
#include "tests/unit/cm.h"

#include <stdlib.h>
#include <string.h>

struct item {
    int other;
    uint32_t key;
    bool in;
};

static const uint8_t hash_key[16] = "not a secret key";

static struct table table_of(size_t max)
{
    struct table t;

    table_init(&t, offsetof(struct item, key), sizeof(uint32_t), max, hash_key);
    return t;
}

static void an_empty_table_has_nothing(void **state)
{
    struct table t = table_of(4);
    uint32_t key = 1;
    size_t i = 0;

    assert_null(table_get(&t, &key));
    assert_null(table_remove(&t, &key));
    assert_null(table_next(&t, &i));
    table_clear(&t);
}

static void the_limit_is_hard(void **state)
{
    struct table t = table_of(3);
    struct item items[4] = {{.key = 1}, {.key = 2}, {.key = 3}, {.key = 4}};

    for (int i = 0; i < 3; i++)
        assert_int_equal(table_put(&t, &items[i]), 0);
    assert_int_equal(table_put(&t, &items[3]), -ERR_FULL);
    assert_ptr_equal(table_remove(&t, &items[0].key), &items[0]);
    assert_int_equal(table_put(&t, &items[3]), 0);
    assert_null(table_get(&t, &items[0].key));
    table_clear(&t);
}

/* A model run: the table against a flag per key, with runs of collisions opened and closed. */
static void puts_and_removes_agree_with_a_model(void **state)
{
    enum { KEYS = 400, STEPS = 40000 };
    static struct item items[KEYS];
    struct table t = table_of(KEYS);
    uint32_t random = 1;
    size_t in = 0;

    for (uint32_t i = 0; i < KEYS; i++)
        items[i] = (struct item){.key = i * 2654435761u};
    for (int step = 0; step < STEPS; step++) {
        struct item *item;

        random = random * 1664525u + 1013904223u;
        item = &items[(random >> 8) % KEYS];
        assert_ptr_equal(table_get(&t, &item->key), item->in ? item : NULL);
        if (item->in)
            assert_ptr_equal(table_remove(&t, &item->key), item);
        else
            assert_int_equal(table_put(&t, item), 0);
        item->in = !item->in;
        in += item->in ? 1 : SIZE_MAX;
        assert_int_equal(t.count, in);
    }
    for (uint32_t i = 0; i < KEYS; i++)
        assert_ptr_equal(table_get(&t, &items[i].key), items[i].in ? &items[i] : NULL);
    table_clear(&t);
}

static void iteration_meets_every_value_once(void **state)
{
    enum { COUNT = 100 };
    struct item items[COUNT] = {{0}}, *item;
    struct table t = table_of(COUNT);
    size_t met = 0;

    for (uint32_t i = 0; i < COUNT; i++) {
        items[i].key = i;
        assert_int_equal(table_put(&t, &items[i]), 0);
    }
    for (size_t i = 0; (item = table_next(&t, &i)) != NULL; met++) {
        assert_false(item->in);
        item->in = true;
    }
    assert_int_equal(met, COUNT);
    table_clear(&t);
    assert_int_equal(t.count, 0);
}

static void put_twice(void *arg)
{
    struct item one = {.key = 7}, two = {.key = 7};
    struct table t = table_of(4);

    if (table_put(&t, &one) < 0 || table_put(&t, &two) < 0)
        _exit(1);
}

static void a_key_put_twice_ends_the_process(void **state)
{
    assert_true(aborts(put_twice, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_table_has_nothing),
        cmocka_unit_test(the_limit_is_hard),
        cmocka_unit_test(puts_and_removes_agree_with_a_model),
        cmocka_unit_test(iteration_meets_every_value_once),
        cmocka_unit_test(a_key_put_twice_ends_the_process),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
