#include "tests/sim/swarm.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "overlay/core/err.h"
#include "tests/sim/report.h"
#include "tests/sim/run.h"

enum { ASKS_EACH_S = 2 /* of the whole world */, QUESTIONS = 24, JOBS_MAX = 256 };

void swarm_seed(const struct shape *shape, struct swarm_result *result)
{
    struct world *w = world_new(&shape->config);
    double before_s = core_seconds();

    *result = (struct swarm_result){.seed = shape->config.seed, .nodes = shape->config.nodes};
    shape_begin(shape, w);
    asks_go_on(w, SEC(1) / ASKS_EACH_S);
    world_run(w, shape->safety_us);
    asks_go_on(w, 0);
    if (!world_must_stop(w)) {
        shape_end(shape, w);
        liveness_judge(w, &result->liveness, QUESTIONS, true);
    }
    result->violations = w->violations;
    memcpy(result->violation, w->violation, sizeof(result->violation));
    result->events = w->events;
    world_digest(w, result->digest);
    result->virtual_s = (double)w->now_us / 1e6;
    result->skip_s = (double)w->ring.skip_longest_us / 1e6;
    world_free(w);
    result->core_s = core_seconds() - before_s;
}

/* ---- workers ---- */

struct worker {
    pid_t pid; /* 0: ended */
    int fd;
    uint64_t seed; /* it is at */
};

static void worker_seed(const struct options *o, uint64_t seed, struct swarm_result *result)
{
    struct shape shape;

    shape_draw(&shape, seed, o->nodes, (usec)(o->minutes * 60e6));
    shape.config.stop_at_violation = true;
    shape.config.silent = o->seeds_first != o->seeds_last;
    shape.config.log_level = o->log_level;
    shape.config.log_host = o->log_host;
    shape.config.follow = o->follow;
    if (!shape.config.silent)
        fprintf(stderr, "seed %llu: %s\n", (unsigned long long)seed, shape.text);
    swarm_seed(&shape, result);
}

_Noreturn static void worker_run(const struct options *o, unsigned number, int fd)
{
    struct swarm_result result;

    prctl(PR_SET_PDEATHSIG, SIGKILL); /* not to outlive who waits for it */
    for (uint64_t seed = o->seeds_first + number; seed <= o->seeds_last; seed += o->jobs) {
        worker_seed(o, seed, &result);
        if (write(fd, &result, sizeof(result)) != sizeof(result))
            _exit(EXIT_USAGE);
    }
    _exit(0);
}

static bool worker_start(struct worker *k, const struct options *o, unsigned number)
{
    int ends[2];

    if (pipe(ends) != 0)
        return false;
    fflush(NULL);
    k->pid = fork();
    if (k->pid == 0) {
        close(ends[0]);
        worker_run(o, number, ends[1]);
    }
    close(ends[1]);
    k->fd = ends[0];
    k->seed = o->seeds_first + number;
    return k->pid > 0;
}

/* ---- the swarm ---- */

struct swarm {
    const struct options *options;
    struct worker workers[JOBS_MAX];
    unsigned running;
    uint64_t violated;
    struct report_sum sum;
    struct swarm_result worst; /* the violation with the lowest seed seen */
    double core_s, ideal_s_max, settled_s_max, skip_s_max;
};

static void keep_violation(struct swarm *s, const struct swarm_result *r)
{
    if (s->options->keep_going)
        fprintf(stderr, "%sseed %llu violated: %s\n", isatty(STDERR_FILENO) ? "\r\033[K" : "",
                (unsigned long long)r->seed, r->violation);
    s->violated++;
    if (s->violated == 1 || r->seed < s->worst.seed)
        s->worst = *r;
}

static void take_result(struct swarm *s, const struct swarm_result *r)
{
    s->core_s += r->core_s;
    s->sum.worlds++;
    s->sum.virtual_s += r->virtual_s;
    s->sum.events += r->events;
    report_sum_add_digest(&s->sum, r->digest);
    if (r->liveness.ideal_s > s->ideal_s_max)
        s->ideal_s_max = r->liveness.ideal_s;
    if (r->liveness.settled_s > s->settled_s_max)
        s->settled_s_max = r->liveness.settled_s;
    if (r->skip_s > s->skip_s_max)
        s->skip_s_max = r->skip_s;
    if (s->options->verbose)
        fprintf(stderr,
                "seed %llu: %u hosts, %.0f virtual s, %.3f core s, healed %.2f s, settled "
                "%.2f s, skip %.2f s\n",
                (unsigned long long)r->seed, (unsigned)r->nodes, r->virtual_s, r->core_s,
                r->liveness.ideal_s, r->liveness.settled_s, r->skip_s);
    if (r->violations > 0)
        keep_violation(s, r);
}

/* Its pipe ended: it is through, or it died at its seed. */
static void worker_ended(struct swarm *s, struct worker *k)
{
    int status;

    waitpid(k->pid, &status, 0);
    close(k->fd);
    k->pid = 0;
    s->running--;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return;
    struct swarm_result died = {.seed = k->seed, .violations = 1};

    snprintf(died.violation, sizeof(died.violation), "the process died (%s %d): see stderr above",
             WIFSIGNALED(status) ? "signal" : "exit status",
             WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    keep_violation(s, &died);
}

static void worker_says(struct swarm *s, struct worker *k)
{
    struct swarm_result r;
    ssize_t len = read(k->fd, &r, sizeof(r)); /* written whole: below PIPE_BUF */

    if (len != sizeof(r)) {
        worker_ended(s, k);
        return;
    }
    take_result(s, &r);
    k->seed = r.seed + s->options->jobs;
}

static void swarm_progress(const struct swarm *s)
{
    uint64_t all = s->options->seeds_last - s->options->seeds_first + 1;

    if (isatty(STDERR_FILENO) && !s->options->verbose)
        fprintf(stderr, "\r\033[K%llu of %llu seeds, %llu violated",
                (unsigned long long)s->sum.worlds, (unsigned long long)all,
                (unsigned long long)s->violated);
}

static void swarm_wait(struct swarm *s)
{
    struct pollfd fds[JOBS_MAX];

    for (unsigned i = 0; i < s->options->jobs; i++)
        fds[i] =
            (struct pollfd){.fd = s->workers[i].pid > 0 ? s->workers[i].fd : -1, .events = POLLIN};
    if (poll(fds, s->options->jobs, -1) < 0)
        return;
    for (unsigned i = 0; i < s->options->jobs; i++)
        if (fds[i].revents != 0)
            worker_says(s, &s->workers[i]);
    swarm_progress(s);
}

static void swarm_stop(struct swarm *s)
{
    for (unsigned i = 0; i < s->options->jobs; i++) {
        if (s->workers[i].pid == 0)
            continue;
        kill(s->workers[i].pid, SIGKILL);
        waitpid(s->workers[i].pid, NULL, 0);
        close(s->workers[i].fd);
    }
}

static volatile sig_atomic_t interrupted;

static void interrupt(int number)
{
    interrupted = number;
}

/* The one command that shows it again. */
static void say_violation(const struct swarm *s)
{
    const struct options *o = s->options;

    fprintf(stderr, "\nseed %llu: %s\nto see it again: peal-sim check --seeds %llu",
            (unsigned long long)s->worst.seed, s->worst.violation,
            (unsigned long long)s->worst.seed);
    if (o->nodes > 0)
        fprintf(stderr, " --nodes %u", (unsigned)o->nodes);
    if (o->minutes > 0)
        fprintf(stderr, " --minutes %g", o->minutes);
    fprintf(stderr, "%s\n", o->null_crypto ? " --null-crypto" : "");
}

static void print_text(const struct swarm *s, double wall_s)
{
    char digest[65];

    report_sum_digest(&s->sum, digest);
    report_text_begin(s->options, digest);
    printf("%llu seeds, %llu violated; %.1f s wall, %.3f core s a seed, %.0f virtual s, %.1f M "
           "events; healed within %.2f s, settled within %.2f s, longest skip %.2f s\n",
           (unsigned long long)s->sum.worlds, (unsigned long long)s->violated, wall_s,
           s->sum.worlds > 0 ? s->core_s / (double)s->sum.worlds : 0, s->sum.virtual_s,
           (double)s->sum.events / 1e6, s->ideal_s_max, s->settled_s_max, s->skip_s_max);
}

static void print_json(const struct swarm *s, double wall_s)
{
    json_t *j = report_json_begin(s->options);
    bool bad = s->violated > 0;

    report_sum_json(j, &s->sum);
    json_object_set_new(j, "seeds", json_integer((json_int_t)s->sum.worlds));
    json_object_set_new(j, "interrupted", json_boolean(interrupted));
    json_object_set_new(j, "violations", json_integer((json_int_t)s->violated));
    json_object_set_new(j, "first_violated",
                        bad ? json_integer((json_int_t)s->worst.seed) : json_null());
    json_object_set_new(j, "first_violation", bad ? json_string(s->worst.violation) : json_null());
    json_object_set_new(j, "wall_s", json_real(wall_s));
    json_object_set_new(j, "core_s", json_real(s->core_s));
    json_object_set_new(j, "healed_s_max", json_real(s->ideal_s_max));
    json_object_set_new(j, "settled_s_max", json_real(s->settled_s_max));
    json_object_set_new(j, "skip_s_max", json_real(s->skip_s_max));
    report_json_end(j);
}

static void swarm_report(const struct swarm *s, double wall_s)
{
    if (s->options->json)
        print_json(s, wall_s);
    else
        print_text(s, wall_s);
}

int check_command(const struct options *o)
{
    struct swarm s = {.options = o};
    double start_s = wall_seconds();

    struct sigaction before;

    if (sigaction(SIGINT, NULL, &before) == 0 && before.sa_handler != SIG_IGN)
        sigaction(SIGINT, &(struct sigaction){.sa_handler = interrupt}, NULL); /* poll ends */

    for (unsigned i = 0; i < o->jobs; i++) {
        if (!worker_start(&s.workers[i], o, i)) {
            perror("peal-sim: a worker cannot be started");
            return EXIT_USAGE;
        }
        s.running++;
    }
    while (s.running > 0 && !interrupted && (s.violated == 0 || o->keep_going))
        swarm_wait(&s);
    swarm_stop(&s);
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\n");
    if (interrupted)
        fprintf(stderr, "interrupted: not all of %llu-%llu\n", (unsigned long long)o->seeds_first,
                (unsigned long long)o->seeds_last);
    if (s.violated > 0)
        say_violation(&s);
    swarm_report(&s, wall_seconds() - start_s);
    return s.violated > 0 ? EXIT_VIOLATED : interrupted ? EXIT_INTERRUPTED : 0;
}
