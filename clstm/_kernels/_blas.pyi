from types import TracebackType
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Real = TypeVar("Real", np.float32, np.float64)

def check_sizes(*sizes: int) -> None: ...
def matmul(
    a: NDArray[Real],
    b: NDArray[Real],
    out: NDArray[Real],
    transpose_a: bool = False,
    transpose_b: bool = False,
    accumulate: bool = False,
) -> None: ...
def description() -> str: ...
def groups(work: int) -> int: ...

class _Exclusive:
    def __init__(self) -> None: ...
    def __enter__(self) -> None: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...
    def after_fork(self) -> None: ...

exclusive: _Exclusive
