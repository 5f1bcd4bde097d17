import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Places = NDArray[np.intp]

def forward(
    z: Floats,
    bias: Floats | None,
    h0: Floats,
    y: Floats,
    counts: Places,
    offsets: Places,
    index: Places,
    begin: int,
    end: int,
) -> None: ...
def backward(
    z: Floats,
    bias: Floats | None,
    h0: Floats,
    y: Floats,
    dy: Floats | None,
    dh: Floats,
    dz: Floats,
    counts: Places,
    offsets: Places,
    index: Places,
    begin: int,
    end: int,
) -> None: ...
