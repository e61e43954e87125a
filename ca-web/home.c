#include "ca-web/home.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

bool home_become_owner(const char *dir, const char **why)
{
    struct stat st;

    if (geteuid() != 0 || stat(dir, &st) != 0 || st.st_uid == 0)
        return true; /* not root, a directory we are about to make, or root's own */
    const struct passwd *pw = getpwuid(st.st_uid);
    gid_t gid = pw ? pw->pw_gid : st.st_gid;
    int groups = pw ? initgroups(pw->pw_name, gid) : setgroups(0, NULL);
    *why = "cannot switch to the directory's owner";
    return groups == 0 && setresgid(gid, gid, gid) == 0 &&
           setresuid(st.st_uid, st.st_uid, st.st_uid) == 0 && setuid(0) != 0;
}

/* mkdir -p: what lies above is made with the umask's rights, the last one with 0700. */
static bool make_dirs(const char *dir)
{
    char path[1024];

    snprintf(path, sizeof path, "%s", dir);
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(path, 0755) != 0 && errno != EEXIST)
            return false;
        *slash = '/';
    }
    return mkdir(path, 0700) == 0 || errno == EEXIST;
}

static bool tighten(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && fchmod(fd, 0700) == 0;
    int err = errno;

    if (fd >= 0)
        close(fd);
    errno = err;
    return ok;
}

char *home_path(const struct home *h, const char *name, char out[1200])
{
    CHECK(snprintf(out, 1200, "%s/%s", h->dir, name) < 1200);
    return out;
}

struct store *home_store(const struct home *h, const char **why)
{
    char path[1200];

    return store_open(home_path(h, "peal-ca.sqlite", path), why);
}

static void choose_key_file(struct home *h, const char *key_file)
{
    const char *credentials = getenv("CREDENTIALS_DIRECTORY");

    if (key_file) {
        snprintf(h->key_file, sizeof h->key_file, "%s", key_file);
        return;
    }
    home_path(h, "master.key", h->key_file);
    if (credentials) {
        char path[1200];
        snprintf(path, sizeof path, "%s/master.key", credentials);
        if (access(path, R_OK) == 0)
            strcpy(h->key_file, path);
    }
}

bool home_key_fits(const struct home *h, struct store *s)
{
    static const struct id nobody;
    static const char word[] = "peal";
    uint8_t sealed[sizeof word + VAULT_OVERHEAD], opened[sizeof word];
    char hex[2 * sizeof sealed + 1];

    if (store_begin(s))
        return false;
    bool fits = false;
    if (store_get_meta(s, "key_check", hex, sizeof hex)) {
        fits = hex_parse(sealed, sizeof sealed, hex) &&
               vault_unseal(h->vault, "key check", &nobody, sealed, sizeof sealed, opened);
    } else {
        vault_seal(h->vault, "key check", &nobody, word, sizeof word, sealed);
        fits = store_set_meta(s, "key_check", hex_text(sealed, sizeof sealed, hex)) == 0;
    }
    return store_commit(s) == 0 && fits;
}

static int failed(char *why, size_t why_size, const char *what, const char *detail, int status)
{
    snprintf(why, why_size, "%s: %s", what, detail);
    return status;
}

bool home_exists(const char *dir)
{
    char path[1200];

    return snprintf(path, sizeof path, "%s/peal-ca.sqlite", dir) < (int)sizeof path &&
           (access(path, F_OK) == 0 || errno != ENOENT);
}

bool home_lock(const struct home *h)
{
    int fd = open(h->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0; /* fd lives as long as we */
}

static int home_open_store(struct home *h, char *why, size_t why_size)
{
    const char *reason = NULL;
    struct store *s = home_store(h, &reason);

    if (!s)
        return failed(why, why_size, h->dir, reason, 1);
    bool fits = home_key_fits(h, s);
    store_close(s);
    if (!fits)
        return failed(why, why_size, h->key_file,
                      "this master key is not the one the database was made with", 1);
    return 0;
}

int home_open(struct home *h, const char *dir, const char *key_file, char *why, size_t why_size)
{
    const char *reason = NULL;

    *h = (struct home){0};
    if (strlen(dir) >= sizeof h->dir || (key_file && strlen(key_file) >= sizeof h->key_file))
        return failed(why, why_size, dir, "the path is too long", 2);
    strcpy(h->dir, dir);
    if (!make_dirs(dir) || !tighten(dir))
        return failed(why, why_size, dir, strerror(errno),
                      errno == EACCES || errno == EPERM ? 4 : 1);
    choose_key_file(h, key_file);
    /* A master key is made only where there is no database yet that another key has sealed. */
    h->vault = vault_open(h->key_file, !home_exists(dir), &reason);
    if (!h->vault)
        return failed(why, why_size, h->key_file, reason, access(h->key_file, R_OK) ? 4 : 1);
    int status = home_open_store(h, why, why_size);
    if (status)
        home_close(h);
    return status;
}

void home_close(struct home *h)
{
    vault_close(h->vault);
    h->vault = NULL;
}
