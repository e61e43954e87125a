// link: peal_ca
/*
 * Killed at every write: a process issues, renews and removes, and dies before (or in the middle
 * of) its first, second, third, ... write to the database. Whatever it had answered by then must
 * be there afterwards, nothing may be there by halves, and going on must give no number twice.
 */
#include "test_ca_desk.h"

#include <sqlite3.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { DIES = 42, KILLS_MAX = 2000 };

/* --- a file system that kills --- */

static int writes_left = -1; /* -1: never */
static bool torn;            /* the last write is done by half */

struct file {
    sqlite3_file base;
    const struct sqlite3_io_methods *real; /* of the file behind it */
};

static sqlite3_vfs *real_vfs;
static struct sqlite3_io_methods methods;

static sqlite3_file *behind(sqlite3_file *f)
{
    return (sqlite3_file *)((char *)f + sizeof(struct file));
}

static bool dies(void)
{
    return writes_left >= 0 && writes_left-- == 0;
}

static int file_write(sqlite3_file *f, const void *bytes, int len, sqlite3_int64 at)
{
    if (dies()) {
        if (torn)
            behind(f)->pMethods->xWrite(behind(f), bytes, len / 2, at);
        _exit(DIES);
    }
    return behind(f)->pMethods->xWrite(behind(f), bytes, len, at);
}

static int file_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    if (dies())
        _exit(DIES);
    return behind(f)->pMethods->xTruncate(behind(f), size);
}

static int file_sync(sqlite3_file *f, int flags)
{
    if (dies())
        _exit(DIES);
    return behind(f)->pMethods->xSync(behind(f), flags);
}

#define PASS(name, declared, given)                                                                \
    static int file_##name declared                                                                \
    {                                                                                              \
        return behind(f)->pMethods->x##name given;                                                 \
    }
PASS(Close, (sqlite3_file * f), (behind(f)))
PASS(Read, (sqlite3_file * f, void *p, int n, sqlite3_int64 at), (behind(f), p, n, at))
PASS(FileSize, (sqlite3_file * f, sqlite3_int64 *size), (behind(f), size))
PASS(Lock, (sqlite3_file * f, int how), (behind(f), how))
PASS(Unlock, (sqlite3_file * f, int how), (behind(f), how))
PASS(CheckReservedLock, (sqlite3_file * f, int *out), (behind(f), out))
PASS(FileControl, (sqlite3_file * f, int op, void *arg), (behind(f), op, arg))
PASS(SectorSize, (sqlite3_file * f), (behind(f)))
PASS(DeviceCharacteristics, (sqlite3_file * f), (behind(f)))
PASS(ShmMap, (sqlite3_file * f, int page, int size, int extend, void volatile **out),
     (behind(f), page, size, extend, out))
PASS(ShmLock, (sqlite3_file * f, int at, int n, int flags), (behind(f), at, n, flags))
PASS(ShmUnmap, (sqlite3_file * f, int delete), (behind(f), delete))

static void file_ShmBarrier(sqlite3_file *f)
{
    behind(f)->pMethods->xShmBarrier(behind(f));
}

static int vfs_open(sqlite3_vfs *vfs, sqlite3_filename name, sqlite3_file *f, int flags, int *out)
{
    f->pMethods = NULL;
    int rc = real_vfs->xOpen(real_vfs, name, behind(f), flags, out);
    if (rc == SQLITE_OK)
        f->pMethods = &methods;
    return rc;
}

static void vfs_install(void)
{
    static sqlite3_vfs vfs;

    real_vfs = sqlite3_vfs_find(NULL);
    assert_non_null(real_vfs);
    methods = (struct sqlite3_io_methods){.iVersion = 2,
                                          .xClose = file_Close,
                                          .xRead = file_Read,
                                          .xWrite = file_write,
                                          .xTruncate = file_truncate,
                                          .xSync = file_sync,
                                          .xFileSize = file_FileSize,
                                          .xLock = file_Lock,
                                          .xUnlock = file_Unlock,
                                          .xCheckReservedLock = file_CheckReservedLock,
                                          .xFileControl = file_FileControl,
                                          .xSectorSize = file_SectorSize,
                                          .xDeviceCharacteristics = file_DeviceCharacteristics,
                                          .xShmMap = file_ShmMap,
                                          .xShmLock = file_ShmLock,
                                          .xShmBarrier = file_ShmBarrier,
                                          .xShmUnmap = file_ShmUnmap};
    vfs = *real_vfs;
    vfs.zName = "kills";
    vfs.szOsFile += (int)sizeof(struct file);
    vfs.xOpen = vfs_open;
    assert_int_equal(sqlite3_vfs_register(&vfs, 1), SQLITE_OK);
}

/* --- what is done, and what was answered before the end --- */

struct answers {
    int count; /* of the steps below that had ended */
    uint8_t first[CERT_DER_MAX], second[CERT_DER_MAX];
    size_t first_len, second_len;
};

struct world {
    struct bench b;
    struct group g;
    struct account owner, bob;
    char secret[2][64];
};

static void world_make(struct world *w)
{
    bench_open(&w->b);
    w->owner = bench_user(&w->b, "owner");
    w->bob = bench_user(&w->b, "bob");
    w->g = bench_group(&w->b, "lab", &w->owner);
    bench_member(&w->b, &w->g, &w->bob);
    bench_secret(&w->b, &w->g, &w->bob, w->secret[0]);
    bench_secret(&w->b, &w->g, &w->owner, w->secret[1]);
}

/* The same directory once more, as another bench. */
static void world_copy(const struct world *from, struct world *to)
{
    char command[256], why[1400];
    const char *reason = NULL;

    *to = *from;
    snprintf(to->b.dir, sizeof to->b.dir, "%.60s.k", from->b.dir);
    snprintf(command, sizeof command, "rm -rf %s && cp -a %s %s", to->b.dir, from->b.dir,
             to->b.dir);
    assert_int_equal(system(command), 0);
    assert_int_equal(home_open(&to->b.home, to->b.dir, NULL, why, sizeof why), 0);
    to->b.desk.store = home_store(&to->b.home, &reason);
    to->b.desk.vault = to->b.home.vault;
    assert_non_null(to->b.desk.store);
}

/* The owner's only one. */
static struct id owners_node(struct world *w)
{
    struct query q = store_ask(w->b.desk.store,
                               "SELECT c.node FROM machines c JOIN members m ON m.id = c.member_row"
                               " WHERE m.user_row = ?1",
                               VALUES(v_int(w->owner.row)));
    struct id node = {{0}};

    if (!query_row(&q) || !query_copy(&q, 0, node.b, ID_LEN))
        _exit(1);
    query_end(&q);
    return node;
}

static void live(struct world *w, struct answers *a)
{
    struct desk owner = bench_as(&w->b, &w->owner);
    struct issued issued;

    if (bench_enrol(&w->b, "lab", "bob", w->secret[0], 1, &issued) != OUT_OK)
        _exit(1);
    memcpy(a->first, issued.der, issued.der_len);
    a->first_len = issued.der_len;
    a->count = 1;
    if (bench_enrol(&w->b, "lab", "owner", w->secret[1], 2, &issued) != OUT_OK)
        _exit(1);
    memcpy(a->second, issued.der, issued.der_len);
    a->second_len = issued.der_len;
    a->count = 2;
    w->b.desk.now_s += 3600;
    if (bench_renew(&w->b, "lab", 2, &issued) != OUT_OK)
        _exit(1);
    a->count = 3;
    if (member_revoke(&w->b.desk, &w->g, &w->bob, "") != OUT_OK)
        _exit(1);
    a->count = 4;
    struct id node = owners_node(w);
    if (machine_lost(&owner, &w->g, &node, "") != OUT_OK)
        _exit(1);
    a->count = 5;
    _exit(0);
}

static int64_t ask(struct world *w, const char *sql)
{
    return store_int(w->b.desk.store, -1, sql, VALUES());
}

static bool has_certificate(struct world *w, const uint8_t *der, size_t len)
{
    return store_int(w->b.desk.store, 0, "SELECT count(*) FROM certificates WHERE der = ?1",
                     VALUES(v_bytes(der, len))) == 1;
}

static void reopen(struct world *w)
{
    const char *reason = NULL;

    store_close(w->b.desk.store);
    w->b.desk.store = home_store(&w->b.home, &reason);
    assert_non_null(w->b.desk.store);
}

/* Whatever was answered is there; whatever is there is whole. */
static void check(struct world *w, const struct answers *a)
{
    assert_true(store_sound(w->b.desk.store));
    assert_true(a->count < 1 || has_certificate(w, a->first, a->first_len));
    assert_true(a->count < 2 || has_certificate(w, a->second, a->second_len));
    int64_t gone = ask(w, "SELECT count(*) FROM machines WHERE revoked_s IS NOT NULL");
    assert_int_equal(gone, ask(w, "SELECT count(*) FROM removals"));
    int64_t lost = ask(w, "SELECT count(*) FROM members WHERE further = 'asked'");
    assert_int_equal(gone - lost, ask(w, "SELECT count(*) FROM members WHERE state = 'revoked'"));
    assert_int_equal(gone, ask(w, "SELECT count(*) FROM members WHERE further <> 'free'"));
    assert_int_equal(lost, ask(w, "SELECT count(*) FROM audit WHERE verb = 'machine.lost'"));
    assert_true(a->count < 4 || gone - lost == 1);
    assert_true(a->count < 5 || lost == 1);
    assert_true(ask(w, "SELECT max(number) FROM removals") <= ask(w, "SELECT number FROM groups"));
    assert_true(!gone ||
                ask(w, "SELECT number FROM crls") == ask(w, "SELECT max(number) FROM removals"));
    assert_int_equal(ask(w, "SELECT count(*) FROM machines WHERE enrolment >="
                            " (SELECT next_enrolment FROM groups)"),
                     0);
    assert_int_equal(ask(w, "SELECT count(*) FROM machines WHERE id NOT IN"
                            " (SELECT machine_row FROM certificates)"),
                     0);
    assert_int_equal(ask(w, "SELECT count(*) FROM secrets WHERE used_s IS NOT NULL"),
                     ask(w, "SELECT count(*) FROM machines"));
}

/* The machines and the administrator ask again, as they do after a lost answer. */
static void go_on(struct world *w, const struct answers *a)
{
    struct issued issued;
    bool gone = ask(w, "SELECT count(*) FROM members WHERE state = 'revoked'") == 1;
    bool lost = ask(w, "SELECT count(*) FROM members WHERE further = 'asked'") == 1;

    assert_int_equal(bench_enrol(&w->b, "lab", "bob", w->secret[0], 1, &issued),
                     gone ? OUT_REVOKED : OUT_OK);
    if (a->count >= 1 && !gone)
        assert_memory_equal(issued.der, a->first, a->first_len);
    assert_int_equal(bench_enrol(&w->b, "lab", "owner", w->secret[1], 2, &issued),
                     lost ? OUT_REVOKED : OUT_OK);
    assert_int_equal(member_revoke(&w->b.desk, &w->g, &w->bob, ""), gone ? OUT_NOT_MEMBER : OUT_OK);
    assert_int_equal(ask(w, "SELECT count(DISTINCT enrolment) FROM machines"), 2);
    assert_int_equal(ask(w, "SELECT count(*) FROM machines"), 2);
    assert_int_equal(ask(w, "SELECT count(*) FROM removals"), lost ? 2 : 1);
}

/* False: it came to its end before that many writes. */
static bool kill_at(const struct world *from, int writes, bool by_half)
{
    struct world w;
    struct answers *a =
        mmap(NULL, sizeof *a, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int status = 0;

    assert_true(a != MAP_FAILED);
    world_copy(from, &w);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        reopen(&w); /* no connection of the parent's is used */
        torn = by_half;
        writes_left = writes;
        live(&w, a);
    }
    assert_true(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status));
    assert_true(WEXITSTATUS(status) == DIES || WEXITSTATUS(status) == 0);
    reopen(&w);
    check(&w, a);
    go_on(&w, a);
    bench_close(&w.b);
    munmap(a, sizeof *a);
    return WEXITSTATUS(status) == DIES;
}

static void killed_at_every_write(void **state)
{
    struct world w;
    int kills = 0;

    vfs_install();
    world_make(&w);
    store_close(w.b.desk.store); /* the files are at rest while they are copied */
    w.b.desk.store = NULL;
    for (int half = 0; half < 2; half++) {
        int writes = 0;
        while (writes < KILLS_MAX && kill_at(&w, writes, half))
            writes++;
        kills += writes;
        assert_true(writes < KILLS_MAX);
    }
    print_message("killed %d times\n", kills);
    assert_true(kills > 50); /* or the counting is broken */
    bench_close(&w.b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(killed_at_every_write)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
