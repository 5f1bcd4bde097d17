"""What a forecast has to beat."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._arrays import number, positive
from .series import Array, quantile_of_scores, read_series

ORIGINS = 200  # past forecasts, at most, whose errors give the intervals


class Baseline:
    """Base of the forecasts without parameters, with the methods of `Forecaster`.

    The interval is that of the errors, step by step, that the same forecast made at the last 200
    places of the series, or fewer.
    """

    least = 1  # rows that a forecast needs

    def __init__(self, horizon: int, interval: float = 0.9):
        self.horizon = positive("horizon", horizon)
        self.interval = number("interval", interval, above=0, below=1)
        self._scores: Array | None = None
        self._columns: tuple[str, ...] | None = None

    def fit(self, series: Any) -> Any:
        """Learn the intervals from the series, which may have gaps (NaN)."""
        read = read_series("series", series, self.least + self.horizon, gaps=True)
        scores = []
        for part in read.parts:
            ends = np.arange(self.least, len(part) - self.horizon + 1)[-ORIGINS:]
            for end in ends:
                scores.append(np.abs(part[end : end + self.horizon] - self._next(part[:end])))
        found = np.array(scores)
        if np.isnan(found).all(axis=0).any():
            raise ValueError("series: expected known values to measure each step's errors, got a "
                             "gap at each")  # fmt: skip
        self._scores, self._columns = found, read.columns
        return self

    def predict(self, series: Any) -> Any:
        """A Forecast, or a list of them, of what comes after the end of the series."""
        if self._scores is None:
            raise ValueError(f"{type(self).__name__}: expected to be fitted before, got no fit")
        read = read_series("series", series, self.least, gaps=True)
        read.require_like("series", self._scores.shape[2], self._columns)
        values = np.stack([self._next(part) for part in read.parts])
        margin = quantile_of_scores(self._scores, self.interval)
        return read.forecasts(values, (margin, margin), self.interval)

    def _next(self, part: Array) -> Array:
        """(horizon, D) after part (T, D)."""
        raise NotImplementedError(f"{type(self).__name__} must define _next")


class Naive(Baseline):
    """The last known value, again and again.

    Args:
        horizon: steps, at least 1. interval: share within the interval, 0 .. 1. Default 0.9.
    """

    def _next(self, part: Array) -> Array:
        return np.repeat(_filled(part[-1:], part), self.horizon, axis=0)


class SeasonalNaive(Baseline):
    """The last season, again and again.

    Args:
        horizon: steps, at least 1. season: steps of a season, at least 1.
        interval: share within the interval, 0 .. 1. Default 0.9.
    """

    def __init__(self, horizon: int, season: int, interval: float = 0.9):
        super().__init__(horizon, interval)
        self.season = self.least = positive("season", season)

    def _next(self, part: Array) -> Array:
        last = _filled(part[-self.season :], part)
        return last[np.arange(self.horizon) % self.season]


class Drift(Baseline):
    """The line through the first and the last known value, drawn on.

    Args:
        horizon: steps, at least 1. interval: share within the interval, 0 .. 1. Default 0.9.
    """

    least = 2

    def _next(self, part: Array) -> Array:
        out = np.empty((self.horizon, part.shape[1]))
        for k, column in enumerate(part.T):
            known = np.flatnonzero(np.isfinite(column))
            if len(known) < 2:
                out[:, k] = np.nan
                continue
            first, last = known[0], known[-1]
            slope = (column[last] - column[first]) / (last - first)
            out[:, k] = column[last] + slope * (np.arange(self.horizon) + len(column) - last)
        return out


def _filled(rows: Array, part: Array) -> Array:
    """The last rows of `part`, where one is missing the last known value before it."""
    if np.isfinite(rows).all():
        return rows
    before = len(part) - len(rows)
    out = rows.copy()
    for row, column in np.argwhere(~np.isfinite(rows)):
        known = np.flatnonzero(np.isfinite(part[: before + row, column]))
        out[row, column] = part[known[-1], column] if len(known) else np.nan
    return out
