#include "overlay/choose.h"

static usec cost_ms(const struct relay_choice *c)
{
    return (c->rtt_us + c->rtt_us * (UINT8_MAX - c->spare) / (2 * UINT8_MAX)) / 1000;
}

bool choose_better(const struct relay_choice *a, const struct relay_choice *b)
{
    usec cost_a = cost_ms(a), cost_b = cost_ms(b);

    if ((a->spare == 0) != (b->spare == 0))
        return b->spare == 0;
    return cost_a != cost_b ? cost_a < cost_b : a->age_s > b->age_s;
}
