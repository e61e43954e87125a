#include "ca-web/account.h"

#include <pthread.h>
#include <sodium.h>
#include <string.h>

/* What an unknown name's password is checked against: the Argon2id string, with the limits below,
 * of a password that was thrown away. */
static const char decoy[] = "$argon2id$v=19$m=65536,t=2,p=1$yaVTQrtuQjriWue8Hkg4ZQ$v1E6SYH+"
                            "lJlUvy89/a4vl5QsRw7eugE6tLAsHynTFMo";

/* Counts hashes being computed, process-wide: the memory they take is the process's. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t free;
    int running, waiting;
} hashing = {.lock = PTHREAD_MUTEX_INITIALIZER, .free = PTHREAD_COND_INITIALIZER};

/* False: so many wait already that one more would take a thread from those who do not log in. */
static bool hashing_enter(void)
{
    pthread_mutex_lock(&hashing.lock);
    bool room = hashing.running < ACCOUNT_HASHES_MAX || hashing.waiting < ACCOUNT_WAITING_MAX;
    hashing.waiting++;
    while (room && hashing.running >= ACCOUNT_HASHES_MAX)
        pthread_cond_wait(&hashing.free, &hashing.lock);
    hashing.waiting--;
    hashing.running += room;
    pthread_mutex_unlock(&hashing.lock);
    return room;
}

static void hashing_leave(void)
{
    pthread_mutex_lock(&hashing.lock);
    hashing.running--;
    pthread_cond_signal(&hashing.free);
    pthread_mutex_unlock(&hashing.lock);
}

static enum outcome password_hash(char out[crypto_pwhash_STRBYTES], const char *password)
{
    if (!hashing_enter())
        return OUT_BUSY;
    int rc =
        crypto_pwhash_str_alg(out, password, strlen(password), crypto_pwhash_OPSLIMIT_INTERACTIVE,
                              crypto_pwhash_MEMLIMIT_INTERACTIVE, crypto_pwhash_ALG_ARGON2ID13);
    hashing_leave();
    return rc == 0 ? OUT_OK : OUT_INTERNAL;
}

static enum outcome password_check(const char *hash, const char *password)
{
    if (!hashing_enter())
        return OUT_BUSY;
    int rc = crypto_pwhash_str_verify(hash, password, strlen(password));
    hashing_leave();
    return rc == 0 ? OUT_OK : OUT_WRONG_LOGIN;
}

static bool password_valid(const char *password)
{
    size_t len = strlen(password);
    return len >= PASSWORD_MIN && len <= PASSWORD_MAX;
}

/* Lightly: something@name, no blanks or controls. A notice that comes back tells the rest. */
bool account_email_valid(const char *email)
{
    const char *at = strrchr(email, '@');

    if (!at || at == email || strlen(email) > EMAIL_MAX || !name_valid(at + 1))
        return false;
    for (const char *p = email; *p; p++)
        if (*p <= 0x20 || *p == 0x7f || strchr("<>\"(),;:\\", *p))
            return false;
    return desk_text_valid(email);
}

enum outcome account_find(struct desk *d, const char *name, struct account *out)
{
    char label[LABEL_MAX + 1];

    *out = (struct account){0};
    if (!label_normalize(label, sizeof label, name, strlen(name)))
        return OUT_NO_USER;
    struct query q = store_ask(d->store, "SELECT id, name, email, admin FROM users WHERE name = ?1",
                               VALUES(v_text(label)));
    if (!query_row(&q))
        return q.failed ? OUT_INTERNAL : OUT_NO_USER;
    out->row = query_int(&q, 0);
    query_copy_text(&q, 1, out->name, sizeof out->name);
    query_copy_text(&q, 2, out->email, sizeof out->email);
    out->admin = query_int(&q, 3) != 0;
    query_end(&q);
    return OUT_OK;
}

/* Inside a transaction. */
static enum outcome account_insert(struct desk *d, enum verb verb, struct account *a,
                                   const char *hash)
{
    int err = store_run(
        d->store,
        "INSERT INTO users (name, email, password, admin, made_s)"
        " VALUES (?1, ?2, ?3, ?4, ?5)",
        VALUES(v_text(a->name), v_text(a->email), v_text(hash), v_int(a->admin), v_int(d->now_s)));
    if (err == -ERR_BAD_STATE)
        return OUT_USER_EXISTS;
    if (err < 0)
        return desk_failed(err);
    a->row = store_last_row(d->store);
    return desk_audit(d, verb, 0, a->name, a->admin ? "service administrator" : "");
}

/* Fills *a and the password's hash from what a person typed. */
static enum outcome account_prepare(struct account *a, const char *name, const char *email,
                                    const char *password, bool admin,
                                    char hash[crypto_pwhash_STRBYTES])
{
    *a = (struct account){.admin = admin};
    if (!label_normalize(a->name, sizeof a->name, name, strlen(name)))
        return OUT_BAD_NAME;
    if (!account_email_valid(email))
        return OUT_BAD_EMAIL;
    strcpy(a->email, email);
    if (password && !password_valid(password))
        return OUT_BAD_PASSWORD;
    return password ? password_hash(hash, password) : OUT_OK;
}

enum outcome account_add(struct desk *d, enum verb verb, const char *name, const char *email,
                         const char *password, bool admin, struct account *out)
{
    char hash[crypto_pwhash_STRBYTES];
    enum outcome o = desk_authorize(d, verb, 0, 0);

    *out = (struct account){0};
    CHECK(verb == VERB_USER_ADD || !admin);
    if (o == OUT_OK)
        o = account_prepare(out, name, email, password, admin, hash);
    if (o == OUT_OK)
        o = desk_open(d, verb, 0, 0);
    if (o != OUT_OK)
        return o;
    return desk_close(d, account_insert(d, verb, out, password ? hash : NULL));
}

enum outcome account_set_password(struct desk *d, const struct account *account,
                                  const char *password)
{
    char hash[crypto_pwhash_STRBYTES];
    enum outcome o = desk_authorize(d, VERB_USER_EDIT, 0, account->row);

    if (o != OUT_OK)
        return o;
    if (!password_valid(password))
        return OUT_BAD_PASSWORD;
    o = password_hash(hash, password);
    if (o == OUT_OK)
        o = desk_open(d, VERB_USER_EDIT, 0, account->row);
    if (o != OUT_OK)
        return o;
    /* Whoever knew the old password is out. */
    if (store_run(d->store, "UPDATE users SET password = ?2 WHERE id = ?1",
                  VALUES(v_int(account->row), v_text(hash))) < 0 ||
        store_run(d->store, "DELETE FROM sessions WHERE user_row = ?1",
                  VALUES(v_int(account->row))) < 0)
        o = OUT_INTERNAL;
    else
        o = desk_audit(d, VERB_USER_EDIT, 0, account->name, "password");
    return desk_close(d, o);
}

enum outcome account_set_admin(struct desk *d, const struct account *account, bool admin)
{
    enum outcome o = desk_open(d, VERB_ADMIN_SET, 0, account->row);

    if (o != OUT_OK)
        return o;
    int changed = store_run(d->store,
                            "UPDATE users SET admin = ?2 WHERE id = ?1 AND admin <> ?2 AND"
                            " (?2 OR EXISTS (SELECT 1 FROM users WHERE admin AND id <> ?1))",
                            VALUES(v_int(account->row), v_int(admin)));
    if (changed < 0)
        o = desk_failed(changed);
    else if (changed == 0 && account->admin && !admin)
        o = OUT_LAST_ADMIN;
    else if (changed == 1)
        o = desk_audit(d, VERB_ADMIN_SET, 0, account->name, admin ? "administrator" : "user");
    return desk_close(d, o);
}

enum outcome account_log_in(struct desk *d, const char *name, const char *password,
                            struct account *out)
{
    char hash[crypto_pwhash_STRBYTES] = "";

    if (strlen(password) > PASSWORD_MAX)
        return OUT_WRONG_LOGIN;
    enum outcome o = account_find(d, name, out);
    if (o != OUT_OK && o != OUT_NO_USER)
        return o;
    struct query q =
        store_ask(d->store, "SELECT password FROM users WHERE id = ?1", VALUES(v_int(out->row)));
    if (query_row(&q) && !query_null(&q, 0))
        query_copy_text(&q, 0, hash, sizeof hash);
    query_end(&q);
    bool known = hash[0] != '\0';
    o = password_check(known ? hash : decoy, password);
    if (known && o == OUT_OK)
        return OUT_OK;
    *out = (struct account){0};
    return o == OUT_OK ? OUT_WRONG_LOGIN : o;
}

static void token_hash(char hex[2 * HASH_LEN + 1], const char *token)
{
    uint8_t hash[HASH_LEN];

    sha256(hash, token, strlen(token));
    hex_text(hash, sizeof hash, hex);
}

static bool has_admin(struct desk *d)
{
    return store_int(d->store, 1, "SELECT count(*) FROM users WHERE admin", VALUES()) != 0;
}

enum outcome account_setup_token(struct desk *d, char token[SETUP_TOKEN_SIZE])
{
    uint8_t random[32];
    char hash[2 * HASH_LEN + 1];

    randombytes_buf(random, sizeof random);
    sodium_bin2base64(token, SETUP_TOKEN_SIZE, random, sizeof random,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    wipe(random, sizeof random);
    token_hash(hash, token);
    enum outcome o = desk_begin(d);
    if (o != OUT_OK)
        return o;
    if (has_admin(d))
        o = OUT_SETUP_DONE;
    else if (store_set_meta(d->store, "setup", hash))
        o = OUT_INTERNAL;
    return desk_close(d, o);
}

bool account_setup_valid(struct desk *d, const char *token)
{
    char want[2 * HASH_LEN + 1], have[2 * HASH_LEN + 1];

    token_hash(have, token);
    return !has_admin(d) && store_get_meta(d->store, "setup", want, sizeof want) &&
           strlen(want) == 2 * HASH_LEN && equal_ct(want, have, sizeof want);
}

enum outcome account_setup(struct desk *d, const char *token, const char *name, const char *email,
                           const char *password, struct account *out)
{
    char hash[crypto_pwhash_STRBYTES];
    enum outcome o = desk_authorize(d, VERB_SETUP, 0, 0);

    *out = (struct account){0};
    if (o == OUT_OK && !account_setup_valid(d, token))
        o = OUT_SETUP_DONE;
    if (o == OUT_OK)
        o = account_prepare(out, name, email, password, true, hash);
    if (o == OUT_OK)
        o = desk_open(d, VERB_SETUP, 0, 0);
    if (o != OUT_OK)
        return o;
    if (!account_setup_valid(d, token)) /* again, now that nobody else can write */
        o = OUT_SETUP_DONE;
    if (o == OUT_OK)
        o = account_insert(d, VERB_SETUP, out, hash);
    if (o == OUT_OK && store_run(d->store, "DELETE FROM meta WHERE name = 'setup'", VALUES()) < 0)
        o = OUT_INTERNAL;
    return desk_close(d, o);
}
