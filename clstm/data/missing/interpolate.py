"""Interpolate gaps from what stands on both sides."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..._arrays import positive
from ..._serialize import register
from ..scalers import known_values
from ..table import Table, require_rising
from ..transform import Transform

Array = np.ndarray
WAYS = ("linear", "time", "spline", "seasonal")


@register("transform")
class Interpolate(Transform):
    """Fill gaps from the values before and after them in the same sequence.

    Before the first and after the last known value of a sequence stays that value, beside the
    season if there is one; a feature of which it has no value gets the mean of the training part.

    Args:
        by: "linear": in the number of steps. "time": linear in the times of a frame's index.
            "spline": natural cubic splines through all known values, by SciPy. "seasonal": linear,
            without the season, which is added again: at each time of it the mean of what is known
            then, beside a moving average, in the seven seasons around. Default "linear".
        season: steps of a season, at least 2; for "seasonal" alone.
    """

    state_names = ("means",)
    means: Array

    def __init__(self, by: str = "linear", season: int | None = None):
        if by not in WAYS:
            raise ValueError(f"by: expected one of {WAYS}, got {by!r}")
        if (season is None) == (by == "seasonal"):
            raise ValueError(f"season: expected {'a number' if season is None else 'None'} with "
                             f"by={by!r}, got {season}")  # fmt: skip
        if season is not None and positive("season", season) < 2:
            raise ValueError(f"season: expected at least 2, got {season}")
        self.by, self.season = by, season

    def _fit(self, table: Table) -> dict[str, Any]:
        self._places(table)
        return {"means": np.array([column.mean() for column in known_values(table)])}

    def _apply(self, table: Table) -> Table:
        places = self._places(table)
        parts = []
        for part, place in zip(table.parts, places, strict=True):
            filled = part.copy()
            for column, values in enumerate(part.T):
                gaps = np.isnan(values)
                if gaps.all():
                    filled[:, column] = self.means[column]
                elif gaps.any():
                    filled[gaps, column] = self._fill(values.astype(np.float64), place)[gaps]
            parts.append(filled)
        return table._replace(parts=parts)

    def _undo(self, table: Table) -> Table:
        return table.map(np.copy)

    def _places(self, table: Table) -> list[Array]:
        """Where on the axis of time the steps of each sequence are."""
        if self.by != "time":
            return [np.arange(len(part), dtype=np.float64) for part in table.parts]
        if any(times is None for times in table.times):
            raise ValueError("x: expected a pandas frame with an index of times for by='time', got "
                             "none")  # fmt: skip
        require_rising("x", table)
        return [(times - times[:1]).astype("m8[ns]").astype(np.float64) for times in table.times]

    def _fill(self, values: Array, place: Array) -> Array:
        if self.season is not None:
            return seasonal(values, self.season)
        known = np.flatnonzero(~np.isnan(values))
        if self.by != "spline" or len(known) < 3:
            return np.interp(place, place[known], values[known])
        from scipy.interpolate import CubicSpline

        spline = CubicSpline(place[known], values[known], bc_type="natural")
        return spline(np.clip(place, place[known[0]], place[known[-1]]))


def linear(values: Array) -> Array:
    """(T,) with each gap filled by the line between its neighbours; at least one is known."""
    known = np.flatnonzero(~np.isnan(values))
    return np.interp(np.arange(len(values)), known, values[known])


def seasonal(values: Array, season: int) -> Array:
    """(T,) with gaps filled by a line between what remains without the season, and the season.

    The season of a year, so to speak, is the mean of seven years around it (Cleveland et al. 1990,
    STL): it may change, and need not be a whole number of steps.
    """
    known = ~np.isnan(values)
    if len(values) < 2 * season:
        return linear(values)
    years = -(-len(values) // season)
    filled = linear(values)
    for _ in range(5):  # the trend is better the better the gaps are filled
        grid = np.full(years * season, np.nan)
        grid[: len(values)] = np.where(known, filled - _moving_average(filled, season), np.nan)
        pattern = _season(grid.reshape(years, season)).ravel()[: len(values)]
        filled = linear(values - pattern) + pattern
    return filled


def _season(grid: Array) -> Array:
    """(years, season) from what is known, NaN elsewhere: the mean of 7 years, each time of the year
    by itself; of all years where none of these is known, and 0 where none is."""
    count, total = ~np.isnan(grid), np.nan_to_num(grid)
    of_all = total.sum(axis=0) / np.maximum(1, count.sum(axis=0))

    def around(a: Array) -> Array:
        sums = np.cumsum(np.pad(a.astype(np.float64), ((4, 3), (0, 0))), axis=0)
        return sums[7:] - sums[:-7]

    seen = np.round(around(count))
    found = np.where(seen > 0, around(total) / np.maximum(1, seen), of_all)
    return found - found.mean(axis=1, keepdims=True)


def _moving_average(values: Array, season: int) -> Array:
    """Of one season around each step, the two ends of an even season counted half; the lines
    through the first and the last season go on at the ends."""
    weights = np.ones(season + 1 - season % 2)
    if season % 2 == 0:
        weights[[0, -1]] = 0.5
    half = len(weights) // 2
    inner = np.convolve(values, weights / season, mode="valid")
    along = min(season, len(inner) - 1)
    first, last = (((inner[along] - inner[0]) / along, (inner[-1] - inner[-1 - along]) / along)
                   if along else (0.0, 0.0))  # fmt: skip
    before = inner[0] - first * np.arange(half, 0, -1)
    after = inner[-1] + last * np.arange(1, half + 1)
    return np.concatenate([before, inner, after])
