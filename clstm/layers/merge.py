"""Layers that make one array of several."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._serialize import register
from .base import Array, Layer


class _Merge(Layer):
    takes_lists = True

    def join_masks(self, inputs: list[Array], masks: list[Array | None]) -> Array | None:
        """A step is valid where it is in any of the inputs, one without a mask being all valid."""
        if any(mask is None for mask in masks):
            return None
        return np.logical_or.reduce(masks)

    def ensure_built(self, input_shape: Any) -> None:
        if not isinstance(input_shape, list) or len(input_shape) < 2:
            raise ValueError(f"inputs of {self.name}: expected a list of at least 2 arrays, got "
                             f"shape {input_shape}")  # fmt: skip
        self.compute_output_shape(input_shape)  # raises for shapes that do not fit
        super().ensure_built(input_shape)

    def _arrays(self, inputs: Any) -> list[Array]:
        return [self.cast(x) for x in inputs]


@register("layer")
class Concatenate(_Merge):
    """Arrays one after the other along `axis`; all other sizes are equal."""

    def __init__(self, axis: int = -1, **kwargs: Any):
        super().__init__(**kwargs)
        self.axis = int(axis)

    def compute_output_shape(self, input_shape: Any) -> Any:
        if len({len(s) for s in input_shape}) != 1:
            raise ValueError(f"inputs of {self.name}: expected several shapes of one rank, "
                             f"got {input_shape}")  # fmt: skip
        axis = self.axis % len(input_shape[0])
        rest = {s[:axis] + s[axis + 1 :] for s in input_shape}
        if len(rest) != 1:
            raise ValueError(f"inputs of {self.name}: expected shapes that differ in axis "
                             f"{self.axis} alone, got {input_shape}")  # fmt: skip
        sizes = [s[axis] for s in input_shape]
        total = None if None in sizes else sum(sizes)
        return (*input_shape[0][:axis], total, *input_shape[0][axis + 1 :])

    def join_masks(self, inputs: list[Array], masks: list[Array | None]) -> Array | None:
        """Along time one mask after the other; else a step is valid where it is in all inputs."""
        if all(mask is None for mask in masks):
            return None
        masks = [
            np.ones(x.shape[:2], bool) if mask is None else mask
            for x, mask in zip(inputs, masks, strict=True)
        ]
        if self.axis % inputs[0].ndim == 1:
            return np.concatenate(masks, axis=1)
        return np.logical_and.reduce(masks)

    def forward(
        self, inputs: Any, training: bool = False, mask: Array | None = None
    ) -> tuple[Array, Any]:
        arrays = self._arrays(inputs)
        ends = np.cumsum([a.shape[self.axis] for a in arrays])[:-1]
        return np.concatenate(arrays, axis=self.axis), ends

    def backward(self, tape: Any, d_outputs: Array, need_dx: bool = True) -> list[Array]:
        return np.split(d_outputs, tape, axis=self.axis)


@register("layer")
class Add(_Merge):
    """The sum of arrays of one shape."""

    def compute_output_shape(self, input_shape: Any) -> Any:
        if len(set(input_shape)) != 1:
            raise ValueError(f"inputs of {self.name}: expected several equal shapes, "
                             f"got {input_shape}")  # fmt: skip
        return input_shape[0]

    def forward(
        self, inputs: Any, training: bool = False, mask: Array | None = None
    ) -> tuple[Array, Any]:
        first, *others = self._arrays(inputs)
        total = first.copy()
        for other in others:
            total += other
        return total, len(others) + 1

    def backward(self, tape: int, d_outputs: Array, need_dx: bool = True) -> list[Array]:
        return [d_outputs] * tape
