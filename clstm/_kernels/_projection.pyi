import numpy as np
from numpy.typing import NDArray

class OutputProjection:
    def __init__(
        self,
        projection: NDArray[np.float32],
        bias: NDArray[np.float32] | None,
        clip: float,
    ) -> None: ...
