// link: peal_overlay
/* Small rings exhaustively: all orders of joining, leaving and crashing, apart and at once. */
#include "tests/unit/overlay_net.h"

enum { NODES = 5 };
static const unsigned everybody[NODES] = {0, 1, 2, 3, 4};
static const usec repaired_us = SEC(20);

enum action { JOIN, LEAVE, CRASH };

struct step {
    enum action action;
    unsigned node;
};

struct plan {
    struct step steps[8];
    size_t count;
    usec apart_us; /* between two steps */
};

static void say_plan(const struct plan *p)
{
    static const char *const names[] = {"join", "leave", "crash"};

    fprintf(stderr, "plan (%.2f s apart):", (double)p->apart_us / 1e6);
    for (size_t i = 0; i < p->count; i++)
        fprintf(stderr, " %s %u", names[p->steps[i].action], p->steps[i].node);
    fprintf(stderr, "\n");
}

/* A leaving node is switched off once it is done. */
static void reap(struct overlay_net *net)
{
    for (size_t i = 0; i < net->count; i++) {
        struct net_node *n = net->nodes[i];

        if (n->alive && overlay_left(n->o))
            net_kill(n);
    }
}

static void run_for(struct overlay_net *net, usec for_us)
{
    for (usec ran_us = 0; ran_us < for_us; ran_us += MSEC(10)) {
        net_run(net, MSEC(10));
        reap(net);
    }
}

static void take_step(struct overlay_net *net, const struct step *s)
{
    struct net_node *n = net->nodes[s->node];

    switch (s->action) {
    case JOIN:
        if (n->alive) /* still saying goodbye */
            net_kill(n);
        net_start(n, everybody, NODES);
        break;
    case LEAVE:
        overlay_leave(net_enter(n));
        break;
    case CRASH:
        net_kill(n);
        break;
    }
}

static void run_plan(uint64_t seed, const struct plan *p)
{
    struct overlay_net *net = net_new(seed, MSEC(20));
    usec from_us;

    for (unsigned i = 0; i < NODES; i++)
        net_add(net);
    for (size_t i = 0; i < p->count; i++) {
        take_step(net, &p->steps[i]);
        run_for(net, p->apart_us);
    }
    run_for(net, SEC(3));
    for (from_us = net->now_us; !net_ideal(net, false); run_for(net, MSEC(100)))
        if (net->now_us > from_us + repaired_us) {
            say_plan(p);
            (void)net_ideal(net, true);
            fail_msg("the ring did not become ideal");
        }
    net_free(net);
}

static unsigned permute(unsigned which, unsigned n, unsigned out[])
{
    unsigned pool[NODES] = {0, 1, 2, 3, 4}, left = n;

    for (unsigned i = 0; i < n; i++) {
        unsigned k = which % left;

        out[i] = pool[k];
        which /= left--;
        memmove(pool + k, pool + k + 1, (left - k) * sizeof *pool);
    }
    return which;
}

static void five_nodes_in_every_order_then_one_leaves_or_crashes(void **state)
{
    static const usec apart[] = {0, MSEC(130), SEC(2)};

    for (unsigned order = 0; order < 120; order++) {
        struct plan p = {.count = NODES + 1, .apart_us = apart[order % 3]};
        unsigned nodes[NODES];

        (void)permute(order, NODES, nodes);
        for (unsigned i = 0; i < NODES; i++)
            p.steps[i] = (struct step){JOIN, nodes[i]};
        for (unsigned last = 0; last < NODES; last++)
            for (unsigned how = LEAVE; how <= CRASH; how++) {
                p.steps[NODES] = (struct step){(enum action)how, last};
                run_plan(order, &p);
            }
    }
}

/* Every sequence of `count` steps that three nodes can take. */
static void every_sequence(struct plan *p, size_t count, unsigned alive, uint64_t *seed)
{
    if (p->count == count) {
        run_plan((*seed)++, p);
        return;
    }
    for (unsigned node = 0; node < 3; node++)
        for (unsigned action = JOIN; action <= CRASH; action++) {
            bool on = (alive >> node & 1) != 0;

            if (on == (action == JOIN))
                continue;
            p->steps[p->count++] = (struct step){(enum action)action, node};
            every_sequence(p, count, alive ^ 1u << node, seed);
            p->count--;
        }
}

static void three_nodes_in_every_sequence_of_five_steps(void **state)
{
    static const usec apart[] = {MSEC(50), SEC(2)};

    for (size_t i = 0; i < 2; i++) {
        struct plan p = {.apart_us = apart[i]};
        uint64_t seed = 1;

        every_sequence(&p, 5, 0, &seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(five_nodes_in_every_order_then_one_leaves_or_crashes),
        cmocka_unit_test(three_nodes_in_every_sequence_of_five_steps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
