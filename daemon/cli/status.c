#include "daemon/cli/cli.h"

#include <stdio.h>
#include <string.h>

enum { STATUS_TIMEOUT_S = 10 };

static void print_field(const char *name, const char *value)
{
    printf("  %-12s %s\n", name, value);
}

static void print_neighbours(const json_t *network)
{
    const json_t *n = json_object_get(network, "neighbours");
    size_t near =
        json_array_size(json_object_get(n, "left")) + json_array_size(json_object_get(n, "right"));
    json_int_t members = json_integer_value(json_object_get(network, "ring_size_estimate"));
    char text[128];

    snprintf(text, sizeof text, "about %lld member%s; %zu near connections, %lld shortcuts",
             (long long)members, members == 1 ? "" : "s", near,
             (long long)json_integer_value(json_object_get(network, "shortcuts")));
    print_field("ring", text);
}

static void print_certificate(const json_t *network)
{
    const json_t *c = json_object_get(network, "certificate");
    const char *until = text_of(c, "not_after", NULL);
    char text[128];

    if (!until)
        return;
    snprintf(text, sizeof text, "valid until %s", until);
    print_field("certificate", text);
}

static void print_network(const json_t *network)
{
    const char *state = text_of(network, "state", "?"), *reason = text_of(network, "reason", NULL);
    char host[320];

    printf("\n%s: %s%s%s\n", text_of(network, "name", "?"), state, reason ? ": " : "",
           reason ? reason : "");
    if (!text_of(network, "id", NULL))
        return;
    snprintf(host, sizeof host, "%s.%s", text_of(network, "hostname", "?"),
             text_of(network, "domain", "?"));
    print_field("name", host);
    print_field("ipv4", text_of(network, "ipv4", "none yet"));
    print_field("ipv6", text_of(network, "ipv6", "none yet"));
    print_field("device", text_of(network, "device", "none"));
    print_field("id", text_of(network, "id", "?"));
    print_neighbours(network);
    print_certificate(network);
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
    json_array_foreach(networks, i, network) print_network(network);
    if (json_array_size(networks) == 0)
        printf("no group is joined; see: peal join --help\n");
}

int cli_status(const struct cli *cli)
{
    json_t *result;
    int rc = cli_ask(cli, cli_request(cli, "status"), STATUS_TIMEOUT_S, &result);

    if (rc == CLI_OK && cli->json)
        cli_print_json(json_incref(result));
    else if (rc == CLI_OK)
        print_status(result);
    json_decref(result);
    return rc;
}
