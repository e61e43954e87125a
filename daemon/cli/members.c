#include "daemon/cli/cli.h"

#include <stdio.h>
#include <string.h>

enum { WALK_TIMEOUT_S = 120 };

/* Who has heard of the newest removal that anybody knows. */
struct roll {
    json_t *members;
    long long answered, newest, know_it;
    bool json;
};

static void count_removals(struct roll *roll, const json_t *m)
{
    long long number = json_integer_value(json_object_get(m, "removals"));

    if (!json_is_true(json_object_get(m, "answered")))
        return;
    roll->answered++;
    if (number > roll->newest) {
        roll->newest = number;
        roll->know_it = 0;
    }
    roll->know_it += number == roll->newest;
}

/* Names come one by one, so the columns cannot wait for the widest. */
static void print_member(const json_t *m)
{
    char id[9];

    printf("%-16s  %-20s  %s\n", text_of(m, "ipv4", "-"), text_of(m, "hostname", "-"),
           short_id(json_object_get(m, "id"), id));
    fflush(stdout);
}

static void on_member(void *ctx, const json_t *m)
{
    struct roll *roll = ctx;

    count_removals(roll, m);
    if (roll->json)
        json_array_append(roll->members, (json_t *)m);
    else
        print_member(m);
}

static void print_roll(const struct roll *roll, const json_t *result)
{
    if (roll->json)
        cli_print_json(json_pack("{s:s, s:O, s:O, s:{s:I, s:I, s:I}}", "schema", "peal.members/1",
                                 "network", json_object_get(result, "network"), "members",
                                 roll->members, "removals", "number", (json_int_t)roll->newest,
                                 "known_to", (json_int_t)roll->know_it, "answered",
                                 (json_int_t)roll->answered));
    else if (roll->newest > 0)
        printf("removals up to number %lld: known to %lld of %lld that answered\n", roll->newest,
               roll->know_it, roll->answered);
}

int cli_members(const struct cli *cli)
{
    struct roll roll = {.members = json_array(), .json = cli->json};
    struct client *c;
    json_t *result;
    int rc = client_open(&c, cli);

    if (rc == CLI_OK) {
        rc = client_ask(c, cli_request(cli, "members"), WALK_TIMEOUT_S, on_member, &roll, &result);
        if (rc == CLI_OK)
            print_roll(&roll, result);
        json_decref(result);
    }
    client_close(c);
    json_decref(roll.members);
    return rc;
}
