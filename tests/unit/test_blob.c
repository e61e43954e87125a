// link: peal_settings
/* Blobs: a right one is read whole; each field that is wrong is named. */
#include "tests/unit/blob_world.h"
#include "tests/unit/cm.h"

static void a_right_blob_is_read_whole(void **state)
{
    char why[BLOB_WHY_SIZE], text[NET_TEXT_SIZE];
    struct blob *b = blob_world_parse(blob_world_new(), why);

    assert_non_null(b);
    assert_string_equal(b->group, "lab");
    assert_int_equal(b->group_id.b[19], 0x11);
    assert_int_equal(b->group_key.b[31], 31);
    assert_non_null(b->ca);
    assert_string_equal(b->user, "alice");
    assert_string_equal(b->secret, "s3cret");
    assert_string_equal(b->server, "https://ca.example.net:8443");
    assert_int_equal(b->pins.count, 1);
    assert_string_equal(net_text(&b->network.ipv4, text), "10.77.0.0/16");
    assert_string_equal(net_text(&b->network.ipv6, text), "fd00:1:2::/48");
    assert_string_equal(b->network.domain, "lab.peal");
    assert_int_equal(b->network.lease_s, 86400);
    assert_int_equal(b->bootstrap.count, 2);
    assert_int_equal(b->public_bootstrap.count, 0);
    assert_false(b->psk);
    blob_free(b);
}

static void what_is_kept_has_no_secret_and_reads_back(void **state)
{
    char why[BLOB_WHY_SIZE];
    struct blob *b = blob_world_parse(blob_world_new(), why);
    struct blob *again = blob_world_parse(blob_json(b), why);

    assert_non_null(again);
    assert_string_equal(again->secret, "");
    assert_string_equal(again->ca, b->ca);
    assert_string_equal(again->server, b->server);
    assert_memory_equal(&again->group_key, &b->group_key, sizeof b->group_key);
    assert_memory_equal(&again->network.ipv4, &b->network.ipv4, sizeof b->network.ipv4);
    assert_int_equal(again->bootstrap.count, 2);
    assert_string_equal(again->pins.v[0], b->pins.v[0]);
    blob_free(b);
    blob_free(again);
}

static void a_field_that_is_wrong_is_named(void **state)
{
    static const struct {
        const char *key;
        const char *value; /* JSON; NULL: the field is taken out */
        const char *why;
    } cases[] = {
        {"peal", NULL, "is JSON, but no blob: \"peal\" is missing"},
        {"peal", "2", "is of version 2; this peald reads version 1"},
        {"peal", "\"1\"", "is JSON, but no blob: \"peal\" is missing"},
        {"group", NULL, "\"group\" is missing"},
        {"group", "7", "\"group\" is not a text"},
        {"group", "\"\"", "\"group\" is empty"},
        {"group", "\"../x\"", "\"group\" is not one label of letters, digits and inner hyphens"},
        {"group", "\".lock\"", "\"group\" is not one label of letters, digits and inner hyphens"},
        {"group_id", "\"11\"", "\"group_id\" is not 40 hexadecimal digits"},
        {"group_key", "\"AAECAw==\"", "\"group_key\" is not 32 bytes in base64"},
        {"group_key", "\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=x\"",
         "\"group_key\" is not 32 bytes in base64"},
        {"group_key", NULL, "\"group_key\" is missing"},
        {"ca", NULL, "neither \"ca\" nor \"psk\":true, so nobody could be authenticated"},
        {"ca", "\"no PEM\"", NULL},
        {"user", NULL, "\"user\" is missing"},
        {"user", "\"a b\"", "\"user\" is not one label of letters, digits and inner hyphens"},
        {"secret", "\"a b\"", "\"secret\" has characters that no secret has"},
        {"server", "\"http://x\"", "\"server\" is not an https:// address"},
        {"server", "\"https://x y\"", "\"server\" is not an https:// address"},
        {"server_pins", "\"x\"", "\"server_pins\" is not a list of at most 8"},
        {"server_pins", "[\"AAAA\"]", "\"server_pins\": entry 1 is not a SHA-256 in base64"},
        {"network", NULL, "\"network\" is missing, or is no object"},
        {"bootstrap", "[\"a:1\", \"b\"]", "\"bootstrap\": entry 2 is not host:port"},
        {"bootstrap", "{}", "\"bootstrap\" is not a list"},
        {"public_bootstrap", "[1]", "\"public_bootstrap\": entry 1 is not host:port"},
        {"psk", "1", "\"psk\" is neither true nor false"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        json_t *o = blob_world_new();
        char why[BLOB_WHY_SIZE];

        if (cases[i].value)
            json_object_set_new(o, cases[i].key, json_loads(cases[i].value, JSON_DECODE_ANY, NULL));
        else
            json_object_del(o, cases[i].key);
        assert_null(blob_world_parse(o, why));
        if (cases[i].why)
            assert_string_equal(why, cases[i].why);
        else
            assert_memory_equal(why, "\"ca\" is not a group's CA certificate: ", 37);
    }
}

static void the_network_is_checked_field_by_field(void **state)
{
    static const struct {
        const char *key, *value, *why;
    } cases[] = {
        {"ipv4", "\"10.77.0.1/16\"", "\"network\".\"ipv4\" = \"10.77.0.1/16\" has host bits set"},
        {"ipv4", "\"10.77.0.0\"", "\"network\".\"ipv4\" = \"10.77.0.0\" is not an IPv4 range"},
        {"ipv4", "\"fd00::/48\"", "\"network\".\"ipv4\" = \"fd00::/48\" is not an IPv4 range"},
        {"ipv4", "\"10.0.0.0/7\"", "\"network\".\"ipv4\" must be between /8 and /29"},
        {"ipv4", "\"10.77.0.0/30\"", "\"network\".\"ipv4\" must be between /8 and /29"},
        {"ipv6", "\"2001:db8::/48\"",
         "\"network\".\"ipv6\" must be a unique local /48 (fd..::/48)"},
        {"ipv6", "\"fd00::/64\"", "\"network\".\"ipv6\" must be a unique local /48 (fd..::/48)"},
        {"domain", "\"a..b\"", "\"network\".\"domain\" is not a domain name"},
        {"lease_s", "0", "\"network\".\"lease_s\" is not between 60 and 2592000"},
        {"lease_s", "\"x\"", "\"network\".\"lease_s\" is not between 60 and 2592000"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        json_t *o = blob_world_new();
        char why[BLOB_WHY_SIZE];

        json_object_set_new(json_object_get(o, "network"), cases[i].key,
                            json_loads(cases[i].value, JSON_DECODE_ANY, NULL));
        assert_null(blob_world_parse(o, why));
        assert_string_equal(why, cases[i].why);
    }
}

static void another_groups_ca_is_refused(void **state)
{
    char why[BLOB_WHY_SIZE], pem[FORGE_PEM_SIZE];
    json_t *o = blob_world_new();

    json_object_set_new(o, "ca", json_string(blob_world_ca(0x22, pem)));
    assert_null(blob_world_parse(o, why));
    assert_string_equal(why, "\"ca\" is the CA of another group than \"group_id\"");
}

static void a_pre_exchanged_key_needs_no_service(void **state)
{
    static const char *const absent[] = {"ca",          "user",      "secret",          "server",
                                         "server_pins", "bootstrap", "public_bootstrap"};
    char why[BLOB_WHY_SIZE];

    for (unsigned null = 0; null < 2; null++) {
        json_t *o = blob_world_new();
        struct blob *b;

        for (size_t i = 0; i < ARRAY_LEN(absent); i++) {
            if (null)
                json_object_set_new(o, absent[i], json_null());
            else
                json_object_del(o, absent[i]);
        }
        json_object_set_new(o, "psk", json_true());
        b = blob_world_parse(o, why);
        assert_non_null(b);
        assert_true(b->psk);
        assert_null(b->ca);
        blob_free(b);
    }
}

static void fields_of_later_versions_are_left_alone(void **state)
{
    char why[BLOB_WHY_SIZE];
    json_t *o = blob_world_new();
    struct blob *b;

    json_object_set_new(o, "colour", json_string("green"));
    b = blob_world_parse(o, why);
    assert_non_null(b);
    blob_free(b);
}

static void text_that_is_no_json_is_placed(void **state)
{
    char why[BLOB_WHY_SIZE];

    assert_null(blob_parse("{\"peal\":1,\n\"group\":", 20, why));
    assert_memory_equal(why, "is not valid JSON: line 2, column ", 34);
    assert_null(blob_parse("", 0, why));
    assert_null(blob_parse("[]", 2, why));
    assert_string_equal(why, "is JSON, but no blob: \"peal\" is missing");
    assert_null(blob_parse("{\"peal\":1,\"peal\":1}", 19, why));
}

/* Where the text breaks off may be in the middle of the secret, and errors go to the log. */
static void an_error_never_quotes_the_text(void **state)
{
    static const char text[] = "{\"peal\":1, \"secret\" \"hunter2\"}";
    char why[BLOB_WHY_SIZE];

    assert_null(blob_parse(text, strlen(text), why));
    assert_null(strstr(why, "hunter2"));
}

/* Wherever a file was cut off, it is refused, and nothing is read behind its end. */
static void every_truncation_is_refused(void **state)
{
    json_t *o = blob_world_new();
    char *text = json_dumps(o, JSON_COMPACT), why[BLOB_WHY_SIZE];
    size_t len = strlen(text);

    for (size_t i = 0; i < len; i++) {
        char *cut = malloc(i ? i : 1);

        memcpy(cut, text, i);
        assert_null(blob_parse(cut, i, why));
        assert_true(why[0] != '\0');
        free(cut);
    }
    free(text);
    json_decref(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_right_blob_is_read_whole),
        cmocka_unit_test(what_is_kept_has_no_secret_and_reads_back),
        cmocka_unit_test(a_field_that_is_wrong_is_named),
        cmocka_unit_test(the_network_is_checked_field_by_field),
        cmocka_unit_test(another_groups_ca_is_refused),
        cmocka_unit_test(a_pre_exchanged_key_needs_no_service),
        cmocka_unit_test(fields_of_later_versions_are_left_alone),
        cmocka_unit_test(text_that_is_no_json_is_placed),
        cmocka_unit_test(an_error_never_quotes_the_text),
        cmocka_unit_test(every_truncation_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
