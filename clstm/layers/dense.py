from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._arrays import positive
from .._serialize import get, register
from ._products import matmul, multiplier
from .affine import Affine
from .base import Array


@register("layer")
class Dense(Affine):
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
        super().__init__(activation, use_bias, bias_initializer, bias_regularizer, bias_constraint,
                         activity_regularizer=activity_regularizer, **kwargs)  # fmt: skip
        self.units = positive("units", units)
        self.kernel_initializer = get("initializer", kernel_initializer)
        self.kernel_regularizer = get("regularizer", kernel_regularizer)
        self.kernel_constraint = get("constraint", kernel_constraint)

    def build(self, input_shape: Any) -> None:
        if len(input_shape) < 2 or input_shape[-1] is None:
            raise ValueError(
                f"inputs of {self.name}: expected at least 2 dimensions with a known last one, "
                f"got shape {input_shape}"
            )
        self.add_weight("kernel", (input_shape[-1], self.units), self.kernel_initializer,
                        self.kernel_regularizer, self.kernel_constraint)  # fmt: skip
        self.add_bias(self.units)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape[:-1], self.units)

    def times(self, rows: Array) -> Array:
        return matmul(rows, self.params["kernel"])

    def multiplier(self) -> Callable[[Array], Array]:
        return multiplier(self.params["kernel"])

    def times_back(self, rows: Array, dz: Array, need_dx: bool) -> Array | None:
        matmul(rows, dz, self.grads["kernel"], transpose_a=True, accumulate=True)
        return matmul(dz, self.params["kernel"], transpose_b=True) if need_dx else None
