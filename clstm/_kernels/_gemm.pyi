import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

def matmul(
    a: Floats,
    b: Floats,
    out: Floats,
    transpose_a: bool = False,
    transpose_b: bool = False,
    accumulate: bool = False,
) -> None: ...
def batched(a: Floats, b: Floats, out: Floats) -> None: ...

class PackedMatrix:
    def __init__(self, b: Floats, transpose_b: bool = False) -> None: ...
    def times(self, a: Floats) -> Floats: ...
