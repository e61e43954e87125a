// link: peal_crypto
/* The record on the wire, its signature, and which of two is newer. */
#include "dht/record.c"
#include "tests/unit/cm.h"

static struct id overlay;
static struct sign_public pub;
static struct sign_secret sec;
static const uint8_t hash_key[16] = {1};

static struct record example(void)
{
    struct record rec = {
        .kind = RECORD_CREATE,
        .len = 9,
        .epoch = 3,
        .sequence = 70000,
        .duration_s = 86400,
        .not_after_s = UINT64_C(1800000000),
        .value = (const uint8_t *)"10.77.0.5",
    };

    memset(rec.key.b, 0x11, ID_LEN);
    rec.writer = rec.owner = node_id_self(&pub);
    memcpy(rec.credential, pub.b, CREDENTIAL_LEN);
    record_sign(&rec, &overlay, &sec);
    return rec;
}

static size_t to_wire(const struct record *rec, uint8_t out[RECORD_MAX])
{
    struct writer w = writer_of(out, RECORD_MAX);

    record_write(&w, rec);
    assert_false(w.failed);
    assert_int_equal(writer_len(&w), record_wire_len(rec));
    return writer_len(&w);
}

static bool from_wire(const uint8_t *bytes, size_t len, struct record *out)
{
    struct reader r = reader_of(bytes, len);

    return record_read(&r, out) && reader_done(&r);
}

static void a_record_lies_on_the_wire_as_it_is_drawn(void **state)
{
    struct record rec = example(), back;
    uint8_t bytes[RECORD_MAX];
    size_t len = to_wire(&rec, bytes);

    assert_int_equal(len, 188);
    assert_int_equal(bytes[20], 1);
    assert_memory_equal(bytes + 21, rec.owner.b, 20);
    assert_memory_equal(bytes + 41, rec.writer.b, 20);
    assert_int_equal(get_u32(bytes + 61), 3);
    assert_int_equal(get_u32(bytes + 65), 70000);
    assert_int_equal(get_u32(bytes + 69), 86400);
    assert_int_equal(get_u64(bytes + 73), 1800000000);
    assert_int_equal(get_u16(bytes + 81), 9);
    assert_memory_equal(bytes + 83, "10.77.0.5", 9);
    assert_memory_equal(bytes + 92, pub.b, 32);
    assert_memory_equal(bytes + 124, rec.signature, 64);
    assert_true(from_wire(bytes, len, &back));
    assert_true(record_verify(&back, &overlay, &pub));
}

static void a_truncated_record_is_refused(void **state)
{
    struct record rec = example(), back;
    uint8_t bytes[RECORD_MAX];
    size_t len = to_wire(&rec, bytes);

    for (size_t n = 0; n < len; n++)
        assert_false(from_wire(bytes, n, &back));
}

static void every_bit_is_signed(void **state)
{
    struct record rec = example(), back;
    uint8_t bytes[RECORD_MAX];
    size_t len = to_wire(&rec, bytes);

    for (size_t bit = 0; bit < len * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(from_wire(bytes, len, &back) && record_verify(&back, &overlay, &pub));
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void a_signature_counts_in_its_own_overlay_only(void **state)
{
    struct record rec = example();
    struct id other = overlay;

    other.b[19] ^= 1;
    assert_true(record_verify(&rec, &overlay, &pub));
    assert_false(record_verify(&rec, &other, &pub));
}

static void fields_outside_their_limits_are_refused(void **state)
{
    static const struct {
        uint8_t kind;
        uint16_t len;
        uint32_t duration_s;
        bool good;
    } table[] = {
        {RECORD_CREATE, 0, 1, true},
        {RECORD_PUT, DHT_VALUE_MAX, DHT_DURATION_MAX_S, true},
        {RECORD_PUT | RECORD_REMOVED, 0, 60, true},
        {RECORD_CREATE | RECORD_REMOVED, 0, DHT_DURATION_MAX_S + RECORD_TOMBSTONE_EXTRA_S, true},
        {0, 1, 60, false},
        {3, 1, 60, false},
        {4, 1, 60, false},
        {RECORD_REMOVED, 0, 60, false},
        {RECORD_CREATE | RECORD_REMOVED, 1, 60, false},
        {RECORD_CREATE, 1, 0, false},
        {RECORD_CREATE, 1, DHT_DURATION_MAX_S + RECORD_TOMBSTONE_EXTRA_S + 1, false},
        {RECORD_CREATE, DHT_VALUE_MAX + 1, 60, false},
    };
    static const uint8_t value[DHT_VALUE_MAX + 1];

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct record rec = example(), back;
        uint8_t bytes[RECORD_MAX + 1];
        struct writer w = writer_of(bytes, sizeof(bytes));

        rec.kind = table[i].kind;
        rec.len = table[i].len;
        rec.duration_s = table[i].duration_s;
        rec.value = value;
        record_write(&w, &rec);
        assert_false(w.failed);
        assert_int_equal(from_wire(bytes, writer_len(&w), &back), table[i].good);
    }
}

static void a_renewal_makes_a_record_that_verifies_by_itself(void **state)
{
    struct record old = example(), rec = old, back;
    uint8_t bytes[RENEWAL_LEN];
    struct writer w = writer_of(bytes, sizeof(bytes));
    struct reader r = reader_of(bytes, sizeof(bytes));
    struct renewal renewal;

    rec.sequence++;
    rec.duration_s = 3600;
    rec.not_after_s += 600;
    record_sign(&rec, &overlay, &sec);
    renewal_write(&w, &rec);
    assert_false(w.failed);
    assert_int_equal(writer_left(&w), 0);
    assert_true(renewal_read(&r, &renewal) && reader_done(&r));
    back = record_renewed(&old, &renewal);
    assert_true(record_verify(&back, &overlay, &pub));
    assert_int_equal(back.sequence, 70001);
    assert_memory_equal(back.value, "10.77.0.5", 9);
    old.value = (const uint8_t *)"10.77.0.6"; /* a holder with another value notices */
    back = record_renewed(&old, &renewal);
    assert_false(record_verify(&back, &overlay, &pub));
}

static void the_newest_is_by_epoch_then_sequence(void **state)
{
    static const struct {
        uint32_t a_epoch, a_sequence, b_epoch, b_sequence;
        bool newer;
    } table[] = {
        {1, 2, 1, 1, true},
        {1, 1, 1, 2, false},
        {2, 1, 1, 9, true},
        {1, 9, 2, 1, false},
        {UINT32_MAX, 0, UINT32_MAX - 1, UINT32_MAX, true},
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct record a = example(), b = a;

        a.epoch = table[i].a_epoch;
        a.sequence = table[i].a_sequence;
        b.epoch = table[i].b_epoch;
        b.sequence = table[i].b_sequence;
        assert_int_equal(record_newer(&a, &b), table[i].newer);
        assert_int_equal(record_newer(&b, &a), !table[i].newer);
    }
}

static void the_same_numbers_with_other_bytes_are_ordered_all_the_same(void **state)
{
    struct record a = example(), b = a;

    assert_false(record_newer(&a, &b));
    b.value = (const uint8_t *)"10.77.0.6";
    record_sign(&b, &overlay, &sec);
    assert_true(record_newer(&a, &b) != record_newer(&b, &a));
    assert_true(record_version(&a, hash_key) != record_version(&b, hash_key));
}

static void a_record_past_its_date_is_outdated_with_ten_minutes_of_tolerance(void **state)
{
    static const struct {
        int64_t wall_s;
        bool known;
        uint64_t not_after_s;
        bool outdated;
    } table[] = {
        {1000600, true, 1000000, false},
        {1000601, true, 1000000, true},
        {1000601, false, 1000000, false},
        {1000601, true, 0, false},
        {5, true, 1, false},
        {-5, true, 1, false},
        {INT64_MAX, true, 1000000, true},
        {1000000, true, UINT64_MAX, false},
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct env env = {.wall_s = table[i].wall_s, .wall_known = table[i].known};
        struct record rec = example();

        rec.not_after_s = table[i].not_after_s;
        assert_int_equal(record_outdated(&rec, &env), table[i].outdated);
    }
}

static int setup(void **state)
{
    struct secret seed;

    memset(seed.b, 7, sizeof(seed.b));
    memset(overlay.b, 0x77, ID_LEN);
    sign_keys(&pub, &sec, &seed);
    return crypto_start();
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_lies_on_the_wire_as_it_is_drawn),
        cmocka_unit_test(a_truncated_record_is_refused),
        cmocka_unit_test(every_bit_is_signed),
        cmocka_unit_test(a_signature_counts_in_its_own_overlay_only),
        cmocka_unit_test(fields_outside_their_limits_are_refused),
        cmocka_unit_test(a_renewal_makes_a_record_that_verifies_by_itself),
        cmocka_unit_test(the_newest_is_by_epoch_then_sequence),
        cmocka_unit_test(the_same_numbers_with_other_bytes_are_ordered_all_the_same),
        cmocka_unit_test(a_record_past_its_date_is_outdated_with_ten_minutes_of_tolerance),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
