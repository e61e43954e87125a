#include "daemon/cli/cli.h"

#include <stdio.h>
#include <string.h>

enum { LOOKUP_TIMEOUT_S = 15 };

static void print_lookup(const json_t *r)
{
    const json_t *lease = json_object_get(r, "lease_s");
    char span[32];

    printf("name   %s\n", text_of(r, "hostname", "-"));
    printf("ipv4   %s\n", text_of(r, "ipv4", "-"));
    printf("ipv6   %s\n", text_of(r, "ipv6", "-"));
    printf("id     %s\n", text_of(r, "id", "-"));
    if (json_integer_value(lease) > 0)
        printf("lease  %s left\n", span_text(json_number_value(lease), span));
}

int cli_lookup(const struct cli *cli)
{
    json_t *request = cli_request(cli, "lookup"), *result;
    int rc;

    json_object_set_new(request, "who", json_string(cli->words[0]));
    rc = cli_ask(cli, request, LOOKUP_TIMEOUT_S, &result);
    if (rc == CLI_OK && !json_is_true(json_object_get(result, "found")))
        rc = cli_error(cli, PROTOCOL_NOT_FOUND, "nobody has %s", cli->words[0]);
    else if (rc == CLI_OK && cli->json)
        cli_print_json(json_incref(result));
    else if (rc == CLI_OK)
        print_lookup(result);
    json_decref(result);
    return rc;
}
