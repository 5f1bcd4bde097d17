from __future__ import annotations

from typing import Any

from .._serialize import register
from .base import Array, Layer


@register("layer")
class TimeDistributed(Layer):
    """The same layer on every time step: inputs (B, T, ...), outputs (B, T, ...)."""

    def __init__(self, layer: Layer, **kwargs: Any):
        super().__init__(**{"dtype": getattr(layer, "dtype", "float32"), **kwargs})
        if not isinstance(layer, Layer):
            raise TypeError(f"layer: expected a Layer, got {type(layer).__name__}")
        self.check_inner(layer)
        self.layer = layer

    def sublayers(self) -> list[Layer]:
        return [self.layer]

    def build(self, input_shape: Any) -> None:
        self._check_steps(input_shape)
        self.layer.ensure_built((None, *input_shape[2:]))

    def compute_output_shape(self, input_shape: Any) -> Any:
        self._check_steps(input_shape)
        inner = self.layer.compute_output_shape((None, *input_shape[2:]))
        return (*input_shape[:2], *inner[1:])

    def _check_steps(self, input_shape: Any) -> None:
        if len(input_shape) < 3:
            raise ValueError(
                f"inputs of {self.name}: expected at least 3 dimensions (B, T, ...), "
                f"got shape {input_shape}"
            )

    def forward(
        self, inputs: Any, training: bool = False, mask: Array | None = None
    ) -> tuple[Array, Any]:
        batch, time = inputs.shape[:2]
        flat = inputs.reshape(batch * time, *inputs.shape[2:])
        y, tape = self.layer.forward(flat, training)
        return y.reshape(batch, time, *y.shape[1:]), (tape, inputs.shape, y.shape)

    def infer(self, inputs: Any, mask: Array | None = None) -> Array:
        batch, time = inputs.shape[:2]
        y = self.layer.infer(inputs.reshape(batch * time, *inputs.shape[2:]))
        return y.reshape(batch, time, *y.shape[1:])

    def backward(self, tape: Any, d_outputs: Array, need_dx: bool = True) -> Array | None:
        inner, input_shape, output_shape = tape
        dx = self.layer.backward(inner, d_outputs.reshape(output_shape), need_dx)
        return None if dx is None else dx.reshape(input_shape)
