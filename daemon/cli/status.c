#include "daemon/cli/cli.h"

#include <stdio.h>
#include <string.h>

enum { STATUS_TIMEOUT_S = 10 };

static void print_field(const char *name, const char *value)
{
    printf("  %-12s %s\n", name, value);
}

static bool contains(const json_t *array, const json_t *value)
{
    const json_t *v;
    size_t i;

    json_array_foreach(array, i, v)
    {
        if (json_equal(v, value))
            return true;
    }
    return false;
}

/* On a small ring the same member stands on both sides. */
static size_t count_near(const json_t *network)
{
    const json_t *n = json_object_get(network, "neighbours"), *v;
    const json_t *left = json_object_get(n, "left"), *right = json_object_get(n, "right");
    size_t count = json_array_size(left), i;

    json_array_foreach(right, i, v)
    {
        if (!contains(left, v))
            count++;
    }
    return count;
}

static void print_entry(const json_t *e)
{
    double next_s = json_number_value(json_object_get(e, "next_try_s"));
    json_int_t tries = json_integer_value(json_object_get(e, "tries"));
    const char *state = text_of(e, "state", "?");
    char text[192], outcome[64] = "being tried", next[48] = "";

    if (strcmp(state, "connected") == 0)
        snprintf(outcome, sizeof outcome, "answers");
    else if (strcmp(state, "silent") == 0)
        snprintf(outcome, sizeof outcome, "no answer, %lld time%s", (long long)tries,
                 tries == 1 ? "" : "s");
    else if (strcmp(state, "waiting") == 0)
        snprintf(outcome, sizeof outcome, "not tried yet");
    if (json_is_number(json_object_get(e, "next_try_s")))
        snprintf(next, sizeof next, ", next in %.0f s", next_s);
    snprintf(text, sizeof text, "%s (%s): %s%s", text_of(e, "endpoint", "through it"),
             text_of(e, "kind", "?"), outcome, next);
    print_field("tried", text);
}

/* Bootstraps whose names have no address: said also when others were found. */
static void print_unresolved(const json_t *of)
{
    const json_t *all = json_object_get(of, "unresolved"), *e;
    char text[512];
    size_t i;

    json_array_foreach(all, i, e)
    {
        snprintf(text, sizeof text, "%s (bootstrap): cannot be resolved: %s, next in %.0f s",
                 text_of(e, "endpoint", "?"), text_of(e, "error", "?"),
                 json_number_value(json_object_get(e, "next_try_s")));
        print_field("tried", text);
    }
}

/* What somebody who is alone wants to know. */
static void print_alone(const json_t *network)
{
    const json_t *entries = json_object_get(network, "entries"), *e;
    size_t i;

    print_field("ring", "alone: no other member has been found yet");
    json_array_foreach(entries, i, e) print_entry(e);
}

static void print_ring(const json_t *network)
{
    json_int_t members = json_integer_value(json_object_get(network, "ring_size_estimate"));
    size_t near = count_near(network);
    char text[128];

    if (near == 0) {
        print_alone(network);
        return;
    }
    snprintf(text, sizeof text, "about %lld members; %zu near connection%s, %lld shortcut%s",
             (long long)members, near, near == 1 ? "" : "s",
             (long long)json_integer_value(json_object_get(network, "shortcuts")),
             json_integer_value(json_object_get(network, "shortcuts")) == 1 ? "" : "s");
    print_field("ring", text);
}

static void print_certificate(const json_t *network)
{
    const json_t *c = json_object_get(network, "certificate");
    const json_t *renewal = json_object_get(c, "renewal");
    const char *until = text_of(c, "not_after", NULL), *error = text_of(renewal, "error", NULL);
    char text[1024];

    if (!until)
        return;
    snprintf(text, sizeof text, "valid until %s%s%s%s", until,
             json_integer_value(json_object_get(renewal, "warning_days")) ? "; RENEW IT SOON" : "",
             error ? "; renewal failed: " : "", error ? error : "");
    print_field("certificate", text);
}

static void print_removals(const json_t *network)
{
    const json_t *r = json_object_get(network, "removals");
    long long listed = json_integer_value(json_object_get(r, "listed"));
    const char *checked = text_of(r, "checked", NULL);
    char text[256];

    if (!r || json_is_null(r))
        return;
    snprintf(text, sizeof text, "%lld listed, newest number %lld%s%s%s", listed,
             (long long)json_integer_value(json_object_get(r, "number")),
             checked ? "; service asked at " : "; the service was not reached yet",
             checked ? checked : "",
             json_is_true(json_object_get(r, "stale")) ? "; THE LIST IS OUT OF DATE" : "");
    print_field("removals", text);
}

static void print_network(const json_t *network)
{
    const char *state = text_of(network, "state", "?"), *reason = text_of(network, "reason", NULL);
    char host[320];

    printf("\n%s: %s%s%s\n", text_of(network, "name", "?"), state, reason ? ": " : "",
           reason ? reason : "");
    if (!text_of(network, "id", NULL)) {
        print_certificate(network);
        return;
    }
    snprintf(host, sizeof host, "%s.%s", text_of(network, "hostname", "?"),
             text_of(network, "domain", "?"));
    print_field("name", host);
    print_field("ipv4", text_of(network, "ipv4", "none yet"));
    print_field("ipv6", text_of(network, "ipv6", "none yet"));
    print_field("device", text_of(network, "device", "none"));
    print_field("id", text_of(network, "id", "?"));
    print_ring(network);
    print_unresolved(network);
    print_certificate(network);
    print_removals(network);
}

static void print_status(const json_t *s)
{
    const json_t *public_node = json_object_get(s, "public"), *networks, *network;
    char up[32];
    size_t i;

    networks = json_object_get(s, "networks");
    printf("peald %s, up %s, UDP port %lld\n", text_of(s, "version", "?"),
           span_text(json_number_value(json_object_get(s, "uptime_s")), up),
           (long long)json_integer_value(json_object_get(s, "port")));
    if (json_is_true(json_object_get(public_node, "enabled")))
        printf("public overlay: %lld connections, id %s\n",
               (long long)json_integer_value(json_object_get(public_node, "connections")),
               text_of(public_node, "id", "?"));
    print_unresolved(public_node);
    json_array_foreach(networks, i, network) print_network(network);
    if (json_array_size(networks) == 0)
        printf("no group is joined; see: peal join --help\n");
}

/* With -n, only that group. */
static int keep_network(const struct cli *cli, json_t *status)
{
    json_t *networks = json_object_get(status, "networks");

    for (size_t i = json_array_size(networks); cli->network && i-- > 0;) {
        if (strcmp(text_of(json_array_get(networks, i), "name", ""), cli->network) != 0)
            json_array_remove(networks, i);
    }
    if (!cli->network || json_array_size(networks) > 0)
        return CLI_OK;
    return cli_error(cli, PROTOCOL_NOT_JOINED, "this machine is not a member of %s", cli->network);
}

int cli_status(const struct cli *cli)
{
    json_t *result;
    int rc = cli_ask(cli, cli_request(cli, "status"), STATUS_TIMEOUT_S, &result);

    if (rc == CLI_OK)
        rc = keep_network(cli, result);
    if (rc == CLI_OK && cli->json)
        cli_print_json(json_incref(result));
    else if (rc == CLI_OK)
        print_status(result);
    json_decref(result);
    return rc;
}
