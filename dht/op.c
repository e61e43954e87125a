#include "dht/inside.h"

#include <stdlib.h>
#include <string.h>

enum op_phase {
    OP_WAIT,    /* until the overlay has taken us in */
    OP_GRANT,   /* five points are asked for a promise */
    OP_RELEASE, /* somebody else was claiming it too: promises given back, then again after wait_us
                 */
    OP_WRITE,   /* five points are sent the record */
    OP_GET,     /* points are asked what they hold */
};

enum ask_state {
    ASK_IDLE,     /* not asked in this phase (yet) */
    ASK_OUT,      /* due_us: repeat */
    ASK_LATER,    /* was told to ask again at due_us */
    ASK_ANSWERED, /* verdict */
    ASK_FAILED,   /* did not answer, or never became ready */
};

struct ask {
    enum ask_state state;
    uint8_t verdict, tries, waits;
    bool whole; /* OP_WRITE: the whole record, not only a renewal */
    uint64_t id;
    usec sent_us, due_us;
    struct id after; /* OP_GET: last owner of the pages so far */
};

/* A record that a lookup has found, and the points that have this version of it. */
struct found {
    struct record rec;
    uint64_t enrolment;
    usec ends_us;
    uint8_t points; /* that name this owner */
    uint8_t newest; /* that have this version */
    uint8_t value[];
};

struct signer {
    struct sign_public pub;
    struct sign_secret sec;
};

struct op {
    struct op *next;
    enum op_kind kind;
    enum op_phase phase;
    enum dht_mode mode;
    unsigned flags;
    struct op_caller caller;
    struct id key;
    struct record rec; /* of a write; value behind the struct */
    struct ask asks[DHT_POINTS];
    unsigned rounds, bumps, first_point;
    usec wait_us; /* OP_WAIT, OP_RELEASE, and between rounds of OP_WRITE: go on then; else
                     USEC_NEVER */
    usec ends_us; /* when the lease being written ends by our own count */
    bool certain; /* the outcome is known */
    bool told;    /* and the caller knows it */
    bool over;    /* nothing is asked any more */
    enum dht_status status;
    struct found *found[DHT_VALUES_MAX];
    size_t found_count;
    struct signer *signer; /* NULL: we */
    uint8_t value[];
};

static void begin(struct dht *d, struct op *op, enum op_phase phase);

/* Life. */

void ops_init(struct dht *d)
{
    d->ops.last = &d->ops.first;
}

static void free_op(struct op *op)
{
    for (size_t i = 0; i < op->found_count; i++)
        free(op->found[i]);
    if (op->signer != NULL)
        sign_secret_clear(&op->signer->sec);
    free(op->signer);
    free(op);
}

void ops_clear(struct dht *d)
{
    struct op *next;

    for (struct op *op = d->ops.first; op != NULL; op = next) {
        next = op->next;
        free_op(op);
    }
    d->ops.first = NULL;
    d->ops.last = &d->ops.first;
    d->ops.count = 0;
}

static struct op *new_op(struct dht *d, enum op_kind kind, const struct id *key, size_t value_len,
                         const struct op_caller *caller)
{
    struct op *op;

    if (d->ops.count >= DHT_OPS_MAX)
        return NULL;
    op = calloc(1, sizeof(*op) + value_len);
    if (op == NULL)
        return NULL;
    op->kind = kind;
    op->key = *key;
    if (caller != NULL)
        op->caller = *caller;
    op->phase = OP_WAIT;
    op->wait_us = d->env->now_us;
    op->ends_us = d->env->now_us + MEMBER_WAIT_US;
    *d->ops.last = op;
    d->ops.last = &op->next;
    d->ops.count++;
    dht_count(d, COUNT_OPS);
    return op;
}

static void remove_over(struct dht *d)
{
    struct op **at = &d->ops.first;

    while (*at != NULL) {
        struct op *op = *at;

        if (!op->over || !op->told) {
            at = &op->next;
            continue;
        }
        *at = op->next;
        d->ops.count--;
        free_op(op);
    }
    d->ops.last = at;
}

static struct op *new_write(struct dht *d, enum op_kind kind, const struct record *rec,
                            const struct op_caller *caller)
{
    struct op *op = new_op(d, kind, &rec->key, rec->len, caller);

    if (op == NULL)
        return NULL;
    op->rec = *rec;
    if (rec->len > 0)
        memcpy(op->value, rec->value, rec->len);
    op->rec.value = op->value;
    return op;
}

int op_write(struct dht *d, enum op_kind kind, const struct record *rec, unsigned flags,
             const struct op_caller *caller)
{
    struct op *op = new_write(d, kind, rec, caller);

    if (op == NULL)
        return -ERR_FULL;
    op->flags = flags;
    return 0;
}

int op_write_as(struct dht *d, enum op_kind kind, const struct record *rec,
                const struct sign_public *pub, const struct sign_secret *sec,
                const struct op_caller *caller)
{
    struct signer *signer = malloc(sizeof(*signer));
    struct op *op = signer != NULL ? new_write(d, kind, rec, caller) : NULL;

    if (op == NULL) {
        free(signer);
        return -ERR_FULL;
    }
    *signer = (struct signer){*pub, *sec};
    op->signer = signer;
    return 0;
}

int op_lookup(struct dht *d, const struct id *key, enum dht_mode mode,
              const struct op_caller *caller)
{
    struct op *op = new_op(d, OP_LOOKUP, key, 0, caller);
    unsigned best = 0;

    if (op == NULL)
        return -ERR_FULL;
    op->mode = mode;
    for (unsigned i = 1; i < DHT_POINTS; i++) {
        struct id a = id_point(key, i, DHT_POINTS);
        struct id b = id_point(key, best, DHT_POINTS);

        a = id_distance(&a, &d->config.node);
        b = id_distance(&b, &d->config.node);
        if (id_cmp(&a, &b) < 0)
            best = i;
    }
    op->first_point = best;
    return 0;
}

int op_lookup_at(struct dht *d, const struct id *key, unsigned point,
                 const struct op_caller *caller)
{
    struct op *op = new_op(d, OP_LOOKUP, key, 0, caller);

    if (op == NULL)
        return -ERR_FULL;
    op->mode = DHT_ANY;
    op->first_point = point;
    return 0;
}

void ops_cancel(struct dht *d, const void *ctx)
{
    for (struct op *op = d->ops.first; op != NULL; op = op->next)
        if (op->caller.ctx == ctx)
            op->caller.done = NULL;
}

bool ops_writing(const struct dht *d)
{
    for (const struct op *op = d->ops.first; op != NULL; op = op->next)
        if (op->kind != OP_LOOKUP && !op->over)
            return true;
    return false;
}

static void settle(struct dht *d, struct op *op, enum dht_status status)
{
    if (op->certain)
        return;
    op->certain = true;
    op->status = status;
    if (status != DHT_OK && status != DHT_NOT_FOUND)
        dht_count(d, COUNT_OPS_FAILED);
    if (status == DHT_TAKEN)
        dht_count(d, COUNT_TAKEN);
}

static void finish(struct dht *d, struct op *op, enum dht_status status)
{
    settle(d, op, status);
    op->over = true;
}

/* Asking. */

static void new_sequence(struct dht *d, struct op *op, uint32_t epoch, uint32_t sequence)
{
    struct record *rec = &op->rec;

    rec->epoch = epoch;
    rec->sequence = sequence;
    rec->not_after_s = 0;
    if (d->env->wall_known && d->env->wall_s > 0) {
        uint64_t at = (uint64_t)d->env->wall_s + rec->duration_s + RECORD_NOT_AFTER_STEP_S - 1;

        rec->not_after_s = at - at % RECORD_NOT_AFTER_STEP_S;
    }
    if (op->signer == NULL) {
        creds_own_credential(&d->creds, &d->config.pub, rec->credential);
        record_sign(rec, &d->config.overlay, &d->config.sec);
    } else {
        creds_own_credential(&d->creds, &op->signer->pub, rec->credential);
        record_sign(rec, &d->config.overlay, &op->signer->sec);
    }
}

/* Not 1: an earlier life of ours may have left records in a ring that is apart from ours, and the
 * same numbers would make ours the very same, of which holders pass on what time is left. */
static uint32_t first_sequence(const struct dht *d)
{
    return 1 + (uint32_t)env_random_below(d->env, FIRST_SEQUENCES);
}

/* A newer one of ours stands: go on from its numbers. */
static void overtake(struct dht *d, struct op *op, const struct record *standing)
{
    if (standing->epoch == UINT32_MAX)
        new_sequence(d, op, UINT32_MAX, standing->sequence + 1);
    else
        new_sequence(d, op, standing->epoch + 1, 1);
}

static void write_question(struct dht *d, const struct op *op, unsigned i, struct parcel *p)
{
    const struct ask *ask = &op->asks[i];
    usec left_us = op->ends_us > d->env->now_us ? op->ends_us - d->env->now_us : 0;

    switch (op->phase) {
    case OP_WAIT:
        break;
    case OP_GRANT:
        parcel_start(p, PARCEL_GRANT, ask->id);
        write_u8(&p->w, (uint8_t)i);
        write_u8(&p->w, ITEM_PROMISE);
        write_u32(&p->w, op->rec.duration_s);
        record_write(&p->w, &op->rec);
        break;
    case OP_RELEASE:
        parcel_start(p, PARCEL_RELEASE, ask->id);
        write_u8(&p->w, (uint8_t)i);
        write_id(&p->w, &op->rec.key);
        write_id(&p->w, &op->rec.owner);
        break;
    case OP_WRITE:
        parcel_start(p, ask->whole ? PARCEL_STORE : PARCEL_RENEW, ask->id);
        write_u8(&p->w, (uint8_t)i);
        if (!ask->whole) {
            renewal_write(&p->w, &op->rec);
            break;
        }
        write_u8(&p->w, 0);
        write_u32(&p->w, (uint32_t)(left_us / SEC(1)));
        record_write(&p->w, &op->rec);
        break;
    case OP_GET:
        parcel_start(p, PARCEL_GET, ask->id);
        write_u8(&p->w, (uint8_t)i);
        write_id(&p->w, &op->key);
        write_id(&p->w, &ask->after);
        break;
    }
}

/* A write that was repeated too soon costs as much again; with a lookup somebody waits. */
static usec first_timeout(const struct ops *ops, bool lookup)
{
    usec us = ops->srtt_us + 4 * ops->rttvar_us;

    if (ops->srtt_us == 0)
        return lookup ? ASK_TIMEOUT_LOOKUP_US : ASK_TIMEOUT_WRITE_US;
    if (us < ASK_TIMEOUT_MIN_US)
        return ASK_TIMEOUT_MIN_US;
    return usec_min(us, ASK_TIMEOUT_MAX_US);
}

static unsigned tries_max(const struct op *op)
{
    return op->phase == OP_GET ? ASK_TRIES_GET : ASK_TRIES;
}

static usec timeout_of(const struct dht *d, const struct op *op, const struct ask *ask)
{
    usec us = first_timeout(&d->ops, op->phase == OP_GET) << ask->tries;

    return op->phase == OP_GET ? usec_min(us, ASK_TIMEOUT_MAX_US) : us;
}

static void send_question(struct dht *d, struct op *op, unsigned i)
{
    struct ask *ask = &op->asks[i];
    struct id point = id_point(&op->key, i, DHT_POINTS);
    struct parcel p;

    if (ask->state != ASK_OUT)
        ask->id = parcel_new_id(d);
    write_question(d, op, i, &p);
    ask->state = ASK_OUT;
    ask->sent_us = d->env->now_us;
    ask->due_us = d->env->now_us + timeout_of(d, op, ask);
    ask->tries++;
    if (op->phase == OP_GET && (ask->tries > 1 || ask->waits > 0))
        parcel_route_anew(d, &point, &p);
    else
        parcel_route(d, &point, &p);
}

static void ask_idle(struct dht *d, struct op *op)
{
    for (unsigned i = 0; i < DHT_POINTS; i++)
        if (op->asks[i].state == ASK_IDLE)
            send_question(d, op, i);
}

static void begin(struct dht *d, struct op *op, enum op_phase phase)
{
    op->phase = phase;
    op->wait_us = USEC_NEVER;
    for (unsigned i = 0; i < DHT_POINTS; i++)
        op->asks[i] = (struct ask){.whole = op->kind != OP_RENEWAL};
    if (phase == OP_WRITE)
        op->ends_us = d->env->now_us + SEC(op->rec.duration_s);
    if (phase == OP_GET && op->mode == DHT_ANY)
        send_question(d, op, op->first_point);
    else
        ask_idle(d, op);
}

/* The operation before this one that still writes the same key, or NULL. */
static struct op *writer_before(const struct dht *d, const struct op *op)
{
    for (struct op *o = d->ops.first; o != op; o = o->next)
        if (o->kind != OP_LOOKUP && !o->over && id_eq(&o->key, &op->key))
            return o;
    return NULL;
}

/* One writer at a time, so that no sequence is used twice; a removal ends what it finds. */
static bool must_wait(struct dht *d, struct op *op)
{
    struct op *before = writer_before(d, op);

    if (before == NULL)
        return false;
    if (op->kind != OP_REMOVAL || before->kind == OP_REMOVAL)
        return true;
    if (record_newer(&before->rec, &op->rec)) {
        op->rec.epoch = before->rec.epoch;
        op->rec.sequence = before->rec.sequence;
    }
    finish(d, before, DHT_REFUSED);
    return must_wait(d, op);
}

static void first_question(struct dht *d, struct op *op)
{
    const struct lease *lease = keep_find(d, &op->key);

    if (op->kind == OP_LOOKUP) {
        begin(d, op, OP_GET);
        return;
    }
    if (must_wait(d, op)) {
        op->wait_us = d->env->now_us + WRITER_WAIT_US;
        return;
    }
    if (op->kind == OP_REMOVAL)
        new_sequence(d, op, op->rec.epoch, op->rec.sequence + 1);
    else if (lease != NULL && id_eq(&lease->rec.owner, &op->rec.owner))
        new_sequence(d, op, lease->rec.epoch, lease->rec.sequence + 1);
    else
        new_sequence(d, op, 1, first_sequence(d));
    begin(d, op, op->kind == OP_CREATE ? OP_GRANT : OP_WRITE);
}

/* Outcomes. */

struct tally {
    unsigned ok, busy, refused, failed, open, idle;
};

static struct tally count_votes(const struct op *op)
{
    struct tally t = {0};

    for (unsigned i = 0; i < DHT_POINTS; i++) {
        const struct ask *ask = &op->asks[i];

        switch (ask->state) {
        case ASK_IDLE:
            t.idle++;
            break;
        case ASK_OUT:
        case ASK_LATER:
            t.open++;
            break;
        case ASK_FAILED:
            t.failed++;
            break;
        case ASK_ANSWERED:
            t.ok += ask->verdict == VERDICT_OK;
            t.busy += ask->verdict == VERDICT_BUSY;
            t.refused += ask->verdict == VERDICT_REFUSED;
            break;
        }
    }
    return t;
}

/* Gives the promises back. Afterwards wait_us goes on, USEC_NEVER ends. */
static void release(struct dht *d, struct op *op, usec wait_us)
{
    bool granted[DHT_POINTS];

    for (unsigned i = 0; i < DHT_POINTS; i++)
        granted[i] = op->asks[i].state != ASK_ANSWERED || op->asks[i].verdict == VERDICT_OK;
    op->phase = OP_RELEASE;
    op->wait_us = wait_us;
    for (unsigned i = 0; i < DHT_POINTS; i++) {
        op->asks[i] = (struct ask){.state = granted[i] ? ASK_IDLE : ASK_FAILED};
        if (granted[i])
            send_question(d, op, i);
    }
}

static void judge_grants(struct dht *d, struct op *op)
{
    struct tally t = count_votes(op);
    enum dht_status status = DHT_TIMEOUT;

    if (t.ok + t.open >= DHT_MAJORITY_POINTS) {
        if (t.open == 0)
            begin(d, op, OP_WRITE);
        return;
    }
    if (t.refused >= DHT_MAJORITY_POINTS)
        status = DHT_REFUSED;
    else if (t.busy > 0)
        status = DHT_BUSY;
    if (status != DHT_REFUSED && ++op->rounds < CREATE_TRIES) {
        dht_count(d, COUNT_AGAIN);
        release(d, op,
                d->env->now_us + LOSER_WAIT_MIN_US +
                    env_random_below(d->env, LOSER_WAIT_MAX_US - LOSER_WAIT_MIN_US));
        return;
    }
    settle(d, op, status);
    release(d, op, USEC_NEVER);
}

/* A majority stored it: it is ours, whatever the others say later. */
static void confirmed(struct dht *d, struct op *op, bool complete)
{
    settle(d, op, DHT_OK);
    if (op->kind != OP_REMOVAL && op->status == DHT_OK)
        keep_confirmed(d, &op->rec, op->flags & DHT_KEEP, op->ends_us, complete);
}

static void write_failed(struct dht *d, struct op *op, enum dht_status status)
{
    if (op->kind == OP_RENEWAL)
        keep_failed(d, &op->key);
    finish(d, op, status);
}

static void judge_write(struct dht *d, struct op *op)
{
    struct tally t = count_votes(op);

    if (t.ok >= DHT_MAJORITY_POINTS)
        confirmed(d, op, t.ok == DHT_POINTS);
    if (t.open > 0)
        return;
    if (op->certain) {
        op->over = true;
    } else if (t.refused >= DHT_MAJORITY_POINTS) {
        write_failed(d, op, DHT_REFUSED);
    } else if (++op->rounds >= WRITE_ROUNDS) {
        write_failed(d, op, DHT_TIMEOUT);
    } else {
        op->wait_us = d->env->now_us + env_jitter(d->env, LOSER_WAIT_MAX_US, 30);
    }
}

/* Lookups. */

static unsigned points_of(uint8_t mask)
{
    return (unsigned)__builtin_popcount(mask);
}

static bool single_found(const struct op *op)
{
    for (size_t i = 0; i < op->found_count; i++)
        if (record_single(&op->found[i]->rec))
            return true;
    return false;
}

/* Points that name nobody, or an older version, are sent what the others have. */
static void repair_points(struct dht *d, const struct op *op)
{
    for (size_t f = 0; f < op->found_count; f++) {
        const struct found *found = op->found[f];

        for (unsigned i = 0; i < DHT_POINTS; i++) {
            struct id point = id_point(&op->key, i, DHT_POINTS);
            struct parcel p;

            if (op->asks[i].state != ASK_ANSWERED || found->newest & 1u << i ||
                found->ends_us < d->env->now_us + SEC(1))
                continue;
            parcel_start(&p, PARCEL_COPY, 0);
            write_u8(&p.w, POINT_NONE);
            parcel_items(&p);
            (void)parcel_item(&p, &found->rec,
                              (uint32_t)((found->ends_us - d->env->now_us) / SEC(1)), 0);
            parcel_route(d, &point, &p);
        }
    }
}

/* Keeps only the record of that owner. */
static void keep_only(struct op *op, size_t which)
{
    struct found *only = op->found[which];

    for (size_t i = 0; i < op->found_count; i++)
        if (i != which)
            free(op->found[i]);
    op->found[0] = only;
    op->found_count = 1;
}

/* A key with an owner has no list. */
static void keep_single(struct op *op)
{
    for (size_t i = 0; i < op->found_count; i++)
        if (record_single(&op->found[i]->rec)) {
            keep_only(op, i);
            return;
        }
}

static void keep_none(struct op *op)
{
    for (size_t i = 0; i < op->found_count; i++)
        free(op->found[i]);
    op->found_count = 0;
}

/* Some point has said all that it holds, and that was something. */
static bool answered_by_holder(const struct op *op)
{
    for (size_t f = 0; f < op->found_count; f++)
        for (unsigned i = 0; i < DHT_POINTS; i++)
            if (op->asks[i].state == ASK_ANSWERED && op->found[f]->points & 1u << i)
                return true;
    return false;
}

static bool first_point_slow(const struct op *op)
{
    const struct ask *ask = &op->asks[op->first_point];

    return ask->tries > 1 || ask->waits > 0;
}

static void judge_any(struct dht *d, struct op *op, const struct tally *t)
{
    if (answered_by_holder(op)) {
        repair_points(d, op);
        keep_single(op);
        finish(d, op, DHT_OK);
    } else if (t->open == 0 && t->idle == 0) {
        keep_none(op);
        finish(d, op, t->ok == DHT_POINTS ? DHT_NOT_FOUND : DHT_TIMEOUT);
    } else if (t->idle > 0 && (t->open == 0 || first_point_slow(op))) {
        ask_idle(d, op);
    }
}

static void judge_single_majority(struct dht *d, struct op *op, const struct tally *t)
{
    for (size_t i = 0; i < op->found_count; i++) {
        if (!record_single(&op->found[i]->rec) ||
            points_of(op->found[i]->points) < DHT_MAJORITY_POINTS)
            continue;
        if (t->open == 0)
            repair_points(d, op);
        keep_only(op, i);
        finish(d, op, DHT_OK);
        return;
    }
    if (t->open > 0)
        return;
    repair_points(d, op);
    keep_none(op);
    if (++op->rounds < LOOKUP_ROUNDS)
        op->wait_us = d->env->now_us + env_jitter(d->env, DISAGREED_WAIT_US, 30);
    else
        finish(d, op, t->ok >= DHT_MAJORITY_POINTS ? DHT_NO_MAJORITY : DHT_TIMEOUT);
}

static void judge_majority(struct dht *d, struct op *op, const struct tally *t)
{
    if (single_found(op)) {
        judge_single_majority(d, op, t);
        return;
    }
    if (t->open > 0)
        return;
    if (t->ok < DHT_MAJORITY_POINTS) {
        keep_none(op);
        finish(d, op, DHT_TIMEOUT);
        return;
    }
    repair_points(d, op);
    finish(d, op, op->found_count > 0 ? DHT_OK : DHT_NOT_FOUND);
}

static void judge(struct dht *d, struct op *op)
{
    struct tally t = count_votes(op);

    switch (op->phase) {
    case OP_WAIT:
        break;
    case OP_GRANT:
        judge_grants(d, op);
        break;
    case OP_RELEASE:
        if (t.open == 0 && op->wait_us == USEC_NEVER)
            op->over = true;
        break;
    case OP_WRITE:
        judge_write(d, op);
        break;
    case OP_GET:
        if (op->mode == DHT_ANY)
            judge_any(d, op, &t);
        else
            judge_majority(d, op, &t);
        break;
    }
}

/* Answers. */

static struct op *find_ask(const struct dht *d, uint64_t id, unsigned *i)
{
    for (struct op *op = d->ops.first; op != NULL; op = op->next)
        for (*i = 0; *i < DHT_POINTS; ++*i)
            if (op->asks[*i].state == ASK_OUT && op->asks[*i].id == id)
                return op;
    return NULL;
}

static void measure(struct dht *d, const struct ask *ask)
{
    struct ops *ops = &d->ops;
    usec rtt_us = d->env->now_us - ask->sent_us;
    usec off_us;

    if (ask->tries != 1)
        return; /* Karn: it may answer an earlier try */
    if (ops->srtt_us == 0) {
        ops->srtt_us = rtt_us + 1;
        ops->rttvar_us = rtt_us / 2;
        return;
    }
    off_us = rtt_us > ops->srtt_us ? rtt_us - ops->srtt_us : ops->srtt_us - rtt_us;
    ops->rttvar_us = (3 * ops->rttvar_us + off_us) / 4;
    ops->srtt_us = (7 * ops->srtt_us + rtt_us) / 8 + 1;
}

static void answered(struct dht *d, struct op *op, unsigned i, uint8_t verdict)
{
    struct ask *ask = &op->asks[i];

    if (verdict == VERDICT_MOVED || verdict == VERDICT_NOT_READY) {
        usec wait_us = ask->waits < 2 ? ASK_LATER_US / (4 >> ask->waits) : ASK_LATER_US;

        ask->state = ++ask->waits > ASK_WAITS_MAX ? ASK_FAILED : ASK_LATER;
        ask->due_us = d->env->now_us + env_jitter(d->env, wait_us, 30);
        ask->tries = 0;
    } else {
        measure(d, ask);
        ask->state = ASK_ANSWERED;
        ask->verdict = verdict;
    }
    judge(d, op);
}

static void ask_whole(struct dht *d, struct op *op, unsigned i)
{
    op->asks[i].whole = true;
    op->asks[i].state = ASK_IDLE;
    op->asks[i].tries = 0;
    send_question(d, op, i);
}

static void add_found(struct dht *d, struct op *op, unsigned point, const struct item *item,
                      const struct cred *cred)
{
    const struct record *rec = &item->rec;
    uint8_t points = (uint8_t)(1u << point);
    struct found *found;
    size_t at = 0;

    while (at < op->found_count && id_cmp(&op->found[at]->rec.owner, &rec->owner) < 0)
        at++;
    if (at < op->found_count && id_eq(&op->found[at]->rec.owner, &rec->owner)) {
        struct found *old = op->found[at];

        old->points |= points;
        if (memcmp(old->rec.signature, rec->signature, SIGNATURE_LEN) == 0)
            old->newest |= points;
        if (!record_newer(rec, &old->rec))
            return;
        points = old->points;
    } else if (op->found_count == DHT_VALUES_MAX) {
        return;
    }
    found = calloc(1, sizeof(*found) + rec->len);
    if (found == NULL)
        return;
    found->rec = *rec;
    if (rec->len > 0)
        memcpy(found->value, rec->value, rec->len);
    found->rec.value = found->value;
    found->enrolment = cred != NULL ? cred->enrolment : 0;
    found->ends_us = d->env->now_us +
                     SEC(item->remaining_s < rec->duration_s ? item->remaining_s : rec->duration_s);
    found->points = points;
    found->newest = (uint8_t)(1u << point);
    if (at < op->found_count && id_eq(&op->found[at]->rec.owner, &rec->owner)) {
        free(op->found[at]);
    } else {
        memmove(&op->found[at + 1], &op->found[at], (op->found_count - at) * sizeof(op->found[0]));
        op->found_count++;
    }
    op->found[at] = found;
}

/* Ours may stand where the winner's does not: it would keep the key from others to its end. A
 * site's is for its other routers, too: one of them may win. */
static void take_back(struct dht *d, const struct op *op)
{
    struct record rec = record_tombstone(&op->rec);

    if (!record_single(&op->rec) || !id_eq(&op->rec.owner, &op->rec.writer))
        return;
    if (op_write(d, OP_REMOVAL, &rec, 0, NULL) != 0)
        dht_count(d, COUNT_OPS_FAILED); /* too many at once: then it ends with its lease */
}

/* It stands, or may stand, at some points already. */
static bool is_held(const struct dht *d, const struct op *op)
{
    const struct lease *lease = keep_find(d, &op->key);

    return op->phase == OP_WRITE || (lease != NULL && id_eq(&lease->rec.owner, &op->rec.owner));
}

/* Another owner's record stands where we asked for ours, says one holder, and may lie: what is ours
 * is lost only to who wins it by the rules. */
static void taken_by_other(struct dht *d, struct op *op, unsigned i, const struct item *item,
                           const struct cred *cred)
{
    bool wins = creds_wins(&d->creds, &op->rec, d->creds.own[0], &item->rec, cred);
    bool held = is_held(d, op);

    if (op->kind == OP_RENEWAL && !op->asks[i].whole && wins) {
        ask_whole(d, op, i); /* a rival from another part of the ring: the holder will see */
        return;
    }
    if (op->kind == OP_REMOVAL) {
        answered(d, op, i, VERDICT_OK); /* what we wanted to remove is gone there */
        return;
    }
    if (item->rec.kind != RECORD_CREATE || item->remaining_s == 0 || (held && wins)) {
        answered(d, op, i, VERDICT_REFUSED);
        return;
    }
    keep_none(op);
    add_found(d, op, i, item, cred);
    settle(d, op, DHT_TAKEN); /* or, told OK by a majority, settled against us all the same */
    keep_lost(d, &op->key, &item->rec.owner);
    if (op->phase == OP_GRANT)
        release(d, op, USEC_NEVER);
    else
        op->over = true;
    if (held)
        take_back(d, op);
}

/* By its numbers alone: a holder takes the same numbers for the same lease, and adds no time. */
static bool numbered_after(const struct record *a, const struct record *b)
{
    return a->epoch != b->epoch ? a->epoch > b->epoch : a->sequence > b->sequence;
}

/* A record of ours stands there already. */
static void taken_by_us(struct dht *d, struct op *op, unsigned i, const struct record *standing)
{
    bool newer = !numbered_after(&op->rec, standing);

    if (op->kind == OP_RENEWAL && !keep_find(d, &op->key)) {
        op->over = true; /* removed while it was being renewed */
        settle(d, op, DHT_OK);
        return;
    }
    if (newer && ++op->bumps > BUMPS_MAX) {
        write_failed(d, op, DHT_BUSY);
        return;
    }
    if (newer)
        overtake(d, op, standing);
    if (newer || op->phase == OP_GRANT)
        begin(d, op, OP_WRITE);
    else
        answered(d, op, i, VERDICT_BUSY);
}

static void taken(struct dht *d, struct op *op, unsigned i, const struct item *item)
{
    struct cred *cred;

    if (op->phase == OP_RELEASE || !id_eq(&item->rec.key, &op->key) ||
        !dht_record_good(d, &item->rec, &cred))
        answered(d, op, i, VERDICT_REFUSED);
    else if (id_eq(&item->rec.owner, &op->rec.owner))
        taken_by_us(d, op, i, &item->rec);
    else
        taken_by_other(d, op, i, item, cred);
}

void op_on_verdict(struct dht *d, const struct overlay_from *from, uint64_t id, struct reader *r)
{
    uint8_t verdict = read_u8(r);
    struct item items[ITEMS_MAX];
    size_t n = read_items(r, items);
    struct op *op;
    unsigned i;

    if (!reader_done(r) || verdict > VERDICT_UNKNOWN || (verdict == VERDICT_TAKEN) != (n == 1)) {
        dht_count(d, COUNT_MALFORMED);
        return;
    }
    op = find_ask(d, id, &i);
    if (op == NULL) {
        dht_count(d, COUNT_UNASKED);
        return;
    }
    if (pen_holds(d, items, n))
        return;
    if (op->phase == OP_GET && verdict != VERDICT_MOVED && verdict != VERDICT_NOT_READY)
        verdict = VERDICT_REFUSED;
    if (op->phase != OP_GET && verdict == VERDICT_TAKEN)
        taken(d, op, i, &items[0]);
    else if (verdict == VERDICT_UNKNOWN && op->phase == OP_WRITE && !op->asks[i].whole)
        ask_whole(d, op, i);
    else
        answered(d, op, i, verdict);
}

void op_on_values(struct dht *d, const struct overlay_from *from, uint64_t id, struct reader *r)
{
    uint8_t flags = read_u8(r);
    struct item items[ITEMS_MAX];
    size_t n = read_items(r, items);
    struct cred *cred;
    struct op *op;
    unsigned i;

    if (!reader_done(r)) {
        dht_count(d, COUNT_MALFORMED);
        return;
    }
    op = find_ask(d, id, &i);
    if (op == NULL || op->phase != OP_GET) {
        dht_count(d, COUNT_UNASKED);
        return;
    }
    if (pen_holds(d, items, n))
        return;
    for (size_t j = 0; j < n; j++)
        if (id_eq(&items[j].rec.key, &op->key) && !record_removed(&items[j].rec) &&
            items[j].remaining_s > 0 && dht_record_good(d, &items[j].rec, &cred))
            add_found(d, op, i, &items[j], cred);
    if (flags & VALUES_MORE && n > 0 && id_cmp(&items[n - 1].rec.owner, &op->asks[i].after) > 0 &&
        op->found_count < DHT_VALUES_MAX) {
        op->asks[i].after = items[n - 1].rec.owner;
        op->asks[i].state = ASK_IDLE;
        op->asks[i].tries = 0;
        send_question(d, op, i);
        return;
    }
    answered(d, op, i, VERDICT_OK);
}

/* Time. */

static void ask_again(struct dht *d, struct op *op, unsigned i)
{
    struct ask *ask = &op->asks[i];

    if (ask->state == ASK_OUT && ask->tries >= tries_max(op)) {
        ask->state = ASK_FAILED;
        judge(d, op);
        return;
    }
    send_question(d, op, i);
    if (op->phase == OP_GET)
        judge(d, op); /* the first point is slow: ask the others as well */
}

static bool ask_due(const struct ask *ask, usec now_us)
{
    return (ask->state == ASK_OUT || ask->state == ASK_LATER) && ask->due_us <= now_us;
}

/* Until we have our range, those around us hardly have theirs (a ring that starts as a whole): they
 * could not grant. A lookup is answered by whoever has it. */
static bool may_begin(const struct dht *d, const struct op *op)
{
    bool claims = op->kind == OP_CREATE || op->kind == OP_PUT;
    usec began_us = op->ends_us - MEMBER_WAIT_US;

    return dht_member(d) && (!claims || fill_done(d) || d->env->now_us - began_us >= CLAIM_WAIT_US);
}

static void wait_over(struct dht *d, struct op *op)
{
    op->wait_us = USEC_NEVER;
    if (op->phase == OP_RELEASE) {
        begin(d, op, OP_GRANT);
        return;
    }
    if (op->phase == OP_GET) {
        begin(d, op, OP_GET);
        return;
    }
    if (op->phase == OP_WRITE) { /* another round, to those that have not stored it */
        for (unsigned i = 0; i < DHT_POINTS; i++)
            if (op->asks[i].state != ASK_ANSWERED || op->asks[i].verdict != VERDICT_OK)
                op->asks[i] = (struct ask){.whole = true};
        ask_idle(d, op);
        return;
    }
    if (may_begin(d, op))
        first_question(d, op);
    else if (d->env->now_us >= op->ends_us)
        write_failed(d, op, DHT_TIMEOUT);
    else
        op->wait_us = d->env->now_us + LOOK_US;
}

static void op_tick(struct dht *d, struct op *op)
{
    for (unsigned i = 0; i < DHT_POINTS && !op->over; i++)
        if (ask_due(&op->asks[i], d->env->now_us))
            ask_again(d, op, i);
    if (!op->over && op->wait_us <= d->env->now_us)
        wait_over(d, op);
}

void ops_tick(struct dht *d)
{
    for (struct op *op = d->ops.first; op != NULL; op = op->next)
        op_tick(d, op);
}

static usec op_deadline(const struct op *op)
{
    usec at = op->wait_us;

    for (unsigned i = 0; i < DHT_POINTS; i++)
        if (op->asks[i].state == ASK_OUT || op->asks[i].state == ASK_LATER)
            at = usec_min(at, op->asks[i].due_us);
    return at;
}

usec ops_deadline(const struct dht *d)
{
    usec at = USEC_NEVER;

    for (const struct op *op = d->ops.first; op != NULL; op = op->next)
        at = usec_min(at, op_deadline(op));
    return at;
}

static uint32_t seconds_left(usec ends_us, usec now_us)
{
    return ends_us > now_us ? (uint32_t)((ends_us - now_us) / SEC(1)) : 0;
}

static void tell(struct dht *d, struct op *op)
{
    struct dht_value values[DHT_VALUES_MAX];
    struct dht_result result = {.status = op->status, .key = op->key, .values = values};

    op->told = true;
    if (op->caller.done == NULL)
        return;
    for (size_t i = 0; i < op->found_count; i++) {
        values[i] = dht_value_of(&op->found[i]->rec, NULL,
                                 seconds_left(op->found[i]->ends_us, d->env->now_us));
        values[i].enrolment = op->found[i]->enrolment;
    }
    result.count = op->found_count;
    if (op->status == DHT_OK && (op->kind == OP_CREATE || op->kind == OP_PUT)) {
        values[0] =
            dht_value_of(&op->rec, d->creds.own[0], seconds_left(op->ends_us, d->env->now_us));
        result.count = 1;
    }
    op->caller.done(op->caller.ctx, op->caller.token, &result);
}

void ops_deliver(struct dht *d)
{
    /* A callback may start operations: they go to the end. It may not end any. */
    for (struct op *op = d->ops.first; op != NULL; op = op->next)
        if (op->certain && !op->told)
            tell(d, op);
    remove_over(d);
}
