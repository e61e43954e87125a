#include "daemon/cli/cli.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { PING_TIMEOUT_S = 15, WAY_SIZE = 192 };

/* As ping(8) does: without -c until Ctrl-C, one try a second. */
static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal)
{
    interrupted = 1;
}

struct tally {
    long sent, answered;
    double min, max, sum, sum_squares; /* ms */
    json_t *tries;
    char way[WAY_SIZE]; /* of the last answer; "" before the first */
    long changes;       /* of it */
};

static void count_answer(struct tally *t, double ms)
{
    if (t->answered == 0 || ms < t->min)
        t->min = ms;
    if (ms > t->max)
        t->max = ms;
    t->sum += ms;
    t->sum_squares += ms * ms;
    t->answered++;
}

/* "direct to=192.0.2.1:4747", "relay by=carol", "overlay" */
static void way_text(const json_t *result, char out[WAY_SIZE])
{
    const char *path = text_of(result, "path", "?");
    char id[9];

    if (text_of(result, "relay", NULL))
        snprintf(out, WAY_SIZE, "%s by=%s", path, name_of(result, "relay_hostname", "relay", id));
    else if (text_of(result, "endpoint", NULL))
        snprintf(out, WAY_SIZE, "%s to=%s", path, text_of(result, "endpoint", "?"));
    else
        snprintf(out, WAY_SIZE, "%s", path);
}

/* An answer came: by another way than the last one? */
static void follow_way(const struct cli *cli, struct tally *t, const json_t *result)
{
    char now[WAY_SIZE];

    way_text(result, now);
    if (t->way[0] != '\0' && strcmp(t->way, now) != 0) {
        t->changes++;
        if (!cli->json)
            printf("path changed: %s, before it %s\n", now, t->way);
    }
    strcpy(t->way, now);
}

static void print_try(const struct tally *t, const json_t *result)
{
    json_int_t hops = json_integer_value(json_object_get(result, "hops"));
    const char *name = text_of(result, "hostname", text_of(result, "id", "?"));
    char rtt[32], overlay[32] = "";

    if (strcmp(text_of(result, "path", ""), "overlay") == 0)
        snprintf(overlay, sizeof overlay, " hops=%lld", (long long)hops);
    if (!json_is_true(json_object_get(result, "answered")))
        printf("no answer from %s: seq=%ld\n", name, t->sent);
    else
        printf("%s (%s): seq=%ld path=%s%s time=%s\n", name, text_of(result, "ipv4", "-"), t->sent,
               t->way, overlay, ms_text(json_object_get(result, "rtt_ms"), rtt));
    fflush(stdout);
}

/* The first try finds out who it is; the others go straight there. */
static int one_try(const struct cli *cli, struct client *c, char who[256], struct tally *t)
{
    json_t *request = cli_request(cli, "ping"), *result;
    int rc;

    json_object_set_new(request, "who", json_string(who));
    rc = client_ask(c, request, PING_TIMEOUT_S, NULL, NULL, &result);
    if (rc)
        return rc;
    t->sent++;
    if (json_is_true(json_object_get(result, "answered"))) {
        count_answer(t, json_number_value(json_object_get(result, "rtt_ms")));
        follow_way(cli, t, result);
    }
    if (cli->json)
        json_array_append(t->tries, result);
    else
        print_try(t, result);
    json_decref(result);
    return CLI_OK;
}

static void print_summary(const struct cli *cli, const struct tally *t)
{
    double mean = t->answered ? t->sum / (double)t->answered : 0;
    double variance = t->answered ? t->sum_squares / (double)t->answered - mean * mean : 0;
    long lost = t->sent - t->answered;

    if (cli->json) {
        cli_print_json(json_pack("{s:s, s:s, s:I, s:I, s:I, s:O, s:o, s:o, s:o}", "schema",
                                 "peal.pings/1", "who", cli->words[0], "sent", (json_int_t)t->sent,
                                 "answered", (json_int_t)t->answered, "path_changes",
                                 (json_int_t)t->changes, "tries", t->tries, "min_ms",
                                 t->answered ? json_real(t->min) : json_null(), "mean_ms",
                                 t->answered ? json_real(mean) : json_null(), "max_ms",
                                 t->answered ? json_real(t->max) : json_null()));
        return;
    }
    printf("\n--- %s ping statistics ---\n%ld sent, %ld answered, %ld%% lost\n", cli->words[0],
           t->sent, t->answered, t->sent ? 100 * lost / t->sent : 0);
    if (t->answered)
        printf("rtt min/avg/max/mdev = %.3f/%.3f/%.3f/%.3f ms\n", t->min, mean, t->max,
               sqrt(variance > 0 ? variance : 0));
}

static void catch_interrupt(void)
{
    struct sigaction action = {.sa_handler = on_interrupt}; /* no SA_RESTART: the pause ends */

    sigaction(SIGINT, &action, NULL);
}

int cli_ping(const struct cli *cli)
{
    struct tally t = {.tries = json_array()};
    long count = cli->count >= 0 ? cli->count : cli->json ? 1 : -1;
    char who[256];
    struct client *c;
    int rc = client_open(&c, cli);

    snprintf(who, sizeof who, "%s", cli->words[0]);
    catch_interrupt();
    while (rc == CLI_OK && !interrupted && t.sent != count) {
        if (t.sent > 0)
            sleep(1);
        if (!interrupted)
            rc = one_try(cli, c, who, &t);
    }
    client_close(c);
    if (rc == CLI_OK)
        print_summary(cli, &t);
    json_decref(t.tries);
    if (rc == CLI_OK && t.sent > 0 && t.answered == 0)
        rc = protocol_error_exit(protocol_error_code(PROTOCOL_TIMEOUT));
    return rc;
}
