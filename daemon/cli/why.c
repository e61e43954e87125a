#include "daemon/cli/cli.h"

#include <stdio.h>
#include <string.h>

enum { WHY_TIMEOUT_S = 15 };

/* What made the path in use take the place of the one before. */
static const char *change_text(const char *word)
{
    static const struct {
        const char *word, *text;
    } texts[] = {
        {"better", "this one is better"},          {"silent", "that one answered no more"},
        {"lost", "that one was closed"},           {"roamed", "its packets come from here now"},
        {"chosen", "the other end uses this one"},
    };

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (strcmp(texts[i].word, word) == 0)
            return texts[i].text;
    }
    return "unknown";
}

static void print_path(const json_t *p)
{
    char rtt[32], span[32], by[9];
    const char *before = text_of(p, "path_before", NULL);

    printf("  path      %s", text_of(p, "path", "?"));
    if (text_of(p, "relay", NULL))
        printf(" by %s", name_of(p, "relay_hostname", "relay", by));
    else if (text_of(p, "endpoint", NULL))
        printf(" to %s", text_of(p, "endpoint", "?"));
    printf(", round trip %s, for %s", ms_text(json_object_get(p, "rtt_ms"), rtt),
           age_text(json_object_get(p, "path_age_s"), span));
    if (before)
        printf("; before it %s: %s", before, change_text(text_of(p, "path_change", "")));
    printf("\n");
}

static void print_peer(const json_t *p)
{
    char roles[64], span[32];

    printf("%s (%s), id %s\n", text_of(p, "hostname", "unknown name"), text_of(p, "ipv4", "-"),
           text_of(p, "id", "?"));
    if (text_of(p, "path", NULL))
        print_path(p);
    else
        printf("  path      none: the session is not up\n");
    printf("  because   %s\n", text_of(p, "why", "nothing is known"));
    printf("  session   up %s\n", age_text(json_object_get(p, "age_s"), span));
    printf("  roles     %s\n", list_text(json_object_get(p, "roles"), roles, sizeof roles));
    printf("  cipher    %s\n", text_of(p, "cipher", "no data sent yet"));
}

static void print_relays(const json_t *relays)
{
    const json_t *r;
    char by[9], rtt[32], span[32];
    size_t i;

    json_array_foreach(relays, i, r)
    {
        printf("  relay     %s: %s", name_of(r, "hostname", "id", by), text_of(r, "state", "?"));
        if (json_is_number(json_object_get(r, "rtt_ms")))
            printf(", round trip %s", ms_text(json_object_get(r, "rtt_ms"), rtt));
        if (json_is_number(json_object_get(r, "again_s")))
            printf(", not asked for another %s", age_text(json_object_get(r, "again_s"), span));
        printf("\n");
    }
}

/* One pair: an address of the peer's, and ours as the peer sees it from there. */
static void print_candidate(const json_t *c)
{
    json_int_t times = json_integer_value(json_object_get(c, "times_tried"));
    const char *local = text_of(c, "local", NULL);
    char rtt[32], span[32];

    printf("  tried     %s%s%s%s%s: %s", text_of(c, "endpoint", "?"),
           json_is_true(json_object_get(c, "tcp")) ? " over TCP" : "", local ? " from " : "",
           local ? local : "", json_is_false(json_object_get(c, "named")) ? ", heard from" : "",
           text_of(c, "outcome", "?"));
    if (json_is_number(json_object_get(c, "rtt_ms")))
        printf(", %s", ms_text(json_object_get(c, "rtt_ms"), rtt));
    else if (times > 0)
        printf(", %lld time%s, last %s ago", (long long)times, times == 1 ? "" : "s",
               age_text(json_object_get(c, "tried_ago_s"), span));
    printf("\n");
}

static void print_nat(const char *whose, const json_t *nat)
{
    if (json_is_object(nat))
        printf("  %s NAT   mapping %s, filtering %s\n", whose,
               text_of(nat, "mapping_detail", "unknown"), text_of(nat, "filtering", "unknown"));
    else
        printf("  %s NAT   not told\n", whose);
}

static bool says(const json_t *nat, const char *key, const char *word)
{
    return strcmp(text_of(nat, key, ""), word) == 0;
}

/* What two NATs mean for a direct path, where both are known well enough to tell; udp false: ours
 * lets none out. */
static void print_nats_meet(const json_t *ours, const json_t *theirs, const json_t *udp)
{
    bool we_change = says(ours, "mapping", "endpoint-dependent");
    bool they_change = says(theirs, "mapping", "endpoint-dependent");
    const char *text = NULL;

    if (json_is_false(udp))
        text = "UDP does not get through here: neighbours answer over TCP only";
    else if (we_change && they_change)
        text = "both NATs take another port for each remote, which the other end cannot know";
    else if (we_change && says(theirs, "filtering", "endpoint-dependent"))
        text =
            "our NAT takes another port for each remote, and its NAT may let in only ports that it "
            "sent to before";
    else if (they_change && says(ours, "filtering", "endpoint-dependent"))
        text = "its NAT takes another port for each remote, and ours may let in only ports that it "
               "sent to before";
    if (text)
        printf("  so        %s\n", text);
}

/* When what is tried again. */
static void print_next(const json_t *result)
{
    const json_t *next = json_object_get(result, "next_try_s");
    const json_t *tcp = json_object_get(result, "next_tcp_s");
    const json_t *search = json_object_get(result, "port_search");
    char span[32];

    if (json_is_object(search))
        printf("  searching %lld of %lld ports of its NAT tried\n",
               (long long)json_integer_value(json_object_get(search, "sent")),
               (long long)json_integer_value(json_object_get(search, "ports")));
    if (json_is_number(next))
        printf("  next try  in %s\n", age_text(next, span));
    if (json_is_number(tcp))
        printf("  next TCP  in %s\n", age_text(tcp, span));
}

/* What was tried to reach it directly. */
static void print_tries(const json_t *result)
{
    const json_t *c, *peer = json_object_get(result, "peer");
    const json_t *ours = json_object_get(result, "nat"), *its = json_object_get(result, "peer_nat");
    char list[512];
    size_t i;

    json_array_foreach(json_object_get(result, "candidates"), i, c) print_candidate(c);
    printf("  it tries  %s\n",
           list_text(json_object_get(result, "local_endpoints"), list, sizeof list));
    print_nat("our", ours);
    print_nat("its", its);
    if (says(peer, "path", "relay") || says(peer, "path", "overlay"))
        print_nats_meet(ours, its, json_object_get(result, "udp"));
    print_next(result);
}

static void print_why(const json_t *result)
{
    const json_t *refused = json_object_get(result, "refused"), *r;
    const json_t *peer = json_object_get(result, "peer");
    size_t i;

    if (json_is_object(peer)) {
        print_peer(peer);
        print_relays(json_object_get(result, "relays"));
        print_tries(result);
    }
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
