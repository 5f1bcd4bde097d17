import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

class LayerNorms:
    def __init__(
        self,
        kind: str,
        gains: Floats,
        bias: Floats,
        cell_norm: Floats | None,
        carried: bool,
        B: int,
        H: int,
        rows: int,
        threads: int,
        epsilon: float,
    ) -> None: ...
    def begin_backward(
        self, threads: int, gains: Floats, bias: Floats, cell_norm: Floats | None
    ) -> None: ...
