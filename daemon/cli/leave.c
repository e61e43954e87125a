#include "daemon/cli/cli.h"

#include <stdio.h>

enum { LEAVE_TIMEOUT_S = 10 };

int cli_leave(const struct cli *cli)
{
    json_t *request = cli_request(cli, "leave"), *result;
    int rc;

    if (cli->words_count == 1)
        json_object_set_new(request, "network", json_string(cli->words[0]));
    json_object_set_new(request, "purge", json_boolean(cli->purge));
    rc = cli_ask(cli, request, LEAVE_TIMEOUT_S, &result);
    if (rc == CLI_OK && cli->json)
        cli_print_json(json_incref(result));
    else if (rc == CLI_OK)
        printf("left %s%s\n", text_of(result, "left", "?"),
               cli->purge ? "; its key and certificate are gone" : "");
    json_decref(result);
    return rc;
}
