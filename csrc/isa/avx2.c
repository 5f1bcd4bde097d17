#if defined(__x86_64__)
#include <immintrin.h>
#include "../clstm.h"
#include "../simd/target.h"
TARGET_BEGIN("avx2,fma")
#include "../simd/avx2.h"
#include "../kernels/math.inc"
#define TABLE clstm_avx2
#define ISA "avx2"
#include "../kernels/table.inc"
TARGET_END
#endif
