from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import random
from .._arrays import fraction
from .._kernels import _pointwise
from .._serialize import register
from .base import Array, Layer


def dropout_mask(shape: Sequence[int], rate: float, dtype: Any) -> Array:
    """Factors for inverted dropout: 0 with probability `rate`, else 1 / (1 - rate)."""
    mask = np.empty(shape, dtype)
    _pointwise.dropout_mask(mask.reshape(-1), rate, random.next_key())
    return mask


@register("layer")
class Dropout(Layer):
    """In training, sets a share of the inputs to 0 and scales the rest by 1 / (1 - rate).

    Args:
        rate: the share, 0 <= rate < 1.
        noise_shape: shape of the mask, which is broadcast; None for one value per element.
    """

    def __init__(
        self, rate: float, noise_shape: Sequence[int | None] | None = None, **kwargs: Any
    ):
        super().__init__(**kwargs)
        self.rate = fraction("rate", rate)
        self.noise_shape = None if noise_shape is None else tuple(noise_shape)

    def forward(
        self, inputs: Any, training: bool = False, mask: Array | None = None
    ) -> tuple[Array, Any]:
        x = self.cast(inputs)
        if not training or self.rate == 0:
            return x, None
        shape = x.shape
        if self.noise_shape is not None:
            if len(self.noise_shape) != x.ndim:
                raise ValueError(
                    f"noise_shape of {self.name}: expected {x.ndim} dimensions, as the inputs "
                    f"have, got {self.noise_shape}"
                )
            shape = tuple(x.shape[k] if s is None else s for k, s in enumerate(self.noise_shape))
        factors = dropout_mask(shape, self.rate, x.dtype)
        return x * factors, factors

    def backward(self, tape: Any, d_outputs: Array, need_dx: bool = True) -> Array | None:
        return d_outputs if tape is None else d_outputs * tape
