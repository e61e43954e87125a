#include "daemon/cli/cli.h"

#include "daemon/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    BLOB_MAX = 64 * 1024, /* as peald's: daemon/blob.h */
    ENROL_TIMEOUT_S =
        120, /* the service has its own, shorter ones; this is for a peald that hangs */
};

static void set_text(json_t *request, const char *key, const char *text)
{
    if (text)
        json_object_set_new(request, key, json_string(text));
}

static json_t *join_request(const struct cli *cli, const char *blob, size_t len)
{
    json_t *r = json_pack("{s:s, s:o}", "command", "join", "blob", json_stringn(blob, len));

    if (!r)
        return NULL; /* not UTF-8, so no JSON either */
    set_text(r, "hostname", cli->hostname);
    set_text(r, "device", cli->device);
    set_text(r, "mode", cli->mode);
    set_text(r, "bridge", cli->bridge);
    if (cli->wait_s > 0)
        json_object_set_new(r, "wait_s", json_integer(cli->wait_s));
    return r;
}

static void print_joined(const json_t *network)
{
    const char *name = text_of(network, "name", "?");

    if (strcmp(text_of(network, "state", ""), "up") == 0)
        printf("%s is up: %s.%s, %s, on %s\n", name, text_of(network, "hostname", "?"),
               text_of(network, "domain", "?"), text_of(network, "ipv4", "no address"),
               text_of(network, "device", "no device"));
    else
        printf("joined %s; see: peal status\n", name);
}

int cli_join(const struct cli *cli)
{
    int wait_s = cli->wait_s > 0 ? cli->wait_s : 0;
    json_t *request, *result;
    char *blob;
    size_t len;
    int rc = file_read(cli->words[0], BLOB_MAX, &blob, &len);

    if (rc)
        return cli_error(cli, PROTOCOL_FAILED, "cannot read %s: %s", cli->words[0], strerror(-rc));
    request = join_request(cli, blob, len);
    explicit_bzero(blob, len);
    free(blob);
    if (!request)
        return cli_error(cli, PROTOCOL_BAD_BLOB, "%s is no blob: it is not text", cli->words[0]);
    rc = cli_ask(cli, request, ENROL_TIMEOUT_S + wait_s, &result);
    if (rc == CLI_OK && cli->json)
        cli_print_json(json_incref(result));
    else if (rc == CLI_OK)
        print_joined(json_object_get(result, "network"));
    json_decref(result);
    return rc;
}
