from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import activations
from .._arrays import boolean
from .._kernels import _pointwise
from .._serialize import get
from .base import Array, Layer


class Affine(Layer):
    """Base of the layers y = activation(x A + b) over the last axis; a subclass brings A."""

    def __init__(self, activation: Any, use_bias: bool, bias_initializer: Any,
                 bias_regularizer: Any, bias_constraint: Any, **kwargs: Any):  # fmt: skip
        super().__init__(**kwargs)
        self._activation = activations.get(activation)
        self.activation = self._activation.name
        self.use_bias = boolean("use_bias", use_bias)
        self.bias_initializer = get("initializer", bias_initializer)
        self.bias_regularizer = get("regularizer", bias_regularizer)
        self.bias_constraint = get("constraint", bias_constraint)

    def add_bias(self, units: int) -> None:
        """Make b, if it is to be there."""
        if self.use_bias:
            self.add_weight("bias", (units,), self.bias_initializer, self.bias_regularizer,
                            self.bias_constraint)  # fmt: skip

    def times(self, rows: Array) -> Array:
        """rows (N, I) A, a new array."""
        raise NotImplementedError(f"{type(self).__name__} must define times")

    def multiplier(self) -> Callable[[Array], Array]:
        """`times`, with a copy of A."""
        raise NotImplementedError(f"{type(self).__name__} must define multiplier")

    def times_back(self, rows: Array, dz: Array, need_dx: bool) -> Array | None:
        """Gradient of the rows, None unless needed; adds to that of A."""
        raise NotImplementedError(f"{type(self).__name__} must define times_back")

    def handle(self) -> Callable[[Array], Array]:
        """`infer` with a copy of the weights, for few rows (..., I) at a time."""
        times, activate = self.multiplier(), self._activation.forward
        bias = self.params["bias"].copy() if self.use_bias else None

        def infer(inputs: Array) -> Array:
            x = self.cast(inputs)
            z = times(x.reshape(-1, x.shape[-1]))
            if bias is not None:
                z += bias
            return activate(z).reshape(*x.shape[:-1], z.shape[1])

        return infer

    @property
    def forgets_output(self) -> bool:
        """Whether the backward run does without the outputs."""
        return self._activation.name == "linear" and self.activity_regularizer is None

    def forward(
        self, inputs: Any, training: bool = False, mask: Array | None = None
    ) -> tuple[Array, Any]:
        x = self.cast(inputs)
        shape = x.shape
        rows = x if len(shape) == 2 else x.reshape(-1, shape[-1])
        z = self.times(rows)
        if self.use_bias:
            z += self.params["bias"]
        y = self._activation.forward(z)
        tape = (shape, rows, z, y)
        return (y if len(shape) == 2 else y.reshape(*shape[:-1], y.shape[1])), tape

    def backward(self, tape: Any, d_outputs: Array, need_dx: bool = True) -> Array | None:
        shape, rows, z, y = tape
        d = self.cast(d_outputs)
        dz = self._activation.backward(d if d.ndim == 2 else d.reshape(z.shape), z, y)
        dx = self.times_back(rows, dz, need_dx)
        if self.use_bias:
            _pointwise.add_column_sums(dz, self.grads["bias"])
        return None if dx is None else dx.reshape(shape)
