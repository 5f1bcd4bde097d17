from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._serialize import register
from ..graph import Node, Symbol
from .base import Layer


@register("layer")
class InputLayer(Layer):
    """Where a model's input enters: `Input` makes one."""

    def __call__(self, inputs: Any, **_: Any) -> Any:
        raise TypeError(f"{self.name}: an input cannot be called")

    def __init__(self, shape: Sequence[int | None], *, ids: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        if not isinstance(shape, (list, tuple)):
            raise TypeError(f"shape: expected a tuple of sizes, got {type(shape).__name__}")
        self.shape = tuple(shape)
        self.ids = ids
        for size in self.shape:
            if size is not None and (not isinstance(size, (int, np.integer)) or size < 1):
                raise ValueError(f"shape: expected positive ints or None, got {self.shape}")
        node = Node(self, [])
        node.outputs = [Symbol((None, *self.shape), node)]
        self.symbol = node.outputs[0]
        self.built = True


def Input(
    shape: Sequence[int | None], *, name: str | None = None, dtype: str | None = None
) -> Symbol:
    """The symbol of a model's input.

    Args:
        shape: of one row, without the batch; None for a size that may vary, such as the time steps.
        name: of the input, for dictionaries of inputs.
        dtype: "float32" or "float64"; an integer dtype ("int32") for token numbers.
    """
    ids = dtype is not None and np.dtype(dtype).kind in "iub"
    options = {} if ids or dtype is None else {"dtype": dtype}
    return InputLayer(shape, name=name, ids=ids, **options).symbol
