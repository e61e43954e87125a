/*
 * main.c - peald: options, signals, and the order in which a daemon starts and ends.
 */
#include "daemon/daemon.h"
#include "daemon/log.h"
#include "daemon/notify.h"
#include "daemon/privilege.h"
#include "overlay/crypto/secret.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { EXIT_USAGE = 2, EXIT_CONFIG = 78 /* sysexits.h: systemd must not start us again */ };

static const char config_default[] = "/etc/peal/peald.conf";

static const char help_text[] =
    "Usage: peald [--config FILE] [--state DIR] [--socket PATH] [--port N] [--test-config]\n"
    "\n"
    "The daemon of peal, a peer-to-peer group VPN. It runs in the foreground and logs\n"
    "to stderr; `peal join` makes this machine a member of a group.\n"
    "\n"
    "  -c, --config FILE   settings (/etc/peal/peald.conf)\n"
    "      --state DIR     keys and certificates (/var/lib/peal)\n"
    "      --socket PATH   where `peal` finds it (/run/peal/peald.sock)\n"
    "      --port N        UDP port (4747); 0 takes any free one\n"
    "  -t, --test-config   check the settings and end: 0, or 78 when they are wrong\n"
    "  -h, --help          this text\n"
    "  -V, --version       the version\n";

enum { OPTION_STATE = 256, OPTION_SOCKET, OPTION_PORT };

static const struct option long_options[] = {
    {"config", required_argument, NULL, 'c'},
    {"state", required_argument, NULL, OPTION_STATE},
    {"socket", required_argument, NULL, OPTION_SOCKET},
    {"port", required_argument, NULL, OPTION_PORT},
    {"test-config", no_argument, NULL, 't'},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {NULL, 0, NULL, 0},
};

struct choices {
    struct daemon_options options;
    bool test_only;
};

static void usage_error(const char *fmt, const char *what)
{
    fprintf(stderr, fmt, what);
    fprintf(stderr, "Try `peald --help`.\n");
    exit(EXIT_USAGE);
}

static int read_port(const char *text)
{
    char *end;
    long port = strtol(text, &end, 10);

    if (text[0] == '\0' || *end || port < 0 || port > 65535)
        usage_error("peald: --port %s: expected 0 to 65535\n", text);
    return (int)port;
}

static void read_options(int argc, char **argv, struct choices *out)
{
    int option;

    *out = (struct choices){.options = {.config_path = config_default, .port = -1}};
    while ((option = getopt_long(argc, argv, "c:thV", long_options, NULL)) != -1) {
        switch (option) {
        case 'c':
            out->options.config_path = optarg;
            out->options.config_required = true;
            break;
        case OPTION_STATE:
            out->options.state = optarg;
            break;
        case OPTION_SOCKET:
            out->options.socket = optarg;
            break;
        case OPTION_PORT:
            out->options.port = read_port(optarg);
            break;
        case 't':
            out->test_only = true;
            break;
        case 'h':
            fputs(help_text, stdout);
            exit(EXIT_SUCCESS);
        case 'V':
            puts("peald " PEAL_VERSION);
            exit(EXIT_SUCCESS);
        default:
            usage_error("%s", "");
        }
    }
    if (optind < argc)
        usage_error("peald: unexpected \"%s\"\n", argv[optind]);
}

/* Paths given relative to where we were started: the daemon never changes directory, but what it
 * tells others (status, the socket's file) should hold for them too. */
static const char *absolute(const char *path)
{
    static char text[2][CONFIG_PATH_SIZE];
    static unsigned used;
    char here[CONFIG_PATH_SIZE];

    if (!path || path[0] == '/')
        return path;
    if (used == ARRAY_LEN(text) || !getcwd(here, sizeof here) ||
        snprintf(text[used], sizeof text[used], "%s/%s", here, path) >= (int)sizeof text[used])
        return path;
    return text[used++];
}

static void on_terminate(uv_signal_t *handle, int number)
{
    daemon_stop(handle->data);
}

static void on_hangup(uv_signal_t *handle, int number)
{
    char why[CONFIG_WHY_SIZE];

    json_decref(daemon_reload(handle->data, why)); /* it has logged what there is to say */
}

static void watch(struct daemon *d, uv_signal_t *handle, uv_signal_cb cb, int number)
{
    uv_signal_init(&d->loop, handle);
    handle->data = d;
    uv_signal_start(handle, cb, number);
}

static int serve(const struct daemon_options *options, struct config *config)
{
    static struct daemon d;
    uv_signal_t signals[3];
    int rc = daemon_start(&d, options, config);

    if (rc == 0) {
        watch(&d, &signals[0], on_terminate, SIGTERM);
        watch(&d, &signals[1], on_terminate, SIGINT);
        watch(&d, &signals[2], on_hangup, SIGHUP);
        notify_ready();
        uv_run(&d.loop, UV_RUN_DEFAULT);
        for (unsigned i = 0; i < ARRAY_LEN(signals); i++)
            uv_close((uv_handle_t *)&signals[i], NULL);
    }
    rc = rc == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
    if (!daemon_close(&d))
        _exit(rc); /* exit(3) would join libuv's threads, and a dead name server holds one */
    return rc;
}

int main(int argc, char **argv)
{
    char why[CONFIG_WHY_SIZE];
    struct choices choices;
    struct config config;

    privilege_harden();
    read_options(argc, argv, &choices);
    choices.options.state = absolute(choices.options.state);
    choices.options.socket = absolute(choices.options.socket);
    log_start();
    if (daemon_read_config(&choices.options, &config, why)) {
        fprintf(stderr, "%s\n", why);
        config_clear(&config);
        return EXIT_CONFIG;
    }
    if (choices.test_only) {
        config_clear(&config);
        return EXIT_SUCCESS;
    }
    if (crypto_start() != 0) {
        fprintf(stderr, "peald: libsodium cannot start\n");
        return EXIT_FAILURE;
    }
    signal(SIGPIPE, SIG_IGN);
    /* Name lookups are all that libuv's threads do for us, one at a time is plenty. */
    setenv("UV_THREADPOOL_SIZE", "1", 1);
    return serve(&choices.options, &config);
}
