import numpy as np
from numpy.typing import NDArray

Activation = tuple[str, float, float, float, float]

KINDS: dict[str, int]

class CellOptions:
    def __init__(
        self,
        activation: Activation,
        recurrent_activation: Activation,
        cell_activation: Activation,
        coupled: bool,
        output_apart: bool,
        cell_clip: float,
        preactivation_clip: float,
        gradient_clip: float,
        peephole: NDArray[np.float32] | None,
        candidate_mask: NDArray[np.float32] | None,
        zoneout_h: NDArray[np.float32] | None,
        zoneout_c: NDArray[np.float32] | None,
    ) -> None: ...
