from __future__ import annotations

from typing import Any

import numpy as np

from .._arrays import boolean, numbers, positive
from .._serialize import get, register
from .base import Array, Layer


@register("layer")
class Embedding(Layer):
    """A row of a table for every integer.

    Args:
        input_dim: number of rows; the integers are 0 .. input_dim - 1.
        output_dim: size of a row.
        mask_zero: 0 stands for padding: later layers skip those steps.

    Inputs (B, T), or any shape, of integers; outputs (..., output_dim).
    Weights: embeddings (input_dim, output_dim).
    """

    tables = ("embeddings",)

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        mask_zero: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.input_dim = positive("input_dim", input_dim)
        self.output_dim = positive("output_dim", output_dim)
        self.embeddings_initializer = get("initializer", embeddings_initializer)
        self.embeddings_regularizer = get("regularizer", embeddings_regularizer)
        self.embeddings_constraint = get("constraint", embeddings_constraint)
        self.mask_zero = boolean("mask_zero", mask_zero)

    def build(self, input_shape: Any) -> None:
        self.add_weight("embeddings", (self.input_dim, self.output_dim),
                        self.embeddings_initializer, self.embeddings_regularizer,
                        self.embeddings_constraint)  # fmt: skip

    def ensure_built(self, input_shape: Any) -> None:
        if not self.built:
            super().ensure_built(input_shape)  # the last axis is no feature axis: any shape later

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape, self.output_dim)

    def compute_mask(self, inputs: Any, mask: Array | None) -> Array | None:
        if not self.mask_zero:
            return mask
        nonzero = np.asarray(inputs) != 0
        return nonzero if mask is None else nonzero & mask

    def may_mask(self, masked: bool) -> bool:
        return masked or self.mask_zero

    def read(self, inputs: Any) -> Array:
        """The inputs as rows of the table, int64; ValueError for what is none."""
        ids = numbers(f"inputs of {self.name}", inputs)
        if ids.dtype.kind == "f":
            with np.errstate(invalid="ignore"):  # NaN and infinity become numbers that differ
                whole = ids.astype(np.int64)
            if not np.array_equal(whole, ids):
                raise ValueError(f"inputs of {self.name}: expected whole numbers")
            ids = whole
        low, high = (ids.item(),) * 2 if ids.size == 1 else (ids.min(initial=0), ids.max(initial=0))
        if low < 0 or high >= self.input_dim:
            bad = ids[(ids < 0) | (ids >= self.input_dim)].flat[0]
            raise ValueError(
                f"inputs of {self.name}: expected 0 .. {self.input_dim - 1}, got {bad}"
            )
        return ids

    def forward(
        self, inputs: Any, training: bool = False, mask: Array | None = None
    ) -> tuple[Array, Any]:
        ids = self.read(inputs)
        return self.params["embeddings"].take(ids, axis=0), ids

    def backward(self, tape: Array, d_outputs: Array, need_dx: bool = True) -> None:
        """Adds to the rows that were used; there is no gradient with respect to integers."""
        ids = tape.ravel()
        rows = np.asarray(d_outputs).reshape(len(ids), self.output_dim)
        order = np.argsort(ids, kind="stable")
        used, first = np.unique(ids[order], return_index=True)
        if len(used):
            self.grads["embeddings"][used] += np.add.reduceat(rows[order], first, axis=0)
