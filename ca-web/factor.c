#include "ca-web/factor.h"

#include <ctype.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

static const char purpose_secret[] = "second factor";
static const char purpose_offer[] = "second factor offer";

enum { SEALED_LEN = TOTP_SECRET_LEN + VAULT_OVERHEAD, OFFER_LEN = TOTP_SECRET_LEN + 8 };

/* Seals are bound to the account, as those of groups are to the group. */
static struct id account_id(const struct account *a)
{
    struct id id = {{0}};

    for (int i = 0; i < 8; i++)
        id.b[ID_LEN - 1 - i] = (uint8_t)((uint64_t)a->row >> (8 * i));
    return id;
}

bool factor_on(struct desk *d, const struct account *account)
{
    return store_int(d->store, 1, "SELECT totp IS NOT NULL FROM users WHERE id = ?1",
                     VALUES(v_int(account->row))) != 0;
}

int64_t factor_recoveries(struct desk *d, const struct account *account)
{
    return store_int(d->store, 0,
                     "SELECT count(*) FROM recovery_codes WHERE user_row = ?1 AND used_s IS NULL",
                     VALUES(v_int(account->row)));
}

static void offer_write(struct desk *d, const struct account *account,
                        const uint8_t secret[TOTP_SECRET_LEN], struct factor_offer *out)
{
    uint8_t plain[OFFER_LEN], sealed[OFFER_LEN + VAULT_OVERHEAD];
    struct id id = account_id(account);
    int64_t until_s = d->now_s + FACTOR_OFFER_S;

    memcpy(plain, secret, TOTP_SECRET_LEN);
    for (int i = 0; i < 8; i++)
        plain[TOTP_SECRET_LEN + i] = (uint8_t)((uint64_t)until_s >> (56 - 8 * i));
    vault_seal(d->vault, purpose_offer, &id, plain, sizeof plain, sealed);
    hex_text(sealed, sizeof sealed, out->sealed);
    base32_text(secret, TOTP_SECRET_LEN, out->base32);
    wipe(plain, sizeof plain);
}

void factor_offer(struct desk *d, const struct account *account, struct factor_offer *out)
{
    uint8_t secret[TOTP_SECRET_LEN];

    randombytes_buf(secret, sizeof secret);
    offer_write(d, account, secret, out);
    wipe(secret, sizeof secret);
}

static bool offer_open(struct desk *d, const struct account *account, const char *text,
                       uint8_t secret[TOTP_SECRET_LEN])
{
    uint8_t plain[OFFER_LEN], sealed[OFFER_LEN + VAULT_OVERHEAD];
    struct id id = account_id(account);
    int64_t until_s = 0;

    if (strlen(text) != 2 * sizeof sealed || !hex_parse(sealed, sizeof sealed, text) ||
        !vault_unseal(d->vault, purpose_offer, &id, sealed, sizeof sealed, plain))
        return false;
    for (int i = 0; i < 8; i++)
        until_s = until_s << 8 | plain[TOTP_SECRET_LEN + i];
    memcpy(secret, plain, TOTP_SECRET_LEN);
    wipe(plain, sizeof plain);
    return until_s > d->now_s;
}

bool factor_offer_read(struct desk *d, const struct account *account, const char *sealed,
                       struct factor_offer *out)
{
    uint8_t secret[TOTP_SECRET_LEN];
    bool ok = offer_open(d, account, sealed, secret);

    if (ok) {
        strcpy(out->sealed, sealed);
        base32_text(secret, sizeof secret, out->base32);
    }
    wipe(secret, sizeof secret);
    return ok;
}

/* Upper case, without what separates the groups. */
static void recovery_hash(uint8_t out[HASH_LEN], const char *typed)
{
    char plain[FACTOR_RECOVERY_SIZE];
    size_t n = 0;

    for (; *typed && n + 1 < sizeof plain; typed++)
        if (isalnum((unsigned char)*typed))
            plain[n++] = (char)toupper((unsigned char)*typed);
    sha256(out, plain, n);
    wipe(plain, sizeof plain);
}

static bool recoveries_write(struct desk *d, const struct account *account,
                             char recovery[FACTOR_RECOVERIES][FACTOR_RECOVERY_SIZE])
{
    uint8_t random[10], hash[HASH_LEN];
    char text[17];
    bool ok = store_run(d->store, "DELETE FROM recovery_codes WHERE user_row = ?1",
                        VALUES(v_int(account->row))) >= 0;

    for (int i = 0; ok && i < FACTOR_RECOVERIES; i++) {
        randombytes_buf(random, sizeof random);
        base32_text(random, sizeof random, text);
        snprintf(recovery[i], FACTOR_RECOVERY_SIZE, "%.4s-%.4s-%.4s-%.4s", text, text + 4, text + 8,
                 text + 12);
        recovery_hash(hash, recovery[i]);
        ok = store_run(d->store, "INSERT INTO recovery_codes (user_row, hash) VALUES (?1, ?2)",
                       VALUES(v_int(account->row), v_bytes(hash, sizeof hash))) == 1;
    }
    wipe(text, sizeof text);
    return ok;
}

static enum outcome set_write(struct desk *d, const struct account *account,
                              const uint8_t secret[TOTP_SECRET_LEN], int64_t step,
                              char recovery[FACTOR_RECOVERIES][FACTOR_RECOVERY_SIZE])
{
    uint8_t sealed[SEALED_LEN];
    struct id id = account_id(account);

    vault_seal(d->vault, purpose_secret, &id, secret, TOTP_SECRET_LEN, sealed);
    if (store_run(d->store, "UPDATE users SET totp = ?2, totp_step = ?3 WHERE id = ?1",
                  VALUES(v_int(account->row), v_bytes(sealed, sizeof sealed), v_int(step))) != 1 ||
        !recoveries_write(d, account, recovery))
        return OUT_INTERNAL;
    return desk_audit(d, VERB_USER_EDIT, 0, account->name, "second factor on");
}

enum outcome factor_set(struct desk *d, const struct account *account, const char *sealed,
                        const char *code, char recovery[FACTOR_RECOVERIES][FACTOR_RECOVERY_SIZE])
{
    uint8_t secret[TOTP_SECRET_LEN];
    int64_t step = 0;
    enum outcome o = OUT_BAD_REQUEST;

    if (offer_open(d, account, sealed, secret))
        o = totp_match(secret, code, d->now_s, 0, &step) ? OUT_OK : OUT_WRONG_CODE;
    if (o == OUT_OK)
        o = desk_open(d, VERB_USER_EDIT, 0, account->row);
    if (o == OUT_OK)
        o = desk_close(d, set_write(d, account, secret, step, recovery));
    wipe(secret, sizeof secret);
    return o;
}

static bool code_spend(struct desk *d, const struct account *account, const char *code)
{
    uint8_t sealed[SEALED_LEN], secret[TOTP_SECRET_LEN];
    struct id id = account_id(account);
    int64_t step = 0, last = 0;
    struct query q = store_ask(d->store, "SELECT totp, totp_step FROM users WHERE id = ?1",
                               VALUES(v_int(account->row)));
    bool ok = query_row(&q) && query_copy(&q, 0, sealed, sizeof sealed);

    if (ok)
        last = query_int(&q, 1);
    query_end(&q);
    ok = ok && vault_unseal(d->vault, purpose_secret, &id, sealed, sizeof sealed, secret) &&
         totp_match(secret, code, d->now_s, last, &step);
    wipe(secret, sizeof secret);
    return ok &&
           store_run(d->store, "UPDATE users SET totp_step = ?2 WHERE id = ?1 AND totp_step < ?2",
                     VALUES(v_int(account->row), v_int(step))) == 1;
}

static bool recovery_spend(struct desk *d, const struct account *account, const char *code)
{
    uint8_t hash[HASH_LEN];

    recovery_hash(hash, code);
    return store_run(d->store,
                     "UPDATE recovery_codes SET used_s = ?3"
                     " WHERE user_row = ?1 AND hash = ?2 AND used_s IS NULL",
                     VALUES(v_int(account->row), v_bytes(hash, sizeof hash), v_int(d->now_s))) == 1;
}

enum outcome factor_check(struct desk *d, const struct account *account, const char *code)
{
    enum outcome o = desk_begin(d);

    if (o != OUT_OK)
        return o;
    if (code_spend(d, account, code))
        return desk_close(d, OUT_OK);
    if (!recovery_spend(d, account, code))
        return desk_close(d, OUT_WRONG_CODE);
    return desk_close(d, desk_audit(d, VERB_USER_EDIT, 0, account->name, "recovery code used"));
}

enum outcome factor_clear(struct desk *d, const struct account *account)
{
    enum outcome o = desk_open(d, VERB_USER_EDIT, 0, account->row);

    if (o != OUT_OK)
        return o;
    if (store_run(d->store, "UPDATE users SET totp = NULL, totp_step = 0 WHERE id = ?1",
                  VALUES(v_int(account->row))) < 0 ||
        store_run(d->store, "DELETE FROM recovery_codes WHERE user_row = ?1",
                  VALUES(v_int(account->row))) < 0)
        o = OUT_INTERNAL;
    else
        o = desk_audit(d, VERB_USER_EDIT, 0, account->name, "second factor off");
    return desk_close(d, o);
}
