#include "daemon/cli/cli.h"

#include <stdio.h>
#include <string.h>

enum { CRAWL_TIMEOUT_S = 120 };

static void collect(void *ctx, const json_t *node)
{
    json_array_append(ctx, (json_t *)node);
}

static void names_of(const json_t *ids, char *out, size_t size)
{
    size_t len = 0, i;
    const json_t *v;
    char id[9];

    snprintf(out, size, "-");
    json_array_foreach(ids, i, v)
    {
        if (len + sizeof id + 1 > size)
            break;
        len += (size_t)snprintf(out + len, size - len, "%s%s", len ? " " : "", short_id(v, id));
    }
}

static void print_nodes(const json_t *nodes, json_int_t inconsistent)
{
    static const char *const headings[] = {"ID", "NAME", "IPV4", "LEFT", "RIGHT", "CONSISTENT"};
    struct table *t = table_new(headings, sizeof headings / sizeof headings[0]);
    char id[9], side[64];
    const json_t *n;
    size_t i;

    json_array_foreach(nodes, i, n)
    {
        table_cell(t, short_id(json_object_get(n, "id"), id));
        table_cell(t, text_of(n, "hostname", "-"));
        table_cell(t, text_of(n, "ipv4", "-"));
        names_of(json_object_get(n, "left"), side, sizeof side);
        table_cell(t, side);
        names_of(json_object_get(n, "right"), side, sizeof side);
        table_cell(t, side);
        table_cell(t, json_is_true(json_object_get(n, "consistent")) ? "yes" : "NO");
    }
    table_print(t);
    printf("%zu nodes, %lld inconsistent\n", json_array_size(nodes), (long long)inconsistent);
}

/* For graphviz: the ring as its nodes see it, each one's nearest neighbour on the right drawn bold.
 */
static void print_dot(const json_t *nodes)
{
    const json_t *n, *right;
    size_t i, k;
    char id[9];

    printf("digraph ring {\n  layout=circo;\n  node [shape=box, fontname=\"sans-serif\"];\n");
    json_array_foreach(nodes, i, n)
    {
        const char *self = text_of(n, "id", "");

        printf("  \"%s\" [label=\"%s\\n%s\"%s];\n", self,
               text_of(n, "hostname", short_id(json_object_get(n, "id"), id)),
               text_of(n, "ipv4", ""),
               json_is_true(json_object_get(n, "consistent")) ? "" : ", color=red");
        json_array_foreach(json_object_get(n, "right"), k, right)
            printf("  \"%s\" -> \"%s\"%s;\n", self, json_string_value(right),
                   k == 0 ? " [style=bold]" : " [color=gray]");
    }
    printf("}\n");
}

static void print_crawl(const struct cli *cli, json_t *nodes, json_int_t inconsistent)
{
    if (cli->json)
        cli_print_json(json_pack("{s:s, s:O, s:I}", "schema", "peal.crawl/1", "nodes", nodes,
                                 "inconsistent", inconsistent));
    else if (cli->dot)
        print_dot(nodes);
    else
        print_nodes(nodes, inconsistent);
}

int cli_crawl(const struct cli *cli)
{
    json_t *nodes = json_array(), *result;
    struct client *c;
    int rc = client_open(&c, cli);

    if (rc == CLI_OK) {
        rc = client_ask(c, cli_request(cli, "crawl"), CRAWL_TIMEOUT_S, collect, nodes, &result);
        if (rc == CLI_OK)
            print_crawl(cli, nodes, json_integer_value(json_object_get(result, "inconsistent")));
        json_decref(result);
    }
    client_close(c);
    json_decref(nodes);
    return rc;
}
