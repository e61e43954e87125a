// link: peal_ca
#include "test_ca_desk.h"

#include "ca-web/form.h"
#include "ca-web/html.h"
#include "ca-web/options.h"

static void a_form_is_read_as_the_browser_wrote_it(void **state)
{
    static const struct {
        const char *body, *name, *value;
    } rows[] = {
        {"a=1&b=2", "a", "1"},
        {"a=1&b=2", "b", "2"},
        {"a=1&b=2", "c", ""},
        {"a=x+y%2Bz", "a", "x y+z"},
        {"a=%c3%BC", "a", "\xc3\xbc"},
        {"a=one%0D%0Atwo", "a", "one\ntwo"},
        {"a", "a", ""},
        {"a=", "a", ""},
        {"a=b=c", "a", "b=c"},
        {"&&a=1&&", "a", "1"},
        {"a=1&a=2", "a", "1"},
        {"%61=1", "a", "1"},
        {"=1", "", "1"},
        {"", "a", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct form f;
        assert_true(form_read(&f, rows[i].body, strlen(rows[i].body)));
        assert_string_equal(form_value(&f, rows[i].name), rows[i].value);
        form_clear(&f);
    }
}

static void a_malformed_form_is_refused_whole(void **state)
{
    static const struct {
        const char *body;
        size_t len;
    } rows[] = {{"a=%", 3},   {"a=%4", 4},  {"a=%4g", 5}, {"a=%g4", 5},     {"a=%00", 5},
                {"a=\0b", 4}, {"a=%1b", 5}, {"a=%7f", 5}, {"a=1&b=%zz", 9}, {"%=1", 3}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct form f;
        assert_false(form_read(&f, rows[i].body, rows[i].len));
        assert_null(f.bytes);
    }
}

static void a_form_has_a_most_of_fields(void **state)
{
    char body[2 * FORM_FIELDS_MAX + 3] = "";
    struct form f;

    for (int i = 0; i < FORM_FIELDS_MAX; i++)
        strcat(body, "a&");
    assert_true(form_read(&f, body, strlen(body)));
    form_clear(&f);
    strcat(body, "a");
    assert_false(form_read(&f, body, strlen(body)));
}

static void html_escapes_whatever_it_is_given(void **state)
{
    struct text t = {0};

    html_open(&t, "a", "href", "/x?a=1&b='\"<>", "class", "c", NULL);
    html_text(&t, "<script>alert(\"x\" + 'y')</script> & so on");
    html_close(&t, "a");
    html_element(&t, "p", "", NULL);
    assert_false(t.failed);
    assert_string_equal(t.p, "<a href=\"/x?a=1&amp;b=&#39;&quot;&lt;&gt;\" class=\"c\">"
                             "&lt;script&gt;alert(&quot;x&quot; + &#39;y&#39;)&lt;/script&gt; "
                             "&amp; so on</a><p></p>");
    text_clear(&t);
}

static void a_text_stops_at_its_most_and_says_so(void **state)
{
    struct text t = {0};
    char block[4096];

    memset(block, 'x', sizeof block);
    for (size_t i = 0; i < TEXT_MAX / sizeof block + 1; i++)
        text_add(&t, block, sizeof block);
    assert_true(t.failed);
    assert_true(t.len < TEXT_MAX);
    text_clear(&t);
    text_str(&t, "again");
    assert_string_equal(t.p, "again");
    text_clear(&t);
}

static bool read_line(const char *const *argv, struct words *words, const char **data,
                      const char **flag, char why[128])
{
    int argc = 0;

    *data = *flag = NULL;
    while (argv[argc])
        argc++;
    const struct option_def defs[] = {{"data", false, data}, {"json", true, flag}};
    return options_read(argc, (char **)(uintptr_t)argv, defs, 2, words, why, 128);
}

static void options_stand_anywhere_in_both_spellings(void **state)
{
    static const char *const lines[][8] = {
        {"peal-ca", "--data", "d", "--json", "member", "list"},
        {"peal-ca", "member", "--data=d", "list", "--json"},
        {"peal-ca", "--json", "member", "list", "--data", "d"},
        {"peal-ca", "--json", "--data=d", "--", "member", "list"},
    };
    const char *data, *flag;
    struct words words;
    char why[128];

    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        assert_true(read_line(lines[i], &words, &data, &flag, why));
        assert_string_equal(data, "d");
        assert_non_null(flag);
        assert_int_equal(words.count, 2);
        assert_string_equal(words.v[0], "member");
        assert_string_equal(words.v[1], "list");
    }
}

static void a_wrong_command_line_says_what_is_wrong(void **state)
{
    static const struct {
        const char *argv[12], *why;
    } rows[] = {
        {{"x", "--nope"}, "unknown option --nope"},
        {{"x", "--dat", "d"}, "unknown option --dat"},
        {{"x", "-d"}, "unknown option -d"},
        {{"x", "--data"}, "option --data needs a value"},
        {{"x", "--json=1"}, "option --json takes no value"},
        {{"x", "--data=a", "--data=b"}, "option --data is given twice"},
        {{"x", "1", "2", "3", "4", "5", "6", "7", "8", "9"}, "too many words, from \"9\" on"},
    };
    const char *data, *flag;
    struct words words;
    char why[128];

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_false(read_line(rows[i].argv, &words, &data, &flag, why));
        assert_string_equal(why, rows[i].why);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_form_is_read_as_the_browser_wrote_it),
        cmocka_unit_test(a_malformed_form_is_refused_whole),
        cmocka_unit_test(a_form_has_a_most_of_fields),
        cmocka_unit_test(html_escapes_whatever_it_is_given),
        cmocka_unit_test(a_text_stops_at_its_most_and_says_so),
        cmocka_unit_test(options_stand_anywhere_in_both_spellings),
        cmocka_unit_test(a_wrong_command_line_says_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
