from __future__ import annotations

from typing import Any

import numpy as np

from .._arrays import boolean, number
from .._serialize import get, register
from .base import Array, Layer


@register("layer")
class LayerNormalization(Layer):
    """y = gamma (x - mean) / sqrt(variance + epsilon) + beta, over the last axis (Ba et al. 2016).

    Args:
        epsilon: added to the variance.
        center, scale: whether beta and gamma are there.

    Weights: gamma, beta (I,).
    """

    def __init__(
        self,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.epsilon = number("epsilon", epsilon, least=0)
        self.center = boolean("center", center)
        self.scale = boolean("scale", scale)
        self.beta_initializer = get("initializer", beta_initializer)
        self.gamma_initializer = get("initializer", gamma_initializer)
        self.beta_regularizer = get("regularizer", beta_regularizer)
        self.gamma_regularizer = get("regularizer", gamma_regularizer)
        self.beta_constraint = get("constraint", beta_constraint)
        self.gamma_constraint = get("constraint", gamma_constraint)

    def build(self, input_shape: Any) -> None:
        shape = (input_shape[-1],)
        if self.scale:
            self.add_weight("gamma", shape, self.gamma_initializer, self.gamma_regularizer,
                            self.gamma_constraint)  # fmt: skip
        if self.center:
            self.add_weight("beta", shape, self.beta_initializer, self.beta_regularizer,
                            self.beta_constraint)  # fmt: skip

    def forward(
        self, inputs: Any, training: bool = False, mask: Array | None = None
    ) -> tuple[Array, Any]:
        x = self.cast(inputs)
        centered = x - x.mean(axis=-1, keepdims=True)
        variance = np.square(centered).mean(axis=-1, keepdims=True)
        inverse = 1 / np.sqrt(variance + x.dtype.type(self.epsilon))
        normal = centered * inverse
        y = normal * self.params["gamma"] if self.scale else normal
        if self.center:
            y = y + self.params["beta"]
        return y, (normal, inverse)

    def backward(self, tape: Any, d_outputs: Array, need_dx: bool = True) -> Array | None:
        normal, inverse = tape
        leading = tuple(range(normal.ndim - 1))
        if self.center:
            self.grads["beta"] += d_outputs.sum(axis=leading)
        if self.scale:
            self.grads["gamma"] += (d_outputs * normal).sum(axis=leading)
        if not need_dx:
            return None
        d = d_outputs * self.params["gamma"] if self.scale else d_outputs
        along = (d * normal).mean(axis=-1, keepdims=True)
        return (d - d.mean(axis=-1, keepdims=True) - normal * along) * inverse
