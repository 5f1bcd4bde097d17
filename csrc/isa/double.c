#include "../clstm.h"
#include "../simd/double.h"
#include "../kernels/math64.inc"
#define TABLE clstm_double
#define ISA "double"
#include "../kernels/table.inc"
