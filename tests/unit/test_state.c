// link: peal_settings
/* The state directory: what is stored comes back; what is broken is named; modes keep others out.
 */
#include "daemon/file.h"
#include "daemon/state.h"
#include "tests/unit/blob_world.h"
#include "tests/unit/cm.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char root[64];

static int make_root(void **state)
{
    strcpy(root, "/tmp/peal-test-state-XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static void remove_in_root(const char *name)
{
    char path[FILE_PATH_SIZE];

    assert_int_equal(path_join(path, root, name), 0);
    assert_int_equal(dir_remove(path), 0);
}

static int remove_root(void **state)
{
    remove_in_root("lab");
    remove_in_root(".public");
    remove_in_root(".pending");
    remove_in_root(".new-lab");
    return dir_remove(root);
}

static mode_t mode_of(const char *name)
{
    char path[FILE_PATH_SIZE];
    struct stat st;

    assert_int_equal(path_join(path, root, name), 0);
    assert_int_equal(stat(path, &st), 0);
    return st.st_mode & 07777;
}

static void write_in_root(const char *name, const char *text)
{
    char path[FILE_PATH_SIZE];

    assert_int_equal(path_join(path, root, name), 0);
    assert_int_equal(file_write(path, text, strlen(text), 0600), 0);
}

static void make_member(struct state_member *m)
{
    char why[BLOB_WHY_SIZE];

    memset(m, 0, sizeof *m);
    m->blob = blob_world_parse(blob_world_new(), why);
    assert_non_null(m->blob);
    memset(m->seed.b, 7, sizeof m->seed.b);
    m->cert_pem = strdup("-----BEGIN CERTIFICATE-----\n");
    strcpy(m->options.hostname, "alice-ws");
    strcpy(m->options.device_given, "peal3");
    m->address = addr_v4(0x0a4d0102);
}

static void store_member(void)
{
    struct state_member m;

    make_member(&m);
    assert_int_equal(state_create(root, &m), 0);
    state_member_clear(&m);
}

static void what_is_stored_comes_back(void **state)
{
    char why[STATE_WHY_SIZE];
    struct state_member m;

    store_member();
    assert_int_equal(state_load(&m, root, "lab", why), 0);
    assert_string_equal(m.blob->group, "lab");
    assert_string_equal(m.blob->secret, "");
    assert_int_equal(m.seed.b[31], 7);
    assert_string_equal(m.cert_pem, "-----BEGIN CERTIFICATE-----\n");
    assert_string_equal(m.options.hostname, "alice-ws");
    assert_string_equal(m.options.device, "");
    assert_string_equal(m.options.device_given, "peal3");
    assert_false(m.options.left);
    assert_int_equal(addr_to_v4(&m.address), 0x0a4d0102);
    state_member_clear(&m);
}

static void others_cannot_read_it_whatever_the_umask(void **state)
{
    static const char *const files[] = {"lab/blob.json", "lab/key", "lab/cert.pem", "lab/options",
                                        "lab/address"};
    mode_t mask = umask(0);

    store_member();
    umask(mask);
    assert_int_equal(mode_of("lab"), 0700);
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        assert_int_equal(mode_of(files[i]), 0600);
}

static void the_secret_is_nowhere_on_disk(void **state)
{
    char path[FILE_PATH_SIZE];
    char *text;
    size_t len;

    store_member();
    assert_int_equal(path_join(path, root, "lab/blob.json"), 0);
    assert_int_equal(file_read(path, 65536, &text, &len), 0);
    assert_null(strstr(text, "s3cret"));
    free(text);
}

static void a_broken_file_is_named_and_nothing_is_loaded(void **state)
{
    static const struct {
        const char *file, *text, *why;
    } cases[] = {
        {"blob.json", "{", "blob.json: is not valid JSON"},
        {"blob.json", "{\"peal\":1}", "blob.json: \"group\" is missing"},
        {"key", "short", "key: is not a key"},
        {"key", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=AA", "key: is not a key"},
        {"options", "[]", "options: cannot be read, or is malformed"},
        {"options", "{\"device\":\"a/b\"}", "options: cannot be read, or is malformed"},
        {"options", "{\"hostname\":\"a_b\"}", "options: cannot be read, or is malformed"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char name[64], why[STATE_WHY_SIZE];
        struct state_member m;

        store_member();
        snprintf(name, sizeof name, "lab/%s", cases[i].file);
        write_in_root(name, cases[i].text);
        assert_int_equal(state_load(&m, root, "lab", why), -ERR_FORMAT);
        assert_non_null(strstr(why, cases[i].why));
        assert_null(m.blob);
    }
}

static void a_missing_file_is_named(void **state)
{
    static const char *const files[] = {"blob.json", "key", "cert.pem", "options"};

    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        char path[FILE_PATH_SIZE], name[64], why[STATE_WHY_SIZE];
        struct state_member m;

        store_member();
        snprintf(name, sizeof name, "lab/%s", files[i]);
        assert_int_equal(path_join(path, root, name), 0);
        assert_int_equal(unlink(path), 0);
        assert_int_equal(state_load(&m, root, "lab", why), -ERR_FORMAT);
        assert_non_null(strstr(why, files[i]));
    }
}

static void a_bad_address_is_only_forgotten(void **state)
{
    static const char *const texts[] = {"", "10.77", "fd00::1\n", "\xff\xff"};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        char why[STATE_WHY_SIZE];
        struct state_member m;

        store_member();
        write_in_root("lab/address", texts[i]);
        assert_int_equal(state_load(&m, root, "lab", why), 0);
        assert_int_equal(m.address.family, 0);
        state_member_clear(&m);
    }
}

static struct overlay_contact contact(uint8_t number)
{
    return (struct overlay_contact){{{number}}, {addr_v4(0xc6336400u + number), 4747}};
}

static void those_who_went_are_remembered_behind_those_who_are_there(void **state)
{
    struct overlay_contact before[OVERLAY_CONTACTS_MAX], now[OVERLAY_CONTACTS_MAX];
    size_t count = 0;

    /* Twelve, who go off one after the other. */
    for (uint8_t gone = 0; gone < 12; gone++) {
        size_t there = 0;

        for (uint8_t i = gone; i < 12; i++)
            now[there++] = contact(i);
        count = state_merge_contacts(now, there, before, count);
        assert_int_equal(count, there > STATE_CONTACTS_LEAST ? there : STATE_CONTACTS_LEAST);
        memcpy(before, now, count * sizeof *now);
    }
    for (uint8_t i = 0; i < STATE_CONTACTS_LEAST; i++)
        assert_int_equal(now[i].node.b[0], 11 - i);
    /* Who is there again is where it is now, and listed once. */
    now[0] = contact(9);
    now[0].ep.port = 1;
    count = state_merge_contacts(now, 1, before, count);
    assert_int_equal(count, STATE_CONTACTS_LEAST);
    assert_int_equal(now[0].ep.port, 1);
    for (size_t i = 1; i < count; i++)
        assert_int_not_equal(now[i].node.b[0], 9);
}

static void contacts_come_back_and_broken_lines_are_skipped(void **state)
{
    struct overlay_contact v[3] = {0}, got[OVERLAY_CONTACTS_MAX];
    size_t count;

    store_member();
    for (size_t i = 0; i < 3; i++) {
        v[i].node.b[0] = (uint8_t)(i + 1);
        v[i].ep = (struct endpoint){.addr = addr_v4(0xc0000200 + (uint32_t)i), .port = 4747};
    }
    assert_int_equal(state_save_contacts(root, "lab", v, 3), 0);
    count = state_load_contacts(root, "lab", got, OVERLAY_CONTACTS_MAX);
    assert_int_equal(count, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_true(id_eq(&got[i].node, &v[i].node));
        assert_true(endpoint_eq(&got[i].ep, &v[i].ep));
    }
    assert_int_equal(state_load_contacts(root, "lab", got, 2), 2);
    write_in_root("lab/contacts", "x\n\n0100000000000000000000000000000000000000 nowhere\n"
                                  "0100000000000000000000000000000000000000 192.0.2.1:1\n"
                                  "01 192.0.2.1:1\n");
    assert_int_equal(state_load_contacts(root, "lab", got, OVERLAY_CONTACTS_MAX), 1);
}

static void groups_are_listed_and_leftovers_are_not(void **state)
{
    char names[4][LABEL_MAX + 1];

    assert_int_equal(state_list(root, names, 4), 0);
    store_member();
    write_in_root("plain", "a file, no directory");
    write_in_root(".lock", "");
    assert_int_equal(state_list(root, names, 4), 1);
    assert_string_equal(names[0], "lab");
    assert_true(state_exists(root, "lab"));
    assert_false(state_exists(root, "plain"));
    assert_int_equal(state_purge(root, "lab"), 0);
    assert_int_equal(state_list(root, names, 4), 0);
    assert_int_equal(state_purge(root, "lab"), 0);
}

/* A second join replaces the directory whole: nothing of the old one is mixed in. */
static void creating_again_replaces_everything(void **state)
{
    struct overlay_contact c = {.ep = {.addr = {.family = 4}, .port = 1}}, got[1];

    store_member();
    assert_int_equal(state_save_contacts(root, "lab", &c, 1), 0);
    store_member();
    assert_int_equal(state_load_contacts(root, "lab", got, 1), 0);
}

static void options_survive_being_saved(void **state)
{
    struct state_options o = {.mode = CONFIG_MODE_ROUTER, .left = true};
    char why[STATE_WHY_SIZE];
    struct state_member m;

    store_member();
    strcpy(o.bridge, "br0");
    strcpy(o.device, "lab0");
    assert_int_equal(state_save_options(root, "lab", &o), 0);
    assert_int_equal(state_load(&m, root, "lab", why), 0);
    assert_int_equal(m.options.mode, CONFIG_MODE_ROUTER);
    assert_true(m.options.left);
    assert_string_equal(m.options.bridge, "br0");
    assert_string_equal(m.options.device, "lab0");
    state_member_clear(&m);
}

static void the_public_key_is_made_once(void **state)
{
    struct secret a = {{1}}, b = {{2}}, got;

    assert_int_equal(state_public_key(root, &a, &got), 0);
    assert_memory_equal(&got, &a, sizeof a);
    assert_int_equal(state_public_key(root, &b, &got), 0);
    assert_memory_equal(&got, &a, sizeof a);
    assert_int_equal(mode_of(".public/key"), 0600);
}

static void a_pending_key_is_kept_until_it_is_dropped(void **state)
{
    struct id tag = {{5}}, other = {{6}};
    struct secret seed = {{3}}, got;
    char names[4][LABEL_MAX + 1];

    assert_false(state_pending_load(root, &tag, &got));
    assert_int_equal(state_pending_save(root, &tag, &seed), 0);
    assert_true(state_pending_load(root, &tag, &got));
    assert_memory_equal(&got, &seed, sizeof seed);
    assert_false(state_pending_load(root, &other, &got));
    assert_int_equal(state_list(root, names, 4), 0);
    state_pending_drop(root, &tag);
    assert_false(state_pending_load(root, &tag, &got));
    state_pending_drop(root, &tag);
}

/* flock(2) belongs to the open file, so another process sees it as another peald would. */
static void a_second_daemon_is_kept_out(void **state)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        pid_t child;

        if (state_open(root) != 0)
            _exit(10);
        child = fork();
        if (child == 0)
            _exit(state_open(root) == -EWOULDBLOCK ? 0 : 11);
        waitpid(child, &status, 0);
        _exit(WEXITSTATUS(status));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(mode_of(""), 0700);
}

static void a_directory_that_is_open_is_tightened(void **state)
{
    char path[FILE_PATH_SIZE];

    assert_int_equal(path_join(path, root, "lab"), 0);
    assert_int_equal(mkdir(path, 0777), 0);
    assert_int_equal(chmod(path, 0777), 0);
    assert_int_equal(dir_make(path, 0700), 0);
    assert_int_equal(mode_of("lab"), 0700);
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, make_root, remove_root)
    const struct CMUnitTest tests[] = {
        TEST(what_is_stored_comes_back),
        TEST(others_cannot_read_it_whatever_the_umask),
        TEST(the_secret_is_nowhere_on_disk),
        TEST(a_broken_file_is_named_and_nothing_is_loaded),
        TEST(a_missing_file_is_named),
        TEST(a_bad_address_is_only_forgotten),
        TEST(those_who_went_are_remembered_behind_those_who_are_there),
        TEST(contacts_come_back_and_broken_lines_are_skipped),
        TEST(groups_are_listed_and_leftovers_are_not),
        TEST(creating_again_replaces_everything),
        TEST(options_survive_being_saved),
        TEST(the_public_key_is_made_once),
        TEST(a_pending_key_is_kept_until_it_is_dropped),
        TEST(a_second_daemon_is_kept_out),
        TEST(a_directory_that_is_open_is_tightened),
    };
#undef TEST

    return cmocka_run_group_tests(tests, NULL, NULL);
}
