"""Layers that add to every step of (B, T, F) what tells its position, 0 .. T - 1."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._arrays import mask_array, number, positive
from .._serialize import get, register
from .base import Array, Layer


@register("layer")
class PositionalEncoding(Layer):
    """y_t = x_t + sines and cosines of the position (Vaswani et al. 2017, section 3.5).

    Feature 2i has sin(t / w^(2i / F)), feature 2i + 1 cos(t / w^(2i / F)), w = max_wavelength.
    """

    rank = 3

    def __init__(self, max_wavelength: float = 10000.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.max_wavelength = number("max_wavelength", max_wavelength, above=0)

    def forward(
        self, inputs: Any, training: bool = False, mask: Array | None = None
    ) -> tuple[Array, Any]:
        x = self.cast(inputs)
        _, time, features = x.shape
        pair = np.arange(features) // 2 * 2
        angles = np.arange(time)[:, None] / self.max_wavelength ** (pair / features)
        angles[:, 1::2] += np.pi / 2
        return x + np.sin(angles).astype(x.dtype), None

    def backward(self, tape: Any, d_outputs: Array, need_dx: bool = True) -> Array:
        return d_outputs


@register("layer")
class PositionEmbedding(Layer):
    """y_t = x_t + a learned vector of position t.

    Args:
        max_length: most steps of a sequence.
        embeddings_initializer, embeddings_regularizer, embeddings_constraint: of the vectors.

    Weights: embeddings (max_length, F).
    """

    rank = 3

    def __init__(
        self,
        max_length: int,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.max_length = positive("max_length", max_length)
        self.embeddings_initializer = get("initializer", embeddings_initializer)
        self.embeddings_regularizer = get("regularizer", embeddings_regularizer)
        self.embeddings_constraint = get("constraint", embeddings_constraint)

    def build(self, input_shape: Any) -> None:
        self.add_weight("embeddings", (self.max_length, input_shape[-1]),
                        self.embeddings_initializer, self.embeddings_regularizer,
                        self.embeddings_constraint)  # fmt: skip

    def compute_output_shape(self, input_shape: Any) -> Any:
        if input_shape[1] is not None and input_shape[1] > self.max_length:
            raise ValueError(f"inputs of {self.name}: expected at most {self.max_length} time "
                             f"steps, got shape {input_shape}")  # fmt: skip
        return input_shape

    def forward(
        self, inputs: Any, training: bool = False, mask: Array | None = None
    ) -> tuple[Array, Any]:
        x = self.cast(inputs)
        self.compute_output_shape(x.shape)
        valid = mask_array(mask, None, *x.shape[:2])
        return x + self.params["embeddings"][: x.shape[1]], valid

    def backward(self, tape: Any, d_outputs: Array, need_dx: bool = True) -> Array:
        d = self.cast(d_outputs)
        valid = d if tape is None else np.where(tape[..., None], d, d.dtype.type(0))
        self.grads["embeddings"][: d.shape[1]] += valid.sum(axis=0)
        return d
