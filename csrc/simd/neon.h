/* The vocabulary in NEON (AArch64): 4 floats.  Every word does one IEEE operation per lane. */
typedef float real;
typedef float32x4_t vec;
typedef uint32x4_t mask;
#define LANES 4
#define VEC_REGISTER "+w" /* of inline assembler */
#define INLINE static inline __attribute__((always_inline))

INLINE vec v_set(real a) { return vdupq_n_f32(a); }
INLINE vec v_load(const real *p) { return vld1q_f32(p); }
INLINE void v_store(real *p, vec a) { vst1q_f32(p, a); }
INLINE vec v_load_first(const real *p, ptrdiff_t n) /* n < 4 */
{
    real part[4] = {0};
    for (ptrdiff_t k = 0; k < n; k++) part[k] = p[k];
    return vld1q_f32(part);
}
INLINE void v_store_first(real *p, vec a, ptrdiff_t n)
{
    real part[4];
    vst1q_f32(part, a);
    for (ptrdiff_t k = 0; k < n; k++) p[k] = part[k];
}

INLINE vec v_add(vec a, vec b) { return vaddq_f32(a, b); }
INLINE vec v_sub(vec a, vec b) { return vsubq_f32(a, b); }
INLINE vec v_mul(vec a, vec b) { return vmulq_f32(a, b); }
INLINE vec v_div(vec a, vec b) { return vdivq_f32(a, b); }
INLINE vec v_sqrt(vec a) { return vsqrtq_f32(a); }
INLINE vec v_fma(vec a, vec b, vec c) { return vfmaq_f32(c, a, b); }  /*  ab + c */
INLINE vec v_fnma(vec a, vec b, vec c) { return vfmsq_f32(c, a, b); } /* -ab + c */

/* the lower (upper) halves of a and b, lane by lane in turn: a0 b0 a1 b1 ... */
INLINE vec v_zip_low(vec a, vec b) { return vzip1q_f32(a, b); }
INLINE vec v_zip_high(vec a, vec b) { return vzip2q_f32(a, b); }

/* all lanes: halves are added to each other */
INLINE real v_total(vec a)
{
    float32x2_t b = vadd_f32(vget_low_f32(a), vget_high_f32(a));
    return vget_lane_f32(b, 0) + vget_lane_f32(b, 1);
}

/* NaN if either is NaN; on the other instruction sets b then: callers put the constant first */
INLINE vec v_min(vec a, vec b) { return vminq_f32(a, b); }
INLINE vec v_max(vec a, vec b) { return vmaxq_f32(a, b); }
INLINE mask v_less(vec a, vec b) { return vcltq_f32(a, b); }
INLINE vec v_select(mask m, vec a, vec b) { return vbslq_f32(m, a, b); } /* m ? a : b */
INLINE vec v_round(vec a) { return vrndnq_f32(a); }

INLINE vec v_power(int32x4_t n) /* 2^n for n in -126 .. 127 */
{
    return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(n, vdupq_n_s32(127)), 23));
}
/* a 2^n for whole n in -252 .. 254, rounded once where the result is subnormal */
INLINE vec v_scale(vec a, vec n)
{
    int32x4_t k = vcvtq_s32_f32(n), half = vshrq_n_s32(k, 1);
    return v_mul(v_mul(a, v_power(half)), v_power(vsubq_s32(k, half)));
}
/* a 2^n for whole n in -126 .. 127 */
INLINE vec v_scale_normal(vec a, vec n) { return v_mul(a, v_power(vcvtq_s32_f32(n))); }
