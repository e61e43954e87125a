#include "daemon/cli/cli.h"

#include <stdio.h>
#include <string.h>

enum { NETCHECK_TIMEOUT_S = 10 };

static void print_netcheck(const json_t *r)
{
    const json_t *nat = json_object_get(r, "nat");
    char list[1024];

    printf("UDP port     %lld\n", (long long)json_integer_value(json_object_get(r, "port")));
    printf("addresses    %s\n", list_text(json_object_get(r, "endpoints"), list, sizeof list));
    printf("seen as      %s\n", list_text(json_object_get(nat, "reflexive"), list, sizeof list));
    printf("NAT mapping  %s\n", text_of(nat, "mapping", "unknown"));
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
