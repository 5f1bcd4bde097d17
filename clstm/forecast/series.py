"""Series in, forecasts out."""

from __future__ import annotations

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
    """One or several series, as (T_i, D) float64, and in what form they came; columns: their names,
    where they are frames."""

    parts: list[Array]
    several: bool
    flat: bool  # (T,): forecasts are (h,)
    columns: tuple[str, ...] | None

    def require_like(self, name: str, features: int, columns: Any) -> None:
        """ValueError unless they have these columns, by number and, where both have some, name."""
        if self.parts[0].shape[1] != features:
            raise ValueError(f"{name}: expected {features} columns, as in fit, got "
                             f"{self.parts[0].shape[1]}")  # fmt: skip
        if columns is not None and self.columns is not None and [*columns] != [*self.columns]:
            raise ValueError(f"{name}: expected the columns {[*columns]}, as in fit, got "
                             f"{[*self.columns]}")  # fmt: skip

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
            raise ValueError(f"{which}: expected numbers, got {part[row, column]} at row {row}")
    require_rising(name, table)
    flat = all(kind in ("series", "pandas series") for kind in form.kinds)
    parts = [part.astype(np.float64) for part in table.parts]
    return Series(parts, form.several, flat, table.columns)


def quantile_of_scores(scores: Array, interval: float) -> Array:
    """The ceil((n + 1) interval)-th smallest of the n known scores, over axis 0, or the largest.

    Split conformal prediction (Papadopoulos et al. 2002; Lei et al. 2018): a next score lies below
    with at least this probability, if it is exchangeable with these.
    """
    known = (~np.isnan(scores)).sum(axis=0)
    place = np.minimum(known, np.ceil((known + 1) * interval).astype(int)) - 1
    return np.take_along_axis(np.sort(scores, axis=0), place[None], axis=0)[0]  # NaN comes last
