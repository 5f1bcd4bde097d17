#if defined(__x86_64__)
#include <immintrin.h>
#include "../clstm.h"
#include "../simd/target.h"
TARGET_BEGIN("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")
#include "../simd/avx512.h"
#include "../kernels/math.inc"
#define TABLE clstm_avx512
#define ISA "avx512"
#include "../kernels/table.inc"
TARGET_END
#endif
