/* The words that scalar.h and double.h share: one `real` is one `vec`. */
typedef int mask;
#define LANES 1
#define INLINE static inline __attribute__((always_inline))

INLINE vec v_set(real a) { return a; }
INLINE vec v_load(const real *p) { return *p; }
INLINE void v_store(real *p, vec a) { *p = a; }
INLINE vec v_load_first(const real *p, ptrdiff_t n) { return n ? *p : 0; }
INLINE void v_store_first(real *p, vec a, ptrdiff_t n)
{
    if (n) *p = a;
}

INLINE vec v_add(vec a, vec b) { return a + b; }
INLINE vec v_sub(vec a, vec b) { return a - b; }
INLINE vec v_mul(vec a, vec b) { return a * b; }
INLINE vec v_div(vec a, vec b) { return a / b; }
INLINE vec v_fma(vec a, vec b, vec c) { return a * b + c; }
INLINE vec v_fnma(vec a, vec b, vec c) { return c - a * b; }

/* min and max give b when either is NaN: put the constant first and NaN passes through */
INLINE vec v_min(vec a, vec b) { return a < b ? a : b; }
INLINE vec v_max(vec a, vec b) { return a > b ? a : b; }
INLINE mask v_less(vec a, vec b) { return a < b; }
INLINE vec v_select(mask m, vec a, vec b) { return m ? a : b; }
