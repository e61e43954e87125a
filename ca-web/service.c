#include "ca-web/service.h"

#include <string.h>

bool service_start(struct service *s, const char **why)
{
    *why = "out of memory";
    pthread_mutex_init(&s->lock, NULL);
    s->limit = limit_new();
    if (!s->limit)
        return false;
    vault_derive(s->home.vault, "peal-ca forms", &s->csrf_key);
    while (s->store_count < HTTP_THREADS) {
        struct store *store = home_store(&s->home, why);
        if (!store)
            return false;
        s->stores[s->store_count++] = store;
    }
    return true;
}

void service_stop(struct service *s)
{
    while (s->store_count)
        store_close(s->stores[--s->store_count]);
    limit_free(s->limit);
    secret_clear(&s->csrf_key);
    pthread_mutex_destroy(&s->lock);
}

struct store *service_borrow(struct service *s)
{
    pthread_mutex_lock(&s->lock);
    CHECK(s->store_count > 0);
    struct store *store = s->stores[--s->store_count];
    pthread_mutex_unlock(&s->lock);
    return store;
}

void service_return(struct service *s, struct store *store)
{
    pthread_mutex_lock(&s->lock);
    s->stores[s->store_count++] = store;
    pthread_mutex_unlock(&s->lock);
}

void service_add_name(struct service *s, const char *name)
{
    for (size_t i = 0; i < s->name_count; i++)
        if (!strcasecmp(s->names[i], name))
            return;
    if (s->name_count < SERVICE_NAMES_MAX && strlen(name) <= NAME_MAX_LEN)
        strcpy(s->names[s->name_count++], name);
}
