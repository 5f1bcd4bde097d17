from __future__ import annotations

from typing import Any

from .. import activations
from .._serialize import register
from .base import Array, Layer


@register("layer")
class Activation(Layer):
    """Applies an activation function, by its name in `clstm.activations`."""

    def __init__(self, activation: str | None, **kwargs: Any):
        super().__init__(**kwargs)
        self._activation = activations.get(activation)
        self.activation = self._activation.name

    def forward(
        self, inputs: Any, training: bool = False, mask: Array | None = None
    ) -> tuple[Array, Any]:
        x = self.cast(inputs)
        y = self._activation.forward(x)
        return y, (x, y)

    def backward(self, tape: Any, d_outputs: Array, need_dx: bool = True) -> Array:
        return self._activation.backward(d_outputs, *tape)
