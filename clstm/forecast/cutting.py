"""Windows of series: which to train on, which give the intervals, and what is read of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .series import Array


class Windows(NamedTuple):
    """x (N, past, C) and known (N, horizon, K) or None, scaled; last (N, C), what x is relative to;
    y (N, horizon, D), as it is, or None."""

    x: Array
    known: Array | None
    last: Array
    y: Array | None

    def inputs(self) -> Any:
        return self.x if self.known is None else [self.x, self.known]


def split(parts: list[Array], past: int, horizon: int, calibration: float
          ) -> tuple[list[Array], list[Array]]:  # fmt: skip
    """The rows before which the windows to train on end, and those at the end of each series
    for the intervals, which share no target with them."""
    trained, held = [], []
    for part in parts:
        ends = np.arange(past, len(part) - horizon + 1)
        count = _held(len(ends), calibration)
        held.append(ends[len(ends) - count :])
        trained.append(ends[: max(0, len(ends) - count - horizon + 1)])
    if not any(len(ends) for ends in trained):
        least = past + 2 * horizon
        while (n := least - past - horizon + 1) - _held(n, calibration) < horizon:
            least += 1
        raise ValueError(f"series: expected one of at least {least} rows, to train and for the "
                         f"intervals, got {max(map(len, parts))}")  # fmt: skip
    return trained, held


def _held(windows: int, calibration: float) -> int:
    """How many of a series' windows are for the intervals."""
    return min(windows, max(1, round(calibration * windows)))


def cut(parts: list[Array], extra: list[Array] | None, ends: list[Array], past: int, horizon: int,
        targets: Sequence[int], learned: dict[str, Any], measured: list[Array] | None = None
        ) -> Windows:  # fmt: skip
    """The windows before each of the `ends` of each series; measured: what y is taken from."""
    found: list[list[Array]] = [[], [], [], []]
    back, forth = np.arange(-past, 0), np.arange(horizon)
    for k, part in enumerate(parts):
        rows = ends[k][:, None]
        last = part[ends[k] - 1]
        found[0].append((part[rows + back] - last[:, None]) / learned["scale"])
        found[1].append(last)
        if measured is not None:
            found[2].append(measured[k][rows + forth][..., targets])
        if extra is not None:
            scaled = (extra[k] - learned["known_mean"]) / learned["known_scale"]
            # each past row beside what is known of the row after it
            found[0][-1] = np.concatenate([found[0][-1], scaled[rows + back + 1]], axis=2)
            found[3].append(scaled[rows + forth])
    x, last, y, known = (np.concatenate(a) if a else None for a in found)
    return Windows(x.astype(np.float32), None if known is None else known.astype(np.float32),
                   last, y)  # fmt: skip


def pasts(parts: list[Array], past: int) -> list[Array]:
    """Some windows of `past` rows, evenly spread."""
    found = []
    for part in parts:
        ends = np.unique(np.linspace(past, len(part), 200).astype(int))
        found += [part[end - past : end] for end in ends]
    return found


def deviation(rows: list[Array]) -> Array:
    """The root mean square of each column, 1 where it is 0."""
    size = np.sqrt(np.mean(np.concatenate(rows) ** 2, axis=0))
    return np.where(size > 0, size, 1.0)
