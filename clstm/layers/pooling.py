"""Layers that make one vector of a sequence, (B, T, F) to (B, F); 0 where no step is valid."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _attention
from .._arrays import boolean, mask_array
from .._attention import Places, Rows
from .._serialize import get, register
from .base import Array, Layer


def _valid(x: Array, mask: Any) -> Array:
    """(B, T, 1) booleans."""
    valid = mask_array(mask, None, *x.shape[:2])
    return np.ones((*x.shape[:2], 1), bool) if valid is None else valid[..., None]


class _Pooling(Layer):
    rank = 3
    supports_masking = False  # the outputs have no time

    def __init__(self, keepdims: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.keepdims = boolean("keepdims", keepdims)

    def compute_output_shape(self, input_shape: Any) -> Any:
        batch, _, features = input_shape
        return (batch, 1, features) if self.keepdims else (batch, features)

    def _output(self, y: Array) -> Array:
        """y (B, 1, F) as the output."""
        return y if self.keepdims else y[:, 0]

    def _gradient(self, d_outputs: Array) -> Array:
        d = self.cast(d_outputs)
        return d if self.keepdims else d[:, None]


@register("layer", "global_average_pooling1d")
class GlobalAveragePooling1D(_Pooling):
    """The mean over the valid steps; keepdims: outputs (B, 1, F)."""

    def forward(
        self, inputs: Any, training: bool = False, mask: Array | None = None
    ) -> tuple[Array, Any]:
        x = self.cast(inputs)
        valid = _valid(x, mask)
        share = valid / np.maximum(valid.sum(axis=1, keepdims=True), 1).astype(x.dtype)
        share = share.astype(x.dtype)
        y = (np.where(valid, x, x.dtype.type(0)) * share).sum(axis=1, keepdims=True)
        return self._output(y), share

    def backward(self, tape: Any, d_outputs: Array, need_dx: bool = True) -> Array:
        return self._gradient(d_outputs) * tape


@register("layer", "global_max_pooling1d")
class GlobalMaxPooling1D(_Pooling):
    """The largest value of each feature over the valid steps; keepdims: outputs (B, 1, F).

    The gradient goes to the first step that has it.
    """

    def forward(
        self, inputs: Any, training: bool = False, mask: Array | None = None
    ) -> tuple[Array, Any]:
        x = self.cast(inputs)
        valid = _valid(x, mask)
        some = valid.any(axis=1, keepdims=True)
        if x.shape[1] == 0:
            return self._output(np.zeros((len(x), 1, x.shape[2]), x.dtype)), (x.shape, None, some)
        filled = np.where(valid, x, x.dtype.type(-np.inf))
        at = filled.argmax(axis=1)[:, None]
        y = np.where(some, np.take_along_axis(filled, at, axis=1), x.dtype.type(0))
        return self._output(y), (x.shape, at, some)

    def backward(self, tape: Any, d_outputs: Array, need_dx: bool = True) -> Array:
        shape, at, some = tape
        d = self._gradient(d_outputs)
        dx = np.zeros(shape, d.dtype)
        if at is not None:
            np.put_along_axis(dx, at, np.where(some, d, d.dtype.type(0)), axis=1)
        return dx


@register("layer")
class AttentionPooling(Layer):
    """y = sum over t of w_t x_t, w = softmax over the valid t of q . x_t, with a learned q.

    Inputs (B, T, F), outputs (B, F). Weights: query (F,).
    """

    rank = 3
    supports_masking = False

    def __init__(
        self,
        query_initializer: Any = "glorot_uniform",
        query_regularizer: Any = None,
        query_constraint: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.query_initializer = get("initializer", query_initializer)
        self.query_regularizer = get("regularizer", query_regularizer)
        self.query_constraint = get("constraint", query_constraint)

    def build(self, input_shape: Any) -> None:
        self.add_weight("query", (self.known_features(input_shape),), self.query_initializer,
                        self.query_regularizer, self.query_constraint)  # fmt: skip

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (input_shape[0], input_shape[2])

    def forward(
        self, inputs: Any, training: bool = False, mask: Array | None = None
    ) -> tuple[Array, Any]:
        x = self.cast(inputs)
        batch, time, _ = x.shape
        keys = Rows.of(mask_array(mask, None, batch, time), batch, time)
        places = Places.of(Rows.of(None, batch, 1), keys, False)
        rows, q = keys.gather(x), np.tile(self.params["query"], (batch, 1))
        y, _ = _attention.forward(q, rows, rows, 1, 1.0, places)
        return y, (places, rows, q)

    def backward(self, tape: Any, d_outputs: Array, need_dx: bool = True) -> Array | None:
        places, rows, q = tape
        dq, dk, dv = _attention.backward(q, rows, rows, 1, 1.0, places, None,
                                         self.cast(d_outputs), None)  # fmt: skip
        self.grads["query"] += dq.sum(axis=0)
        return places.keys.scatter(dk + dv) if need_dx else None
