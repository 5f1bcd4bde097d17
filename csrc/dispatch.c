/* Which tables can this CPU run?  Compiled without any -m flag, so that asking is always safe. */
#include "clstm.h"

const clstm_kernels *const *clstm_available(void)
{
    static const clstm_kernels *tables[4];
    int n = 0;
#if defined(__x86_64__)
    __builtin_cpu_init(); /* reads cpuid and, through xgetbv, what the operating system saves */
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("fma"))
        tables[n++] = &clstm_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        tables[n++] = &clstm_avx2;
#elif defined(__aarch64__)
    tables[n++] = &clstm_neon; /* every AArch64 CPU has it */
#endif
    tables[n++] = &clstm_scalar;
    tables[n] = NULL;
    return tables;
}
