"""Leave out, or fill with what is at hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..._arrays import number, positive
from ..._serialize import register
from ..scalers import known_values
from ..table import Table
from ..transform import Transform

Array = np.ndarray
WAYS = ("mean", "median", "forward")


@register("transform")
class Drop(Transform):
    """Leave out what has a missing value.

    Args:
        what: "steps", or "sequences", of several, as a whole. Default "steps".

    (N, T, F) becomes a list where the sequences are no longer of one length. `kept` says what
    stays, for the labels.
    """

    def __init__(self, what: str = "steps"):
        if what not in ("steps", "sequences"):
            raise ValueError(f"what: expected 'steps' or 'sequences', got {what!r}")
        self.what = what

    def kept(self, x: Any) -> Any:
        """What stays: booleans (T,) or a list of them for "steps", (N,) for "sequences"."""
        table = self._read("x", x, False)
        if self.what == "sequences":
            _require_several(table)
            return np.array([not np.isnan(part).any() for part in table.parts])
        found = _whole_rows(table)
        return found if table.form.several else found[0]

    def _apply(self, table: Table) -> Table:
        if self.what == "steps":
            return table.keep_rows(_whole_rows(table))
        _require_several(table)
        whole = [k for k, part in enumerate(table.parts) if not np.isnan(part).any()]
        if not whole:
            raise ValueError("x: expected a sequence without a missing value, got none")
        return table.keep_parts(whole)


@register("transform")
class Fill(Transform):
    """Fill each missing value.

    Args:
        by: "mean" or "median" of the feature in the training part, "forward": the last value
            before it in its sequence, or the mean where there is none, or a number. Default "mean".
    """

    state_names = ("values",)
    values: Array

    def __init__(self, by: str | float = "mean"):
        if isinstance(by, str) and by not in WAYS:
            raise ValueError(f"by: expected one of {WAYS} or a number, got {by!r}")
        self.by = by if isinstance(by, str) else number("by", by)

    def _fit(self, table: Table) -> dict[str, Any]:
        if not isinstance(self.by, str):
            return {"values": np.full(table.features, self.by)}
        middle = np.median if self.by == "median" else np.mean
        return {"values": np.array([middle(column) for column in known_values(table)])}

    def _apply(self, table: Table) -> Table:
        if self.by == "forward":
            return table.map(lambda part: last_known(part, self.values)[0])
        return table.map(lambda p: np.where(np.isnan(p), self.values, p).astype(p.dtype))

    def _undo(self, table: Table) -> Table:
        return table.map(np.copy)

    def stream(self, batch_size: int = 1) -> FillStream:
        """The same for sequences that come step by step."""
        self._require_fit()
        return FillStream(self, positive("batch_size", batch_size))


class FillStream:
    """Fills what comes step by step, as `Fill.stream` makes it."""

    def __init__(self, fill: Fill, batch_size: int):
        self._forward, self._values = fill.by == "forward", fill.values
        self._last = np.tile(fill.values, (batch_size, 1))

    def step(self, x: Any) -> Array:
        """x (B, F) of one step, filled."""
        step = step_array(x, self._last.shape)
        found = np.where(np.isnan(step), self._last, step)
        if self._forward:
            self._last = found.copy()
        return found.astype(step.dtype)


def step_array(x: Any, shape: tuple[int, int]) -> Array:
    step = np.asarray(x)
    if step.dtype.kind != "f":
        step = step.astype(np.float64)
    if step.shape != shape:
        raise ValueError(f"x: expected shape {shape}, got {step.shape}")
    return step


def last_known(part: Array, before: Array) -> tuple[Array, Array]:
    """The last known value at or before each step, else `before`; and its row, else -1."""
    rows = np.where(np.isnan(part), -1, np.arange(len(part))[:, None])
    rows = np.maximum.accumulate(rows, axis=0) if len(part) else rows
    found = np.take_along_axis(part, np.maximum(rows, 0), axis=0)
    return np.where(rows < 0, before, found).astype(part.dtype), rows


def _require_several(table: Table) -> None:
    if not table.form.several:
        raise ValueError("x: expected several sequences with what='sequences', got one")


def _whole_rows(table: Table) -> list[Array]:
    return [~np.isnan(part).any(axis=1) for part in table.parts]
