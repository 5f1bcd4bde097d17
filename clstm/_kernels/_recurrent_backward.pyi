import numpy as np
from numpy.typing import NDArray

from ._cell import Activation

Floats = NDArray[np.float32]
Places = NDArray[np.intp]

def backward(
    kept: Floats,
    state0: Floats | None,
    x: Floats,
    y: Floats,
    h0: Floats,
    kernel: Floats,
    recurrent_kernel: Floats,
    recurrent_mask: Floats | None,
    activation: Activation | None,
    dy: Floats | None,
    dh: Floats,
    d_state: Floats | None,
    counts: Places,
    offsets: Places,
    index: Places,
    chunks: Places,
    row_bounds: Places,
    threads: int,
    d_kernel: Floats,
    d_recurrent: Floats,
    d_bias: Floats | None,
    dx: Floats | None,
) -> None: ...
