import numpy as np
from numpy.typing import NDArray

from ._cell import CellOptions
from ._norm import LayerNorms
from ._projection import OutputProjection

Floats = NDArray[np.float32]
Places = NDArray[np.intp]

def backward(
    kept: Floats | None,
    x: Floats,
    y: Floats,
    h0: Floats,
    kernel: Floats,
    recurrent_kernel: Floats,
    recurrent_mask: Floats | None,
    cell: CellOptions | None,
    norms: LayerNorms | None,
    projection: OutputProjection | None,
    dy: Floats | None,
    dh: Floats,
    dc: Floats,
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
    d_peephole: Floats | None,
    d_projection: Floats | None,
    d_projection_bias: Floats | None,
) -> None: ...
