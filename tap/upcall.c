#include "tap/upcall.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "overlay/core/err.h"

/* In front of each item's bytes. Lengths are rounded up so that the next record is aligned. */
struct record {
    size_t size; /* of this record, header included */
    bool filler; /* the rest of the ring; the next record is at its start */
    struct plane_item item;
};

enum { RECORD_ALIGN = 16 };
_Static_assert(offsetof(struct record, item) <= RECORD_ALIGN, "a filler fits into any rest");

/* Positions only grow and are taken modulo the ring's size. */
struct upcall {
    _Alignas(64) _Atomic size_t written; /* the writer's */
    _Alignas(64) _Atomic size_t taken;   /* the reader's */
    _Atomic size_t settled;              /* the same */
    size_t taking;                       /* the reader's: end of the item it looks at */
    _Alignas(64) uint8_t bytes[UPCALL_RING_BYTES];
};

int bell_init(struct bell *b)
{
    atomic_init(&b->rung, false);
    b->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return b->fd < 0 ? -errno : 0;
}

void bell_close(struct bell *b)
{
    if (b->fd >= 0) {
        close(b->fd);
    }
    b->fd = -1;
}

/* Both sides exchange `rung` after they wrote and before they read a ring's position: whoever comes
 * second sees what the other did. */
void bell_ring(struct bell *b)
{
    if (!atomic_exchange(&b->rung, true)) {
        uint64_t one = 1;
        ssize_t n = write(b->fd, &one, sizeof(one));
        CHECK(n == sizeof(one));
    }
}

void bell_answer(struct bell *b)
{
    uint64_t count;
    (void)!read(b->fd, &count, sizeof(count)); /* EAGAIN when it was silent */
    atomic_exchange(&b->rung, false);
}

struct upcall *upcall_new(void)
{
    struct upcall *u = NULL;
    if (posix_memalign((void **)&u, 64, sizeof(*u)) != 0) {
        return NULL;
    }
    atomic_init(&u->written, 0);
    atomic_init(&u->taken, 0);
    atomic_init(&u->settled, 0);
    u->taking = 0;
    return u;
}

void upcall_free(struct upcall *u)
{
    free(u);
}

/* How full, in quarters, the ring may become by an item of this kind. */
static size_t share(enum plane_item_kind kind, const uint8_t *bytes)
{
    enum { QUARTER = UPCALL_RING_BYTES / 4 };
    switch (kind) {
    case PLANE_FRAME:
    case PLANE_UNVERIFIED:
        return 2 * QUARTER; /* the control thread keeps only some per address anyway */
    case PLANE_PACKET:
        return bytes[0] == PACKET_CONTROL ? 4 * QUARTER : 3 * QUARTER; /* strangers */
    case PLANE_LOCAL:
    case PLANE_RESOLVE:
    case PLANE_ROAMED:
    case PLANE_STREAM_ENDED:
        return 4 * QUARTER;
    }
    CHECK(!"a kind of item");
    return 0;
}

static void put_record(struct upcall *u, size_t at, size_t size, const struct plane_item *item)
{
    struct record *r = (struct record *)(u->bytes + at % UPCALL_RING_BYTES);
    r->size = size;
    r->filler = item == NULL;
    if (item != NULL) {
        r->item = *item;
        r->item.bytes = (const uint8_t *)(r + 1);
        if (item->len > 0) {
            memcpy(r + 1, item->bytes, item->len);
        }
    }
}

bool upcall_put(struct upcall *u, const struct plane_item *item)
{
    size_t written = atomic_load_explicit(&u->written, memory_order_relaxed);
    size_t taken = atomic_load_explicit(&u->taken, memory_order_acquire);
    size_t size = sizeof(struct record) + item->len;
    size = (size + RECORD_ALIGN - 1) / RECORD_ALIGN * RECORD_ALIGN;
    size_t to_end = UPCALL_RING_BYTES - written % UPCALL_RING_BYTES;
    size_t filler = size > to_end ? to_end : 0;
    if (written - taken + filler + size > share(item->kind, item->bytes)) {
        return false;
    }
    if (filler > 0) {
        put_record(u, written, filler, NULL);
    }
    put_record(u, written + filler, size, item);
    atomic_store_explicit(&u->written, written + filler + size, memory_order_release);
    return true;
}

bool upcall_take(struct upcall *u, struct plane_item *item)
{
    atomic_store_explicit(&u->taken, u->taking, memory_order_release);
    size_t written = atomic_load_explicit(&u->written, memory_order_acquire);
    while (u->taking != written) {
        const struct record *r = (const struct record *)(u->bytes + u->taking % UPCALL_RING_BYTES);
        u->taking += r->size;
        if (!r->filler) {
            *item = r->item;
            return true;
        }
    }
    return false;
}

void upcall_settle(struct upcall *u)
{
    atomic_store_explicit(&u->settled, u->taking, memory_order_release);
}

size_t upcall_settled(const struct upcall *u)
{
    return atomic_load_explicit(&u->settled, memory_order_acquire);
}

size_t upcall_written(const struct upcall *u)
{
    return atomic_load_explicit(&u->written, memory_order_relaxed);
}
