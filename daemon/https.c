/*
 * https.c - peal-https, the helper that peald starts for one request to a group's service
 * (https.h), and out again. It holds no key of the machine: a blob's secret, a certificate request
 * or nothing is all it is given, and it gives up every capability before it opens a socket.
 *
 * Pins stand in the place of a certificate authority: with pins the server's chain and name are not
 * judged, its key is; without, the system's trust decides. Redirects are not followed.
 */
#include "daemon/https.h"

#include <curl/curl.h>
#include <jansson.h>
#include <linux/capability.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { TEXT_MAX = 256, URL_MAX = 1024, PINS_TEXT_MAX = 1024, ETAG_MAX = 128 };

struct reply {
    char *bytes;
    size_t len, size, max;
    bool too_long;
    char etag[ETAG_MAX];
};

/* One of the things that may be asked. */
struct question {
    const char *what;
    const char *path;      /* behind the server's URL; %s: the group */
    const char *fields[4]; /* of the request that become the body of a POST */
    long hold_s;           /* the service may take so much longer */
    size_t reply_max;
    int (*answer)(const struct reply *r, long status);
};

static int say(json_t *answer)
{
    json_dumpf(answer, stdout, JSON_COMPACT);
    json_decref(answer);
    return fflush(stdout) == 0 ? 0 : 1;
}

static int say_error(const char *code, const char *fmt, const char *what)
{
    char message[TEXT_MAX + URL_MAX];

    snprintf(message, sizeof message, fmt, what);
    /* Half a character at the cut would be no JSON. */
    for (char *p = message; *p; p++)
        *p = *p < 0x20 || *p > 0x7e ? '?' : *p;
    return say(json_pack("{s:{s:s, s:s}}", "error", "code", code, "message", message));
}

/* All that it may do from here on: talk to sockets, in bounded time and memory. */
static void confine(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2];
    const struct rlimit no_core = {0, 0};

    memset(none, 0, sizeof none);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    (void)!setrlimit(RLIMIT_CORE, &no_core);
    (void)!syscall(SYS_capset, &header, none);
    alarm(HTTPS_TOTAL_S);
}

static size_t on_body(char *bytes, size_t size, size_t count, void *ctx)
{
    struct reply *r = ctx;
    size_t len = size * count;

    if (len > r->max - r->len) {
        r->too_long = true;
        return 0; /* curl gives up */
    }
    if (len > r->size - r->len) {
        char *grown = realloc(r->bytes, r->len + 2 * len);

        if (!grown)
            return 0;
        r->bytes = grown;
        r->size = r->len + 2 * len;
    }
    memcpy(r->bytes + r->len, bytes, len);
    r->len += len;
    return len;
}

/* Takes the ETag out of the answer's header. */
static size_t on_header(char *line, size_t size, size_t count, void *ctx)
{
    static const char name[] = "etag:";
    struct reply *r = ctx;
    size_t len = size * count, start = sizeof name - 1;

    if (len <= start || strncasecmp(line, name, start) != 0)
        return len;
    while (start < len && line[start] == ' ')
        start++;
    while (len > start && (line[len - 1] == '\r' || line[len - 1] == '\n'))
        len--;
    if (len - start < sizeof r->etag)
        snprintf(r->etag, sizeof r->etag, "%.*s", (int)(len - start), line + start);
    return size * count;
}

/* curl's form: "sha256//AAAA;sha256//BBBB". False: there are none. */
static bool pins_text(char out[PINS_TEXT_MAX], const json_t *pins)
{
    size_t len = 0, i;
    const json_t *pin;

    out[0] = '\0';
    json_array_foreach(pins, i, pin)
    {
        int n = snprintf(out + len, PINS_TEXT_MAX - len, "%ssha256//%s", len ? ";" : "",
                         json_string_value(pin));

        if (n < 0 || (size_t)n >= PINS_TEXT_MAX - len)
            break;
        len += (size_t)n;
    }
    return len > 0;
}

static bool url_text(char out[URL_MAX], const struct question *q, const json_t *request)
{
    const char *server = json_string_value(json_object_get(request, "server"));
    const char *group = json_string_value(json_object_get(request, "group"));
    size_t len = server ? strlen(server) : 0;
    int n;

    while (len > 0 && server[len - 1] == '/')
        len--;
    if (len == 0 || !group)
        return false;
    n = snprintf(out, URL_MAX, "%.*s", (int)len, server);
    if (n < 0 || n >= URL_MAX)
        return false;
    return snprintf(out + n, (size_t)(URL_MAX - n), q->path, group,
                    (long long)json_integer_value(json_object_get(request, "after"))) < URL_MAX - n;
}

static void set_trust(CURL *curl, const json_t *request)
{
    char pins[PINS_TEXT_MAX];

    if (!pins_text(pins, json_object_get(request, "server_pins")))
        return;
    curl_easy_setopt(curl, CURLOPT_PINNEDPUBLICKEY, pins);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
}

static void set_options(CURL *curl, const struct question *q, const json_t *request,
                        const char *url, const char *body, struct reply *reply)
{
    const char *proxy = json_string_value(json_object_get(request, "proxy"));

    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)HTTPS_CONNECT_S);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)HTTPS_ANSWER_S + q->hold_s);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, reply);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, reply);
    if (body)
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    if (proxy)
        curl_easy_setopt(curl, CURLOPT_PROXY, proxy);
    set_trust(curl, request);
}

/* The connection broke or fell silent after the request went out: the same request may be sent
 * again, it gets the same certificate. */
static bool worth_another_try(CURLcode rc)
{
    return rc == CURLE_GOT_NOTHING || rc == CURLE_RECV_ERROR || rc == CURLE_SEND_ERROR ||
           rc == CURLE_PARTIAL_FILE;
}

static bool was_sent(CURL *curl)
{
    long sent = 0;

    return curl_easy_getinfo(curl, CURLINFO_REQUEST_SIZE, &sent) == CURLE_OK && sent > 0;
}

static int explain_failure(CURL *curl, CURLcode rc, const struct reply *reply, const char *server)
{
    char what[TEXT_MAX];

    snprintf(what, sizeof what, "%s: %s", server, curl_easy_strerror(rc));
    if (reply->too_long)
        return say_error(HTTPS_FAILED, "the answer of %s is too long", server);
    if (rc == CURLE_SSL_PINNEDPUBKEYNOTMATCH)
        return say_error(HTTPS_WRONG_PIN,
                         "the key of %s is not the one pinned in the blob: somebody may be in "
                         "between, or the service has a new key; ask its administrator for a new "
                         "blob",
                         server);
    if (rc == CURLE_PEER_FAILED_VERIFICATION)
        return say_error(HTTPS_WRONG_PIN, "this machine does not trust the certificate of %s",
                         what);
    if (was_sent(curl))
        return say_error(HTTPS_NO_REPLY, "no answer from %s; try again", what);
    return say_error(HTTPS_UNREACHABLE, "cannot reach %s", what);
}

static int explain_status(long status, const struct reply *reply)
{
    json_t *body = json_loadb(reply->bytes, reply->len, 0, NULL);
    const json_t *error = json_object_get(body, "error");
    const char *message = json_string_value(json_object_get(error, "message"));
    const char *why = json_string_value(json_object_get(error, "code"));
    const char *code = status < 400 || status >= 500 || status == 429 ? HTTPS_FAILED
                       : why && strcmp(why, "revoked") == 0           ? HTTPS_REVOKED
                                                                      : HTTPS_REFUSED;
    char text[TEXT_MAX];
    int rc;

    snprintf(text, sizeof text, "HTTP status %ld", status);
    rc = say_error(code, "the service refused: %.200s", message ? message : text);
    json_decref(body);
    return rc;
}

/* An object with that field, as it came. */
static int relay_object(const struct reply *reply, const char *field)
{
    json_t *body = json_loadb(reply->bytes, reply->len, JSON_REJECT_DUPLICATES, NULL);
    char text[TEXT_MAX];
    int rc;

    if (json_object_get(body, field))
        return say(body);
    snprintf(text, sizeof text, "without \"%s\"", field);
    rc = say_error(HTTPS_FAILED, "the service's answer is %s", body ? text : "no JSON");
    json_decref(body);
    return rc;
}

static int answer_certificate(const struct reply *reply, long status)
{
    return relay_object(reply, "certificate");
}

static int answer_events(const struct reply *reply, long status)
{
    return relay_object(reply, "events");
}

static int answer_nothing(const struct reply *reply, long status)
{
    return say(json_object());
}

static int answer_crl(const struct reply *reply, long status)
{
    size_t size = sodium_base64_ENCODED_LEN(reply->len, sodium_base64_VARIANT_ORIGINAL);
    char *text;
    int rc;

    if (status == 304)
        return say(json_pack("{s:b}", "unchanged", 1));
    text = malloc(size);
    if (!text || reply->len == 0)
        return say_error(HTTPS_FAILED, "%s", "the service's list of removed members is empty");
    sodium_bin2base64(text, size, (const unsigned char *)reply->bytes, reply->len,
                      sodium_base64_VARIANT_ORIGINAL);
    rc = say(json_pack("{s:s, s:s}", "crl", text, "etag", reply->etag));
    free(text);
    return rc;
}

static const struct question questions[] = {
    {"enroll",
     "/api/v1/enroll",
     {"group", "user", "secret", "csr"},
     0,
     HTTPS_REPLY_MAX,
     answer_certificate},
    {"renew", "/api/v1/renew", {"group", "csr"}, 0, HTTPS_REPLY_MAX, answer_certificate},
    {"crl", "/api/v1/groups/%s/crl", {NULL}, 0, HTTPS_CRL_MAX, answer_crl},
    {"known", "/api/v1/groups/%s/known", {"message"}, 0, HTTPS_REPLY_MAX, answer_nothing},
    {"map", "/api/v1/groups/%s/map", {"message"}, 0, HTTPS_REPLY_MAX, answer_nothing},
    {"events",
     "/api/v1/groups/%s/events?after=%lld",
     {NULL},
     HTTPS_HOLD_S,
     HTTPS_EVENTS_MAX,
     answer_events},
};

static const struct question *question_find(const char *what)
{
    for (size_t i = 0; what && i < sizeof questions / sizeof questions[0]; i++) {
        if (strcmp(questions[i].what, what) == 0)
            return &questions[i];
    }
    return NULL;
}

/* The body of a POST; NULL: it is a GET. False: a field is missing. */
static bool body_text(char **body, const struct question *q, const json_t *request)
{
    json_t *object = json_object();

    *body = NULL;
    for (size_t i = 0; i < sizeof q->fields / sizeof q->fields[0] && q->fields[i]; i++) {
        json_t *value = json_object_get(request, q->fields[i]);

        if (!json_is_string(value) || json_object_set(object, q->fields[i], value) != 0) {
            json_decref(object);
            return false;
        }
    }
    if (q->fields[0])
        *body = json_dumps(object, JSON_COMPACT);
    json_decref(object);
    return !q->fields[0] || *body;
}

static struct curl_slist *headers_of(const struct question *q, const json_t *request)
{
    const char *etag = json_string_value(json_object_get(request, "etag"));
    char line[ETAG_MAX + 32];

    if (q->fields[0])
        return curl_slist_append(NULL, "Content-Type: application/json");
    if (!etag || strlen(etag) >= ETAG_MAX)
        return curl_slist_append(NULL, "Accept: */*");
    snprintf(line, sizeof line, "If-None-Match: %s", etag);
    return curl_slist_append(NULL, line);
}

static int perform(CURL *curl, const struct question *q, const char *server, struct reply *reply)
{
    CURLcode rc = CURLE_OK;
    long status = 0;

    for (unsigned i = 0; i < HTTPS_TRIES; i++) {
        reply->len = 0;
        rc = curl_easy_perform(curl);
        if (!worth_another_try(rc) || q->hold_s > 0)
            break;
        sleep(1);
    }
    if (rc != CURLE_OK)
        return explain_failure(curl, rc, reply, server);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    return status == 200 || status == 304 ? q->answer(reply, status)
                                          : explain_status(status, reply);
}

static int ask(const struct question *q, const json_t *request)
{
    struct reply reply = {.max = q->reply_max};
    struct curl_slist *headers = headers_of(q, request);
    CURL *curl = curl_easy_init();
    char url[URL_MAX], *body;
    int rc;

    if (!curl || !headers || !body_text(&body, q, request) || !url_text(url, q, request))
        return say_error(HTTPS_FAILED, "%s", "the request of peald is malformed");
    set_options(curl, q, request, url, body, &reply);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    rc = perform(curl, q, json_string_value(json_object_get(request, "server")), &reply);
    curl_easy_cleanup(curl);
    curl_slist_free_all(headers);
    free(body);
    free(reply.bytes);
    return rc;
}

int main(void)
{
    static char text[HTTPS_REQUEST_MAX];
    const struct question *q;
    json_t *request;

    confine();
    request = fgets(text, sizeof text, stdin) ? json_loads(text, 0, NULL) : NULL;
    q = question_find(json_string_value(json_object_get(request, "what")));
    if (!q)
        return say_error(HTTPS_FAILED, "%s",
                         "peal-https is started by peald, which tells it what to do");
    curl_global_init(CURL_GLOBAL_DEFAULT);
    return ask(q, request);
}
