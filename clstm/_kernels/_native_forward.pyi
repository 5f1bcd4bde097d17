import numpy as np
from numpy.typing import NDArray

from ._cell import CellOptions
from ._norm import LayerNorms
from ._projection import OutputProjection

Floats = NDArray[np.float32]
Places = NDArray[np.intp]

def forward(
    x: Floats,
    kernel: Floats,
    recurrent_kernel: Floats,
    bias: Floats | None,
    panels: tuple[Floats, Floats, Floats] | bool,
    h: Floats,
    c: Floats,
    recurrent_mask: Floats | None,
    cell: CellOptions | None,
    norms: LayerNorms | None,
    projection: OutputProjection | None,
    y: Floats,
    counts: Places,
    offsets: Places,
    index: Places,
    row_bounds: Places,
    threads: int,
    keep: bool,
) -> Floats | None: ...
