/* blob_world.h - a right blob of a CA group as JSON, for tests to break one field of. */
#ifndef PEAL_TESTS_BLOB_WORLD_H
#define PEAL_TESTS_BLOB_WORLD_H

#include "daemon/blob.h"
#include "tests/unit/forge.h"

enum { BLOB_WORLD_GROUP = 0x11, BLOB_WORLD_CA = 1 };

/* A CA certificate of the group whose id is 20 times `group`. */
static inline const char *blob_world_ca(uint8_t group, char pem[FORGE_PEM_SIZE])
{
    EVP_PKEY *key = forge_key(BLOB_WORLD_CA);
    char names[128];
    struct forge f = forge_ca(key, "lab", names, sizeof names, group);

    forge_pem(&f, pem, FORGE_PEM_SIZE);
    EVP_PKEY_free(key);
    return pem;
}

static inline json_t *blob_world_new(void)
{
    char pem[FORGE_PEM_SIZE];

    return json_pack(
        "{s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:[s], s:{s:s, s:s, s:s, s:i}, s:[s, s], s:[], "
        "s:b}",
        "peal", 1, "group", "lab", "group_id", "1111111111111111111111111111111111111111",
        "group_key", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "ca",
        blob_world_ca(BLOB_WORLD_GROUP, pem), "user", "alice", "secret", "s3cret", "server",
        "https://ca.example.net:8443", "server_pins",
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "network", "ipv4", "10.77.0.0/16", "ipv6",
        "fd00:1:2::/48", "domain", "lab.peal", "lease_s", 86400, "bootstrap", "a.example.net:4747",
        "[2001:db8::1]:4747", "public_bootstrap", "psk", 0);
}

/* Takes the reference. */
static inline struct blob *blob_world_parse(json_t *o, char why[BLOB_WHY_SIZE])
{
    char *text = json_dumps(o, 0);
    struct blob *b = blob_parse(text, strlen(text), why);

    free(text);
    json_decref(o);
    return b;
}

#endif
