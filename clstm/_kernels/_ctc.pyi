from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Real = TypeVar("Real", np.float32, np.float64)

def loss(
    logits: NDArray[Real], labels: NDArray[np.intp], lengths: NDArray[np.intp],
    label_lengths: NDArray[np.intp], blank: int, losses: NDArray[np.float64],
    d_logits: NDArray[Real],
) -> None: ...
def decode(
    logits: NDArray[Real], lengths: NDArray[np.intp], blank: int, width: int,
    labels: NDArray[np.intp], counts: NDArray[np.intp], scores: NDArray[np.float64],
) -> None: ...
