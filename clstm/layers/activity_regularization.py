from __future__ import annotations

from typing import Any

from .._serialize import register
from ..regularizers import L1L2
from .base import Array, Layer


@register("layer")
class ActivityRegularization(Layer):
    """y = x, with a penalty on x: l1 * sum(|x|) + l2 * sum(x^2), divided by the rows of the batch.

    Args:
        l1, l2: factors >= 0. Default 0.
    """

    def __init__(self, l1: float = 0.0, l2: float = 0.0, **kwargs: Any):
        penalty = L1L2(l1, l2)
        super().__init__(activity_regularizer=penalty, **kwargs)
        self.l1, self.l2 = penalty.l1, penalty.l2

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["activity_regularizer"]  # l1 and l2 say it
        return config

    def forward(
        self, inputs: Any, training: bool = False, mask: Array | None = None
    ) -> tuple[Array, Any]:
        return self.cast(inputs), None

    def backward(self, tape: Any, d_outputs: Array, need_dx: bool = True) -> Array:
        return d_outputs
