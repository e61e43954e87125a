#include "overlay/overlay_internal.h"

void queue_init(struct queue *q)
{
    *q = (struct queue){.first = NULL};
    q->last = &q->first;
}

void queue_put(struct queue *q, void *item)
{
    *(void **)item = NULL;
    *q->last = item;
    q->last = item;
    q->count++;
}

void *queue_take(struct queue *q)
{
    void *item = q->first;

    if (item == NULL)
        return NULL;
    q->first = *(void **)item;
    if (q->first == NULL)
        q->last = &q->first;
    q->count--;
    return item;
}
