#include "tests/sim/options.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "overlay/core/err.h"
#include "overlay/core/id.h"

static const char usage[] =
    "usage: peal-sim run    --nodes N --seed S [--latency FILE] [--minutes M] [--loss P]\n"
    "                       [--churn R] [--partition AT:FOR:PARTS] [--crash AT:SHARE]\n"
    "                       [--restart AT:WITHIN] [--join N] [--sizes N,N,...]\n"
    "                       [--null-crypto] [--json] [--plot FILE.svg]\n"
    "       peal-sim claims --nodes N --seed S [--latency FILE] [--partition AT:FOR:PARTS] "
    "[--json]\n"
    "                       everybody takes addresses and names at once, with few to spare\n"
    "       peal-sim check  --seeds A-B [--nodes N] [--minutes M] [--jobs J] [--verbose]\n"
    "       peal-sim small  [--nodes N] [--sequence J0,J1,C0]   every order of join, leave and "
    "crash of 1..N hosts\n"
    "       peal-sim nat    --seeds A-B [--loss P] [--ports KIND] [--port-search] [--verbose]\n"
    "                       hosts behind all pairs of NAT kinds\n"
    "       peal-sim removal --nodes N --seed S [--latency FILE] [--loss P] [--json]   somebody is "
    "removed\n"
    "       peal-sim relay  --nodes N --seed S --latency FILE [--json]   what pairs without a "
    "direct way "
    "get\n"
    "\n"
    "Thousands of real nodes in one process, in virtual time, repeatable from a seed.\n"
    "\n"
    "  --nodes N          hosts\n"
    "  --seed S           everything random follows from it (default 1)\n"
    "  --latency FILE     round trips in ms, a square matrix, one row a line, plain or gzip\n"
    "  --delay MS         one way between any two, without a matrix (default 25; what nodes wait\n"
    "                     for is made for up to 500)\n"
    "  --jitter MS        up to so much more, at random for each packet\n"
    "  --minutes M        virtual time (default 3, and --start when that is longer than 1 s;\n"
    "                     5 from the last planned fault on)\n"
    "  --start SECONDS    hosts start within, bootstraps within the first second (default 1;\n"
    "                     more than 1000 hosts: 300 a second)\n"
    "  --bootstraps K     the first K hosts are known to all (default 2)\n"
    "  --loss P           of all packets: 0.01 is one in a hundred\n"
    "  --duplicate P      of all packets, which come twice\n"
    "  --late P:MS        of all packets, which are held back by up to so much\n"
    "  --no-direct P      a share of all pairs can never reach each other; bootstraps can\n"
    "  --ports KIND       how NATs choose ports: random, sequential, preserved (default random)\n"
    "  --port-search      members try many ports of a peer whose NAT has one for each remote\n"
    "  --churn R          hosts a minute crash or leave, and come back\n"
    "  --partition A:F:P  from second A, for F seconds, into P parts\n"
    "  --cut AT:N         at second AT N ways break: from a host to another, not back\n"
    "  --crash AT:SHARE   at second AT a share of all hosts dies\n"
    "  --join N           in the end N hosts, one after another, leave and come as strangers\n"
    "  --restart AT:S     at second AT all hosts die, and start again within S seconds\n"
    "  --drift PPM        hosts' clocks run fast or slow by up to so much\n"
    "  --skew SECONDS     hosts' calendars are wrong by up to so much\n"
    "  --sizes N,N,...    one run for each size instead of --nodes; --json: an object a line\n"
    "  --plot FILE.svg    a picture: the ring with its shortcuts, hops, latencies, how it\n"
    "                     formed and healed; with --sizes the cost against the size\n"
    "  --no-device        nodes without addresses and names: the ring alone\n"
    "  --certificates     members of a group with a CA; else with a pre-exchanged key\n"
    "  --null-crypto      the twin program with a null cipher, for size\n"
    "  --json             one JSON object on stdout\n"
    "  --log LEVEL        what nodes log: error, warn, info, debug\n"
    "  --log-host N       only that one\n"
    "  --follow HEX       who holds the records whose key begins so (0-9, a-f), as it changes\n"
    "  --memory           bytes by allocation site, to stderr\n"
    "  --seeds A-B        a swarm: each seed chooses its own size and faults\n"
    "  --keep-going       past the first violation, each is told; --verbose: a line for each seed\n"
    "  --jobs J           processes at a time (default: one)\n"
    "  --help, --version\n"
    "\n"
    "Exit status 1: an invariant was violated; 2: usage; 130: check was interrupted.\n";

enum {
    NODES_MAX = 250000,
    START_AT_ONCE = 1000, /* hosts: within a second; more of them ... */
    START_PER_SECOND = 300,
    AFTER_FAULTS_MINUTES = 5, /* the judge's, and some idle ones */
    MINUTES_MAX = 100000,
    SECONDS_MAX = 60 * MINUTES_MAX,
};
static const uint64_t SEED_MAX = INT64_MAX; /* JSON has no larger numbers */

enum {
    OPT_SEED = 256,
    OPT_SEEDS,
    OPT_NODES,
    OPT_LATENCY,
    OPT_DELAY,
    OPT_JITTER,
    OPT_MINUTES,
    OPT_START,
    OPT_BOOTSTRAPS,
    OPT_LOSS,
    OPT_DUPLICATE,
    OPT_LATE,
    OPT_APART,
    OPT_PORTS,
    OPT_PORT_SEARCH,
    OPT_CHURN,
    OPT_PARTITION,
    OPT_CUT,
    OPT_CRASH,
    OPT_JOIN,
    OPT_RESTART,
    OPT_DRIFT,
    OPT_SKEW,
    OPT_SIZES,
    OPT_PLOT,
    OPT_NO_DEVICE,
    OPT_NULL,
    OPT_JSON,
    OPT_LOG,
    OPT_LOG_HOST,
    OPT_FOLLOW,
    OPT_SEQUENCE,
    OPT_MEMORY,
    OPT_CERTIFICATES,
    OPT_JOBS,
    OPT_VERBOSE,
    OPT_KEEP_GOING,
    OPT_HELP,
    OPT_VERSION,
};

static const struct option long_options[] = {
    {"seed", required_argument, NULL, OPT_SEED},
    {"seeds", required_argument, NULL, OPT_SEEDS},
    {"nodes", required_argument, NULL, OPT_NODES},
    {"latency", required_argument, NULL, OPT_LATENCY},
    {"delay", required_argument, NULL, OPT_DELAY},
    {"jitter", required_argument, NULL, OPT_JITTER},
    {"minutes", required_argument, NULL, OPT_MINUTES},
    {"start", required_argument, NULL, OPT_START},
    {"bootstraps", required_argument, NULL, OPT_BOOTSTRAPS},
    {"loss", required_argument, NULL, OPT_LOSS},
    {"duplicate", required_argument, NULL, OPT_DUPLICATE},
    {"late", required_argument, NULL, OPT_LATE},
    {"no-direct", required_argument, NULL, OPT_APART},
    {"ports", required_argument, NULL, OPT_PORTS},
    {"port-search", no_argument, NULL, OPT_PORT_SEARCH},
    {"churn", required_argument, NULL, OPT_CHURN},
    {"partition", required_argument, NULL, OPT_PARTITION},
    {"cut", required_argument, NULL, OPT_CUT},
    {"crash", required_argument, NULL, OPT_CRASH},
    {"join", required_argument, NULL, OPT_JOIN},
    {"restart", required_argument, NULL, OPT_RESTART},
    {"drift", required_argument, NULL, OPT_DRIFT},
    {"skew", required_argument, NULL, OPT_SKEW},
    {"sizes", required_argument, NULL, OPT_SIZES},
    {"plot", required_argument, NULL, OPT_PLOT},
    {"no-device", no_argument, NULL, OPT_NO_DEVICE},
    {"null-crypto", no_argument, NULL, OPT_NULL},
    {"json", no_argument, NULL, OPT_JSON},
    {"log", required_argument, NULL, OPT_LOG},
    {"log-host", required_argument, NULL, OPT_LOG_HOST},
    {"follow", required_argument, NULL, OPT_FOLLOW},
    {"sequence", required_argument, NULL, OPT_SEQUENCE},
    {"memory", no_argument, NULL, OPT_MEMORY},
    {"certificates", no_argument, NULL, OPT_CERTIFICATES},
    {"jobs", required_argument, NULL, OPT_JOBS},
    {"verbose", no_argument, NULL, OPT_VERBOSE},
    {"keep-going", no_argument, NULL, OPT_KEEP_GOING},
    {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION},
    {0},
};

/* What each command takes; --help and --version belong to all. */
static uint64_t bit(int option)
{
    return UINT64_C(1) << (option - OPT_SEED);
}

static uint64_t options_of(enum command command)
{
    const uint64_t always = bit(OPT_NULL) | bit(OPT_JSON) | bit(OPT_LOG) | bit(OPT_LOG_HOST);
    const uint64_t world = always | bit(OPT_SEED) | bit(OPT_NODES) | bit(OPT_LATENCY) |
                           bit(OPT_DELAY) | bit(OPT_BOOTSTRAPS) | bit(OPT_FOLLOW);

    switch (command) {
    case COMMAND_RUN:
        return world | bit(OPT_MINUTES) | bit(OPT_START) | bit(OPT_JITTER) | bit(OPT_LOSS) |
               bit(OPT_APART) | bit(OPT_CHURN) | bit(OPT_PARTITION) | bit(OPT_CRASH) |
               bit(OPT_JOIN) | bit(OPT_RESTART) | bit(OPT_SIZES) | bit(OPT_PLOT) |
               bit(OPT_NO_DEVICE) | bit(OPT_MEMORY) | bit(OPT_DUPLICATE) | bit(OPT_LATE) |
               bit(OPT_CUT) | bit(OPT_DRIFT) | bit(OPT_SKEW) | bit(OPT_CERTIFICATES);
    case COMMAND_CLAIMS:
        return world | bit(OPT_MINUTES) | bit(OPT_START) | bit(OPT_APART) | bit(OPT_PARTITION) |
               bit(OPT_PLOT) | bit(OPT_MEMORY);
    case COMMAND_REMOVAL:
        return world | bit(OPT_LOSS) | bit(OPT_APART) | bit(OPT_NO_DEVICE);
    case COMMAND_RELAY:
        return world | bit(OPT_START) | bit(OPT_APART);
    case COMMAND_CHECK:
        return always | bit(OPT_SEEDS) | bit(OPT_NODES) | bit(OPT_MINUTES) | bit(OPT_JOBS) |
               bit(OPT_VERBOSE) | bit(OPT_KEEP_GOING) | bit(OPT_FOLLOW);
    case COMMAND_SMALL:
        return always | bit(OPT_NODES) | bit(OPT_SEQUENCE) | bit(OPT_SEED) | bit(OPT_DELAY) |
               bit(OPT_FOLLOW);
    case COMMAND_NAT:
        return always | bit(OPT_SEEDS) | bit(OPT_LOSS) | bit(OPT_PORTS) | bit(OPT_PORT_SEARCH) |
               bit(OPT_DELAY) | bit(OPT_VERBOSE);
    }
    return 0;
}

/* ---- values ---- */

static bool read_number(const char *text, double least, double most, double *out)
{
    char *end;

    errno = 0;
    *out = strtod(text, &end);
    return end != text && *end == '\0' && errno == 0 && *out >= least && *out <= most;
}

static bool read_whole(const char *text, uint64_t least, uint64_t most, uint64_t *out)
{
    char *end;

    errno = 0;
    *out = strtoull(text, &end, 10);
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0 && *out >= least &&
           *out <= most;
}

static bool read_u32(const char *text, uint32_t least, uint32_t most, uint32_t *out)
{
    uint64_t v;
    bool ok = read_whole(text, least, most, &v);

    *out = (uint32_t)v;
    return ok;
}

/* A-B, or one seed. */
static bool read_seeds(struct options *o, const char *text)
{
    char first[32];
    const char *dash = strchr(text, '-');

    if (dash == NULL)
        return read_whole(text, 0, SEED_MAX, &o->seeds_first) &&
               (o->seeds_last = o->seeds_first, true);
    if ((size_t)(dash - text) >= sizeof(first))
        return false;
    memcpy(first, text, (size_t)(dash - text));
    first[dash - text] = '\0';
    return read_whole(first, 0, SEED_MAX, &o->seeds_first) &&
           read_whole(dash + 1, o->seeds_first, SEED_MAX, &o->seeds_last);
}

static bool is_time(double s)
{
    return s >= 0 && s <= SECONDS_MAX;
}

static bool read_partition(struct options *o, const char *text)
{
    char rest;

    o->partition = true;
    return sscanf(text, "%lf:%lf:%u%c", &o->partition_at_s, &o->partition_for_s, &o->parts,
                  &rest) == 3 &&
           is_time(o->partition_at_s) && is_time(o->partition_for_s) && o->partition_for_s > 0 &&
           o->parts >= 2 && o->parts <= 8;
}

static bool read_late(struct options *o, const char *text)
{
    char rest;

    return sscanf(text, "%lf:%lf%c", &o->late, &o->late_ms, &rest) == 2 && o->late >= 0 &&
           o->late <= 1 && o->late_ms > 0 && o->late_ms <= 60000;
}

static bool read_cut(struct options *o, const char *text)
{
    char rest;

    return sscanf(text, "%lf:%u%c", &o->cut_at_s, &o->cuts, &rest) == 2 && is_time(o->cut_at_s) &&
           o->cuts >= 1 && o->cuts <= INTERNET_CUTS_MAX;
}

static bool read_crash(struct options *o, const char *text)
{
    char rest;

    o->crash = true;
    return sscanf(text, "%lf:%lf%c", &o->crash_at_s, &o->crash_share, &rest) == 2 &&
           is_time(o->crash_at_s) && o->crash_share > 0 && o->crash_share < 1;
}

static bool read_restart(struct options *o, const char *text)
{
    char rest;

    o->restart = true;
    return sscanf(text, "%lf:%lf%c", &o->restart_at_s, &o->restart_within_s, &rest) == 2 &&
           is_time(o->restart_at_s) && is_time(o->restart_within_s) && o->restart_within_s > 0;
}

/* Growing, so that a picture has them in order. */
static bool read_sizes(struct options *o, const char *text)
{
    char *end;

    for (o->size_count = 0;; text = end + 1) {
        unsigned long nodes = strtoul(text, &end, 10);

        if (end == text || nodes < 1 || nodes > NODES_MAX || o->size_count == OPTIONS_SIZES_MAX ||
            (o->size_count > 0 && nodes <= o->sizes[o->size_count - 1]))
            return false;
        o->sizes[o->size_count++] = (uint32_t)nodes;
        if (*end == '\0')
            return true;
        if (*end != ',')
            return false;
    }
}

static bool read_level(struct options *o, const char *text)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strcmp(text, names[i]) != 0)
            continue;
        o->log_level = (enum log_level)i;
        return true;
    }
    return false;
}

static bool read_ports(struct options *o, const char *text)
{
    static const char *const names[] = {[NAT_PORTS_PRESERVED] = "preserved",
                                        [NAT_PORTS_SEQUENTIAL] = "sequential",
                                        [NAT_PORTS_RANDOM] = "random"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strcmp(text, names[i]) != 0)
            continue;
        o->ports = (enum nat_ports)i;
        return true;
    }
    return false;
}

/* Of an id in hexadecimal. */
static bool is_id_start(const char *text)
{
    size_t len = strlen(text);

    return len > 0 && len <= 2 * ID_LEN && strspn(text, "0123456789abcdef") == len;
}

static bool read_option(struct options *o, int option, const char *value)
{
    uint64_t whole;
    bool ok;

    switch (option) {
    case OPT_SEED:
        return read_whole(value, 0, SEED_MAX, &o->seed);
    case OPT_SEEDS:
        return read_seeds(o, value);
    case OPT_NODES:
        return read_u32(value, 1, NODES_MAX, &o->nodes);
    case OPT_LATENCY:
        o->latency = value;
        return true;
    case OPT_DELAY:
        return read_number(value, 0, 60000, &o->delay_ms);
    case OPT_JITTER:
        return read_number(value, 0, 60000, &o->jitter_ms);
    case OPT_MINUTES:
        return read_number(value, 0.01, MINUTES_MAX, &o->minutes);
    case OPT_START:
        return read_number(value, 0, SECONDS_MAX, &o->start_s);
    case OPT_BOOTSTRAPS:
        return read_u32(value, 1, 8, &o->bootstraps);
    case OPT_LOSS:
        return read_number(value, 0, 1, &o->loss);
    case OPT_DUPLICATE:
        return read_number(value, 0, 1, &o->duplicate);
    case OPT_LATE:
        return read_late(o, value);
    case OPT_APART:
        return read_number(value, 0, 1, &o->apart);
    case OPT_PORTS:
        return read_ports(o, value);
    case OPT_PORT_SEARCH:
        return o->port_search = true;
    case OPT_CHURN:
        return read_number(value, 0, 1e6, &o->churn);
    case OPT_PARTITION:
        return read_partition(o, value);
    case OPT_CUT:
        return read_cut(o, value);
    case OPT_CRASH:
        return read_crash(o, value);
    case OPT_JOIN:
        return read_u32(value, 1, 100000, &o->joins);
    case OPT_RESTART:
        return read_restart(o, value);
    case OPT_DRIFT:
        return read_u32(value, 0, 1000, &o->drift_ppm);
    case OPT_SKEW:
        return read_u32(value, 0, SECONDS_MAX, &o->skew_s);
    case OPT_SIZES:
        return read_sizes(o, value);
    case OPT_PLOT:
        o->plot = value;
        return true;
    case OPT_NO_DEVICE:
        o->device = false;
        return true;
    case OPT_NULL:
        return o->null_crypto = true;
    case OPT_JSON:
        return o->json = true;
    case OPT_LOG:
        return read_level(o, value);
    case OPT_LOG_HOST:
        ok = read_whole(value, 0, 250000, &whole);
        o->log_host = (long)whole;
        return ok;
    case OPT_FOLLOW:
        o->follow = value;
        return is_id_start(value);
    case OPT_SEQUENCE:
        o->sequence = value;
        return true;
    case OPT_MEMORY:
        return o->sites = true;
    case OPT_CERTIFICATES:
        return o->certified = true;
    case OPT_JOBS:
        return read_u32(value, 1, 256, &o->jobs);
    case OPT_VERBOSE:
        return o->verbose = true;
    case OPT_KEEP_GOING:
        return o->keep_going = true;
    default:
        return false;
    }
}

/* ---- words ---- */

static const char *const command_names[] = {
    [COMMAND_RUN] = "run",    [COMMAND_CHECK] = "check",     [COMMAND_SMALL] = "small",
    [COMMAND_NAT] = "nat",    [COMMAND_REMOVAL] = "removal", [COMMAND_CLAIMS] = "claims",
    [COMMAND_RELAY] = "relay"};

static bool read_command(struct options *o, const char *word)
{
    for (size_t i = 0; i < ARRAY_LEN(command_names); i++) {
        if (word == NULL || strcmp(word, command_names[i]) != 0)
            continue;
        o->command = (enum command)i;
        return true;
    }
    return false;
}

static const char *option_name(int option)
{
    for (const struct option *l = long_options; l->name != NULL; l++)
        if (l->val == option)
            return l->name;
    return "?";
}

/* What --help says of it. */
static bool explain(const char *name)
{
    char start[32];
    const char *line;

    snprintf(start, sizeof(start), "\n  --%s ", name);
    line = strstr(usage, start);
    if (line != NULL)
        fprintf(stderr, "%.*s\n", (int)strcspn(line + 1, "\n"), line + 1);
    return false;
}

static bool say(int *status, int is, const char *format, const char *what, const char *value)
{
    fprintf(stderr, format, what, value);
    *status = is;
    return false;
}

bool options_bad_links(const struct options *o)
{
    return o->loss > 0 || o->jitter_ms > 0 || o->duplicate > 0 || o->late > 0;
}

static double planned_faults_end_s(const struct options *o)
{
    double end_s = 0;

    if (o->partition)
        end_s = fmax(end_s, o->partition_at_s + o->partition_for_s);
    if (o->crash)
        end_s = fmax(end_s, o->crash_at_s);
    if (o->restart)
        end_s = fmax(end_s, o->restart_at_s + o->restart_within_s);
    return end_s;
}

double options_faults_end_s(const struct options *o)
{
    if (o->churn > 0 || o->cuts > 0 || options_bad_links(o))
        return o->minutes * 60;
    return fmax(o->start_s, planned_faults_end_s(o));
}

void options_take_size(struct options *o, uint32_t nodes)
{
    bool said = o->start_s >= 0;
    double faults_end_s = planned_faults_end_s(o);

    o->nodes = nodes;
    if (!said)
        o->start_s = nodes <= START_AT_ONCE ? 1 : (double)nodes / START_PER_SECOND;
    if (o->minutes == 0 && faults_end_s > 0)
        o->minutes = AFTER_FAULTS_MINUTES + faults_end_s / 60;
    else if (o->minutes == 0)
        o->minutes = o->start_s <= 1 ? 3 : 3 + o->start_s / 60;
    if (!said && o->start_s > 60 * o->minutes)
        o->start_s = 60 * o->minutes;
    if (!said && o->command == COMMAND_CLAIMS && o->partition && o->start_s > o->partition_for_s)
        o->start_s = o->partition_for_s;
}

static bool refuse(int *status, const char *why)
{
    return say(status, EXIT_USAGE, "peal-sim: %s%s\n", why, "");
}

/* An option that the command would pass over in silence is a mistake. */
static bool belongs(const struct options *o, uint64_t given, int *status)
{
    for (const struct option *l = long_options; l->name != NULL; l++)
        if (l->val < OPT_HELP && (given & bit(l->val) & ~options_of(o->command)) != 0)
            return say(status, EXIT_USAGE, "peal-sim: %s has no --%s; see peal-sim --help\n",
                       command_names[o->command], l->name);
    return true;
}

/* What is planned for after the end would not happen, and who is to start then would be missed. */
static const char *too_late(const struct options *o)
{
    double end_s = 60 * o->minutes;

    if (o->partition && o->partition_at_s + o->partition_for_s > end_s)
        return "--partition: ends when --minutes are over, or later";
    if (o->command == COMMAND_CLAIMS && o->partition)
        return o->start_s > o->partition_for_s
                   ? "--start: longer than the partition in which half of the hosts start"
                   : NULL;
    if (o->start_s > end_s)
        return "--start: longer than --minutes, some hosts would never start";
    if (o->cuts > 0 && o->cut_at_s >= end_s)
        return "--cut: comes when --minutes are over";
    if (o->crash && o->crash_at_s < o->start_s)
        return "--crash: comes before all hosts have started";
    if (o->crash && o->crash_at_s >= end_s)
        return "--crash: comes when --minutes are over";
    if (o->restart && o->restart_at_s + o->restart_within_s > end_s)
        return "--restart: takes longer than --minutes, some hosts would never start";
    return NULL;
}

/* Of so many hosts there is not what was asked for. */
static const char *too_few(const struct options *o)
{
    uint32_t dying = (uint32_t)(o->crash_share * o->nodes + 0.5);

    if (o->partition && o->parts > o->nodes)
        return "--partition: more parts than --nodes";
    if (o->crash && dying >= o->nodes)
        return "--crash: nobody would be left";
    if (o->crash && dying == 0)
        return "--crash: nobody would die";
    if (o->joins > 0 && o->nodes <= o->bootstraps)
        return "--join: more hosts than bootstraps: --nodes";
    if (o->command == COMMAND_RELAY && o->nodes < o->bootstraps + 2)
        return "relay: two hosts and the bootstraps at least: --nodes";
    if (o->command == COMMAND_REMOVAL && o->nodes < 3)
        return "removal: three hosts at least: --nodes";
    return NULL;
}

static bool complete_size(struct options *o, uint32_t nodes, int *status)
{
    const char *late;

    options_take_size(o, nodes);
    late = (options_of(o->command) & bit(OPT_START)) != 0 ? too_late(o) : NULL;
    if (late == NULL)
        late = too_few(o);
    return late == NULL || refuse(status, late);
}

/* What a command cannot do without, and what it does when nothing is said. */
static bool complete(struct options *o, uint64_t given, int *status)
{
    const uint64_t takes = options_of(o->command);
    bool chooses = o->command == COMMAND_CHECK || o->command == COMMAND_SMALL;

    if ((takes & bit(OPT_SEEDS)) != 0 && (given & bit(OPT_SEEDS)) == 0)
        return refuse(status, "say which: --seeds A-B");
    if (o->nodes > 0 && o->log_host >= (long)o->nodes)
        return refuse(status, "--log-host: hosts are numbered from 0, below --nodes");
    if (o->size_count > 0 && o->nodes > 0)
        return refuse(status, "--sizes: instead of --nodes");
    if (o->command == COMMAND_SMALL && o->sequence == NULL &&
        (given & (bit(OPT_DELAY) | bit(OPT_SEED))) != 0)
        return refuse(status, "--delay, --seed: of one --sequence");
    for (size_t i = 0; i < o->size_count; i++) {
        struct options one = *o;

        if (!complete_size(&one, o->sizes[i], status))
            return false;
    }
    if (chooses || o->size_count > 0)
        return true;
    if ((takes & bit(OPT_NODES)) != 0 && o->nodes == 0)
        return refuse(status, "say how many: --nodes N");
    return complete_size(o, o->nodes, status);
}

bool options_read(struct options *o, int argc, char **argv, int *status)
{
    uint64_t given = 0;
    int option;

    *o = (struct options){.seed = 1,
                          .delay_ms = 25,
                          .start_s = -1,
                          .bootstraps = 2,
                          .device = true,
                          .jobs = 1,
                          .ports = NAT_PORTS_RANDOM,
                          .log_level = LOG_LEVEL_ERROR,
                          .log_host = -1,
                          .argc = argc,
                          .argv = argv};
    *status = 0;
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        if (option == '?')
            return say(status, EXIT_USAGE, "%s%s", "see peal-sim --help\n", "");
        if (option == OPT_HELP || option == OPT_VERSION) {
            printf("%s", option == OPT_HELP ? usage : "peal-sim " PEAL_VERSION "\n");
            return false;
        }
        if ((given & bit(option)) != 0)
            return say(status, EXIT_USAGE, "peal-sim: --%s: said twice%s\n", option_name(option),
                       "");
        if (!read_option(o, option, optarg)) {
            say(status, EXIT_USAGE, "peal-sim: --%s: not a value for it: \"%s\"\n",
                option_name(option), optarg != NULL ? optarg : "");
            return explain(option_name(option));
        }
        given |= bit(option);
    }
    if (!read_command(o, argv[optind]))
        return say(status, EXIT_USAGE, "%s%s", usage, "");
    o->word = optind;
    if (argv[optind + 1] != NULL)
        return say(status, EXIT_USAGE, "peal-sim: what is \"%s\"?%s\n", argv[optind + 1], "");
    return belongs(o, given, status) && complete(o, given, status);
}

bool options_take(const struct options *o, const char *name)
{
    for (const struct option *l = long_options; l->name != NULL; l++)
        if (l->val < OPT_HELP && strcmp(l->name, name) == 0)
            return (options_of(o->command) & bit(l->val)) != 0;
    CHECK(!"an option of that name");
    return false;
}

void options_print(const struct options *o, char *out, size_t size)
{
    const char *command = command_names[o->command];
    size_t len = (size_t)snprintf(out, size, "peal-sim %s", command);

    for (int i = 1; i < o->argc && len < size; i++)
        if (strcmp(o->argv[i], "--json") != 0 && i != o->word)
            len += (size_t)snprintf(out + len, size - len, " %s", o->argv[i]);
}
