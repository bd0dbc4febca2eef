/*
 * base/pool.c - threads, one queue in, one queue out.
 */
#include "base/pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

typedef struct Queue {
    Job *head, **tail;
} Queue;

struct Pool {
    pthread_mutex_t lock;
    pthread_cond_t work, finished;
    Queue in, out;
    unsigned nthread, npending; /* pending: handed over and not yet returned by pool_next */
    bool stop;
    pthread_t threads[];
};

static void push(Queue *q, Job *j)
{
    j->next = NULL;
    *q->tail = j;
    q->tail = &j->next;
}

static Job *pop(Queue *q)
{
    Job *j = q->head;
    if (j) {
        q->head = j->next;
        if (!q->head)
            q->tail = &q->head;
    }
    return j;
}

static void *worker(void *arg)
{
    Pool *p = arg;
    pthread_mutex_lock(&p->lock);
    for (;;) {
        Job *j = p->stop ? NULL : pop(&p->in);
        if (j) {
            pthread_mutex_unlock(&p->lock);
            j->run(j);
            pthread_mutex_lock(&p->lock);
            push(&p->out, j);
            pthread_cond_signal(&p->finished);
        } else if (p->stop) {
            break;
        } else {
            pthread_cond_wait(&p->work, &p->lock);
        }
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

bool pool_new(unsigned nthread, Pool **ret, Err *e)
{
    if (nthread == 0)
        nthread = 1;
    Pool *p = calloc(1, sizeof *p + nthread * sizeof p->threads[0]);
    if (!p)
        die_nomem();
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->work, NULL);
    pthread_cond_init(&p->finished, NULL);
    p->in.tail = &p->in.head;
    p->out.tail = &p->out.head;
    for (; p->nthread < nthread; p->nthread++) {
        int rc = pthread_create(&p->threads[p->nthread], NULL, worker, p);
        if (rc) {
            pool_done(p);
            return err_set(e, ERR_ENV, "start a thread: %s", strerror(rc));
        }
    }
    *ret = p;
    return true;
}

void pool_add(Pool *p, Job *job)
{
    pthread_mutex_lock(&p->lock);
    push(&p->in, job);
    p->npending++;
    pthread_cond_signal(&p->work);
    pthread_mutex_unlock(&p->lock);
}

Job *pool_next(Pool *p)
{
    pthread_mutex_lock(&p->lock);
    Job *j = NULL;
    while (p->npending && !(j = pop(&p->out)))
        pthread_cond_wait(&p->finished, &p->lock);
    if (j)
        p->npending--;
    pthread_mutex_unlock(&p->lock);
    return j;
}

void pool_done(Pool *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->stop = true;
    pthread_cond_broadcast(&p->work);
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < p->nthread; i++)
        pthread_join(p->threads[i], NULL);
    pthread_cond_destroy(&p->work);
    pthread_cond_destroy(&p->finished);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

unsigned cpu_count(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) < 0)
        return 1;
    int n = CPU_COUNT(&set);
    return n < 1 ? 1 : (unsigned)n;
}
