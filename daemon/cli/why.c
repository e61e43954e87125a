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

/* What was tried to reach it directly. */
static void print_candidates(const json_t *result)
{
    const json_t *c, *next = json_object_get(result, "next_try_s");
    char rtt[32], span[32];
    size_t i;

    json_array_foreach(json_object_get(result, "candidates"), i, c)
    {
        printf("  tried     %s: %s", text_of(c, "endpoint", "?"), text_of(c, "outcome", "?"));
        if (json_is_number(json_object_get(c, "rtt_ms")))
            printf(", %s", ms_text(json_object_get(c, "rtt_ms"), rtt));
        printf("\n");
    }
    printf("  our NAT   mapping %s, filtering %s\n",
           text_of(json_object_get(result, "nat"), "mapping_detail", "unknown"),
           text_of(json_object_get(result, "nat"), "filtering", "unknown"));
    if (json_is_number(next))
        printf("  next try  in %s\n", span_text(json_number_value(next), span));
}

static void print_why(const json_t *result)
{
    const json_t *refused = json_object_get(result, "refused"), *r;
    const json_t *peer = json_object_get(result, "peer");
    size_t i;

    if (json_is_object(peer))
        print_peer(peer);
    print_candidates(result);
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
