#include "daemon/cli/cli.h"

#include "daemon/hostport.h"
#include "overlay/core/id.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { KEY_LEN = 32, LEASE_S = 86400, PREFIX_MIN = 8, PREFIX_MAX = 29 };

/* RFC 4193 3.2.2 asks for 40 random bits; the hash of a random group id has them. */
static void unique_local(const struct id *group, char out[NET_TEXT_SIZE])
{
    static const char label[] = "peal ula";
    uint8_t hash[crypto_hash_sha256_BYTES];
    crypto_hash_sha256_state state;
    struct net net = {.prefix = 48};
    uint8_t bytes[16] = {0xfd};

    crypto_hash_sha256_init(&state);
    crypto_hash_sha256_update(&state, (const unsigned char *)label, sizeof label - 1);
    crypto_hash_sha256_update(&state, group->b, ID_LEN);
    crypto_hash_sha256_final(&state, hash);
    memcpy(bytes + 1, hash, 5);
    net.addr = addr_v6(bytes);
    net_text(&net, out);
}

/* Private to its last address: anything else would hide a part of the Internet from members. */
static bool range_valid(const struct net *net)
{
    struct addr first, last;

    if (net->addr.family != 4 || net->prefix < PREFIX_MIN || net->prefix > PREFIX_MAX)
        return false;
    first = net_first(net);
    last = net_host(net, net_hosts(net) - 1);
    return addr_is_private(&first) && addr_is_private(&last);
}

static int read_range(const struct cli *cli, char out[NET_TEXT_SIZE])
{
    struct net net;

    if (!cli->ipv4) {
        snprintf(out, NET_TEXT_SIZE, "10.%u.0.0/16", 1 + randombytes_uniform(254));
        return CLI_OK;
    }
    if (!net_parse(&net, cli->ipv4) || !range_valid(&net))
        return cli_error(cli, PROTOCOL_USAGE,
                         "--ipv4 %s: expected a private range like 10.77.0.0/16, from /%d to /%d",
                         cli->ipv4, PREFIX_MIN, PREFIX_MAX);
    net.addr = net_first(&net);
    net_text(&net, out);
    return CLI_OK;
}

static int read_bootstrap(const struct cli *cli, const char *option, const char *value,
                          json_t *list)
{
    struct hostport hp;
    char *copy, *rest = NULL;
    int rc = CLI_OK;

    copy = strdup(value ? value : "");
    if (!copy)
        return cli_error(cli, PROTOCOL_FAILED, "out of memory");
    for (char *w = strtok_r(copy, ", ", &rest); w && rc == CLI_OK;
         w = strtok_r(NULL, ", ", &rest)) {
        if (!hostport_parse(&hp, w))
            rc = cli_error(cli, PROTOCOL_USAGE, "%s %s: expected host:port", option, w);
        else if (json_array_size(list) == HOSTPORTS_MAX)
            rc = cli_error(cli, PROTOCOL_USAGE, "%s: more than %d", option, HOSTPORTS_MAX);
        else
            json_array_append_new(list, json_string(w));
    }
    free(copy);
    return rc;
}

/* `peal new lab > lab.peal` is how the file is made, and whoever reads it is a member. */
static void keep_secret(void)
{
    struct stat st;

    if (fstat(STDOUT_FILENO, &st) == 0 && S_ISREG(st.st_mode))
        (void)!fchmod(STDOUT_FILENO, st.st_mode & 0700);
}

/* The blob's one line of fields stands here and in daemon/blob.c, which reads it back. */
static void print_blob(const char *name, const char *ipv4, json_t *bootstrap, json_t *meeting)
{
    char key_text[sodium_base64_ENCODED_LEN(KEY_LEN, sodium_base64_VARIANT_ORIGINAL)];
    char id_hex[ID_TEXT_SIZE], ipv6[NET_TEXT_SIZE], domain[LABEL_MAX + 8];
    uint8_t key[KEY_LEN];
    struct id group;
    json_t *blob;

    randombytes_buf(group.b, sizeof group.b);
    randombytes_buf(key, sizeof key);
    sodium_bin2base64(key_text, sizeof key_text, key, sizeof key, sodium_base64_VARIANT_ORIGINAL);
    unique_local(&group, ipv6);
    snprintf(domain, sizeof domain, "%s.peal", name);
    blob = json_pack("{s:i, s:s, s:s, s:s, s:n, s:n, s:n, s:n, s:[], s:{s:s, s:s, s:s, s:i}, s:O, "
                     "s:O, s:b}",
                     "peal", 1, "group", name, "group_id", id_text(&group, id_hex), "group_key",
                     key_text, "ca", "user", "secret", "server", "server_pins", "network", "ipv4",
                     ipv4, "ipv6", ipv6, "domain", domain, "lease_s", LEASE_S, "bootstrap",
                     bootstrap, "public_bootstrap", meeting, "psk", 1);
    keep_secret();
    json_dumpf(blob, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(blob);
    sodium_memzero(key, sizeof key);
    sodium_memzero(key_text, sizeof key_text);
}

int cli_new(const struct cli *cli)
{
    char name[LABEL_MAX + 1], ipv4[NET_TEXT_SIZE];
    json_t *bootstrap, *meeting;
    int rc;

    if (!label_normalize(name, sizeof name, cli->words[0], strlen(cli->words[0])))
        return cli_error(cli, PROTOCOL_USAGE,
                         "\"%s\" cannot be a group's name: one label of letters, digits and inner "
                         "hyphens",
                         cli->words[0]);
    if (sodium_init() < 0)
        return cli_error(cli, PROTOCOL_FAILED, "libsodium cannot start");
    bootstrap = json_array();
    meeting = json_array();
    rc = read_range(cli, ipv4);
    if (rc == CLI_OK)
        rc = read_bootstrap(cli, "--bootstrap", cli->bootstrap, bootstrap);
    if (rc == CLI_OK)
        rc = read_bootstrap(cli, "--public-bootstrap", cli->public_bootstrap, meeting);
    if (rc == CLI_OK)
        print_blob(name, ipv4, bootstrap, meeting);
    json_decref(bootstrap);
    json_decref(meeting);
    return rc;
}
