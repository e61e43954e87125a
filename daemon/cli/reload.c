#include "daemon/cli/cli.h"

#include <stdio.h>

enum { RELOAD_TIMEOUT_S = 10 };

static void print_reload(const json_t *r)
{
    const json_t *applied = json_object_get(r, "applied");
    const json_t *restart = json_object_get(r, "needs_restart");
    char list[1024];

    if (json_array_size(applied) + json_array_size(restart) == 0)
        printf("nothing changed\n");
    if (json_array_size(applied) > 0)
        printf("changed: %s\n", list_text(applied, list, sizeof list));
    if (json_array_size(restart) > 0)
        printf("takes effect when peald is restarted: %s\n", list_text(restart, list, sizeof list));
}

int cli_reload(const struct cli *cli)
{
    json_t *result;
    int rc = cli_ask(cli, cli_request(cli, "reload"), RELOAD_TIMEOUT_S, &result);

    if (rc == CLI_OK && cli->json)
        cli_print_json(json_incref(result));
    else if (rc == CLI_OK)
        print_reload(result);
    json_decref(result);
    return rc;
}
