#include "tests/sim/run.h"
int check_command(const struct options *o)
{
    return 0;
}
int small_command(const struct options *o)
{
    return 0;
}
