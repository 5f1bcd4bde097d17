/* How threads wait for each other: spin for a bounded time, then sleep.  Who sleeps is run again at
   once when it is woken; who yields, or spins on, waits until another process has used up its time. */
#ifndef CLSTM_BARRIER_H
#define CLSTM_BARRIER_H

#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#define SLEEP_WHILE(p, value) syscall(SYS_futex, p, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0)
#define WAKE(p) syscall(SYS_futex, p, FUTEX_WAKE_PRIVATE, 1 << 30)
#else
#include <sched.h>
#define SLEEP_WHILE(p, value) sched_yield()
#define WAKE(p) ((void)0)
#endif

#if defined(__x86_64__)
#define PAUSE() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define PAUSE() __asm__ volatile("yield")
#else
#define PAUSE() ((void)0)
#endif

/* Inside a call: some 300 microseconds, for a halted virtual CPU takes 100 to wake, and a thread that
   sleeps meanwhile is woken on the CPU of the one that wakes it.  A wait within the first few is not
   worth a look at the clock. */
enum { SPINS = 20000, SHORT_SPINS = 200 };

/* A number that one side changes and others wait for. */
typedef struct {
    _Alignas(64) atomic_uint value;
    atomic_int sleepers; /* asleep, or about to be */
} team_signal;

static inline void signal_set(team_signal *s, unsigned value)
{
    atomic_store(&s->value, value);
    if (atomic_load(&s->sleepers) > 0) WAKE(&s->value);
}
/* Returns whether it slept. */
static inline int signal_wait_while(team_signal *s, unsigned value, int spins)
{
    for (; spins > 0; spins--) {
        if (atomic_load_explicit(&s->value, memory_order_acquire) != value) return 0;
        PAUSE();
    }
    atomic_fetch_add(&s->sleepers, 1);
    while (atomic_load(&s->value) == value) SLEEP_WHILE(&s->value, value);
    atomic_fetch_sub(&s->sleepers, 1);
    return 1;
}

static inline int64_t nanoseconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}
/* Returns the nanoseconds that it waited; a short wait is 0. */
static inline int64_t signal_wait_timed(team_signal *s, unsigned value)
{
    for (int k = 0; k < SHORT_SPINS; k++) {
        if (atomic_load_explicit(&s->value, memory_order_acquire) != value) return 0;
        PAUSE();
    }
    const int64_t begin = nanoseconds();
    signal_wait_while(s, value, SPINS);
    return nanoseconds() - begin;
}

/* All zeros at first; _panels.pxd knows its size. */
typedef struct {
    team_signal round;
    _Alignas(64) atomic_int arrived;
} team_barrier;

_Static_assert(sizeof(team_barrier) == 128, "BARRIER in _panels.pxd");

/* Returns the nanoseconds that it waited; a short wait is 0. */
static inline int64_t barrier_wait(team_barrier *barrier, int size)
{
    if (size == 1) return 0;
    const unsigned round = atomic_load_explicit(&barrier->round.value, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&barrier->arrived, 1, memory_order_acq_rel) == size - 1) {
        atomic_store_explicit(&barrier->arrived, 0, memory_order_relaxed);
        signal_set(&barrier->round, round + 1);
        return 0;
    }
    return signal_wait_timed(&barrier->round, round);
}

#endif
