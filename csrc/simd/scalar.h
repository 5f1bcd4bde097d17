/* The vocabulary in plain C: one float.  v_fma rounds twice here (a fused one is a slow library
   call on a CPU without FMA): the one instruction set whose results may differ in their last bits
   from the others'. */
#include <math.h>
#include <string.h>

typedef float real;
typedef float vec;
#include "plain.h"

INLINE vec v_sqrt(vec a) { return sqrtf(a); }
INLINE vec v_round(vec a) { return (a + 12582912.0f) - 12582912.0f; } /* |a| < 2^22 */

INLINE vec v_power(int32_t n) /* 2^n for n in -126 .. 127 */
{
    uint32_t bits = (uint32_t)(n + 127) << 23;
    float power;
    memcpy(&power, &bits, sizeof power);
    return power;
}
/* a 2^n for whole n in -252 .. 254, rounded once where the result is subnormal */
INLINE vec v_scale(vec a, vec n)
{
    int32_t k = n == n ? (int32_t)n : 0, half = k >> 1;
    return a * v_power(half) * v_power(k - half);
}
/* a 2^n for whole n in -126 .. 127 */
INLINE vec v_scale_normal(vec a, vec n) { return a * v_power(n == n ? (int32_t)n : 0); }
