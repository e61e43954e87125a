#include "dht/record.h"

#include "overlay/core/table.h"

#include <string.h>

enum {
    SIGNED_PREFIX_LEN = 18, /* with its zero byte */
    SIGNED_LEN =
        SIGNED_PREFIX_LEN + ID_LEN + 3 * ID_LEN + 1 + 4 + 4 + 4 + 8 + HASH_LEN + CREDENTIAL_LEN,
};
static const char signed_prefix[SIGNED_PREFIX_LEN] = "peal dht record 1";

static bool kind_valid(const struct record *rec)
{
    uint8_t base = rec->kind & (uint8_t)~RECORD_REMOVED;

    if (base != RECORD_CREATE && base != RECORD_PUT)
        return false;
    return !record_removed(rec) || rec->len == 0;
}

static bool duration_valid(uint32_t duration_s)
{
    return duration_s >= 1 && duration_s <= DHT_DURATION_MAX_S + RECORD_TOMBSTONE_EXTRA_S;
}

bool record_read(struct reader *r, struct record *out)
{
    memset(out, 0, sizeof(*out));
    out->key = read_id(r);
    out->kind = read_u8(r);
    out->owner = read_id(r);
    out->writer = read_id(r);
    out->epoch = read_u32(r);
    out->sequence = read_u32(r);
    out->duration_s = read_u32(r);
    out->not_after_s = read_u64(r);
    out->len = read_u16(r);
    if (out->len > DHT_VALUE_MAX || !kind_valid(out) || !duration_valid(out->duration_s))
        r->failed = true;
    out->value = read_bytes(r, r->failed ? 0 : out->len);
    read_copy(r, out->credential, CREDENTIAL_LEN);
    read_copy(r, out->signature, SIGNATURE_LEN);
    return !r->failed;
}

void record_write(struct writer *w, const struct record *rec)
{
    write_id(w, &rec->key);
    write_u8(w, rec->kind);
    write_id(w, &rec->owner);
    write_id(w, &rec->writer);
    write_u32(w, rec->epoch);
    write_u32(w, rec->sequence);
    write_u32(w, rec->duration_s);
    write_u64(w, rec->not_after_s);
    write_u16(w, rec->len);
    write_bytes(w, rec->value, rec->len);
    write_bytes(w, rec->credential, CREDENTIAL_LEN);
    write_bytes(w, rec->signature, SIGNATURE_LEN);
}

bool renewal_read(struct reader *r, struct renewal *out)
{
    memset(out, 0, sizeof(*out));
    out->key = read_id(r);
    out->owner = read_id(r);
    out->epoch = read_u32(r);
    out->sequence = read_u32(r);
    out->duration_s = read_u32(r);
    out->not_after_s = read_u64(r);
    read_copy(r, out->credential, CREDENTIAL_LEN);
    read_copy(r, out->signature, SIGNATURE_LEN);
    if (!duration_valid(out->duration_s))
        r->failed = true;
    return !r->failed;
}

void renewal_write(struct writer *w, const struct record *rec)
{
    write_id(w, &rec->key);
    write_id(w, &rec->owner);
    write_u32(w, rec->epoch);
    write_u32(w, rec->sequence);
    write_u32(w, rec->duration_s);
    write_u64(w, rec->not_after_s);
    write_bytes(w, rec->credential, CREDENTIAL_LEN);
    write_bytes(w, rec->signature, SIGNATURE_LEN);
}

struct record record_renewed(const struct record *old, const struct renewal *renewal)
{
    struct record rec = *old;

    rec.epoch = renewal->epoch;
    rec.sequence = renewal->sequence;
    rec.duration_s = renewal->duration_s;
    rec.not_after_s = renewal->not_after_s;
    memcpy(rec.credential, renewal->credential, CREDENTIAL_LEN);
    memcpy(rec.signature, renewal->signature, SIGNATURE_LEN);
    return rec;
}

struct record record_tombstone(const struct record *rec)
{
    struct record tombstone = *rec;

    tombstone.kind |= RECORD_REMOVED;
    tombstone.len = 0;
    tombstone.duration_s += RECORD_TOMBSTONE_EXTRA_S;
    return tombstone;
}

static void signed_bytes(uint8_t out[SIGNED_LEN], const struct record *rec,
                         const struct id *overlay)
{
    struct writer w = writer_of(out, SIGNED_LEN);
    uint8_t hash[HASH_LEN];

    sha256(hash, rec->value, rec->len);
    write_bytes(&w, signed_prefix, SIGNED_PREFIX_LEN);
    write_id(&w, overlay);
    write_id(&w, &rec->key);
    write_u8(&w, rec->kind);
    write_id(&w, &rec->owner);
    write_id(&w, &rec->writer);
    write_u32(&w, rec->epoch);
    write_u32(&w, rec->sequence);
    write_u32(&w, rec->duration_s);
    write_u64(&w, rec->not_after_s);
    write_bytes(&w, hash, HASH_LEN);
    write_bytes(&w, rec->credential, CREDENTIAL_LEN);
    CHECK(!w.failed && writer_left(&w) == 0);
}

void record_sign(struct record *rec, const struct id *overlay, const struct sign_secret *sec)
{
    uint8_t msg[SIGNED_LEN];

    signed_bytes(msg, rec, overlay);
    sign(rec->signature, msg, sizeof(msg), sec);
}

bool record_verify(const struct record *rec, const struct id *overlay,
                   const struct sign_public *pub)
{
    uint8_t msg[SIGNED_LEN];

    signed_bytes(msg, rec, overlay);
    return sign_verify(rec->signature, msg, sizeof(msg), pub);
}

bool record_newer(const struct record *a, const struct record *b)
{
    if (a->epoch != b->epoch)
        return a->epoch > b->epoch;
    if (a->sequence != b->sequence)
        return a->sequence > b->sequence;
    /* Two writers of one site, or one writer that was run twice: any total order will do. */
    return memcmp(a->signature, b->signature, SIGNATURE_LEN) > 0;
}

uint64_t record_version(const struct record *rec, const uint8_t key[16])
{
    uint8_t bytes[2 * ID_LEN + SIGNATURE_LEN];

    memcpy(bytes, rec->key.b, ID_LEN);
    memcpy(bytes + ID_LEN, rec->owner.b, ID_LEN);
    memcpy(bytes + 2 * ID_LEN, rec->signature, SIGNATURE_LEN);
    return siphash(key, bytes, sizeof(bytes));
}

bool record_outdated(const struct record *rec, const struct env *env)
{
    if (!env->wall_known || rec->not_after_s == 0 || env->wall_s < 0)
        return false;
    return (uint64_t)env->wall_s > RECORD_CLOCK_SLACK_S &&
           (uint64_t)env->wall_s - RECORD_CLOCK_SLACK_S > rec->not_after_s;
}

struct id dht_key(const struct id *overlay, const char *what, const void *name, size_t len)
{
    static const char prefix[] = "peal dht key";
    struct bytes parts[] = {
        {prefix, sizeof(prefix)},
        {overlay->b, ID_LEN},
        {what, strlen(what) + 1},
        {name, len},
    };

    return id_hash(parts, ARRAY_LEN(parts));
}

struct id dht_rendezvous_key(const struct id *overlay, const struct sign_public *pub)
{
    return dht_key(overlay, "rendezvous", pub->b, sizeof(pub->b));
}
