/* The vocabulary in AVX2 + FMA: 8 floats.  Every word does one IEEE operation per lane. */
typedef float real;
typedef __m256 vec;
typedef __m256 mask;
#define LANES 8
#define VEC_REGISTER "+x" /* of inline assembler */
#define INLINE static inline __attribute__((always_inline))

INLINE __m256i first(ptrdiff_t n) /* n < 8 */
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

INLINE vec v_set(real a) { return _mm256_set1_ps(a); }
INLINE vec v_load(const real *p) { return _mm256_loadu_ps(p); }
INLINE void v_store(real *p, vec a) { _mm256_storeu_ps(p, a); }
INLINE vec v_load_first(const real *p, ptrdiff_t n) { return _mm256_maskload_ps(p, first(n)); }
INLINE void v_store_first(real *p, vec a, ptrdiff_t n) { _mm256_maskstore_ps(p, first(n), a); }

INLINE vec v_add(vec a, vec b) { return _mm256_add_ps(a, b); }
INLINE vec v_sub(vec a, vec b) { return _mm256_sub_ps(a, b); }
INLINE vec v_mul(vec a, vec b) { return _mm256_mul_ps(a, b); }
INLINE vec v_div(vec a, vec b) { return _mm256_div_ps(a, b); }
INLINE vec v_sqrt(vec a) { return _mm256_sqrt_ps(a); }
INLINE vec v_fma(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }   /*  ab + c */
INLINE vec v_fnma(vec a, vec b, vec c) { return _mm256_fnmadd_ps(a, b, c); } /* -ab + c */

/* the lower (upper) halves of a and b, lane by lane in turn: a0 b0 a1 b1 ... */
INLINE vec v_zip_low(vec a, vec b)
{
    return _mm256_permute2f128_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b), 0x20);
}
INLINE vec v_zip_high(vec a, vec b)
{
    return _mm256_permute2f128_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b), 0x31);
}

/* all lanes: halves are added to each other */
INLINE real v_total(vec a)
{
    __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    b = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(b, _mm_shuffle_ps(b, b, 1)));
}

/* min and max give b when either is NaN: put the constant first and NaN passes through */
INLINE vec v_min(vec a, vec b) { return _mm256_min_ps(a, b); }
INLINE vec v_max(vec a, vec b) { return _mm256_max_ps(a, b); }
INLINE mask v_less(vec a, vec b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
INLINE vec v_select(mask m, vec a, vec b) { return _mm256_blendv_ps(b, a, m); } /* m ? a : b */
INLINE vec v_round(vec a)
{
    return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

INLINE vec v_power(__m256i n) /* 2^n for n in -126 .. 127 */
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
}
/* a 2^n for whole n in -252 .. 254, rounded once where the result is subnormal */
INLINE vec v_scale(vec a, vec n)
{
    __m256i k = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(k, 1);
    return v_mul(v_mul(a, v_power(half)), v_power(_mm256_sub_epi32(k, half)));
}
/* a 2^n for whole n in -126 .. 127 */
INLINE vec v_scale_normal(vec a, vec n) { return v_mul(a, v_power(_mm256_cvtps_epi32(n))); }
