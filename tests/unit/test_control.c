// link: peal_settings PkgConfig::UV
/* The control socket: requests in pieces, too long, unknown, too many clients, who may do what. */
#include "daemon/control.c"

#include "tests/unit/cm.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>

static struct daemon d;
static struct control *control;
static char dir[64], path[96];
static struct request *kept; /* of the command "wait" */
static unsigned cancelled;

/* --- Commands of this test in the place of the daemon's --- */

static void run_echo(struct request *r)
{
    request_done(r, json_pack("{s:O}", "args", request_args(r)));
}

static void run_items(struct request *r)
{
    for (int i = 0; i < 3; i++)
        request_item(r, json_integer(i));
    request_fail(r, PROTOCOL_TIMEOUT, "no more than %d", 3);
}

static void on_cancelled(void *ctx)
{
    cancelled++;
    kept = NULL;
}

static void run_wait(struct request *r)
{
    kept = r;
    request_on_cancel(r, on_cancelled, NULL);
}

static const struct command test_commands[] = {
    {"echo", COMMAND_READ, run_echo},
    {"items", COMMAND_READ, run_items},
    {"wait", COMMAND_READ, run_wait},
    {"change", COMMAND_CHANGE, run_echo},
};

const struct command *command_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(test_commands); i++) {
        if (strcmp(test_commands[i].name, name) == 0)
            return &test_commands[i];
    }
    return NULL;
}

/* --- A client in the same process --- */

static void turn(void)
{
    for (int i = 0; i < 8; i++)
        uv_run(&d.loop, UV_RUN_NOWAIT);
}

static int dial(void)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    strcpy(sa.sun_path, path);
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    turn();
    return fd;
}

static void say(int fd, const char *text)
{
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    turn();
}

/* All that has come; "" nothing, "end" the connection was closed. */
static const char *heard(int fd)
{
    static char text[8192];
    ssize_t n = read(fd, text, sizeof text - 1);

    if (n == 0 || (n < 0 && errno == ECONNRESET))
        return "end";
    text[n < 0 ? 0 : n] = '\0';
    return text;
}

static int open_socket(void **state)
{
    char why[512];

    strcpy(dir, "/tmp/peal-test-control-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof path, "%s/run/ctl", dir);
    uv_loop_init(&d.loop);
    kept = NULL;
    cancelled = 0;
    control = control_open(&d, path, "", why);
    return control ? 0 : -1;
}

static int close_socket(void **state)
{
    control_close(control);
    turn();
    assert_int_equal(uv_loop_close(&d.loop), 0);
    assert_int_equal(access(path, F_OK), -1);
    return rmdir(dir); /* fails unless the directory that was made is gone as well */
}

/* --- The rules --- */

static void a_request_may_come_in_pieces_and_two_at_once(void **state)
{
    int fd = dial();

    say(fd, "{\"command\":");
    assert_string_equal(heard(fd), "");
    say(fd, "\"echo\"}\n{\"command\":\"echo\",\"n\":2}\n");
    assert_string_equal(heard(fd), "{\"result\":{\"args\":{\"command\":\"echo\"}}}\n"
                                   "{\"result\":{\"args\":{\"command\":\"echo\",\"n\":2}}}\n");
    close(fd);
}

static void items_come_before_the_end(void **state)
{
    int fd = dial();

    say(fd, "{\"command\":\"items\"}\n");
    assert_string_equal(heard(fd),
                        "{\"item\":0}\n{\"item\":1}\n{\"item\":2}\n"
                        "{\"error\":{\"code\":\"timeout\",\"message\":\"no more than 3\"}}\n");
    close(fd);
}

static void nonsense_gets_an_error_and_another_chance(void **state)
{
    static const struct {
        const char *line, *answer;
    } cases[] = {
        {"\n", "the request is not one JSON object on a line"},
        {"hello\n", "the request is not one JSON object on a line"},
        {"{\"command\":\"echo\"} x\n", "the request is not one JSON object on a line"},
        {"{\"command\":\"echo\",\"command\":\"echo\"}\n",
         "the request is not one JSON object on a line"},
        {"[]\n", "the request names no command"},
        {"{\"command\":7}\n", "the request names no command"},
        {"{\"command\":\"caf\xc3\xa9\"}\n", "this peald knows no command \\\"caf??\\\""},
        {"{\"command\":\"format\"}\n", "this peald knows no command \\\"format\\\""},
    };
    int fd = dial();

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char expected[256];

        say(fd, cases[i].line);
        snprintf(expected, sizeof expected, "{\"error\":{\"code\":\"usage\",\"message\":\"%s\"}}\n",
                 cases[i].answer);
        assert_string_equal(heard(fd), expected);
    }
    say(fd, "{\"command\":\"echo\"}\n");
    assert_memory_equal(heard(fd), "{\"result\"", 9);
    close(fd);
}

static void a_request_too_long_ends_the_connection(void **state)
{
    char piece[4096];
    int fd = dial();
    ssize_t n = 0;

    memset(piece, 'x', sizeof piece);
    for (size_t sent = 0; sent < 2 * PROTOCOL_REQUEST_MAX && n >= 0; sent += sizeof piece) {
        n = send(fd, piece, sizeof piece, MSG_NOSIGNAL);
        turn();
    }
    assert_int_equal(n, -1);
    assert_string_equal(heard(fd), "end");
    assert_int_equal(control->clients_count, 0);
    close(fd);
}

static void the_longest_blob_fits(void **state)
{
    size_t len = 64 * 1024 * 2; /* each character of a blob of 64 KiB escaped */
    char *line = malloc(len + 64);
    int fd = dial();

    strcpy(line, "{\"command\":\"items\",\"blob\":\"");
    memset(line + strlen(line), 'x', len);
    strcpy(line + 27 + len - 1, "\"}\n");
    for (size_t at = 0, left = strlen(line); left > 0;) {
        ssize_t n = write(fd, line + at, left);

        assert_true(n > 0);
        at += (size_t)n;
        left -= (size_t)n;
        turn();
    }
    assert_memory_equal(heard(fd), "{\"item\":0}", 10);
    free(line);
    close(fd);
}

static void a_client_that_leaves_cancels_what_it_waited_for(void **state)
{
    int fd = dial();

    say(fd, "{\"command\":\"wait\"}\n");
    assert_non_null(kept);
    close(fd);
    turn();
    assert_int_equal(cancelled, 1);
    assert_int_equal(control->clients_count, 0);
}

static void what_waited_is_answered_and_not_cancelled_later(void **state)
{
    int fd = dial();

    say(fd, "{\"command\":\"wait\"}\n");
    request_done(kept, json_true());
    turn();
    assert_string_equal(heard(fd), "{\"result\":true}\n");
    close(fd);
    turn();
    assert_int_equal(cancelled, 0);
}

static void one_client_too_many_is_turned_away(void **state)
{
    int fds[CONTROL_CLIENTS_MAX + 1];

    for (int i = 0; i <= CONTROL_CLIENTS_MAX; i++)
        fds[i] = dial();
    assert_int_equal(control->clients_count, CONTROL_CLIENTS_MAX);
    assert_string_equal(heard(fds[CONTROL_CLIENTS_MAX]), "end");
    assert_string_equal(heard(fds[0]), "");
    for (int i = 0; i <= CONTROL_CLIENTS_MAX; i++)
        close(fds[i]);
    turn();
    assert_int_equal(control->clients_count, 0);
}

static void a_second_daemon_finds_the_socket_taken(void **state)
{
    struct daemon second;
    char why[512];

    uv_loop_init(&second.loop);
    assert_null(control_open(&second, path, "", why));
    assert_non_null(strstr(why, "another peald listens"));
    uv_run(&second.loop, UV_RUN_DEFAULT);
    uv_loop_close(&second.loop);
    turn(); /* its look at us was a client that said nothing */
    assert_int_equal(access(path, F_OK), 0);
}

static void what_a_killed_one_left_is_replaced_and_a_file_is_not(void **state)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    struct daemon second;
    struct control *c;
    char why[512], plain[128];
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(sa.sun_path, sizeof sa.sun_path, "%s/left", dir);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    close(fd);
    uv_loop_init(&second.loop);
    c = control_open(&second, sa.sun_path, "", why);
    assert_non_null(c);
    control_close(c);
    snprintf(plain, sizeof plain, "%s/plain", dir);
    fd = open(plain, O_CREAT | O_WRONLY, 0600);
    close(fd);
    assert_null(control_open(&second, plain, "", why));
    assert_non_null(strstr(why, "is no socket"));
    uv_run(&second.loop, UV_RUN_DEFAULT);
    uv_loop_close(&second.loop);
    assert_int_equal(unlink(plain), 0);
}

/* Runs as a user and groups in a child, says one line; the status is whether it was permitted. */
static int permitted(const char *line, uid_t uid, gid_t gid, gid_t more)
{
    pid_t pid = fork();
    int status = -1;

    if (pid == 0) {
        struct sockaddr_un sa = {.sun_family = AF_UNIX};
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        char answer[256] = "";

        strcpy(sa.sun_path, path);
        if (setgroups(1, &more) || setgid(gid) || setuid(uid))
            _exit(3);
        if (connect(fd, (struct sockaddr *)&sa, sizeof sa) < 0)
            _exit(2);
        if (write(fd, line, strlen(line)) < 0 || read(fd, answer, sizeof answer - 1) <= 0)
            _exit(4);
        _exit(strncmp(answer, "{\"result\"", 9) == 0 ? 0 : strstr(answer, "not_permitted") ? 1 : 5);
    }
    while (waitpid(pid, &status, WNOHANG) == 0)
        uv_run(&d.loop, UV_RUN_NOWAIT);
    return WEXITSTATUS(status);
}

static void readers_read_operators_change_others_do_neither(void **state)
{
    enum { NOBODY = 65534, READERS = 60001, OPERATORS = 60002, OTHERS = 60003 };
    static const struct {
        const char *line;
        uid_t uid;
        gid_t gid, more;
        int status;
    } cases[] = {
        {"{\"command\":\"echo\"}\n", 0, 0, 0, 0},
        {"{\"command\":\"change\"}\n", 0, 0, 0, 0},
        {"{\"command\":\"echo\"}\n", NOBODY, READERS, OTHERS, 0},
        {"{\"command\":\"echo\"}\n", NOBODY, OTHERS, READERS, 0},
        {"{\"command\":\"change\"}\n", NOBODY, READERS, OTHERS, 1},
        {"{\"command\":\"change\"}\n", NOBODY, OPERATORS, OTHERS, 0},
        {"{\"command\":\"change\"}\n", NOBODY, READERS, OPERATORS, 0},
        {"{\"command\":\"echo\"}\n", NOBODY, OTHERS, OTHERS, 1},
        {"{\"command\":\"change\"}\n", NOBODY, OTHERS, OTHERS, 1},
    };
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0660);
    if (geteuid() != 0)
        skip(); /* only root can be somebody else */
    control->group = READERS;
    control->operators = OPERATORS;
    control->has_operators = true;
    /* The file's own mode is the first door; what stands behind it is tested with it open. */
    assert_int_equal(chmod(dir, 0755), 0);
    assert_int_equal(permitted("{\"command\":\"echo\"}\n", NOBODY, OTHERS, OTHERS), 2);
    assert_int_equal(chmod(path, 0666), 0);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(permitted(cases[i].line, cases[i].uid, cases[i].gid, cases[i].more),
                         cases[i].status);
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, open_socket, close_socket)
    const struct CMUnitTest tests[] = {
        TEST(a_request_may_come_in_pieces_and_two_at_once),
        TEST(items_come_before_the_end),
        TEST(nonsense_gets_an_error_and_another_chance),
        TEST(a_request_too_long_ends_the_connection),
        TEST(the_longest_blob_fits),
        TEST(a_client_that_leaves_cancels_what_it_waited_for),
        TEST(what_waited_is_answered_and_not_cancelled_later),
        TEST(one_client_too_many_is_turned_away),
        TEST(a_second_daemon_finds_the_socket_taken),
        TEST(what_a_killed_one_left_is_replaced_and_a_file_is_not),
        TEST(readers_read_operators_change_others_do_neither),
    };
#undef TEST

    return cmocka_run_group_tests(tests, NULL, NULL);
}
