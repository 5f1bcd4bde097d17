/* The vocabulary in plain C for float64: one double. */
#include <math.h>

typedef double real;
typedef double vec;
#include "plain.h"

INLINE vec v_sqrt(vec a) { return sqrt(a); }
