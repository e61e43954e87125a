#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "overlay/crypto/secret.h"
#include "tests/sim/account.h"
#include "tests/sim/run.h"

/* The twin program lies beside this one. It is for large rings, where each event finds its host's
 * memory cold: with huge pages it waits less for addresses to be translated (2500 nodes: 39 s
 * instead of 48). */
static int run_twin(char **argv)
{
    char path[4096];
    ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - sizeof("-null"));

    if (len > 0) {
        strcpy(path + len, "-null");
        setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1", 0);
        execv(path, argv);
    }
    perror("peal-sim: the twin program with a null cipher cannot be started");
    return EXIT_USAGE;
}

static int run_program(const struct options *o)
{
    switch (o->command) {
    case COMMAND_RUN:
    case COMMAND_CLAIMS:
        return run_command(o);
    case COMMAND_CHECK:
        return check_command(o);
    case COMMAND_SMALL:
        return small_command(o);
    case COMMAND_NAT:
        return nat_command(o);
    case COMMAND_REMOVAL:
        return removal_command(o);
    case COMMAND_RELAY:
        return relay_command(o);
    }
    return EXIT_USAGE;
}

int main(int argc, char **argv)
{
    struct options o;
    int status;

    if (!options_read(&o, argc, argv, &status))
        return status;
    if (o.null_crypto && !PEAL_SIM_NULL)
        return run_twin(argv);
    account_start();
    if (crypto_start() != 0)
        return EXIT_USAGE;
    if (o.sites)
        account_trace();
    status = run_program(&o);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        perror("peal-sim: the result cannot be written");
        return EXIT_USAGE;
    }
    return status;
}
