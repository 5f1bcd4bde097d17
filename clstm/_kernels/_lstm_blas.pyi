from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

Real = TypeVar("Real", np.float32, np.float64)
Places = NDArray[np.intp]

# forward["float"] is the float32 specialisation, forward["double"] the float64 one
class _Forward(Protocol):
    def __getitem__(self, real: str) -> _Forward: ...
    def __call__(
        self,
        x: NDArray[Real],
        kernel: NDArray[Real],
        recurrent_kernel: NDArray[Real],
        bias: NDArray[Real] | None,
        h: NDArray[Real],
        c: NDArray[Real],
        recurrent_mask: NDArray[Real] | None,
        y: NDArray[Real],
        rows: Places,
        starts: Places,
        counts: Places,
        index: Places,
        in_place: bool,
        keep: bool,
    ) -> tuple[NDArray[Real], NDArray[Real], NDArray[Real], NDArray[Real]]: ...

class _Backward(Protocol):
    def __getitem__(self, real: str) -> _Backward: ...
    def __call__(
        self,
        xs: NDArray[Real],
        hs: NDArray[Real],
        cs: NDArray[Real],
        gates: NDArray[Real],
        c0: NDArray[Real],
        kernel: NDArray[Real],
        recurrent_kernel: NDArray[Real],
        recurrent_mask: NDArray[Real] | None,
        dy: NDArray[Real] | None,
        dh: NDArray[Real],
        dc: NDArray[Real],
        rows: Places,
        starts: Places,
        counts: Places,
        index: Places,
        in_place: bool,
        d_kernel: NDArray[Real],
        d_recurrent_kernel: NDArray[Real],
        d_bias: NDArray[Real] | None,
        dx: NDArray[Real] | None,
    ) -> None: ...

forward: _Forward
backward: _Backward
