/*
 * service.h - what all requests of a running peal-ca share: the database's connections, the limits,
 * the counters, and under which names the service answers. Any thread.
 */
#ifndef PEAL_CA_SERVICE_H
#define PEAL_CA_SERVICE_H

#include <pthread.h>
#include <stdatomic.h>

#include "ca-web/blob.h"
#include "ca-web/http.h"
#include "ca-web/limit.h"

enum {
    SERVICE_NAMES_MAX = 8,
    SERVICE_ROUTES_MAX = 96,
    SERVICE_CODES_MAX = 20,
};

struct service {
    struct home home;
    struct server server;
    struct secret csrf_key;
    struct limit *limit;
    char names[SERVICE_NAMES_MAX][NAME_MAX_LEN + 1]; /* host names and addresses we answer under */
    size_t name_count;
    pthread_mutex_t lock; /* of `stores` */
    struct store *stores[HTTP_THREADS];
    size_t store_count;
    atomic_llong requests[SERVICE_ROUTES_MAX][SERVICE_CODES_MAX];
    atomic_llong refusals[OUT_COUNT]; /* what was not done, by why */
    atomic_llong login_failures, issued, refused, held;
};

/* Opens the stores; home, server and names are filled in by the caller. False and *why. */
bool service_start(struct service *s, const char **why);
void service_stop(struct service *s);

/* A connection for one request. There are as many as threads, so there is always one. */
struct store *service_borrow(struct service *s);
void service_return(struct service *s, struct store *store);

void service_add_name(struct service *s,
                      const char *name); /* duplicates and too many are dropped */
/* http_config.handle; ctx is the service. */
void service_handle(void *ctx, const struct request *request, struct response *response);

#endif
