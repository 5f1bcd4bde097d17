import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Places = NDArray[np.intp]

def forward(
    q: Floats,
    k: Floats,
    v: Floats,
    heads: int,
    scale: float,
    q_starts: Places,
    k_starts: Places,
    weight_starts: Places,
    limits: Places,
    factors: Floats | None,
    weights: Floats | None,
    y: Floats,
) -> None: ...
def backward(
    q: Floats,
    k: Floats,
    v: Floats,
    heads: int,
    scale: float,
    q_starts: Places,
    k_starts: Places,
    weight_starts: Places,
    limits: Places,
    factors: Floats | None,
    dy: Floats,
    d_weights: Floats | None,
    dq: Floats,
    dk: Floats,
    dv: Floats,
) -> None: ...

class Memory:
    def __init__(
        self,
        k: Floats,
        v: Floats,
        heads: int,
        scale: float,
        q_starts: Places,
        k_starts: Places,
        weight_starts: Places,
        limits: Places,
    ) -> None: ...
    def recall(self, q: Floats) -> Floats: ...
