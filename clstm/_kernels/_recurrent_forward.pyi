import numpy as np
from numpy.typing import NDArray

from ._cell import Activation

Floats = NDArray[np.float32]
Places = NDArray[np.intp]

def forward(
    x: Floats,
    kernel: Floats,
    recurrent_kernel: Floats,
    bias: Floats | None,
    recurrent_mask: Floats | None,
    activation: Activation | None,
    exponential: bool,
    h: Floats,
    state: Floats | None,
    y: Floats,
    counts: Places,
    offsets: Places,
    index: Places,
    row_bounds: Places,
    threads: int,
    pack: bool,
    keep: bool,
) -> Floats | None: ...
