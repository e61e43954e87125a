/*
 * main.c - peal: the command line of peald. Options may stand anywhere among the words.
 */
#include "daemon/cli/cli.h"
#include "daemon/words.h"
#include "overlay/core/err.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXIT_USAGE = 2, WAIT_MAX_S = 3600, COUNT_MAX = 1000000 };

/* Which options a command understands, beside --socket, -n, --json, --help and --version. */
enum option_bit {
    OPT_HOSTNAME = 1 << 0,
    OPT_DEVICE = 1 << 1,
    OPT_MODE = 1 << 2,
    OPT_BRIDGE = 1 << 3,
    OPT_WAIT = 1 << 4,
    OPT_PURGE = 1 << 5,
    OPT_IPV4 = 1 << 6,
    OPT_BOOTSTRAP = 1 << 7,
    OPT_COUNT = 1 << 8,
    OPT_DOT = 1 << 9,
};

struct command {
    const char *name;
    int (*run)(const struct cli *cli);
    int words_min, words_max; /* after the command */
    unsigned options;
    const char *usage, *about;
};

static const struct command commands[] = {
    {"join", cli_join, 1, 1, OPT_HOSTNAME | OPT_DEVICE | OPT_MODE | OPT_BRIDGE | OPT_WAIT,
     "join FILE|-", "become a member of the group of a blob"},
    {"leave", cli_leave, 0, 1, OPT_PURGE, "leave NETWORK",
     "go; --purge forgets key and certificate"},
    {"new", cli_new, 1, 1, OPT_IPV4 | OPT_BOOTSTRAP, "new NAME",
     "print the blob of a new group with a pre-exchanged key"},
    {"status", cli_status, 0, 0, 0, "status", "the daemon and each network at a glance"},
    {"peers", cli_peers, 0, 0, 0, "peers", "who we have a session with, how, and why"},
    {"members", cli_members, 0, 0, 0, "members", "the members on the ring now"},
    {"ping", cli_ping, 1, 1, OPT_COUNT, "ping WHO [-c N]", "overlay round trip: path and time"},
    {"why", cli_why, 1, 1, 0, "why WHO", "how the path to somebody was chosen"},
    {"lookup", cli_lookup, 1, 1, 0, "lookup IP|NAME|ID", "what the DHT says"},
    {"netcheck", cli_netcheck, 0, 0, 0, "netcheck", "our NAT as the neighbours see it"},
    {"crawl", cli_crawl, 0, 0, OPT_DOT, "crawl [--dot]", "walk the ring, report inconsistencies"},
    {"gateway", cli_gateway, 1, 2, 0, "gateway list|use WHO|auto|off", "full tunnel"},
    {"metrics", cli_metrics, 0, 0, 0, "metrics", "counters as Prometheus text"},
    {"reload", cli_reload, 0, 0, 0, "reload", "take up a changed peald.conf"},
};

enum {
    OPTION_SOCKET = 256,
    OPTION_JSON,
    OPTION_HOSTNAME,
    OPTION_DEVICE,
    OPTION_MODE,
    OPTION_BRIDGE,
    OPTION_WAIT,
    OPTION_PURGE,
    OPTION_IPV4,
    OPTION_BOOTSTRAP,
    OPTION_PUBLIC_BOOTSTRAP,
    OPTION_DOT,
};

static const struct option long_options[] = {
    {"socket", required_argument, NULL, OPTION_SOCKET},
    {"json", no_argument, NULL, OPTION_JSON},
    {"network", required_argument, NULL, 'n'},
    {"hostname", required_argument, NULL, OPTION_HOSTNAME},
    {"device", required_argument, NULL, OPTION_DEVICE},
    {"mode", required_argument, NULL, OPTION_MODE},
    {"bridge", required_argument, NULL, OPTION_BRIDGE},
    {"wait", required_argument, NULL, OPTION_WAIT},
    {"purge", no_argument, NULL, OPTION_PURGE},
    {"ipv4", required_argument, NULL, OPTION_IPV4},
    {"bootstrap", required_argument, NULL, OPTION_BOOTSTRAP},
    {"public-bootstrap", required_argument, NULL, OPTION_PUBLIC_BOOTSTRAP},
    {"count", required_argument, NULL, 'c'},
    {"dot", no_argument, NULL, OPTION_DOT},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {NULL, 0, NULL, 0},
};

static const char short_options[] = ":n:c:hV";

static void print_help(FILE *out)
{
    fputs("Usage: peal COMMAND [options]\n\n", out);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        fprintf(out, "  %-30s %s\n", commands[i].usage, commands[i].about);
    fputs("\n"
          "  -n, --network NETWORK          which group, where more than one is joined\n"
          "      --json                     the answer as one JSON object\n"
          "      --socket PATH              peald's socket (PEAL_SOCKET, " PROTOCOL_SOCKET_DEFAULT
          ")\n"
          "      --wait SEC                 join: wait until the network is up\n"
          "      --hostname NAME, --device DEV, --mode workstation|router, --bridge DEV: join\n"
          "      --ipv4 NET, --bootstrap HOST:PORT,..., --public-bootstrap HOST:PORT,...: new\n"
          "  -h, --help  -V, --version\n"
          "\n"
          "WHO is a host name, an address, a node id or at least 8 digits of one.\n"
          "Exit status: 0 ok, 1 failed, 2 usage, 3 peald not reachable, 4 not permitted,\n"
          "5 not a member, 6 no answer in time.\n",
          out);
}

static int number(const struct cli *cli, const char *option, const char *text, int min, int max,
                  int *out)
{
    char *end;
    long v = strtol(text, &end, 10);

    if (text[0] == '\0' || *end || v < min || v > max)
        return cli_error(cli, PROTOCOL_USAGE, "%s %s: expected a number from %d to %d", option,
                         text, min, max);
    *out = (int)v;
    return CLI_OK;
}

/* What getopt found wrong. Of a cluster of letters it has not moved on, so the word is not known.
 */
static int complain_option(const struct cli *cli, char **argv, int found)
{
    const char *word = argv[optind - 1];

    if (found == ':')
        return cli_error(cli, PROTOCOL_USAGE, "%s needs a value; see peal --help", word);
    if (optopt > 0 && optopt < OPTION_SOCKET && !strchr(short_options, optopt))
        return cli_error(cli, PROTOCOL_USAGE, "unknown option -%c; see peal --help", optopt);
    if (optopt)
        return cli_error(cli, PROTOCOL_USAGE, "%.*s takes no value; see peal --help",
                         (int)strcspn(word, "="), word);
    return cli_error(cli, PROTOCOL_USAGE, "unknown option %s; see peal --help", word);
}

/* One option into cli; *used remembers it. 0 or an exit status. */
static int take_option(struct cli *cli, int option, unsigned *used)
{
    switch (option) {
    case OPTION_SOCKET:
        cli->socket = optarg;
        return CLI_OK;
    case OPTION_JSON:
        cli->json = true;
        return CLI_OK;
    case 'n':
        cli->network = optarg;
        return CLI_OK;
    case OPTION_HOSTNAME:
        cli->hostname = optarg;
        *used |= OPT_HOSTNAME;
        return CLI_OK;
    case OPTION_DEVICE:
        cli->device = optarg;
        *used |= OPT_DEVICE;
        return CLI_OK;
    case OPTION_MODE:
        cli->mode = optarg;
        *used |= OPT_MODE;
        return CLI_OK;
    case OPTION_BRIDGE:
        cli->bridge = optarg;
        *used |= OPT_BRIDGE;
        return CLI_OK;
    case OPTION_WAIT:
        *used |= OPT_WAIT;
        return number(cli, "--wait", optarg, 0, WAIT_MAX_S, &cli->wait_s);
    case OPTION_PURGE:
        cli->purge = true;
        *used |= OPT_PURGE;
        return CLI_OK;
    case OPTION_IPV4:
        cli->ipv4 = optarg;
        *used |= OPT_IPV4;
        return CLI_OK;
    case OPTION_BOOTSTRAP:
        cli->bootstrap = optarg;
        *used |= OPT_BOOTSTRAP;
        return CLI_OK;
    case OPTION_PUBLIC_BOOTSTRAP:
        cli->public_bootstrap = optarg;
        *used |= OPT_BOOTSTRAP;
        return CLI_OK;
    case 'c':
        *used |= OPT_COUNT;
        return number(cli, "-c", optarg, 1, COUNT_MAX, &cli->count);
    case OPTION_DOT:
        cli->dot = true;
        *used |= OPT_DOT;
        return CLI_OK;
    }
    return EXIT_USAGE;
}

static const struct command *find_command(const struct cli *cli, const char *name, int *rc)
{
    const char *names[ARRAY_LEN(commands)];
    const char *meant;

    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        names[i] = commands[i].name;
        if (strcmp(name, names[i]) == 0)
            return &commands[i];
    }
    meant = words_nearest(names, ARRAY_LEN(commands), name);
    if (meant)
        *rc = cli_error(cli, PROTOCOL_USAGE, "unknown command \"%s\"; did you mean \"%s\"?", name,
                        meant);
    else
        *rc = cli_error(cli, PROTOCOL_USAGE, "unknown command \"%s\"; see peal --help", name);
    return NULL;
}

static int run(struct cli *cli, int argc, char **argv, unsigned used)
{
    const struct command *command;
    int rc = EXIT_USAGE, words = argc - optind - 1;

    if (words < 0) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    command = find_command(cli, argv[optind], &rc);
    if (!command)
        return rc;
    if (used & ~command->options)
        return cli_error(cli, PROTOCOL_USAGE, "peal %s has no such option; see peal --help",
                         command->name);
    if (words < command->words_min || words > command->words_max)
        return cli_error(cli, PROTOCOL_USAGE, "usage: peal %s", command->usage);
    for (int i = 0; i < words; i++)
        cli->words[i] = argv[optind + 1 + i];
    cli->words_count = words;
    return command->run(cli);
}

/* Errors are told as JSON wherever --json stands, also behind the mistake. */
static bool says_json(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--json") == 0)
            return true;
    }
    return false;
}

/* A full disk or a closed pipe must not look like success. */
static int flush_answer(int rc)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return rc;
    fprintf(stderr, "peal: cannot write the answer: %s\n", strerror(errno));
    return rc == CLI_OK ? CLI_FAILED : rc;
}

int main(int argc, char **argv)
{
    struct cli cli = {.socket = getenv("PEAL_SOCKET"), .wait_s = -1, .count = -1};
    unsigned used = 0;
    int option, rc;

    if (!cli.socket || !cli.socket[0])
        cli.socket = PROTOCOL_SOCKET_DEFAULT;
    cli.json = says_json(argc, argv);
    while ((option = getopt_long(argc, argv, short_options, long_options, NULL)) != -1) {
        if (option == 'h') {
            print_help(stdout);
            return flush_answer(CLI_OK);
        }
        if (option == 'V') {
            puts("peal " PEAL_VERSION);
            return flush_answer(CLI_OK);
        }
        if (option == '?' || option == ':')
            return complain_option(&cli, argv, option);
        rc = take_option(&cli, option, &used);
        if (rc)
            return rc;
    }
    return flush_answer(run(&cli, argc, argv, used));
}
