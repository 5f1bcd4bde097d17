from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .._serialize import register
from .base import Array, Layer


@register("layer")
class Reshape(Layer):
    """Rows of another shape: (B, ...) to (B, *target_shape); one size may be -1."""

    supports_masking = False

    def __init__(self, target_shape: Sequence[int], **kwargs: Any):
        super().__init__(**kwargs)
        self.target_shape = tuple(target_shape)
        if list(self.target_shape).count(-1) > 1 or any(s < 1 and s != -1 for s in target_shape):
            raise ValueError(
                f"target_shape: expected positive sizes, at most one -1, got {self.target_shape}"
            )

    def compute_output_shape(self, input_shape: Any) -> Any:
        row, target = input_shape[1:], self.target_shape
        if None in row:
            return (input_shape[0], *(None if s == -1 else s for s in target))
        size, known = math.prod(row), math.prod(s for s in target if s != -1)
        if size % known or (-1 not in target and size != known):
            raise ValueError(
                f"inputs of {self.name}: expected {known} elements a row for target_shape "
                f"{target}, got shape {input_shape}"
            )
        return (input_shape[0], *(size // known if s == -1 else s for s in target))

    def forward(
        self, inputs: Any, training: bool = False, mask: Array | None = None
    ) -> tuple[Array, Any]:
        x = self.cast(inputs)
        return x.reshape(self.compute_output_shape(x.shape)), x.shape

    def backward(self, tape: Any, d_outputs: Array, need_dx: bool = True) -> Array:
        return d_outputs.reshape(tape)


@register("layer")
class Flatten(Layer):
    """All of a row in one axis: (B, ...) to (B, elements)."""

    supports_masking = False

    def compute_output_shape(self, input_shape: Any) -> Any:
        row = input_shape[1:]
        return (input_shape[0], None if None in row else math.prod(row))

    def forward(
        self, inputs: Any, training: bool = False, mask: Array | None = None
    ) -> tuple[Array, Any]:
        x = self.cast(inputs)
        return x.reshape(self.compute_output_shape(x.shape)), x.shape

    def backward(self, tape: Any, d_outputs: Array, need_dx: bool = True) -> Array:
        return d_outputs.reshape(tape)
