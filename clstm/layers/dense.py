from __future__ import annotations

from typing import Any

import numpy as np

from .. import activations
from .._arrays import boolean, positive
from .._kernels import _pointwise
from .._serialize import get, register
from ..functional import backend_module
from .base import Array, Layer


@register("layer")
class Dense(Layer):
    """y = activation(x W + b) over the last axis.

    Args:
        units: size of the output's last axis.
        activation: a name that `clstm.activations` knows, None for linear.
        use_bias: whether b is there.
        *_initializer, *_regularizer, *_constraint: names or objects, as in Keras.

    Inputs (..., I), outputs (..., units). Weights: kernel (I, units), bias (units,).
    """

    def __init__(
        self,
        units: int,
        activation: str | None = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.units = positive("units", units)
        self._activation = activations.get(activation)
        self.activation = self._activation.name
        self.use_bias = boolean("use_bias", use_bias)
        self.kernel_initializer = get("initializer", kernel_initializer)
        self.bias_initializer = get("initializer", bias_initializer)
        self.kernel_regularizer = get("regularizer", kernel_regularizer)
        self.bias_regularizer = get("regularizer", bias_regularizer)
        self.kernel_constraint = get("constraint", kernel_constraint)
        self.bias_constraint = get("constraint", bias_constraint)

    def build(self, input_shape: Any) -> None:
        if len(input_shape) < 2 or input_shape[-1] is None:
            raise ValueError(
                f"inputs of {self.name}: expected at least 2 dimensions with a known last one, "
                f"got shape {input_shape}"
            )
        self.add_weight("kernel", (input_shape[-1], self.units), self.kernel_initializer,
                        self.kernel_regularizer, self.kernel_constraint)  # fmt: skip
        if self.use_bias:
            self.add_weight("bias", (self.units,), self.bias_initializer, self.bias_regularizer,
                            self.bias_constraint)  # fmt: skip

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape[:-1], self.units)

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
        z = np.empty((len(rows), self.units), x.dtype)
        backend_module(None, x.dtype).matmul(rows, self.params["kernel"], z)
        if self.use_bias:
            z += self.params["bias"]
        y = self._activation.forward(z)
        tape = (shape, rows, z, y)
        return (y if len(shape) == 2 else y.reshape(*shape[:-1], self.units)), tape

    def backward(self, tape: Any, d_outputs: Array, need_dx: bool = True) -> Array | None:
        shape, rows, z, y = tape
        matmul = backend_module(None, z.dtype).matmul
        d = self.cast(d_outputs)
        dz = self._activation.backward(d if d.ndim == 2 else d.reshape(z.shape), z, y)
        matmul(rows, dz, self.grads["kernel"], transpose_a=True, accumulate=True)
        if self.use_bias:
            _pointwise.add_column_sums(dz, self.grads["bias"])
        if not need_dx:
            return None
        dx = np.empty_like(rows)
        matmul(dz, self.params["kernel"], dx, transpose_b=True)
        return dx.reshape(shape)
