/* Teams under many callers: every thread of a team writes a number in each step, meets the others at
   a barrier and adds up what all have written.  Meant for -fsanitize=thread; exits 0 if all sums and
   team sizes are right. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* The system gives so many workers at most, as it does under a limit on processes. */
static int available;
static int scarce_create(pthread_t *id, const pthread_attr_t *how, void *(*start)(void *),
                         void *arg)
{
    if ((int)(intptr_t)arg > available) return 11; /* EAGAIN */
    return pthread_create(id, how, start, arg);
}
#define pthread_create scarce_create
#include "team.h"
#undef pthread_create

enum { CALLERS = 4, CALLS = 150, STEPS = 20, LARGEST = 5 };

typedef struct {
    team_barrier barrier;
    unsigned long mode;
    int cells[2][LARGEST]; /* of odd and even steps: one barrier a step is enough */
    int sums[LARGEST];
    int size, wrong;
} shared;

static void body(void *context, int thread, int size)
{
    shared *s = context;
    if (thread == 0) s->size = size;
    int sum = 0;
    for (int step = 0; step < STEPS; step++) {
        s->cells[step & 1][thread] = step + thread;
        team_wait(&s->barrier, size);
        for (int t = 0; t < size; t++) sum += s->cells[step & 1][t];
    }
    s->sums[thread] = sum;
    if (read_mode() != s->mode) s->wrong = 1; /* workers have the caller's floating-point mode */
}

/* argument: the caller's number; odd ones flush subnormals.  Returns how often it had a team. */
static void *call(void *argument)
{
    const int number = (int)(intptr_t)argument;
    intptr_t teams = 0;
    if (number & 1) flush_subnormals();
    for (int k = 0; k < CALLS; k++) {
        shared s;
        memset(&s, 0, sizeof s);
        s.mode = read_mode();
        const int asked = 1 + (k + number) % LARGEST;
        team_run(body, &s, asked);
        int expected = 0;
        for (int step = 0; step < STEPS; step++)
            for (int t = 0; t < s.size; t++) expected += step + t;
        for (int t = 0; t < s.size; t++)
            if (s.sums[t] != expected) s.wrong = 1;
        if (s.size > asked || s.size > available + 1) s.wrong = 1;
        if (s.wrong) {
            fprintf(stderr, "caller %d, call %d of %d threads: wrong\n", number, k, s.size);
            exit(1);
        }
        teams += s.size > 1;
        if (k % 8 == 0) usleep(500); /* the workers fall asleep */
    }
    return (void *)teams;
}

/* A team that waits for most of its time shrinks by a quarter, later grows by one, if that goes well. */
static int trials(void)
{
    const int64_t long_ago = nanoseconds() - 2 * JUDGED;
    judge(8, long_ago, 7 * JUDGED); /* half of the possible */
    if (limited(8) != 8) return 1;
    judge(8, long_ago, 14 * (int64_t)JUDGED);
    if (limited(8) != 6 || limited(3) != 3) return 1;
    trial.until = 0;
    if (limited(8) != 7) return 1;
    judge(7, long_ago, 0);
    if (limited(8) != 8 || trial.limit != 7) return 1;
    for (int size = 7; size > 1; size = trial.limit) judge(size, long_ago, 7 * 2 * (int64_t)JUDGED);
    if (limited(8) != 1) return 1;
    memset(&trial, 0, sizeof trial);
    return 0;
}

int main(void)
{
    if (trials() != 0) return 1;
    if (team_prepare() != 0 || team_cpus() < 1) return 1;
    for (available = 0; available < LARGEST; available += 2) {
        pthread_t callers[CALLERS];
        intptr_t teams = 0;
        for (int k = 0; k < CALLERS; k++) pthread_create(&callers[k], NULL, call, (void *)(intptr_t)k);
        for (int k = 0; k < CALLERS; k++) {
            void *had;
            pthread_join(callers[k], &had);
            teams += (intptr_t)had;
        }
        printf("%d workers: %ld of %d calls had a team\n", available, (long)teams, CALLERS * CALLS);
        if ((teams > 0) != (available > 0)) return 1;
    }
    return 0;
}
