"""Measure exp, tanh and sigmoid over all 2^32 floats: `python tools/ulp.py [instruction set]`.

Prints the largest error in units in the last place of the result, wherever the exact result is a
normal float32 number, and checks saturation and NaN. The reference is NumPy's float64.
"""

import sys

import numpy as np

from clstm import config
from clstm._kernels import _pointwise

FUNCTIONS = {
    "exp": (_pointwise.exp, np.exp),
    "tanh": (_pointwise.tanh, np.tanh),
    "sigmoid": (_pointwise.sigmoid, lambda x: 1 / (1 + np.exp(-x))),
}
CHUNK = 1 << 22


def worst(name: str) -> tuple[float, float]:
    """Largest error in ULP, and where."""
    kernel, exact = FUNCTIONS[name]
    largest, where = 0.0, 0.0
    smallest, huge = np.finfo(np.float32).tiny, np.finfo(np.float32).max
    for begin in range(0, 1 << 32, CHUNK):
        x = np.arange(begin, begin + CHUNK, dtype=np.uint32).view(np.float32)
        y = np.empty_like(x)
        kernel(x, y)
        with np.errstate(all="ignore"):
            reference = exact(x.astype(np.float64))
            normal = (np.abs(reference) >= smallest) & (np.abs(reference) <= huge)
            unit = np.ldexp(1.0, np.frexp(reference)[1] - 24)
            error = np.where(normal, np.abs(y - reference) / unit, 0)
        if not np.array_equal(np.isnan(x), np.isnan(y)):
            raise AssertionError(f"{name}: NaN does not go in and out")
        k = int(error.argmax())
        if error[k] > largest:
            largest, where = float(error[k]), float(x[k])
    return largest, where


if __name__ == "__main__":
    if len(sys.argv) > 1:
        config.set_isa(sys.argv[1])
    for name in FUNCTIONS:
        error, where = worst(name)
        print(f"{config.get_isa()} {name}: {error:.3f} ULP at {where!r}", flush=True)
