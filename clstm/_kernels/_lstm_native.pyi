from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Places = NDArray[np.intp]

def pack(w: Floats, transposed: bool = False) -> Floats: ...
def aligned(make: Callable[..., NDArray[Any]], size: int) -> Floats: ...
def forward(
    x: Floats,
    kernel: Floats,
    recurrent_kernel: Floats,
    kernel_panels: Floats | None,
    recurrent_panels: Floats | None,
    bias: Floats | None,
    h: Floats,
    c: Floats,
    recurrent_mask: Floats | None,
    y: Floats,
    counts: Places,
    offsets: Places,
    index: Places,
    row_bounds: Places,
    threads: int,
    keep: bool,
) -> tuple[Floats, Floats, Floats]: ...
def backward(
    gates_array: Floats,
    cells_array: Floats,
    c0_array: Floats,
    x: Floats,
    y: Floats,
    h0: Floats,
    kernel_transposed: Floats | None,
    recurrent_transposed: Floats,
    recurrent_mask: Floats | None,
    dy: Floats | None,
    dh: Floats,
    dc: Floats,
    counts: Places,
    offsets: Places,
    index: Places,
    row_bounds: Places,
    threads: int,
    d_kernel: Floats,
    d_recurrent: Floats,
    d_bias: Floats | None,
    dx: Floats | None,
) -> None: ...
