#include "daemon/cli/cli.h"

#include <stdio.h>
#include <string.h>

enum { GATEWAY_TIMEOUT_S = 10 };

/* Full tunnels are not offered by this version: the list is empty, off is true already, and the
 * rest says so. */
static const char *request_for(const struct cli *cli)
{
    if (cli->words_count != 1)
        return NULL;
    if (strcmp(cli->words[0], "list") == 0)
        return "gateway_list";
    return strcmp(cli->words[0], "off") == 0 ? "gateway_off" : NULL;
}

static bool is_command(const struct cli *cli)
{
    return (strcmp(cli->words[0], "use") == 0 && cli->words_count == 2) ||
           (strcmp(cli->words[0], "auto") == 0 && cli->words_count == 1);
}

int cli_gateway(const struct cli *cli)
{
    const char *command = request_for(cli);
    json_t *result;
    int rc;

    if (!command && is_command(cli))
        return cli_error(cli, PROTOCOL_FAILED, "no member offers a full tunnel");
    if (!command)
        return cli_error(cli, PROTOCOL_USAGE, "usage: peal gateway list|use WHO|auto|off");
    rc = cli_ask(cli, cli_request(cli, command), GATEWAY_TIMEOUT_S, &result);
    if (rc == CLI_OK && cli->json)
        cli_print_json(json_incref(result));
    else if (rc == CLI_OK)
        printf("no member offers a full tunnel\n");
    json_decref(result);
    return rc;
}
