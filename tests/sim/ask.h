/*
 * ask.h - questions of the judge: routed pings to random keys (the owner must answer) and to random
 * members (that member must), with hops and round trips counted.
 *
 * The owner is the live member closest to the key. While members come and go there may be several
 * right answers: whoever was the closest at some moment between question and answer. So an answer
 * is wrong only if some member that was there all that time is closer than who answered. A joiner
 * is a member from the moment it hears that both neighbours took it in; they go on answering for it
 * until its word of that has come back, one way later, and nothing can be quicker. Lists name a
 * neighbour as soon as somebody tells of it, and a session with it follows: for ASK_SESSIONS_S
 * after all lists became ideal nothing is asked that must be answered rightly.
 */
#ifndef PEAL_SIM_ASK_H
#define PEAL_SIM_ASK_H

#include "tests/sim/host.h"
#include "tests/sim/stats.h"

enum {
    ASKS_MAX = 4096,
    ASK_SESSIONS_S = 1,
};

struct ask {
    bool used;
    bool calm; /* nothing was broken when it was asked: it must be answered, and rightly */
    struct id key;
    bool exact;
    uint32_t asker;
    unsigned tries;
    uint32_t target; /* when exact */
    usec asked_us;
};

struct asks {
    struct ask v[ASKS_MAX];
    struct random random;
    struct event next;
    usec mean_us; /* between two; 0: none are asked */
    uint64_t asked, answered, at_once /* at the first try */, correct, wrong;
    uint64_t unanswered_calm, wrong_calm;
    usec looked_us;
    uint64_t too_far; /* messages that died of their hop limit: by the nodes' own counters, now */
    struct stats hops, overlay_ms, direct_ms;
};

void asks_init(struct asks *a, struct random random);
void asks_clear(struct asks *a);
/* From now on, one every mean_us on average from a random member; 0 stops. */
void asks_go_on(struct world *w, usec mean_us);
/* One now. Target NULL: a random key. False: the host has too many under way. */
bool ask_now(struct world *w, struct host *from, const struct host *target);
/* Its node is gone, and with it what it asked. */
void asks_forget_asker(struct asks *a, uint32_t host);
/* Has a message died of its hop limit since the last look? */
void asks_look(struct world *w);
size_t asks_pending(const struct asks *a);
void asks_forget_figures(struct asks *a);

#endif
