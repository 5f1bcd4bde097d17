#if defined(__aarch64__)
#include <arm_neon.h>
#include "../clstm.h"
#include "../simd/neon.h"
#include "../kernels/math.inc"
#define TABLE clstm_neon
#define ISA "neon"
#include "../kernels/table.inc"
#endif
