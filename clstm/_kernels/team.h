/* Teams of threads.  libgomp's spin for milliseconds after each region, which takes the core from
   whoever needs it, the own process's next call included, and they do not survive a fork (gcc bug
   60035).  These workers soon sleep, and a forked child makes its own. */
#ifndef CLSTM_TEAM_H
#define CLSTM_TEAM_H

#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>

#include "barrier.h"
#include "fpmode.h"

typedef void (*team_body)(void *context, int thread, int size);

/* The process's workers.  One call has them at a time; a call that finds them taken works on its own
   thread alone, for then the cores are busy anyway. */
enum { MOST = 1024, DOCK_SPINS = 4000 }; /* between calls: some 70 microseconds */
static struct {
    atomic_flag taken;
    int workers;
    team_body body;
    void *context;
    int size;
    unsigned long mode; /* the caller's floating-point mode */
#if defined(__linux__)
    cpu_set_t allowed; /* the caller's CPUs */
#endif
    pthread_t threads[MOST];
    team_signal call[MOST]; /* [thread]: counts the calls that this worker takes part in */
    team_signal done;       /* counts the workers that have finished the call */
    _Atomic int64_t waited; /* nanoseconds that the call's threads waited for each other */
} pool = {.taken = ATOMIC_FLAG_INIT};
static _Thread_local int64_t waited; /* this thread's part of it so far */

/* The one way for a team's threads to wait for each other. */
static void team_wait(team_barrier *barrier, int size)
{
    waited += barrier_wait(barrier, size);
}

/* Threads that share the CPUs with other processes wait for those that are not running; a team of
   n may take many times as long as the caller alone.  It is slower than the caller alone if its
   threads have waited for (n - 1) times the time that passed.  So calls are judged together, those
   of each JUDGED nanoseconds, and who waited for three quarters of that goes on with three quarters
   of the threads for PENALTY times as long; then one more is tried.  The size of a team changes no
   bit of a result. */
enum { JUDGED = 20000000, PENALTY = 20 };
static struct {
    int limit;     /* on the size, 0: none */
    int64_t until; /* when one more may be tried */
    int64_t time, possible, waited; /* since the last judgement; possible: (n - 1) times the time */
} trial;

static int limited(int size)
{
    if (trial.limit == 0 || trial.limit >= size) return size;
    return nanoseconds() < trial.until ? trial.limit : trial.limit + 1;
}
static void judge(int size, int64_t begin, int64_t all_waited)
{
    const int64_t now = nanoseconds();
    trial.time += now - begin;
    trial.possible += (size - 1) * (now - begin);
    trial.waited += all_waited;
    if (trial.time < JUDGED) return;
    if (trial.waited > trial.possible / 4 * 3) {
        trial.limit = size - (size + 3) / 4;
        trial.until = now + PENALTY * trial.time;
    } else if (trial.limit > 0 && size > trial.limit) {
        trial.limit = size;
    }
    trial.time = trial.possible = trial.waited = 0;
}

/* A worker that is woken while the other virtual CPUs of a guest are halted is put on the caller's
   CPU, where it would wait for the caller, and the caller for it.  So it wakes on the others alone,
   and may then be moved to any. */
static void wake_elsewhere(int thread)
{
#if defined(__linux__)
    cpu_set_t others = pool.allowed;
    CPU_CLR(sched_getcpu(), &others);
    if (CPU_COUNT(&others) > 0)
        pthread_setaffinity_np(pool.threads[thread], sizeof others, &others);
#else
    (void)thread;
#endif
}
static void allow_all(void)
{
#if defined(__linux__)
    pthread_setaffinity_np(pthread_self(), sizeof pool.allowed, &pool.allowed);
#endif
}

static void *work(void *number)
{
    const int thread = (int)(intptr_t)number;
    for (unsigned seen = 0;; seen++) {
        if (signal_wait_while(&pool.call[thread], seen, DOCK_SPINS)) allow_all();
        restore_mode(pool.mode);
        waited = 0;
        pool.body(pool.context, thread, pool.size);
        atomic_fetch_add(&pool.waited, waited);
        atomic_fetch_add(&pool.done.value, 1);
        if (atomic_load(&pool.done.sleepers) > 0) WAKE(&pool.done.value);
    }
    return NULL;
}

static void forget_workers(void) /* in a forked child they do not exist */
{
    memset(&pool, 0, sizeof pool);
    memset(&trial, 0, sizeof trial);
    atomic_flag_clear(&pool.taken);
}

/* CPUs that the calling thread may run on, as far as the system tells */
static int team_cpus(void)
{
#if defined(__linux__)
    cpu_set_t cpus;
    if (sched_getaffinity(0, sizeof cpus, &cpus) == 0) return CPU_COUNT(&cpus);
#endif
    return INT_MAX;
}

static int team_prepare(void) /* once, before the first team */
{
    return pthread_atfork(NULL, NULL, forget_workers);
}

/* A worker takes no signal that is meant for the program's threads, only those of its own faults. */
static int start_worker(int thread)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT};
    sigset_t others, before;
    sigfillset(&others);
    for (size_t k = 0; k < sizeof faults / sizeof *faults; k++) sigdelset(&others, faults[k]);
    pthread_sigmask(SIG_SETMASK, &others, &before);
    const int error =
        pthread_create(&pool.threads[thread], NULL, work, (void *)(intptr_t)thread);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error == 0) pthread_detach(pool.threads[thread]);
    return error;
}

/* workers 1 .. size - 1, or as many as the system gives; how many threads that makes */
static int gather_workers(int size)
{
    while (pool.workers < size - 1 && start_worker(pool.workers + 1) == 0) pool.workers++;
    return pool.workers < size - 1 ? pool.workers + 1 : size;
}

/* body(context, thread, size) on `size` threads, thread 0 the caller's, or on fewer. */
static void team_run(team_body body, void *context, int size)
{
    if (size == 1 || atomic_flag_test_and_set(&pool.taken)) {
        body(context, 0, 1);
        return;
    }
    size = gather_workers(limited(size < MOST ? size : MOST));
    if (size == 1) {
        atomic_flag_clear(&pool.taken); /* for other callers */
        body(context, 0, 1);
        return;
    }
    const int64_t begin = nanoseconds();
    pool.body = body, pool.context = context, pool.size = size;
    pool.mode = read_mode();
    atomic_store(&pool.done.value, 0);
    atomic_store(&pool.waited, 0);
#if defined(__linux__)
    sched_getaffinity(0, sizeof pool.allowed, &pool.allowed);
#endif
    for (int t = 1; t < size; t++) {
        if (atomic_load(&pool.call[t].sleepers) > 0) wake_elsewhere(t);
        signal_set(&pool.call[t], atomic_load(&pool.call[t].value) + 1);
    }
    waited = 0;
    body(context, 0, size);
    for (unsigned n; (n = atomic_load(&pool.done.value)) < (unsigned)size - 1;)
        waited += signal_wait_timed(&pool.done, n);
    judge(size, begin, waited + atomic_load(&pool.waited));
    atomic_flag_clear(&pool.taken);
}

#endif
