/* The vocabulary in AVX-512: 16 floats.  Every word does one IEEE operation per lane. */
typedef float real;
typedef __m512 vec;
typedef __mmask16 mask;
#define LANES 16
#define VEC_REGISTER "+v" /* of inline assembler */
#define INLINE static inline __attribute__((always_inline))

INLINE mask first(ptrdiff_t n) { return (mask)((1u << n) - 1u); } /* n < 16 */

INLINE vec v_set(real a) { return _mm512_set1_ps(a); }
INLINE vec v_load(const real *p) { return _mm512_loadu_ps(p); }
INLINE void v_store(real *p, vec a) { _mm512_storeu_ps(p, a); }
INLINE vec v_load_first(const real *p, ptrdiff_t n) { return _mm512_maskz_loadu_ps(first(n), p); }
INLINE void v_store_first(real *p, vec a, ptrdiff_t n) { _mm512_mask_storeu_ps(p, first(n), a); }

INLINE vec v_add(vec a, vec b) { return _mm512_add_ps(a, b); }
INLINE vec v_sub(vec a, vec b) { return _mm512_sub_ps(a, b); }
INLINE vec v_mul(vec a, vec b) { return _mm512_mul_ps(a, b); }
INLINE vec v_div(vec a, vec b) { return _mm512_div_ps(a, b); }
INLINE vec v_sqrt(vec a) { return _mm512_sqrt_ps(a); }
INLINE vec v_fma(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }   /*  ab + c */
INLINE vec v_fnma(vec a, vec b, vec c) { return _mm512_fnmadd_ps(a, b, c); } /* -ab + c */

/* the lower (upper) halves of a and b, lane by lane in turn: a0 b0 a1 b1 ... */
INLINE vec v_zip_low(vec a, vec b)
{
    return _mm512_permutex2var_ps(
        a, _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23), b);
}
INLINE vec v_zip_high(vec a, vec b)
{
    return _mm512_permutex2var_ps(
        a, _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31), b);
}

/* all lanes: halves are added to each other */
INLINE real v_total(vec a)
{
    __m256 b = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    __m128 c = _mm_add_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
    c = _mm_add_ps(c, _mm_movehl_ps(c, c));
    return _mm_cvtss_f32(_mm_add_ss(c, _mm_shuffle_ps(c, c, 1)));
}

/* min and max give b when either is NaN: put the constant first and NaN passes through */
INLINE vec v_min(vec a, vec b) { return _mm512_min_ps(a, b); }
INLINE vec v_max(vec a, vec b) { return _mm512_max_ps(a, b); }
INLINE mask v_less(vec a, vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
INLINE vec v_select(mask m, vec a, vec b) { return _mm512_mask_blend_ps(m, b, a); } /* m ? a : b */
INLINE vec v_round(vec a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT); }

/* a 2^n for whole n in -252 .. 254, rounded once where the result is subnormal */
INLINE vec v_scale(vec a, vec n) { return _mm512_scalef_ps(a, n); }
/* a 2^n for whole n in -126 .. 127 */
INLINE vec v_scale_normal(vec a, vec n) { return _mm512_scalef_ps(a, n); }
