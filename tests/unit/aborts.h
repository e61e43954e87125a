/* aborts.h - says whether a call ends the process, as a failed CHECK does. */
#ifndef PEAL_TESTS_ABORTS_H
#define PEAL_TESTS_ABORTS_H

#include <signal.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static inline bool aborts(void (*call)(void *arg), void *arg)
{
    const struct rlimit no_core = {0, 0};
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        signal(SIGABRT, SIG_DFL); /* cmocka's handler would report a failure */
        setrlimit(RLIMIT_CORE, &no_core);
        close(STDERR_FILENO);
        call(arg);
        _exit(0);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) &&
           WTERMSIG(status) == SIGABRT;
}

#endif
