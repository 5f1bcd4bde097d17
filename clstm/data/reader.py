"""What a user passes as x, y and sample_weight, as the arrays of a model's inputs and outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._arrays import number, numbers
from ..graph import Symbol
from .batches import Batch
from .rows import Rows

Array = np.ndarray


class Reader:
    """Reads for a model of these inputs and outputs.

    output_names: the layers that made the outputs, by which dictionaries name them.
    """

    def __init__(self, inputs: Sequence[Symbol], outputs: Sequence[Symbol]):
        self._inputs = [(symbol.node.layer.name, symbol.shape) for symbol in inputs]
        self.output_names = unique_names(symbol.node.layer.name for symbol in outputs)
        self.output_shapes = [symbol.shape for symbol in outputs]

    def batch(self, x: Any, y: Any = None, weight: Any = None, class_weight: Any = None) -> Batch:
        """Arrays of equal length from x, y and the weights; y may be None."""
        arrays = self.inputs(x)
        rows = len(arrays[0])
        if y is None:
            return Batch(arrays, None, None, rows)
        labels = [array_of("y", a) for a in self._per_output("y", y, rows)]
        for a in labels:
            check_rows("y", a, rows)
        weights = [None if w is None else array_of("sample_weight", w)
                   for w in self._per_output("sample_weight", weight, rows)]  # fmt: skip
        for w, shape in zip(weights, self.output_shapes, strict=True):
            if w is not None:
                check_rows("sample_weight", w, rows)
                if w.ndim > len(shape):
                    raise ValueError(f"sample_weight: expected at most {len(shape)} dimensions, as "
                                     f"the outputs have, got shape {w.shape}")  # fmt: skip
        weighted = any(w is not None for w in weights)
        batch = Batch(arrays, labels, weights if weighted else None, rows)
        return batch if class_weight is None else self.weigh(batch, class_weight)

    def inputs(self, x: Any) -> list[Array]:
        """One array for each input, all with as many rows."""
        if isinstance(x, dict):
            names = [name for name, _ in self._inputs]
            if set(x) != set(names):
                raise ValueError(f"x: expected the keys {names}, got {list(x)}")
            parts = [x[name] for name in names]
        elif len(self._inputs) > 1:
            if not isinstance(x, (list, tuple)) or len(x) != len(self._inputs):
                got = len(x) if isinstance(x, (list, tuple)) else type(x).__name__
                raise ValueError(f"x: expected a list of {len(self._inputs)} arrays, got {got}")
            parts = list(x)
        else:
            parts = [_only(x, len(self._inputs[0][1]))]
        arrays = []
        for k, (part, (_, shape)) in enumerate(zip(parts, self._inputs, strict=True)):
            name = "x" if len(parts) == 1 else f"x[{k}]"
            array = array_of(name, part)
            if array.ndim == len(shape) - 1 and shape[-1] == 1:
                array = np.asarray(array)[..., None]  # Keras takes (B,) for (B, 1)
            if array.ndim != len(shape) or any(
                want is not None and size != want
                for size, want in zip(array.shape, shape, strict=True)
            ):
                letters = ", ".join("any" if s is None else str(s) for s in shape)
                raise ValueError(f"{name}: expected shape ({letters}), got {array.shape}")
            arrays.append(array)
        if len(arrays) > 1 and len({len(array) for array in arrays}) > 1:
            raise ValueError(f"x: expected as many rows in every array, got "
                             f"{[len(array) for array in arrays]}")  # fmt: skip
        return arrays

    def _per_output(self, argument: str, value: Any, rows: int) -> list[Any]:
        names = self.output_names
        if isinstance(value, dict):
            if not set(value) <= set(names) or (argument == "y" and len(value) != len(names)):
                raise ValueError(f"{argument}: expected the keys {names}, got {list(value)}")
            return [value.get(name) for name in names]
        if len(names) == 1:
            return [_only(value, len(self.output_shapes[0]), rows)]
        if value is None:
            return [None] * len(names)
        if not isinstance(value, (list, tuple)) or len(value) != len(names):
            got = len(value) if isinstance(value, (list, tuple)) else type(value).__name__
            raise ValueError(f"{argument}: expected a list of {len(names)} arrays, got {got}")
        return list(value)

    def weigh(self, batch: Batch, class_weight: Any) -> Batch:
        """`batch` with its weights multiplied by the factors of the labels' classes."""
        if not isinstance(class_weight, dict):
            raise TypeError(f"class_weight: expected a dict, got {type(class_weight).__name__}")
        if len(self.output_names) > 1:
            raise ValueError("class_weight: expected None for a model of several outputs")
        for key in class_weight:
            if isinstance(key, bool) or not isinstance(key, (int, np.integer)) or key < 0:
                raise ValueError(f"class_weight: expected class numbers as keys, got {key!r}")
        shape, y = self.output_shapes[0], np.asarray(batch.y[0])
        if y.ndim == len(shape) and y.shape[-1] > 1 and y.shape[-1] == shape[-1]:
            classes = y.argmax(axis=-1)  # one-hot labels
        else:
            classes = y[..., 0] if y.ndim == len(shape) else y
            classes = np.round(classes) if classes.dtype.kind == "f" else classes
        factors = np.ones(classes.shape, np.float32)
        for key, factor in class_weight.items():
            factors[classes == key] = number(f"class_weight[{key}]", factor)
        if batch.weight is not None:
            (w,) = batch.weight
            more = max(w.ndim, factors.ndim)
            factors = _widen(factors, more) * _widen(w, more)
        return batch._replace(weight=[factors])


def array_of(name: str, value: Any) -> Any:
    """`value` as an array of numbers, or Rows as they are."""
    return value if isinstance(value, Rows) else numbers(name, value)


def check_rows(argument: str, array: Array, rows: int) -> None:
    """Raise ValueError unless there are as many rows as x has."""
    if array.ndim == 0 or len(array) != rows:
        raise ValueError(f"{argument}: expected {rows} rows, as many as x, got shape {array.shape}")


def unique_names(names: Any) -> list[str]:
    """The names, with _1, _2, ... behind those that were there before."""
    found: list[str] = []
    for name in names:
        number, free = 0, name
        while free in found:
            number += 1
            free = f"{name}_{number}"
        found.append(free)
    return found


def _widen(array: Array, ndim: int) -> Array:
    return array.reshape(array.shape + (1,) * (ndim - array.ndim))


def _only(value: Any, ndim: int, rows: int = 1) -> Any:
    """The array in a list of one array, as Keras takes it too; anything else as it is.

    The array has `ndim` dimensions, or `rows` > 1 rows: else the list is itself an array of 1 row.
    """
    if isinstance(value, (list, tuple)) and len(value) == 1:
        shape = getattr(value[0], "shape", ())
        if len(shape) == ndim or (shape and shape[0] == rows > 1):
            return value[0]
    return value
