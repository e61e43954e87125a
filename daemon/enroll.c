/*
 * enroll.c - peal-enroll, the helper that peald starts for one enrolment: POST /api/v1/enroll and
 * out again. It holds no key of the machine, only the blob's secret and a certificate request, and
 * gives up every capability before it opens a socket.
 *
 * Pins stand in the place of a certificate authority: with pins the server's chain and name are not
 * judged, its key is; without, the system's trust decides. Redirects are not followed.
 */
#include "daemon/enroll.h"

#include <curl/curl.h>
#include <jansson.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { TEXT_MAX = 256, URL_MAX = 1024, PINS_TEXT_MAX = 1024 };

struct reply {
    char bytes[ENROLL_REPLY_MAX];
    size_t len;
    bool too_long;
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
    alarm(ENROLL_TOTAL_S);
}

static size_t on_body(char *bytes, size_t size, size_t count, void *ctx)
{
    struct reply *r = ctx;
    size_t len = size * count;

    if (len > sizeof r->bytes - r->len) {
        r->too_long = true;
        return 0; /* curl gives up */
    }
    memcpy(r->bytes + r->len, bytes, len);
    r->len += len;
    return len;
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

static bool url_text(char out[URL_MAX], const char *server)
{
    size_t len = strlen(server);

    while (len > 0 && server[len - 1] == '/')
        len--;
    return snprintf(out, URL_MAX, "%.*s/api/v1/enroll", (int)len, server) < URL_MAX;
}

static void set_options(CURL *curl, const json_t *request, const char *url, const char *body,
                        struct curl_slist *headers, struct reply *reply)
{
    const char *proxy = json_string_value(json_object_get(request, "proxy"));
    char pins[PINS_TEXT_MAX];

    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)ENROLL_CONNECT_S);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)ENROLL_ANSWER_S);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, reply);
    if (proxy)
        curl_easy_setopt(curl, CURLOPT_PROXY, proxy);
    if (!pins_text(pins, json_object_get(request, "server_pins")))
        return;
    curl_easy_setopt(curl, CURLOPT_PINNEDPUBLICKEY, pins);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
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
        return say_error(ENROLL_FAILED, "the answer of %s is too long", server);
    if (rc == CURLE_SSL_PINNEDPUBKEYNOTMATCH)
        return say_error(ENROLL_WRONG_PIN,
                         "the key of %s is not the one pinned in the blob: somebody may be in "
                         "between, or the service has a new key; ask its administrator for a new "
                         "blob",
                         server);
    if (rc == CURLE_PEER_FAILED_VERIFICATION)
        return say_error(ENROLL_WRONG_PIN, "this machine does not trust the certificate of %s",
                         what);
    if (was_sent(curl))
        return say_error(ENROLL_NO_REPLY, "no answer from %s; run peal join again", what);
    return say_error(ENROLL_UNREACHABLE, "cannot reach %s", what);
}

static int explain_status(long status, const struct reply *reply)
{
    json_t *body = json_loadb(reply->bytes, reply->len, 0, NULL);
    const char *message =
        json_string_value(json_object_get(json_object_get(body, "error"), "message"));
    const char *code =
        status >= 400 && status < 500 && status != 429 ? ENROLL_REFUSED : ENROLL_FAILED;
    char text[TEXT_MAX];
    int rc;

    snprintf(text, sizeof text, "HTTP status %ld", status);
    rc = say_error(code, "the service refused: %.200s", message ? message : text);
    json_decref(body);
    return rc;
}

static int relay_answer(const struct reply *reply)
{
    json_t *body = json_loadb(reply->bytes, reply->len, JSON_REJECT_DUPLICATES, NULL);
    int rc;

    if (json_is_string(json_object_get(body, "certificate")))
        return say(body);
    rc = say_error(ENROLL_FAILED, "the service's answer is %s",
                   body ? "without a certificate" : "no JSON");
    json_decref(body);
    return rc;
}

static int post(const json_t *request)
{
    const char *server = json_string_value(json_object_get(request, "server"));
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    static struct reply reply;
    CURL *curl = curl_easy_init();
    CURLcode rc = CURLE_OK;
    char url[URL_MAX];
    char *body;
    long status = 0;

    body = json_dumps(json_pack("{s:O, s:O, s:O, s:O}", "group", json_object_get(request, "group"),
                                "user", json_object_get(request, "user"), "secret",
                                json_object_get(request, "secret"), "csr",
                                json_object_get(request, "csr")),
                      JSON_COMPACT);
    if (!curl || !headers || !body || !server || !url_text(url, server))
        return say_error(ENROLL_FAILED, "%s", "the request of peald is malformed");
    set_options(curl, request, url, body, headers, &reply);
    for (unsigned i = 0; i < ENROLL_TRIES; i++) {
        reply.len = 0;
        rc = curl_easy_perform(curl);
        if (!worth_another_try(rc))
            break;
        sleep(1);
    }
    if (rc != CURLE_OK)
        return explain_failure(curl, rc, &reply, server);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    return status == 200 ? relay_answer(&reply) : explain_status(status, &reply);
}

int main(void)
{
    static char text[ENROLL_REQUEST_MAX];
    json_t *request;

    confine();
    request = fgets(text, sizeof text, stdin) ? json_loads(text, 0, NULL) : NULL;
    if (!json_is_object(request))
        return say_error(ENROLL_FAILED, "%s",
                         "peal-enroll is started by peald, which tells it what to do");
    curl_global_init(CURL_GLOBAL_DEFAULT);
    return post(request);
}
