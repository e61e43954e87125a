#include "daemon/cli/cli.h"

#include <stdio.h>
#include <string.h>

enum { WHY_TIMEOUT_S = 15 };

static void print_peer(const json_t *p)
{
    char rtt[32], roles[64], span[32];
    const json_t *age = json_object_get(p, "age_s");

    printf("%s (%s), id %s\n", text_of(p, "hostname", "unknown name"), text_of(p, "ipv4", "-"),
           text_of(p, "id", "?"));
    if (text_of(p, "path", NULL))
        printf("  path      %s%s%s, round trip %s, up %s\n", text_of(p, "path", "?"),
               text_of(p, "endpoint", NULL) ? " to " : "", text_of(p, "endpoint", ""),
               ms_text(json_object_get(p, "rtt_ms"), rtt),
               json_is_number(age) ? span_text(json_number_value(age), span) : "-");
    else
        printf("  path      none: the session is not up\n");
    printf("  because   %s\n", text_of(p, "why", "nothing is known"));
    printf("  roles     %s\n", list_text(json_object_get(p, "roles"), roles, sizeof roles));
    printf("  cipher    %s\n", text_of(p, "cipher", "no data sent yet"));
}

static void print_why(const json_t *result)
{
    const json_t *refused = json_object_get(result, "refused"), *r;
    const json_t *peer = json_object_get(result, "peer");
    size_t i;

    if (json_is_object(peer))
        print_peer(peer);
    json_array_foreach(refused, i, r) printf("refused a handshake from %s: %s\n",
                                             text_of(r, "endpoint", "?"), text_of(r, "why", "?"));
}

int cli_why(const struct cli *cli)
{
    json_t *request = cli_request(cli, "why"), *result;
    int rc;

    json_object_set_new(request, "who", json_string(cli->words[0]));
    rc = cli_ask(cli, request, WHY_TIMEOUT_S, &result);
    if (rc == CLI_OK && cli->json)
        cli_print_json(json_incref(result));
    else if (rc == CLI_OK)
        print_why(result);
    json_decref(result);
    return rc;
}
