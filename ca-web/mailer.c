#include "ca-web/mailer.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ca-web/account.h"
#include "ca-web/log.h"
#include "ca-web/store.h"
#include "ca-web/text.h"

enum { LOGIN_MAX = 256, SERVER_MAX = 300 };

struct mailer {
    struct store *store;
    char server[SERVER_MAX + 1], from[EMAIL_MAX + 1], user[LOGIN_MAX], password[LOGIN_MAX];
    bool local;
    atomic_bool stopping;
    pthread_t thread;
};

struct mail {
    int64_t row, tries;
    char to[EMAIL_MAX + 1];
    struct text message;
    size_t sent;
};

static bool next_mail(struct mailer *m, struct mail *out)
{
    struct query q = store_ask(m->store,
                               "SELECT id, tries, recipient, subject, body, made_s FROM mails"
                               " WHERE next_s <= ?1 ORDER BY next_s, id LIMIT 1",
                               VALUES(v_int(time(NULL))));
    char date[64] = "";
    struct tm tm;

    *out = (struct mail){0};
    if (!query_row(&q))
        return false;
    out->row = query_int(&q, 0);
    out->tries = query_int(&q, 1);
    query_copy_text(&q, 2, out->to, sizeof out->to);
    time_t made = (time_t)query_int(&q, 5);
    if (gmtime_r(&made, &tm))
        strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S +0000", &tm); /* RFC 5322 3.3 */
    text_printf(&out->message,
                "Date: %s\r\nFrom: peal <%s>\r\nTo: <%s>\r\nSubject: %s\r\n"
                "Message-ID: <%lld.%lld@peal-ca>\r\nAuto-Submitted: auto-generated\r\n"
                "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n",
                date, m->from, out->to, query_text(&q, 3), (long long)out->row, (long long)made);
    for (const char *p = query_text(&q, 4); *p; p++)
        text_add(&out->message, *p == '\n' ? "\r\n" : p, *p == '\n' ? 2 : 1);
    query_end(&q);
    return true;
}

static size_t give(char *out, size_t size, size_t n, void *ctx)
{
    struct mail *mail = ctx;
    size_t left = mail->message.len - mail->sent;
    size_t len = left < size * n ? left : size * n;

    memcpy(out, mail->message.p + mail->sent, len);
    mail->sent += len;
    return len;
}

static int may_go_on(void *ctx, curl_off_t dltotal, curl_off_t dlnow, curl_off_t ultotal,
                     curl_off_t ulnow)
{
    const struct mailer *m = ctx;
    return atomic_load(&m->stopping);
}

static bool send_mail(struct mailer *m, struct mail *mail, char why[CURL_ERROR_SIZE])
{
    CURL *curl = curl_easy_init();
    struct curl_slist *to = curl_slist_append(NULL, mail->to);
    CURLcode rc = CURLE_OUT_OF_MEMORY;

    why[0] = '\0';
    if (curl && to && !mail->message.failed) {
        curl_easy_setopt(curl, CURLOPT_URL, m->server);
        curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
        curl_easy_setopt(curl, CURLOPT_USE_SSL, (long)(m->local ? CURLUSESSL_TRY : CURLUSESSL_ALL));
        if (m->user[0]) {
            curl_easy_setopt(curl, CURLOPT_USERNAME, m->user);
            curl_easy_setopt(curl, CURLOPT_PASSWORD, m->password);
        }
        curl_easy_setopt(curl, CURLOPT_MAIL_FROM, m->from);
        curl_easy_setopt(curl, CURLOPT_MAIL_RCPT, to);
        curl_easy_setopt(curl, CURLOPT_READFUNCTION, give);
        curl_easy_setopt(curl, CURLOPT_READDATA, mail);
        curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
        curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, may_go_on);
        curl_easy_setopt(curl, CURLOPT_XFERINFODATA, m);
        curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)MAILER_SEND_S / 3);
        curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)MAILER_SEND_S);
        curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why);
        rc = curl_easy_perform(curl);
    }
    if (rc != CURLE_OK && !why[0])
        snprintf(why, CURL_ERROR_SIZE, "%s", curl_easy_strerror(rc));
    curl_slist_free_all(to);
    curl_easy_cleanup(curl);
    return rc == CURLE_OK;
}

static int64_t pause_s(int64_t tries)
{
    const int64_t most = 6 * 3600;
    return tries >= 9 || 60LL << tries > most ? most : 60LL << tries;
}

/* Nobody's address goes into the log. */
static void settle(struct mailer *m, const struct mail *mail, bool sent, const char *why)
{
    bool over = sent || mail->tries + 1 >= MAILER_TRIES;
    int err =
        over ? store_run(m->store, "DELETE FROM mails WHERE id = ?1", VALUES(v_int(mail->row)))
             : store_run(m->store, "UPDATE mails SET tries = tries + 1, next_s = ?2 WHERE id = ?1",
                         VALUES(v_int(mail->row), v_int(time(NULL) + pause_s(mail->tries))));
    if (!sent)
        log_line(LOG_WARNING, "mail: %s: %s%s", m->server, why,
                 over ? "; the notice is dropped" : "; tried again later");
    if (err < 0)
        log_line(LOG_WARNING, "mail: the database is busy; a notice may be sent twice");
}

static void *run(void *ctx)
{
    const struct timespec pause = {.tv_sec = MAILER_LOOK_MS / 1000,
                                   .tv_nsec = MAILER_LOOK_MS % 1000 * 1000000L};
    char why[CURL_ERROR_SIZE];
    struct mailer *m = ctx;
    struct mail mail;

    while (!atomic_load(&m->stopping)) {
        if (!next_mail(m, &mail)) {
            nanosleep(&pause, NULL);
            continue;
        }
        bool sent = send_mail(m, &mail, why);
        if (sent || !atomic_load(&m->stopping))
            settle(m, &mail, sent, why);
        text_clear(&mail.message);
    }
    return NULL;
}

static bool login_read(struct mailer *m, const char *path)
{
    FILE *f = fopen(path, "re");
    bool ok = f && fgets(m->user, sizeof m->user, f) && fgets(m->password, sizeof m->password, f);

    if (f)
        fclose(f);
    m->user[strcspn(m->user, "\r\n")] = '\0';
    m->password[strcspn(m->password, "\r\n")] = '\0';
    return ok;
}

/* smtp:// or smtps://, and whether the host is this machine. */
static bool server_read(struct mailer *m, const char *url)
{
    static const char *const here[] = {"localhost", "127.0.0.1", "[::1]"};
    const char *host = !strncmp(url, "smtp://", 7)    ? url + 7
                       : !strncmp(url, "smtps://", 8) ? url + 8
                                                      : NULL;

    if (!host || !*host || strlen(url) > SERVER_MAX || strpbrk(url, "@ \t\r\n"))
        return false;
    strcpy(m->server, url);
    for (size_t i = 0; i < ARRAY_LEN(here); i++) {
        size_t len = strlen(here[i]);
        m->local |= !strncmp(host, here[i], len) && (!host[len] || strchr(":/", host[len]));
    }
    return true;
}

static bool prepare(struct mailer *m, const struct mailer_options *o, const char **why)
{
    *why = "--mail takes smtp://host:port or smtps://host:port";
    if (!server_read(m, o->server))
        return false;
    *why = "--mail needs --mail-from, an e-mail address";
    if (!o->from || !account_email_valid(o->from))
        return false;
    strcpy(m->from, o->from);
    *why = "--mail-login names a file of two lines: user and password";
    return !o->login_file || login_read(m, o->login_file);
}

static void mailer_free(struct mailer *m)
{
    if (!m)
        return;
    store_close(m->store);
    wipe(m, sizeof *m);
    free(m);
}

struct mailer *mailer_start(const struct home *h, const struct mailer_options *o, const char **why)
{
    struct mailer *m = calloc(1, sizeof *m);

    CHECK(m);
    bool ok = !o->server || prepare(m, o, why);
    if (ok)
        ok = (m->store = home_store(h, why)) != NULL;
    if (ok) {
        *why = "the database is busy";
        ok = store_set_meta(m->store, "mail_from", m->from) == 0;
    }
    if (ok && o->server) {
        *why = "out of memory";
        ok = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK &&
             pthread_create(&m->thread, NULL, run, m) == 0;
    }
    if (ok)
        *why = NULL;
    if (ok && o->server)
        return m;
    mailer_free(m);
    return NULL;
}

void mailer_stop(struct mailer *m)
{
    if (!m)
        return;
    atomic_store(&m->stopping, true);
    pthread_join(m->thread, NULL);
    mailer_free(m);
}
