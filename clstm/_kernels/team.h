/* A team of threads: how it starts, how it waits, and what the floating-point unit does meanwhile. */
#ifndef CLSTM_TEAM_H
#define CLSTM_TEAM_H

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#ifdef _OPENMP
#include <omp.h>
static inline int openmp_version(void) { return _OPENMP; }
#else
static inline int openmp_version(void) { return 0; }
static inline int omp_get_max_threads(void) { return 1; }
#endif

#if defined(__x86_64__)
#include <immintrin.h>
#define PAUSE() _mm_pause()
#elif defined(__aarch64__)
#define PAUSE() __asm__ volatile("yield")
#else
#define PAUSE() ((void)0)
#endif

typedef void (*team_body)(void *context, int thread, int size);

/* Subnormal numbers cost a hundred cycles each: inside a team they are zero. */
static inline unsigned long flush_subnormals(void)
{
#if defined(__x86_64__)
    unsigned mode = _mm_getcsr();
    _mm_setcsr(mode | 0x8040); /* FTZ and DAZ */
    return mode;
#elif defined(__aarch64__)
    unsigned long mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    __asm__ volatile("msr fpcr, %0" : : "r"(mode | 1ul << 24));
    return mode;
#else
    return 0;
#endif
}
static inline void restore_mode(unsigned long mode)
{
#if defined(__x86_64__)
    _mm_setcsr((unsigned)mode);
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"(mode));
#else
    (void)mode;
#endif
}

typedef struct {
    team_body body;
    void *context;
    int size;
} team_job;

static inline void *team_start(void *argument)
{
    const team_job *job = argument;
#ifdef _OPENMP
#pragma omp parallel num_threads(job->size)
    {
        unsigned long mode = flush_subnormals();
        job->body(job->context, omp_get_thread_num(), omp_get_num_threads());
        restore_mode(mode);
    }
#else
    unsigned long mode = flush_subnormals();
    job->body(job->context, 0, 1);
    restore_mode(mode);
#endif
    return NULL;
}

/* body(context, thread, size) on `size` threads, or fewer if the system gives fewer. In a forked
   child libgomp would wait for the parent's threads (gcc bug 60035): a fresh thread there has a
   fresh team. */
static inline void team_run(team_body body, void *context, int size, int forked)
{
    team_job job = {body, context, size};
    pthread_t thread;
    if (size == 1) {
        unsigned long mode = flush_subnormals();
        body(context, 0, 1);
        restore_mode(mode);
    } else if (forked && pthread_create(&thread, NULL, team_start, &job) == 0) {
        pthread_join(thread, NULL);
    } else if (forked) {
        team_run(body, context, 1, 0);
    } else {
        team_start(&job);
    }
}

/* A barrier: spin for some 30 microseconds, then sleep. Who sleeps is run again at once when it is
   woken; who yields waits until another process has used up its time. */
typedef struct {
    _Alignas(64) atomic_int arrived;
    _Alignas(64) atomic_int round;
    atomic_int sleepers;
} team_barrier;

#if defined(__linux__)
static inline void sleep_while(atomic_int *p, int value)
{
    syscall(SYS_futex, p, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}
static inline void wake(atomic_int *p) { syscall(SYS_futex, p, FUTEX_WAKE_PRIVATE, 1 << 30); }
#else
static inline void sleep_while(atomic_int *p, int value)
{
    (void)p, (void)value;
    sched_yield();
}
static inline void wake(atomic_int *p) { (void)p; }
#endif

static inline void barrier_wait(team_barrier *barrier, int size)
{
    if (size == 1) return;
    const int round = atomic_load_explicit(&barrier->round, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&barrier->arrived, 1, memory_order_acq_rel) == size - 1) {
        atomic_store_explicit(&barrier->arrived, 0, memory_order_relaxed);
        atomic_store(&barrier->round, round + 1);
        if (atomic_load(&barrier->sleepers) > 0) wake(&barrier->round);
        return;
    }
    for (int spins = 0; spins < 2000; spins++) {
        if (atomic_load_explicit(&barrier->round, memory_order_acquire) != round) return;
        PAUSE();
    }
    atomic_fetch_add(&barrier->sleepers, 1);
    while (atomic_load(&barrier->round) == round) sleep_while(&barrier->round, round);
    atomic_fetch_sub(&barrier->sleepers, 1);
}

#endif
