"""What all transforms of data are: fitted on the training part, applied, saved with a model."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np

from .. import _serialize
from .._serialize import Configurable, register
from .._state import Tensors, pack, unpack
from ..io import tensor_file
from .table import Table, read

Array = np.ndarray
Self = TypeVar("Self", bound="Transform")


class Transform(Configurable):
    """Base of all transforms of sequences: scalers, ways with missing values, encodings.

    Sequences come as an array (T,), (T, F) or (N, T, F), a list of (T_i,) or (T_i, F) arrays, a
    frame of pandas or polars with a row for each step, or a list of frames, and go back in the same
    form. `fit` learns from the training part alone; `transform` changes nothing that was learned.

    A transform of your own names what it learns in `state_names`, arrays or JSON values, and
    defines `_fit(table)`, which returns a dict of them, `_apply(table)`, and `_undo(table)` if
    there is a way back; `clstm.register("transform")` lets it be saved with a model:
    `model.transforms = {"x": scaler}`.
    """

    kind = "transform"
    state_names: ClassVar[tuple[str, ...]] = ()
    objects = False  # whether it reads what is no number
    features: int | None = None  # of what it was fitted on
    columns: tuple[str, ...] | None = None  # of that, if it was a frame

    def fit(self: Self, x: Any) -> Self:
        """Learn from x, the training part; ValueError, with nothing learned, if it cannot be."""
        table = read("x", x, self.objects)
        learned = self._fit(table)
        for name in self.state_names:
            setattr(self, name, learned[name])
        self.features, self.columns = table.features, table.columns
        return self

    def transform(self, x: Any) -> Any:
        """x, transformed, in x's form. ValueError for other features than it was fitted on."""
        return self._apply(self._read("x", x, self.objects)).give()

    def inverse_transform(self, x: Any) -> Any:
        """What `transform` made x of. NotImplementedError where there is no way back."""
        if not self.has_inverse:
            raise NotImplementedError(f"{type(self).__name__}: there is no way back")
        self._require_fit()
        table = read("x", x)
        self._require_like(table, *self._made(), "transform gives")
        return self._undo(table).give()

    @property
    def has_inverse(self) -> bool:
        """Whether there is a way back."""
        return type(self)._undo is not Transform._undo

    def fit_transform(self, x: Any) -> Any:
        """`fit` and `transform`."""
        return self.fit(x).transform(x)

    def save(self, path: Any) -> None:
        """Write it to one file, whole or not at all; `clstm.data.load_transform` reads it.

        Raises:
            ValueError: its class is not registered, so that it could not be loaded again.
        """
        tensors: Tensors = {}
        content = {"transform": packed(self, "transform", tensors)}
        tensor_file.save(path, tensor_file.TRANSFORM, content, tensors)

    def _require_fit(self) -> None:
        if self.features is None:
            raise ValueError(f"{type(self).__name__}: expected to be fitted before, got no fit")

    def _read(self, name: str, x: Any, objects: bool) -> Table:
        self._require_fit()
        table = read(name, x, objects)
        self._require_like(table, self.features, self.columns, "in fit")
        return table

    def _require_like(self, table: Table, features: Any, columns: Any, where: str) -> None:
        """ValueError unless the table has these features, and these columns if both have names."""
        if table.features != features:
            raise ValueError(f"x: expected {features} features, as {where}, got {table.features}")
        if columns is not None and table.columns is not None and table.columns != columns:
            raise ValueError(f"x: expected the columns {list(columns)}, as {where}, got "
                             f"{list(table.columns)}")  # fmt: skip

    def _made(self) -> tuple[int | None, tuple[str, ...] | None]:
        """The features that `transform` gives, and their names."""
        return self.features, self.columns

    def _fit(self, table: Table) -> dict[str, Any]:
        """What is learned, by `state_names`."""
        return {}

    def _apply(self, table: Table) -> Table:
        raise NotImplementedError(f"{type(self).__name__} must define _apply")

    def _undo(self, table: Table) -> Table:
        raise NotImplementedError(f"{type(self).__name__} must define _undo")

    def get_state(self) -> dict[str, Any]:
        """What was learned: arrays, JSON values, and dicts of these."""
        if self.features is None:
            return {}
        columns = None if self.columns is None else list(self.columns)
        return {name: copy.deepcopy(getattr(self, name)) for name in self.state_names} | {
            "features": self.features, "columns": columns}  # fmt: skip

    def set_state(self, state: dict[str, Any]) -> None:
        """Take what `get_state` gave; ValueError, with nothing set, if names are missing."""
        if not state:
            self.features = self.columns = None
            return
        expected = {*self.state_names, "features", "columns"}
        if state.keys() != expected:
            raise ValueError(f"{type(self).__name__}: expected a state of {sorted(expected)}, got "
                             f"{sorted(state)}")  # fmt: skip
        for name in (*self.state_names, "features"):
            setattr(self, name, copy.deepcopy(state[name]))
        self.columns = None if state["columns"] is None else tuple(state["columns"])


@register("transform")
class Pipeline(Transform):
    """Transforms one after the other.

    Args:
        steps: Transforms; each is fitted on what the ones before make of the data.
    """

    def __init__(self, steps: list[Transform]):
        if not isinstance(steps, (list, tuple)) or not steps:
            raise ValueError(f"steps: expected a list of at least one Transform, got {steps!r}")
        for k, step in enumerate(steps):
            if not isinstance(step, Transform):
                raise TypeError(f"steps[{k}]: expected a Transform, got {type(step).__name__}")
        self.steps = list(steps)
        self.objects = self.steps[0].objects

    def fit(self: Self, x: Any) -> Self:
        """Learn from x, the training part; if a step raises, none has learned anything."""
        fitted = [copy.deepcopy(step) for step in self.steps]
        for step in fitted[:-1]:
            x = step.fit_transform(x)
        fitted[-1].fit(x)
        for step, learned in zip(self.steps, fitted, strict=True):
            step.set_state(learned.get_state())
        self.features, self.columns = self.steps[0].features, self.steps[0].columns
        return self

    def transform(self, x: Any) -> Any:
        for step in self.steps:
            x = step.transform(x)
        return x

    def inverse_transform(self, x: Any) -> Any:
        for step in reversed(self.steps):
            x = step.inverse_transform(x)
        return x

    @property
    def has_inverse(self) -> bool:
        return all(step.has_inverse for step in self.steps)

    def get_state(self) -> dict[str, Any]:
        if self.features is None:
            return {}
        return super().get_state() | {str(k): step.get_state()
                                      for k, step in enumerate(self.steps)}  # fmt: skip

    def set_state(self, state: dict[str, Any]) -> None:
        names = [str(k) for k in range(len(self.steps))]
        own = {k: v for k, v in state.items() if k not in names}
        if state and len(state) != len(own) + len(names):
            raise ValueError(f"Pipeline: expected a state of {len(names)} steps, got "
                             f"{len(state) - len(own)}")  # fmt: skip
        for target in (copy.deepcopy(self.steps), self.steps):  # the first may raise
            for step, name in zip(target, names, strict=True):
                step.set_state(state.get(name, {}))
        super().set_state(own)


def load_transform(path: Any) -> Transform:
    """The transform that its `save` wrote.

    Raises:
        FileNotFoundError: there is no such file. ValueError: it is another one, or damaged.
    """
    path = Path(path)
    content, tensors = tensor_file.load(path, tensor_file.TRANSFORM)
    try:
        return unpacked(content["transform"], tensors)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path.name}: the file does not hold a transform: {error}") from error


def packed(transform: Any, place: str, tensors: Tensors) -> dict[str, Any]:
    """A transform as JSON; its arrays go to `tensors`, under names that begin with the place."""
    if not isinstance(transform, Transform):
        raise TypeError(f"{place}: expected a Transform, got {type(transform).__name__}")
    return {"made": _serialize.to_config(transform),
            "state": pack(transform.get_state(), place, tensors)}  # fmt: skip


def unpacked(saved: dict[str, Any], tensors: Tensors) -> Transform:
    """What `packed` packed."""
    transform: Transform = _serialize.from_config("transform", saved["made"])
    transform.set_state(unpack(saved["state"], tensors))
    return transform


def get(identifier: Any) -> Transform | None:
    """Returns the Transform for None, a config dict or an instance; ValueError, TypeError else."""
    return _serialize.get("transform", identifier)
