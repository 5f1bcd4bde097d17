"""Series in, forecasts out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..data.table import read, require_rising

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = np.ndarray


class Forecast(NamedTuple):
    """What is expected after the end of a series.

    values: (h,), or (h, D) of a series of D quantities: the median. lower, upper: of the interval,
    of the same shape, in which the share `interval` of what comes is to lie, each step by itself.
    """

    values: Array
    lower: Array
    upper: Array
    interval: float

    def plot(self, history: Any = None, actual: Any = None, path: Any = None) -> Figure:
        """Draw the forecast and its interval, after the end of `history`, over what came, `actual`.

        path: where to save it too, as .png, .svg or .pdf; None saves nothing.

        Raises:
            ImportError: matplotlib, the extra `plot`, is not installed.
        """
        from .plots import draw_forecast

        return draw_forecast(self, history, actual, path)


class Series(NamedTuple):
    """One or several series, as (T_i, D) float64, and in what form they came."""

    parts: list[Array]
    several: bool
    flat: bool  # (T,): forecasts are (h,)

    def forecasts(self, values: Array, margins: tuple[Array, Array], interval: float) -> Any:
        """Forecasts of values (N, h, D), and how far below and above the interval's ends are."""
        low, high = values - margins[0], values + margins[1]
        if self.flat:
            values, low, high = values[..., 0], low[..., 0], high[..., 0]
        each = [Forecast(*parts, interval) for parts in zip(values, low, high, strict=True)]
        return each if self.several else each[0]


def read_series(name: str, x: Any, least: int, gaps: bool = False) -> Series:
    """The series of an argument, each of at least so many rows; gaps: NaN may be there.

    Raises:
        TypeError, ValueError: they are none; the series and the row are named.
    """
    table = read(name, x)
    form = table.form
    for k, part in enumerate(table.parts):
        which = f"{name}[{k}]" if form.several else name
        if len(part) < least:
            raise ValueError(f"{which}: expected at least {least} rows, got {len(part)}")
        bad = ~np.isfinite(part) if not gaps else np.isinf(part)
        if bad.any():
            row, column = np.argwhere(bad)[0]
            raise ValueError(f"{which}: expected numbers, got {part[row, column]} at row {row}; "
                             "`transform` may fill gaps")  # fmt: skip
    require_rising(name, table)
    flat = all(kind in ("series", "pandas series") for kind in form.kinds)
    return Series([part.astype(np.float64) for part in table.parts], form.several, flat)


def quantile_of_scores(scores: Array, interval: float) -> Array:
    """The ceil((n + 1) interval)-th smallest of n scores, over axis 0, or the largest.

    Split conformal prediction (Papadopoulos et al. 2002; Lei et al. 2018): a next score lies below
    with at least this probability, if it is exchangeable with these.
    """
    n = len(scores)
    return np.sort(scores, axis=0)[min(n, math.ceil((n + 1) * interval)) - 1]
