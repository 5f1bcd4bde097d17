from __future__ import annotations

from typing import Any

import numpy as np

from .._serialize import register
from .base import Array, Layer


@register("layer")
class Masking(Layer):
    """Later layers skip the steps whose features all equal `mask_value`, which are set to 0.

    Inputs and outputs (B, T, I).
    """

    rank = 3

    def __init__(self, mask_value: float = 0.0, **kwargs: Any):
        super().__init__(**kwargs)
        if isinstance(mask_value, bool) or not isinstance(mask_value, (int, float, np.number)):
            raise TypeError(f"mask_value: expected a number, got {type(mask_value).__name__}")
        self.mask_value = float(mask_value)

    def compute_mask(self, inputs: Any, mask: Array | None) -> Array:
        x = self.cast(inputs)
        same = np.isnan(x) if np.isnan(self.mask_value) else x == x.dtype.type(self.mask_value)
        valid = ~same.all(axis=-1)
        return valid if mask is None else valid & mask

    def forward(
        self, inputs: Any, training: bool = False, mask: Array | None = None
    ) -> tuple[Array, Any]:
        x = self.cast(inputs)
        valid = self.compute_mask(x, None)[..., None]
        return np.where(valid, x, x.dtype.type(0)), valid

    def backward(self, tape: Any, d_outputs: Array, need_dx: bool = True) -> Array:
        return np.where(tape, d_outputs, d_outputs.dtype.type(0))
