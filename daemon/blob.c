#include "daemon/blob.h"

#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOB_VERSION = 1, BLOB_PREFIX_MIN = 8, BLOB_PREFIX_MAX = 29 };

static int refuse(char why[BLOB_WHY_SIZE], const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static int refuse(char why[BLOB_WHY_SIZE], const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(why, BLOB_WHY_SIZE, fmt, ap);
    va_end(ap);
    return -ERR_FORMAT;
}

/* A field's text; "" for one that is absent or null and need not be there. NULL: refused. */
static const char *text_of(const json_t *object, const char *key, bool required, size_t size,
                           char why[BLOB_WHY_SIZE])
{
    const json_t *v = json_object_get(object, key);
    const char *text = json_string_value(v);

    if (!required && (!v || json_is_null(v)))
        return "";
    if (!v) {
        refuse(why, "\"%s\" is missing", key);
        return NULL;
    }
    if (!text || strlen(text) != json_string_length(v)) {
        refuse(why, "\"%s\" is not a text", key);
        return NULL;
    }
    if (required && text[0] == '\0') {
        refuse(why, "\"%s\" is empty", key);
        return NULL;
    }
    if (strlen(text) >= size) {
        refuse(why, "\"%s\" is longer than %zu characters", key, size - 1);
        return NULL;
    }
    return text;
}

static int copy_text(char *out, size_t size, const json_t *object, const char *key, bool required,
                     char why[BLOB_WHY_SIZE])
{
    const char *text = text_of(object, key, required, size, why);

    if (!text)
        return -ERR_FORMAT;
    strcpy(out, text);
    return 0;
}

static bool printable(const char *text)
{
    for (; *text; text++) {
        if (*text <= 0x20 || *text > 0x7e)
            return false;
    }
    return true;
}

static bool base64_32(uint8_t out[32], const char *text)
{
    size_t len = 0;
    const char *end = NULL;

    return sodium_base642bin(out, 32, text, strlen(text), NULL, &len, &end,
                             sodium_base64_VARIANT_ORIGINAL) == 0 &&
           len == 32 && *end == '\0';
}

static int read_group(struct blob *b, const json_t *o, char why[BLOB_WHY_SIZE])
{
    const char *id, *key;

    if (copy_text(b->group, sizeof b->group, o, "group", true, why))
        return -ERR_FORMAT;
    if (!label_valid(b->group, strlen(b->group)))
        return refuse(why, "\"group\" is not one label of letters, digits and inner hyphens");
    id = text_of(o, "group_id", true, ID_TEXT_SIZE, why);
    if (!id)
        return -ERR_FORMAT;
    if (!id_parse(&b->group_id, id))
        return refuse(why, "\"group_id\" is not 40 hexadecimal digits");
    key = text_of(o, "group_key", true, 64, why);
    if (!key)
        return -ERR_FORMAT;
    if (!base64_32(b->group_key.b, key))
        return refuse(why, "\"group_key\" is not 32 bytes in base64");
    return 0;
}

/* The CA is the group's own: its certificate names group_id. */
static int read_ca(struct blob *b, const json_t *o, char why[BLOB_WHY_SIZE])
{
    const char *pem = text_of(o, "ca", false, BLOB_FILE_MAX, why);
    const char *reason = "";
    struct cert_ca *ca;
    bool same;

    if (!pem)
        return -ERR_FORMAT;
    if (pem[0] == '\0')
        return 0;
    ca = cert_ca_new(pem, strlen(pem), &reason);
    if (!ca)
        return refuse(why, "\"ca\" is not a group's CA certificate: %s", reason);
    same = id_eq(cert_ca_group(ca), &b->group_id);
    cert_ca_free(ca);
    if (!same)
        return refuse(why, "\"ca\" is the CA of another group than \"group_id\"");
    b->ca = strdup(pem);
    return b->ca ? 0 : refuse(why, "out of memory");
}

static int read_service(struct blob *b, const json_t *o, char why[BLOB_WHY_SIZE])
{
    if (copy_text(b->user, sizeof b->user, o, "user", false, why) ||
        copy_text(b->secret, sizeof b->secret, o, "secret", false, why) ||
        copy_text(b->server, sizeof b->server, o, "server", false, why))
        return -ERR_FORMAT;
    if (b->user[0] && !label_valid(b->user, strlen(b->user)))
        return refuse(why, "\"user\" is not one label of letters, digits and inner hyphens");
    if (!printable(b->secret))
        return refuse(why, "\"secret\" has characters that no secret has");
    if (b->server[0] && (strncmp(b->server, "https://", 8) != 0 || !printable(b->server)))
        return refuse(why, "\"server\" is not an https:// address");
    return blob_read_pins(&b->pins, json_object_get(o, "server_pins"), why);
}

int blob_read_pins(struct blob_pins *out, const json_t *pins, char why[BLOB_WHY_SIZE])
{
    uint8_t bytes[32];
    const json_t *pin;
    size_t i;

    memset(out, 0, sizeof *out);
    if (!pins || json_is_null(pins))
        return 0;
    if (!json_is_array(pins) || json_array_size(pins) > BLOB_PINS_MAX)
        return refuse(why, "\"server_pins\" is not a list of at most %d", BLOB_PINS_MAX);
    json_array_foreach(pins, i, pin)
    {
        const char *text = json_string_value(pin);

        if (!text || strlen(text) != BLOB_PIN_SIZE - 1 || !base64_32(bytes, text))
            return refuse(why, "\"server_pins\": entry %zu is not a SHA-256 in base64", i + 1);
        strcpy(out->v[out->count++], text);
    }
    return 0;
}

static int read_net(struct net *out, const json_t *o, const char *key, uint8_t family,
                    char why[BLOB_WHY_SIZE])
{
    const char *text = text_of(o, key, true, NET_TEXT_SIZE, why);
    struct addr first;

    if (!text)
        return -ERR_FORMAT;
    if (!net_parse(out, text) || out->addr.family != family)
        return refuse(why, "\"network\".\"%s\" = \"%s\" is not an IPv%u range", key, text, family);
    first = net_first(out);
    if (!addr_eq(&first, &out->addr))
        return refuse(why, "\"network\".\"%s\" = \"%s\" has host bits set", key, text);
    return 0;
}

int blob_read_network(struct blob_network *out, const json_t *network, char why[BLOB_WHY_SIZE])
{
    const json_t *lease = json_object_get(network, "lease_s");
    json_int_t seconds = json_integer_value(lease);

    memset(out, 0, sizeof *out);
    if (!json_is_object(network))
        return refuse(why, "\"network\" is missing, or is no object");
    if (read_net(&out->ipv4, network, "ipv4", 4, why) ||
        read_net(&out->ipv6, network, "ipv6", 6, why) ||
        copy_text(out->domain, sizeof out->domain, network, "domain", true, why))
        return -ERR_FORMAT;
    if (out->ipv4.prefix < BLOB_PREFIX_MIN || out->ipv4.prefix > BLOB_PREFIX_MAX)
        return refuse(why, "\"network\".\"ipv4\" must be between /%d and /%d", BLOB_PREFIX_MIN,
                      BLOB_PREFIX_MAX);
    if (out->ipv6.prefix != 48 || (out->ipv6.addr.b[0] & 0xfe) != 0xfc)
        return refuse(why, "\"network\".\"ipv6\" must be a unique local /48 (fd..::/48)");
    if (!name_valid(out->domain))
        return refuse(why, "\"network\".\"domain\" is not a domain name");
    if (!json_is_integer(lease) || seconds < BLOB_LEASE_MIN_S || seconds > BLOB_LEASE_MAX_S)
        return refuse(why, "\"network\".\"lease_s\" is not between %d and %d", BLOB_LEASE_MIN_S,
                      BLOB_LEASE_MAX_S);
    out->lease_s = (uint32_t)seconds;
    return 0;
}

static int read_bootstrap(struct hostports *out, const json_t *o, const char *key,
                          char why[BLOB_WHY_SIZE])
{
    const json_t *list = json_object_get(o, key);
    struct hostport hp;
    const json_t *v;
    size_t i;

    if (!list || json_is_null(list))
        return 0;
    if (!json_is_array(list))
        return refuse(why, "\"%s\" is not a list", key);
    json_array_foreach(list, i, v)
    {
        const char *text = json_string_value(v);

        if (!text || !hostport_parse(&hp, text))
            return refuse(why, "\"%s\": entry %zu is not host:port", key, i + 1);
        if (!hostports_add(out, &hp))
            return refuse(why, "\"%s\" has more than %d entries", key, HOSTPORTS_MAX);
    }
    return 0;
}

/* The fields that depend on each other. */
static int check_whole(const struct blob *b, char why[BLOB_WHY_SIZE])
{
    if (!b->ca && !b->psk)
        return refuse(why, "neither \"ca\" nor \"psk\":true, so nobody could be authenticated");
    if (b->ca && b->user[0] == '\0')
        return refuse(why, "\"user\" is missing");
    if (b->server[0] && !b->ca)
        return refuse(why, "\"server\" without \"ca\": its certificates could not be checked");
    return 0;
}

static int read_psk(struct blob *b, const json_t *o, char why[BLOB_WHY_SIZE])
{
    const json_t *psk = json_object_get(o, "psk");

    if (psk && !json_is_boolean(psk))
        return refuse(why, "\"psk\" is neither true nor false");
    b->psk = json_is_true(psk);
    return 0;
}

static int read_blob(struct blob *b, const json_t *o, char why[BLOB_WHY_SIZE])
{
    const json_t *version = json_object_get(o, "peal");

    if (!json_is_object(o) || !json_is_integer(version))
        return refuse(why, "is JSON, but no blob: \"peal\" is missing");
    if (json_integer_value(version) != BLOB_VERSION)
        return refuse(why, "is of version %lld; this peald reads version %d",
                      (long long)json_integer_value(version), BLOB_VERSION);
    if (read_group(b, o, why) || read_ca(b, o, why) || read_service(b, o, why) ||
        blob_read_network(&b->network, json_object_get(o, "network"), why) ||
        read_bootstrap(&b->bootstrap, o, "bootstrap", why) ||
        read_bootstrap(&b->public_bootstrap, o, "public_bootstrap", why) || read_psk(b, o, why))
        return -ERR_FORMAT;
    return check_whole(b, why);
}

struct blob *blob_parse(const char *text, size_t len, char why[BLOB_WHY_SIZE])
{
    struct blob *b;
    json_error_t error;
    json_t *o;

    why[0] = '\0';
    if (len > BLOB_FILE_MAX) {
        refuse(why, "is larger than %d bytes", BLOB_FILE_MAX);
        return NULL;
    }
    o = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
    if (!o) {
        /* jansson goes on with the text at that place, which may be the secret. */
        refuse(why, "is not valid JSON: line %d, column %d: %.*s", error.line, error.column,
               (int)(strstr(error.text, " near ") ? strstr(error.text, " near ") - error.text
                                                  : (long)strlen(error.text)),
               error.text);
        return NULL;
    }
    b = calloc(1, sizeof *b);
    if (!b)
        refuse(why, "out of memory");
    if (b && read_blob(b, o, why)) {
        blob_free(b);
        b = NULL;
    }
    json_decref(o);
    return b;
}

void blob_free(struct blob *b)
{
    if (!b)
        return;
    free(b->ca);
    wipe(b, sizeof *b);
    free(b);
}

static json_t *hostports_json(const struct hostports *list)
{
    char text[HOSTPORT_TEXT_SIZE];
    json_t *a = json_array();

    for (size_t i = 0; i < list->count; i++)
        json_array_append_new(a, json_string(hostport_text(&list->v[i], text)));
    return a;
}

static json_t *pins_json(const struct blob_pins *pins)
{
    json_t *a = json_array();

    for (size_t i = 0; i < pins->count; i++)
        json_array_append_new(a, json_string(pins->v[i]));
    return a;
}

/* "" is null in JSON. */
static json_t *text_json(const char *text)
{
    return text && text[0] ? json_string(text) : json_null();
}

json_t *blob_json(const struct blob *b)
{
    char id[ID_TEXT_SIZE], ipv4[NET_TEXT_SIZE], ipv6[NET_TEXT_SIZE];
    char key[sodium_base64_ENCODED_LEN(32, sodium_base64_VARIANT_ORIGINAL)];
    json_t *o;

    sodium_bin2base64(key, sizeof key, b->group_key.b, 32, sodium_base64_VARIANT_ORIGINAL);
    o = json_pack("{s:i, s:s, s:s, s:s, s:o, s:o, s:n, s:o, s:o, s:{s:s, s:s, s:s, s:i}, s:o, s:o, "
                  "s:b}",
                  "peal", BLOB_VERSION, "group", b->group, "group_id", id_text(&b->group_id, id),
                  "group_key", key, "ca", text_json(b->ca), "user", text_json(b->user), "secret",
                  "server", text_json(b->server), "server_pins", pins_json(&b->pins), "network",
                  "ipv4", net_text(&b->network.ipv4, ipv4), "ipv6",
                  net_text(&b->network.ipv6, ipv6), "domain", b->network.domain, "lease_s",
                  (int)b->network.lease_s, "bootstrap", hostports_json(&b->bootstrap),
                  "public_bootstrap", hostports_json(&b->public_bootstrap), "psk", b->psk);
    wipe(key, sizeof key);
    return o;
}
