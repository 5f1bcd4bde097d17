"""Keep what is missing as something to know: what is seen, and for how long it was not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..._arrays import positive
from ..._serialize import register
from ..scalers import known_values
from ..table import Table, require_rising
from ..transform import Transform
from .simple import Array, last_known, step_array


@register("transform")
class Keep(Transform):
    """F features become 3 F: the last known values, which are seen (1 or 0), the times since then.

    These are the inputs of GRU-D (Che et al. 2018), and of the layer `InputDecay`. A value that was
    not seen yet is the mean of the training part, and its time is that since the first step. Times
    count in steps; of frames with an index of times, in the training part's median step. The way
    back gives what was seen, and NaN.
    """

    state_names = ("means", "unit")
    means: Array
    unit: float | None

    def _fit(self, table: Table) -> dict[str, Any]:
        require_rising("x", table)
        steps = [np.diff(t.astype("M8[ns]").astype(np.int64)) for t in table.times if t is not None]
        together = np.concatenate(steps) if len(steps) == len(table.parts) else np.empty(0)
        means = np.array([column.mean() for column in known_values(table)])
        return {"means": means, "unit": float(np.median(together)) if len(together) else None}

    def _apply(self, table: Table) -> Table:
        require_rising("x", table)
        parts = []
        for part, times in zip(table.parts, table.times, strict=True):
            values, rows = last_known(part, self.means)
            place = np.arange(len(part), dtype=np.float64)
            if times is not None and self.unit is not None:
                place = (times - times[:1]).astype("m8[ns]").astype(np.float64) / self.unit
            # since the last one before this step, whether or not it is seen now
            before = np.concatenate([np.zeros_like(rows[:1]), np.maximum(rows[:-1], 0)])
            since = (place[:, None] - place[before]).astype(part.dtype)
            parts.append(np.concatenate([values, (~np.isnan(part)).astype(part.dtype), since], 1))
        return table.with_columns(parts, _names(table.columns or ()))

    def _made(self) -> tuple[int, tuple[str, ...] | None]:
        return 3 * (self.features or 0), None if self.columns is None else _names(self.columns)

    def _undo(self, table: Table) -> Table:
        names = [] if table.columns is None else table.columns[: table.features // 3]
        parts = []
        for part in table.parts:
            values, seen, _ = np.split(part, 3, axis=1)
            parts.append(np.where(seen > 0, values, np.nan).astype(part.dtype))
        return table.with_columns(parts, names)

    def stream(self, batch_size: int = 1) -> KeepStream:
        """The same for sequences that come step by step, one step after the other."""
        self._require_fit()
        return KeepStream(self.means, positive("batch_size", batch_size))


def _names(columns: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{kind}{name}" for kind in ("", "seen ", "since ") for name in columns)


class KeepStream:
    """Reads what comes step by step, as `Keep.stream` makes it."""

    def __init__(self, means: Array, batch_size: int):
        self._last = np.tile(means, (batch_size, 1))
        self._since = np.full((batch_size, len(means)), -1.0)  # the first step is at time 0

    def step(self, x: Any) -> Array:
        """(B, 3 F) of x (B, F), one step."""
        step = step_array(x, self._last.shape)
        seen = ~np.isnan(step)
        self._last = np.where(seen, step, self._last)
        since = self._since = self._since + 1
        self._since = np.where(seen, 0.0, since)
        return np.concatenate([self._last, seen, since], axis=1).astype(step.dtype)
