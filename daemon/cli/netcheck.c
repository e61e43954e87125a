#include "daemon/cli/cli.h"

#include <stdio.h>
#include <string.h>

enum { NETCHECK_TIMEOUT_S = 10 };

static const char *known_text(const json_t *v)
{
    return json_is_boolean(v) ? (json_is_true(v) ? "yes" : "no") : "unknown";
}

/* How long a mapping was seen to live without a packet, and not to live. */
static void print_life(const json_t *nat)
{
    const json_t *lives = json_object_get(nat, "mapping_lives_s");
    const json_t *dies = json_object_get(nat, "mapping_dies_s");
    char span[32];

    if (json_is_number(lives))
        printf("remembers    for %s at least\n", span_text(json_number_value(lives), span));
    else if (json_is_number(dies))
        printf("remembers    for less than %s\n", span_text(json_number_value(dies), span));
    else
        printf("remembers    unknown\n");
}

static const char *udp_text(const json_t *udp)
{
    if (!json_is_boolean(udp))
        return "unknown: there is no neighbour yet";
    return json_is_true(udp) ? "gets through"
                             : "does not get through: neighbours answer over TCP only";
}

static void print_netcheck(const json_t *r)
{
    const json_t *nat = json_object_get(r, "nat");
    const json_t *keepalive = json_object_get(nat, "keepalive_s");
    char list[1024], span[32];

    printf("UDP port     %lld\n", (long long)json_integer_value(json_object_get(r, "port")));
    printf("UDP          %s\n", udp_text(json_object_get(r, "udp")));
    printf("addresses    %s\n", list_text(json_object_get(r, "endpoints"), list, sizeof list));
    printf("mapped       %s\n", text_of(r, "mapped", "-"));
    printf("seen as      %s\n", list_text(json_object_get(nat, "reflexive"), list, sizeof list));
    printf("NAT mapping  %s\n", text_of(nat, "mapping_detail", "unknown"));
    printf("filtering    %s\n", text_of(nat, "filtering", "unknown"));
    printf("keeps ports  %s\n", known_text(json_object_get(nat, "keeps_ports")));
    printf("hairpin      %s\n", known_text(json_object_get(nat, "hairpin")));
    print_life(nat);
    if (json_is_number(keepalive))
        printf("keepalive    every %s\n", span_text(json_number_value(keepalive), span));
    else
        printf("keepalive    none needed\n");
}

int cli_netcheck(const struct cli *cli)
{
    json_t *result;
    int rc = cli_ask(cli, cli_request(cli, "netcheck"), NETCHECK_TIMEOUT_S, &result);

    if (rc == CLI_OK && cli->json)
        cli_print_json(json_incref(result));
    else if (rc == CLI_OK)
        print_netcheck(result);
    json_decref(result);
    return rc;
}
