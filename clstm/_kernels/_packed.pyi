from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

class PackedWeights:
    panels: tuple[Floats, Floats, Floats]
    def __init__(
        self, kernel: Floats, recurrent_kernel: Floats, bias: Floats | None
    ) -> None: ...
    def step(
        self, x: Any, state: tuple[Any, ...]
    ) -> tuple[Floats, tuple[Floats, Floats]] | None: ...
    def project(self, x: Floats) -> Floats: ...
    def step_of_rows(
        self, table: Any, rows: Any, state: tuple[Any, ...]
    ) -> tuple[Floats, tuple[Floats, Floats]] | None: ...

def step_raw(
    x: Any, kernel: Any, recurrent_kernel: Any, bias: Any, state: tuple[Any, ...]
) -> tuple[Floats, tuple[Floats, Floats]] | None: ...
