/*
 * hello.h - what the two ends tell each other inside messages 2 and 3 of the handshake, and the
 * judgement over it: who is this?
 *
 *    0                   1                   2                   3
 *    0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *   +---------------+---------------+-------------------------------+
 *   | version 1     | flags         | identity length               |
 *   +---------------+---------------+-------------------------------+
 *   | identity: certificate in DER, or a bare 32-byte Ed25519 key ..|
 *   +---------------------------------------------------------------+
 *   | incarnation, 8                                                |
 *   +---------------------------------------------------------------+
 *   | CRL number, 8; 0: no list                                     |
 *   +---------------------------------------------------------------+
 *   | AEADs, 4: offered (message 2), the one chosen (message 3)     |
 *   +---------------+-----------------------------------------------+
 *   | count n       | n endpoints: family 1, address 4 or 16, port 2|
 *   +---------------+-----------------------------------------------+
 *
 * Strict: unknown flags, a family of 0, an unknown version or one byte too many refuse the whole.
 * As many endpoints are written as fit; the rest follows in MSG_ENDPOINTS.
 */
#ifndef PEAL_OVERLAY_HELLO_H
#define PEAL_OVERLAY_HELLO_H

#include "overlay/core/wire.h"
#include "overlay/session.h"

enum {
    HELLO_VERSION = 1,
    HELLO_ENDPOINTS_MAX = 8,
    HELLO_FIXED_LEN = 4 + 8 + 8 + 4 + 1,
};

enum hello_flag {
    HELLO_CERTIFICATE = 0x01, /* the identity is a certificate, else a bare key */
    HELLO_REKEY = 0x02,       /* message 3: new keys for a session that is up, not a new session */
    HELLO_DATA = 0x04,        /* message 3: data follows at once, under keys of this handshake */
};

struct hello {
    uint8_t flags;
    const uint8_t *identity; /* borrowed */
    size_t identity_len;
    uint64_t incarnation; /* random, one per run of the sender's node */
    uint64_t crl_number;
    uint32_t aeads; /* mask of 1 << enum seal_alg */
    struct endpoint eps[HELLO_ENDPOINTS_MAX];
    size_t ep_count;
};

/* Returns the length written into size bytes, or -ERR_RANGE when not even the fixed part and the
 * identity fit. *eps_written: how many endpoints did. */
int hello_write(const struct hello *h, uint8_t *out, size_t size, size_t *eps_written) MUST_USE;
/* identity borrows from bytes. */
bool hello_read(struct hello *out, const uint8_t *bytes, size_t len);

/* Why a handshake is refused. Numbers stand on the wire in MSG_CLOSE (CLOSE_REFUSED + refusal). */
enum refusal {
    REFUSAL_NONE,
    REFUSAL_MALFORMED,
    REFUSAL_GROUP, /* certificate of another group or CA */
    REFUSAL_ID,    /* node id does not follow from the certificate */
    REFUSAL_EXPIRED,
    REFUSAL_NOT_YET_VALID,
    REFUSAL_REVOKED,
    REFUSAL_NO_CERTIFICATE,
    REFUSAL_KEY,        /* the certificate's key is not the one that shook hands */
    REFUSAL_OTHER_NODE, /* not the node that was expected there */
    REFUSAL_AEAD,
    REFUSAL_FULL,
    REFUSAL_MAX,
};
/* What is wrong with the peer, in our eyes; and with us, in the peer's. Static. */
const char *refusal_text(enum refusal r);
const char *refusal_text_ours(enum refusal r);

/* Who is it that proved `remote` as its Noise static key and says h? *who is filled as far as
 * known. */
enum refusal hello_verify(const struct hello *h, const struct sessions_config *config,
                          const struct env *env, const struct dh_public *remote, struct cert *who);

#endif
