/* Subnormal numbers cost a hundred cycles each: while an LSTM runs they are zero. */
#ifndef CLSTM_FPMODE_H
#define CLSTM_FPMODE_H

static inline unsigned long read_mode(void)
{
#if defined(__x86_64__)
    return __builtin_ia32_stmxcsr();
#elif defined(__aarch64__)
    unsigned long mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    return mode;
#else
    return 0;
#endif
}

static inline void restore_mode(unsigned long mode)
{
#if defined(__x86_64__)
    __builtin_ia32_ldmxcsr((unsigned)mode);
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"(mode));
#else
    (void)mode;
#endif
}

/* Flush them in this thread; returns the mode to restore. */
static inline unsigned long flush_subnormals(void)
{
    const unsigned long mode = read_mode();
#if defined(__x86_64__)
    restore_mode(mode | 0x8040); /* FTZ and DAZ */
#else
    restore_mode(mode | 1ul << 24); /* FZ of AArch64 */
#endif
    return mode;
}

#endif
