#include "daemon/cli/cli.h"

#include <stdio.h>
#include <string.h>

enum { WALK_TIMEOUT_S = 120 };

/* Names come one by one, so the columns cannot wait for the widest. */
static void print_member(void *ctx, const json_t *m)
{
    char id[9];

    printf("%-16s  %-20s  %s\n", text_of(m, "ipv4", "-"), text_of(m, "hostname", "-"),
           short_id(json_object_get(m, "id"), id));
    fflush(stdout);
}

static void collect_member(void *ctx, const json_t *m)
{
    json_array_append(ctx, (json_t *)m);
}

int cli_members(const struct cli *cli)
{
    json_t *members = json_array(), *result;
    struct client *c;
    int rc = client_open(&c, cli);

    if (rc == CLI_OK) {
        rc = client_ask(c, cli_request(cli, "members"), WALK_TIMEOUT_S,
                        cli->json ? collect_member : print_member, members, &result);
        if (rc == CLI_OK && cli->json)
            cli_print_json(json_pack("{s:s, s:O, s:O}", "schema", "peal.members/1", "network",
                                     json_object_get(result, "network"), "members", members));
        json_decref(result);
    }
    client_close(c);
    json_decref(members);
    return rc;
}
