#include "ca-web/archive.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ca-web/store.h"

enum { TLS_KEY_MAX = 8192 };

static const char meta_tls[] = "archived_tls_key";
static const char purpose_tls[] = "archived tls key";

static ssize_t file_read(const char *path, uint8_t *out, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, out, size);

    if (fd >= 0)
        close(fd);
    return len;
}

/* Whole or not at all. */
static bool file_replace(const char *path, const uint8_t *bytes, size_t len)
{
    char temporary[1300];

    snprintf(temporary, sizeof temporary, "%s.%ld.new", path, (long)getpid());
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    bool ok = write(fd, bytes, len) == (ssize_t)len && fsync(fd) == 0;
    ok = close(fd) == 0 && ok && rename(temporary, path) == 0;
    if (!ok)
        unlink(temporary);
    return ok;
}

/* The service may not have been started yet: then there is no TLS key, and none is archived. */
static bool tls_key_put(const struct home *h, struct store *s)
{
    static const struct id nobody;
    uint8_t key[TLS_KEY_MAX], sealed[TLS_KEY_MAX + VAULT_OVERHEAD];
    char path[1200], *hex = NULL;
    ssize_t len = file_read(home_path(h, "tls.key", path), key, sizeof key);

    if (len < 0)
        return errno == ENOENT;
    vault_seal(h->vault, purpose_tls, &nobody, key, (size_t)len, sealed);
    wipe(key, sizeof key);
    hex = malloc(2 * sizeof sealed + 1);
    CHECK(hex);
    bool ok = store_set_meta(s, meta_tls, hex_text(sealed, (size_t)len + VAULT_OVERHEAD, hex)) == 0;
    free(hex);
    return ok;
}

static bool tls_key_take(const struct home *h, struct store *s)
{
    static const struct id nobody;
    uint8_t key[TLS_KEY_MAX], sealed[TLS_KEY_MAX + VAULT_OVERHEAD];
    char path[1200], *hex = malloc(2 * sizeof sealed + 1);
    bool ok = true;

    CHECK(hex);
    if (store_get_meta(s, meta_tls, hex, 2 * sizeof sealed + 1)) {
        size_t len = strlen(hex) / 2;
        ok = len > VAULT_OVERHEAD && len <= sizeof sealed && hex_parse(sealed, len, hex) &&
             vault_unseal(h->vault, purpose_tls, &nobody, sealed, len, key) &&
             file_replace(home_path(h, "tls.key", path), key, len - VAULT_OVERHEAD);
    }
    wipe(key, sizeof key);
    free(hex);
    return ok;
}

/* SQLite leaves its log beside a database that was opened. */
static void database_unlink(const char *path)
{
    static const char *const ends[] = {"", "-wal", "-shm"};
    char name[1400];

    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        snprintf(name, sizeof name, "%s%s", path, ends[i]);
        unlink(name);
    }
}

bool archive_write(const struct home *h, const char *path, const char **why)
{
    char temporary[1300];
    struct store *live = home_store(h, why), *copy = NULL;
    bool ok = false;

    if (!live)
        return false;
    *why = "it is there already";
    if (access(path, F_OK) != 0) {
        *why = "the copy cannot be written";
        snprintf(temporary, sizeof temporary, "%s/backup.%ld", h->dir, (long)getpid());
        if (store_copy(live, temporary) == 0)
            copy = store_open(temporary, why);
        /* VACUUM INTO once more: one file without a log beside it. */
        ok = copy && tls_key_put(h, copy) && store_copy(copy, path) == 0;
        store_close(copy);
        database_unlink(temporary);
    }
    store_close(live);
    return ok;
}

/* What must not be as it was. */
static bool age(struct store *s, int64_t now_s)
{
    if (store_begin(s))
        return false;
    bool ok =
        store_run(s,
                  "UPDATE groups SET number = number + ?1, next_enrolment = next_enrolment + ?1,"
                  " version = version + ?1",
                  VALUES(v_int(ARCHIVE_JUMP))) >= 0 &&
        store_run(s, "DELETE FROM crls", VALUES()) >= 0 &&
        store_run(s, "DELETE FROM sessions", VALUES()) >= 0 &&
        store_run(s, "UPDATE secrets SET expires_s = min(expires_s, ?1) WHERE used_s IS NULL",
                  VALUES(v_int(now_s))) >= 0 &&
        store_run(s, "UPDATE invitations SET expires_s = min(expires_s, ?1)",
                  VALUES(v_int(now_s))) >= 0 &&
        store_run(s, "DELETE FROM meta WHERE name = ?1", VALUES(v_text(meta_tls))) >= 0;
    if (!ok)
        store_rollback(s);
    return ok && store_commit(s) == 0;
}

/* A copy of ours to work on: the backup itself stays as it is. */
static bool copy_in(const char *from, const char *to)
{
    uint8_t buffer[65536];
    int in = open(from, O_RDONLY | O_CLOEXEC);
    int out = in < 0 ? -1 : open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    ssize_t n = -1;

    while (out >= 0 && (n = read(in, buffer, sizeof buffer)) > 0)
        if (write(out, buffer, (size_t)n) != n) {
            n = -1;
            break;
        }
    if (in >= 0)
        close(in);
    return out >= 0 && close(out) == 0 && n == 0;
}

/* Decisions of the live database that the backup, an earlier state of the same one, knows nothing
 * of: nothing is told where there was another one, or none, before. */
static void tell_undone(struct store *live, struct store *old,
                        void (*undone)(void *ctx, const struct archive_undone *u), void *ctx)
{
    static const char last[] = "SELECT id, at_s, verb, object FROM audit ORDER BY id DESC LIMIT 1";
    struct query end = store_ask(old, last, VALUES());

    if (!query_row(&end))
        return;
    int64_t common = store_int(live, 0,
                               "SELECT id FROM audit WHERE id = ?1 AND at_s = ?2 AND verb = ?3"
                               " AND object = ?4",
                               VALUES(v_int(query_int(&end, 0)), v_int(query_int(&end, 1)),
                                      v_text(query_text(&end, 2)), v_text(query_text(&end, 3))));
    query_end(&end);
    if (!common)
        return;
    struct query q = store_ask(live,
                               "SELECT a.verb, g.name, a.object, a.detail"
                               " FROM audit a JOIN groups g ON g.id = a.group_row"
                               " WHERE a.id > ?1 AND a.verb IN ('member.approve', 'member.deny',"
                               " 'member.revoke', 'machine.revoke', 'machine.lost', 'role.set',"
                               " 'invite.use', 'ca.roll', 'group.add')"
                               " ORDER BY a.id LIMIT ?2",
                               VALUES(v_int(common), v_int(ARCHIVE_UNDONE_MAX + 1)));
    int told = 0;
    while (told < ARCHIVE_UNDONE_MAX && query_row(&q)) {
        undone(ctx, &(struct archive_undone){query_text(&q, 0), query_text(&q, 1),
                                             query_text(&q, 2), query_text(&q, 3)});
        told++;
    }
    if ((told == ARCHIVE_UNDONE_MAX && query_row(&q)) || q.failed)
        undone(ctx, NULL);
    query_end(&q);
}

char *archive_before(const struct home *h, int64_t now_s, char out[ARCHIVE_PATH_SIZE])
{
    snprintf(out, ARCHIVE_PATH_SIZE, "%s/peal-ca.sqlite.before-%lld", h->dir, (long long)now_s);
    return out;
}

static bool restore_from(const struct home *h, struct store *old, int64_t now_s,
                         void (*undone)(void *ctx, const struct archive_undone *u), void *ctx,
                         const char **why)
{
    char before[ARCHIVE_PATH_SIZE];
    struct store *live = NULL;
    bool ok = false;

    char check[256];

    *why = "this is no backup";
    if (!store_get_meta(old, "key_check", check, sizeof check))
        return false;
    *why = "the backup was sealed with another master key";
    if (!home_key_fits(h, old))
        return false;
    *why = "the backup is damaged";
    if (!store_sound(old))
        return false;
    *why = "the TLS key cannot be restored";
    if (!tls_key_take(h, old))
        return false;
    *why = "the database cannot be written";
    live = age(old, now_s) ? home_store(h, why) : NULL;
    if (live) {
        ok = store_copy(live, archive_before(h, now_s, before)) == 0;
        if (ok)
            tell_undone(live, old, undone, ctx);
        ok = ok && store_load(live, old) == 0;
    }
    store_close(live);
    return ok;
}

bool archive_restore(const struct home *h, const char *path, int64_t now_s,
                     void (*undone)(void *ctx, const struct archive_undone *u), void *ctx,
                     const char **why)
{
    char temporary[1300];
    struct store *old = NULL;
    bool ok = false;

    snprintf(temporary, sizeof temporary, "%s/restore.%ld", h->dir, (long)getpid());
    *why = "the backup cannot be read";
    if (copy_in(path, temporary))
        old = store_open(temporary, why);
    if (old)
        ok = restore_from(h, old, now_s, undone, ctx, why);
    store_close(old);
    database_unlink(temporary);
    return ok;
}
