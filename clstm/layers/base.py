"""What every layer is: weights by name, a forward run that keeps a tape, a backward run."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any, ClassVar

import numpy as np

from .. import constraints, random, regularizers
from .._arrays import FLOATS, boolean, check_shape, copy_into, float_array, float_dtype
from .._serialize import Configurable, get, snake_case
from ..graph import Node, Symbol, is_symbolic

Array = np.ndarray
Shape = tuple[int | None, ...]

_DTYPES = {dtype.name: dtype for dtype in FLOATS}
_names: Counter[str] = Counter()
_loading: ContextVar[Allowance | None] = ContextVar("loading", default=None)


def unique_name(base: str) -> str:
    """base, base_1, base_2, ...: a name that no layer of this process was given so far."""
    _names[base] += 1
    return base if _names[base] == 1 else f"{base}_{_names[base] - 1}"


class Allowance:
    """While a model is read from a file, weights are zeros, and no more than the file can fill.

    Used as a context; size: number of weights.
    """

    def __init__(self, size: int):
        self._left = size

    def zeros(self, shape: tuple[int, ...], dtype: np.dtype) -> Array:
        """A new weight; ValueError when they become too many."""
        self._left -= math.prod(shape)
        if self._left < 0:
            raise ValueError(f"the architecture has more weights than the file: shape {shape}")
        return np.zeros(shape, dtype)

    def __enter__(self) -> Allowance:
        self._token = _loading.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        _loading.reset(self._token)


class Layer(Configurable):
    """Base of all layers.

    A layer of your own defines `forward` and `backward`, and `build` if it has weights; register it
    with `clstm.register("layer")` and it can be saved.

    Args:
        name: unique in a model; made from the class's name if None.
        dtype: "float32" or "float64", of weights and outputs.
        trainable: False keeps the weights as they are, from the next `compile` on.
        input_shape: of one row, without the batch; lets a Sequential build at once.
        activity_regularizer: penalty on the outputs, of every one where there are several, divided
            by the rows of the batch.
    """

    kind = "layer"
    supports_masking = True  # outputs have the mask of the inputs
    rank: int | None = None  # of the inputs, batch included; None: any
    takes_lists = False  # inputs may be a list of several arrays
    random_keys: random.Keys | None = None  # its own, if it has a `seed`
    tables: ClassVar[tuple[str, ...]] = ()  # weights whose rows are looked up, few in a batch

    def __init__(
        self,
        *,
        name: str | None = None,
        dtype: str = "float32",
        trainable: bool = True,
        input_shape: Sequence[int | None] | None = None,
        activity_regularizer: Any = None,
        **unknown: Any,
    ):
        if unknown:  # of the class that the user named, not of this one
            raise TypeError(f"{type(self).__name__}() got an unexpected keyword argument "
                            f"{next(iter(unknown))!r}")  # fmt: skip
        self.name = unique_name(snake_case(type(self).__name__)) if name is None else name
        if not isinstance(self.name, str) or not self.name or "/" in self.name:
            raise ValueError(f"name: expected a string without '/', got {name!r}")
        self.dtype = float_dtype("dtype", dtype).name
        self.trainable = boolean("trainable", trainable)
        if input_shape is not None and not isinstance(input_shape, (list, tuple)):
            raise TypeError(f"input_shape: expected a tuple, got {type(input_shape).__name__}")
        self.input_shape = None if input_shape is None else tuple(input_shape)
        self.activity_regularizer = get("regularizer", activity_regularizer)
        self.params: dict[str, Array] = {}
        self.grads: dict[str, Array] = {}
        self.regularizers: dict[str, regularizers.Regularizer] = {}
        self.constraints: dict[str, constraints.Constraint] = {}
        self.built = False
        self._built_shape: Any = None
        self.home: Any = None  # the Parameters that hold the weights

    # --- what a layer defines ------------------------------------------------------------------

    def build(self, input_shape: Any) -> None:
        """Make the weights for inputs of this shape, the batch (None) included."""

    def forward(
        self, inputs: Any, training: bool = False, mask: Array | None = None
    ) -> tuple[Any, Any]:
        """outputs, tape. inputs: an array, or a list of them; mask: (B, T) booleans or None."""
        raise NotImplementedError(f"{type(self).__name__} must define forward")

    def backward(self, tape: Any, d_outputs: Any, need_dx: bool = True) -> Any:
        """Gradient with respect to the inputs, None unless needed; adds to `grads`."""
        raise NotImplementedError(f"{type(self).__name__} must define backward")

    def infer(self, inputs: Any, mask: Array | None = None) -> Any:
        """The outputs alone: forward without training, keeping no tape."""
        return self.forward(inputs, False, mask)[0]

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Shape of the outputs for that shape of the inputs; None stands for the batch."""
        return input_shape

    def compute_mask(self, inputs: Any, mask: Array | None) -> Array | None:
        """Mask of the outputs."""
        return mask if self.supports_masking else None

    def join_masks(self, inputs: list[Array], masks: list[Array | None]) -> Array | None:
        """The mask of a call with several inputs: that of the first."""
        return masks[0]

    def may_mask(self, masked: bool) -> bool:
        """Whether outputs may have a mask, if inputs may (`masked`) or may not have one."""
        if type(self).compute_mask is not Layer.compute_mask:
            return True
        return masked and self.supports_masking

    def sublayers(self) -> list[Layer]:
        """Layers that this one is made of."""
        return []

    @staticmethod
    def check_inner(layer: Layer | None) -> None:
        """Raise ValueError for a part whose outputs nobody would penalise: wrappers' are."""
        if layer is not None and layer.activity_regularizer is not None:
            raise ValueError("layer: expected one without activity_regularizer, give it to the "
                             f"layer around {layer.name}")  # fmt: skip

    # --- weights -------------------------------------------------------------------------------

    def add_weight(
        self,
        name: str,
        shape: tuple[int, ...],
        initializer: Any,
        regularizer: Any = None,
        constraint: Any = None,
    ) -> None:
        """Make `params[name]`, and `grads[name]` of zeros."""
        dtype = np.dtype(self.dtype)
        if (loading := _loading.get()) is not None:
            value = loading.zeros(shape, dtype)
        else:
            value = get("initializer", initializer)(shape, dtype, random.generator())
            check_shape(f"initializer of {self.name}'s {name}", value, shape)
        if regularizer is not None:
            regularizer(value)  # one that does not fit raises now, not in training
        if constraint is not None:
            check_shape(f"constraint of {self.name}'s {name}", constraint(value), shape)
        self.params[name] = np.require(value, dtype, ["C", "W"])
        self.grads[name] = np.zeros(shape, dtype)
        if regularizer is not None:
            self.regularizers[name] = regularizer
        if constraint is not None:
            self.constraints[name] = constraint

    def walk(self) -> list[Layer]:
        """This layer and all that it is made of, those with weights in the weights' order."""
        return [self, *(inner for layer in self.sublayers() for inner in layer.walk())]

    def trained(self) -> list[Layer]:
        """Those of `walk` whose weights training changes."""
        if not self.trainable:
            return []
        return [self, *(inner for layer in self.sublayers() for inner in layer.trained())]

    @property
    def weights(self) -> list[Array]:
        """All weights: views, so writing into one changes the layer."""
        return [value for layer in self.walk() for value in layer.params.values()]

    def get_weights(self) -> list[Array]:
        """Copies of all weights, in Keras's order."""
        return [value.copy() for value in self.weights]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Set all weights, in the order and shapes of `get_weights`."""
        copy_into(self.weights, weights)

    def count_params(self) -> int:
        """Number of weights."""
        return sum(value.size for value in self.weights)

    # --- calling -------------------------------------------------------------------------------

    def ensure_built(self, input_shape: Any) -> None:
        """Build for inputs of this shape, or raise ValueError if built for other features."""
        if not self.built:
            self._check_rank(input_shape)
            for inner in self.walk():
                inner.dtype = self.dtype
            if not self.params:  # else build was called directly
                try:
                    self.build(input_shape)
                except BaseException:  # a weight alone would pass for a layer that is built
                    for weights in (self.params, self.grads, self.regularizers, self.constraints):
                        weights.clear()
                    raise
            self.built = True
            self._built_shape = input_shape
        elif self.params or self.sublayers():
            self._check_rank(input_shape)
            first, built = _first(input_shape), _first(self._built_shape)
            if first[-1] != built[-1]:
                raise ValueError(
                    f"inputs of {self.name}: expected {built[-1]} features in the last axis, "
                    f"got shape {first}"
                )
        else:
            self._check_rank(input_shape)

    def known_features(self, input_shape: Shape) -> int:
        """The size of the last axis; ValueError if it is not known."""
        if not input_shape[-1]:
            raise ValueError(
                f"inputs of {self.name}: expected a known number of features in the last axis, "
                f"got shape {input_shape}"
            )
        return input_shape[-1]

    def _check_rank(self, input_shape: Any) -> None:
        shape = _first(input_shape)
        if self.rank is not None and len(shape) != self.rank:
            raise ValueError(
                f"inputs of {self.name}: expected {self.rank} dimensions (batch first), "
                f"got shape {shape}"
            )

    def cast(self, inputs: Any) -> Array:
        """`inputs` as a float array of this layer's dtype."""
        return float_array(f"inputs of {self.name}", inputs, _DTYPES[self.dtype])

    def __call__(self, inputs: Any, *, mask: Any = None, training: bool = False) -> Any:
        """Outputs for arrays; for symbols (`Input`), the symbols of the outputs."""
        if is_symbolic(inputs):
            return self._connect(inputs, mask)
        return self._on_arrays(inputs, mask, training)

    def _on_arrays(self, inputs: Any, mask: Any, training: bool, **options: Any) -> Any:
        several = self.takes_lists and isinstance(inputs, (list, tuple))
        arrays = [np.asarray(a) for a in inputs] if several else np.asarray(inputs)
        self.ensure_built([a.shape for a in arrays] if several else arrays.shape)
        if training:
            return self.forward(arrays, True, mask, **options)[0]
        return self.infer(arrays, mask, **options)

    def _connect(self, inputs: Any, mask: Symbol | None, resets: Symbol | None = None) -> Any:
        symbols = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
        if len(symbols) > 1 and not self.takes_lists:
            raise ValueError(f"inputs of {self.name}: expected one, got {len(symbols)}")
        if mask is not None and not isinstance(mask, Symbol):
            raise TypeError(f"mask: expected a symbol beside symbols, got {type(mask).__name__}")
        if resets is not None and not isinstance(resets, Symbol):
            raise TypeError(f"resets: expected a symbol beside symbols, got "
                            f"{type(resets).__name__}")  # fmt: skip
        shapes = [s.shape for s in symbols]
        shape = shapes if isinstance(inputs, (list, tuple)) and len(shapes) > 1 else shapes[0]
        self.ensure_built(shape)
        output_shape = self.compute_output_shape(shape)
        node = Node(self, symbols, mask, resets)
        if isinstance(output_shape, list):
            node.outputs = [Symbol(s, node) for s in output_shape]
            return list(node.outputs)
        node.outputs = [Symbol(output_shape, node)]
        return node.outputs[0]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name!r}>"


def _first(shape: Any) -> Shape:
    """The shape of the first of several inputs."""
    return shape[0] if isinstance(shape, list) else shape
