from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Real = TypeVar("Real", np.float32, np.float64)

def loss(
    potentials: NDArray[Real], tags: NDArray[np.intp] | None, lengths: NDArray[np.intp],
    losses: NDArray[np.float64], d: NDArray[Real],
) -> None: ...
def viterbi(
    potentials: NDArray[Real], lengths: NDArray[np.intp], tags: NDArray[np.intp],
    scores: NDArray[np.float64],
) -> None: ...
