#include "daemon/cli/cli.h"

#include <stdio.h>

enum { METRICS_TIMEOUT_S = 10 };

int cli_metrics(const struct cli *cli)
{
    json_t *result;
    int rc = cli_ask(cli, cli_request(cli, "metrics"), METRICS_TIMEOUT_S, &result);

    if (rc == CLI_OK && cli->json)
        cli_print_json(json_incref(result));
    else if (rc == CLI_OK)
        fputs(text_of(result, "text", ""), stdout);
    json_decref(result);
    return rc;
}
