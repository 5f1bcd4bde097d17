"""The pictures of forecasts and backtests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._figure import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .backtesting import Backtest
    from .series import Forecast

Array = np.ndarray
PAST, AHEAD, CAME = "#555555", "#0072b2", "#d55e00"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#999999", "#e69f00")


def draw_forecast(forecast: Forecast, history: Any, actual: Any, path: Any) -> Figure:
    """A panel for each quantity: the past, the median, the interval, and what came."""
    values, lower, upper = (np.reshape(a, (len(a), -1)) for a in forecast[:3])
    steps, columns = values.shape
    past = np.zeros((0, columns)) if history is None else _matrix("history", history, columns)
    came = None if actual is None else _matrix("actual", actual, columns)[:steps]
    figure = new_figure(8, 0.6 + 2.9 * columns)
    panels = figure.subplots(columns, 1, squeeze=False).ravel()
    ahead = np.arange(len(past), len(past) + steps)
    for k, axes in enumerate(panels):
        axes.plot(np.arange(len(past)), past[:, k], color=PAST, linewidth=1.2, label="history")
        axes.fill_between(ahead, lower[:, k], upper[:, k], color=AHEAD, alpha=0.2, linewidth=0,
                          label=f"{forecast.interval:.0%} interval")  # fmt: skip
        axes.plot(ahead, values[:, k], color=AHEAD, linewidth=1.4, label="forecast")
        if came is not None:
            axes.plot(ahead[: len(came)], came[:, k], color=CAME, linewidth=1.2, label="came")
        _finish(axes, "step")
    panels[0].legend(frameon=False, fontsize=9, loc="upper left")
    if path is not None:
        figure.savefig(path)
    return figure


def draw_backtest(found: Backtest, path: Any) -> Figure:
    """Left the mean absolute error of each step, right the share within the interval."""
    figure = new_figure(9, 3.4)
    error, share = figure.subplots(1, 2)
    known = np.isfinite(found.actual)
    for k, name in enumerate(found.values):
        colour = COLOURS[k % len(COLOURS)]
        steps = np.arange(1, found.actual.shape[1] + 1)
        error.plot(steps, found.by_step(name), color=colour, label=name)
        within = (found.lower[name] <= found.actual) & (found.actual <= found.upper[name])
        rate = (within & known).sum(axis=(0, 2)) / np.maximum(known.sum(axis=(0, 2)), 1)
        share.plot(steps, 100 * rate, color=colour)
    error.set_title("mean absolute error", loc="left", fontsize=11)
    share.set_title("% within the interval", loc="left", fontsize=11)
    error.set_ylim(bottom=0)
    share.set_ylim(0, 102)
    for axes in (error, share):
        _finish(axes, "steps ahead")
    error.legend(frameon=False, fontsize=9)
    if path is not None:
        figure.savefig(path)
    return figure


def _matrix(name: str, x: Any, columns: int) -> Array:
    array = np.asarray(x, np.float64)
    array = array.reshape(len(array), -1)
    if array.shape[1] != columns:
        raise ValueError(f"{name}: expected {columns} columns, as the forecast has, got "
                         f"{array.shape[1]}")  # fmt: skip
    return array


def _finish(axes: Any, label: str) -> None:
    axes.set_xlabel(label, fontsize=9)
    axes.tick_params(labelsize=9)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
