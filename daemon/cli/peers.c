#include "daemon/cli/cli.h"

#include <stdio.h>
#include <string.h>

enum { PEERS_TIMEOUT_S = 10 };

/* "s 12.3 ms, t 15.0 ms": who takes over when the relay goes, and how far that way is. */
static const char *standbys_text(const json_t *standbys, char *out, size_t size)
{
    size_t len = 0, i;
    const json_t *s;

    snprintf(out, size, "-");
    json_array_foreach(standbys, i, s)
    {
        char id[9], rtt[32];
        int n =
            snprintf(out + len, size - len, "%s%s %s", len ? ", " : "",
                     name_of(s, "hostname", "id", id), ms_text(json_object_get(s, "rtt_ms"), rtt));

        if (n < 0 || (size_t)n >= size - len)
            break;
        len += (size_t)n;
    }
    return out;
}

static void add_row(struct table *t, const json_t *p)
{
    char id[9], by[9], rtt[32], roles[64], span[32], path[48], standbys[320];
    const char *relay = NULL;

    if (json_is_string(json_object_get(p, "relay")))
        relay = name_of(p, "relay_hostname", "relay", by);
    table_cell(t, text_of(p, "hostname", "-"));
    table_cell(t, text_of(p, "ipv4", "-"));
    table_cell(t, short_id(json_object_get(p, "id"), id));
    table_cell(t, text_of(p, "network", "-"));
    snprintf(path, sizeof path, "%s%s", text_of(p, "path", "down"),
             json_is_true(json_object_get(p, "plain")) ? ", plain" : "");
    table_cell(t, path);
    table_cell(t, relay != NULL ? relay : text_of(p, "endpoint", "-"));
    table_cell(t, ms_text(json_object_get(p, "rtt_ms"), rtt));
    table_cell(t, standbys_text(json_object_get(p, "standbys"), standbys, sizeof standbys));
    table_cell(t, age_text(json_object_get(p, "path_age_s"), span));
    table_cell(t, list_text(json_object_get(p, "roles"), roles, sizeof roles));
    table_cell(t, age_text(json_object_get(p, "age_s"), span));
    table_cell(t, text_of(p, "why", ""));
}

static void print_refused(const json_t *refused)
{
    const json_t *r;
    size_t i;

    if (json_array_size(refused) > 0)
        printf("\nrefused lately:\n");
    json_array_foreach(refused, i, r)
    {
        char span[32];

        printf("  %s %s: %s, %s ago\n", text_of(r, "endpoint", "?"),
               text_of(r, "user", text_of(r, "id", "unknown")), text_of(r, "why", "?"),
               span_text(json_number_value(json_object_get(r, "ago_s")), span));
    }
}

static void print_peers(const json_t *result)
{
    static const char *const headings[] = {"NAME", "IPV4",     "ID",    "NETWORK", "PATH", "BY",
                                           "RTT",  "STAND-BY", "SINCE", "ROLES",   "UP",   "WHY"};
    const json_t *peers = json_object_get(result, "peers"), *p;
    struct table *t;
    size_t i;

    if (json_array_size(peers) == 0) {
        printf("no peers\n");
    } else {
        t = table_new(headings, sizeof headings / sizeof headings[0]);
        json_array_foreach(peers, i, p) add_row(t, p);
        table_print(t);
    }
    print_refused(json_object_get(result, "refused"));
}

int cli_peers(const struct cli *cli)
{
    json_t *result;
    int rc = cli_ask(cli, cli_request(cli, "peers"), PEERS_TIMEOUT_S, &result);

    if (rc == CLI_OK && cli->json)
        cli_print_json(json_incref(result));
    else if (rc == CLI_OK)
        print_peers(result);
    json_decref(result);
    return rc;
}
