#include "../clstm.h"
#include "../simd/scalar.h"
#include "../kernels/math.inc"
#define TABLE clstm_scalar
#define ISA "scalar"
#include "../kernels/table.inc"
